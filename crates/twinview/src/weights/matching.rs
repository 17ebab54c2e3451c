//! Fitting loaded weights to a model, and saying what went where.
//!
//! Weights that were meant to arrive and did not are the worst kind of silence: the model trains, reports and is
//! wrong. So a load in which nothing matched, or a shape differs, always fails, and one that leaves a part of the
//! model as it was fails unless that is asked for.
//!
//! ```
//! use std::collections::BTreeMap;
//!
//! use twinview::state::{Array, StateDict};
//! use twinview::weights::{self, Scope, match_into};
//!
//! # let folder = tempfile::tempdir().unwrap();
//! # let path = folder.path().join("simsiam.safetensors");
//! let state = |names: [&str; 2], value| {
//!     StateDict::from(names.map(|name| (name.to_owned(), Array::f32([1], vec![value]))))
//! };
//! weights::save(&path, &state(["backbone.0.bias", "prediction_mlp.0.bias"], 1.0), &BTreeMap::new())?;
//! let (file, model) = (weights::load(&path)?, state(["backbone.0.bias", "fc.0.bias"], 0.0));
//!
//! let (loaded, report) = match_into(&model, &file, &Scope::prefixes(["backbone."]))?;
//! assert_eq!(loaded["backbone.0.bias"], Array::f32([1], vec![1.0]));
//! assert_eq!(report.kept, ["fc.0.bias"]);
//! // Nothing of the head is in the file.
//! assert!(match_into(&model, &file, &Scope::prefixes(["fc."])).is_err());
//! # Ok::<(), twinview::Error>(())
//! ```

use std::collections::BTreeSet;
use std::fmt;
use std::path::PathBuf;

use super::{Rename, Weights, names::grouped};
use crate::state::{Array, StateDict};
use crate::{Error, Result};

/// Counters that PyTorch before 0.4.1 did not save, and that no output depends on.
const OPTIONAL: &str = ".num_batches_tracked";

/// Which arrays of a model are to be loaded.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Scope {
    prefixes: Vec<String>,
    partial: bool,
}

impl Scope {
    /// The whole model.
    pub fn whole() -> Self {
        Self::default()
    }

    /// Only arrays whose name starts with one of these, such as `backbone.`.
    pub fn prefixes<P: Into<String>>(prefixes: impl IntoIterator<Item = P>) -> Self {
        Self { prefixes: prefixes.into_iter().map(Into::into).collect(), partial: false }
    }

    /// Whether arrays of the scope may be missing in the file, or unused from it.
    pub fn partial(self, partial: bool) -> Self {
        Self { partial, ..self }
    }

    fn contains(&self, name: &str) -> bool {
        self.prefixes.is_empty() || self.prefixes.iter().any(|prefix| name.starts_with(prefix))
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.prefixes.is_empty() {
            return write!(f, "the model");
        }
        let prefixes: Vec<_> = self.prefixes.iter().map(|prefix| format!("{prefix}*")).collect();
        write!(f, "{}", prefixes.join(", "))
    }
}

/// What a load did; its text is for people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LoadReport {
    /// The file.
    pub path: PathBuf,
    /// What was to be loaded.
    pub scope: Scope,
    /// Arrays that were loaded.
    pub matched: Vec<String>,
    /// Arrays of the scope that the file does not have; the model keeps its own.
    pub missing: Vec<String>,
    /// Arrays of the file that were not loaded.
    pub unused: Vec<String>,
    /// Arrays of the model outside the scope; it keeps its own.
    pub kept: Vec<String>,
    /// Loaded arrays that have another name in the file.
    pub renamed: Vec<Rename>,
}

impl fmt::Display for LoadReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let wanted = self.matched.len() + self.missing.len();
        write!(f, "{}: loaded {} of {wanted} arrays of {}", self.path.display(), self.matched.len(), self.scope)?;
        for (what, names) in [
            ("missing in the file", &self.missing),
            ("unused from the file", &self.unused),
            ("left as they are", &self.kept),
        ] {
            if !names.is_empty() {
                write!(f, "\n  {what}: {}", grouped(names.iter().map(String::as_str)))?;
            }
        }
        match self.renamed.as_slice() {
            [] => Ok(()),
            [one] => write!(f, "\n  renamed: {one}"),
            [first, ..] => write!(f, "\n  renamed: {} arrays, such as {first}", self.renamed.len()),
        }
    }
}

/// Picks from `given` what a model with the arrays `expected` is to load.
///
/// Only the names, shapes and element types of `expected` count. The result has the names of the model and holds
/// what matched; arrays that are not in it stay as they are.
///
/// # Errors
/// [`Error::Format`], naming the file, when
/// - an array of the scope has another shape or element type in the file: a checkpoint of another model;
/// - nothing of the scope is in the file;
/// - the file lacks arrays of the scope, or has arrays in the scope that the model lacks, unless
///   [`Scope::partial`]. As with PyTorch's `strict=True`, a deeper or shallower model is another model.
///   BatchNorm's `num_batches_tracked` may be missing.
pub fn match_into(expected: &StateDict, given: &Weights, scope: &Scope) -> Result<(StateDict, LoadReport)> {
    let wrong = |message| Err(Error::format(&given.path, message));
    let (wanted, kept): (Vec<_>, Vec<_>) = expected.iter().partition(|(name, _)| scope.contains(name));
    let mut matched = StateDict::new();
    let mut missing = Vec::new();
    let mut mismatched = Vec::new();
    for (name, model) in wanted {
        match given.state.get(name) {
            None => missing.push(name.clone()),
            Some(file) if same_type(model, file) => drop(matched.insert(name.clone(), file.clone())),
            Some(file) => {
                mismatched.push(format!("{name} is {} in the file and {} in the model", text(file), text(model)))
            }
        }
    }
    if let Some(first) = mismatched.first() {
        let count = mismatched.len();
        let others = if count > 1 { format!(" ({count} arrays differ)") } else { String::new() };
        return wrong(format!("weights of another model: {first}{others}. Choose the model they were trained as"));
    }
    let unused: Vec<String> = given.state.keys().filter(|name| !matched.contains_key(*name)).cloned().collect();
    if matched.is_empty() {
        return wrong(format!(
            "nothing in this file fits {scope}, so nothing would be loaded. The file has {}; wanted {}",
            grouped(given.state.keys().map(String::as_str)),
            if missing.is_empty() { "nothing of that name in the model".into() } else { group(&missing) }
        ));
    }
    if !scope.partial {
        let required: Vec<_> = missing.iter().filter(|name| !name.ends_with(OPTIONAL)).cloned().collect();
        if !required.is_empty() {
            return wrong(format!(
                "only a part of {scope} is in this file: {} of {} arrays are missing: {}. Choose the model these \
                 weights were trained as, or ask for a partial load",
                required.len(),
                matched.len() + missing.len(),
                group(&required)
            ));
        }
        let extra: Vec<_> = unused.iter().filter(|name| scope.contains(name)).cloned().collect();
        if !extra.is_empty() {
            return wrong(format!(
                "this file has more than {scope} takes: {}. Choose the model these weights were trained as, or ask \
                 for a partial load",
                group(&extra)
            ));
        }
    }
    let taken: BTreeSet<&String> = matched.keys().collect();
    let report = LoadReport {
        path: given.path.clone(),
        scope: scope.clone(),
        missing,
        unused,
        kept: kept.into_iter().map(|(name, _)| name.clone()).collect(),
        renamed: given.renamed.iter().filter(|rename| taken.contains(&rename.to)).cloned().collect(),
        matched: matched.keys().cloned().collect(),
    };
    Ok((matched, report))
}

fn group(names: &[String]) -> String {
    grouped(names.iter().map(String::as_str))
}

fn same_type(a: &Array, b: &Array) -> bool {
    a.shape == b.shape && a.kind() == b.kind()
}

fn text(array: &Array) -> String {
    format!("{} {:?}", array.kind(), array.shape)
}
