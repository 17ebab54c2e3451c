//! What distance means: both metrics as one.

use serde::{Deserialize, Serialize};

use super::Matrix;
use super::products::{References, TILE_REFERENCES};
use crate::{Error, Result};

/// How far two rows are from each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Metric {
    /// One minus the cosine of the angle between them: 0..=2. A row of zeros is 1 from all others, and 0
    /// from its like.
    Cosine,
    /// The length of their difference.
    Euclidean,
}

impl Metric {
    /// The distance that belongs to a squared Euclidean distance in the metric's [`Space`].
    pub(super) fn of_squared(self, squared: f64) -> f64 {
        match self {
            Self::Cosine => squared / 2.0,
            Self::Euclidean => squared.sqrt(),
        }
    }
}

/// Both metrics as a Euclidean distance: the cosine distance of two rows is half of the squared distance
/// of their unit vectors.
///
/// For the f32 products, rows are moved to their common mean and scaled to at most 1, so that precision
/// goes to their differences.
pub(super) struct Space<'a> {
    reference: Matrix<'a>,
    queries: Matrix<'a>,
    /// What each row is divided by: its length, or 1 for the Euclidean metric.
    reference_lengths: Vec<f64>,
    query_lengths: Vec<f64>,
    /// Under the cosine metric rows of zeros stand on an axis of their own, at a right angle to all others.
    zero_axis: bool,
    mean: Vec<f64>,
    scale: f64,
}

impl<'a> Space<'a> {
    pub(super) fn new(reference: Matrix<'a>, queries: Matrix<'a>, metric: Metric) -> Result<Self> {
        if reference.columns() != queries.columns() {
            return Err(Error::Config(format!(
                "the references have {} features and the queries {}: make both with the same encoder",
                reference.columns(),
                queries.columns()
            )));
        }
        let lengths = |rows: Matrix<'_>| match metric {
            Metric::Cosine => (0..rows.rows()).map(|row| length(rows.row(row))).collect(),
            Metric::Euclidean => vec![1.0; rows.rows()],
        };
        let (reference_lengths, query_lengths): (Vec<f64>, Vec<f64>) = (lengths(reference), lengths(queries));
        let zero_axis = reference_lengths.iter().chain(&query_lengths).any(|&length| length == 0.0);
        let mut mean = vec![0.0; reference.columns()];
        for (row, &length) in reference_lengths.iter().enumerate().filter(|&(_, &length)| length > 0.0) {
            let factor = 1.0 / (length * reference.rows() as f64);
            mean.iter_mut().zip(reference.row(row)).for_each(|(mean, &value)| *mean += f64::from(value) * factor);
        }
        let mut space = Self { reference, queries, reference_lengths, query_lengths, zero_axis, mean, scale: 1.0 };
        if metric == Metric::Euclidean {
            let largest = |rows: Matrix<'_>| {
                rows.values().chunks_exact(rows.columns()).fold(0.0, |largest: f64, row| {
                    row.iter()
                        .zip(&space.mean)
                        .fold(largest, |largest, (&value, mean)| largest.max((f64::from(value) - mean).abs()))
                })
            };
            let largest = largest(reference).max(largest(queries));
            space.scale = if largest > 0.0 { 1.0 / largest } else { 1.0 };
        }
        Ok(space)
    }

    pub(super) fn references(&self) -> References {
        let columns = self.mean.len() + usize::from(self.zero_axis);
        References::pack(self.reference.rows(), columns, |row, target| {
            self.place(self.reference.row(row), self.reference_lengths[row], target);
        })
    }

    /// Scores the `count` queries from `first` on; see [`References::score`].
    pub(super) fn score(
        &self,
        references: &References,
        first: usize,
        count: usize,
        visit: impl FnMut(usize, usize, &[f32; TILE_REFERENCES]),
    ) {
        let fill = |query: usize, target: &mut [f32]| {
            self.place(self.queries.row(first + query), self.query_lengths[first + query], target);
        };
        references.score(count, fill, visit);
    }

    fn place(&self, row: &[f32], length: f64, target: &mut [f32]) {
        if let Some(axis) = target.get_mut(self.mean.len()) {
            *axis = f32::from(u8::from(length == 0.0));
        }
        let factor = if length > 0.0 { 1.0 / length } else { 0.0 };
        for ((target, &value), mean) in target.iter_mut().zip(row).zip(&self.mean) {
            *target = ((f64::from(value) * factor - mean) * self.scale) as f32;
        }
    }

    /// The squared distance of a query and a reference in this space, in f64 from the features themselves.
    pub(super) fn squared_distance(&self, query: usize, reference: usize) -> f64 {
        let (left, right) = (self.queries.row(query), self.reference.row(reference));
        let lengths = (self.query_lengths[query], self.reference_lengths[reference]);
        match lengths {
            (0.0, 0.0) => return 0.0,
            (0.0, _) | (_, 0.0) => return 2.0,
            _ => {}
        }
        let (left_factor, right_factor) = (1.0 / lengths.0, 1.0 / lengths.1);
        // Eight sums side by side let the compiler use vector instructions without changing the order.
        let mut sums = [0.0; 8];
        let square = |x: f32, y: f32| (f64::from(x) * left_factor - f64::from(y) * right_factor).powi(2);
        let ((left, left_rest), (right, right_rest)) = (left.as_chunks::<8>(), right.as_chunks::<8>());
        for (x, y) in left.iter().zip(right) {
            (0..8).for_each(|lane| sums[lane] += square(x[lane], y[lane]));
        }
        sums.iter().sum::<f64>() + left_rest.iter().zip(right_rest).map(|(&x, &y)| square(x, y)).sum::<f64>()
    }
}

/// The Euclidean length of `row`.
pub(super) fn length(row: &[f32]) -> f64 {
    row.iter().map(|&value| f64::from(value).powi(2)).sum::<f64>().sqrt()
}
