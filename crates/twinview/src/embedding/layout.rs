//! The optimisation of the map: attraction along edges, repulsion from random points.

use rayon::prelude::*;

use super::curve::Curve;
use super::fuzzy::Graph;
use crate::random::{Purpose, Random, Stream};

/// Random points that repel for each edge that attracts.
const NEGATIVE_SAMPLES: usize = 5;
/// No coordinate of a single force is larger than this.
const LARGEST_FORCE: f32 = 4.0;
/// Fewer vertices than this are not worth handing to another thread.
const LEAST_WORK: usize = 64;

/// Moves `positions`, `[vertices, dimensions]`, for `epochs` epochs.
///
/// In Algorithm 5 of McInnes et al. 2018 each force moves points that later forces read. Here each vertex
/// takes its own forces one after the other, while all others stand where they were when the epoch began,
/// so neither the order of vertices nor the number of threads matters.
pub(super) fn optimise(
    graph: &Graph,
    positions: &mut [f32],
    dimensions: usize,
    curve: Curve,
    epochs: usize,
    seed: u64,
) {
    let stream = Stream::new(seed, Purpose::Umap);
    let heaviest = graph.weights.iter().copied().fold(0.0, f32::max);
    let shares: Vec<f32> = graph.weights.iter().map(|weight| weight / heaviest).collect();
    let mut moved = positions.to_vec();
    for epoch in 1..=epochs {
        let layout = Layout {
            graph,
            shares: &shares,
            positions,
            a: curve.a as f32,
            b: curve.b as f32,
            rate: 1.0 - (epoch - 1) as f32 / epochs as f32,
            epoch,
        };
        moved.par_chunks_exact_mut(dimensions).with_min_len(LEAST_WORK).enumerate().for_each(|(vertex, point)| {
            let random = stream.at(epoch as u64, vertex as u64, 0);
            // The compiler unrolls the loops over a dimension it knows.
            match dimensions {
                2 => layout.step(2, vertex, point, random),
                3 => layout.step(3, vertex, point, random),
                _ => layout.step(dimensions, vertex, point, random),
            }
        });
        positions.copy_from_slice(&moved);
    }
}

/// The map at the start of an epoch.
struct Layout<'a> {
    graph: &'a Graph,
    /// The weight of each edge over the largest.
    shares: &'a [f32],
    positions: &'a [f32],
    a: f32,
    b: f32,
    rate: f32,
    epoch: usize,
}

impl Layout<'_> {
    /// Moves `point`, the new position of `vertex`.
    #[inline(always)]
    fn step(&self, dimensions: usize, vertex: usize, point: &mut [f32], mut random: Random) {
        let vertices = self.positions.len() / dimensions;
        let point = &mut point[..dimensions];
        for edge in self.graph.offsets[vertex]..self.graph.offsets[vertex + 1] {
            if !acts(self.shares[edge], self.epoch) {
                continue;
            }
            let other = &self.positions[self.graph.targets[edge] as usize * dimensions..][..dimensions];
            // umap-learn holds each edge in both directions, and either one moves both of its ends.
            for _ in 0..2 {
                self.push(point, other, |a, b, squared| {
                    let power = squared.powf(b);
                    -2.0 * a * b * power / (squared * (1.0 + a * power))
                });
            }
            for _ in 0..NEGATIVE_SAMPLES {
                let other = random.below(vertices as u32) as usize;
                if other != vertex {
                    let other = &self.positions[other * dimensions..][..dimensions];
                    self.push(point, other, |a, b, squared| {
                        2.0 * b / ((0.001 + squared) * (1.0 + a * squared.powf(b)))
                    });
                }
            }
        }
    }

    /// Moves `point` along its difference to `other`, times the force at their squared distance.
    #[inline(always)]
    fn push(&self, point: &mut [f32], other: &[f32], force: impl Fn(f32, f32, f32) -> f32) {
        let squared: f32 = point.iter().zip(other).map(|(x, y)| (x - y) * (x - y)).sum();
        if squared > 0.0 {
            let force = force(self.a, self.b, squared);
            for (point, other) in point.iter_mut().zip(other) {
                *point += (force * (*point - other)).clamp(-LARGEST_FORCE, LARGEST_FORCE) * self.rate;
            }
        }
    }
}

/// Whether an edge acts in `epoch`, counted from 1: it does in `share` of them, evenly spread.
#[inline(always)]
fn acts(share: f32, epoch: usize) -> bool {
    (epoch as f32 * share) as u32 > ((epoch - 1) as f32 * share) as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn edges_act_in_their_share_of_epochs() {
        for (share, expected) in [(1.0, 500), (0.5, 250), (0.75, 375), (0.01, 5), (0.0019, 0)] {
            let count = (1..=500).filter(|&epoch| acts(share, epoch)).count();
            assert!(count.abs_diff(expected) <= usize::from(share < 0.5), "{share}: {count}");
            let first_half = (1..=250).filter(|&epoch| acts(share, epoch)).count();
            assert!((2 * first_half).abs_diff(count) <= 2, "{share}: {first_half} of {count}");
        }
    }

    #[test]
    fn edges_pull_and_everything_else_pushes() {
        // Two pairs, each joined by an edge, start on a line with the partners far apart.
        let graph = Graph { offsets: vec![0, 1, 2, 3, 4], targets: vec![1, 0, 3, 2], weights: vec![1.0; 4] };
        for dimensions in [1, 2, 3, 5] {
            let mut positions = vec![0.0; 4 * dimensions];
            for (vertex, place) in [0.0, 6.0, 4.0, 10.0].into_iter().enumerate() {
                positions[vertex * dimensions] = place;
            }
            optimise(&graph, &mut positions, dimensions, Curve { a: 1.577, b: 0.895 }, 200, 3);
            let distance = |x: usize, y: usize| {
                let point = |vertex: usize| positions[vertex * dimensions..][..dimensions].iter();
                point(x).zip(point(y)).map(|(x, y)| (x - y).powi(2)).sum::<f32>().sqrt()
            };
            let within = distance(0, 1).max(distance(2, 3));
            let between = distance(0, 2).min(distance(0, 3)).min(distance(1, 2)).min(distance(1, 3));
            assert!(within < between && within < 6.0, "{dimensions} dimensions: {positions:?}");
        }
    }
}
