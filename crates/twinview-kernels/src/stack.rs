//! The whole stack of blocks on plain slices: training forward and backward.

use fearless_simd::Level;

use crate::backward::{self, Above, FeatureGradient, GradientSums, Inverse, NoLayer, Through};
use crate::first_block::{self, FirstBlock, Images};
use crate::forward::{self, Source};
use crate::layout;
use crate::normalise::{Affine, Moments, by_group};
use crate::pack;
use crate::plan::{BlockShape, Chunk, chunks};
use crate::predictor::Features;
use crate::tile::{Finish, Line};
use crate::values::Values;
use crate::weight_gradient::{Products, TapSums};
use crate::workspace::Buffer;

/// The trained values of one block.
#[derive(Clone, Copy, Debug)]
pub struct BlockParameters<'a> {
    /// Convolution weights `[out, in, 3, 3]`.
    pub weight: &'a [f32],
    /// Convolution bias `[out]`.
    pub bias: &'a [f32],
    /// Scale of the normalisation `[out]`.
    pub gamma: &'a [f32],
    /// Shift of the normalisation `[out]`.
    pub beta: &'a [f32],
    /// Added to the variance.
    pub epsilon: f32,
}

/// Gradients of one block's trained values, shaped as they are.
#[derive(Clone, Debug)]
pub struct BlockGradients {
    /// Of the convolution weights.
    pub weight: Vec<f32>,
    /// Of the convolution bias.
    pub bias: Vec<f32>,
    /// Of the scale.
    pub gamma: Vec<f32>,
    /// Of the shift.
    pub beta: Vec<f32>,
}

/// What a training forward pass keeps for the backward pass.
#[derive(Debug)]
pub struct Tape {
    level: Level,
    shapes: Vec<BlockShape>,
    chunks: Vec<Chunk>,
    images: Images,
    /// Each block's values after ReLU, before normalisation, but the first's where they are [made again](is_made).
    values: Vec<Option<Buffer<Line>>>,
    /// Batch statistics `[block][group]`.
    moments: Vec<Vec<Moments>>,
}

/// Whether the first block's values are not kept, but made again wherever they are read: of a single channel that takes less time
/// than to fetch them from memory.
fn is_made(shapes: &[BlockShape]) -> bool {
    shapes.len() > 1 && shapes[0].in_channels == 1
}

impl Tape {
    /// Batch statistics of each block and group.
    pub fn moments(&self) -> &[Vec<Moments>] {
        &self.moments
    }

    /// The way back through a block's normalisation and ReLU.
    fn through<'a>(&'a self, block: usize, inverses: &'a [Inverse]) -> Through<'a> {
        Through { shape: &self.shapes[block], values: self.kept(block), inverses }
    }

    /// The way back through all of the first block, but to the images.
    fn first<'a>(&'a self, inverses: &'a [Inverse], with_input: bool) -> FirstBlock<'a> {
        let kept = self.values[0].as_deref();
        FirstBlock { from: self.images.values(&self.shapes[0]), kept, inverses, with_input }
    }

    /// A block's values, as the next one reads them.
    fn values(&self, block: usize) -> Values<'_> {
        match &self.values[block] {
            Some(values) => Values::Kept(values),
            None => Values::Made(self.images.values(&self.shapes[block])),
        }
    }

    /// Those of a block behind the first, or of the only one.
    fn kept(&self, block: usize) -> &[Line] {
        self.values[block].as_deref().expect("values that are kept")
    }

    /// Images of the batch.
    pub(crate) fn images(&self) -> usize {
        self.chunks.iter().map(|chunk| chunk.rows).sum()
    }

    /// The last block's values, normalised, `[image][channel][position]`.
    pub(crate) fn features(&self, affines: &[Affine]) -> Vec<f32> {
        let last = self.shapes.len() - 1;
        let (channels, positions) = (self.shapes[last].out_channels, self.shapes[last].out_positions());
        layout::to_images(self.level, channels, positions, self.kept(last), &self.chunks, affines)
    }

    /// The last block's normalisation of each group.
    pub(crate) fn affines(&self, blocks: &[BlockParameters]) -> Vec<Affine> {
        let last = self.shapes.len() - 1;
        affines(&self.moments[last], &blocks[last])
    }

    /// The same as a predictor reads them.
    pub(crate) fn to_predict(&self, blocks: &[BlockParameters]) -> Features<'_> {
        let last = self.shapes.len() - 1;
        let affines = self.affines(blocks);
        let normalisation = (self.moments[last].as_slice(), affines.as_slice(), blocks[last].beta);
        Features::new(self.level, &self.shapes[last], self.kept(last), &self.chunks, normalisation)
    }

    /// The weights of the blocks whose input's gradient is needed, from the first block on, each [packed](pack::backward) for it.
    pub(crate) fn packed(&self, blocks: &[BlockParameters], with_input: bool) -> Vec<Buffer<Line>> {
        let needed = self.shapes.iter().zip(blocks).skip(usize::from(!with_input));
        needed.map(|(shape, block)| pack::backward(self.level, shape, block.weight)).collect()
    }

    /// A block's values after ReLU, `[image][channel][position]`.
    #[cfg(test)]
    pub(crate) fn activations(&self, block: usize) -> Vec<f32> {
        let shape = &self.shapes[block];
        let affines = Affine::identities(shape.out_channels, self.moments[block].len());
        let each = shape.out_width() * shape.out_blocks();
        let mut values = Buffer::new(self.images() * shape.out_height() * each);
        for row in crate::plan::rows(&mut values, &self.chunks, shape.out_height(), each) {
            match self.values(block) {
                Values::Kept(kept) => row.data.copy_from_slice(row.chunk.row(kept, shape.out_height(), each, row.y)),
                Values::Made(from) => {
                    fearless_simd::dispatch!(self.level, simd => from.row(simd, row.chunk, row.y, row.data));
                }
            }
        }
        layout::to_images(self.level, shape.out_channels, shape.out_positions(), &values, &self.chunks, &affines)
    }
}

fn affines(moments: &[Moments], block: &BlockParameters) -> Vec<Affine> {
    Affine::of_groups(moments, block.gamma, block.beta, block.epsilon)
}

/// Runs the blocks in training mode on `input`, `[batch, channels, height, width]`, of which `groups` equal
/// runs of images are normalised each by its own batch statistics, as by one pass a group.
///
/// Returns the features `[batch, channels × positions]` and what [`backward`] needs.
///
/// # Panics
/// Panics when lengths do not fit the shapes, or the batch does not divide into the groups.
pub fn forward(
    level: Level,
    input: &[f32],
    groups: usize,
    shapes: &[BlockShape],
    blocks: &[BlockParameters],
) -> (Vec<f32>, Tape) {
    let tape = run(level, input, groups, shapes, blocks);
    (tape.features(&tape.affines(blocks)), tape)
}

/// The forward pass as far as the last block's values.
pub(crate) fn run(
    level: Level,
    input: &[f32],
    groups: usize,
    shapes: &[BlockShape],
    blocks: &[BlockParameters],
) -> Tape {
    let batch = check(input.len(), shapes, blocks);
    assert!(groups > 0 && batch > 0 && batch.is_multiple_of(groups), "{batch} images in {groups} equal groups");
    let chunks = chunks(batch, groups);
    let (mut values, mut moments) = (Vec::with_capacity(shapes.len()), Vec::with_capacity(shapes.len()));
    let read = || {
        if is_made(shapes) {
            let (images, first) = Images::with_moments(level, input, &shapes[0], &blocks[0], &chunks, groups);
            values.push(None);
            moments.push(first);
            images
        } else {
            Images::new(level, input, &shapes[0], &blocks[0], &chunks)
        }
    };
    let weights = || {
        shapes
            .iter()
            .zip(blocks)
            .skip(1)
            .map(|(shape, block)| pack::forward(level, shape, block.weight))
            .collect::<Vec<_>>()
    };
    let (images, weights) = rayon::join(read, weights);
    let mut tape = Tape { level, shapes: shapes.to_vec(), chunks, images, values, moments };
    for (index, (shape, block)) in shapes.iter().zip(blocks).enumerate().skip(tape.values.len()) {
        let normalisations: Vec<_>;
        let source = match index.checked_sub(1) {
            None => Source::Planes(tape.images.values(shape)),
            Some(before) => {
                normalisations = affines(&tape.moments[before], &blocks[before]).iter().map(Affine::lines).collect();
                let (values, weights) = (tape.values(before), &weights[before]);
                Source::Values { values, affines: &normalisations, weights, finish: Finish::Relu }
            }
        };
        let bias = pack::channels(block.bias);
        let (values, moments) = forward::block(level, shape, &bias, source, &tape.chunks, groups);
        tape.values.push(Some(values));
        tape.moments.push(moments);
    }
    tape
}

/// Gradients of every block's trained values, and of the input if asked for, from the gradient of the
/// features, `[batch, channels × positions]`. `blocks` are those given to [`forward`].
///
/// # Panics
/// Panics when a length does not fit the forward pass.
pub fn backward(
    tape: &Tape,
    blocks: &[BlockParameters],
    gradient: &[f32],
    with_input: bool,
) -> (Vec<BlockGradients>, Option<Vec<f32>>) {
    let last = tape.shapes.len() - 1;
    let (shape, values) = (&tape.shapes[last], tape.kept(last));
    assert_eq!(gradient.len(), tape.images() * shape.out_features(), "values in the gradient");
    let means: Vec<Vec<Line>> = tape.moments[last].iter().map(|m| pack::channels(&m.mean)).collect();
    let above = FeatureGradient::read(tape.level, shape, gradient, values, &means, &tape.chunks);
    backward_from(tape, blocks, &tape.packed(blocks, with_input), above, with_input)
}

/// The way back from what is `above` the last block. `packed` are [the weights for it](Tape::packed).
pub(crate) fn backward_from(
    tape: &Tape,
    blocks: &[BlockParameters],
    packed: &[Buffer<Line>],
    above: impl Above,
    with_input: bool,
) -> (Vec<BlockGradients>, Option<Vec<f32>>) {
    let Tape { level, shapes, chunks, .. } = tape;
    let level = *level;
    let last = shapes.len() - 1;
    let groups = tape.moments[0].len();
    // The way back through a block's normalisation, and the gradients of its scale and shift.
    let normalisation = |index: usize, sums: &GradientSums| {
        let (shape, block, moments) = (&shapes[index], &blocks[index], &tape.moments[index]);
        let count = tape.images() / groups * shape.out_positions();
        let inverses = Inverse::of_groups(sums, count, moments, &affines(moments, block), block.epsilon);
        (inverses, backward::scale_and_shift(shape, sums, moments, block.epsilon))
    };
    let (mut inverses, (mut gamma, mut beta)) = normalisation(last, above.sums());
    let (mut back, mut rows) = match last {
        0 => above.onward(&tape.first(&inverses, with_input)),
        _ => above.onward(&tape.through(last, &inverses)),
    };
    let mut gradients = Vec::with_capacity(shapes.len());
    let mut packed = packed.iter().rev();
    let mut next_packed = || packed.next().expect("weights of each block");
    for index in (1..=last).rev() {
        let (shape, block, before) = (&shapes[index], &blocks[index], index - 1);
        let taps = TapSums::new(shape, &by_group(&rows, rows.len() / chunks.len(), chunks, groups));
        let products = Products::new(level, shape, tape.values(before), &back, chunks);
        let affines = affines(&tape.moments[before], &blocks[before]);
        let (weight, sums) = products.gradients(&affines, &taps, block.weight, &tape.moments[before]);
        gradients.push(BlockGradients { weight, bias: taps.bias, gamma, beta });
        (inverses, (gamma, beta)) = normalisation(before, &sums);
        (back, rows) = match before {
            0 => backward::input(level, shape, next_packed(), &back, chunks, &tape.first(&inverses, with_input)),
            _ => backward::input(level, shape, next_packed(), &back, chunks, &tape.through(before, &inverses)),
        };
    }
    let (weight, bias) = first_block::gradients(&shapes[0], &rows);
    gradients.push(BlockGradients { weight, bias, gamma, beta });
    let input = with_input.then(|| {
        let shape = &shapes[0];
        let (back, _) = backward::input(level, shape, next_packed(), &back, chunks, &NoLayer);
        let affines = Affine::identities(shape.in_channels, groups);
        layout::to_images(level, shape.in_channels, shape.in_positions(), &back, chunks, &affines)
    });
    gradients.reverse();
    (gradients, input)
}

/// Checks that everything fits an input of so many values; returns the number of images.
pub(crate) fn check(input: usize, shapes: &[BlockShape], blocks: &[BlockParameters]) -> usize {
    assert!(!shapes.is_empty(), "a stack has at least one block");
    assert_eq!(shapes.len(), blocks.len(), "parameters of each block");
    for (shape, block) in shapes.iter().zip(blocks) {
        assert!(matches!(shape.stride, 1 | 2), "a stride of 1 or 2, not {}", shape.stride);
        assert_eq!(block.weight.len(), shape.out_channels * shape.in_channels * 9, "weights [out, in, 3, 3]");
        for values in [block.bias, block.gamma, block.beta] {
            assert_eq!(values.len(), shape.out_channels, "one value a channel");
        }
    }
    for pair in shapes.windows(2) {
        let next = (pair[0].out_channels, pair[0].out_height(), pair[0].out_width());
        assert_eq!(
            next,
            (pair[1].in_channels, pair[1].height, pair[1].width),
            "a block takes what the one before gives"
        );
    }
    let features = shapes[0].in_channels * shapes[0].in_positions();
    assert!(features > 0 && input.is_multiple_of(features), "whole images of {features} values");
    input / features
}
