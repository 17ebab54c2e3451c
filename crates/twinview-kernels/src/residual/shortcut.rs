//! The 1 × 1 convolution of a shortcut.

use fearless_simd::{Simd, dispatch};
use rayon::prelude::*;

use super::layers::{Batch, Convolved};
use crate::normalise::{MOMENTS, Moments, add_brick};
use crate::plan::{BlockShape, parts, rows};
use crate::tile::{Finish, LANES, Line, Start, Step, block_products, panel};
use crate::workspace::Buffer;

/// Weights `[out, in]`, or their transpose, as panels of sixteen columns: `[panel][channel block][16]`.
fn pack(columns: usize, rows: usize, weight: impl Fn(usize, usize) -> f32 + Sync) -> Buffer<Line> {
    let blocks = rows.div_ceil(LANES);
    let mut lines: Buffer<Line> = Buffer::new(columns.div_ceil(LANES) * blocks * LANES);
    lines.par_chunks_mut(blocks * LANES).enumerate().for_each(|(panel, lines)| {
        for (row, line) in lines.iter_mut().enumerate() {
            line.0 = std::array::from_fn(|lane| {
                let column = panel * LANES + lane;
                if row < rows && column < columns { weight(column, row) } else { 0.0 }
            });
        }
    });
    lines
}

/// Panels for the forward pass.
pub(super) fn pack_forward(shape: &BlockShape, weight: &[f32]) -> Buffer<Line> {
    pack(shape.out_channels, shape.in_channels, |output, input| weight[output * shape.in_channels + input])
}

/// Where output `(y, x)` of `shape` reads.
fn source(shape: &BlockShape, y: usize, x: usize) -> usize {
    y * shape.stride * shape.width + x * shape.stride
}

/// A row of outputs: `sources` has the position that each column reads, of `blocks` channel blocks.
#[inline(always)]
#[expect(clippy::too_many_arguments, reason = "the inner loop of three passes")]
fn row<S: Simd>(
    simd: S,
    rows: usize,
    source: &[Line],
    sources: impl Iterator<Item = usize>,
    blocks: usize,
    weights: &[Line],
    starts: &[Line],
    out: &mut [Line],
) {
    let mut steps = Vec::with_capacity(blocks);
    for (out, position) in out.chunks_exact_mut(starts.len() * rows).zip(sources) {
        let brick = |block| &source[(position * blocks + block) * rows..][..rows];
        steps.clear();
        steps.extend((0..blocks).map(|block| Step { source: brick(block), weight: block * LANES }));
        let panels = weights.chunks_exact(blocks * LANES).zip(starts);
        for (out, (weights, start)) in out.chunks_exact_mut(rows).zip(panels) {
            panel(simd, Start::Same(*start), weights, &steps, Finish::Keep, out);
        }
    }
}

/// Row `y` of the outputs of a chunk, of sums that begin with `starts`, one for each output block.
#[inline(always)]
#[expect(clippy::too_many_arguments, reason = "in training and outside")]
pub(super) fn forward_row<S: Simd>(
    simd: S,
    shape: &BlockShape,
    rows: usize,
    y: usize,
    input: &[Line],
    weights: &[Line],
    starts: &[Line],
    out: &mut [Line],
) {
    let sources = (0..shape.out_width()).map(|x| source(shape, y, x));
    row(simd, rows, input, sources, shape.in_blocks(), weights, starts, out);
}

/// Its outputs and statistics.
pub(super) fn forward(batch: Batch, shape: &BlockShape, weight: &[f32], input: &[Line]) -> Convolved {
    let weights = pack_forward(shape, weight);
    let (blocks, height) = (shape.out_blocks(), shape.out_height());
    let starts = vec![Line::ZERO; blocks];
    let each = MOMENTS * blocks * LANES;
    let mut values = Buffer::new(batch.images() * shape.out_positions() * blocks);
    let mut moments = vec![0.0; batch.chunks.len() * height * each];
    let tasks = rows(&mut values, batch.chunks, height, shape.out_width() * blocks).into_par_iter();
    tasks.zip(moments.par_chunks_mut(each)).with_max_len(1).for_each(|(task, moments)| {
        let rows = task.chunk.rows;
        let input = task.chunk.of(input, shape.in_positions() * shape.in_blocks());
        dispatch!(batch.level, simd => {
            forward_row(simd, shape, rows, task.y, input, &weights, &starts, task.data);
            for (brick, lines) in task.data.chunks_exact(rows).enumerate() {
                add_brick(simd, lines, moments, brick % blocks * LANES);
            }
        });
    });
    let count = batch.images() / batch.groups * shape.out_positions();
    let moments = Moments::of_groups(&moments, each, batch.chunks, batch.groups, count, shape.out_channels);
    Convolved { values, moments }
}

/// Gradient of those inputs that are read, from that of the outputs: shaped as the outputs, with the channels of the inputs.
pub(super) fn input(batch: Batch, shape: &BlockShape, weight: &[f32], gradient: &[Line]) -> Buffer<Line> {
    let weights =
        pack(shape.in_channels, shape.out_channels, |input, output| weight[output * shape.in_channels + input]);
    let (blocks, width) = (shape.in_blocks(), shape.out_width());
    let starts = vec![Line::ZERO; blocks];
    let mut out = Buffer::new(batch.images() * shape.out_positions() * blocks);
    rows(&mut out, batch.chunks, shape.out_height(), width * blocks).into_par_iter().with_max_len(1).for_each(|task| {
        let gradient = task.chunk.of(gradient, shape.out_positions() * shape.out_blocks());
        let sources = task.y * width..(task.y + 1) * width;
        dispatch!(batch.level, simd => {
            row(simd, task.chunk.rows, gradient, sources, shape.out_blocks(), &weights, &starts, task.data);
        });
    });
    out
}

/// Gradient of the weights `[out, in, 1, 1]`.
pub(super) fn weights(batch: Batch, shape: &BlockShape, input: &[Line], gradient: &[Line]) -> Vec<f32> {
    let (inputs, outputs) = (shape.in_blocks(), shape.out_blocks());
    let parts = parts(batch.chunks);
    let each = inputs * LANES;
    // `[part][output block][input channel]`
    let mut products = Buffer::new(parts.len() * outputs * each);
    products.par_chunks_mut(each).enumerate().with_max_len(1).for_each(|(task, sums)| {
        let (part, output) = (parts[task / outputs], task % outputs);
        sums.fill(Line::ZERO);
        for chunk in part {
            let gradient = chunk.of(gradient, shape.out_positions() * outputs);
            let input = chunk.of(input, shape.in_positions() * inputs);
            for position in 0..shape.out_positions() {
                let (y, x) = (position / shape.out_width(), position % shape.out_width());
                let gradient = &gradient[(position * outputs + output) * chunk.rows..][..chunk.rows];
                for (block, sums) in sums.chunks_exact_mut(LANES).enumerate() {
                    let input = &input[(source(shape, y, x) * inputs + block) * chunk.rows..][..chunk.rows];
                    dispatch!(batch.level, simd => block_products(simd, true, sums, input, gradient));
                }
            }
        }
    });
    let mut out = vec![0.0; shape.out_channels * shape.in_channels];
    for (output, out) in out.chunks_exact_mut(shape.in_channels).enumerate() {
        for products in products.chunks_exact(outputs * each) {
            let lines = &products[output / LANES * each..];
            out.iter_mut().zip(lines).for_each(|(out, line)| *out += line.0[output % LANES]);
        }
    }
    out
}
