//! The network on plain slices: forward and backward in training.

use fearless_simd::Level;

use super::layers::{Batch, Beside, Convolved, Term, ThroughRelu, activate, pool, spread, through_normalisation};
use super::shortcut;
use crate::backward::{self, GradientSums, Inverse, NoLayer, scale_and_shift};
use crate::forward::{self, Source};
use crate::layout::{to_activations, to_images};
use crate::normalise::{Affine, Moments, by_group};
use crate::pack;
use crate::plan::{BlockShape, Chunk, chunks};
use crate::tile::{Finish, LANES, Line};
use crate::values::Values;
use crate::weight_gradient::{Products, TapSums};
use crate::workspace::Buffer;

/// Shapes of the network's convolutions.
#[derive(Clone, Debug)]
pub(crate) struct Shapes {
    pub(crate) stem: BlockShape,
    pub(crate) blocks: Vec<BlockShapes>,
    pub(crate) epsilon: f32,
}

/// Shapes of a block's convolutions.
#[derive(Clone, Copy, Debug)]
pub(crate) struct BlockShapes {
    /// The shortcut's too, but for the size of the kernel.
    pub(crate) first: BlockShape,
    pub(crate) second: BlockShape,
    pub(crate) has_shortcut: bool,
}

impl Shapes {
    /// Shape and kernel positions of each layer: the stem, then of each block the first, the second and the shortcut's.
    pub(crate) fn layers(&self) -> Vec<(BlockShape, usize)> {
        let of_block = |block: &BlockShapes| {
            let shortcut = block.has_shortcut.then_some((block.first, 1));
            [(block.first, 9), (block.second, 9)].into_iter().chain(shortcut)
        };
        std::iter::once((self.stem, 9)).chain(self.blocks.iter().flat_map(of_block)).collect()
    }

    /// The shape that the network ends with.
    pub(crate) fn last(&self) -> &BlockShape {
        self.blocks.last().map_or(&self.stem, |block| &block.second)
    }
}

/// The trained values of one layer, or their gradients.
#[derive(Clone, Debug)]
pub(crate) struct LayerValues<T> {
    /// `[out, in, 3, 3]`, or `[out, in, 1, 1]`.
    pub(crate) weight: T,
    /// Scale of the normalisation.
    pub(crate) gamma: T,
    /// Shift of the normalisation.
    pub(crate) beta: T,
}

type Parameters<'a> = LayerValues<&'a [f32]>;

/// What the way back needs.
#[derive(Debug)]
pub(crate) struct Tape {
    level: Level,
    chunks: Vec<Chunk>,
    groups: usize,
    images: Buffer<Line>,
    stem: Convolved,
    /// What the stem's ReLU let through.
    begin: Buffer<Line>,
    blocks: Vec<BlockTape>,
}

#[derive(Debug)]
struct BlockTape {
    first: Convolved,
    /// What the ReLU between the convolutions let through.
    inside: Buffer<Line>,
    second: Convolved,
    shortcut: Option<Convolved>,
    out: Buffer<Line>,
}

impl Tape {
    fn batch(&self) -> Batch<'_> {
        Batch { level: self.level, chunks: &self.chunks, groups: self.groups }
    }

    /// What goes into block `index`.
    fn input(&self, index: usize) -> &[Line] {
        index.checked_sub(1).map_or(&self.begin, |before| &self.blocks[before].out)
    }

    /// The way back into block `index`.
    fn before(&self, index: usize) -> ThroughRelu<'_> {
        match index.checked_sub(1).map(|before| &self.blocks[before]) {
            None => ThroughRelu::new(&self.begin, [&self.stem]),
            Some(block) => ThroughRelu::new(&block.out, std::iter::once(&block.second).chain(&block.shortcut)),
        }
    }

    /// What each ReLU let through, `[image][channel][position]`: the stem's, then of each block that inside and the last.
    #[cfg(test)]
    pub(crate) fn activations(&self, shapes: &Shapes) -> Vec<Vec<f32>> {
        let images = |shape: &BlockShape, values: &[Line]| {
            let maps = Affine::identities(shape.out_channels, self.groups);
            to_images(self.level, shape.out_channels, shape.out_positions(), values, &self.chunks, &maps)
        };
        let mut all = vec![images(&shapes.stem, &self.begin)];
        for (shape, block) in shapes.blocks.iter().zip(&self.blocks) {
            all.extend([images(&shape.first, &block.inside), images(&shape.second, &block.out)]);
        }
        all
    }

    /// The layers' statistics, in their order.
    pub(crate) fn moments(&self) -> impl Iterator<Item = &[Moments]> {
        let blocks = self.blocks.iter().flat_map(|b| [&b.first, &b.second].into_iter().chain(&b.shortcut));
        std::iter::once(&self.stem).chain(blocks).map(|layer| &*layer.moments)
    }
}

/// The normalisation behind a layer, for each group.
fn affines(layer: &Convolved, parameters: &Parameters, epsilon: f32) -> Vec<Affine> {
    Affine::of_groups(&layer.moments, parameters.gamma, parameters.beta, epsilon)
}

/// A 3 × 3 convolution, and its statistics.
fn convolve(batch: Batch, shape: &BlockShape, weight: &[f32], input: &[Line]) -> Convolved {
    let weights = pack::forward(batch.level, shape, weight);
    let source = Source::Values { values: Values::Kept(input), affines: &[], weights: &weights, finish: Finish::Keep };
    let bias = vec![Line::ZERO; shape.out_blocks()];
    let (values, moments) = forward::block(batch.level, shape, &bias, source, batch.chunks, batch.groups);
    Convolved { values, moments }
}

/// Runs the network on `images`, `[batch, channels, height, width]`. Gives the features, `[batch, channels]`, and the tape.
pub(crate) fn forward(
    level: Level,
    images: &[f32],
    groups: usize,
    shapes: &Shapes,
    layers: &[Parameters],
) -> (Vec<f32>, Tape) {
    let stem = &shapes.stem;
    let chunks = chunks(images.len() / stem.in_features(), groups);
    let batch = Batch { level, chunks: &chunks, groups };
    let images = to_activations(level, stem.in_channels, stem.in_positions(), images, &chunks);
    let mut layers = layers.iter();
    let mut next = || layers.next().expect("parameters of each layer");
    let maps = |layer: &Convolved, parameters: &Parameters| affines(layer, parameters, shapes.epsilon);

    let parameters = next();
    let convolved = convolve(batch, stem, parameters.weight, &images);
    let begin = activate(batch, stem, &Term::new(&convolved.values, &maps(&convolved, parameters)), None);
    let mut blocks: Vec<BlockTape> = Vec::with_capacity(shapes.blocks.len());
    for block in &shapes.blocks {
        let input = blocks.last().map_or(&begin, |block| &block.out);
        let parameters = next();
        let first = convolve(batch, &block.first, parameters.weight, input);
        let inside = activate(batch, &block.first, &Term::new(&first.values, &maps(&first, parameters)), None);
        let parameters = next();
        let second = convolve(batch, &block.second, parameters.weight, &inside);
        let term = Term::new(&second.values, &maps(&second, parameters));
        let mut shortcut = None;
        let beside = match block.has_shortcut {
            true => {
                let parameters = next();
                let layer = shortcut.insert(shortcut::forward(batch, &block.first, parameters.weight, input));
                Term::new(&layer.values, &maps(layer, parameters))
            }
            false => Term::new(input, &Affine::identities(block.first.in_channels, groups)),
        };
        let out = activate(batch, &block.second, &term, Some(&beside));
        blocks.push(BlockTape { first, inside, second, shortcut, out });
    }
    let last = blocks.last().map_or(&begin, |block| &block.out);
    let features = pool(batch, shapes.last(), last);
    (features, Tape { level, groups, images, stem: convolved, begin, blocks, chunks })
}

/// The way back through one layer's normalisation.
struct Layer<'a> {
    batch: Batch<'a>,
    shape: &'a BlockShape,
    convolved: &'a Convolved,
    parameters: &'a Parameters<'a>,
    epsilon: f32,
}

impl Layer<'_> {
    /// Gradients of the convolution's output, of the scale and of the shift. `sums` has those of one or two layers, this one's at
    /// `index`.
    fn back(&self, gradient: &[Line], sums: &GradientSums, index: usize) -> (Buffer<Line>, Vec<f32>, Vec<f32>) {
        let each = 2 * self.shape.out_blocks() * LANES;
        let sums: GradientSums = sums.iter().map(|sums| sums[index * each..][..each].to_vec()).collect();
        let count = self.batch.images() / self.batch.groups * self.shape.out_positions();
        let moments = &self.convolved.moments;
        let affines = affines(self.convolved, self.parameters, self.epsilon);
        let inverses = Inverse::of_groups(&sums, count, moments, &affines, self.epsilon);
        let (gamma, beta) = scale_and_shift(self.shape, &sums, moments, self.epsilon);
        let back = through_normalisation(self.batch, self.shape, gradient, &self.convolved.values, &inverses);
        (back, gamma, beta)
    }

    /// Gradient of the weights of a 3 × 3 convolution.
    fn weights(&self, input: &[Line], gradient: &[Line]) -> Vec<f32> {
        let Batch { level, chunks, groups } = self.batch;
        let affines = Affine::identities(self.shape.in_channels, groups);
        let products = Products::new(level, self.shape, Values::Kept(input), gradient, chunks);
        products.weights(&affines, &TapSums::none(self.shape, groups))
    }

    /// Gradient of the input of a 3 × 3 convolution.
    fn input(&self, gradient: &[Line], onward: &impl backward::Onward) -> (Buffer<Line>, GradientSums) {
        let Batch { level, chunks, groups } = self.batch;
        let weights = pack::backward(level, self.shape, self.parameters.weight);
        let (out, sums) = backward::input(level, self.shape, &weights, gradient, chunks, onward);
        (out, by_group(&sums, onward.sums(), chunks, groups))
    }
}

/// Gradients of every layer's trained values, and of the images if asked for, from that of the features. `shapes` and
/// `layers` are those given to [`forward`].
pub(crate) fn backward(
    tape: &Tape,
    shapes: &Shapes,
    layers: &[Parameters],
    gradient: &[f32],
    with_images: bool,
) -> (Vec<LayerValues<Vec<f32>>>, Option<Vec<f32>>) {
    let batch = tape.batch();
    let mut gradients = Vec::with_capacity(layers.len());
    let mut layers = layers.iter().rev();
    let mut next = |shape, convolved| {
        let parameters = layers.next().expect("parameters of each layer");
        Layer { batch, shape, convolved, parameters, epsilon: shapes.epsilon }
    };

    let (mut back, mut sums) = spread(batch, shapes.last(), gradient, &tape.before(shapes.blocks.len()));
    for (index, (shape, block)) in shapes.blocks.iter().zip(&tape.blocks).enumerate().rev() {
        let input = tape.input(index);
        let mut onward = tape.before(index);
        let shortcut;
        if let Some(convolved) = &block.shortcut {
            let layer = next(&shape.first, convolved);
            let (through, gamma, beta) = layer.back(&back, &sums, 1);
            let weight = shortcut::weights(batch, &shape.first, input, &through);
            shortcut = shortcut::input(batch, &shape.first, layer.parameters.weight, &through);
            onward = onward.beside(Beside::Strided(&shortcut, shape.first.stride));
            gradients.push(LayerValues { weight, gamma, beta });
        }
        let second = next(&shape.second, &block.second);
        let (through, gamma, beta) = second.back(&back, &sums, 0);
        gradients.push(LayerValues { weight: second.weights(&block.inside, &through), gamma, beta });
        let (inner, inner_sums) = second.input(&through, &ThroughRelu::new(&block.inside, [&block.first]));

        let first = next(&shape.first, &block.first);
        let (through, gamma, beta) = first.back(&inner, &inner_sums, 0);
        gradients.push(LayerValues { weight: first.weights(input, &through), gamma, beta });
        if block.shortcut.is_none() {
            onward = onward.beside(Beside::All(&back));
        }
        let next_back = first.input(&through, &onward);
        drop(onward);
        (back, sums) = next_back;
    }
    let stem = next(&shapes.stem, &tape.stem);
    let (through, gamma, beta) = stem.back(&back, &sums, 0);
    gradients.push(LayerValues { weight: stem.weights(&tape.images, &through), gamma, beta });
    gradients.reverse();
    let images = with_images.then(|| {
        let shape = &shapes.stem;
        let weights = pack::backward(batch.level, shape, stem.parameters.weight);
        let (back, _) = backward::input(batch.level, shape, &weights, &through, batch.chunks, &NoLayer);
        let maps = Affine::identities(shape.in_channels, batch.groups);
        to_images(batch.level, shape.in_channels, shape.in_positions(), &back, batch.chunks, &maps)
    });
    (gradients, images)
}
