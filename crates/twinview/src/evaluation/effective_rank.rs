//! How many directions features use.

use super::gram::gram;
use super::spaced;
use crate::embedding::Matrix;

/// Rows that are looked at, at most: of wide features, and of others.
const MOST_WIDE: usize = 1024;
const MOST: usize = 4096;

/// The exponential of the entropy of the singular values' shares: from 1, all rows on one line, to the smaller of
/// rows and columns, all directions used alike; 0 for features that are all zero.
///
/// RankMe, Garrido et al. 2023, "RankMe: Assessing the downstream performance of pretrained self-supervised
/// representations by their rank" (arXiv:2210.02885), without its 1e-7 against logarithms of zero; as there, features
/// are not centred. It compares runs of one method on one dataset, not methods, and wants several times as many rows
/// as columns. Of more than 4,096 rows, or 1,024 with more than 1,024 columns, as many at equal intervals are taken:
/// that takes below a second.
pub fn effective_rank(features: Matrix<'_>) -> f64 {
    let columns = features.columns();
    let rows = features.rows().min(if columns > MOST_WIDE { MOST_WIDE } else { MOST });
    let row = |row: usize| features.row(spaced(row, rows, features.rows()));
    // The squares must not overflow.
    let scale = features.values().iter().fold(0.0, |scale: f32, value| scale.max(value.abs())).recip();
    if !scale.is_finite() {
        return 0.0;
    }
    let scaled = |value: f32| f64::from(value) * f64::from(scale);
    let products = if rows < columns {
        gram(rows, columns, |index, target| {
            target.iter_mut().zip(row(index)).for_each(|(target, &value)| *target = scaled(value));
        })
    } else {
        gram(columns, rows, |column, target| {
            target.iter_mut().enumerate().for_each(|(index, target)| *target = scaled(row(index)[column]));
        })
    };
    let size = products.size as f64;
    let eigenvalues = products.eigenvalues();
    // Smaller ones can be rounding.
    let least = eigenvalues.last().map_or(0.0, |largest| largest * size * f64::EPSILON);
    let singular: Vec<f64> = eigenvalues.iter().filter(|&&value| value > least).map(|value| value.sqrt()).collect();
    let sum: f64 = singular.iter().sum();
    let entropy: f64 = singular.iter().map(|value| value / sum).map(|share| -share * share.ln()).sum();
    if singular.is_empty() { 0.0 } else { entropy.exp() }
}
