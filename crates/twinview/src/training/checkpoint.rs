//! Everything that is needed to go on with a training as if it had never stopped.

use std::fs;
use std::path::{Path, PathBuf};

use super::Plan;
use super::run_dir::RunDir;
use crate::state::StateDict;
use crate::{Error, Result, weights};

pub(super) const FOLDER: &str = "checkpoints";
pub(super) const OPTIMIZER: &str = "optimizer.";

/// A training at rest.
///
/// The random state needs no place: every draw is a function of the seed, the epoch and the image.
#[derive(Clone, Debug, PartialEq)]
pub struct Checkpoint {
    /// Where the training stands.
    pub position: Position,
    /// The model.
    pub model: StateDict,
    /// The optimiser.
    pub optimizer: StateDict,
}

/// Where a training stands.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Position {
    /// Steps made.
    pub step: u64,
    /// Sum of the losses of the epoch that is under way.
    pub loss_sum: f64,
}

impl Checkpoint {
    /// The last checkpoint of `run`, made under `plan`.
    ///
    /// # Errors
    /// When it was made under another plan or cannot be read.
    pub fn last(run: &RunDir, plan: &Plan) -> Result<Option<Self>> {
        let Some(path) = files(run.path())?.pop() else { return Ok(None) };
        let loaded = weights::load(&path)?;
        let entry = |name: &str| {
            let value = loaded.metadata.get(name);
            value.ok_or_else(|| Error::format(&path, format!("not a checkpoint: it says nothing of its {name}")))
        };
        let broken = |name: &str| Error::format(&path, format!("not a checkpoint: its {name} cannot be read"));
        if *entry("plan")? != fingerprint(plan) {
            let message = "made with other settings than those of this run. Choose another folder with --run";
            return Err(Error::format(&path, message));
        }
        let step = entry("step")?.parse().map_err(|_| broken("step"))?;
        let loss_sum = entry("loss_sum")?.parse().map_err(|_| broken("loss_sum"))?;
        let (optimizer, model) =
            loaded.state.into_iter().partition::<StateDict, _>(|(name, _)| name.starts_with(OPTIMIZER));
        let optimizer =
            optimizer.into_iter().map(|(name, array)| (name[OPTIMIZER.len()..].to_owned(), array)).collect();
        Ok(Some(Self { position: Position { step, loss_sum }, model, optimizer }))
    }

    /// Writes the checkpoint into `run` and removes the ones before it.
    pub fn save(self, run: &RunDir, plan: &Plan) -> Result<()> {
        let Position { step, loss_sum } = self.position;
        let mut entries = run.metadata();
        entries.insert("plan".to_owned(), fingerprint(plan));
        entries.insert("step".to_owned(), step.to_string());
        // Debug prints the shortest text that reads back as the same number.
        entries.insert("loss_sum".to_owned(), format!("{loss_sum:?}"));
        let mut state = self.model;
        state.extend(self.optimizer.into_iter().map(|(name, array)| (format!("{OPTIMIZER}{name}"), array)));
        let old = files(run.path())?;
        let path = run.join(FOLDER).join(format!("step-{step:08}.safetensors"));
        weights::save(&path, &state, &entries)?;
        for file in old.into_iter().filter(|file| *file != path) {
            fs::remove_file(&file).map_err(|error| Error::io(&file, "remove the old checkpoint", error))?;
        }
        Ok(())
    }
}

/// What must be equal for a training to go on.
fn fingerprint(plan: &Plan) -> String {
    // A plan is plain numbers and names, which JSON can always hold.
    serde_json::to_string(plan).unwrap_or_default()
}

/// The checkpoints in the run directory `run`, oldest first.
pub(super) fn files(run: &Path) -> Result<Vec<PathBuf>> {
    let folder = run.join(FOLDER);
    let failed = |error| Error::io(&folder, "list the checkpoints", error);
    let entries = match fs::read_dir(&folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(failed(error)),
    };
    let paths: std::io::Result<Vec<PathBuf>> = entries.map(|entry| Ok(entry?.path())).collect();
    let is_checkpoint =
        |path: &PathBuf| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("step-"));
    let mut paths: Vec<PathBuf> = paths.map_err(failed)?.into_iter().filter(is_checkpoint).collect();
    paths.sort();
    Ok(paths)
}
