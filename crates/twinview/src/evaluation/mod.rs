//! How good predictions and embeddings are, from plain slices.
//!
//! ```
//! use twinview::evaluation::{ClassificationReport, Summary};
//!
//! let report = ClassificationReport::new(&[0, 0, 1, 1], &[0, 1, 1, 1])?;
//! assert_eq!(report.to_json()["accuracy"], 0.75);
//! let over_seeds = Summary::of(&[0.80, 0.81, 0.82]).unwrap();
//! assert_eq!(over_seeds.to_string(), "0.810 ± 0.010");
//! # Ok::<(), twinview::Error>(())
//! ```

mod advisor;
mod alignment;
mod classification;
mod collapse;
mod confusion;
mod effective_rank;
mod gram;
mod logistic;
mod statistics;
mod uniformity;

pub use advisor::{Advisor, Observation, Verdict};
pub use alignment::alignment;
pub use classification::{ClassificationReport, Scores};
pub use collapse::{CollapseMonitor, output_spread};
pub use confusion::ConfusionMatrix;
pub use effective_rank::effective_rank;
pub use logistic::{Choice, CrossValidation, LinearModel, LogisticRegression, Score};
pub use statistics::Summary;
pub use uniformity::uniformity;

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

/// The place of the largest number of `row`, of equals the first: the class that probabilities or logits speak for.
pub fn most_probable(row: &[f32]) -> usize {
    row.iter().enumerate().fold(0, |best, (class, value)| if *value > row[best] { class } else { best })
}

/// Makes probabilities of one image's logits.
pub fn softmax(row: &mut [f32]) {
    let most = row.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    row.iter_mut().for_each(|logit| *logit = (*logit - most).exp());
    let sum: f32 = row.iter().sum();
    row.iter_mut().for_each(|share| *share /= sum);
}

/// Writes `row` at length 1 to `target`; a row of zeros stays one.
fn unit(row: &[f32], target: &mut [f64]) {
    let length = row.iter().map(|&value| f64::from(value).powi(2)).sum::<f64>().sqrt();
    let scale = 1.0 / length.max(1e-12);
    target.iter_mut().zip(row).for_each(|(target, &value)| *target = f64::from(value) * scale);
}

/// Which of `rows` rows stands at `index` when `count` are taken at equal intervals.
fn spaced(index: usize, count: usize, rows: usize) -> usize {
    index * rows / count
}

#[cfg(test)]
#[path = "measures_tests.rs"]
mod measures_tests;
