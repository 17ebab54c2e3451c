//! Gradients of a block's weights and bias.

use fearless_simd::{Level, Simd, dispatch, f32x16, prelude::*};
use rayon::prelude::*;

use crate::backward::GradientSums;
use crate::normalise::{Affine, Moments, add};
use crate::pack::tap_lines;
use crate::plan::{BlockShape, Chunk, TAPS, parts};
use crate::tile::{LANES, Line};
use crate::transpose::transpose;
use crate::values::Values;
use crate::vectorized::vectorized;
use crate::weight_products::{Begun, Factors, Terms, fold, scratch_len, sums_each};
use crate::workspace::{Buffer, for_gradient};

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

    /// Those of an output block, for each group.
    fn of_block(&self, block: usize) -> Vec<[Line; TAPS]> {
        let of_group = |taps: &Vec<f64>| {
            let each = taps.len() / TAPS;
            std::array::from_fn(|tap| Line::of(&taps[tap * each + block * LANES..], |sum| sum as f32))
        };
        self.taps.iter().map(of_group).collect()
    }

    /// From sums by group and position.
    pub(crate) fn new(shape: &BlockShape, positions: &[Vec<f64>]) -> Self {
        let channels = shape.out_blocks() * LANES;
        let mut bias = vec![0.0; channels];
        let taps = positions
            .iter()
            .map(|sums| {
                let mut taps = vec![0.0; TAPS * channels];
                vectorized(
                    #[inline(always)]
                    || {
                        for (position, sums) in sums.chunks_exact(channels).enumerate() {
                            let (y, x) = (position / shape.out_width(), position % shape.out_width());
                            add(&mut bias, sums);
                            for (tap, _) in shape.taps(y, x) {
                                add(&mut taps[tap * channels..][..channels], sums);
                            }
                        }
                    },
                );
                taps
            })
            .collect();
        Self { bias: bias[..shape.out_channels].iter().map(|&v| v as f32).collect(), taps }
    }
}

/// Output blocks whose products one task gathers: each value it fetches serves all of them.
const TOGETHER: usize = 4;

/// `Σ gradient · value` over images and positions.
pub(crate) struct Products<'a> {
    level: Level,
    shape: &'a BlockShape,
    /// The group of each part.
    parts: Vec<usize>,
    /// `[part][output block][tap][input channel]`, a line of output channels each.
    lines: Buffer<Line>,
}

impl<'a> Products<'a> {
    /// From the values that a block reads, before normalisation, and the gradient of its convolution's output.
    pub(crate) fn new(
        level: Level,
        shape: &'a BlockShape,
        values: Values,
        gradient: &[Line],
        chunks: &[Chunk],
    ) -> Self {
        let (inputs, outputs) = (shape.in_blocks(), shape.out_blocks());
        let panel = TAPS * inputs * LANES;
        let parts = parts(chunks);
        let terms = Terms::new(shape);
        let mut lines = Buffer::new(parts.len() * outputs * panel);
        lines.par_chunks_mut(outputs * panel).zip(&parts).with_max_len(1).for_each(|(lines, part)| {
            lines.par_chunks_mut(TOGETHER * panel).enumerate().with_max_len(1).for_each(|(task, lines)| {
                let count = lines.len() / panel;
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
                            gradient: chunk.of(gradient, shape.out_positions() * outputs),
                        };
                        let mut values = values.rows(*chunk, shape.height, shape.width * inputs);
                        factors.add_products(simd, &terms, &mut values, task * TOGETHER, scratch, &mut begun, sums);
                    }
                    fold(simd, inputs, &begun, sums, lines);
                });
            });
        });
        Self { level, shape, parts: parts.iter().map(|part| part[0].group).collect(), lines }
    }

    /// Gradient of the weights `[out, in, 3, 3]`: `affines` are the normalisations of the values.
    pub(crate) fn weights(&self, affines: &[Affine], taps: &TapSums) -> Vec<f32> {
        self.by_block(affines, taps, |_, _, _| ()).0
    }

    /// The same, and what the normalisation of the values needs on the way back, before the values' gradient is known: that is a
    /// sum of `weight · gradient` over outputs and taps, so its sum and that of its products with the values are sums of
    /// `weight · Σ gradient` and `weight · Σ gradient · value`.
    pub(crate) fn gradients(
        &self,
        affines: &[Affine],
        taps: &TapSums,
        weight: &[f32],
        moments: &[Moments],
    ) -> (Vec<f32>, GradientSums) {
        let (shape, inputs) = (self.shape, self.inputs());
        let each = LANES * shape.in_channels * TAPS;
        let (gradient, blocks) = self.by_block(affines, taps, |block, products, taps| {
            let weight = &weight[block * each..weight.len().min((block + 1) * each)];
            self.block_sums(products, taps, weight)
        });
        let mut totals = vec![vec![0.0; 2 * inputs]; moments.len()];
        for sums in &blocks {
            totals.iter_mut().zip(sums).for_each(|(totals, sums)| add(totals, sums));
        }
        for (totals, moments) in totals.iter_mut().zip(moments) {
            let (plain, weighted) = totals.split_at_mut(inputs);
            for ((plain, weighted), mean) in plain.iter().zip(weighted).zip(&moments.mean) {
                *weighted -= f64::from(*mean) * plain;
            }
        }
        (gradient, totals)
    }

    /// Lines of a tap: input channels, filled up to whole blocks.
    fn inputs(&self) -> usize {
        self.shape.in_blocks() * LANES
    }

    /// Gradient of the weights, and what `then` makes of each output block's products, `[group][tap][input channel]`, while they are
    /// in the cache.
    fn by_block<T: Send>(
        &self,
        affines: &[Affine],
        taps: &TapSums,
        then: impl Fn(usize, &[Line], &[[Line; TAPS]]) -> T + Sync,
    ) -> (Vec<f32>, Vec<T>) {
        let (shape, panel) = (self.shape, TAPS * self.inputs());
        let mut out = for_gradient(shape.out_channels * shape.in_channels * TAPS);
        let blocks = out.par_chunks_mut(LANES * shape.in_channels * TAPS).enumerate().with_max_len(1);
        let made = blocks.map(|(block, out)| {
            let mut products: Buffer<Line> = Buffer::new(affines.len() * panel);
            let taps = taps.of_block(block);
            let parts = self.lines.chunks_exact(panel).skip(block).step_by(shape.out_blocks());
            dispatch!(self.level, simd => {
                let mut begun = vec![false; affines.len()];
                for (group, part) in self.parts.iter().zip(parts) {
                    let held = std::mem::replace(&mut begun[*group], true);
                    let sums = &mut products[group * panel..][..panel];
                    for (sum, product) in sums.iter_mut().zip(part) {
                        let product = product.load(simd);
                        sum.store(if held { sum.load(simd) + product } else { product });
                    }
                }
                self.block_weights(simd, &products, affines, &taps, out);
            });
            then(block, &products, &taps)
        });
        let made = made.collect();
        (out, made)
    }

    /// Gradient of an output block's weights, `[out, in, 3, 3]`.
    #[inline(always)]
    fn block_weights<S: Simd>(
        &self,
        simd: S,
        products: &[Line],
        affines: &[Affine],
        taps: &[[Line; TAPS]],
        out: &mut [f32],
    ) {
        let (channels, inputs) = (self.shape.in_channels, self.inputs());
        // `[tap][input channel]`
        let mut totals: Buffer<Line> = Buffer::new(TAPS * inputs);
        for (tap, totals) in totals.chunks_exact_mut(inputs).enumerate() {
            for (input, total) in totals[..channels].iter_mut().enumerate() {
                let mut sum = f32x16::splat(simd, 0.0);
                let groups = affines.iter().zip(products.chunks_exact(TAPS * inputs)).zip(taps);
                for ((affine, products), taps) in groups {
                    let product = products[tap * inputs + input].load(simd);
                    sum = product.mul_add(f32x16::splat(simd, affine.scale[input]), sum);
                    sum = taps[tap].load(simd).mul_add(f32x16::splat(simd, affine.shift[input]), sum);
                }
                total.store(sum);
            }
        }
        // Lines behind the taps' nine stay zero.
        let (mut tile, mut rows) = ([Line::ZERO; LANES], [Line::ZERO; LANES]);
        for input in 0..channels {
            tile.iter_mut().zip(totals[input..].iter().step_by(inputs)).for_each(|(to, line)| *to = *line);
            transpose(simd, &tile, &mut rows);
            // What a line has behind its taps, the next input's take the place of.
            for (row, line) in out.chunks_exact_mut(channels * TAPS).zip(&rows) {
                line.write(&mut row[input * TAPS..]);
            }
        }
    }

    /// `Σ weight · Σ gradient` and `Σ weight · Σ gradient · value` of an output block, `[group][2][input channel]`.
    fn block_sums(&self, products: &[Line], taps: &[[Line; TAPS]], weight: &[f32]) -> GradientSums {
        let (channels, inputs) = (self.shape.in_channels, self.inputs());
        let columns = weight.len() / (channels * TAPS);
        let mut totals = vec![vec![0.0; 2 * inputs]; taps.len()];
        dispatch!(self.level, simd => {
            let mut weights = [Line::ZERO; LANES];
            for input in 0..channels {
                tap_lines(simd, columns, |column| &weight[(column * channels + input) * TAPS..], &mut weights);
                let groups = totals.iter_mut().zip(products.chunks_exact(TAPS * inputs)).zip(taps);
                for ((totals, products), taps) in groups {
                    let (mut plain, mut weighted) = (f32x16::splat(simd, 0.0), f32x16::splat(simd, 0.0));
                    for (tap, (weight, sum)) in weights.iter().zip(taps).enumerate() {
                        let weight = weight.load(simd);
                        plain = weight.mul_add(sum.load(simd), plain);
                        weighted = weight.mul_add(products[tap * inputs + input].load(simd), weighted);
                    }
                    let sum = |lanes: f32x16<_>| f64::from(Line(lanes.to_array()).sum());
                    totals[input] = sum(plain);
                    totals[inputs + input] = sum(weighted);
                }
            }
        });
        totals
    }
}
