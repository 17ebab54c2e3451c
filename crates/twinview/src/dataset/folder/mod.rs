//! Pictures of one's own, in folders or beside a `labels.csv`.

mod cache;
mod decode;
#[cfg(test)]
mod fixture;
mod form;
mod labels_file;
mod listing;

use std::path::{Path, PathBuf};

use rayon::prelude::*;

use self::cache::Cache;
use self::decode::{decode, is_picture};
pub(super) use self::form::{Form, NAME};
use self::listing::Listing;
use super::{Dataset, Files, Images, Portion, Progress, Split, split_validation};
use crate::random::{Purpose, Stream};
use crate::{Error, Result};

/// The part of each class that is held out where no picture is said to be for the end.
const HELD_OUT: f64 = 0.2;
/// Pictures between two reports of how far it is.
const AT_ONCE: usize = 256;
/// Damaged pictures that an error lists.
const LISTED: usize = 8;

/// Whether `folder` looks as if it held pictures, by the names of what lies in it.
pub(super) fn is_likely(folder: &Path) -> bool {
    let speaks = |path: &Path| path.is_dir() || is_picture(path) || path.ends_with(labels_file::NAME);
    folder.read_dir().is_ok_and(|mut entries| entries.any(|entry| entry.is_ok_and(|entry| speaks(&entry.path()))))
}

/// Reads the pictures below `root`, each brought into `form`. What they decode to is kept in a file below `cache`.
///
/// Training images stand in an order that is random but always the same, so that the first ones are a fair sample.
///
/// # Errors
/// When the folder or its labels are not sound, and when pictures cannot be read, with the first of them.
pub(super) fn load(
    root: &Path,
    form: Form,
    cache: Option<&Path>,
    progress: &mut dyn FnMut(Progress<'_>),
) -> Result<Dataset> {
    let Listing { class_names, mut train, mut test, mut unlabelled, notes } = Listing::read(root)?;
    notes.iter().for_each(|note| progress(Progress::Message(&format!("{}: {note}", root.display()))));
    let stream = Stream::new(0, Purpose::Subset);
    stream.at(1, 0, 0).shuffle(&mut train);
    stream.at(1, 0, 1).shuffle(&mut unlabelled);
    stream.at(1, 0, 2).shuffle(&mut test);

    let (mut files, mut labels) = (Vec::new(), Vec::new());
    let counts = (train.len(), train.len() + unlabelled.len());
    for (file, label) in train.into_iter().map(|(file, label)| (file, Some(label))).chain(
        unlabelled
            .into_iter()
            .map(|file| (file, None))
            .chain(test.into_iter().map(|(file, label)| (file, Some(label)))),
    ) {
        files.push(file);
        labels.extend(label);
    }
    let mut pool = pixels(root, &files, form, cache, progress)?;
    let images = |pixels| Images::new(form.channels(), form.side, form.side, pixels);
    let test =
        Split { images: images(pool.split_off(counts.1 * form.image_len())), labels: labels.split_off(counts.0) };
    let pool = images(pool);
    let train = Split { images: pool.first(counts.0), labels };
    let test_files = files.split_off(counts.1);
    let dataset = Dataset {
        name: form.to_string(),
        class_names,
        train,
        test,
        pool,
        files: Some(Files { pool: files, test: test_files }),
    };
    if dataset.train.is_empty() || !dataset.test.is_empty() {
        return Ok(dataset);
    }
    let (kept, held_out) = split_validation(&dataset.train, Portion::Fraction(HELD_OUT), 0)
        .map_err(|_| Error::format(root, "too few labelled pictures to hold some out for a test; add some"))?;
    progress(Progress::Message(&format!(
        "{}: there is no test/ or val/, so {} of the {} labelled pictures, always the same ones, are held out as test images",
        root.display(),
        held_out.len(),
        dataset.train.len()
    )));
    Ok(dataset.hold_out(&kept, &held_out))
}

/// The picture in `path` in the form of `images`, which are squares: scaled and cut as pictures in a folder are.
///
/// # Errors
/// When the file cannot be read or is no picture.
pub fn read_picture(path: &Path, images: &Images) -> Result<Images> {
    let form = Form { side: images.height(), is_grey: images.channels() == 1 };
    Ok(images.of_same_form(decode(path, form)?))
}

/// The pixels of `files` below `root`, one after the other.
fn pixels(
    root: &Path,
    files: &[PathBuf],
    form: Form,
    cache: Option<&Path>,
    progress: &mut dyn FnMut(Progress<'_>),
) -> Result<Vec<u8>> {
    let cache = cache.and_then(|cache| Cache::of(cache, root, files, form));
    let length = files.len() * form.image_len();
    if let Some(pixels) = cache.as_ref().and_then(|cache| cache.read(length)) {
        return Ok(pixels);
    }
    let mut pixels = vec![0; length];
    let mut damaged = Vec::new();
    let total = files.len();
    let parts = files.chunks(AT_ONCE).zip(pixels.chunks_mut(AT_ONCE * form.image_len())).enumerate();
    for (part, (files, pixels)) in parts {
        progress(Progress::Pictures { done: part * AT_ONCE, total });
        let read = |(file, target): (&PathBuf, &mut [u8])| match decode(&root.join(file), form) {
            Ok(picture) => {
                target.copy_from_slice(&picture);
                None
            }
            Err(error) => Some(error),
        };
        damaged
            .extend(files.par_iter().zip(pixels.par_chunks_mut(form.image_len())).filter_map(read).collect::<Vec<_>>());
    }
    progress(Progress::Pictures { done: total, total });
    match &damaged[..] {
        [] => {}
        [_] => return Err(damaged.remove(0)),
        _ => {
            let listed: Vec<String> = damaged.iter().take(LISTED).map(|error| format!("\n  - {error}")).collect();
            let more = damaged.len() - listed.len();
            let more = if more == 0 { String::new() } else { format!("\n  and {more} more") };
            let message = format!(
                "{} of {total} pictures cannot be read; repair or remove them:{}{more}",
                damaged.len(),
                listed.concat()
            );
            return Err(Error::format(root, message));
        }
    }
    if let Some(Err(error)) = cache.map(|cache| cache.write(&pixels)) {
        progress(Progress::Message(&format!("warning: the decoded pictures are not kept for the next time: {error}")));
    }
    Ok(pixels)
}

#[cfg(test)]
mod tests;
