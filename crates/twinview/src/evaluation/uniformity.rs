//! How evenly features cover the sphere.

use rayon::prelude::*;

use super::gram::gram;
use super::{spaced, unit};
use crate::embedding::Matrix;
use crate::{Error, Result};

/// Rows that are compared, at most: over two million pairs.
const MOST: usize = 2048;

/// The logarithm of the mean of `exp(-2 d²)` over all pairs of l2-normalised rows, `d` being their distance: from
/// -4 for features that spread evenly over a sphere of many dimensions to 0 for features that are all the same.
///
/// Wang and Isola 2020 (arXiv:2005.10242), with their factor of 2; low is good. Of more than 2,048 rows, as many at
/// equal intervals are compared.
///
/// # Errors
/// When there are fewer than two rows.
pub fn uniformity(features: Matrix<'_>) -> Result<f64> {
    let rows = features.rows().min(MOST);
    if rows < 2 {
        return Err(Error::Config(format!("uniformity compares pairs of rows: give at least two rows, not {rows}")));
    }
    let products = gram(rows, features.columns(), |row, target| {
        unit(features.row(spaced(row, rows, features.rows())), target);
    });
    let product = |row: usize, other: usize| products.values[row * products.size + other];
    let of_row = |row: usize| {
        let pair =
            |other: usize| (-2.0 * (product(row, row) + product(other, other) - 2.0 * product(row, other))).exp();
        (0..row).map(pair).sum::<f64>()
    };
    let sums: Vec<f64> = (1..rows).into_par_iter().map(of_row).collect();
    Ok((sums.iter().sum::<f64>() / (rows * (rows - 1) / 2) as f64).ln())
}
