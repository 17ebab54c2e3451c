//! From neighbours to a weighted graph: the fuzzy simplicial set of McInnes et al. 2018, §3.1 and Algorithms 2-3.

use super::Neighbours;

/// A sparse symmetric matrix by rows: the edges of `row` are those in `offsets[row]..offsets[row + 1]`.
pub(super) struct Graph {
    pub(super) offsets: Vec<usize>,
    pub(super) targets: Vec<u32>,
    pub(super) weights: Vec<f32>,
}

/// The width of a row's kernel and the distance to its nearest other point: (sigma, rho).
pub(super) type Kernel = (f64, f64);

/// Fits each row's kernel so that its memberships sum to log2(k), where `k` counts the row itself, with
/// local connectivity 1. `neighbours` leaves the row itself out.
pub(super) fn smooth_distances(neighbours: &Neighbours) -> Vec<Kernel> {
    /// A kernel is at least this part of the mean distance wide, or duplicates would have none.
    const LEAST_WIDTH: f64 = 1e-3;
    const TOLERANCE: f64 = 1e-5;
    let k = neighbours.k() + 1;
    let target = (k as f64).log2();
    let sum = |distances: &[f32]| distances.iter().map(|&distance| f64::from(distance)).sum::<f64>();
    let rows = neighbours.indices().len() / neighbours.k();
    let mean_of_all = sum(neighbours.distances()) / (rows * k) as f64;
    neighbours
        .rows()
        .map(|(_, distances)| {
            let rho = distances.iter().copied().find(|&distance| distance > 0.0).map_or(0.0, f64::from);
            let (mut low, mut high, mut sigma) = (0.0, f64::INFINITY, 1.0);
            for _ in 0..64 {
                let cardinality: f64 = distances.iter().map(|&d| membership(f64::from(d), (sigma, rho))).sum();
                if (cardinality - target).abs() < TOLERANCE {
                    break;
                }
                if cardinality > target {
                    high = sigma;
                } else {
                    low = sigma;
                }
                sigma = if high.is_finite() { (low + high) / 2.0 } else { sigma * 2.0 };
            }
            let mean = if rho > 0.0 { sum(distances) / k as f64 } else { mean_of_all };
            (sigma.max(LEAST_WIDTH * mean), rho)
        })
        .collect()
}

fn membership(distance: f64, (sigma, rho): Kernel) -> f64 {
    if distance <= rho || sigma == 0.0 { 1.0 } else { (-(distance - rho) / sigma).exp() }
}

/// The union of all rows' fuzzy sets, by the probabilistic sum `w + w' - w w'`.
pub(super) fn fuzzy_union(neighbours: &Neighbours) -> Graph {
    let mut edges: Vec<(u32, u32, f32, f32)> = Vec::with_capacity(2 * neighbours.indices().len());
    for (row, ((indices, distances), kernel)) in neighbours.rows().zip(smooth_distances(neighbours)).enumerate() {
        for (&target, &distance) in indices.iter().zip(distances) {
            let weight = membership(f64::from(distance), kernel) as f32;
            edges.push((row as u32, target, weight, 0.0));
            edges.push((target, row as u32, 0.0, weight));
        }
    }
    edges.sort_unstable_by_key(|&(row, target, ..)| (row, target));
    edges.dedup_by(|next, kept| {
        let same = (next.0, next.1) == (kept.0, kept.1);
        if same {
            (kept.2, kept.3) = (kept.2 + next.2, kept.3 + next.3);
        }
        same
    });
    Graph::from_sorted(
        neighbours.rows().len(),
        edges.into_iter().map(|(row, target, there, back)| (row, target, there + back - there * back)),
    )
}

impl Graph {
    fn from_sorted(rows: usize, edges: impl Iterator<Item = (u32, u32, f32)>) -> Self {
        let mut graph = Self { offsets: vec![0; rows + 1], targets: Vec::new(), weights: Vec::new() };
        for (row, target, weight) in edges {
            if weight > 0.0 {
                graph.targets.push(target);
                graph.weights.push(weight);
                graph.offsets[row as usize + 1] = graph.targets.len();
            }
        }
        for row in 0..rows {
            graph.offsets[row + 1] = graph.offsets[row + 1].max(graph.offsets[row]);
        }
        graph
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::golden;
    use super::super::{Matrix, Metric, knn_within};
    use super::*;

    fn neighbours(metric: Metric) -> Neighbours {
        let (values, columns) = golden("features");
        knn_within(Matrix::new(&values, columns).unwrap(), 9, metric).unwrap()
    }

    #[test]
    fn kernels_are_those_of_umap_learn() {
        for (metric, name) in [(Metric::Cosine, "cosine"), (Metric::Euclidean, "euclidean")] {
            let theirs = golden(&format!("kernels_{name}")).0;
            let ours = smooth_distances(&neighbours(metric));
            assert_eq!(2 * ours.len(), theirs.len());
            for ((sigma, rho), theirs) in ours.into_iter().zip(theirs.as_chunks::<2>().0) {
                assert!((sigma / f64::from(theirs[0]) - 1.0).abs() < 1e-4, "{name}: {sigma} {theirs:?}");
                assert!((rho / f64::from(theirs[1]) - 1.0).abs() < 1e-5, "{name}: {rho} {theirs:?}");
            }
        }
    }

    #[test]
    fn the_graph_is_that_of_umap_learn() {
        for (metric, name) in [(Metric::Cosine, "cosine"), (Metric::Euclidean, "euclidean")] {
            let theirs = golden(&format!("graph_{name}")).0;
            let graph = fuzzy_union(&neighbours(metric));
            assert_eq!(3 * graph.targets.len(), theirs.len());
            let mut edges = theirs.as_chunks::<3>().0.iter();
            for row in 0..120 {
                for edge in graph.offsets[row]..graph.offsets[row + 1] {
                    let &[their_row, their_target, weight] = edges.next().unwrap();
                    assert_eq!((row as f32, graph.targets[edge] as f32), (their_row, their_target));
                    assert!((graph.weights[edge] - weight).abs() < 1e-4, "{name}: {} {weight}", graph.weights[edge]);
                }
            }
        }
    }

    #[test]
    fn duplicates_are_wholly_connected() {
        let values = [1.0, 2.0].repeat(30);
        let graph = fuzzy_union(&knn_within(Matrix::new(&values, 2).unwrap(), 4, Metric::Euclidean).unwrap());
        assert!(graph.targets.len() >= 30 * 4 && graph.weights.iter().all(|&weight| weight == 1.0));
    }
}
