//! Weights from a file or a run directory into a model.

use std::path::Path;

use super::checkpoint::{OPTIMIZER, files};
use super::run_dir::WEIGHTS;
use crate::backbone::{TorchNames, load_state_dict, state_dict};
use crate::weights::{LoadReport, Scope, Weights, load, match_into};
use crate::{Error, Result};

/// The weights that `path` names: a file, a checkpoint, or a run directory (its final weights, or those of its
/// last checkpoint while it trains).
pub fn open_weights(path: impl AsRef<Path>) -> Result<Weights> {
    let path = path.as_ref();
    let (file, is_finished) = if !path.is_dir() {
        (path.to_path_buf(), true)
    } else if path.join(WEIGHTS).is_file() {
        (path.join(WEIGHTS), true)
    } else {
        let message = "a folder without weights. Name a weights file, or a run directory that training has written to";
        (files(path)?.pop().ok_or_else(|| Error::format(path, message))?, false)
    };
    let mut weights = load(file)?;
    weights.state.retain(|name, _| !name.starts_with(OPTIMIZER));
    if !is_finished && !weights.state.keys().any(|name| name.starts_with("backbone.")) {
        // A head on fixed features is checkpointed without its encoder, which does not change.
        let message = "a run whose training is not over; its checkpoint holds a head alone. Finish it with --resume";
        return Err(Error::format(path, message));
    }
    Ok(weights)
}

/// `model` with all of `weights`.
///
/// # Errors
/// When `weights` are not exactly those of such a model.
pub fn load_weights<M: TorchNames>(model: M, weights: &Weights) -> Result<(M, LoadReport)> {
    load_scope(model, weights, &Scope::whole())
}

/// `model` with the backbone of `weights`; the rest of it stays as it is.
///
/// # Errors
/// When a parameter of the backbone is missing in `weights` or has another shape.
pub fn load_backbone<M: TorchNames>(model: M, weights: &Weights) -> Result<(M, LoadReport)> {
    load_scope(model, weights, &Scope::prefixes(["backbone."]))
}

fn load_scope<M: TorchNames>(model: M, weights: &Weights, scope: &Scope) -> Result<(M, LoadReport)> {
    let mut state = state_dict(&model);
    let (loaded, report) = match_into(&state, weights, scope)?;
    state.extend(loaded);
    Ok((load_state_dict(model, &state)?, report))
}
