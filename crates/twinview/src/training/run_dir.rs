//! The folder that holds all of a run.

use std::collections::BTreeMap;
use std::fs::{self, File, TryLockError};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::Serialize;

use crate::dataset::Dataset;
use crate::state::StateDict;
use crate::tracking::TrackedRun;
use crate::{Error, Result, files, weights};

const CONFIG: &str = "config.toml";
pub(super) const WEIGHTS: &str = "weights.safetensors";

/// What a run notes of where it comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origin {
    /// The program: `0.1.0`, with the commit where that is known.
    pub version: String,
    /// The dataset that is trained on.
    pub dataset: String,
    /// The names of its classes.
    pub classes: Vec<String>,
}

impl Origin {
    /// What a run of `version` on `dataset` notes.
    pub fn new(version: impl Into<String>, dataset: &Dataset) -> Self {
        Self { version: version.into(), dataset: dataset.name.clone(), classes: dataset.class_names.clone() }
    }
}

/// A run directory: `config.toml`, `metrics.jsonl`, `checkpoints/`, and when the training is over
/// `weights.safetensors`.
#[derive(Clone, Debug)]
pub struct RunDir {
    path: PathBuf,
    origin: Origin,
    /// The program that began the run, where it is another than the one at work.
    begun_by: Option<String>,
    /// Held on the settings as long as the run is open; the system lets go of it when the process ends.
    _lock: Arc<Lock>,
}

/// A lock on a file.
#[derive(Debug)]
struct Lock(File);

impl Drop for Lock {
    /// Closing the file may not do: a child process that is just being started holds it too, until it becomes another program.
    fn drop(&mut self) {
        let _ = self.0.unlock();
    }
}

impl RunDir {
    /// Opens `path` for a run with the settings `config`, making it where it is missing.
    ///
    /// With `resume`, a run with the same settings may be there and is gone on with.
    ///
    /// # Errors
    /// When another run is there, or one with the same settings and `resume` is false, or when another process
    /// has it open, or when the folder cannot be written.
    pub fn open(path: impl AsRef<Path>, config: &impl Serialize, resume: bool, origin: &Origin) -> Result<Self> {
        let path = path.as_ref().to_path_buf();
        let file = path.join(CONFIG);
        let unserialisable = |error| Error::Config(format!("the settings cannot be written as TOML: {error}"));
        let settings = toml::to_string(config).map_err(unserialisable)?;
        let header = format!("# twinview {}\n", origin.version);
        let mut begun_by = None;
        match fs::read_to_string(&file) {
            Ok(found) if without_header(&found) != settings => {
                let difference = first_difference(without_header(&found), &settings);
                let message =
                    format!("holds a run with other settings ({difference}). Choose another folder with --run");
                return Err(Error::format(&path, message));
            }
            Ok(_) if !resume => {
                let message =
                    "holds this run already. Add --resume to go on with it, or choose another folder with --run";
                return Err(Error::format(&path, message));
            }
            Ok(found) => {
                let first = found.lines().next().unwrap_or_default();
                begun_by = (first != header.trim_end()).then(|| first.trim_start_matches("# ").to_owned());
            }
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                files::write_atomic(&file, format!("{header}{settings}").as_bytes())?;
            }
            Err(error) => return Err(Error::io(&file, "read the settings", error)),
        }
        let lock = File::open(&file).map_err(|error| Error::io(&file, "read the settings", error))?;
        // Where the file system knows no locks, going on without one is better than not at all.
        if let Err(TryLockError::WouldBlock) = lock.try_lock() {
            let message = "another process is at work on this run. Wait for it, or choose another folder with --run";
            return Err(Error::format(&path, message));
        }
        files::remove_partial([&path, &path.join(super::checkpoint::FOLDER)]);
        Ok(Self { path, origin: origin.clone(), begun_by, _lock: Arc::new(Lock(lock)) })
    }

    /// Who made the run in `path`, such as `twinview 0.1.0`, and its settings.
    ///
    /// # Errors
    /// When there is no run, or its settings cannot be read.
    pub fn settings(path: &Path) -> Result<(String, toml::Table)> {
        let file = path.join(CONFIG);
        let text = match fs::read_to_string(&file) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                let message =
                    "no run directory: there is no config.toml in it. Name the folder that was given as --run";
                return Err(Error::format(path, message));
            }
            Err(error) => return Err(Error::io(&file, "read the settings", error)),
        };
        let damaged =
            |error: toml::de::Error| Error::format(&file, format!("not the settings of a run: {}", error.message()));
        let settings = toml::from_str(&text).map_err(damaged)?;
        let maker = text.lines().next().and_then(|line| line.strip_prefix("# ")).unwrap_or_default().to_owned();
        Ok((maker, settings))
    }

    /// The folder.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// A file or folder in it.
    pub fn join(&self, name: impl AsRef<Path>) -> PathBuf {
        self.path.join(name)
    }

    /// Whether the training is over.
    pub fn is_finished(&self) -> bool {
        Self::is_finished_at(&self.path)
    }

    /// Whether the training in `path` is over.
    pub fn is_finished_at(path: &Path) -> bool {
        path.join(WEIGHTS).is_file()
    }

    /// Writes the weights that the training ends with.
    pub fn finish(&self, state: &StateDict) -> Result<()> {
        weights::save(self.join(WEIGHTS), state, &self.metadata())
    }

    /// A warning where another version of the program began the run: its kernels may round otherwise.
    pub(super) fn notice(&self) -> Option<String> {
        let begun_by = self.begun_by.as_ref()?;
        let version = &self.origin.version;
        Some(format!("this run was begun by {begun_by}; going on with twinview {version} may change its last digits"))
    }

    /// What a weights file says of its maker.
    pub(super) fn metadata(&self) -> BTreeMap<String, String> {
        let Origin { version, dataset, classes } = &self.origin;
        let classes = serde_json::to_string(classes).unwrap_or_default();
        // `format` is what Hugging Face's loaders look for.
        let entries = [("format", "pt"), ("twinview", version), ("dataset", dataset), (weights::CLASSES, &classes)];
        entries.map(|(key, value)| (key.to_owned(), value.to_owned())).into()
    }

    /// The run as sinks know it.
    pub(super) fn tracked(&self, label: &str, command: &str) -> Result<TrackedRun> {
        let file = self.join(CONFIG);
        let settings = fs::read_to_string(&file).map_err(|error| Error::io(&file, "read the settings", error))?;
        TrackedRun::open(&self.path, label, without_header(&settings), &self.origin.version, command)
    }

    /// The weights that the training ended with.
    pub fn weights(&self) -> Result<weights::Weights> {
        weights::load(self.join(WEIGHTS))
    }
}

/// The settings without the comments before them, which say what wrote them and may differ between equal runs.
fn without_header(text: &str) -> &str {
    let mut rest = text;
    while let Some(tail) = rest.strip_prefix('#') {
        rest = tail.split_once('\n').map_or("", |(_, tail)| tail);
    }
    rest
}

/// The first setting that two TOML texts do not share.
fn first_difference(there: &str, here: &str) -> String {
    let differing = there.lines().zip(here.lines()).find(|(there, here)| there != here);
    match differing {
        Some((there, here)) => format!("{there} there, {here} here"),
        None => "one has settings that the other lacks".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::training::Plan;

    fn origin() -> Origin {
        Origin { version: "1".into(), dataset: "shapes".into(), classes: vec!["circle".into()] }
    }

    #[test]
    fn a_run_is_gone_on_with_only_when_asked_and_the_same() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("run");
        let plan = Plan::new(2, 8, 0.1);
        RunDir::open(&path, &plan, false, &origin()).unwrap();
        let message = RunDir::open(&path, &plan, false, &origin()).unwrap_err().to_string();
        assert!(message.contains("Add --resume"), "{message}");
        let run = RunDir::open(&path, &plan, true, &origin()).unwrap();
        let message = RunDir::open(&path, &plan, true, &origin()).unwrap_err().to_string();
        assert!(message.contains("another process is at work"), "{message}");
        drop(run);
        let message = RunDir::open(&path, &Plan::new(3, 8, 0.1), true, &origin()).unwrap_err().to_string();
        assert!(message.contains("epochs = 2 there, epochs = 3 here"), "{message}");
    }

    #[test]
    fn a_run_of_another_version_says_so() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("run");
        let plan = Plan::new(2, 8, 0.1);
        assert_eq!(RunDir::open(&path, &plan, false, &origin()).unwrap().notice(), None);
        assert_eq!(RunDir::open(&path, &plan, true, &origin()).unwrap().notice(), None);
        let newer = Origin { version: "2".into(), ..origin() };
        let notice = RunDir::open(&path, &plan, true, &newer).unwrap().notice().unwrap();
        assert!(notice.contains("begun by twinview 1; going on with twinview 2"), "{notice}");
    }
}
