//! The forward pass: convolution, ReLU and the sums for batch normalisation in one sweep a block.

use fearless_simd::{Level, Simd, dispatch};
use rayon::prelude::*;

use crate::normalise::{Affine, MOMENTS, Moments, add_brick, by_group};
use crate::pack::{self, ForwardWeights};
use crate::plan::{BlockShape, Chunk, TAPS, rows};
use crate::tile::{Finish, LANES, Line, Step, panel, panel_from_planes};
use crate::workspace::Buffer;

/// The input as planes, `[chunk][channel][position][image]`.
pub(crate) fn to_planes(input: &[f32], features: usize, chunks: &[Chunk]) -> Buffer<f32> {
    let mut planes = Buffer::new(input.len());
    rows(&mut planes, chunks, 1, features).into_par_iter().for_each(|task| {
        let rows = task.chunk.rows;
        let images = task.chunk.of(input, features);
        for (feature, plane) in task.data.chunks_exact_mut(rows).enumerate() {
            for (row, value) in plane.iter_mut().enumerate() {
                *value = images[row * features + feature];
            }
        }
    });
    planes
}

/// The source of a block's convolution.
#[derive(Clone, Copy)]
pub(crate) enum Source<'a> {
    /// Planes, and weights packed for them.
    Planes(&'a [f32], &'a [Line]),
    /// An earlier block's values, and for each group the weights with its normalisation folded in.
    Values(&'a [Line], &'a [ForwardWeights]),
}

/// One row of a block's output, `relu(convolution + bias)`, before normalisation.
#[inline(always)]
pub(crate) fn row<S: Simd>(
    simd: S,
    shape: &BlockShape,
    bias: &[Line],
    source: Source,
    chunk: Chunk,
    y: usize,
    out: &mut [Line],
) {
    let rows = chunk.rows;
    let mut steps = Vec::with_capacity(TAPS * shape.in_channels.max(shape.in_blocks()));
    let mut taps = Vec::with_capacity(TAPS);
    for (x, out) in out.chunks_exact_mut(shape.out_blocks() * rows).enumerate() {
        taps.clear();
        taps.extend(shape.taps(y, x));
        steps.clear();
        match source {
            Source::Planes(planes, weights) => {
                let planes = chunk.of(planes, shape.in_channels * shape.in_positions());
                for &(tap, position) in &taps {
                    steps.extend((0..shape.in_channels).map(|channel| Step {
                        source: (channel * shape.in_positions() + position) * rows,
                        weight: tap * shape.in_channels + channel,
                    }));
                }
                let panels = weights.chunks_exact(TAPS * shape.in_channels);
                for ((out, weights), start) in out.chunks_exact_mut(rows).zip(panels).zip(bias) {
                    panel_from_planes(simd, *start, planes, weights, &steps, out);
                }
            }
            Source::Values(values, weights) => {
                let values = chunk.of(values, shape.in_positions() * shape.in_blocks());
                let weights = &weights[chunk.group];
                for &(tap, position) in &taps {
                    steps.extend((0..shape.in_blocks()).map(|block| Step {
                        source: (position * shape.in_blocks() + block) * rows,
                        weight: (tap * shape.in_blocks() + block) * LANES,
                    }));
                }
                let panels = weights.lines.chunks_exact(TAPS * shape.in_blocks() * LANES);
                for (block, (out, panel_weights)) in out.chunks_exact_mut(rows).zip(panels).enumerate() {
                    let mut start = bias[block].load(simd);
                    for &(tap, _) in &taps {
                        start += weights.shifts[block * TAPS + tap].load(simd);
                    }
                    let mut line = Line::ZERO;
                    line.store(start);
                    panel(simd, line, values, panel_weights, &steps, Finish::Relu, out);
                }
            }
        }
    }
}

/// A block's output for the whole batch and each group's batch statistics.
pub(crate) fn block(
    level: Level,
    shape: &BlockShape,
    bias: &[f32],
    source: Source,
    chunks: &[Chunk],
    groups: usize,
) -> (Buffer<Line>, Vec<Moments>) {
    let batch: usize = chunks.iter().map(|chunk| chunk.rows).sum();
    let bias = pack::channels(bias);
    let channels = shape.out_blocks() * LANES;
    let height = shape.out_height();
    let mut out = Buffer::new(batch * shape.out_positions() * shape.out_blocks());
    let mut moments = vec![0.0; chunks.len() * height * MOMENTS * channels];
    rows(&mut out, chunks, height, shape.out_width() * shape.out_blocks())
        .into_par_iter()
        .zip(moments.par_chunks_mut(MOMENTS * channels))
        .for_each(|(task, moments)| {
            dispatch!(level, simd => {
                row(simd, shape, &bias, source, task.chunk, task.y, task.data);
                for (brick, lines) in task.data.chunks_exact(task.chunk.rows).enumerate() {
                    add_brick(simd, lines, moments, brick % shape.out_blocks() * LANES);
                }
            });
        });
    let count = batch / groups * shape.out_positions();
    let moments = by_group(&moments, MOMENTS * channels, chunks, groups)
        .iter()
        .map(|moments| Moments::new(moments, count, shape.out_channels))
        .collect();
    (out, moments)
}

/// A block's output for one chunk on its own.
pub(crate) fn chunk(level: Level, shape: &BlockShape, bias: &[Line], source: Source, chunk: Chunk, out: &mut [Line]) {
    let each = shape.out_width() * shape.out_blocks() * chunk.rows;
    dispatch!(level, simd => {
        for (y, out) in out.chunks_exact_mut(each).enumerate() {
            row(simd, shape, bias, source, chunk, y, out);
        }
    });
}

/// Writes one chunk of the last block's normalised values in the order `[image][channel][position]`.
pub(crate) fn write_features(shape: &BlockShape, values: &[Line], rows: usize, affine: &Affine, out: &mut [f32]) {
    let positions = shape.out_positions();
    let blocks = shape.out_blocks();
    // Block by block, so that only as many streams as there are positions are read at a time.
    for block in 0..blocks {
        let channel = block * LANES;
        let lanes = LANES.min(shape.out_channels - channel);
        let (scale, shift) = (&affine.scale[channel..][..lanes], &affine.shift[channel..][..lanes]);
        for (row, image) in out.chunks_exact_mut(shape.out_features()).enumerate() {
            let image = &mut image[channel * positions..][..lanes * positions];
            for position in 0..positions {
                let line = &values[(position * blocks + block) * rows + row].0;
                let normalised = line.iter().zip(scale).zip(shift).map(|((value, scale), shift)| scale * value + shift);
                for (out, value) in image.iter_mut().skip(position).step_by(positions).zip(normalised) {
                    *out = value;
                }
            }
        }
    }
}
