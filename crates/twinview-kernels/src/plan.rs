//! Shapes, and how a batch is cut into pieces of work.
//!
//! Activations live as `[chunk][position][channel block][image][16 channels]`: a chunk is up to
//! [`CHUNK`] images of one group, a channel block one [`Line`] wide. Every product then reads and
//! writes whole cache lines in order, a padding tap is simply left out, and a stride costs nothing.
//! The cut depends on the batch alone, never on the number of threads, so neither do the results.

use crate::tile::LANES;

/// Most images in a chunk: eleven tiles of six rows, small enough that a chunk's rows stay in the cache.
const CHUNK: usize = 66;

/// Length of the kernel in each direction.
pub(crate) const KERNEL: usize = 3;

/// Kernel taps of a 3×3 convolution.
pub(crate) const TAPS: usize = KERNEL * KERNEL;

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

    /// The input coordinate that tap `k` of output `out` reads, if it is inside the image.
    pub(crate) fn input(&self, out: usize, k: usize, size: usize) -> Option<usize> {
        (out * self.stride + k).checked_sub(1).filter(|&i| i < size)
    }

    /// The output whose tap `k` reads input coordinate `input`, if it is one of `size`.
    pub(crate) fn output(&self, input: usize, k: usize, size: usize) -> Option<usize> {
        let shifted = (input + 1).checked_sub(k)?;
        (shifted % self.stride == 0).then_some(shifted / self.stride).filter(|&o| o < size)
    }
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

/// Cuts `batch` images, `groups` equal groups one after another, into chunks, as equal as can be, the larger first.
pub(crate) fn chunks(batch: usize, groups: usize) -> Vec<Chunk> {
    let size = batch / groups;
    let count = size.div_ceil(CHUNK);
    let mut chunks = Vec::with_capacity(groups * count);
    let mut first = 0;
    for group in 0..groups {
        for number in 0..count {
            let rows = size / count + usize::from(number < size % count);
            chunks.push(Chunk { group, first, rows });
            first += rows;
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

/// Cuts a buffer into so many pieces of `each` elements, which may be none.
pub(crate) fn cut<T>(mut buffer: &mut [T], each: usize, pieces: usize) -> Vec<&mut [T]> {
    let mut cut = Vec::with_capacity(pieces);
    for _ in 0..pieces {
        let (piece, rest) = buffer.split_at_mut(each);
        buffer = rest;
        cut.push(piece);
    }
    cut
}

/// Runs of chunks of one group whose weight gradients are summed in one place: at most eight a group,
/// so that a large batch does not need a copy of the weights for each of its chunks.
pub(crate) fn parts(chunks: &[Chunk]) -> Vec<&[Chunk]> {
    chunks.chunk_by(|a, b| a.group == b.group).flat_map(|group| group.chunks(group.len().div_ceil(8))).collect()
}
