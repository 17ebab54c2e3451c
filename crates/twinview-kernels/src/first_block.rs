//! The first block, whose input are images in planes: its values, and its way back.

use fearless_simd::{Level, Simd, dispatch, f32x16, prelude::*};
use rayon::prelude::*;
use smallvec::SmallVec;

use crate::backward::{Inverse, Onward};
use crate::layout::{chunk_to_planes, to_planes};
use crate::normalise::{MOMENTS, Moments, add, add_brick};
use crate::pack;
use crate::plan::{BlockShape, Chunk, TAPS, rows};
use crate::stack::BlockParameters;
use crate::tile::{LANES, Line, panel_from_planes, plane_products, tiles, with_rows};
use crate::workspace::Buffer;

/// A batch's images in planes, and what the first block makes its values of them with.
#[derive(Debug)]
pub(crate) struct Images {
    planes: Buffer<f32>,
    /// [Packed](pack::planes).
    weights: Buffer<Line>,
    bias: Vec<Line>,
}

impl Images {
    /// From `images`, `[image][channel][position]`, for a block of this `shape`.
    pub(crate) fn new(
        level: Level,
        images: &[f32],
        shape: &BlockShape,
        block: &BlockParameters,
        chunks: &[Chunk],
    ) -> Self {
        Self::with(shape, block, to_planes(level, images, shape.in_features(), chunks))
    }

    /// The same, and each group's batch statistics of the block's values, which are not kept. They are made while a chunk's planes
    /// are in the cache.
    pub(crate) fn with_moments(
        level: Level,
        images: &[f32],
        shape: &BlockShape,
        block: &BlockParameters,
        chunks: &[Chunk],
        groups: usize,
    ) -> (Self, Vec<Moments>) {
        let mut all = Self::with(shape, block, Buffer::new(images.len()));
        let each = MOMENTS * shape.out_blocks() * LANES;
        let of_chunk = shape.out_height() * each;
        let mut moments = Buffer::new(chunks.len() * of_chunk);
        let tasks = rows(&mut all.planes, chunks, 1, shape.in_features()).into_par_iter();
        tasks.zip(moments.par_chunks_mut(of_chunk)).with_max_len(1).for_each(|(task, moments)| {
            let images = task.chunk.of(images, shape.in_features());
            dispatch!(level, simd => chunk_to_planes(simd, images, shape.in_features(), task.data));
            let chunk = Chunk { first: 0, ..task.chunk };
            let from = FromPlanes { shape, planes: task.data, weights: &all.weights, bias: &all.bias };
            // Row by row, for a thread that is done with its chunks to share in the last one.
            moments.par_chunks_mut(each).enumerate().with_max_len(1).for_each(|(y, moments)| {
                dispatch!(level, simd => from.moments(simd, chunk, y, moments));
            });
        });
        let count = images.len() / shape.in_features() / groups * shape.out_positions();
        let moments = Moments::of_groups(&moments, each, chunks, groups, count, shape.out_channels);
        (all, moments)
    }

    fn with(shape: &BlockShape, block: &BlockParameters, planes: Buffer<f32>) -> Self {
        Self { planes, weights: pack::planes(shape, block.weight), bias: pack::channels(block.bias) }
    }

    /// The values of the block, whose `shape` it is.
    pub(crate) fn values<'a>(&'a self, shape: &'a BlockShape) -> FromPlanes<'a> {
        FromPlanes { shape, planes: &self.planes, weights: &self.weights, bias: &self.bias }
    }
}

/// What makes the first block's values, before normalisation.
#[derive(Clone, Copy, Debug)]
pub(crate) struct FromPlanes<'a> {
    pub(crate) shape: &'a BlockShape,
    pub(crate) planes: &'a [f32],
    pub(crate) weights: &'a [Line],
    pub(crate) bias: &'a [Line],
}

/// First plane value and weight line of each tap of a position.
type Steps = SmallVec<[(usize, usize); TAPS]>;

impl FromPlanes<'_> {
    /// Row `y` of a chunk, `[column][channel block][image]`.
    #[inline(always)]
    pub(crate) fn row<S: Simd>(&self, simd: S, chunk: Chunk, y: usize, out: &mut [Line]) {
        let mut steps = Steps::new();
        for (x, out) in out.chunks_exact_mut(self.shape.out_blocks() * chunk.rows).enumerate() {
            self.steps(chunk, y, x, &mut steps);
            for (output, out) in out.chunks_exact_mut(chunk.rows).enumerate() {
                self.brick(simd, chunk, &steps, output, out);
            }
        }
    }

    /// Makes `steps` those of a position.
    fn steps(&self, chunk: Chunk, y: usize, x: usize, steps: &mut Steps) {
        let (channels, positions) = (self.shape.in_channels, self.shape.in_positions());
        steps.clear();
        for (tap, position) in self.shape.taps(y, x) {
            for channel in 0..channels {
                steps.push(((channel * positions + position) * chunk.rows, tap * channels + channel));
            }
        }
    }

    /// One channel block of a position.
    #[inline(always)]
    fn brick<S: Simd>(&self, simd: S, chunk: Chunk, steps: &[(usize, usize)], output: usize, out: &mut [Line]) {
        let panel = TAPS * self.shape.in_channels;
        let planes = chunk.of(self.planes, self.shape.in_features());
        panel_from_planes(simd, self.bias[output], planes, &self.weights[output * panel..][..panel], steps, out);
    }

    /// The moments of row `y` of a chunk.
    #[inline(always)]
    fn moments<S: Simd>(&self, simd: S, chunk: Chunk, y: usize, moments: &mut [f64]) {
        moments.fill(0.0);
        let (mut brick, mut steps) = (Buffer::new(chunk.rows), Steps::new());
        for x in 0..self.shape.out_width() {
            self.steps(chunk, y, x, &mut steps);
            for output in 0..self.shape.out_blocks() {
                self.brick(simd, chunk, &steps, output, &mut brick);
                add_brick(simd, &brick, moments, output * LANES);
            }
        }
    }
}

/// Takes the gradient of the block's normalised values back through normalisation and ReLU and, while it is in the cache,
/// sums its products with the images: the gradients of weights and bias.
pub(crate) struct FirstBlock<'a> {
    pub(crate) from: FromPlanes<'a>,
    /// Its values, where they are kept.
    pub(crate) kept: Option<&'a [Line]>,
    pub(crate) inverses: &'a [Inverse],
    /// Whether the images' gradient is asked for, which needs the convolution's output's.
    pub(crate) with_input: bool,
}

impl Onward for FirstBlock<'_> {
    /// `[output block][input channel][tap]`, a line each, and a line of the bias for each output block.
    fn sums(&self) -> usize {
        self.from.shape.out_blocks() * (self.panel() + 1) * LANES
    }

    fn is_kept(&self) -> bool {
        self.with_input
    }

    #[inline(always)]
    fn row<S: Simd>(&self, simd: S, chunk: Chunk, height: usize, y: usize, gradient: &mut [Line], sums: &mut [f64]) {
        let (shape, panel, rows) = (self.from.shape, self.panel(), chunk.rows);
        let outputs = shape.out_blocks();
        let planes = chunk.of(self.from.planes, shape.in_features());
        let kept = self.kept.map(|values| chunk.row(values, height, shape.out_width() * outputs, y));
        let mut made = vec![Line::ZERO; rows];
        let mut steps = Steps::new();
        let is_read_again = self.with_input || tiles::<S>(panel).nth(1).is_some();
        // A padding tap reads zeros, which keeps the tiles the same everywhere.
        let padding = vec![0.0; rows];
        let mut inputs = vec![&padding[..]; panel];
        let mut products = vec![Line::ZERO; outputs * panel];
        let (of_products, of_biases) = sums.split_at_mut(outputs * panel * LANES);
        for (index, gradient) in gradient.chunks_exact_mut(rows).enumerate() {
            let (x, output) = (index / outputs, index % outputs);
            if output == 0 {
                self.from.steps(chunk, y, x, &mut steps);
                inputs.fill(&padding);
                for &(first, weight) in &steps {
                    let (tap, channel) = (weight / shape.in_channels, weight % shape.in_channels);
                    inputs[channel * TAPS + tap] = &planes[first..first + rows];
                }
            }
            let values = match kept {
                Some(values) => &values[index * rows..][..rows],
                None => {
                    self.from.brick(simd, chunk, &steps, output, &mut made);
                    &made
                }
            };
            let products = &mut products[output * panel..][..panel];
            let inverse = self.inverses[chunk.group].block(simd, output);
            let mut total = f32x16::splat(simd, 0.0);
            for (first, count) in tiles::<S>(panel) {
                let (inputs, products) = (&inputs[first..first + count], &mut products[first..first + count]);
                if first == 0 {
                    // Taken back by the first tile: values that are kept are fetched from memory while there is much to compute.
                    with_rows!(S, count, R => plane_products::<S, R>(
                        simd,
                        products,
                        inputs,
                        #[inline(always)]
                        |n| {
                            let back = inverse.apply(gradient[n].load(simd), values[n].load(simd));
                            total += back;
                            if is_read_again {
                                gradient[n].store(back);
                            }
                            back
                        },
                    ));
                } else {
                    with_rows!(S, count, R => plane_products::<S, R>(
                        simd,
                        products,
                        inputs,
                        #[inline(always)]
                        |n| gradient[n].load(simd),
                    ));
                }
            }
            for (sum, value) in of_biases[output * LANES..].iter_mut().zip(total.to_array()) {
                *sum += f64::from(value);
            }
        }
        for (sums, product) in of_products.chunks_exact_mut(LANES).zip(&products) {
            sums.iter_mut().zip(product.0).for_each(|(sum, product)| *sum += f64::from(product));
        }
    }
}

impl FirstBlock<'_> {
    /// Weights of an output channel.
    fn panel(&self) -> usize {
        self.from.shape.in_channels * TAPS
    }
}

/// Gradients of the weights `[out, in, 3, 3]` and of the bias, from the sums of all rows.
pub(crate) fn gradients(shape: &BlockShape, rows: &[f64]) -> (Vec<f32>, Vec<f32>) {
    let panel = shape.in_channels * TAPS;
    let mut totals = vec![0.0; shape.out_blocks() * (panel + 1) * LANES];
    for row in rows.chunks_exact(totals.len()) {
        add(&mut totals, row);
    }
    let (products, biases) = totals.split_at(shape.out_blocks() * panel * LANES);
    let weight = |index: usize| {
        let (output, i) = (index / panel, index % panel);
        products[(output / LANES * panel + i) * LANES + output % LANES] as f32
    };
    let weights = (0..shape.out_channels * panel).map(weight).collect();
    (weights, biases[..shape.out_channels].iter().map(|&bias| bias as f32).collect())
}
