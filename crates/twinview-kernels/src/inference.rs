//! The stack of blocks on plain slices outside training: straight from pixels to features.

use fearless_simd::{Level, Simd, dispatch, prelude::*};
use rayon::prelude::*;

use crate::forward::{self, Source};
use crate::normalise::{Affine, Moments};
use crate::pack::{self, ForwardWeights};
use crate::plan::{BlockShape, Chunk};
use crate::stack::{BlockParameters, check};
use crate::tile::{LANES, Line};
use crate::workspace::Buffer;

/// Images that go through all blocks before the next do: whole tiles of six rows, few enough that what lies between
/// two blocks stays in the cache.
const CHUNK: usize = 48;

/// A pixel as it lies in memory.
pub trait Pixel: Copy + Sync {
    /// What the first block computes with.
    fn value(self) -> f32;
}

/// Taken as it is.
impl Pixel for f32 {
    #[inline(always)]
    fn value(self) -> f32 {
        self
    }
}

/// 0..=255 means 0 to 1.
impl Pixel for u8 {
    #[inline(always)]
    fn value(self) -> f32 {
        f32::from(self) / 255.0
    }
}

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
    /// Weights of the others, the normalisation before them folded in.
    weights: Vec<[ForwardWeights; 1]>,
    /// The normalisation behind the last, in lines of channels.
    scale: Vec<Line>,
    shift: Vec<Line>,
}

impl<'a> Stack<'a> {
    fn new(level: Level, shapes: &'a [BlockShape], blocks: &[BlockParameters], moments: &[Moments]) -> Self {
        let affines: Vec<Affine> = blocks
            .iter()
            .zip(moments)
            .map(|(block, m)| Affine::new(&m.mean, &m.variance, block.gamma, block.beta, block.epsilon))
            .collect();
        let folded = |((shape, block), before): ((&BlockShape, &BlockParameters), &Affine)| {
            [ForwardWeights::new(shape, &pack::forward(shape, block.weight), before)]
        };
        let last = &affines[affines.len() - 1];
        Self {
            level,
            shapes,
            biases: blocks.iter().map(|block| pack::channels(block.bias)).collect(),
            planes: pack::planes(&shapes[0], blocks[0].weight),
            weights: shapes.iter().zip(blocks).skip(1).zip(&affines).map(folded).collect(),
            scale: pack::channels(&last.scale),
            shift: pack::channels(&last.shift),
        }
    }

    /// Features of a few images.
    fn chunk<P: Pixel>(&self, input: &[P], out: &mut [f32]) {
        let features = self.shapes[0].in_channels * self.shapes[0].in_positions();
        let rows = input.len() / features;
        let chunk = Chunk { group: 0, first: 0, rows };
        let mut planes = Buffer::new(input.len());
        dispatch!(self.level, simd => to_planes(simd, input, features, &mut planes));
        let mut values: Option<Buffer<Line>> = None;
        for (index, shape) in self.shapes.iter().enumerate() {
            let source = match &values {
                None => Source::Planes(&planes, &self.planes),
                Some(values) => Source::Values(values, &self.weights[index - 1]),
            };
            let mut next = Buffer::new(rows * shape.out_positions() * shape.out_blocks());
            forward::chunk(self.level, shape, &self.biases[index], source, chunk, &mut next);
            values = Some(next);
        }
        if let (Some(values), Some(shape)) = (values, self.shapes.last()) {
            dispatch!(self.level, simd => write_features(simd, shape, &values, &self.scale, &self.shift, out));
        }
    }
}

/// Makes the rows of sixteen lines its columns.
#[inline(always)]
fn transpose<S: Simd>(simd: S, tile: &mut [Line; LANES]) {
    let mut other = [Line::ZERO; LANES];
    // Each round turns the eight bits of a value's place, row before column, by one.
    zip_halves(simd, tile, &mut other);
    zip_halves(simd, &other, tile);
    zip_halves(simd, tile, &mut other);
    zip_halves(simd, &other, tile);
}

/// Each of the first eight lines and its partner in the second eight, their values taken in turn.
#[inline(always)]
fn zip_halves<S: Simd>(simd: S, from: &[Line; LANES], to: &mut [Line; LANES]) {
    let (first, second) = from.split_at(LANES / 2);
    for (pair, (first, second)) in to.as_chunks_mut::<2>().0.iter_mut().zip(first.iter().zip(second)) {
        let (first, second) = (first.load(simd), second.load(simd));
        pair[0].store(first.zip_low(second));
        pair[1].store(first.zip_high(second));
    }
}

/// Images `[image][feature]` as planes `[feature][image]`.
#[inline(always)]
fn to_planes<S: Simd, P: Pixel>(simd: S, input: &[P], features: usize, planes: &mut [f32]) {
    let rows = input.len() / features;
    for row in (0..rows).step_by(LANES) {
        let images = &input[row * features..features * rows.min(row + LANES)];
        for feature in (0..features).step_by(LANES) {
            let mut tile = [Line::ZERO; LANES];
            for (line, image) in tile.iter_mut().zip(images.chunks_exact(features)) {
                let pixels = &image[feature..];
                match pixels.first_chunk::<LANES>() {
                    Some(pixels) => line.0 = pixels.map(P::value),
                    None => line.0.iter_mut().zip(pixels).for_each(|(value, pixel)| *value = pixel.value()),
                }
            }
            transpose(simd, &mut tile);
            let planes = planes[feature * rows..].chunks_exact_mut(rows);
            for (plane, line) in planes.zip(&tile) {
                write(line, &mut plane[row..]);
            }
        }
    }
}

/// Writes normalised values `[position][16-channel block][image][16 channels]` in the order
/// `[image][channel][position]`.
#[inline(always)]
fn write_features<S: Simd>(
    simd: S,
    shape: &BlockShape,
    values: &[Line],
    scale: &[Line],
    shift: &[Line],
    out: &mut [f32],
) {
    let (positions, blocks) = (shape.out_positions(), shape.out_blocks());
    let rows = out.len() / shape.out_features();
    // Block by block, so that only as many streams as there are positions are read at a time.
    for block in 0..blocks {
        let (scale, shift) = (scale[block].load(simd), shift[block].load(simd));
        for (row, image) in out.chunks_exact_mut(shape.out_features()).enumerate() {
            for position in (0..positions).step_by(LANES) {
                let mut tile = [Line::ZERO; LANES];
                for (line, position) in tile.iter_mut().zip(position..positions) {
                    line.store(values[(position * blocks + block) * rows + row].load(simd) * scale + shift);
                }
                transpose(simd, &mut tile);
                let channels = image[block * LANES * positions..].chunks_exact_mut(positions);
                for (channel, line) in channels.zip(&tile) {
                    write(line, &mut channel[position..]);
                }
            }
        }
    }
}

/// Writes as much of `line` as fits into the beginning of `out`.
#[inline(always)]
fn write(line: &Line, out: &mut [f32]) {
    match out.first_chunk_mut() {
        Some(out) => *out = line.0,
        None => out.copy_from_slice(&line.0[..out.len()]),
    }
}
