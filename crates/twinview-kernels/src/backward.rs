//! The backward pass of a block: through normalisation and ReLU, and on to the block before.

use fearless_simd::{Level, Simd, dispatch, f32x16, prelude::*};
use rayon::prelude::*;

use crate::convolve::Convolution;
use crate::layout::block_to_activations;
use crate::normalise::{Affine, Moments, add_gradient_brick, by_group};
use crate::pack;
use crate::plan::{BlockShape, Chunk, cut, rows};
use crate::spans::{Spans, tasks};
use crate::tile::{Finish, LANES, Line};
use crate::values::Values;
use crate::workspace::Buffer;

/// `Σ gradient` and `Σ gradient · (value − mean)` of each group and channel, `[group][2][channels]`.
pub(crate) type GradientSums = Vec<Vec<f64>>;

/// The gradient of the features in the order of the activations.
pub(crate) struct FeatureGradient<'a> {
    level: Level,
    shape: &'a BlockShape,
    chunks: &'a [Chunk],
    lines: Buffer<Line>,
    sums: GradientSums,
}

impl<'a> FeatureGradient<'a> {
    /// From `gradient`, `[image][channel][position]`, of the normalised `values`, whose means each group has.
    pub(crate) fn read(
        level: Level,
        shape: &'a BlockShape,
        gradient: &[f32],
        values: &[Line],
        means: &[Vec<Line>],
        chunks: &'a [Chunk],
    ) -> Self {
        let positions = shape.out_positions();
        let blocks = shape.out_blocks();
        let mut lines: Buffer<Line> = Buffer::new(values.len());
        let mut sums = vec![0.0; chunks.len() * 2 * blocks * LANES];
        rows(&mut lines, chunks, 1, positions * blocks)
            .into_par_iter()
            .zip(sums.par_chunks_mut(2 * blocks * LANES))
            .with_max_len(1)
            .for_each(|(task, sums)| {
                let count = task.chunk.rows;
                let images = task.chunk.of(gradient, shape.out_features());
                let values = task.chunk.of(values, positions * blocks);
                let means = &means[task.chunk.group];
                dispatch!(level, simd => {
                    // The sums block by block too, while the block is in the cache.
                    for (block, mean) in means.iter().enumerate() {
                        block_to_activations(simd, count, positions, block, images, task.data);
                        let bricks = task.data.chunks_exact(count).zip(values.chunks_exact(count));
                        for (gradient, values) in bricks.skip(block).step_by(blocks) {
                            add_gradient_brick(simd, gradient, values, mean, sums, block * LANES);
                        }
                    }
                });
            });
        let sums = by_group(&sums, 2 * blocks * LANES, chunks, means.len());
        Self { level, shape, chunks, lines, sums }
    }
}

impl Above for FeatureGradient<'_> {
    fn sums(&self) -> &GradientSums {
        &self.sums
    }

    fn onward(mut self, onward: &impl Onward) -> (Buffer<Line>, Buffer<f64>) {
        let (height, each) = (self.shape.out_height(), self.shape.out_width() * self.shape.out_blocks());
        let mut sums = Buffer::new(self.chunks.len() * height * onward.sums());
        let tasks = rows(&mut self.lines, self.chunks, height, each).into_par_iter();
        tasks.zip(sums.par_chunks_mut(onward.sums())).with_max_len(1).for_each(|(task, sums)| {
            sums.fill(0.0);
            dispatch!(self.level, simd => onward.row(simd, task.chunk, height, task.y, task.data, sums));
        });
        (self.lines, sums)
    }
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
    /// Each group's, from its sums over `count` values a channel.
    pub(crate) fn of_groups(
        sums: &GradientSums,
        count: usize,
        moments: &[Moments],
        affines: &[Affine],
        epsilon: f32,
    ) -> Vec<Self> {
        let groups = sums.iter().zip(moments).zip(affines);
        groups.map(|((sums, moments), affine)| Self::new(sums, count, moments, affine, epsilon)).collect()
    }

    /// From one group's sums over `count` values a channel.
    fn new(sums: &[f64], count: usize, moments: &Moments, affine: &Affine, epsilon: f32) -> Self {
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

    /// The way back for one channel block.
    #[inline(always)]
    pub(crate) fn block<S: Simd>(&self, simd: S, block: usize) -> BlockInverse<S> {
        BlockInverse {
            scale: self.scale[block].load(simd),
            average: self.average[block].load(simd),
            slope: self.slope[block].load(simd),
            mean: self.mean[block].load(simd),
        }
    }
}

/// [`Inverse`] of one channel block.
#[derive(Clone, Copy)]
pub(crate) struct BlockInverse<S: Simd> {
    scale: f32x16<S>,
    average: f32x16<S>,
    slope: f32x16<S>,
    mean: f32x16<S>,
}

impl<S: Simd> BlockInverse<S> {
    /// The gradient of the convolution's output from that of the normalised value.
    #[inline(always)]
    pub(crate) fn apply(&self, gradient: f32x16<S>, value: f32x16<S>) -> f32x16<S> {
        let zero = f32x16::splat(value.simd, 0.0);
        value.simd_gt(zero).select(self.normalisation(gradient, value), zero)
    }

    /// The same without a ReLU.
    #[inline(always)]
    pub(crate) fn normalisation(&self, gradient: f32x16<S>, value: f32x16<S>) -> f32x16<S> {
        let along = self.slope.mul_add(value - self.mean, self.average);
        self.scale * (gradient - along)
    }
}

/// What the gradient of a block's input is for, while it is in the cache.
pub(crate) trait Onward: Sync {
    /// Sums that each row adds up.
    fn sums(&self) -> usize;

    /// Whether what [`row`](Self::row) leaves is asked for.
    fn is_kept(&self) -> bool {
        true
    }

    /// Takes row `y` of a chunk on, `[column][channel block][image]`, of `height` rows, and adds to its sums.
    fn row<S: Simd>(&self, simd: S, chunk: Chunk, height: usize, y: usize, gradient: &mut [Line], sums: &mut [f64]);
}

/// Where the gradient of a block's normalised values comes from.
pub(crate) trait Above {
    /// What the normalisation needs of it.
    fn sums(&self) -> &GradientSums;

    /// It, taken on by `onward`, and the sums of that, `[chunk][row]`.
    fn onward(self, onward: &impl Onward) -> (Buffer<Line>, Buffer<f64>);
}

/// Nothing: the input is the images.
pub(crate) struct NoLayer;

impl Onward for NoLayer {
    fn sums(&self) -> usize {
        0
    }

    #[inline(always)]
    fn row<S: Simd>(&self, _: S, _: Chunk, _: usize, _: usize, _: &mut [Line], _: &mut [f64]) {}
}

/// Back through normalisation and ReLU of the block before. The sums are those of its convolution's output's gradient over
/// the images, `[column][channel]`.
pub(crate) struct Through<'a> {
    pub(crate) shape: &'a BlockShape,
    pub(crate) values: &'a [Line],
    pub(crate) inverses: &'a [Inverse],
}

impl Onward for Through<'_> {
    fn sums(&self) -> usize {
        self.shape.out_width() * self.shape.out_blocks() * LANES
    }

    #[inline(always)]
    fn row<S: Simd>(&self, simd: S, chunk: Chunk, height: usize, y: usize, gradient: &mut [Line], sums: &mut [f64]) {
        let (rows, blocks) = (chunk.rows, self.shape.out_blocks());
        let values = chunk.row(self.values, height, self.shape.out_width() * blocks, y);
        let inverse = &self.inverses[chunk.group];
        let bricks = gradient.chunks_exact_mut(rows).zip(values.chunks_exact(rows));
        for (brick, ((gradient, values), sums)) in bricks.zip(sums.chunks_exact_mut(LANES)).enumerate() {
            let inverse = inverse.block(simd, brick % blocks);
            let mut total = f32x16::splat(simd, 0.0);
            for (gradient, value) in gradient.iter_mut().zip(values) {
                let back = inverse.apply(gradient.load(simd), value.load(simd));
                total += back;
                gradient.store(back);
            }
            sums.iter_mut().zip(total.to_array()).for_each(|(sum, total)| *sum += f64::from(total));
        }
    }
}

/// Gradient of a block's input in the order of the activations, taken on by `onward`, and the sums of that, `[chunk][row]`.
/// Where they are not kept, there are no lines. `weights` are [packed](crate::pack::backward).
pub(crate) fn input(
    level: Level,
    shape: &BlockShape,
    weights: &[Line],
    gradient: &[Line],
    chunks: &[Chunk],
    onward: &impl Onward,
) -> (Buffer<Line>, Buffer<f64>) {
    let spans = Spans::backward(shape);
    let (inputs, outputs) = (shape.in_blocks(), shape.out_blocks());
    let batch: usize = chunks.iter().map(|chunk| chunk.rows).sum();
    let each = shape.width * inputs;
    let kept = if onward.is_kept() { each } else { 0 };
    let mut out = Buffer::new(batch * shape.height * kept);
    let mut sums = Buffer::new(chunks.len() * shape.height * onward.sums());
    let rows = rows(&mut out, chunks, shape.height, kept);
    let sums_of_rows = cut(&mut sums, onward.sums(), rows.len());
    tasks(rows.into_iter().zip(sums_of_rows), shape.height, &spans.rows).into_par_iter().with_max_len(1).for_each(
        |(span, rows)| {
            let chunk = rows[0].0.chunk;
            let count = chunk.rows;
            let convolution = Convolution {
                rows: count,
                width: shape.out_width(),
                blocks: outputs,
                weights,
                columns: &spans.columns,
                bias: &[],
                affine: None,
                finish: Finish::Keep,
            };
            let mut source = Values::Kept(gradient).rows(chunk, shape.out_height(), shape.out_width() * outputs);
            let ys: Vec<usize> = rows.iter().map(|(row, _)| row.y).collect();
            let (mut outs, sums): (Vec<_>, Vec<_>) = rows.into_iter().map(|(row, sums)| (row.data, sums)).unzip();
            let mut scratch = Buffer::new(if kept == 0 { outs.len() * each * count } else { 0 });
            if kept == 0 {
                outs = scratch.chunks_exact_mut(each * count).collect();
            }
            dispatch!(level, simd => {
                convolution.rows(simd, span, &mut source, &mut outs);
                for ((y, out), sums) in ys.into_iter().zip(outs).zip(sums) {
                    sums.fill(0.0);
                    onward.row(simd, chunk, shape.height, y, out, sums);
                }
            });
        },
    );
    (out, sums)
}
