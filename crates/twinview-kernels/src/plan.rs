//! Shapes, and how a batch is cut into pieces of work.
//!
//! Activations live as `[chunk][position][channel block][image][16 channels]`: a chunk is up to
//! [`CHUNK`] images of one group, a channel block one [`Line`] wide. Every product then reads and
//! writes whole cache lines in order, a padding tap is simply left out, and a stride costs nothing.
//! The cut depends on the batch alone, never on the number of threads, so neither do the results.

use crate::tile::LANES;

/// Most images in a chunk: eight tiles of six rows, small enough that a chunk's rows stay in the cache.
const CHUNK: usize = 48;

/// Length of the kernel in each direction.
pub(crate) const KERNEL: usize = 3;

/// Kernel taps of a 3×3 convolution.
pub(crate) const TAPS: usize = KERNEL * KERNEL;

/// Kernel rows, or columns, as the products use them: the three, and the sum of the two outer ones.
pub(crate) const VARIANTS: usize = 4;

/// The sum of the two outer kernel rows, or columns.
pub(crate) const OUTER: usize = 3;

/// The shape of one block: 3×3 convolution with padding 1, then ReLU, then batch normalisation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BlockShape {
    /// Input channels.
    pub in_channels: usize,
    /// Output channels.
    pub out_channels: usize,
    /// Input height in pixels.
    pub height: usize,
    /// Input width in pixels.
    pub width: usize,
    /// Step of the convolution in both directions: 1 or 2.
    pub stride: usize,
}

impl BlockShape {
    /// Output height in pixels.
    pub fn out_height(&self) -> usize {
        (self.height - 1) / self.stride + 1
    }

    /// Output width in pixels.
    pub fn out_width(&self) -> usize {
        (self.width - 1) / self.stride + 1
    }

    /// Output pixels.
    pub fn out_positions(&self) -> usize {
        self.out_height() * self.out_width()
    }

    /// Values of one image's output.
    pub fn out_features(&self) -> usize {
        self.out_channels * self.out_positions()
    }

    pub(crate) fn in_features(&self) -> usize {
        self.in_channels * self.in_positions()
    }

    pub(crate) fn in_positions(&self) -> usize {
        self.height * self.width
    }

    pub(crate) fn in_blocks(&self) -> usize {
        self.in_channels.div_ceil(LANES)
    }

    pub(crate) fn out_blocks(&self) -> usize {
        self.out_channels.div_ceil(LANES)
    }

    /// The taps that meet the image at output `(y, x)`: `(tap, input position)`, in order.
    pub(crate) fn taps(&self, y: usize, x: usize) -> impl Iterator<Item = (usize, usize)> + use<> {
        let shape = *self;
        (0..TAPS).filter_map(move |tap| {
            let row = shape.input(y, tap / KERNEL, shape.height)?;
            let column = shape.input(x, tap % KERNEL, shape.width)?;
            Some((tap, row * shape.width + column))
        })
    }

    /// Output rows, or columns, of an input `size` long, and what they read.
    pub(crate) fn forward_spans(&self, size: usize) -> Vec<Span> {
        let outputs = (size - 1) / self.stride + 1;
        let reads = |out| (0..KERNEL).filter_map(|k| Some((k, self.input(out, k, size)?))).collect();
        // With a stride of 1 it is every second output that shares an outer tap with the next.
        spans((0..3 - self.stride).flat_map(|first| (first..outputs).step_by(3 - self.stride)), reads)
    }

    /// Input rows, or columns, of an input `size` long, and the outputs whose gradients flow into them.
    pub(crate) fn backward_spans(&self, size: usize) -> Vec<Span> {
        let outputs = (size - 1) / self.stride + 1;
        let reads = |input| (0..KERNEL).filter_map(|k| Some((k, self.output(input, k, outputs)?))).collect();
        spans((0..2).flat_map(|first| (first..size).step_by(2)), reads)
    }

    /// The input coordinate that tap `k` of output `out` reads, if it is inside the image.
    pub(crate) fn input(&self, out: usize, k: usize, size: usize) -> Option<usize> {
        (out * self.stride + k).checked_sub(1).filter(|&i| i < size)
    }

    fn output(&self, input: usize, k: usize, size: usize) -> Option<usize> {
        let shifted = (input + 1).checked_sub(k)?;
        (shifted % self.stride == 0).then_some(shifted / self.stride).filter(|&o| o < size)
    }
}

/// One or two results along one direction (rows, or columns) and what they are made of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Span {
    /// A result, and its `(kernel index, source)`.
    One(usize, Vec<(usize, usize)>),
    Two(Pair),
}

/// Two results that read one source with kernel indices 0 and 2, one each.
///
/// With `a` and `b` the other outer sources and `m` the shared one, the outer taps of the two are
/// `w0 a + w2 m` and `w0 m + w2 b`: four products. `(w0 + w2) m` once, plus `w0 (a − m)`, plus `w2 (b − m)` are three:
/// S. Winograd, "Arithmetic Complexity of Computations", 1980, F(2, 2).
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Pair {
    pub(crate) outs: [usize; 2],
    pub(crate) shared: usize,
    /// The other outer source of each, as `(kernel index, source)`.
    pub(crate) outer: [(usize, usize); 2],
    /// The source of each that meets the middle of the kernel, if there is one.
    pub(crate) middle: [Option<usize>; 2],
}

impl Pair {
    fn new(outs: [usize; 2], reads: [&[(usize, usize)]; 2]) -> Option<Self> {
        let source = |i: usize, k| reads[i].iter().find(|read| read.0 == k).map(|read| read.1);
        let with_first = |first: usize| {
            let last = KERNEL - 1 - first;
            let shared = source(0, last).filter(|&shared| source(1, first) == Some(shared))?;
            let outer = [(first, source(0, first)?), (last, source(1, last)?)];
            Some(Self { outs, shared, outer, middle: [source(0, 1), source(1, 1)] })
        };
        with_first(0).or_else(|| with_first(KERNEL - 1))
    }
}

/// Takes neighbours among `outs` together where that saves products.
fn spans(outs: impl Iterator<Item = usize>, reads: impl Fn(usize) -> Vec<(usize, usize)>) -> Vec<Span> {
    let mut spans = Vec::new();
    for out in outs {
        let reads_of_out = reads(out);
        let pair = match spans.last() {
            Some(Span::One(before, reads_before)) => Pair::new([*before, out], [reads_before, &reads_of_out]),
            _ => None,
        };
        match pair {
            Some(pair) => {
                spans.pop();
                spans.push(Span::Two(pair));
            }
            None => spans.push(Span::One(out, reads_of_out)),
        }
    }
    spans
}

/// A run of images of one group, worked on together.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Chunk {
    pub(crate) group: usize,
    /// First image.
    pub(crate) first: usize,
    /// Images.
    pub(crate) rows: usize,
}

impl Chunk {
    /// This chunk's part of a buffer holding `each` elements an image.
    pub(crate) fn of<'a, T>(&self, buffer: &'a [T], each: usize) -> &'a [T] {
        &buffer[self.first * each..(self.first + self.rows) * each]
    }

    /// Row `y` of `height` rows of positions, of `each` elements an image.
    pub(crate) fn row<'a, T>(&self, buffer: &'a [T], height: usize, each: usize, y: usize) -> &'a [T] {
        &self.of(buffer, height * each)[y * each * self.rows..(y + 1) * each * self.rows]
    }
}

/// Cuts `batch` images, `groups` equal groups one after another, into chunks.
pub(crate) fn chunks(batch: usize, groups: usize) -> Vec<Chunk> {
    let size = batch / groups;
    let mut chunks = Vec::with_capacity(groups * size.div_ceil(CHUNK));
    for group in 0..groups {
        for start in (0..size).step_by(CHUNK) {
            let rows = CHUNK.min(size - start);
            chunks.push(Chunk { group, first: group * size + start, rows });
        }
    }
    chunks
}

/// One row of positions of one chunk, and the part of a buffer that holds it.
pub(crate) struct Row<'a, T> {
    pub(crate) chunk: Chunk,
    pub(crate) y: usize,
    pub(crate) data: &'a mut [T],
}

/// Cuts a buffer into rows: `height` a chunk, each with `each` elements an image.
pub(crate) fn rows<'a, T>(mut buffer: &'a mut [T], chunks: &[Chunk], height: usize, each: usize) -> Vec<Row<'a, T>> {
    let mut rows = Vec::with_capacity(chunks.len() * height);
    for &chunk in chunks {
        for y in 0..height {
            let (data, rest) = buffer.split_at_mut(chunk.rows * each);
            buffer = rest;
            rows.push(Row { chunk, y, data });
        }
    }
    rows
}

/// Deals rows, `height` a chunk, to the spans that make them.
pub(crate) fn tasks<T>(rows: impl Iterator<Item = T>, height: usize, spans: &[Span]) -> Vec<(&Span, Vec<T>)> {
    let mut rows = rows.peekable();
    let mut tasks = Vec::new();
    while rows.peek().is_some() {
        let mut chunk: Vec<Option<T>> = rows.by_ref().take(height).map(Some).collect();
        for span in spans {
            let outs: Vec<T> = match span {
                Span::One(out, _) => chunk[*out].take().into_iter().collect(),
                Span::Two(pair) => pair.outs.iter().filter_map(|&out| chunk[out].take()).collect(),
            };
            tasks.push((span, outs));
        }
    }
    tasks
}

/// Runs of chunks of one group whose weight gradients are summed in one place: at most eight a group,
/// so that a large batch does not need a copy of the weights for each of its chunks.
pub(crate) fn parts(chunks: &[Chunk]) -> Vec<&[Chunk]> {
    chunks.chunk_by(|a, b| a.group == b.group).flat_map(|group| group.chunks(group.len().div_ceil(8))).collect()
}
