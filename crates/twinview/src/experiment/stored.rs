//! Parts of an experiment that are made once: an interrupted experiment finds them when it goes on.

use std::path::Path;

use serde_json::Value;

use crate::dataset::Split;
use crate::files;
use crate::training::{Context, Origin, Pretraining, RunDir, pretrain};
use crate::weights::Weights;
use crate::{Error, Result};

/// The result in `file`, made by `compute` if there is none yet.
pub(super) fn stored(file: &Path, compute: impl FnOnce() -> Result<Value>) -> Result<Value> {
    if !file.is_file() {
        files::write_atomic(file, compute()?.to_string().as_bytes())?;
    }
    let text = std::fs::read_to_string(file).map_err(|error| Error::io(file, "read the result", error))?;
    let damaged = |_| Error::format(file, "no result of an experiment; remove the file to compute it again");
    serde_json::from_str(&text).map_err(damaged)
}

/// The number in `result` that `keys` lead to.
pub(super) fn score(result: &Value, keys: &[&str]) -> Result<f64> {
    let found = keys.iter().try_fold(result, |value, key| value.get(key)).and_then(Value::as_f64);
    found.ok_or_else(|| {
        Error::Config(format!("a stored result lacks {}; remove it to compute it again", keys.join(".")))
    })
}

/// The weights of the pretraining in `folder`, trained on `split` if they are not yet.
pub(super) fn encoder(
    folder: &Path,
    settings: &Pretraining,
    split: &Split,
    origin: &Origin,
    context: &mut Context<'_>,
) -> Result<Weights> {
    let run = RunDir::open(folder, settings, true, origin)?;
    if !run.is_finished() {
        let label = format!("{} pretraining, seed {}", settings.method.title(), settings.plan.seed);
        pretrain(settings, &label, split, &run, context)?;
    }
    run.weights()
}
