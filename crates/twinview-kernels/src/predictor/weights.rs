//! A predictor's weights in the orders in which its products read them.

use std::ops::Range;

use fearless_simd::{Level, Simd, dispatch};
use rayon::prelude::*;

use super::Parameters;
use super::features::Grid;
use crate::product::block_of;
use crate::tile::{Finish, LANES, Line, Start, Step, panel};
use crate::transpose::transpose;
use crate::workspace::Buffer;

/// Bricks of a range, whose products are summed before the sums go back to memory: a panel of their lines stays in the
/// first-level cache.
pub(super) const DEPTH: usize = 16;

/// The weights of a predictor of features that lie in bricks of sixteen channels.
#[derive(Debug)]
pub(super) struct Weights {
    /// Channels of the bottleneck.
    channels: usize,
    /// Into the bottleneck and out of it, `[range of bricks][panel][brick][feature]`, a line of the bottleneck's channels.
    ranges: Buffer<Line>,
    /// Into the bottleneck, `[brick][bottleneck]`, whole blocks, a line of features.
    hidden: Buffer<Line>,
    /// Out of it and the bias, `[brick][bottleneck and one]`.
    output: Buffer<Line>,
}

impl Weights {
    /// They, and `W Wᵀ` of those out of the bottleneck with the bias below, but for the bias's own column:
    /// `[bottleneck and one, bottleneck]`.
    pub(super) fn new(level: Level, grid: Grid, parameters: &Parameters) -> (Self, Vec<f32>) {
        let channels = parameters.hidden_bias.len();
        let (blocks, each) = (channels.div_ceil(LANES), channels + 1);
        let mut ranges = Buffer::new(2 * grid.bricks() * blocks * LANES);
        let mut hidden = Buffer::new(grid.bricks() * blocks * LANES);
        let mut output = Buffer::new(grid.bricks() * each);
        let mut squares: Buffer<Line> = Buffer::new(grid.bricks().div_ceil(DEPTH) * blocks * each);
        let of_range = DEPTH * blocks * LANES;
        let tasks = ranges.par_chunks_mut(2 * of_range).zip(hidden.par_chunks_mut(of_range));
        let tasks = tasks.zip(output.par_chunks_mut(DEPTH * each)).zip(squares.par_chunks_mut(blocks * each));
        tasks.enumerate().with_max_len(1).for_each(|(range, (((lines, hidden), output), squares))| {
            let (inward, outward) = lines.split_at_mut(lines.len() / 2);
            let bricks = range * DEPTH..range * DEPTH + output.len() / each;
            let range = OfRange { bricks, inward, outward, hidden, output, squares };
            dispatch!(level, simd => range.fill(simd, grid, parameters));
        });
        (Self { channels, ranges, hidden, output }, gram(&squares, channels))
    }

    fn blocks(&self) -> usize {
        self.channels.div_ceil(LANES)
    }

    /// Panels of sixteen of the bottleneck's channels: as many into it as out of it.
    pub(super) fn panels(&self) -> usize {
        2 * self.blocks()
    }

    /// The panels of each range of bricks.
    pub(super) fn ranges(&self) -> impl Iterator<Item = &[Line]> {
        self.ranges.chunks(DEPTH * self.panels() * LANES)
    }

    /// Those into the bottleneck that meet `brick`, whole blocks.
    pub(super) fn hidden(&self, brick: usize) -> &[Line] {
        let each = self.blocks() * LANES;
        &self.hidden[brick * each..][..each]
    }

    /// Those out of it, and the bias behind them.
    pub(super) fn output(&self, brick: usize) -> &[Line] {
        let each = self.channels + 1;
        &self.output[brick * each..][..each]
    }

    /// The output's bias.
    pub(super) fn bias(&self, brick: usize) -> &Line {
        &self.output(brick)[self.channels]
    }
}

/// What the weights of a range of bricks fill.
struct OfRange<'a> {
    bricks: Range<usize>,
    /// Its part of [`Weights::ranges`]: into the bottleneck and out of it.
    inward: &'a mut [Line],
    outward: &'a mut [Line],
    /// Its parts of [`Weights::hidden`] and [`Weights::output`].
    hidden: &'a mut [Line],
    output: &'a mut [Line],
    /// As [`squares_of`] gives them.
    squares: &'a mut [Line],
}

impl OfRange<'_> {
    #[inline(always)]
    fn fill<S: Simd>(self, simd: S, grid: Grid, parameters: &Parameters) {
        let Self { bricks, inward, outward, hidden, output, squares } = self;
        let channels = parameters.hidden_bias.len();
        let (blocks, each) = (channels.div_ceil(LANES), channels + 1);
        outer_lines(simd, grid, parameters, bricks.clone(), output);
        let of_bricks = hidden.chunks_exact_mut(blocks * LANES).zip(output.chunks_exact(each));
        for (i, (hidden, output)) in of_bricks.enumerate() {
            let first = |block| (block * bricks.len() + i) * LANES;
            let features = grid.features_of(bricks.start + i);
            if features.len() < LANES {
                (0..blocks).for_each(|block| inward[first(block)..][..LANES].fill(Line::ZERO));
            }
            for (lane, feature) in features.enumerate() {
                let row = &parameters.hidden_weight[feature * channels..][..channels];
                (0..blocks).for_each(|block| inward[first(block) + lane] = block_of(row, block));
            }
            let of_blocks = hidden.as_chunks_mut().0.iter_mut().zip(output[..channels].chunks(LANES));
            for (block, (hidden, output)) in of_blocks.enumerate() {
                let [inward, outward] = [&mut *inward, &mut *outward].map(|lines| sixteen(&mut lines[first(block)..]));
                transpose(simd, inward, hidden);
                match output.try_into() {
                    Ok(tile) => transpose(simd, tile, outward),
                    Err(_) => {
                        let mut tile = [Line::ZERO; LANES];
                        tile[..output.len()].copy_from_slice(output);
                        transpose(simd, &tile, outward);
                    }
                }
            }
        }
        squares_of(simd, output, outward, each, squares);
    }
}

fn sixteen(lines: &mut [Line]) -> &mut [Line; LANES] {
    lines.first_chunk_mut().expect("sixteen lines")
}

/// A range's part of `W Wᵀ`, `[block of columns][row]`, from the block's first row on: it is symmetric.
#[inline(always)]
fn squares_of<S: Simd>(simd: S, output: &[Line], outward: &[Line], each: usize, squares: &mut [Line]) {
    let panels = outward.chunks_exact(output.len() / each * LANES);
    for (block, (squares, panel_lines)) in squares.chunks_exact_mut(each).zip(panels).enumerate() {
        let first = block * LANES;
        let bricks = output.chunks_exact(each).enumerate();
        let steps: Vec<_> =
            bricks.map(|(brick, lines)| Step { source: &lines[first..], weight: brick * LANES }).collect();
        panel(simd, Start::Same(Line::ZERO), panel_lines, &steps, Finish::Keep, &mut squares[first..]);
    }
}

/// `W Wᵀ` from the parts of all ranges.
fn gram(squares: &[Line], channels: usize) -> Vec<f32> {
    let (each, blocks) = (channels + 1, channels.div_ceil(LANES));
    let mut gram = vec![0.0; each * channels];
    for block in 0..blocks {
        for row in block * LANES..each {
            let mut sum = [0.0; LANES];
            for squares in squares.chunks_exact(blocks * each) {
                sum.iter_mut().zip(squares[block * each + row].0).for_each(|(sum, square)| *sum += square);
            }
            for (column, sum) in (block * LANES..channels).zip(sum) {
                gram[row * channels + column] = sum;
                if row < channels {
                    gram[column * channels + row] = sum;
                }
            }
        }
    }
    gram
}

/// The weights out of the bottleneck and the bias that meet `bricks`, `[brick][bottleneck and one]`.
#[inline(always)]
fn outer_lines<S: Simd>(simd: S, grid: Grid, parameters: &Parameters, bricks: Range<usize>, lines: &mut [Line]) {
    let (positions, each) = (grid.positions(), lines.len() / bricks.len());
    let mut brick = bricks.start;
    while brick < bricks.end {
        // Positions of one channel block, which a tile holds.
        let (block, position) = (brick / positions, brick % positions);
        let count = LANES.min(positions - position).min(bricks.end - brick);
        let lines = &mut lines[(brick - bricks.start) * each..][..count * each];
        let rows = parameters.output_weight.chunks_exact(grid.features()).chain([parameters.output_bias]);
        // Lines behind the last channel stay zero.
        let (mut tile, mut columns) = ([Line::ZERO; LANES], [Line::ZERO; LANES]);
        for (row, values) in rows.enumerate() {
            let values = &values[block * LANES * positions..];
            if positions == 1 {
                columns[0] = Line::of(values, |value| value);
            } else {
                for (line, channel) in tile.iter_mut().zip(values.chunks_exact(positions)) {
                    *line = Line::of(&channel[position..], |value| value);
                }
                transpose(simd, &tile, &mut columns);
            }
            for (to, line) in lines[row..].iter_mut().step_by(each).zip(&columns) {
                *to = *line;
            }
        }
        brick += count;
    }
}
