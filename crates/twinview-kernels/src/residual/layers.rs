//! What stands between the convolutions, on activations: normalisation, sum, ReLU, the mean of all positions, and their
//! ways back.

use fearless_simd::{Level, Simd, dispatch, f32x16, prelude::*};
use rayon::prelude::*;

use crate::backward::{GradientSums, Inverse, Onward};
use crate::normalise::{Affine, Moments, add_gradient_brick, by_group};
use crate::pack;
use crate::plan::{BlockShape, Chunk, rows};
use crate::tile::{LANES, Line};
use crate::workspace::Buffer;

/// A batch, and how it is cut.
#[derive(Clone, Copy, Debug)]
pub(super) struct Batch<'a> {
    pub(super) level: Level,
    pub(super) chunks: &'a [Chunk],
    pub(super) groups: usize,
}

impl Batch<'_> {
    pub(super) fn images(&self) -> usize {
        self.chunks.iter().map(|chunk| chunk.rows).sum()
    }
}

/// What a convolution gave, and each group's statistics of it.
#[derive(Debug)]
pub(super) struct Convolved {
    pub(super) values: Buffer<Line>,
    pub(super) moments: Vec<Moments>,
}

/// Values, and for each group scale and shift of each channel, in lines.
pub(super) struct Term<'a> {
    pub(super) values: &'a [Line],
    maps: Vec<[Vec<Line>; 2]>,
}

impl<'a> Term<'a> {
    pub(super) fn new(values: &'a [Line], affines: &[Affine]) -> Self {
        let maps = affines.iter().map(|a| [pack::channels(&a.scale), pack::channels(&a.shift)]).collect();
        Self { values, maps }
    }
}

/// `relu(term + beside)`, shaped as the outputs of `shape`.
pub(super) fn activate(batch: Batch, shape: &BlockShape, term: &Term, beside: Option<&Term>) -> Buffer<Line> {
    let (height, each) = (shape.out_height(), shape.out_width() * shape.out_blocks());
    let mut out = Buffer::new(term.values.len());
    rows(&mut out, batch.chunks, height, each).into_par_iter().with_max_len(1).for_each(|task| {
        let chunk = task.chunk;
        let row = |values| chunk.row(values, height, each, task.y);
        let (values, maps) = (row(term.values), &term.maps[chunk.group]);
        let beside = beside.map(|beside| (row(beside.values), &beside.maps[chunk.group]));
        dispatch!(batch.level, simd => match beside {
            Some((others, theirs)) => {
                activate_sum(simd, chunk.rows, [values, others], [maps, theirs], task.data);
            }
            None => activate_one(simd, chunk.rows, values, maps, task.data),
        });
    });
    out
}

#[inline(always)]
fn activate_one<S: Simd>(simd: S, rows: usize, values: &[Line], [scale, shift]: &[Vec<Line>; 2], out: &mut [Line]) {
    // First operand: a NaN in the second comes through, so a diverged run shows.
    let zero = f32x16::splat(simd, 0.0);
    for (brick, (out, values)) in out.chunks_exact_mut(rows).zip(values.chunks_exact(rows)).enumerate() {
        let block = brick % scale.len();
        let (scale, shift) = (scale[block].load(simd), shift[block].load(simd));
        for (out, value) in out.iter_mut().zip(values) {
            out.store(zero.max(scale.mul_add(value.load(simd), shift)));
        }
    }
}

#[inline(always)]
fn activate_sum<S: Simd>(simd: S, rows: usize, values: [&[Line]; 2], maps: [&[Vec<Line>; 2]; 2], out: &mut [Line]) {
    let zero = f32x16::splat(simd, 0.0);
    let [a, b] = values.map(|values| values.chunks_exact(rows));
    for (brick, (out, (a, b))) in out.chunks_exact_mut(rows).zip(a.zip(b)).enumerate() {
        let [(scale_a, shift_a), (scale_b, shift_b)] = maps.map(|[scale, shift]| {
            let block = brick % scale.len();
            (scale[block].load(simd), shift[block].load(simd))
        });
        let shift = shift_a + shift_b;
        for (out, (a, b)) in out.iter_mut().zip(a.iter().zip(b)) {
            out.store(zero.max(scale_a.mul_add(a.load(simd), scale_b.mul_add(b.load(simd), shift))));
        }
    }
}

/// `values = relu(values + beside)`.
#[inline(always)]
pub(super) fn add_and_cut<S: Simd>(simd: S, values: &mut [Line], beside: &[Line]) {
    let zero = f32x16::splat(simd, 0.0);
    for (value, beside) in values.iter_mut().zip(beside) {
        let sum = value.load(simd) + beside.load(simd);
        value.store(zero.max(sum));
    }
}

/// The mean of a chunk's activations over all positions, `[image][channel]`.
#[inline(always)]
pub(super) fn pool_chunk<S: Simd>(simd: S, blocks: usize, values: &[Line], channels: usize, out: &mut [f32]) {
    let rows = out.len() / channels;
    let positions = values.len() / (rows * blocks);
    let share = 1.0 / positions as f32;
    let mut sums = vec![Line::ZERO; rows * blocks];
    for position in values.chunks_exact(rows * blocks) {
        for (sum, value) in sums.iter_mut().zip(position) {
            let total = sum.load(simd) + value.load(simd);
            sum.store(total);
        }
    }
    for (row, out) in out.chunks_exact_mut(channels).enumerate() {
        for (block, out) in out.chunks_mut(LANES).enumerate() {
            Line(sums[block * rows + row].0.map(|sum| share * sum)).write(out);
        }
    }
}

/// The mean over all positions of the outputs of `shape`, `[image][channel]`.
pub(super) fn pool(batch: Batch, shape: &BlockShape, values: &[Line]) -> Vec<f32> {
    let mut out = vec![0.0; batch.images() * shape.out_channels];
    rows(&mut out, batch.chunks, 1, shape.out_channels).into_par_iter().with_max_len(1).for_each(|task| {
        let values = task.chunk.of(values, shape.out_positions() * shape.out_blocks());
        dispatch!(batch.level, simd => pool_chunk(simd, shape.out_blocks(), values, shape.out_channels, task.data));
    });
    out
}

/// The way back through [`pool`], taken on by `onward`, and the sums of each group.
pub(super) fn spread(
    batch: Batch,
    shape: &BlockShape,
    gradient: &[f32],
    onward: &impl Onward,
) -> (Buffer<Line>, GradientSums) {
    let blocks = shape.out_blocks();
    let (height, each) = (shape.out_height(), shape.out_width() * blocks);
    let sums_each = onward.sums();
    let share = 1.0 / shape.out_positions() as f32;
    let mut out = Buffer::new(batch.images() * height * each);
    let mut sums = vec![0.0; batch.chunks.len() * height * sums_each];
    let tasks = rows(&mut out, batch.chunks, height, each).into_par_iter().zip(sums.par_chunks_mut(sums_each));
    tasks.with_max_len(1).for_each(|(task, sums)| {
        let chunk = task.chunk;
        let images = chunk.of(gradient, shape.out_channels).chunks_exact(shape.out_channels);
        for (row, image) in images.enumerate() {
            for (block, values) in image.chunks(LANES).enumerate() {
                let line = Line::of(values, |value| share * value);
                let of_block = task.data[block * chunk.rows + row..].iter_mut().step_by(blocks * chunk.rows);
                of_block.for_each(|to| *to = line);
            }
        }
        dispatch!(batch.level, simd => onward.row(simd, chunk, height, task.y, task.data, sums));
    });
    (out, by_group(&sums, sums_each, batch.chunks, batch.groups))
}

/// The way back through a normalisation without a ReLU behind it.
pub(super) fn through_normalisation(
    batch: Batch,
    shape: &BlockShape,
    gradient: &[Line],
    values: &[Line],
    inverses: &[Inverse],
) -> Buffer<Line> {
    let blocks = shape.out_blocks();
    let (height, each) = (shape.out_height(), shape.out_width() * blocks);
    let mut out: Buffer<Line> = Buffer::new(gradient.len());
    rows(&mut out, batch.chunks, height, each).into_par_iter().with_max_len(1).for_each(|task| {
        let rows = task.chunk.rows;
        let [gradient, values] = [gradient, values].map(|lines| task.chunk.row(lines, height, each, task.y));
        let inverse = &inverses[task.chunk.group];
        dispatch!(batch.level, simd => {
            let bricks = gradient.chunks_exact(rows).zip(values.chunks_exact(rows));
            for (brick, (out, (gradient, values))) in task.data.chunks_exact_mut(rows).zip(bricks).enumerate() {
                let inverse = inverse.block(simd, brick % blocks);
                for (out, (gradient, value)) in out.iter_mut().zip(gradient.iter().zip(values)) {
                    out.store(inverse.normalisation(gradient.load(simd), value.load(simd)));
                }
            }
        });
    });
    out
}

/// A gradient that flows into the same values on another way.
#[derive(Clone, Copy)]
pub(super) enum Beside<'a> {
    None,
    /// At every position.
    All(&'a [Line]),
    /// At the first of every so many rows and columns, which alone are stored.
    Strided(&'a [Line], usize),
}

/// The way back through a ReLU, with the sums that the normalisations before it need.
pub(super) struct ThroughRelu<'a> {
    /// What came out of the ReLU.
    pub(super) values: &'a [Line],
    pub(super) beside: Beside<'a>,
    /// The layers whose normalised values went in, with their means by group.
    pub(super) layers: Vec<(&'a [Line], Vec<Vec<Line>>)>,
}

impl<'a> ThroughRelu<'a> {
    pub(super) fn new(values: &'a [Line], layers: impl IntoIterator<Item = &'a Convolved>) -> Self {
        let means = |layer: &Convolved| layer.moments.iter().map(|moments| pack::channels(&moments.mean)).collect();
        let layers = layers.into_iter().map(|layer| (&*layer.values, means(layer))).collect();
        Self { values, beside: Beside::None, layers }
    }

    pub(super) fn beside(self, beside: Beside<'a>) -> Self {
        Self { beside, ..self }
    }
}

impl Onward for ThroughRelu<'_> {
    /// `[layer][2][channel]`: sums of the gradient, and of it times the layer's values less their mean.
    fn sums(&self) -> usize {
        self.layers.iter().map(|(_, means)| 2 * means[0].len() * LANES).sum()
    }

    #[inline(always)]
    fn row<S: Simd>(&self, simd: S, chunk: Chunk, height: usize, y: usize, gradient: &mut [Line], sums: &mut [f64]) {
        let rows = chunk.rows;
        let each = gradient.len() / rows;
        let of_layer = sums.len() / self.layers.len();
        let blocks = of_layer / (2 * LANES);
        let row = |lines| chunk.row(lines, height, each, y);
        let values = row(self.values);
        let zero = f32x16::splat(simd, 0.0);
        for (brick, (gradient, values)) in gradient.chunks_exact_mut(rows).zip(values.chunks_exact(rows)).enumerate() {
            let (x, block) = (brick / blocks, brick % blocks);
            let beside = match self.beside {
                Beside::None => None,
                Beside::All(lines) => Some(&row(lines)[brick * rows..][..rows]),
                Beside::Strided(lines, stride) if y.is_multiple_of(stride) && x.is_multiple_of(stride) => {
                    let width = (each / blocks).div_ceil(stride);
                    let lines = chunk.row(lines, height.div_ceil(stride), width * blocks, y / stride);
                    Some(&lines[(x / stride * blocks + block) * rows..][..rows])
                }
                Beside::Strided(..) => None,
            };
            match beside {
                Some(beside) => {
                    for (gradient, (value, beside)) in gradient.iter_mut().zip(values.iter().zip(beside)) {
                        let total = gradient.load(simd) + beside.load(simd);
                        gradient.store(value.load(simd).simd_gt(zero).select(total, zero));
                    }
                }
                None => {
                    for (gradient, value) in gradient.iter_mut().zip(values) {
                        let kept = value.load(simd).simd_gt(zero).select(gradient.load(simd), zero);
                        gradient.store(kept);
                    }
                }
            }
            for ((values, means), sums) in self.layers.iter().zip(sums.chunks_exact_mut(of_layer)) {
                let values = &row(values)[brick * rows..][..rows];
                add_gradient_brick(simd, gradient, values, &means[chunk.group][block], sums, block * LANES);
            }
        }
    }
}
