//! What happens to each token by itself, on matrices that lie as `[16-channel block][row][16 channels]`.

use fearless_simd::{Simd, f32x16, i32x16, prelude::*};

use super::network::Norm;
use crate::tile::Line;

/// Where a row's values lie.
fn places(row: usize, rows: usize, lines: usize) -> impl Iterator<Item = usize> + Clone {
    (row..lines).step_by(rows)
}

/// A row's mean, and 1 / its standard deviation.
#[inline(always)]
fn moments<S: Simd>(simd: S, input: &[Line], places: impl Iterator<Item = usize> + Clone, epsilon: f32) -> (f32, f32) {
    let (mut sum, mut count) = (f32x16::splat(simd, 0.0), 0.0);
    for place in places.clone() {
        sum += input[place].load(simd);
        count += 16.0;
    }
    let mean = sum.reduce_sum() / count;
    let mut squares = f32x16::splat(simd, 0.0);
    for place in places {
        let centred = input[place].load(simd) - mean;
        squares = centred.mul_add(centred, squares);
    }
    (mean, 1.0 / (squares.reduce_sum() / count + epsilon).sqrt())
}

/// Layer normalisation.
#[inline(never)]
pub(super) fn normalise<S: Simd>(
    simd: S,
    rows: usize,
    input: &[Line],
    gamma: &[Line],
    beta: &[Line],
    epsilon: f32,
    out: &mut [Line],
) {
    simd.vectorize(
        #[inline(always)]
        || {
            for row in 0..rows {
                let places = places(row, rows, input.len());
                let (mean, inverse) = moments(simd, input, places.clone(), epsilon);
                for (place, (gamma, beta)) in places.zip(gamma.iter().zip(beta)) {
                    let normal = (input[place].load(simd) - mean) * inverse;
                    out[place].store(normal.mul_add(gamma.load(simd), beta.load(simd)));
                }
            }
        },
    );
}

/// The way back through [`normalise`]: adds the gradient of its `input` to `back`, and those of scale and shift to `sums`.
#[inline(never)]
#[expect(clippy::too_many_arguments, reason = "one call, all of it needed")]
pub(super) fn through_normalisation<S: Simd>(
    simd: S,
    rows: usize,
    input: &[Line],
    gamma: &[Line],
    epsilon: f32,
    gradient: &[Line],
    sums: &mut Norm<&mut [Line]>,
    back: &mut [Line],
) {
    simd.vectorize(
        #[inline(always)]
        || {
            let zero = f32x16::splat(simd, 0.0);
            for row in 0..rows {
                let places = places(row, rows, input.len());
                let (mean, inverse) = moments(simd, input, places.clone(), epsilon);
                let (mut plain, mut weighted, mut count) = (zero, zero, 0.0);
                for (block, place) in places.clone().enumerate() {
                    let (given, normal) = (gradient[place].load(simd), (input[place].load(simd) - mean) * inverse);
                    let beta = sums.beta[block].load(simd) + given;
                    sums.beta[block].store(beta);
                    let of_gamma = given.mul_add(normal, sums.gamma[block].load(simd));
                    sums.gamma[block].store(of_gamma);
                    let through = given * gamma[block].load(simd);
                    plain += through;
                    weighted = through.mul_add(normal, weighted);
                    count += 16.0;
                }
                let (plain, weighted) = (plain.reduce_sum() / count, weighted.reduce_sum() / count);
                for (block, place) in places.enumerate() {
                    let normal = (input[place].load(simd) - mean) * inverse;
                    let through = gradient[place].load(simd) * gamma[block].load(simd);
                    let through = (through - plain - normal * weighted) * inverse;
                    let total = back[place].load(simd) + through;
                    back[place].store(total);
                }
            }
        },
    );
}

/// GELU (Hendrycks and Gimpel 2016, arXiv 1606.08415): `x Φ(x)`.
#[inline(never)]
pub(super) fn gelu<S: Simd>(simd: S, input: &[Line], out: &mut [Line]) {
    simd.vectorize(
        #[inline(always)]
        || {
            for (input, out) in input.iter().zip(out) {
                let x = input.load(simd);
                out.store(x * normal(simd, x).0);
            }
        },
    );
}

/// The way back through [`gelu`], which is made anew in `out`: `gradient` becomes that of its `input`.
#[inline(never)]
pub(super) fn through_gelu<S: Simd>(simd: S, input: &[Line], gradient: &mut [Line], out: &mut [Line]) {
    simd.vectorize(
        #[inline(always)]
        || {
            for ((input, gradient), out) in input.iter().zip(gradient).zip(out) {
                let x = input.load(simd);
                let (below, density) = normal(simd, x);
                out.store(x * below);
                let slope = x.mul_add(density, below);
                gradient.store(gradient.load(simd) * slope);
            }
        },
    );
}

/// The normal distribution's Φ(x), within 1e-7, and its density φ(x). By formula 7.1.26 of Abramowitz and Stegun's "Handbook of
/// Mathematical Functions" (1964), whose exponential is the density.
#[inline(always)]
fn normal<S: Simd>(simd: S, x: f32x16<S>) -> (f32x16<S>, f32x16<S>) {
    const P: f32 = 0.327_591_1;
    const A: [f32; 5] = [0.254_829_6, -0.284_496_74, 1.421_413_8, -1.453_152, 1.061_405_4];
    let splat = |value: f32| f32x16::splat(simd, value);
    let z = x.abs() * std::f32::consts::FRAC_1_SQRT_2;
    let t = splat(1.0) / z.mul_add(splat(P), splat(1.0));
    let mut series = splat(0.0);
    for a in A.into_iter().rev() {
        series = series.mul_add(t, splat(a));
    }
    let bell = exp(simd, -(z * z));
    let tail = series * t * bell * 0.5;
    let below = x.simd_ge(splat(0.0)).select(splat(1.0) - tail, tail);
    (below, bell * (std::f32::consts::FRAC_2_SQRT_PI * std::f32::consts::FRAC_1_SQRT_2 * 0.5))
}

/// e to the power of `x`, which is at most 0; below -87, e to the power of -87. Within 2e-7 of the true value, relatively.
#[inline(always)]
fn exp<S: Simd>(simd: S, x: f32x16<S>) -> f32x16<S> {
    /// The logarithm of 2 in two parts, of which the first has few digits: its product with a small whole number is exact.
    const LN_2: [f32; 2] = [0.693_359_4, -2.121_944_4e-4];
    let splat = |value: f32| f32x16::splat(simd, value);
    // First operand: a NaN in the second comes through.
    let x = splat(-87.0).max(x);
    let whole = (x * std::f32::consts::LOG2_E).round_ties_even();
    let rest = whole.mul_add(splat(-LN_2[1]), whole.mul_add(splat(-LN_2[0]), x));
    // Taylor's series: |rest| is at most half of that logarithm.
    let mut series = splat(1.0 / 5040.0);
    for factor in [1.0 / 720.0, 1.0 / 120.0, 1.0 / 24.0, 1.0 / 6.0, 0.5, 1.0, 1.0] {
        series = series.mul_add(rest, splat(factor));
    }
    let power = (whole.to_int::<i32x16<S>>() + 127) << 23;
    series * power.bitcast::<f32x16<S>>()
}

/// Makes the likenesses of each query, `[16-key block][query][16 keys]`, shares of 1: softmax of `scale` times them.
#[inline(never)]
pub(super) fn softmax<S: Simd>(simd: S, queries: usize, scale: f32, likeness: &mut [Line]) {
    simd.vectorize(
        #[inline(always)]
        || {
            for query in 0..queries {
                let places = places(query, queries, likeness.len());
                let mut largest = likeness[query].load(simd);
                for place in places.clone() {
                    largest = largest.max(likeness[place].load(simd));
                }
                let largest = largest.reduce_max();
                let mut sum = f32x16::splat(simd, 0.0);
                for place in places.clone() {
                    let share = exp(simd, (likeness[place].load(simd) - largest) * scale);
                    likeness[place].store(share);
                    sum += share;
                }
                let inverse = 1.0 / sum.reduce_sum();
                for place in places {
                    let share = likeness[place].load(simd) * inverse;
                    likeness[place].store(share);
                }
            }
        },
    );
}

/// The way back through [`softmax`] that gave `shares`: `gradient` becomes that of the likenesses.
#[inline(never)]
pub(super) fn through_softmax<S: Simd>(simd: S, queries: usize, scale: f32, shares: &[Line], gradient: &mut [Line]) {
    simd.vectorize(
        #[inline(always)]
        || {
            for query in 0..queries {
                let places = places(query, queries, shares.len());
                let mut sum = f32x16::splat(simd, 0.0);
                for place in places.clone() {
                    sum = shares[place].load(simd).mul_add(gradient[place].load(simd), sum);
                }
                let mean = sum.reduce_sum();
                for place in places {
                    let back = shares[place].load(simd) * (gradient[place].load(simd) - mean) * scale;
                    gradient[place].store(back);
                }
            }
        },
    );
}

/// Adds the sum over the rows of each block to `sums`.
#[inline(never)]
pub(super) fn add_rows<S: Simd>(simd: S, rows: usize, input: &[Line], sums: &mut [Line]) {
    simd.vectorize(
        #[inline(always)]
        || {
            for (input, sum) in input.chunks_exact(rows).zip(sums) {
                let mut total = f32x16::splat(simd, 0.0);
                for line in input {
                    total += line.load(simd);
                }
                let total = sum.load(simd) + total;
                sum.store(total);
            }
        },
    );
}
