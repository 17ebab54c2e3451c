//! Gradients of a block's weights and bias.

use fearless_simd::{Level, dispatch, f32x16, prelude::*};
use rayon::prelude::*;

use crate::backward::GradientSums;
use crate::normalise::{Affine, Moments};
use crate::pack::tap_lines;
use crate::plan::{BlockShape, Chunk, TAPS, parts};
use crate::tile::{LANES, Line, transpose};
use crate::weight_products::{Begun, Factors, Terms, fold, scratch_len, sums_each};
use crate::workspace::Buffer;

/// Sums of the convolution output's gradient over all positions, and over the positions where each tap
/// meets the image.
pub(crate) struct TapSums {
    /// `[channels]`: the bias's gradient.
    pub(crate) bias: Vec<f32>,
    /// `[group][tap][channels]`.
    taps: Vec<Vec<f64>>,
}

impl TapSums {
    /// For values that are not shifted: none are asked for.
    pub(crate) fn none(shape: &BlockShape, groups: usize) -> Self {
        Self { bias: Vec::new(), taps: vec![vec![0.0; TAPS * shape.out_blocks() * LANES]; groups] }
    }

    /// From sums by group and position.
    pub(crate) fn new(shape: &BlockShape, positions: &[Vec<f64>]) -> Self {
        let channels = shape.out_blocks() * LANES;
        let mut bias = vec![0.0; channels];
        let taps = positions
            .iter()
            .map(|sums| {
                let mut taps = vec![0.0; TAPS * channels];
                for (position, sums) in sums.chunks_exact(channels).enumerate() {
                    let (y, x) = (position / shape.out_width(), position % shape.out_width());
                    for (total, sum) in bias.iter_mut().zip(sums) {
                        *total += sum;
                    }
                    for (tap, _) in shape.taps(y, x) {
                        for (total, sum) in taps[tap * channels..].iter_mut().zip(sums) {
                            *total += sum;
                        }
                    }
                }
                taps
            })
            .collect();
        Self { bias: bias[..shape.out_channels].iter().map(|&v| v as f32).collect(), taps }
    }
}

/// Output blocks whose products one task gathers: each value it fetches serves all of them.
const TOGETHER: usize = 4;

/// `Σ gradient · value` over the images and positions of each group, `[group][output block][tap][input channel]`, a line of
/// output channels each.
pub(crate) struct Products<'a> {
    level: Level,
    shape: &'a BlockShape,
    lines: Buffer<Line>,
}

impl<'a> Products<'a> {
    /// From the values that a block reads, before normalisation, and the gradient of its convolution's output.
    pub(crate) fn new(
        level: Level,
        shape: &'a BlockShape,
        values: &[Line],
        gradient: &[Line],
        chunks: &[Chunk],
        groups: usize,
    ) -> Self {
        let (inputs, outputs) = (shape.in_blocks(), shape.out_blocks());
        let panel = TAPS * inputs * LANES;
        let parts = parts(chunks);
        let terms = Terms::new(shape);
        // `[part][output block][tap][input channel]`
        let mut products = Buffer::new(parts.len() * outputs * panel);
        products.par_chunks_mut(outputs * panel).zip(&parts).with_max_len(1).for_each(|(products, part)| {
            products.par_chunks_mut(TOGETHER * panel).enumerate().with_max_len(1).for_each(|(task, products)| {
                let count = products.len() / panel;
                let sums = count * sums_each(inputs);
                let mut scratch = Buffer::new(sums + scratch_len(&terms, part[0].rows, inputs, count));
                let (sums, scratch) = scratch.split_at_mut(sums);
                let mut begun = Begun::default();
                dispatch!(level, simd => {
                    for chunk in *part {
                        let factors = Factors {
                            rows: chunk.rows,
                            inputs,
                            outputs,
                            values: chunk.of(values, shape.in_positions() * inputs),
                            gradient: chunk.of(gradient, shape.out_positions() * outputs),
                        };
                        factors.add_products(simd, &terms, task * TOGETHER, scratch, &mut begun, sums);
                    }
                    fold(simd, inputs, &begun, sums, products);
                });
            });
        });
        let mut lines: Buffer<Line> = Buffer::new(groups * outputs * panel);
        lines.par_chunks_mut(panel).enumerate().for_each(|(index, lines)| {
            let (group, block) = (index / outputs, index % outputs);
            let of_group = (0..parts.len()).filter(|&part| parts[part][0].group == group);
            let panels: Vec<&[Line]> =
                of_group.map(|part| &products[(part * outputs + block) * panel..][..panel]).collect();
            dispatch!(level, simd => {
                for (i, line) in lines.iter_mut().enumerate() {
                    let mut sum = f32x16::splat(simd, 0.0);
                    for panel in &panels {
                        sum += panel[i].load(simd);
                    }
                    line.store(sum);
                }
            });
        });
        Self { level, shape, lines }
    }

    /// Those of an output block, `[tap][input channel]`, of each group.
    fn of_block(&self, block: usize) -> Vec<&[Line]> {
        let panel = TAPS * self.shape.in_blocks() * LANES;
        self.lines.chunks_exact(panel).skip(block).step_by(self.shape.out_blocks()).collect()
    }

    /// Gradient of the weights `[out, in, 3, 3]`: `affines` are the normalisations of the values.
    pub(crate) fn weights(&self, affines: &[Affine], sums: &TapSums) -> Vec<f32> {
        let shape = self.shape;
        let (inputs, channels) = (shape.in_blocks() * LANES, shape.out_blocks() * LANES);
        let mut out = vec![0.0; shape.out_channels * shape.in_channels * TAPS];
        out.par_chunks_mut(LANES * shape.in_channels * TAPS).enumerate().for_each(|(block, out)| {
            let products = self.of_block(block);
            // `[tap][input channel]`
            let mut totals: Buffer<Line> = Buffer::new(TAPS * inputs);
            dispatch!(self.level, simd => {
                for (tap, totals) in totals.chunks_exact_mut(inputs).enumerate() {
                    let of_tap = |sums: &Vec<f64>| Line::of(&sums[tap * channels + block * LANES..], |sum| sum as f32);
                    let sums: Vec<Line> = sums.taps.iter().map(of_tap).collect();
                    for (input, total) in totals[..shape.in_channels].iter_mut().enumerate() {
                        let mut sum = f32x16::splat(simd, 0.0);
                        for ((affine, products), sums) in affines.iter().zip(&products).zip(&sums) {
                            let product = products[tap * inputs + input].load(simd);
                            sum = product.mul_add(f32x16::splat(simd, affine.scale[input]), sum);
                            sum = sums.load(simd).mul_add(f32x16::splat(simd, affine.shift[input]), sum);
                        }
                        total.store(sum);
                    }
                }
                for input in 0..shape.in_channels {
                    let mut tile = [Line::ZERO; LANES];
                    tile.iter_mut().zip(totals[input..].iter().step_by(inputs)).for_each(|(to, line)| *to = *line);
                    let rows = out.chunks_exact_mut(shape.in_channels * TAPS);
                    for (row, line) in rows.zip(&transpose(simd, &tile)) {
                        line.write(&mut row[input * TAPS..][..TAPS]);
                    }
                }
            });
        });
        out
    }

    /// What the normalisation of the values needs on the way back, before the values' gradient is known: that is a sum of
    /// `weight · gradient` over outputs and taps, so its sum and that of its products with the values are sums of
    /// `weight · Σ gradient` and `weight · Σ gradient · value`.
    pub(crate) fn gradient_sums(&self, weight: &[f32], sums: &TapSums, moments: &[Moments]) -> GradientSums {
        let shape = self.shape;
        let (inputs, channels) = (shape.in_blocks() * LANES, shape.out_blocks() * LANES);
        let of_block = |(block, weight): (usize, &[f32])| {
            let products = self.of_block(block);
            let columns = weight.len() / (shape.in_channels * TAPS);
            let of_tap = |taps: &[f64], tap: usize| Line::of(&taps[tap * channels + block * LANES..], |sum| sum as f32);
            let taps: Vec<[Line; TAPS]> =
                sums.taps.iter().map(|taps| std::array::from_fn(|tap| of_tap(taps, tap))).collect();
            let mut totals = vec![vec![0.0; 2 * inputs]; moments.len()];
            dispatch!(self.level, simd => {
                for input in 0..shape.in_channels {
                    let weight = |column: usize| &weight[(column * shape.in_channels + input) * TAPS..];
                    let weights = tap_lines(simd, columns, weight);
                    for ((totals, products), taps) in totals.iter_mut().zip(&products).zip(&taps) {
                        let (mut plain, mut weighted) = (f32x16::splat(simd, 0.0), f32x16::splat(simd, 0.0));
                        for (tap, (weight, sum)) in weights.iter().zip(taps).enumerate() {
                            let weight = weight.load(simd);
                            plain = weight.mul_add(sum.load(simd), plain);
                            weighted = weight.mul_add(products[tap * inputs + input].load(simd), weighted);
                        }
                        let sum = |lanes: f32x16<_>| lanes.to_array().iter().copied().map(f64::from).sum::<f64>();
                        totals[input] = sum(plain);
                        totals[inputs + input] = sum(weighted);
                    }
                }
            });
            totals
        };
        let blocks: Vec<GradientSums> =
            weight.par_chunks(LANES * shape.in_channels * TAPS).enumerate().map(of_block).collect();
        let mut totals = vec![vec![0.0; 2 * inputs]; moments.len()];
        for sums in &blocks {
            for (total, sum) in totals.iter_mut().flatten().zip(sums.iter().flatten()) {
                *total += sum;
            }
        }
        for (totals, moments) in totals.iter_mut().zip(moments) {
            let (plain, weighted) = totals.split_at_mut(inputs);
            for ((plain, weighted), mean) in plain.iter().zip(weighted).zip(&moments.mean) {
                *weighted -= f64::from(*mean) * plain;
            }
        }
        totals
    }
}
