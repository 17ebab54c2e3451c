//! The values that a block reads: kept since the block before made them, or made once more.

use std::cell::Cell;

use fearless_simd::Simd;

use crate::first_block::FromPlanes;
use crate::plan::Chunk;
use crate::spans::Product;
use crate::tile::Line;
use crate::workspace::lines;

/// Values of a whole batch.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Values<'a> {
    /// `[chunk][row][column][channel block][image]`.
    Kept(&'a [Line]),
    /// The first block's, from the images.
    Made(FromPlanes<'a>),
}

impl<'a> Values<'a> {
    /// A chunk's rows, `height` of them, of `each` lines an image.
    pub(crate) fn rows(self, chunk: Chunk, height: usize, each: usize) -> Rows<'a> {
        let each_row = each * chunk.rows;
        match self {
            Self::Kept(values) => Rows { each: each_row, source: Source::Kept(chunk.of(values, height * each)) },
            Self::Made(from) => {
                let mut made = MADE.take();
                lines(&mut made, height * each_row);
                Rows { each: each_row, source: Source::Made { from, chunk, lines: made, done: vec![false; height] } }
            }
        }
    }
}

thread_local! {
    /// Where rows are made, kept from one task to the next of a thread.
    static MADE: Cell<Vec<Line>> = const { Cell::new(Vec::new()) };
}

/// Rows of a chunk's values, `[column][channel block][image]` each.
pub(crate) struct Rows<'a> {
    /// Lines of a row.
    each: usize,
    source: Source<'a>,
}

enum Source<'a> {
    Kept(&'a [Line]),
    Made { from: FromPlanes<'a>, chunk: Chunk, lines: Vec<Line>, done: Vec<bool> },
}

impl Rows<'_> {
    /// Makes those that `products` read and that are not there yet.
    #[inline(always)]
    pub(crate) fn make<S: Simd>(&mut self, simd: S, products: &[Product]) {
        let Source::Made { from, chunk, lines, done } = &mut self.source else { return };
        for &(y, _) in products.iter().flat_map(|product| &product.sources) {
            if !std::mem::replace(&mut done[y], true) {
                from.row(simd, *chunk, y, &mut lines[y * self.each..][..self.each]);
            }
        }
    }

    /// One that is there.
    pub(crate) fn row(&self, y: usize) -> &[Line] {
        let lines = match &self.source {
            Source::Kept(lines) => lines,
            Source::Made { lines, .. } => &lines[..],
        };
        &lines[y * self.each..][..self.each]
    }
}

impl Drop for Rows<'_> {
    fn drop(&mut self) {
        if let Source::Made { lines, .. } = &mut self.source {
            MADE.set(std::mem::take(lines));
        }
    }
}
