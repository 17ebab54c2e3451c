//! The network on plain slices outside training: straight from pixels to features.

use fearless_simd::{Level, dispatch};
use rayon::prelude::*;

use super::layers::{add_and_cut, pool_chunk};
use super::network::{LayerValues, Shapes};
use super::shortcut;
use crate::forward::{self, Source};
use crate::layout::{Pixel, block_to_activations};
use crate::normalise::{Affine, Moments};
use crate::pack;
use crate::plan::{BlockShape, Chunk};
use crate::tile::{Finish, Line};
use crate::values::Values;
use crate::workspace::Buffer;

/// Images that go through the whole network before the next do: four tiles of six rows.
const CHUNK: usize = 24;

/// Runs the network on `images`, `[batch, channels, height, width]`, normalised by the given statistics of each layer. Gives
/// the features, `[batch, channels]`. What an image gives does not depend on the others.
///
/// # Panics
/// When lengths do not fit the shapes.
pub(crate) fn inference<P: Pixel>(
    level: Level,
    images: &[P],
    shapes: &Shapes,
    layers: &[LayerValues<&[f32]>],
    moments: &[Moments],
) -> Vec<f32> {
    assert_eq!(moments.len(), layers.len(), "statistics of each layer");
    let (first, last) = (&shapes.stem, shapes.last());
    let features = first.in_features();
    assert!(features > 0 && images.len().is_multiple_of(features), "whole images of {features} values");
    let network = Network::new(level, shapes, layers, moments);
    let mut out = vec![0.0; images.len() / features * last.out_channels];
    let chunks = out.par_chunks_mut(CHUNK * last.out_channels).zip(images.par_chunks(CHUNK * features));
    chunks.with_max_len(1).for_each(|(out, images)| network.chunk(images, out));
    out
}

/// A convolution with the normalisation behind it folded in.
struct Folded {
    shape: BlockShape,
    weights: Weights,
    bias: Vec<Line>,
}

enum Weights {
    Square(Buffer<Line>),
    /// 1 × 1.
    Point(Buffer<Line>),
}

impl Folded {
    fn new(
        level: Level,
        (shape, taps): (BlockShape, usize),
        values: &LayerValues<&[f32]>,
        moments: &Moments,
        epsilon: f32,
    ) -> Self {
        let affine = Affine::new(&moments.mean, &moments.variance, values.gamma, values.beta, epsilon);
        let weights = match taps {
            1 => {
                let filters = values.weight.chunks_exact(shape.in_channels).zip(&affine.scale);
                let scaled: Vec<f32> =
                    filters.flat_map(|(filter, scale)| filter.iter().map(move |w| scale * w)).collect();
                Weights::Point(shortcut::pack_forward(&shape, &scaled))
            }
            _ => {
                let mut packed = pack::forward(level, &shape, values.weight);
                pack::scale_outputs(&shape, &mut packed, &pack::channels(&affine.scale));
                Weights::Square(packed)
            }
        };
        Self { shape, weights, bias: pack::channels(&affine.shift) }
    }

    /// Its outputs for one chunk.
    fn run(&self, level: Level, chunk: Chunk, input: &[Line], finish: Finish) -> Buffer<Line> {
        let shape = &self.shape;
        let each = shape.out_width() * shape.out_blocks() * chunk.rows;
        let mut out = Buffer::new(shape.out_height() * each);
        match &self.weights {
            Weights::Square(weights) => {
                let source = Source::Values { values: Values::Kept(input), affines: &[], weights, finish };
                forward::chunk(level, shape, &self.bias, source, chunk, &mut out);
            }
            Weights::Point(weights) => dispatch!(level, simd => {
                for (y, out) in out.chunks_exact_mut(each).enumerate() {
                    shortcut::forward_row(simd, shape, chunk.rows, y, input, weights, &self.bias, out);
                }
            }),
        }
        out
    }
}

struct Block {
    first: Folded,
    second: Folded,
    shortcut: Option<Folded>,
}

/// The network made ready for inference.
struct Network {
    level: Level,
    stem: Folded,
    blocks: Vec<Block>,
}

impl Network {
    fn new(level: Level, shapes: &Shapes, layers: &[LayerValues<&[f32]>], moments: &[Moments]) -> Self {
        let folded = shapes.layers().into_iter().zip(layers).zip(moments);
        let mut folded =
            folded.map(|((shape, values), moments)| Folded::new(level, shape, values, moments, shapes.epsilon));
        let mut next = || folded.next().expect("values of each layer");
        let stem = next();
        let block =
            |has_shortcut: bool| Block { first: next(), second: next(), shortcut: has_shortcut.then(&mut next) };
        let blocks = shapes.blocks.iter().map(|block| block.has_shortcut).map(block).collect();
        Self { level, stem, blocks }
    }

    /// Features of a few images.
    fn chunk<P: Pixel>(&self, images: &[P], out: &mut [f32]) {
        let shape = &self.stem.shape;
        let rows = images.len() / shape.in_features();
        let chunk = Chunk { group: 0, first: 0, rows };
        let mut values: Buffer<Line> = Buffer::new(rows * shape.in_positions() * shape.in_blocks());
        dispatch!(self.level, simd => {
            for block in 0..shape.in_blocks() {
                block_to_activations(simd, rows, shape.in_positions(), block, images, &mut values);
            }
        });
        values = self.stem.run(self.level, chunk, &values, Finish::Relu);
        for block in &self.blocks {
            let inside = block.first.run(self.level, chunk, &values, Finish::Relu);
            let mut sum = block.second.run(self.level, chunk, &inside, Finish::Keep);
            let shortcut = block.shortcut.as_ref().map(|layer| layer.run(self.level, chunk, &values, Finish::Keep));
            let beside = shortcut.as_ref().unwrap_or(&values);
            dispatch!(self.level, simd => add_and_cut(simd, &mut sum, beside));
            values = sum;
        }
        let last = self.blocks.last().map_or(shape, |block| &block.second.shape);
        dispatch!(self.level, simd => pool_chunk(simd, last.out_blocks(), &values, last.out_channels, out));
    }
}
