//! How near the features of two views of an image are.

use super::unit;
use crate::embedding::Matrix;
use crate::{Error, Result};

/// The mean squared distance of l2-normalised pairs, row by row: 0 (equal) to 4 (opposite).
///
/// Wang and Isola 2020, "Understanding Contrastive Representation Learning through Alignment and Uniformity on the
/// Hypersphere" (arXiv:2005.10242), with their exponent of 2. Low is good only together with a low
/// [`uniformity`](super::uniformity): features that are all the same are perfectly aligned.
///
/// # Errors
/// When the two differ in shape or have no rows.
pub fn alignment(features: Matrix<'_>, positives: Matrix<'_>) -> Result<f64> {
    let (rows, columns) = (features.rows(), features.columns());
    if rows == 0 || (rows, columns) != (positives.rows(), positives.columns()) {
        return Err(Error::Config(format!(
            "{rows} rows of {columns} features cannot be paired with {} rows of {}: give the features of two views of \
             the same images, at least one",
            positives.rows(),
            positives.columns()
        )));
    }
    let (mut left, mut right) = (vec![0.0; columns], vec![0.0; columns]);
    let mut sum = 0.0;
    for row in 0..rows {
        unit(features.row(row), &mut left);
        unit(positives.row(row), &mut right);
        sum += left.iter().zip(&right).map(|(left, right)| (left - right).powi(2)).sum::<f64>();
    }
    Ok(sum / rows as f64)
}
