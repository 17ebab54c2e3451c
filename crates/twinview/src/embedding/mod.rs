//! What can be done with features once an encoder has made them: neighbours, groups, maps, files, and which images to label.
//!
//! But for the extraction itself nothing here knows a tensor library: features are plain rows of f32, looked at
//! through [`Matrix`].
//! Every result is the same bits for any number of threads.
//!
//! ```
//! use twinview::embedding::{Matrix, Metric, Umap, trustworthiness};
//!
//! let helix: Vec<f32> = (0..100).map(|step| step as f32 / 5.0).flat_map(|t| [t.cos(), t.sin(), t]).collect();
//! let features = Matrix::new(&helix, 3)?;
//! let map = Umap { n_components: 2, metric: Metric::Euclidean, ..Umap::default() }.fit_transform(features)?;
//! let kept = trustworthiness(features, Matrix::new(&map, 2)?, 5, Metric::Euclidean)?;
//! assert!(kept > 0.95);
//! # Ok::<(), twinview::Error>(())
//! ```

mod classify;
mod curve;
mod export;
mod features;
mod fuzzy;
mod kmeans;
mod layout;
mod neighbours;
mod pca;
mod products;
mod smoothing;
mod space;
mod trustworthiness;
mod typical;
mod umap;

pub use classify::{Vote, accuracy, classify};
pub use export::{read_npy, write_csv, write_npy};
pub use features::{Features, extract};
pub use kmeans::{Clusters, KMeans};
pub use neighbours::{Neighbours, knn, knn_within};
pub use smoothing::{NeighbourGraph, Smoothing};
pub use space::Metric;
pub use trustworthiness::trustworthiness;
pub use typical::{Typical, most_typical};
pub use umap::Umap;

use crate::{Error, Result};

/// The largest magnitude a feature may have: its square must still be an ordinary f32.
const LARGEST: f32 = 1e18;

/// A borrowed table of features: `[rows, columns]`, row-major, all finite.
#[derive(Clone, Copy, Debug)]
pub struct Matrix<'a> {
    values: &'a [f32],
    columns: usize,
}

impl<'a> Matrix<'a> {
    /// Looks at `values` as rows of `columns` numbers.
    ///
    /// # Errors
    /// When `values` does not divide into such rows, or holds a NaN, an infinity or a magnitude over 1e18.
    pub fn new(values: &'a [f32], columns: usize) -> Result<Self> {
        if columns == 0 || !values.len().is_multiple_of(columns) {
            let count = values.len();
            return Err(Error::Config(format!("{count} numbers do not divide into rows of {columns}")));
        }
        if let Some(place) = values.iter().position(|value| value.is_nan() || value.abs() > LARGEST) {
            return Err(Error::Config(format!(
                "feature {} of sample {} is {}, expected a finite number below 1e18: look for a diverged or \
                 untrained model, or remove the sample",
                place % columns,
                place / columns,
                values[place]
            )));
        }
        Ok(Self { values, columns })
    }

    /// How many rows there are.
    pub fn rows(&self) -> usize {
        self.values.len() / self.columns
    }

    /// How many numbers a row has.
    pub fn columns(&self) -> usize {
        self.columns
    }

    /// All numbers, row after row.
    pub fn values(&self) -> &'a [f32] {
        self.values
    }

    /// The row at `index`: `[columns]`.
    pub fn row(&self, index: usize) -> &'a [f32] {
        &self.values[index * self.columns..][..self.columns]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A golden array: its numbers and how many a row has.
    pub(super) fn golden(name: &str) -> (Vec<f32>, usize) {
        read_npy(format!("{}/../../golden/embedding/{name}.npy", env!("CARGO_MANIFEST_DIR"))).unwrap()
    }

    /// The golden lines that begin with `word`: the numbers that follow it.
    pub(super) fn golden_numbers(word: &str) -> Vec<Vec<f64>> {
        include_str!("../../../../golden/embedding/numbers.txt")
            .lines()
            .filter_map(|line| line.strip_prefix(word))
            .map(|line| line.split_whitespace().map(|number| number.parse().unwrap()).collect())
            .collect()
    }

    pub(super) fn normals(count: usize, seed: u64) -> Vec<f32> {
        let mut random = crate::random::Stream::new(seed, crate::random::Purpose::Resample).at(0, 0, 0);
        (0..count).map(|_| random.normal()).collect()
    }

    /// What `work` gives on a pool of `threads` threads.
    pub(super) fn with_threads<T: Send>(threads: usize, work: impl FnOnce() -> T + Send) -> T {
        rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap().install(work)
    }

    #[test]
    fn features_that_are_no_numbers_are_refused_by_place() {
        for bad in [f32::NAN, f32::INFINITY, -1e30] {
            let message = Matrix::new(&[0.0, 1.0, 2.0, bad], 2).unwrap_err().to_string();
            assert!(message.contains("feature 1 of sample 1"), "{message}");
        }
        assert!(Matrix::new(&[0.0; 5], 2).unwrap_err().to_string().contains("5 numbers"));
        assert!(Matrix::new(&[0.0; 4], 0).is_err());
        assert_eq!(Matrix::new(&[], 2).unwrap().rows(), 0);
    }
}
