//! The backward pass of a block: through normalisation and ReLU, to the weights, to the input.

use fearless_simd::{Level, Simd, dispatch, f32x16, prelude::*};
use rayon::prelude::*;

use crate::normalise::{Affine, Moments, add_gradient_brick, by_group};
use crate::pack;
use crate::plan::{BlockShape, Chunk, TAPS, parts, rows};
use crate::tile::{Finish, LANES, Line, Step, outer_products, panel, plane_products, tiles, with_rows};
use crate::workspace::Buffer;

/// `Σ gradient` and `Σ gradient · (value − mean)` of each group and channel, `[group][2][channels]`.
pub(crate) type GradientSums = Vec<Vec<f64>>;

/// Reads the gradient of the features, `[image][channel][position]`, into the order of the activations,
/// with the sums that normalisation needs.
pub(crate) fn read_features(
    level: Level,
    shape: &BlockShape,
    gradient: &[f32],
    values: &[Line],
    means: &[Vec<Line>],
    chunks: &[Chunk],
) -> (Buffer<Line>, GradientSums) {
    let positions = shape.out_positions();
    let blocks = shape.out_blocks();
    let mut out: Buffer<Line> = Buffer::new(values.len());
    let mut sums = vec![0.0; chunks.len() * 2 * blocks * LANES];
    rows(&mut out, chunks, 1, positions * blocks)
        .into_par_iter()
        .zip(sums.par_chunks_mut(2 * blocks * LANES))
        .for_each(|(task, sums)| {
            let count = task.chunk.rows;
            let images = task.chunk.of(gradient, shape.out_features());
            // Block by block, so that only as many streams as there are positions are written at a time.
            for block in 0..blocks {
                for (row, image) in images.chunks_exact(shape.out_features()).enumerate() {
                    let image = image.chunks(LANES * positions).nth(block).unwrap_or_default();
                    for position in 0..positions {
                        let line = &mut task.data[(position * blocks + block) * count + row].0;
                        *line = [0.0; LANES];
                        for (to, from) in line.iter_mut().zip(image.iter().skip(position).step_by(positions)) {
                            *to = *from;
                        }
                    }
                }
            }
            let values = task.chunk.of(values, positions * blocks);
            let means = &means[task.chunk.group];
            dispatch!(level, simd => {
                let bricks = task.data.chunks_exact(count).zip(values.chunks_exact(count));
                for (brick, (gradient, values)) in bricks.enumerate() {
                    let block = brick % blocks;
                    add_gradient_brick(simd, gradient, values, &means[block], sums, block * LANES);
                }
            });
        });
    let sums = by_group(&sums, 2 * blocks * LANES, chunks, means.len());
    (out, sums)
}

/// Gradients of the scale and of the shift from the groups' sums.
pub(crate) fn scale_and_shift(
    shape: &BlockShape,
    sums: &GradientSums,
    moments: &[Moments],
    epsilon: f32,
) -> (Vec<f32>, Vec<f32>) {
    let of = |channel: usize| {
        let (mut gamma, mut beta) = (0.0, 0.0);
        for (sums, moments) in sums.iter().zip(moments) {
            let variance = f64::from(moments.variance[channel]) + f64::from(epsilon);
            gamma += sums[sums.len() / 2 + channel] / variance.sqrt();
            beta += sums[channel];
        }
        (gamma as f32, beta as f32)
    };
    (0..shape.out_channels).map(of).unzip()
}

/// The way back through normalisation and ReLU of one group:
/// `value > 0 ? scale · (gradient − average − slope · (value − mean)) : 0`.
pub(crate) struct Inverse {
    scale: Vec<Line>,
    average: Vec<Line>,
    slope: Vec<Line>,
    mean: Vec<Line>,
}

impl Inverse {
    /// From one group's sums over `count` values a channel.
    pub(crate) fn new(sums: &[f64], count: usize, moments: &Moments, affine: &Affine, epsilon: f32) -> Self {
        let padded = sums.len() / 2;
        let mut average = Vec::with_capacity(padded);
        let mut slope = Vec::with_capacity(padded);
        for channel in 0..moments.mean.len() {
            let variance = f64::from(moments.variance[channel]) + f64::from(epsilon);
            average.push((sums[channel] / count as f64) as f32);
            slope.push((sums[padded + channel] / (count as f64 * variance)) as f32);
        }
        Self {
            scale: pack::channels(&affine.scale),
            average: pack::channels(&average),
            slope: pack::channels(&slope),
            mean: pack::channels(&moments.mean),
        }
    }

    /// Turns the gradient of a brick's normalised values into that of its convolution's output;
    /// returns its sum.
    #[inline(always)]
    fn apply<S: Simd>(&self, simd: S, block: usize, gradient: &mut [Line], values: &[Line]) -> f32x16<S> {
        let zero = f32x16::splat(simd, 0.0);
        let (scale, slope) = (self.scale[block].load(simd), self.slope[block].load(simd));
        let (average, mean) = (self.average[block].load(simd), self.mean[block].load(simd));
        let mut total = zero;
        for (gradient, value) in gradient.iter_mut().zip(values) {
            let value = value.load(simd);
            let along = slope.mul_add(value - mean, average);
            let back = scale * (gradient.load(simd) - along);
            let back = value.simd_gt(zero).select(back, zero);
            total += back;
            gradient.store(back);
        }
        total
    }
}

/// Takes `gradient` back through normalisation and ReLU in place. Returns its sums over the images of
/// each group, `[group][position][channels]`.
pub(crate) fn through_activation(
    level: Level,
    shape: &BlockShape,
    gradient: &mut [Line],
    values: &[Line],
    inverses: &[Inverse],
    chunks: &[Chunk],
) -> Vec<Vec<f64>> {
    let blocks = shape.out_blocks();
    let each = shape.out_width() * blocks;
    let height = shape.out_height();
    let mut sums = vec![Line::ZERO; chunks.len() * height * each];
    rows(gradient, chunks, height, each).into_par_iter().zip(sums.par_chunks_mut(each)).for_each(|(task, sums)| {
        let count = task.chunk.rows;
        let values = &task.chunk.of(values, height * each)[task.y * each * count..];
        let inverse = &inverses[task.chunk.group];
        dispatch!(level, simd => {
            let bricks = task.data.chunks_exact_mut(count).zip(values.chunks_exact(count));
            for (brick, ((gradient, values), sum)) in bricks.zip(sums).enumerate() {
                sum.store(inverse.apply(simd, brick % blocks, gradient, values));
            }
        });
    });
    let mut totals = vec![vec![0.0; height * each * LANES]; inverses.len()];
    for (chunk, sums) in chunks.iter().zip(sums.chunks_exact(height * each)) {
        for (totals, line) in totals[chunk.group].chunks_exact_mut(LANES).zip(sums) {
            for (total, value) in totals.iter_mut().zip(line.0) {
                *total += f64::from(value);
            }
        }
    }
    totals
}

/// Sums of the convolution output's gradient over all positions, and over the positions where each tap
/// meets the image.
pub(crate) struct TapSums {
    /// `[channels]`: the bias's gradient.
    pub(crate) bias: Vec<f32>,
    /// `[group][tap][channels]`.
    taps: Vec<Vec<f64>>,
}

impl TapSums {
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
    let mut products = Buffer::new(parts.len() * outputs * panel);
    products.par_chunks_mut(outputs * panel).zip(&parts).for_each(|(products, part)| {
        products.par_chunks_mut(TOGETHER * panel).enumerate().for_each(|(task, products)| {
            products.fill(Line::ZERO);
            for chunk in *part {
                let values = chunk.of(values, shape.in_positions() * inputs);
                let gradient = chunk.of(gradient, shape.out_positions() * outputs);
                dispatch!(level, simd =>
                    chunk_products(simd, shape, values, gradient, chunk.rows, task * TOGETHER, products));
            }
        });
    });
    let mut out = vec![0.0; shape.out_channels * shape.in_channels * TAPS];
    let channels = outputs * LANES;
    out.par_chunks_mut(LANES * shape.in_channels * TAPS).enumerate().for_each(|(block, out)| {
        for tap in 0..TAPS {
            for input in 0..shape.in_channels {
                let mut total = [0.0f32; LANES];
                for (group, affine) in affines.iter().enumerate() {
                    let mut product = [0.0f32; LANES];
                    for part in (0..parts.len()).filter(|&p| parts[p][0].group == group) {
                        let line = (part * outputs + block) * panel + tap * inputs * LANES + input;
                        for (product, value) in product.iter_mut().zip(products[line].0) {
                            *product += value;
                        }
                    }
                    let shifts = &sums.taps[group][tap * channels + block * LANES..][..LANES];
                    for lane in 0..LANES {
                        total[lane] += affine.scale[input] * product[lane] + affine.shift[input] * shifts[lane] as f32;
                    }
                }
                let each = shape.in_channels * TAPS;
                for (out, value) in out[input * TAPS + tap..].iter_mut().step_by(each).zip(total) {
                    *out = value;
                }
            }
        }
    });
    out
}

/// Output blocks whose products one task gathers: each value it fetches serves all of them.
const TOGETHER: usize = 2;

/// Adds one chunk's products for the output blocks from `first`, `[output block][tap][input block][16 input channels]`.
#[inline(always)]
fn chunk_products<S: Simd>(
    simd: S,
    shape: &BlockShape,
    values: &[Line],
    gradient: &[Line],
    rows: usize,
    first: usize,
    products: &mut [Line],
) {
    let (inputs, outputs) = (shape.in_blocks(), shape.out_blocks());
    let mut pairs = Vec::with_capacity(shape.out_width());
    for y in 0..shape.out_height() {
        for tap in 0..TAPS {
            let Some(row) = shape.input(y, tap / 3, shape.height) else { continue };
            pairs.clear();
            for x in 0..shape.out_width() {
                if let Some(column) = shape.input(x, tap % 3, shape.width) {
                    let from = (row * shape.width + column) * inputs * rows;
                    let to = (y * shape.out_width() + x) * outputs * rows;
                    pairs.push((from, to));
                }
            }
            // A few pairs of bricks at a time stay in the first-level cache for all their strips.
            for pairs in pairs.chunks(4) {
                for input in 0..inputs {
                    let values = &values[input * rows..];
                    for (i, products) in products.chunks_exact_mut(TAPS * inputs * LANES).enumerate() {
                        let sums = &mut products[(tap * inputs + input) * LANES..][..LANES];
                        let gradient = &gradient[(first + i) * rows..];
                        strip::<S, 0, 6>(simd, sums, values, gradient, rows, pairs);
                        strip::<S, 6, 5>(simd, sums, values, gradient, rows, pairs);
                        strip::<S, 11, 5>(simd, sums, values, gradient, rows, pairs);
                    }
                }
            }
        }
    }
}

/// Input channels `FIRST..FIRST + R` of a block against sixteen output channels, over pairs of bricks.
#[inline(always)]
fn strip<S: Simd, const FIRST: usize, const R: usize>(
    simd: S,
    sums: &mut [Line],
    values: &[Line],
    gradient: &[Line],
    rows: usize,
    pairs: &[(usize, usize)],
) {
    let sums: &mut [Line; R] = (&mut sums[FIRST..FIRST + R]).try_into().expect("R lines");
    let mut totals: [f32x16<S>; R] = std::array::from_fn(|i| sums[i].load(simd));
    for &(from, to) in pairs {
        outer_products::<S, FIRST, R>(simd, &mut totals, &values[from..from + rows], &gradient[to..to + rows]);
    }
    for i in 0..R {
        sums[i].store(totals[i]);
    }
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
        brick.copy_from_slice(gradient);
        let total = inverse.apply(simd, output, &mut brick, values);
        for (sum, value) in sums.bias[output * LANES..].iter_mut().zip(total.to_array()) {
            *sum += f64::from(value);
        }
        let products = &mut sums.products[output * panel..][..panel];
        for (first, count) in tiles(panel) {
            let (inputs, products) = (&inputs[first..first + count], &mut products[first..first + count]);
            with_rows!(count, R => plane_products::<S, R>(simd, products, inputs, &brick));
        }
    }
    sums
}

/// What the gradient of a block's input is for: the block before it.
pub(crate) struct Before<'a> {
    /// That block's values, and their means by group.
    pub(crate) values: &'a [Line],
    pub(crate) means: &'a [Vec<Line>],
}

/// Gradient of a block's (normalised) input in the order of the activations, and its sums `[group][2][channels]`
/// if there is a block before.
pub(crate) fn input(
    level: Level,
    shape: &BlockShape,
    weight: &[f32],
    gradient: &[Line],
    chunks: &[Chunk],
    groups: usize,
    before: Option<Before>,
) -> (Buffer<Line>, GradientSums) {
    let packed = pack::backward(shape, weight);
    let (inputs, outputs) = (shape.in_blocks(), shape.out_blocks());
    let batch: usize = chunks.iter().map(|chunk| chunk.rows).sum();
    let each = shape.width * inputs;
    let mut out = Buffer::new(batch * shape.height * each);
    let mut sums = vec![0.0; chunks.len() * shape.height * 2 * inputs * LANES];
    rows(&mut out, chunks, shape.height, each).into_par_iter().zip(sums.par_chunks_mut(2 * inputs * LANES)).for_each(
        |(task, sums)| {
            let count = task.chunk.rows;
            let gradient = task.chunk.of(gradient, shape.out_positions() * outputs);
            let before = before.as_ref().map(|before| {
                let values = task.chunk.of(before.values, shape.height * each);
                (&values[task.y * each * count..], &before.means[task.chunk.group])
            });
            let mut steps = Vec::with_capacity(TAPS * outputs);
            dispatch!(level, simd => {
                for (x, out) in task.data.chunks_exact_mut(inputs * count).enumerate() {
                    steps.clear();
                    for (tap, position) in shape.readers(task.y, x) {
                        steps.extend((0..outputs).map(|block| Step {
                            source: (position * outputs + block) * count,
                            weight: (tap * outputs + block) * LANES,
                        }));
                    }
                    let panels = packed.chunks_exact(TAPS * outputs * LANES);
                    for (block, (out, weights)) in out.chunks_exact_mut(count).zip(panels).enumerate() {
                        panel(simd, Line::ZERO, gradient, weights, &steps, Finish::Keep, out);
                        if let Some((values, means)) = before {
                            let values = &values[(x * inputs + block) * count..][..count];
                            add_gradient_brick(simd, out, values, &means[block], sums, block * LANES);
                        }
                    }
                }
            });
        },
    );
    let sums = by_group(&sums, 2 * inputs * LANES, chunks, groups);
    (out, sums)
}

/// The gradient of the first block's input in the order `[image][channel][position]`.
pub(crate) fn write_input(shape: &BlockShape, gradient: &[Line], chunks: &[Chunk]) -> Vec<f32> {
    let features = shape.in_channels * shape.in_positions();
    let mut out = vec![0.0; gradient.len() / (shape.in_positions() * shape.in_blocks()) * features];
    rows(&mut out, chunks, 1, features).into_par_iter().for_each(|task| {
        let gradient = task.chunk.of(gradient, shape.in_positions() * shape.in_blocks());
        for (row, image) in task.data.chunks_exact_mut(features).enumerate() {
            for (feature, out) in image.iter_mut().enumerate() {
                let (channel, position) = (feature / shape.in_positions(), feature % shape.in_positions());
                let brick = position * shape.in_blocks() + channel / LANES;
                *out = gradient[brick * task.chunk.rows + row].0[channel % LANES];
            }
        }
    });
    out
}
