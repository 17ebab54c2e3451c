//! UMAP: uniform manifold approximation and projection (McInnes, Healy and Melville 2018, arXiv:1802.03426).

use serde::{Deserialize, Serialize};

use super::curve::Curve;
use super::fuzzy::fuzzy_union;
use super::layout::optimise;
use super::{Matrix, Metric, Neighbours, knn_within, pca};
use crate::random::{Purpose, Stream};
use crate::{Error, Result};

/// More dimensions than any use of a map needs, and few enough to fit in memory.
const MOST_COMPONENTS: usize = 1000;
/// What [`Stream::at`] can count to.
const MOST_EPOCHS: usize = 1 << 20;

/// The settings of a map. The default is the article's: three components, ten neighbours, cosine.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Umap {
    /// Dimensions of the map.
    pub n_components: usize,
    /// Neighbours that define a sample's surroundings, itself counted, as in umap-learn: 2 or more.
    pub n_neighbors: usize,
    /// How distances between features are measured.
    pub metric: Metric,
    /// How close points of the map may come: `0..=spread`.
    pub min_dist: f32,
    /// The scale of the map's clusters.
    pub spread: f32,
    /// Rounds of optimisation: 500 up to 10,000 samples and 200 beyond where not given.
    pub n_epochs: Option<usize>,
    /// What the starting noise and the random choices are drawn from.
    pub seed: u64,
}

impl Default for Umap {
    fn default() -> Self {
        Self {
            n_components: 3,
            n_neighbors: 10,
            metric: Metric::Cosine,
            min_dist: 0.1,
            spread: 1.0,
            n_epochs: None,
            seed: 0,
        }
    }
}

impl Umap {
    /// The map of `features`: `[rows, n_components]`.
    ///
    /// Differs from umap-learn's defaults in exact neighbours, a start from principal components (of the
    /// features as they are, whatever the metric) and an optimisation whose points move at the same time.
    ///
    /// # Errors
    /// When a setting is out of its range or there are not more than `n_neighbors` rows.
    pub fn fit_transform(&self, features: Matrix<'_>) -> Result<Vec<f32>> {
        self.check(features.rows())?;
        self.layout(features, &knn_within(features, self.n_neighbors - 1, self.metric)?)
    }

    /// The map of `features` whose `neighbours` are known, as [`knn_within`] gives them: several maps need one search.
    ///
    /// # Errors
    /// As [`fit_transform`](Self::fit_transform), and when `neighbours` are not `n_neighbors - 1` for each row.
    pub fn fit_neighbours(&self, features: Matrix<'_>, neighbours: &Neighbours) -> Result<Vec<f32>> {
        self.check(features.rows())?;
        let (wanted, found) = (self.n_neighbors - 1, neighbours.k());
        if found != wanted || neighbours.indices().len() != wanted * features.rows() {
            let rows = features.rows();
            return Err(Error::Config(format!(
                "UMAP with n_neighbors = {} needs {wanted} neighbours of {rows} samples, not {found} of {}",
                self.n_neighbors,
                neighbours.indices().len() / found.max(1)
            )));
        }
        self.layout(features, neighbours)
    }

    fn layout(&self, features: Matrix<'_>, neighbours: &Neighbours) -> Result<Vec<f32>> {
        let graph = fuzzy_union(neighbours);
        let curve = Curve::fit(self.spread.into(), self.min_dist.into());
        let epochs = self.n_epochs.unwrap_or(if features.rows() <= 10_000 { 500 } else { 200 });
        let mut positions = self.start(features);
        optimise(&graph, &mut positions, self.n_components, curve, epochs, self.seed);
        Ok(positions)
    }

    fn check(&self, samples: usize) -> Result<()> {
        let wrong = |message: String| Err(Error::Config(message));
        if self.n_components == 0 || self.n_components > MOST_COMPONENTS {
            let found = self.n_components;
            return wrong(format!("UMAP needs at least 1 component and at most {MOST_COMPONENTS}, not {found}"));
        }
        if self.n_neighbors < 2 {
            return wrong(format!("UMAP needs n_neighbors of 2 or more, not {}", self.n_neighbors));
        }
        if samples <= self.n_neighbors {
            return wrong(format!(
                "UMAP with n_neighbors = {} needs more samples than that, and there are {samples}: give more samples \
                 or lower n_neighbors",
                self.n_neighbors
            ));
        }
        if self.n_epochs.is_some_and(|epochs| epochs >= MOST_EPOCHS) {
            return wrong(format!("UMAP takes fewer than {MOST_EPOCHS} epochs, not {:?}", self.n_epochs));
        }
        if !(self.spread > 0.0 && self.spread.is_finite() && (0.0..=self.spread).contains(&self.min_dist)) {
            return wrong(format!(
                "UMAP needs 0 <= min_dist <= spread and spread > 0, not min_dist {} and spread {}",
                self.min_dist, self.spread
            ));
        }
        Ok(())
    }

    /// The first principal components at a largest coordinate of 10 with a little noise, then each stretched
    /// to `0..=10`.
    fn start(&self, features: Matrix<'_>) -> Vec<f32> {
        let mut positions = pca::project(features, self.n_components, self.seed);
        let largest = positions.iter().fold(0.0, |largest: f32, value| largest.max(value.abs()));
        let factor = if largest > 0.0 { 10.0 / largest } else { 0.0 };
        let stream = Stream::new(self.seed, Purpose::Umap);
        for (vertex, position) in positions.chunks_exact_mut(self.n_components).enumerate() {
            let mut random = stream.at(0, vertex as u64, 0);
            position.iter_mut().for_each(|value| *value = *value * factor + 1e-4 * random.normal());
        }
        for component in 0..self.n_components {
            let values = || positions.iter().skip(component).step_by(self.n_components).copied();
            let (low, high) = (values().fold(f32::INFINITY, f32::min), values().fold(f32::NEG_INFINITY, f32::max));
            let factor = if high > low { 10.0 / (high - low) } else { 0.0 };
            let column = positions.iter_mut().skip(component).step_by(self.n_components);
            column.for_each(|value| *value = (*value - low) * factor);
        }
        positions
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{golden, golden_numbers, normals, with_threads};
    use super::super::trustworthiness;
    use super::*;

    #[test]
    fn keeps_neighbourhoods_as_well_as_umap_learn() {
        let (values, columns) = golden("features");
        let features = Matrix::new(&values, columns).unwrap();
        let theirs = golden_numbers("umap").concat();
        for (metric, theirs) in [Metric::Cosine, Metric::Euclidean].into_iter().zip(theirs) {
            for seed in 0..3 {
                let map = Umap { metric, seed, ..Umap::default() }.fit_transform(features).unwrap();
                let ours = trustworthiness(features, Matrix::new(&map, 3).unwrap(), 10, metric).unwrap();
                assert!(ours > theirs - 0.02, "{metric:?}, seed {seed}: {ours}, umap-learn {theirs}");
            }
        }
    }

    #[test]
    fn the_number_of_threads_changes_no_bit() {
        let values = normals(700 * 12, 8);
        let umap = Umap { n_components: 2, n_epochs: Some(30), ..Umap::default() };
        let run = |threads| {
            let map = with_threads(threads, || umap.fit_transform(Matrix::new(&values, 12).unwrap()).unwrap());
            map.into_iter().map(f32::to_bits).collect::<Vec<_>>()
        };
        let one = run(1);
        assert_eq!(one, run(2));
        assert_eq!(one, run(4));
    }

    #[test]
    fn known_neighbours_give_the_same_map() {
        let values = normals(60 * 5, 9);
        let features = Matrix::new(&values, 5).unwrap();
        let umap = Umap { n_epochs: Some(20), ..Umap::default() };
        let neighbours = knn_within(features, 9, umap.metric).unwrap();
        assert_eq!(umap.fit_neighbours(features, &neighbours).unwrap(), umap.fit_transform(features).unwrap());
        let fewer = knn_within(features, 8, umap.metric).unwrap();
        let message = umap.fit_neighbours(features, &fewer).unwrap_err().to_string();
        assert!(message.contains("needs 9 neighbours of 60 samples, not 8 of 60"), "{message}");
    }

    #[test]
    fn another_seed_gives_another_map() {
        let values = normals(60 * 5, 9);
        let run = |seed| Umap { seed, ..Umap::default() }.fit_transform(Matrix::new(&values, 5).unwrap()).unwrap();
        assert_eq!(run(1), run(1));
        assert_ne!(run(1), run(2));
    }

    #[test]
    fn clusters_far_apart_stay_apart() {
        // Their neighbour graphs do not touch.
        let values: Vec<f32> = normals(200 * 4, 10)
            .iter()
            .enumerate()
            .map(|(at, value)| value + if at < 400 { 0.0 } else { 500.0 })
            .collect();
        let features = Matrix::new(&values, 4).unwrap();
        let map = Umap { metric: Metric::Euclidean, ..Umap::default() }.fit_transform(features).unwrap();
        let neighbours = knn_within(Matrix::new(&map, 3).unwrap(), 10, Metric::Euclidean).unwrap();
        for (row, (indices, _)) in neighbours.rows().enumerate() {
            assert!(indices.iter().all(|&index| (index < 100) == (row < 100)), "{row}: {indices:?}");
        }
    }

    #[test]
    fn odd_features_give_finite_maps() {
        let mut with_zeros = normals(40 * 3, 11);
        with_zeros[..30].fill(0.0);
        let duplicates = normals(5 * 3, 12).repeat(8);
        for (values, columns) in [(vec![0.0; 40], 1), (vec![1e18; 60], 3), (with_zeros, 3), (duplicates, 3)] {
            for metric in [Metric::Cosine, Metric::Euclidean] {
                let map = Umap { metric, ..Umap::default() }.fit_transform(Matrix::new(&values, columns).unwrap());
                let map = map.unwrap();
                assert_eq!(map.len(), values.len() / columns * 3);
                assert!(map.iter().all(|value| value.is_finite()));
                // Points that are told apart by nothing still repel one another.
                let mut points: Vec<_> =
                    map.chunks(3).map(|point| point.iter().map(|x| x.to_bits()).collect()).collect();
                points.sort_unstable();
                points.dedup_by(|left: &mut Vec<u32>, right| left == right);
                assert_eq!(points.len(), values.len() / columns);
            }
        }
    }

    #[test]
    fn settings_out_of_range_are_refused() {
        let values = normals(10 * 2, 13);
        let error = |umap: Umap| umap.fit_transform(Matrix::new(&values, 2).unwrap()).unwrap_err().to_string();
        let base = Umap { n_neighbors: 5, ..Umap::default() };
        assert!(base.fit_transform(Matrix::new(&values, 2).unwrap()).is_ok());
        assert!(error(Umap::default()).contains("n_neighbors = 10 needs more samples than that, and there are 10"));
        assert!(error(Umap { n_components: 0, ..base.clone() }).contains("at least 1 component"));
        assert!(error(Umap { n_neighbors: 1, ..base.clone() }).contains("2 or more"));
        assert!(error(Umap { n_epochs: Some(1 << 20), ..base.clone() }).contains("1048576 epochs"));
        for (spread, min_dist) in [(0.0, 0.0), (1.0, 1.5), (1.0, -0.1), (f32::NAN, 0.1), (1.0, f32::NAN)] {
            assert!(error(Umap { spread, min_dist, ..base.clone() }).contains("0 <= min_dist <= spread"));
        }
    }
}
