//! The stack of blocks on plain slices outside training: straight from pixels to features.

use fearless_simd::{Level, dispatch};
use rayon::prelude::*;

use crate::first_block::FromPlanes;
use crate::forward::{self, Source};
use crate::layout::{Pixel, chunk_to_images, chunk_to_planes};
use crate::normalise::{Affine, AffineLines, Moments};
use crate::pack;
use crate::plan::{BlockShape, Chunk};
use crate::stack::{BlockParameters, check};
use crate::tile::{Finish, Line};
use crate::values::Values;
use crate::workspace::Buffer;

/// Images that go through all blocks before the next do: whole tiles of six rows, few enough that what lies between
/// two blocks stays in the cache.
const CHUNK: usize = 48;

/// Runs the blocks on `input`, `[batch, channels, height, width]`, normalised by the given (running)
/// statistics, one [`Moments`] a block. Returns the features `[batch, channels × positions]`.
///
/// A chunk of images goes through all blocks before the next begins, so memory beyond input and output stays small
/// whatever the batch. What an image gives does not depend on the others.
///
/// # Panics
/// Panics when lengths do not fit the shapes.
pub fn inference<P: Pixel>(
    level: Level,
    input: &[P],
    shapes: &[BlockShape],
    blocks: &[BlockParameters],
    moments: &[Moments],
) -> Vec<f32> {
    let batch = check(input.len(), shapes, blocks);
    assert_eq!(moments.len(), shapes.len(), "statistics of each block");
    let stack = Stack::new(level, shapes, blocks, moments);
    let (first, last) = (&shapes[0], &shapes[shapes.len() - 1]);
    let mut out = vec![0.0; batch * last.out_features()];
    out.par_chunks_mut(CHUNK * last.out_features())
        .zip(input.par_chunks(CHUNK * first.in_channels * first.in_positions()))
        .with_max_len(1)
        .for_each(|(out, input)| stack.chunk(input, out));
    out
}

/// Blocks made ready for inference.
struct Stack<'a> {
    level: Level,
    shapes: &'a [BlockShape],
    biases: Vec<Vec<Line>>,
    /// Weights of the first block.
    planes: Buffer<Line>,
    /// Weights of the others.
    weights: Vec<Buffer<Line>>,
    /// The normalisation behind each.
    affines: Vec<AffineLines>,
}

impl<'a> Stack<'a> {
    fn new(level: Level, shapes: &'a [BlockShape], blocks: &[BlockParameters], moments: &[Moments]) -> Self {
        let affine = |(block, m): (&BlockParameters, &Moments)| {
            Affine::new(&m.mean, &m.variance, block.gamma, block.beta, block.epsilon).lines()
        };
        let packed = |(shape, block): (&BlockShape, &BlockParameters)| pack::forward(level, shape, block.weight);
        Self {
            level,
            shapes,
            biases: blocks.iter().map(|block| pack::channels(block.bias)).collect(),
            planes: pack::planes(&shapes[0], blocks[0].weight),
            weights: shapes.iter().zip(blocks).skip(1).map(packed).collect(),
            affines: blocks.iter().zip(moments).map(affine).collect(),
        }
    }

    /// Features of a few images.
    fn chunk<P: Pixel>(&self, input: &[P], out: &mut [f32]) {
        let features = self.shapes[0].in_channels * self.shapes[0].in_positions();
        let rows = input.len() / features;
        let chunk = Chunk { group: 0, first: 0, rows };
        let mut planes = Buffer::new(input.len());
        dispatch!(self.level, simd => chunk_to_planes(simd, input, features, &mut planes));
        let mut values: Option<Buffer<Line>> = None;
        for (index, shape) in self.shapes.iter().enumerate() {
            let source = match &values {
                None => {
                    Source::Planes(FromPlanes { shape, planes: &planes, weights: &self.planes, bias: &self.biases[0] })
                }
                Some(values) => Source::Values {
                    values: Values::Kept(values),
                    affines: &self.affines[index - 1..index],
                    weights: &self.weights[index - 1],
                    finish: Finish::Relu,
                },
            };
            let mut next = Buffer::new(rows * shape.out_positions() * shape.out_blocks());
            forward::chunk(self.level, shape, &self.biases[index], source, chunk, &mut next);
            values = Some(next);
        }
        if let (Some(values), Some(shape), Some(affine)) = (values, self.shapes.last(), self.affines.last()) {
            let positions = shape.out_positions();
            dispatch!(self.level, simd => chunk_to_images(simd, positions, &values, &affine.scale, &affine.shift, out));
        }
    }
}
