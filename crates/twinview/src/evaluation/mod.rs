//! How good predictions and embeddings are, from plain slices.

mod classification;
mod collapse;
mod confusion;
mod statistics;

pub use classification::{ClassificationReport, Scores};
pub use collapse::{CollapseMonitor, output_spread};
pub use confusion::ConfusionMatrix;
pub use statistics::Summary;

use crate::{Error, Result};

/// Labels can be compared when there is one prediction for each truth, and at least one of both.
fn check_labels(truth: &[u8], predicted: &[u8]) -> Result<()> {
    if truth.len() != predicted.len() {
        return Err(Error::Config(format!(
            "{} true labels and {} predicted ones cannot be compared: give one prediction for each sample",
            truth.len(),
            predicted.len()
        )));
    }
    if truth.is_empty() {
        return Err(Error::Config("there are no predictions to report on: give at least one sample".into()));
    }
    Ok(())
}
