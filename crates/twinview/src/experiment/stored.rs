//! Parts of an experiment that are made once: an interrupted experiment finds them when it goes on.

use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::dataset::Dataset;
use crate::files;
use crate::training::{Context, Origin, Pretraining, RunDir, pretrain};
use crate::weights::Weights;
use crate::{Error, Result};

/// A result and the file that holds it.
pub(super) struct Stored {
    file: PathBuf,
    pub(super) value: Value,
}

impl Stored {
    /// The result in `file`, made by `compute` if there is none yet.
    pub(super) fn open(file: PathBuf, compute: impl FnOnce() -> Result<Value>) -> Result<Self> {
        if !file.is_file() {
            let text = serde_json::to_string_pretty(&compute()?).unwrap_or_default();
            files::write_atomic(&file, format!("{text}\n").as_bytes())?;
        }
        // What was just computed is read back too: the last bit of a number may change on its way through JSON, and an
        // experiment in one go must give what an interrupted one gives.
        let text = std::fs::read_to_string(&file).map_err(|error| Error::io(&file, "read the result", error))?;
        let value = serde_json::from_str(&text);
        let damaged = |_| Error::format(&file, "no result of an experiment; remove the file to compute it again");
        Ok(Self { value: value.map_err(damaged)?, file })
    }

    /// The number that `keys` lead to.
    pub(super) fn number(&self, keys: &[&str]) -> Result<f64> {
        let found = keys.iter().try_fold(&self.value, |value, key| value.get(key)).and_then(Value::as_f64);
        found.ok_or_else(|| self.lacks(&keys.join(".")))
    }

    /// The places at `key`, all of them below `end`.
    pub(super) fn places(&self, key: &str, end: usize) -> Result<Vec<usize>> {
        let place = |value: &Value| value.as_u64().map(|place| place as usize).filter(|&place| place < end);
        let found = self.value[key].as_array().and_then(|values| values.iter().map(place).collect());
        found.ok_or_else(|| self.lacks(key))
    }

    fn lacks(&self, what: &str) -> Error {
        Error::format(&self.file, format!("the result lacks {what}; remove the file to compute it again"))
    }
}

/// The settings of the training among those of a run directory: a run of its own says beside its plan what it is, one below an
/// experiment is its plan alone.
pub(super) fn plan_of(settings: &toml::Table) -> &toml::Table {
    settings.get("plan").and_then(toml::Value::as_table).unwrap_or(settings)
}

/// The weights of the pretraining in `folder`, trained on the pool of `dataset` if they are not yet.
pub(super) fn encoder(
    folder: &Path,
    settings: &Pretraining,
    dataset: &Dataset,
    origin: &Origin,
    context: &mut Context<'_>,
) -> Result<Weights> {
    let run = RunDir::open(folder, settings, true, origin)?;
    if !run.is_finished() {
        let label = format!("{} pretraining, seed {}", settings.method.title(), settings.plan.seed);
        pretrain(settings, &label, &dataset.pool, &dataset.train.labels, &run, context)?;
    }
    run.weights()
}
