//! The forward pass: convolution, ReLU and the sums for batch normalisation in one sweep a block.

use fearless_simd::{Level, Simd, dispatch};
use rayon::prelude::*;

use crate::convolve::Convolution;
use crate::first_block::FromPlanes;
use crate::normalise::{AffineLines, MOMENTS, Moments, add_brick};
use crate::plan::{BlockShape, Chunk, rows};
use crate::spans::{Span, Spans, tasks};
use crate::tile::{Finish, LANES, Line};
use crate::values::Values;
use crate::workspace::Buffer;

/// The source of a block's convolution.
#[derive(Clone, Copy)]
pub(crate) enum Source<'a> {
    /// Images.
    Planes(FromPlanes<'a>),
    /// An earlier block's values.
    Values {
        values: Values<'a>,
        /// Of each group, where they are to be normalised.
        affines: &'a [AffineLines],
        /// [Packed](crate::pack::forward).
        weights: &'a [Line],
        finish: Finish,
    },
}

/// What every chunk's forward pass through a block needs.
struct Block<'a> {
    shape: &'a BlockShape,
    bias: &'a [Line],
    source: Source<'a>,
    spans: Spans,
}

impl<'a> Block<'a> {
    fn new(shape: &'a BlockShape, bias: &'a [Line], source: Source<'a>) -> Self {
        Self { shape, bias, source, spans: Spans::forward(shape) }
    }

    /// The rows of `span`: `finish(convolution + bias)`, before normalisation. From planes there is always a ReLU.
    #[inline(always)]
    fn rows<S: Simd>(&self, simd: S, chunk: Chunk, span: &Span, outs: &mut [&mut [Line]]) {
        match self.source {
            Source::Planes(from) => {
                for (y, out) in span.outs.iter().zip(outs) {
                    from.row(simd, chunk, *y, out);
                }
            }
            Source::Values { values, affines, weights, finish } => {
                let convolution = Convolution {
                    rows: chunk.rows,
                    width: self.shape.width,
                    blocks: self.shape.in_blocks(),
                    weights,
                    columns: &self.spans.columns,
                    bias: self.bias,
                    affine: affines.get(chunk.group),
                    finish,
                };
                let each = self.shape.width * self.shape.in_blocks();
                let mut rows = values.rows(chunk, self.shape.height, each);
                convolution.rows(simd, span, &mut rows, outs);
            }
        }
    }
}

/// A block's output for the whole batch and each group's batch statistics.
pub(crate) fn block(
    level: Level,
    shape: &BlockShape,
    bias: &[Line],
    source: Source,
    chunks: &[Chunk],
    groups: usize,
) -> (Buffer<Line>, Vec<Moments>) {
    let batch: usize = chunks.iter().map(|chunk| chunk.rows).sum();
    let block = Block::new(shape, bias, source);
    let channels = shape.out_blocks() * LANES;
    let height = shape.out_height();
    let mut out = Buffer::new(batch * shape.out_positions() * shape.out_blocks());
    let mut moments = Buffer::new(chunks.len() * height * MOMENTS * channels);
    let rows = rows(&mut out, chunks, height, shape.out_width() * shape.out_blocks());
    let rows = rows.into_iter().zip(moments.chunks_mut(MOMENTS * channels));
    tasks(rows, height, &block.spans.rows).into_par_iter().with_max_len(1).for_each(|(span, rows)| {
        let chunk = rows[0].0.chunk;
        let (mut outs, moments): (Vec<_>, Vec<_>) = rows.into_iter().map(|(row, moments)| (row.data, moments)).unzip();
        dispatch!(level, simd => {
            block.rows(simd, chunk, span, &mut outs);
            for (out, moments) in outs.iter().zip(moments) {
                moments.fill(0.0);
                for (brick, lines) in out.chunks_exact(chunk.rows).enumerate() {
                    add_brick(simd, lines, moments, brick % shape.out_blocks() * LANES);
                }
            }
        });
    });
    let count = batch / groups * shape.out_positions();
    let moments = Moments::of_groups(&moments, MOMENTS * channels, chunks, groups, count, shape.out_channels);
    (out, moments)
}

/// A block's output for one chunk on its own.
pub(crate) fn chunk(level: Level, shape: &BlockShape, bias: &[Line], source: Source, chunk: Chunk, out: &mut [Line]) {
    let each = shape.out_width() * shape.out_blocks() * chunk.rows;
    let block = Block::new(shape, bias, source);
    let rows = out.chunks_exact_mut(each);
    dispatch!(level, simd => {
        for (span, mut outs) in tasks(rows, shape.out_height(), &block.spans.rows) {
            block.rows(simd, chunk, span, &mut outs);
        }
    });
}
