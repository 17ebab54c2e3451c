//! From a folder with the four files of a dataset to a [`Dataset`] in memory.

use std::path::{Path, PathBuf};

use super::catalog::{Entry, File, SIDE};
use super::idx::{Idx, Kind};
use super::{Dataset, Split};
use crate::{Error, Result};

/// How much of what was published a folder must hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Trust {
    /// Any dataset of this form: the user named the folder, so an own or a cut-down set is welcome.
    AsGiven,
    /// The published sizes and, where they are known, checksums.
    Published,
}

/// The file in `folder`, gzipped or not.
pub(super) fn find_file(folder: &Path, file: &File) -> Option<PathBuf> {
    [format!("{}.gz", file.name), file.name.to_owned()].map(|name| folder.join(name)).into_iter().find(|p| p.is_file())
}

/// Reads one file and checks that it is the published one.
pub(super) fn read_published(path: &Path, file: &File, kind: Kind, shape: &[usize]) -> Result<Idx> {
    let idx = Idx::read(path, kind)?;
    if idx.shape != shape {
        return Err(Error::format(
            path,
            format!("holds {:?} where the published {} has {shape:?}. Get the file again", idx.shape, file.name),
        ));
    }
    if let (false, Some(expected)) = (is_published(&idx, file), file.sha256) {
        return Err(Error::format(
            path,
            format!(
                "wrong checksum: the decompressed content has SHA-256 {}, the published {} has {expected}. \
                 Get the file again",
                idx.sha256(),
                file.name
            ),
        ));
    }
    Ok(idx)
}

/// Whether the content has the published checksum, as far as there is one.
fn is_published(idx: &Idx, file: &File) -> bool {
    file.sha256.is_none_or(|expected| idx.sha256() == expected)
}

/// A dataset read from a folder.
#[derive(Debug)]
pub(super) struct Loaded {
    pub(super) dataset: Dataset,
    /// Whether sizes and checksums are the published ones. Always so under [`Trust::Published`].
    pub(super) published: bool,
}

/// Reads the dataset that lies in `folder`.
///
/// # Errors
/// When a file is missing, cannot be read or is not sound; when images and labels differ in number; when a label
/// has no class; under [`Trust::Published`] also when a file is not the published one.
pub(super) fn load(folder: &Path, entry: &Entry, trust: Trust) -> Result<Loaded> {
    let paths = find_files(folder, entry)?;
    let files = entry.all_files();
    let read = |place: usize| {
        let (file, kind, shape) = &files[place];
        if trust == Trust::Published {
            return read_published(&paths[place], file, *kind, shape).map(|idx| (idx, true));
        }
        let idx = Idx::read(&paths[place], *kind)?;
        let published = idx.shape == *shape && is_published(&idx, file);
        Ok((idx, published))
    };
    // Decompressing the training images takes most of the time; the rest fits beside it.
    let (train_images, others) = rayon::join(|| read(0), || -> Result<_> { Ok([read(1)?, read(2)?, read(3)?]) });
    let (train_images, [train_labels, test_images, test_labels]) = (train_images?, others?);
    let published = [&train_images, &train_labels, &test_images, &test_labels].iter().all(|(_, published)| *published);
    let train = split([&paths[0], &paths[1]], train_images.0, train_labels.0, entry)?;
    let test = split([&paths[2], &paths[3]], test_images.0, test_labels.0, entry)?;
    let class_names = entry.class_names.iter().map(|&name| name.to_owned()).collect();
    Ok(Loaded { dataset: Dataset::new(entry.name, class_names, train, test), published })
}

/// The paths of the four files.
fn find_files(folder: &Path, entry: &Entry) -> Result<[PathBuf; 4]> {
    let found = entry.all_files().map(|(file, ..)| (file, find_file(folder, file)));
    let missing: Vec<String> =
        found.iter().filter(|(_, path)| path.is_none()).map(|(file, _)| format!("{}[.gz]", file.name)).collect();
    if missing.is_empty() {
        return Ok(found.map(|(_, path)| path.unwrap_or_default()));
    }
    let names = std::fs::read_dir(folder).map_err(|source| Error::io(folder, "list the folder", source))?;
    let mut names: Vec<String> =
        names.filter_map(|name| Some(name.ok()?.file_name().to_string_lossy().into_owned())).collect();
    names.sort();
    let there = match names.len() {
        0 => "the folder is empty".to_owned(),
        1..=8 => format!("the folder holds {}", names.join(", ")),
        count => format!("the folder holds {} and {} more", names[..8].join(", "), count - 8),
    };
    Err(Error::format(folder, format!("not a folder of {}: missing {}; {there}", entry.title, missing.join(", "))))
}

/// Puts images and labels together.
fn split(paths: [&Path; 2], images: Idx, labels: Idx, entry: &Entry) -> Result<Split> {
    let [images_path, labels_path] = paths;
    if images.shape[1..] != [SIDE, SIDE] {
        return Err(Error::format(
            images_path,
            format!("holds images of {}×{}, expected {SIDE}×{SIDE}", images.shape[1], images.shape[2]),
        ));
    }
    if images.shape[0] != labels.shape[0] {
        return Err(Error::format(
            labels_path,
            format!(
                "holds {} labels, but {} holds {} images. Get both files again from one source",
                labels.shape[0],
                images_path.display(),
                images.shape[0]
            ),
        ));
    }
    let classes = entry.class_names.len();
    if let Some(place) = labels.bytes.iter().position(|&label| usize::from(label) >= classes) {
        return Err(Error::format(
            labels_path,
            format!(
                "label {} at position {place}, but {} has the classes 0 to {}",
                labels.bytes[place],
                entry.title,
                classes - 1
            ),
        ));
    }
    Ok(Split { images: images.into_images(), labels: labels.bytes })
}

#[cfg(test)]
mod tests {
    use super::super::fixture::{TINY, gzip, images_file, labels_file, tiny_files, write_tiny};
    use super::*;

    fn complaint(folder: &Path, trust: Trust) -> String {
        load(folder, &TINY, trust).unwrap_err().to_string()
    }

    #[test]
    fn loads_gzipped_and_plain_files_alike() {
        let folder = tempfile::tempdir().unwrap();
        write_tiny(&folder.path().join("a"));
        for (name, content) in tiny_files() {
            std::fs::create_dir_all(folder.path().join("b")).unwrap();
            std::fs::write(folder.path().join("b").join(name), content).unwrap();
        }
        let [a, b] = ["a", "b"].map(|name| load(&folder.path().join(name), &TINY, Trust::Published).unwrap());
        assert_eq!(a.dataset, b.dataset);
        assert_eq!((a.dataset.train.len(), a.dataset.test.len()), (3, 2));
        assert_eq!((&a.dataset.train.labels[..], &a.dataset.test.labels[..]), (&[0, 1, 0][..], &[1, 0][..]));
        assert_eq!(a.dataset.train.images.image(1)[..3], [112, 119, 126]);
        assert_eq!(a.dataset.class_names, ["even", "odd"]);
    }

    #[test]
    fn another_set_is_welcome_only_where_the_user_named_the_folder() {
        let folder = tempfile::tempdir().unwrap();
        write_tiny(folder.path());
        assert!(load(folder.path(), &TINY, Trust::AsGiven).unwrap().published);
        let images = folder.path().join("t10k-images-idx3-ubyte.gz");
        std::fs::write(&images, gzip(&images_file([2, 28, 28], &[9; 2 * 784]))).unwrap();
        assert!(!load(folder.path(), &TINY, Trust::AsGiven).unwrap().published);
        let message = complaint(folder.path(), Trust::Published);
        assert!(message.contains("t10k-images-idx3-ubyte.gz: wrong checksum"), "{message}");
        assert!(message.contains(TINY.files.test_images.sha256.unwrap()), "{message}");

        std::fs::write(&images, images_file([1, 28, 28], &[9; 784])).unwrap();
        let message = complaint(folder.path(), Trust::Published);
        assert!(message.contains("holds [1, 28, 28] where the published t10k-images-idx3-ubyte has [2, 28, 28]"));
    }

    #[test]
    fn a_missing_file_is_named_with_what_is_there() {
        let folder = tempfile::tempdir().unwrap();
        let message = complaint(folder.path(), Trust::AsGiven);
        assert!(message.contains("not a folder of Tiny: missing train-images-idx3-ubyte[.gz], train-labels"));
        assert!(message.ends_with("the folder is empty"), "{message}");

        write_tiny(folder.path());
        std::fs::remove_file(folder.path().join("t10k-labels-idx1-ubyte.gz")).unwrap();
        let message = complaint(folder.path(), Trust::AsGiven);
        assert!(message.contains("missing t10k-labels-idx1-ubyte[.gz]; the folder holds t10k-images"), "{message}");

        (0..9).for_each(|i| std::fs::write(folder.path().join(format!("a{i}")), "").unwrap());
        assert!(complaint(folder.path(), Trust::AsGiven).ends_with("a7 and 4 more"));
        assert!(complaint(&folder.path().join("none"), Trust::AsGiven).contains("none: cannot list the folder"));
    }

    #[test]
    fn files_that_do_not_fit_together_are_refused() {
        for (name, content, expected) in [
            ("train-labels-idx1-ubyte.gz", labels_file(&[0, 1]), "holds 2 labels, but "),
            (
                "train-labels-idx1-ubyte.gz",
                labels_file(&[0, 1, 2]),
                "label 2 at position 2, but Tiny has the classes 0 to 1",
            ),
            ("t10k-images-idx3-ubyte.gz", images_file([2, 2, 3], &[0; 12]), "holds images of 2×3, expected 28×28"),
            ("t10k-images-idx3-ubyte.gz", labels_file(&[1]), "these are labels"),
        ] {
            let folder = tempfile::tempdir().unwrap();
            write_tiny(folder.path());
            std::fs::write(folder.path().join(name), content).unwrap();
            let message = complaint(folder.path(), Trust::AsGiven);
            assert!(message.contains(name) && message.contains(expected), "{message}");
        }
    }
}
