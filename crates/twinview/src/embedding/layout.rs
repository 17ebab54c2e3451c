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
/// Algorithm 5 of McInnes et al. 2018 lets every force act at once on points that others read. Here each
/// vertex moves through its own forces one after the other, while all others stand where they were when
/// the epoch began. So the result does not depend on the order of vertices or the number of threads.
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
    let mut moved = positions.to_vec();
    for epoch in 1..=epochs {
        let layout = Layout {
            graph,
            positions,
            a: curve.a as f32,
            b: curve.b as f32,
            rate: 1.0 - (epoch - 1) as f32 / epochs as f32,
            progress: (epoch as f32 / heaviest, (epoch - 1) as f32 / heaviest),
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
    positions: &'a [f32],
    a: f32,
    b: f32,
    rate: f32,
    /// This epoch and the one before, over the largest weight.
    progress: (f32, f32),
}

impl Layout<'_> {
    /// Moves `point`, the new position of `vertex`.
    #[inline(always)]
    fn step(&self, dimensions: usize, vertex: usize, point: &mut [f32], mut random: Random) {
        let vertices = self.positions.len() / dimensions;
        let point = &mut point[..dimensions];
        for edge in self.graph.offsets[vertex]..self.graph.offsets[vertex + 1] {
            // An edge acts in the share of epochs that its weight is of the largest, evenly spread.
            let weight = self.graph.weights[edge];
            if (self.progress.0 * weight) as u32 <= (self.progress.1 * weight) as u32 {
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
