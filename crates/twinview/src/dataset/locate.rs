//! Finding a dataset on this machine, or getting it.

use std::fmt;
use std::fs::{self, File};
use std::path::{Path, PathBuf};

use super::catalog::{CATALOG, Entry, SIDE, find};
use super::load::{Loaded, Trust, find_file, load, read_published};
use super::{Dataset, Progress, apt, download, folder, shapes};
use crate::{Error, Result};

/// Rows and columns of the images of the dataset called `name`, as [`Request::name`] has it; `None` for other names.
pub fn side(name: &str) -> Option<usize> {
    match folder::Form::parse(name) {
        Ok(Some(form)) => Some(form.side),
        Ok(None) if name == shapes::NAME => Some(shapes::SIDE),
        _ => find(name).ok().map(|_| SIDE),
    }
}

/// Which dataset is wanted, and where it may come from.
#[derive(Clone, Debug)]
pub struct Request {
    /// A name from the [catalogue](super::catalog), `shapes`, or for pictures of one's own `folder`, `folder:SIDE` or
    /// `folder:SIDE:grey`.
    pub name: String,
    /// The folder that holds the files. Then no other place is tried.
    pub data: Option<PathBuf>,
    /// What `shapes` is drawn from; other datasets do not depend on it.
    pub seed: u64,
    /// Training and test images of `shapes`; other datasets have the size they have.
    pub shapes: (usize, usize),
    /// The places to search when `data` names none.
    pub sources: Sources,
}

impl Request {
    /// The dataset called `name` from the usual places, with seed 0.
    pub fn new(name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            data: None,
            seed: 0,
            shapes: (shapes::TRAIN_LEN, shapes::TEST_LEN),
            sources: Sources::standard(),
        }
    }
}

/// The places a dataset may come from, in the order they are tried.
#[derive(Clone, Debug)]
pub struct Sources {
    /// The value of `TWINVIEW_DATA`: a folder with the files, or one that holds such a folder under the dataset's
    /// name. When it is set no other place is tried.
    pub environment: Option<PathBuf>,
    /// Where system packages put datasets, each in a folder of its name.
    pub system: Option<PathBuf>,
    /// Where downloads are kept, each in a folder of its name. Nothing is fetched without one.
    pub cache: Option<PathBuf>,
    /// Addresses to which file names are appended, instead of the catalogue's. None at all: no download.
    pub mirrors: Option<Vec<String>>,
    /// Whether to try `apt-get` in the end.
    pub apt: bool,
}

impl Sources {
    /// What this machine offers: `TWINVIEW_DATA`, `/usr/share/datasets`, the user's cache folder (under
    /// `XDG_CACHE_HOME` where that is set), the mirrors, `apt-get`.
    pub fn standard() -> Self {
        use etcetera::BaseStrategy;
        Self {
            environment: std::env::var_os("TWINVIEW_DATA").filter(|value| !value.is_empty()).map(PathBuf::from),
            system: Some(PathBuf::from("/usr/share/datasets")),
            cache: etcetera::choose_base_strategy().ok().map(|strategy| strategy.cache_dir().join("twinview")),
            mirrors: None,
            apt: true,
        }
    }

    /// Only what already lies on this machine.
    pub fn offline() -> Self {
        Self { mirrors: Some(Vec::new()), apt: false, ..Self::standard() }
    }
}

/// The place a dataset was found in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Source {
    /// The folder given with `--data`.
    Given,
    /// The folder that `TWINVIEW_DATA` names.
    Environment,
    /// The system's folder.
    System,
    /// The user's cache, filled earlier.
    Cache,
    /// The user's cache, filled just now from a mirror.
    Download,
    /// The user's cache, filled just now from the Debian package.
    Debian,
}

impl fmt::Display for Source {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Source::Given => "the folder given with --data",
            Source::Environment => "the folder that TWINVIEW_DATA names",
            Source::System => "the system's folder",
            Source::Cache => "the cache",
            Source::Download => "downloaded into the cache",
            Source::Debian => "unpacked into the cache from the Debian package",
        })
    }
}

/// Where a dataset lies.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// The folder with its files.
    pub folder: PathBuf,
    /// How it came to be there.
    pub source: Source,
    /// Whether the content is the published one. Never false but in a folder that the user named.
    pub published: bool,
}

/// The dataset, in memory.
///
/// # Errors
/// When the name is unknown; when a folder that the user named does not hold the dataset, or none is named for pictures; when no source gives
/// it. The last error lists every source with the reason.
pub fn open(request: &Request, progress: &mut dyn FnMut(Progress<'_>)) -> Result<Dataset> {
    if let Some(form) = folder::Form::parse(&request.name)? {
        let root = request.data.as_ref().or(request.sources.environment.as_ref()).ok_or_else(|| {
            Error::Config(format!("'{}' are pictures of your own; name their folder with --data DIR", request.name))
        })?;
        return folder::load(root, form, request.sources.cache.as_deref(), progress);
    }
    if request.name != shapes::NAME {
        return locate(request, progress).map(|(_, dataset)| dataset);
    }
    if request.data.is_some() {
        return Err(Error::Config("'shapes' is drawn by the program; --data has no meaning for it".to_owned()));
    }
    match request.shapes {
        (0, _) | (_, 0) => Err(Error::Config("'shapes' needs at least one training and one test image".to_owned())),
        (train, test) => Ok(shapes::shapes(train, test, request.seed)),
    }
}

/// The name to ask for what lies in `folder` by, where it can be told: `folder` for pictures. `None` where there are files
/// of a known dataset, whose own name has to be given.
pub fn guess(folder: &Path) -> Option<&'static str> {
    let holds_any = |entry: &Entry| {
        let places = [folder.to_path_buf(), folder.join(entry.name)];
        places.iter().any(|place| entry.all_files().iter().any(|(file, ..)| find_file(place, file).is_some()))
    };
    (!CATALOG.iter().any(holds_any) && folder::is_likely(folder)).then_some(folder::NAME)
}

/// Makes sure that the dataset is on this machine, and says where.
///
/// # Errors
/// As [`open`]; and for `shapes`, which lies nowhere, and `folder`, which lies where it lies.
pub fn fetch(request: &Request, progress: &mut dyn FnMut(Progress<'_>)) -> Result<Found> {
    if request.name == shapes::NAME {
        return Err(Error::Config("'shapes' is drawn by the program; there is nothing to fetch".to_owned()));
    }
    if folder::Form::parse(&request.name)?.is_some() {
        return Err(Error::Config("pictures of your own are where you put them; there is nothing to fetch".to_owned()));
    }
    locate(request, progress).map(|(found, _)| found)
}

fn locate(request: &Request, progress: &mut dyn FnMut(Progress<'_>)) -> Result<(Found, Dataset)> {
    search(find(&request.name)?, request.data.as_deref(), &request.sources, progress)
}

/// Tries one place after the other. A dataset counts as found when it has been read and checked.
pub(super) fn search(
    entry: &Entry,
    data: Option<&Path>,
    sources: &Sources,
    progress: &mut dyn FnMut(Progress<'_>),
) -> Result<(Found, Dataset)> {
    if let Some(folder) = data {
        return named_by_user(entry, folder, Source::Given, progress);
    }
    if let Some(folder) = &sources.environment {
        return named_by_user(entry, folder, Source::Environment, progress);
    }
    let mut tried = vec!["TWINVIEW_DATA: not set".to_owned()];
    if let Some(folder) = sources.system.as_ref().map(|system| system.join(entry.name)) {
        if !folder.is_dir() {
            tried.push(format!("{}: no such folder", folder.display()));
        } else {
            match load(&folder, entry, Trust::Published) {
                Ok(loaded) => return Ok(found(folder, Source::System, loaded)),
                Err(error) => tried.push(error.to_string()),
            }
        }
    }
    match &sources.cache {
        None => tried.push("cache: no folder for it; set HOME or XDG_CACHE_HOME".to_owned()),
        Some(cache) => match cached(entry, &cache.join(entry.name), sources, progress) {
            Ok(found) => return Ok(found),
            Err(reasons) => tried.extend(reasons),
        },
    }
    Err(Error::Data(format!(
        "{} is not on this machine and could not be fetched. Tried:\n  - {}\nGive a folder that holds {} with \
         --data DIR, or use the built-in --dataset shapes",
        entry.title,
        tried.join("\n  - "),
        entry.file_names(),
    )))
}

fn found(folder: PathBuf, source: Source, Loaded { dataset, published }: Loaded) -> (Found, Dataset) {
    (Found { folder, source, published }, dataset)
}

/// A folder that the user named must hold the dataset: quietly taking another one would mislead.
fn named_by_user(
    entry: &Entry,
    folder: &Path,
    source: Source,
    progress: &mut dyn FnMut(Progress<'_>),
) -> Result<(Found, Dataset)> {
    let inner = folder.join(entry.name);
    let holds_any = |folder: &Path| entry.all_files().iter().any(|(file, ..)| find_file(folder, file).is_some());
    let folder = if !holds_any(folder) && holds_any(&inner) { inner } else { folder.to_path_buf() };
    let loaded = load(&folder, entry, Trust::AsGiven).map_err(|error| match (source, error) {
        (Source::Environment, Error::Format { path, message }) => Error::Format {
            path,
            message: format!("{message} (TWINVIEW_DATA names this folder; unset it to search the other places)"),
        },
        (_, error) => error,
    })?;
    if !loaded.published {
        progress(Progress::Message(&format!(
            "{}: not the published {}; taken as it is: {} training and {} test images",
            folder.display(),
            entry.title,
            loaded.dataset.train.len(),
            loaded.dataset.test.len()
        )));
    }
    Ok(found(folder, source, loaded))
}

/// The dataset from the cache, which is filled first if need be. The error is one line a source.
fn cached(
    entry: &Entry,
    folder: &Path,
    sources: &Sources,
    progress: &mut dyn FnMut(Progress<'_>),
) -> std::result::Result<(Found, Dataset), Vec<String>> {
    if let Ok(loaded) = load(folder, entry, Trust::Published) {
        return Ok(found(folder.to_path_buf(), Source::Cache, loaded));
    }
    let one_line = |error: Error| vec![error.to_string()];
    fs::create_dir_all(folder).map_err(|source| {
        vec![format!("{}: cannot make the cache folder: {source}. Set XDG_CACHE_HOME to another", folder.display())]
    })?;
    let _lock = lock(folder, progress).map_err(one_line)?;
    let thrown_away = discard_damaged(entry, folder, progress).map_err(one_line)?;
    let mut tried = match (thrown_away, load(folder, entry, Trust::Published)) {
        // Another process filled it while this one waited for the lock.
        (_, Ok(loaded)) => return Ok(found(folder.to_path_buf(), Source::Cache, loaded)),
        (true, _) => vec![format!("{}: damaged files, now thrown away", folder.display())],
        (false, Err(_)) => vec![format!("{}: not there yet", folder.display())],
    };
    let mirrors = match &sources.mirrors {
        Some(mirrors) => mirrors.clone(),
        None => entry.mirrors.iter().map(|&mirror| mirror.to_owned()).collect(),
    };
    let mut from = |source: Source, reasons: std::result::Result<(), Vec<String>>| match reasons {
        Ok(()) => match load(folder, entry, Trust::Published) {
            Ok(loaded) => Some(found(folder.to_path_buf(), source, loaded)),
            Err(error) => {
                tried.push(error.to_string());
                None
            }
        },
        Err(reasons) => {
            tried.extend(reasons);
            None
        }
    };
    if let Some(found) = from(Source::Download, download::missing_files(entry, &mirrors, folder, progress)) {
        return Ok(found);
    }
    let packaged = match sources.apt {
        true => apt::fetch(entry, folder, progress).map_err(|why| vec![format!("apt-get: {why}")]),
        false => Err(vec!["apt-get: switched off".to_owned()]),
    };
    match from(Source::Debian, packaged) {
        Some(found) => Ok(found),
        None => Err(tried),
    }
}

/// Two processes must not write one partial file. The lock ends with the returned handle, or with the process.
fn lock(folder: &Path, progress: &mut dyn FnMut(Progress<'_>)) -> Result<File> {
    let path = folder.join(".lock");
    let file = File::create(&path).map_err(|source| Error::io(&path, "make the lock file", source))?;
    if let Err(fs::TryLockError::WouldBlock) = file.try_lock() {
        progress(Progress::Message(&format!("{}: waiting for another process to fill it", folder.display())));
        // Where the file system knows no locks, going on without one is better than not at all.
        let _ = file.lock();
    }
    Ok(file)
}

/// Removes files that are not the published ones, saying so. Tells whether there were any.
fn discard_damaged(entry: &Entry, folder: &Path, progress: &mut dyn FnMut(Progress<'_>)) -> Result<bool> {
    let mut any = false;
    for (file, kind, shape) in entry.all_files() {
        while let Some(path) = find_file(folder, file) {
            match read_published(&path, file, kind, &shape) {
                Ok(_) => break,
                Err(error @ Error::Format { .. }) => {
                    progress(Progress::Message(&format!("thrown away from the cache: {error}")));
                    fs::remove_file(&path).map_err(|source| Error::io(&path, "remove the file", source))?;
                    any = true;
                }
                Err(error) => return Err(error),
            }
        }
    }
    Ok(any)
}

#[cfg(test)]
mod tests;
