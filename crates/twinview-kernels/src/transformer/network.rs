//! All blocks on plain slices: forward and backward.
//!
//! A few images at a time pass all blocks, so that what lies between stays in the cache. On the way back, strands of such
//! chunks, cut by the batch alone, sum up gradients of the weights, and these are added in order.

use fearless_simd::{Level, Simd, dispatch};
use rayon::prelude::*;

use super::Transformer;
use super::block::Part;
use crate::pack::channels;
use crate::product::Panels;
use crate::tile::{LANES, Line};
use crate::workspace::{Buffer, zeros};

/// About how many tokens of a chunk: many meet each weight that is fetched, and what lies between stays in the second-level cache.
const CHUNK_TOKENS: usize = 200;

/// Most strands on the way back. Each has gradients of all weights.
const STRANDS: usize = 16;

/// Least chunks of a strand, to make up for adding its gradients.
const STRAND_CHUNKS: usize = 4;

/// Sizes of the network.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sizes {
    /// Tokens of an image.
    pub(crate) length: usize,
    pub(crate) width: usize,
    pub(crate) hidden: usize,
    pub(crate) head: usize,
    pub(crate) depth: usize,
    pub(crate) epsilon: f32,
}

/// A normalisation's parameters.
#[derive(Clone, Debug)]
pub(crate) struct Norm<V> {
    pub(crate) gamma: V,
    pub(crate) beta: V,
}

/// A linear layer's.
#[derive(Clone, Debug)]
pub(crate) struct Linear<W, V> {
    pub(crate) weight: W,
    pub(crate) bias: V,
}

/// A block's: weights in one form, values of each channel in another.
#[derive(Clone, Debug)]
pub(crate) struct Values<W, V> {
    pub(crate) norm1: Norm<V>,
    pub(crate) qkv: Linear<W, V>,
    pub(crate) proj: Linear<W, V>,
    pub(crate) norm2: Norm<V>,
    pub(crate) fc1: Linear<W, V>,
    pub(crate) fc2: Linear<W, V>,
}

/// A block's parameters as they are: weights `[inputs, outputs]`.
pub(crate) type Parameters<'a> = Values<&'a [f32], &'a [f32]>;

/// Made ready for products.
pub(super) type Packed = Values<Panels, Vec<Line>>;

impl Sizes {
    /// For tokens of the given sizes.
    ///
    /// # Panics
    /// When the parameters do not fit them or one another.
    pub(crate) fn new(length: usize, width: usize, transformer: &Transformer) -> Self {
        let Transformer { blocks, head, epsilon } = transformer;
        assert!(length > 0 && !blocks.is_empty(), "at least one token and one block");
        assert!(*head > 0 && width.is_multiple_of(*head), "{width} features in heads of {head}");
        let [_, hidden] = blocks[0].fc1.weight.dims();
        let sizes = Self { length, width, hidden, head: *head, depth: blocks.len(), epsilon: *epsilon };
        for block in blocks {
            for (norm, name) in [(&block.norm1, "norm1"), (&block.norm2, "norm2")] {
                assert!(norm.gamma.dims() == [width] && norm.beta.dims() == [width], "{name} of {width} features");
            }
            let layers = [(&block.qkv, "qkv"), (&block.proj, "proj"), (&block.fc1, "fc1"), (&block.fc2, "fc2")];
            for ((layer, name), weight) in layers.into_iter().zip(sizes.weights()) {
                let fits = layer.weight.dims() == weight && layer.bias.dims() == weight[1..];
                assert!(fits, "{name} has weights of {weight:?}");
            }
        }
        sizes
    }

    /// Whether all widths are whole lines.
    pub(crate) fn fill_lines(&self) -> bool {
        self.head.is_multiple_of(LANES) && self.hidden.is_multiple_of(LANES)
    }

    /// Inputs and outputs of a block's linear layers.
    fn weights(&self) -> [[usize; 2]; 4] {
        let Self { width, hidden, .. } = *self;
        [[width, 3 * width], [width, width], [width, hidden], [hidden, width]]
    }

    /// A block's parameters, each made from its rows and columns, in the order in which a network has them. Values of each
    /// channel are one row.
    pub(crate) fn values<T>(&self, mut of: impl FnMut(usize, usize) -> T) -> Values<T, T> {
        let [qkv, proj, fc1, fc2] = self.weights();
        Values {
            norm1: Norm::new(self.width, &mut of),
            qkv: Linear::new(qkv, &mut of),
            proj: Linear::new(proj, &mut of),
            norm2: Norm::new(self.width, &mut of),
            fc1: Linear::new(fc1, &mut of),
            fc2: Linear::new(fc2, &mut of),
        }
    }

    /// All blocks' parameters, of the values of each.
    pub(crate) fn parameters<'a>(&self, values: &[&'a [f32]]) -> Vec<Parameters<'a>> {
        let mut values = values.iter();
        let mut next = |rows, columns| {
            let values = *values.next().expect("all parameters");
            assert_eq!(values.len(), rows * columns, "a parameter of {rows} × {columns}");
            values
        };
        (0..self.depth).map(|_| self.values(&mut next)).collect()
    }

    /// Values of all parameters.
    pub(crate) fn count(&self) -> usize {
        let mut total = 0;
        self.values(|rows, columns| total += rows * columns);
        self.depth * total
    }

    /// The network as block `index` sees it, for `images`.
    fn part(&self, index: usize, images: usize) -> Part<'_> {
        Part { sizes: self, images, asked: if index + 1 == self.depth { 1 } else { self.length } }
    }

    /// Lines of the tape of `images`.
    fn tape(&self, images: usize) -> usize {
        (0..self.depth).map(|index| self.part(index, images).tape().lines()).sum()
    }

    /// Images of a chunk.
    fn chunk(&self) -> usize {
        (CHUNK_TOKENS / self.length).max(1)
    }

    /// Images of a strand.
    fn strand(&self, images: usize) -> usize {
        images.div_ceil(self.chunk()).div_ceil(STRANDS).max(STRAND_CHUNKS) * self.chunk()
    }

    /// Values of an image's tokens.
    fn image(&self) -> usize {
        self.length * self.width
    }
}

impl<T> Norm<T> {
    fn new(width: usize, of: &mut impl FnMut(usize, usize) -> T) -> Self {
        Self { gamma: of(1, width), beta: of(1, width) }
    }
}

impl<T> Linear<T, T> {
    fn new([inputs, outputs]: [usize; 2], of: &mut impl FnMut(usize, usize) -> T) -> Self {
        Self { weight: of(inputs, outputs), bias: of(1, outputs) }
    }
}

/// Each block's parameters, with weights as `panels` makes them of values and their number of outputs.
fn pack(parameters: &[Parameters], panels: impl Fn(&[f32], usize) -> Panels) -> Vec<Packed> {
    let norm = |norm: &Norm<&[f32]>| Norm { gamma: channels(norm.gamma), beta: channels(norm.beta) };
    let linear = |layer: &Linear<&[f32], &[f32]>| Linear {
        weight: panels(layer.weight, layer.bias.len()),
        bias: channels(layer.bias),
    };
    let block = |block: &Parameters| Packed {
        norm1: norm(&block.norm1),
        qkv: linear(&block.qkv),
        proj: linear(&block.proj),
        norm2: norm(&block.norm2),
        fc1: linear(&block.fc1),
        fc2: linear(&block.fc2),
    };
    parameters.iter().map(block).collect()
}

/// What the way back needs.
#[derive(Debug)]
pub(crate) struct Tape {
    level: Level,
    sizes: Sizes,
    /// Chunk by chunk, and block by block in each.
    lines: Buffer<Line>,
}

/// The first token of each image, `[images, width]`, behind all blocks.
pub(crate) fn forward(level: Level, sizes: &Sizes, parameters: &[Parameters], tokens: &[f32]) -> (Vec<f32>, Tape) {
    let blocks = pack(parameters, Panels::new);
    let images = tokens.len() / sizes.image();
    let mut out = vec![0.0; images * sizes.width];
    let mut lines = Buffer::new(sizes.tape(images));
    let (chunk, each) = (sizes.chunk(), sizes.tape(1));
    let chunks = out.par_chunks_mut(chunk * sizes.width).zip(tokens.par_chunks(chunk * sizes.image()));
    chunks.zip(lines.par_chunks_mut(chunk * each)).with_max_len(1).for_each(|((out, tokens), lines)| {
        dispatch!(level, simd => chunk_forward(simd, sizes, &blocks, tokens, lines, true, out));
    });
    (out, Tape { level, sizes: *sizes, lines })
}

/// The same without a tape.
pub(crate) fn inference(level: Level, sizes: &Sizes, parameters: &[Parameters], tokens: &[f32]) -> Vec<f32> {
    let blocks = pack(parameters, Panels::new);
    let mut out = vec![0.0; tokens.len() / sizes.image() * sizes.width];
    let chunk = sizes.chunk();
    let chunks = out.par_chunks_mut(chunk * sizes.width).zip(tokens.par_chunks(chunk * sizes.image()));
    chunks.with_max_len(1).for_each(|(out, tokens)| {
        let images = tokens.len() / sizes.image();
        let largest = (0..sizes.depth).map(|index| sizes.part(index, images).tape().lines()).max().unwrap_or(0);
        let mut lines = Buffer::new(largest);
        dispatch!(level, simd => chunk_forward(simd, sizes, &blocks, tokens, &mut lines, false, out));
    });
    out
}

/// A chunk through all blocks, whose tapes are kept one behind the other, or take one another's place.
fn chunk_forward<S: Simd>(
    simd: S,
    sizes: &Sizes,
    blocks: &[Packed],
    tokens: &[f32],
    tapes: &mut [Line],
    keep: bool,
    out: &mut [f32],
) {
    let images = tokens.len() / sizes.image();
    let mut between = Buffer::new(tokens.len() / LANES);
    to_lines(tokens, sizes.width, &mut between);
    let mut first = 0;
    for (index, block) in blocks.iter().enumerate() {
        let part = sizes.part(index, images);
        let lines = part.tape();
        let mut tape = lines.of_mut(&mut tapes[first..first + lines.lines()]);
        tape.input.copy_from_slice(&between);
        part.forward(simd, block, &mut tape, &mut between[..lines.middle]);
        first += if keep { lines.lines() } else { 0 };
    }
    from_lines(&between[..images * sizes.width / LANES], sizes.width, out);
}

/// Rows of `width` values as `[16-channel block][row]`.
fn to_lines(values: &[f32], width: usize, lines: &mut [Line]) {
    let rows = values.len() / width;
    for (row, values) in values.chunks_exact(width).enumerate() {
        for (line, values) in lines[row..].iter_mut().step_by(rows).zip(values.as_chunks().0) {
            line.0 = *values;
        }
    }
}

/// The way back from [`to_lines`].
fn from_lines(lines: &[Line], width: usize, values: &mut [f32]) {
    let rows = values.len() / width;
    for (row, values) in values.chunks_exact_mut(width).enumerate() {
        for (line, values) in lines[row..].iter().step_by(rows).zip(values.as_chunks_mut().0) {
            *values = line.0;
        }
    }
}

/// Gradients of the tokens, and of each parameter, from that of what [`forward`] gave.
pub(crate) fn backward(tape: &Tape, parameters: &[Parameters], gradient: &[f32]) -> (Vec<f32>, Vec<Vec<f32>>) {
    let Tape { level, sizes, lines } = tape;
    let blocks = pack(parameters, Panels::transposed);
    let images = gradient.len() / sizes.width;
    let mut tokens = zeros(images * sizes.image());
    let (strand, chunk, each) = (sizes.strand(images), sizes.chunk(), sizes.tape(1));
    let strands = tokens.par_chunks_mut(strand * sizes.image()).zip(gradient.par_chunks(strand * sizes.width));
    let strands = strands.zip(lines.par_chunks(strand * each)).map(|((tokens, gradient), lines)| {
        let mut sums = Buffer::new(sizes.count() / LANES);
        sums.fill(Line::ZERO);
        let chunks = tokens.chunks_mut(chunk * sizes.image()).zip(gradient.chunks(chunk * sizes.width));
        for ((tokens, gradient), lines) in chunks.zip(lines.chunks(chunk * each)) {
            dispatch!(*level, simd => chunk_backward(simd, sizes, &blocks, lines, gradient, &mut sums, tokens));
        }
        sums
    });
    let strands: Vec<Buffer<Line>> = strands.with_max_len(1).collect();
    (tokens, add_strands(sizes, strands))
}

/// A chunk back through all blocks. Adds gradients of the parameters to `sums`.
fn chunk_backward<S: Simd>(
    simd: S,
    sizes: &Sizes,
    blocks: &[Packed],
    mut tapes: &[Line],
    gradient: &[f32],
    mut sums: &mut [Line],
    tokens: &mut [f32],
) {
    let images = gradient.len() / sizes.width;
    let mut back = Buffer::new(gradient.len() / LANES);
    to_lines(gradient, sizes.width, &mut back);
    let each = sizes.count() / sizes.depth / LANES;
    for (index, block) in blocks.iter().enumerate().rev() {
        let part = sizes.part(index, images);
        let lines = part.tape();
        let tape = tapes.split_off(tapes.len() - lines.lines()..).expect("a tape of each block");
        let mut sums = sums.split_off_mut(index * each..).expect("sums of each block");
        let mut sums = sizes.values(|rows, columns| sums.split_off_mut(..rows * columns / LANES).expect("sums"));
        back = part.backward(simd, block, &lines.of(tape), back, &mut sums);
    }
    from_lines(&back, sizes.width, tokens);
}

/// The strands' sums in one, each parameter's as it lies.
fn add_strands(sizes: &Sizes, mut strands: Vec<Buffer<Line>>) -> Vec<Vec<f32>> {
    /// Lines of a task.
    const TASK: usize = 1024;
    if strands.is_empty() {
        let mut none = Buffer::new(sizes.count() / LANES);
        none.fill(Line::ZERO);
        strands.push(none);
    }
    let (total, others) = strands.split_first_mut().expect("a strand at least");
    total.par_chunks_mut(TASK).enumerate().for_each(|(task, total)| {
        for other in others.iter() {
            for (total, other) in total.iter_mut().zip(&other[task * TASK..]) {
                total.0.iter_mut().zip(other.0).for_each(|(total, other)| *total += other);
            }
        }
    });
    let blocks = total.par_chunks(sizes.count() / sizes.depth / LANES).flat_map_iter(|mut total| {
        let mut parameters = Vec::new();
        sizes.values(|rows, columns| {
            let mut values = vec![0.0; rows * columns];
            let total = total.split_off(..rows * columns / LANES).expect("all sums");
            // Matrices have a block of sixteen rows, or a line of each, and then the next sixteen columns.
            let rows = rows.min(LANES);
            for (values, total) in
                values.chunks_exact_mut(rows * columns).zip(total.chunks_exact(rows * columns / LANES))
            {
                for (block, lines) in total.chunks_exact(rows).enumerate() {
                    for (row, line) in lines.iter().enumerate() {
                        values[row * columns + block * LANES..][..LANES].copy_from_slice(&line.0);
                    }
                }
            }
            parameters.push(values);
        });
        parameters
    });
    blocks.collect()
}
