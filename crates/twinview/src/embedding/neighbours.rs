//! Exact nearest neighbours by comparing everything with everything.
//!
//! At 10,000 x 2,048 features this is faster than building an approximate index. Candidates are found
//! with f32 matrix products and put in order by distances summed in f64.

use rayon::prelude::*;

use super::products::BLOCK;
use super::space::Space;
use super::{Matrix, Metric};
use crate::{Error, Result};

/// Candidates kept beyond `k`, so that rounding of the f32 products cannot push a neighbour out.
const SPARE: usize = 8;

/// The nearest references of each query, nearest first; equals stand in order of index.
#[derive(Clone, Debug, PartialEq)]
pub struct Neighbours {
    k: usize,
    indices: Vec<u32>,
    distances: Vec<f32>,
}

impl Neighbours {
    /// How many neighbours each query has.
    pub fn k(&self) -> usize {
        self.k
    }

    /// Indices of references: `[queries, k]`.
    pub fn indices(&self) -> &[u32] {
        &self.indices
    }

    /// Their distances: `[queries, k]`, ascending in each row.
    pub fn distances(&self) -> &[f32] {
        &self.distances
    }

    /// The references nearest to the query at `index` and their distances.
    pub fn row(&self, index: usize) -> (&[u32], &[f32]) {
        let place = index * self.k..(index + 1) * self.k;
        (&self.indices[place.clone()], &self.distances[place])
    }

    /// The references nearest to each query and their distances, query after query.
    pub fn rows(&self) -> impl ExactSizeIterator<Item = (&[u32], &[f32])> {
        self.indices.chunks_exact(self.k).zip(self.distances.chunks_exact(self.k))
    }
}

/// The `k` rows of `reference` nearest to each row of `queries`.
///
/// # Errors
/// When the two differ in columns, or `k` is 0 or more than there are references.
pub fn knn(reference: Matrix<'_>, queries: Matrix<'_>, k: usize, metric: Metric) -> Result<Neighbours> {
    search(reference, queries, k, metric, false)
}

/// The `k` rows of `rows` nearest to each of them, itself left out.
///
/// # Errors
/// When `k` is 0 or there are not more than `k` rows.
pub fn knn_within(rows: Matrix<'_>, k: usize, metric: Metric) -> Result<Neighbours> {
    search(rows, rows, k, metric, true)
}

fn search(
    reference: Matrix<'_>,
    queries: Matrix<'_>,
    k: usize,
    metric: Metric,
    without_itself: bool,
) -> Result<Neighbours> {
    let available = reference.rows().saturating_sub(usize::from(without_itself));
    if k == 0 || k > available {
        return Err(Error::Config(format!(
            "{k} neighbours were asked for where there are {available} to choose from: ask for 1 to {available}"
        )));
    }
    let space = Space::new(reference, queries, metric)?;
    let references = space.references();
    let blocks: Vec<(Vec<u32>, Vec<f32>)> = (0..queries.rows().div_ceil(BLOCK))
        .into_par_iter()
        .map(|block| {
            let first = block * BLOCK;
            let count = BLOCK.min(queries.rows() - first);
            let mut candidates = vec![Candidates::new(available.min(k + SPARE)); count];
            space.score(&references, first, count, |query, first_reference, scores| {
                let itself = if without_itself { first + query } else { usize::MAX };
                candidates[query].offer(first_reference, scores, itself);
            });
            let (mut indices, mut distances) = (Vec::with_capacity(count * k), Vec::with_capacity(count * k));
            for (query, candidates) in candidates.iter().enumerate() {
                let mut exact: Vec<(f64, u32)> = candidates
                    .entries
                    .iter()
                    .map(|&(_, index)| (space.squared_distance(first + query, index as usize), index))
                    .collect();
                exact.sort_unstable_by(|left, right| left.0.total_cmp(&right.0).then(left.1.cmp(&right.1)));
                for &(squared, index) in &exact[..k] {
                    indices.push(index);
                    distances.push(metric.of_squared(squared) as f32);
                }
            }
            (indices, distances)
        })
        .collect();
    let (indices, distances): (Vec<_>, Vec<_>) = blocks.into_iter().unzip();
    Ok(Neighbours { k, indices: indices.concat(), distances: distances.concat() })
}

/// The best references of one query so far, by score and then by index.
#[derive(Clone)]
struct Candidates {
    room: usize,
    entries: Vec<(f32, u32)>,
    worst: f32,
}

impl Candidates {
    fn new(room: usize) -> Self {
        Self { room, entries: Vec::with_capacity(room + 1), worst: f32::INFINITY }
    }

    /// Takes the scores of consecutive references; those offered later have higher indices.
    fn offer(&mut self, first: usize, scores: &[f32], itself: usize) {
        if scores.iter().fold(f32::INFINITY, |least, &score| least.min(score)) >= self.worst {
            return;
        }
        for (lane, &score) in scores.iter().enumerate() {
            if score < self.worst && first + lane != itself {
                let place = self.entries.partition_point(|entry| entry.0 <= score);
                self.entries.insert(place, (score, (first + lane) as u32));
                self.entries.truncate(self.room);
                if self.entries.len() == self.room {
                    self.worst = self.entries[self.room - 1].0;
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::tests::{golden, normals, with_threads};
    use super::*;

    fn metrics() -> [(Metric, &'static str); 2] {
        [(Metric::Cosine, "cosine"), (Metric::Euclidean, "euclidean")]
    }

    /// The definition, in f64.
    fn plain(reference: Matrix<'_>, query: &[f32], metric: Metric) -> Vec<(f64, u32)> {
        let dot = |x: &[f32], y: &[f32]| -> f64 { x.iter().zip(y).map(|(&x, &y)| f64::from(x) * f64::from(y)).sum() };
        let distance = |row: &[f32]| match metric {
            Metric::Euclidean => {
                row.iter().zip(query).map(|(&x, &y)| (f64::from(x) - f64::from(y)).powi(2)).sum::<f64>().sqrt()
            }
            Metric::Cosine => match (dot(row, row).sqrt(), dot(query, query).sqrt()) {
                (0.0, 0.0) => 0.0,
                (0.0, _) | (_, 0.0) => 1.0,
                (left, right) => 1.0 - dot(row, query) / (left * right),
            },
        };
        let mut all: Vec<(f64, u32)> =
            (0..reference.rows()).map(|row| (distance(reference.row(row)), row as u32)).collect();
        all.sort_by(|left, right| left.0.total_cmp(&right.0).then(left.1.cmp(&right.1)));
        all
    }

    #[test]
    fn agrees_with_scikit_learn() {
        let (values, columns) = golden("features");
        let (train, test) = values.split_at(100 * columns);
        let (train, test) = (Matrix::new(train, columns).unwrap(), Matrix::new(test, columns).unwrap());
        for (metric, name) in metrics() {
            let (indices, k) = golden(&format!("knn_{name}_indices"));
            let neighbours = knn(train, test, k, metric).unwrap();
            assert_eq!(neighbours.indices().iter().map(|&index| index as f32).collect::<Vec<_>>(), indices);
            for (&ours, theirs) in neighbours.distances().iter().zip(golden(&format!("knn_{name}_distances")).0) {
                assert!((ours - theirs).abs() <= 1e-6 * theirs.max(1.0), "{name}: {ours} {theirs}");
            }
        }
    }

    #[test]
    fn the_number_of_threads_changes_nothing() {
        let values = normals(500 * 70, 3);
        let rows = Matrix::new(&values, 70).unwrap();
        for (metric, _) in metrics() {
            let one = with_threads(1, || knn_within(rows, 12, metric).unwrap());
            for threads in [2, 4] {
                assert_eq!(one, with_threads(threads, || knn_within(rows, 12, metric).unwrap()));
            }
        }
    }

    #[test]
    fn equal_rows_stand_in_order_of_index() {
        let values = [5.0, 1.0].repeat(200);
        let rows = Matrix::new(&values, 2).unwrap();
        for (metric, _) in metrics() {
            let neighbours = knn_within(rows, 3, metric).unwrap();
            assert_eq!(neighbours.row(0).0, [1, 2, 3]);
            assert_eq!(neighbours.row(2).0, [0, 1, 3]);
            assert_eq!(neighbours.row(150).0, [0, 1, 2]);
            assert!(neighbours.distances().iter().all(|&distance| distance == 0.0));
        }
    }

    #[test]
    fn rows_of_zeros_are_one_from_others_and_none_from_their_like() {
        let values = [0.0, 0.0, 1.0, 0.0, 0.0, 0.0, -1.0, 0.1];
        let rows = Matrix::new(&values, 2).unwrap();
        let neighbours = knn_within(rows, 3, Metric::Cosine).unwrap();
        assert_eq!(neighbours.row(0), ([2, 1, 3].as_slice(), [0.0, 1.0, 1.0].as_slice()));
        assert_eq!(neighbours.row(1).0, [0, 2, 3]);
    }

    #[test]
    fn small_differences_far_from_the_origin_are_seen() {
        // At 1000 +- 0.01 the squared lengths need more digits than an f32 has.
        let values: Vec<f32> = normals(300 * 8, 4).iter().map(|value| 1000.0 + 0.01 * value).collect();
        let rows = Matrix::new(&values, 8).unwrap();
        for (metric, _) in metrics() {
            let neighbours = knn(rows, rows, 5, metric).unwrap();
            let right = (0..300).filter(|&row| {
                let expected: Vec<u32> = plain(rows, rows.row(row), metric)[..5].iter().map(|entry| entry.1).collect();
                neighbours.row(row).0 == expected
            });
            // The plain cosine loses digits itself.
            assert!(right.count() >= if metric == Metric::Cosine { 250 } else { 300 }, "{metric:?}");
        }
    }

    #[test]
    fn what_cannot_be_searched_is_refused() {
        let values = [0.0, 1.0, 2.0, 3.0];
        let (two, four) = (Matrix::new(&values, 2).unwrap(), Matrix::new(&values, 4).unwrap());
        assert!(knn(two, four, 1, Metric::Cosine).unwrap_err().to_string().contains("2 features and the queries 4"));
        assert!(knn(two, two, 3, Metric::Cosine).unwrap_err().to_string().contains("ask for 1 to 2"));
        assert!(knn_within(two, 2, Metric::Cosine).is_err() && knn(two, two, 0, Metric::Cosine).is_err());
        assert!(knn(two, Matrix::new(&[], 2).unwrap(), 1, Metric::Cosine).unwrap().indices().is_empty());
    }

    proptest! {
        #[test]
        fn finds_what_the_definition_says(
            rows in 1_usize..60, queries in 1_usize..20, columns in 1_usize..20, share in 0.0..1.0, seed: u64,
        ) {
            let values = normals(rows * columns, seed);
            let queries = normals(queries * columns, !seed);
            let (rows, queries) = (Matrix::new(&values, columns).unwrap(), Matrix::new(&queries, columns).unwrap());
            let k = 1 + (share * (rows.rows() - 1) as f64) as usize;
            for (metric, _) in metrics() {
                let neighbours = knn(rows, queries, k, metric).unwrap();
                for (query, (indices, distances)) in neighbours.rows().enumerate() {
                    let expected = plain(rows, queries.row(query), metric);
                    for (place, (&index, &distance)) in indices.iter().zip(distances).enumerate() {
                        prop_assert!((f64::from(distance) - expected[place].0).abs() < 1e-6 * expected[place].0.max(1.0));
                        // With one column all cosines are equal, and rounding orders the plain ones.
                        prop_assert!(columns == 1 || index == expected[place].1);
                    }
                }
            }
        }
    }
}
