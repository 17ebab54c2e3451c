//! Gradients of a block's weights and bias.

use fearless_simd::{Level, Simd, dispatch, f32x16, prelude::*};
use rayon::prelude::*;

use crate::backward::Inverse;
use crate::normalise::Affine;
use crate::plan::{BlockShape, Chunk, TAPS, parts};
use crate::tile::{LANES, Line, is_wide, plane_products, tiles, with_rows};
use crate::weight_products::{Factors, Terms, fold, scratch_len, sums_each};
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

/// Gradient of the weights `[out, in, 3, 3]` of a block whose input is normalised `values`.
pub(crate) fn weights(
    level: Level,
    shape: &BlockShape,
    values: &[Line],
    affines: &[Affine],
    gradient: &[Line],
    sums: &TapSums,
    chunks: &[Chunk],
) -> Vec<f32> {
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
            sums.fill(Line::ZERO);
            dispatch!(level, simd => {
                for chunk in *part {
                    let factors = Factors {
                        rows: chunk.rows,
                        inputs,
                        outputs,
                        values: chunk.of(values, shape.in_positions() * inputs),
                        gradient: chunk.of(gradient, shape.out_positions() * outputs),
                    };
                    factors.add_products(simd, &terms, task * TOGETHER, scratch, sums);
                }
                fold(simd, inputs, sums, products);
            });
        });
    });
    // What the parts of each group add up to, and what its normalisation makes of that.
    let of_group = |group| (0..parts.len()).filter(|&part| parts[part][0].group == group).collect();
    let groups: Vec<Vec<usize>> = (0..affines.len()).map(of_group).collect();
    let channels = outputs * LANES;
    let mut out = vec![0.0; shape.out_channels * shape.in_channels * TAPS];
    out.par_chunks_mut(LANES * shape.in_channels * TAPS).enumerate().for_each(|(block, out)| {
        // `[tap][input channel]`
        let mut totals: Buffer<Line> = Buffer::new(panel);
        dispatch!(level, simd => {
            for (tap, totals) in totals.chunks_exact_mut(inputs * LANES).enumerate() {
                let first = block * panel + tap * totals.len();
                let of_tap = |sums: &Vec<f64>| Line::of(&sums[tap * channels + block * LANES..], |sum| sum as f32);
                let sums: Vec<Line> = sums.taps.iter().map(of_tap).collect();
                for (input, total) in totals[..shape.in_channels].iter_mut().enumerate() {
                    let mut sum = f32x16::splat(simd, 0.0);
                    for ((affine, parts), sums) in affines.iter().zip(&groups).zip(&sums) {
                        let mut product = f32x16::splat(simd, 0.0);
                        for part in parts {
                            product += products[part * outputs * panel + first + input].load(simd);
                        }
                        sum = product.mul_add(f32x16::splat(simd, affine.scale[input]), sum);
                        sum = sums.load(simd).mul_add(f32x16::splat(simd, affine.shift[input]), sum);
                    }
                    total.store(sum);
                }
            }
        });
        for (lane, out) in out.chunks_exact_mut(shape.in_channels * TAPS).enumerate() {
            for (input, out) in out.chunks_exact_mut(TAPS).enumerate() {
                for (tap, out) in out.iter_mut().enumerate() {
                    *out = totals[tap * inputs * LANES + input].0[lane];
                }
            }
        }
    });
    out
}

/// Gradients of the weights `[out, in, 3, 3]` and the bias of the first block, whose input lies in planes.
///
/// `gradient` is that of the normalised values: the way back through normalisation and ReLU is taken brick by
/// brick and stored nowhere, as nothing but these gradients needs it.
pub(crate) fn first_block(
    level: Level,
    shape: &BlockShape,
    planes: &[f32],
    gradient: &[Line],
    values: &[Line],
    inverses: &[Inverse],
    chunks: &[Chunk],
) -> (Vec<f32>, Vec<f32>) {
    let outputs = shape.out_blocks();
    let (height, each) = (shape.out_height(), shape.out_width() * outputs);
    let panel = shape.in_channels * TAPS;
    let sums: Vec<FirstSums> = (0..chunks.len() * height)
        .into_par_iter()
        .with_max_len(1)
        .map(|task| {
            let (chunk, y) = (chunks[task / height], task % height);
            let planes = chunk.of(planes, shape.in_channels * shape.in_positions());
            let row = y * each * chunk.rows..(y + 1) * each * chunk.rows;
            let gradient = &chunk.of(gradient, height * each)[row.clone()];
            let values = &chunk.of(values, height * each)[row];
            let inverse = &inverses[chunk.group];
            dispatch!(level, simd => first_row(simd, shape, planes, gradient, values, inverse, chunk.rows, y))
        })
        .collect();
    let mut weight = vec![0.0; shape.out_channels * panel];
    let mut bias = vec![0.0; shape.out_channels];
    for (output, (weight, bias)) in weight.chunks_exact_mut(panel).zip(&mut bias).enumerate() {
        *bias = sums.iter().map(|sums| sums.bias[output]).sum::<f64>() as f32;
        for (i, weight) in weight.iter_mut().enumerate() {
            let line = output / LANES * panel + i;
            *weight = sums.iter().map(|sums| f64::from(sums.products[line].0[output % LANES])).sum::<f64>() as f32;
        }
    }
    (weight, bias)
}

/// Sums of the first block over one row of positions of a chunk.
struct FirstSums {
    /// `[output block][input channel][tap]`.
    products: Vec<Line>,
    /// `[channels]`.
    bias: Vec<f64>,
}

#[inline(always)]
#[expect(clippy::too_many_arguments, reason = "one call, all of it needed")]
fn first_row<S: Simd>(
    simd: S,
    shape: &BlockShape,
    planes: &[f32],
    gradient: &[Line],
    values: &[Line],
    inverse: &Inverse,
    rows: usize,
    y: usize,
) -> FirstSums {
    let (panel, outputs) = (shape.in_channels * TAPS, shape.out_blocks());
    let mut sums = FirstSums { products: vec![Line::ZERO; outputs * panel], bias: vec![0.0; outputs * LANES] };
    // A padding tap reads zeros, which keeps the tiles the same everywhere.
    let padding = vec![0.0; rows];
    let mut inputs = vec![&padding[..]; panel];
    let mut brick = vec![Line::ZERO; rows];
    let bricks = gradient.chunks_exact(rows).zip(values.chunks_exact(rows));
    for (index, (gradient, values)) in bricks.enumerate() {
        let (x, output) = (index / outputs, index % outputs);
        if output == 0 {
            inputs.fill(&padding);
            for (tap, from) in shape.taps(y, x) {
                for channel in 0..shape.in_channels {
                    let first = (channel * shape.in_positions() + from) * rows;
                    inputs[channel * TAPS + tap] = &planes[first..first + rows];
                }
            }
        }
        let products = &mut sums.products[output * panel..][..panel];
        let inverse = inverse.block(simd, output);
        let mut total = f32x16::splat(simd, 0.0);
        for (first, count) in tiles::<S>(panel) {
            let (inputs, products) = (&inputs[first..first + count], &mut products[first..first + count]);
            if first == 0 {
                // Taken back by the first tile, the gradient is fetched from memory while there is much to compute.
                with_rows!(S, count, R => plane_products::<S, R>(
                    simd,
                    products,
                    inputs,
                    #[inline(always)]
                    |n| {
                        let back = inverse.apply(gradient[n].load(simd), values[n].load(simd));
                        total += back;
                        brick[n].store(back);
                        back
                    },
                ));
            } else {
                with_rows!(S, count, R => plane_products::<S, R>(
                    simd,
                    products,
                    inputs,
                    #[inline(always)]
                    |n| brick[n].load(simd),
                ));
            }
        }
        for (sum, value) in sums.bias[output * LANES..].iter_mut().zip(total.to_array()) {
            *sum += f64::from(value);
        }
    }
    sums
}
