//! Batch normalisation: statistics gathered brick by brick, and the affine maps made of them.
//!
//! A brick is one channel block of one position for the rows of a chunk. Its mean and its sum of squared
//! distances from that mean are taken in f32 while it is in the cache; bricks are put together in f64, in
//! order, so a channel whose mean is far larger than its spread loses nothing.

use fearless_simd::{Simd, f32x16, prelude::*};

use crate::pack;
use crate::plan::Chunk;
use crate::tile::{LANES, Line, sum_of};
use crate::vectorized::vectorized;

/// Sums over bricks of one task, `[3][channels]`: of the values, of brick mean² × rows, of squared distances.
pub(crate) const MOMENTS: usize = 3;

/// Adds a brick to the moments of its channels.
#[inline(always)]
pub(crate) fn add_brick<S: Simd>(simd: S, brick: &[Line], moments: &mut [f64], channel: usize) {
    let zero = f32x16::splat(simd, 0.0);
    let (mut even, mut odd) = (zero, zero);
    let pairs = brick.chunks_exact(2);
    for line in pairs.remainder() {
        even += line.load(simd);
    }
    for pair in pairs.clone() {
        even += pair[0].load(simd);
        odd += pair[1].load(simd);
    }
    let rows = brick.len() as f32;
    let mean = (even + odd) * (1.0 / rows);
    let (mut even, mut odd) = (zero, zero);
    for line in pairs.remainder() {
        let distance = line.load(simd) - mean;
        even = distance.mul_add(distance, even);
    }
    for pair in pairs {
        let distance = pair[0].load(simd) - mean;
        even = distance.mul_add(distance, even);
        let distance = pair[1].load(simd) - mean;
        odd = distance.mul_add(distance, odd);
    }
    let (mean, spread) = (mean.to_array(), (even + odd).to_array());
    let channels = moments.len() / MOMENTS;
    for lane in 0..LANES {
        let mean = f64::from(mean[lane]);
        moments[channel + lane] += f64::from(rows) * mean;
        moments[channels + channel + lane] += f64::from(rows) * mean * mean;
        moments[2 * channels + channel + lane] += f64::from(spread[lane]);
    }
}

/// Adds a brick's `Σ gradient` and `Σ gradient · (value − mean)` to the sums `[2][channels]`.
#[inline(always)]
pub(crate) fn add_gradient_brick<S: Simd>(
    simd: S,
    gradient: &[Line],
    value: &[Line],
    mean: &Line,
    sums: &mut [f64],
    channel: usize,
) {
    let zero = f32x16::splat(simd, 0.0);
    let mean = mean.load(simd);
    let (mut plain, mut weighted) = (zero, zero);
    for (gradient, value) in gradient.iter().zip(value) {
        let gradient = gradient.load(simd);
        plain += gradient;
        weighted = gradient.mul_add(value.load(simd) - mean, weighted);
    }
    let (plain, weighted) = (plain.to_array(), weighted.to_array());
    let channels = sums.len() / 2;
    for lane in 0..LANES {
        sums[channel + lane] += f64::from(plain[lane]);
        sums[channels + channel + lane] += f64::from(weighted[lane]);
    }
}

/// Adds `sums` to `totals`, one to one.
#[inline(always)]
pub(crate) fn add(totals: &mut [f64], sums: &[f64]) {
    totals.iter_mut().zip(sums).for_each(|(total, sum)| *total += sum);
}

/// Adds up the tasks' sums of each group, in order. `tasks` holds `each` values for every task.
pub(crate) fn by_group(tasks: &[f64], each: usize, chunks: &[Chunk], groups: usize) -> Vec<Vec<f64>> {
    let mut totals = vec![vec![0.0; each]; groups];
    let per_chunk = tasks.len() / chunks.len();
    vectorized(
        #[inline(always)]
        || {
            for (chunk, sums) in chunks.iter().zip(tasks.chunks_exact(per_chunk)) {
                for sums in sums.chunks_exact(each) {
                    add(&mut totals[chunk.group], sums);
                }
            }
        },
    );
    totals
}

/// Batch statistics of one group, per channel.
#[derive(Clone, Debug, PartialEq)]
pub struct Moments {
    /// Mean over batch and positions.
    pub mean: Vec<f32>,
    /// Biased variance over batch and positions.
    pub variance: Vec<f32>,
}

impl Moments {
    /// Each group's, from the moments of tasks, `[task][3][padded channels]`, of `count` values a channel in a group.
    pub(crate) fn of_groups(
        tasks: &[f64],
        each: usize,
        chunks: &[Chunk],
        groups: usize,
        count: usize,
        channels: usize,
    ) -> Vec<Self> {
        by_group(tasks, each, chunks, groups).iter().map(|moments| Self::new(moments, count, channels)).collect()
    }

    /// From a group's moments of `count` values a channel.
    pub(crate) fn new(moments: &[f64], count: usize, channels: usize) -> Self {
        let padded = moments.len() / MOMENTS;
        let count = count as f64;
        let mut mean = Vec::with_capacity(channels);
        let mut variance = Vec::with_capacity(channels);
        for channel in 0..channels {
            let average = moments[channel] / count;
            let between = moments[padded + channel] - count * average * average;
            mean.push(average as f32);
            variance.push(((moments[2 * padded + channel] + between.max(0.0)) / count) as f32);
        }
        Self { mean, variance }
    }
}

/// A normalisation as an affine map of each channel, `scale · value + shift`.
#[derive(Clone, Debug)]
pub(crate) struct Affine {
    pub(crate) scale: Vec<f32>,
    pub(crate) shift: Vec<f32>,
}

/// An [`Affine`] in lines of channels. Behind the last channel both are zero.
#[derive(Debug)]
pub(crate) struct AffineLines {
    pub(crate) scale: Vec<Line>,
    pub(crate) shift: Vec<Line>,
}

impl Affine {
    pub(crate) fn lines(&self) -> AffineLines {
        AffineLines { scale: pack::channels(&self.scale), shift: pack::channels(&self.shift) }
    }

    /// For each group what leaves values as they are.
    pub(crate) fn identities(channels: usize, groups: usize) -> Vec<Self> {
        vec![Self { scale: vec![1.0; channels], shift: vec![0.0; channels] }; groups]
    }

    /// Behind a layer, for each group.
    pub(crate) fn of_groups(moments: &[Moments], gamma: &[f32], beta: &[f32], epsilon: f32) -> Vec<Self> {
        moments.iter().map(|m| Self::new(&m.mean, &m.variance, gamma, beta, epsilon)).collect()
    }

    pub(crate) fn new(mean: &[f32], variance: &[f32], gamma: &[f32], beta: &[f32], epsilon: f32) -> Self {
        let mut scale = Vec::with_capacity(mean.len());
        let mut shift = Vec::with_capacity(mean.len());
        for i in 0..mean.len() {
            let a = f64::from(gamma[i]) / (f64::from(variance[i]) + f64::from(epsilon)).sqrt();
            scale.push(a as f32);
            shift.push((f64::from(beta[i]) - a * f64::from(mean[i])) as f32);
        }
        Self { scale, shift }
    }
}

/// `scale · Σ factor · term + shift · Σ factor` of bricks of so many `rows`, each channel block by its own scale and shift.
#[inline(always)]
fn weighted_and_normalised<S: Simd, const N: usize>(
    simd: S,
    terms: [(f32, &[Line]); N],
    rows: usize,
    affine: &AffineLines,
    out: &mut [Line],
) {
    let total = f32x16::splat(simd, terms.iter().map(|(factor, _)| factor).sum());
    let blocks = affine.scale.iter().zip(&affine.shift).cycle();
    for ((brick, out), (scale, shift)) in out.chunks_exact_mut(rows).enumerate().zip(blocks) {
        let (scale, shift) = (scale.load(simd), shift.load(simd) * total);
        let terms = terms.map(|(factor, term)| (f32x16::splat(simd, factor), &term[brick * rows..][..rows]));
        for (n, out) in out.iter_mut().enumerate() {
            out.store(sum_of(terms.map(|(factor, term)| (factor, term[n].load(simd)))).mul_add(scale, shift));
        }
    }
}

/// `Σ factor · term` of terms that are normalised, by their indices, `[column][channel block][row]`, which goes to `made`.
#[inline(always)]
pub(crate) fn normalised<'a, S: Simd>(
    simd: S,
    terms: &[(usize, f32)],
    term: impl Fn(usize) -> &'a [Line],
    rows: usize,
    affine: &AffineLines,
    made: &'a mut [Line],
) -> &'a [Line] {
    let of = |(index, factor): (usize, f32)| (factor, term(index));
    match *terms {
        [a] => weighted_and_normalised(simd, [a].map(of), rows, affine, made),
        [a, b] => weighted_and_normalised(simd, [a, b].map(of), rows, affine, made),
        [a, b, c] => weighted_and_normalised(simd, [a, b, c].map(of), rows, affine, made),
        _ => unreachable!("one term, or two or three"),
    }
    made
}
