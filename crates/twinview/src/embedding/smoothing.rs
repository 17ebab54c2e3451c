//! What is said of an image, spread to those that look alike.

use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use super::{Matrix, Metric, Neighbours, knn_within};
use crate::{Error, Result};

/// How predictions are smoothed over the graph of nearest neighbours: each image takes over what its neighbours say, as far as
/// `weight` says, and that is repeated.
///
/// With `S` the neighbours' weights, made symmetric and brought to a sum of one for each image, `P` what was predicted and `Q` what
/// comes out, `Q = weight S Q + (1 - weight) P`, begun at `P` (Zhou et al. 2003, "Learning with local and global consistency", with
/// the random walk's normalisation; of a classifier's predictions in the place of labels as in Huang et al. 2020, arXiv 2010.13993).
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Smoothing {
    /// Neighbours of each image, by the angle between features.
    pub neighbours: usize,
    /// A neighbour at cosine `c` counts `exp((c - 1) / temperature)`.
    pub temperature: f32,
    /// How much the neighbours count against the image itself: from 0 to below 1. 0 smooths nothing.
    pub weight: f32,
    /// How often.
    pub steps: usize,
}

impl Default for Smoothing {
    fn default() -> Self {
        Self { neighbours: 15, temperature: 0.07, weight: 0.8, steps: 20 }
    }
}

impl Smoothing {
    /// Refuses settings that cannot smooth.
    ///
    /// # Errors
    /// Names the setting, its value and what it may be.
    pub fn validate(&self) -> Result<()> {
        let Self { neighbours, temperature, weight, .. } = *self;
        let wrong = |name: &str, value: &dyn std::fmt::Display, expected: &str| {
            Err(Error::Config(format!("smoothing.{name} = {value} cannot smooth; it must be {expected}")))
        };
        if neighbours == 0 {
            return wrong("neighbours", &neighbours, "at least 1");
        }
        if !(temperature > 0.0 && temperature.is_finite()) {
            return wrong("temperature", &temperature, "a positive number");
        }
        if !(0.0..1.0).contains(&weight) {
            return wrong("weight", &weight, "from 0 to below 1");
        }
        Ok(())
    }

    /// Who counts how much for whom among the rows of `features`; where there are too few rows, all the others are neighbours.
    ///
    /// # Errors
    /// As [`validate`](Self::validate), and when there are fewer than two rows.
    pub fn graph(&self, features: Matrix<'_>) -> Result<NeighbourGraph> {
        self.validate()?;
        let neighbours = self.neighbours.min(features.rows().saturating_sub(1));
        Ok(NeighbourGraph::new(&knn_within(features, neighbours, Metric::Cosine)?, self.temperature))
    }
}

/// Who counts how much for whom: weights that add to one for each image.
#[derive(Clone, Debug)]
pub struct NeighbourGraph {
    /// Where the neighbours of each image begin, and where the last ones end.
    starts: Vec<usize>,
    neighbours: Vec<u32>,
    weights: Vec<f32>,
}

impl NeighbourGraph {
    /// From nearest neighbours, in both directions: who is near to whom counts for both, once for each that names the other.
    pub fn new(nearest: &Neighbours, temperature: f32) -> Self {
        let mut rows: Vec<Vec<(u32, f32)>> = vec![Vec::new(); nearest.rows().len()];
        for (image, (near, distances)) in nearest.rows().enumerate() {
            for (&other, &distance) in near.iter().zip(distances) {
                let weight = (-distance / temperature).exp();
                rows[image].push((other, weight));
                rows[other as usize].push((image as u32, weight));
            }
        }
        let mut graph = Self { starts: vec![0], neighbours: Vec::new(), weights: Vec::new() };
        for row in rows {
            let sum: f32 = row.iter().map(|(_, weight)| weight).sum();
            // Where all neighbours are too far for a number, each counts alike.
            let share = |weight: f32| if sum > 0.0 { weight / sum } else { 1.0 / row.len() as f32 };
            graph.neighbours.extend(row.iter().map(|(neighbour, _)| neighbour));
            graph.weights.extend(row.iter().map(|&(_, weight)| share(weight)));
            graph.starts.push(graph.neighbours.len());
        }
        graph
    }

    /// Smooths `values`, `[images, columns]`: `weight` and `steps` as in [`Smoothing`].
    ///
    /// # Errors
    /// When there is not a row of values for each image.
    pub fn smooth(&self, values: &[f32], weight: f32, steps: usize) -> Result<Vec<f32>> {
        let images = self.starts.len() - 1;
        if values.is_empty() || !values.len().is_multiple_of(images) {
            let found = values.len();
            return Err(Error::Config(format!("{found} values to smooth over {images} images")));
        }
        if weight == 0.0 {
            return Ok(values.to_vec());
        }
        let columns = values.len() / images;
        let (mut smoothed, mut next) = (values.to_vec(), vec![0.0; values.len()]);
        for _ in 0..steps {
            let rows = next.par_chunks_exact_mut(columns).zip(values.par_chunks_exact(columns)).enumerate();
            rows.for_each(|(image, (target, own))| {
                target.fill(0.0);
                let place = self.starts[image]..self.starts[image + 1];
                for (&neighbour, share) in self.neighbours[place.clone()].iter().zip(&self.weights[place]) {
                    let theirs = &smoothed[neighbour as usize * columns..][..columns];
                    target.iter_mut().zip(theirs).for_each(|(sum, value)| *sum += share * value);
                }
                target.iter_mut().zip(own).for_each(|(sum, own)| *sum = weight * *sum + (1.0 - weight) * own);
            });
            std::mem::swap(&mut smoothed, &mut next);
        }
        Ok(smoothed)
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use proptest::prelude::*;

    use super::super::read_npy;
    use super::*;

    fn smoothed(smoothing: Smoothing, features: Matrix<'_>, values: &[f32]) -> Result<Vec<f32>> {
        smoothing.graph(features)?.smooth(values, smoothing.weight, smoothing.steps)
    }

    fn golden(name: &str) -> (Vec<f32>, usize) {
        read_npy(Path::new(env!("CARGO_MANIFEST_DIR")).join("../../golden/embedding").join(name)).unwrap()
    }

    /// `golden/embedding/make_smoothing.py` made the numbers with scikit-learn's graph of neighbours and SciPy.
    #[test]
    fn numbers_are_scipys() {
        let (features, columns) = golden("vote_features.npy");
        let features = Matrix::new(&features, columns).unwrap();
        let (values, _) = golden("smoothing_values.npy");
        for (name, smoothing) in [
            ("smoothing_default.npy", Smoothing::default()),
            ("smoothing_far.npy", Smoothing { neighbours: 4, temperature: 0.5, weight: 0.95, steps: 50 }),
        ] {
            let (expected, _) = golden(name);
            let found = smoothed(smoothing, features, &values).unwrap();
            let most = found.iter().zip(&expected).map(|(one, other)| (one - other).abs()).fold(0.0, f32::max);
            assert!(found.len() == expected.len() && most < 1e-5, "{name}: {most}");
        }
    }

    #[test]
    fn neighbours_correct_one_another() {
        // Two groups; one image of each is taken for the other.
        let features: Vec<f32> =
            (0..20).flat_map(|at| if at < 10 { [1.0, at as f32 / 100.0] } else { [at as f32 / 100.0, 1.0] }).collect();
        let values: Vec<f32> =
            (0..20).flat_map(|at| if (at < 10) != (at % 10 == 3) { [0.9, 0.1] } else { [0.1, 0.9] }).collect();
        let smoothing = Smoothing { neighbours: 5, ..Smoothing::default() };
        let found = smoothed(smoothing, Matrix::new(&features, 2).unwrap(), &values).unwrap();
        for (at, row) in found.chunks(2).enumerate() {
            assert_eq!(row[0] > row[1], at < 10, "{at}: {row:?}");
        }
        let none = Smoothing { weight: 0.0, ..smoothing };
        assert_eq!(smoothed(none, Matrix::new(&features, 2).unwrap(), &values).unwrap(), values);
    }

    #[test]
    fn what_cannot_smooth_is_refused() {
        let features = [1.0, 0.0, 0.0, 1.0, 1.0, 1.0];
        let complaint = |smoothing: Smoothing, values: &[f32]| {
            smoothed(smoothing, Matrix::new(&features, 2).unwrap(), values).unwrap_err().to_string()
        };
        let fine = Smoothing { neighbours: 1, ..Smoothing::default() };
        for (smoothing, name) in [
            (Smoothing { neighbours: 0, ..fine }, "smoothing.neighbours = 0"),
            (Smoothing { temperature: 0.0, ..fine }, "smoothing.temperature = 0"),
            (Smoothing { weight: 1.0, ..fine }, "smoothing.weight = 1"),
            (Smoothing { weight: f32::NAN, ..fine }, "smoothing.weight = NaN"),
        ] {
            let message = complaint(smoothing, &[0.0; 3]);
            assert!(message.starts_with(name), "{message}");
        }
        assert!(complaint(fine, &[0.0; 4]).contains("4 values to smooth over 3 images"));
        assert!(smoothed(fine, Matrix::new(&features[..2], 2).unwrap(), &[0.0]).is_err());
        let all = Smoothing { neighbours: 9, ..fine };
        assert_eq!(smoothed(all, Matrix::new(&features, 2).unwrap(), &[1.0; 3]).unwrap().len(), 3);
    }

    proptest! {
        /// Shares stay shares, and the result is the same for any number of threads.
        #[test]
        fn shares_stay_shares(seed in 0u32..1000, rows in 5usize..60, neighbours in 1usize..4, weight in 0.0f32..0.99) {
            let at = |i: usize| ((i as u32).wrapping_mul(2_654_435_761).wrapping_add(seed * 97) >> 8) as f32 / 16_777_216.0;
            let features: Vec<f32> = (0..rows * 3).map(|i| at(i) - 0.4).collect();
            let features = Matrix::new(&features, 3).unwrap();
            let values: Vec<f32> = (0..rows).flat_map(|row| [at(row + 7000), 1.0 - at(row + 7000)]).collect();
            let smoothing = Smoothing { neighbours, weight, ..Smoothing::default() };
            let found = smoothed(smoothing, features, &values).unwrap();
            prop_assert!(found.chunks(2).all(|row| (row[0] + row[1] - 1.0).abs() < 1e-4 && row[0] >= 0.0));
            let pool = rayon::ThreadPoolBuilder::new().num_threads(3).build().unwrap();
            prop_assert_eq!(pool.install(|| smoothed(smoothing, features, &values).unwrap()), found);
        }
    }
}
