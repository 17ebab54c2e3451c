//! The features that a predictor reads, and its three products of their width: of features and weights, of features and
//! gradients, summed over the images, and of gradients and weights.

use std::ops::Range;

use fearless_simd::{Level, Simd, dispatch, prelude::*};
use rayon::prelude::*;

use super::gradients::Left;
use super::weights::{DEPTH, Weights};
use crate::backward::Onward;
use crate::normalise::{Affine, Moments};
use crate::pack;
use crate::plan::{BlockShape, Chunk, cut, rows};
use crate::product::{panels_by_steps, steps};
use crate::tile::{Finish, LANES, Line, Start, panel};
use crate::workspace::Buffer;

/// Most images of a task of the forward pass: few enough that both threads are done at about the same time.
const TASK_ROWS: usize = 36;

/// Channels of a grid of positions. A brick is a channel block at a position, numbered `[channel block][position]`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Grid {
    pub(crate) channels: usize,
    pub(crate) height: usize,
    pub(crate) width: usize,
}

impl Grid {
    /// What a block gives.
    pub(crate) fn of(shape: &BlockShape) -> Self {
        Self { channels: shape.out_channels, height: shape.out_height(), width: shape.out_width() }
    }

    /// Rows of `width` features.
    pub(crate) fn of_rows(width: usize) -> Self {
        Self { channels: width, height: 1, width: 1 }
    }

    pub(crate) fn positions(&self) -> usize {
        self.height * self.width
    }

    pub(crate) fn features(&self) -> usize {
        self.channels * self.positions()
    }

    pub(crate) fn blocks(&self) -> usize {
        self.channels.div_ceil(LANES)
    }

    pub(crate) fn bricks(&self) -> usize {
        self.positions() * self.blocks()
    }

    /// The channel block of a brick.
    pub(super) fn block(&self, brick: usize) -> usize {
        brick / self.positions()
    }

    /// Where the features of a brick are among an image's.
    pub(super) fn features_of(self, brick: usize) -> impl ExactSizeIterator<Item = usize> {
        let (position, first) = (brick % self.positions(), self.block(brick) * LANES);
        (first..self.channels.min(first + LANES)).map(move |channel| channel * self.positions() + position)
    }
}

/// A normalisation about its mean: `scale · (value − mean) + shift`.
#[derive(Clone, Debug)]
pub(super) struct Centred {
    pub(super) mean: Vec<Line>,
    pub(super) scale: Vec<Line>,
    pub(super) shift: Vec<Line>,
}

/// Features in the order of the activations, before normalisation.
#[derive(Clone, Debug)]
pub(crate) struct Features<'a> {
    pub(super) level: Level,
    pub(super) grid: Grid,
    values: &'a [Line],
    pub(super) chunks: &'a [Chunk],
    /// Each group's.
    pub(super) normalisations: Vec<Centred>,
}

/// Products of each image's features.
pub(super) struct RowProducts {
    /// With the weights into the bottleneck, and their biases, `[rows, bottleneck]`.
    pub(super) hidden: Vec<f32>,
    /// With the weights out of it, `[rows, bottleneck]`.
    pub(super) toward: Vec<f32>,
    /// With the output's bias, and with themselves.
    pub(super) sums: Vec<[f32; 2]>,
}

impl<'a> Features<'a> {
    /// What a block made, before its normalisation by `affines` and the shift `beta`.
    pub(crate) fn new(
        level: Level,
        shape: &BlockShape,
        values: &'a [Line],
        chunks: &'a [Chunk],
        (moments, affines, beta): (&[Moments], &[Affine], &[f32]),
    ) -> Self {
        let of_group = |(moments, affine): (&Moments, &Affine)| Centred {
            mean: pack::channels(&moments.mean),
            scale: pack::channels(&affine.scale),
            shift: pack::channels(beta),
        };
        let normalisations = moments.iter().zip(affines).map(of_group).collect();
        Self { level, grid: Grid::of(shape), values, chunks, normalisations }
    }

    /// Rows of `width` features that are not normalised, [in the order](to_activations) of activations of one position.
    pub(crate) fn plain(level: Level, width: usize, values: &'a [Line], chunks: &'a [Chunk], groups: usize) -> Self {
        let grid = Grid::of_rows(width);
        let [mean, scale, shift] = [0.0, 1.0, 0.0].map(|value| pack::channels(&vec![value; width]));
        let normalisations = vec![Centred { mean, scale, shift }; groups];
        Self { level, grid, values, chunks, normalisations }
    }

    /// The values of a brick of a chunk's images.
    pub(super) fn brick(&self, chunk: Chunk, brick: usize, images: Range<usize>) -> &'a [Line] {
        let place = brick % self.grid.positions() * self.grid.blocks() + self.grid.block(brick);
        &chunk.of(self.values, self.grid.bricks())[place * chunk.rows..][images]
    }

    /// The first pass: everything that is asked of an image's features alone.
    pub(super) fn products(&self, weights: &Weights, bias: &[f32]) -> RowProducts {
        let channels = bias.len();
        let count: usize = self.chunks.iter().map(|chunk| chunk.rows).sum();
        let (mut hidden, mut toward) = (vec![0.0; count * channels], vec![0.0; count * channels]);
        let mut sums = vec![[0.0; 2]; count];
        let mut starts = pack::channels(bias);
        starts.resize(weights.panels(), Line::ZERO);
        let mut tasks = Vec::new();
        for &chunk in self.chunks {
            let each = chunk.rows.div_ceil(chunk.rows.div_ceil(TASK_ROWS)).next_multiple_of(6);
            tasks.extend((0..chunk.rows).step_by(each).map(|first| (chunk, first..chunk.rows.min(first + each))));
        }
        let images: Vec<Chunk> = tasks
            .iter()
            .map(|(chunk, images)| Chunk { first: chunk.first + images.start, rows: images.len(), ..*chunk })
            .collect();
        let outs = rows(&mut hidden, &images, 1, channels).into_iter().zip(rows(&mut toward, &images, 1, channels));
        let tasks: Vec<_> = tasks.into_iter().zip(outs.zip(rows(&mut sums, &images, 1, 1))).collect();
        tasks.into_par_iter().with_max_len(1).for_each(|((chunk, images), ((hidden, toward), sums))| {
            let count = images.len();
            let mut totals = Buffer::new(weights.panels() * count);
            dispatch!(self.level, simd => self.image_products(simd, chunk, images, weights, &starts, &mut totals, sums.data));
            let half = weights.panels() / 2;
            for (block, lines) in totals.chunks_exact(count).enumerate() {
                let out = if block < half { &mut *hidden.data } else { &mut *toward.data };
                for (row, line) in out.chunks_exact_mut(channels).zip(lines) {
                    line.write(&mut row[block % half * LANES..]);
                }
            }
        });
        RowProducts { hidden, toward, sums }
    }

    /// Products of some images of a chunk with all panels, `[panel][image]`, and their sums.
    #[inline(always)]
    #[expect(clippy::too_many_arguments, reason = "one call, all of it needed")]
    fn image_products<S: Simd>(
        &self,
        simd: S,
        chunk: Chunk,
        images: Range<usize>,
        weights: &Weights,
        starts: &[Line],
        totals: &mut [Line],
        sums: &mut [[f32; 2]],
    ) {
        let count = images.len();
        let Centred { mean, scale, shift } = &self.normalisations[chunk.group];
        let mut along = vec![[Line::ZERO; 2]; count];
        let mut normalised: Buffer<Line> = Buffer::new(DEPTH * count);
        for (range, lines) in weights.ranges().enumerate() {
            let first = range * DEPTH;
            let normalised = &mut normalised[..lines.len() / (weights.panels() * LANES) * count];
            for (brick, out) in normalised.chunks_exact_mut(count).enumerate().map(|(i, out)| (first + i, out)) {
                let block = self.grid.block(brick);
                let [mean, scale, shift] = [mean, scale, shift].map(|lines| lines[block].load(simd));
                let bias = weights.bias(brick).load(simd);
                let values = self.brick(chunk, brick, images.clone());
                for ((out, value), [dot, square]) in out.iter_mut().zip(values).zip(&mut along) {
                    let value = (value.load(simd) - mean).mul_add(scale, shift);
                    dot.store(value.mul_add(bias, dot.load(simd)));
                    square.store(value.mul_add(value, square.load(simd)));
                    out.store(value);
                }
            }
            let start = |panel: usize| if range == 0 { Start::Same(starts[panel]) } else { Start::Held };
            panels_by_steps(simd, start, &steps(normalised, count), lines, count, totals);
        }
        for (sums, along) in sums.iter_mut().zip(along) {
            *sums = along.map(Line::sum);
        }
    }

    /// The gradient of the features, normalised as they are, taken on by `onward`, and the sums of that, `[chunk][row]`.
    pub(super) fn gradient(&self, weights: &Weights, left: &Left, onward: &impl Onward) -> (Buffer<Line>, Buffer<f64>) {
        let Grid { height, width, .. } = self.grid;
        let each = width * self.grid.blocks();
        let kept = if onward.is_kept() { each } else { 0 };
        let count: usize = self.chunks.iter().map(|chunk| chunk.rows).sum();
        let mut out = Buffer::new(count * height * kept);
        let mut sums = Buffer::new(self.chunks.len() * height * onward.sums());
        let rows = rows(&mut out, self.chunks, height, kept);
        let sums_of_rows = cut(&mut sums, onward.sums(), rows.len());
        rows.into_par_iter().zip(sums_of_rows).with_max_len(1).for_each(|(row, sums)| {
            let count = row.chunk.rows;
            let mut scratch = Buffer::new(if kept == 0 { each * count } else { 0 });
            let out = if kept == 0 { &mut *scratch } else { row.data };
            let left = &row.chunk.of(&left.lines, left.blocks())[..left.inner / LANES * count];
            let steps = steps(left, count);
            dispatch!(self.level, simd => {
                for (place, out) in out.chunks_exact_mut(count).enumerate() {
                    let position = row.y * width + place / self.grid.blocks();
                    let brick = place % self.grid.blocks() * self.grid.positions() + position;
                    panel(simd, Start::Same(Line::ZERO), weights.hidden(brick), &steps, Finish::Keep, out);
                }
                sums.fill(0.0);
                onward.row(simd, row.chunk, height, row.y, out, sums);
            });
        });
        (out, sums)
    }
}
