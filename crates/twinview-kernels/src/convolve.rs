//! Convolution of whole rows of positions, for the forward pass and for the input's gradient.
//!
//! Neighbours are made together ([`Span`]), in rows and in columns: 16 products where the plain way needs 36, besides the
//! middle of the kernel and the borders.

use std::cell::RefCell;

use fearless_simd::Simd;
use smallvec::SmallVec;

use crate::normalise::{AffineLines, normalised};
use crate::pack::{self, first_line};
use crate::plan::KERNEL;
use crate::spans::{Span, To};
use crate::tile::{Finish, LANES, Line, Start, Step, combined, panel};
use crate::values::Rows;
use crate::workspace::lines;

/// How a chunk's rows meet the weights.
#[derive(Clone, Copy)]
pub(crate) struct Convolution<'a> {
    /// Images in the chunk.
    pub(crate) rows: usize,
    /// Columns of the source, and its channel blocks.
    pub(crate) width: usize,
    pub(crate) blocks: usize,
    /// [Packed](pack::panel) panels.
    pub(crate) weights: &'a [Line],
    pub(crate) columns: &'a [Span],
    /// What sums begin with, a line for each panel, or nothing.
    pub(crate) bias: &'a [Line],
    /// What sources are normalised by as they are read.
    pub(crate) affine: Option<&'a AffineLines>,
    pub(crate) finish: Finish,
}

/// More parts than a sum of any span has, of rows and of columns together.
const MOST_PARTS: usize = 8;

/// As many steps as the sums of a span of columns mostly have together: more of them take memory of their own.
const MANY_STEPS: usize = 64;

/// Earlier sums that a sum begins with, and their factors.
type Parts<'a> = SmallVec<[(f32, &'a [Line]); MOST_PARTS]>;

thread_local! {
    /// Kept from one span to the next, whoever makes it.
    static SCRATCH: RefCell<Scratch> = RefCell::default();
}

/// What lies between sources and results.
#[derive(Default)]
struct Scratch {
    rows: Vec<Line>,
    row_parts: Vec<Line>,
    columns: ColumnScratch,
}

#[derive(Default)]
struct ColumnScratch {
    bricks: Vec<Line>,
    parts: Vec<Line>,
}

/// A row of sources and the kernel row variant it meets.
#[derive(Clone, Copy)]
struct Term<'a> {
    row: &'a [Line],
    variant: usize,
}

/// What the sums of a row begin with.
struct RowStart<'a> {
    /// A line for each panel, or nothing.
    same: &'a [Line],
    /// `[column][panel][image]` each.
    parts: Parts<'a>,
}

impl RowStart<'_> {
    fn same(&self, panel: usize) -> Line {
        self.same.get(panel).copied().unwrap_or(Line::ZERO)
    }

    fn parts(&self, position: usize, rows: usize) -> impl Iterator<Item = (f32, &[Line])> {
        self.parts.iter().map(move |&(factor, row)| (factor, &row[position * rows..][..rows]))
    }
}

impl<'a> Convolution<'a> {
    /// Makes the rows of `span` from those of `source`, `[column][panel][image]` each.
    #[inline(always)]
    pub(crate) fn rows<S: Simd>(&self, simd: S, span: &Span, source: &mut Rows, outs: &mut [&mut [Line]]) {
        let mut scratch = SCRATCH.take();
        let each = outs[0].len();
        let parts = lines(&mut scratch.row_parts, span.parts() * each);
        for sum in &span.sums {
            source.make(simd, &sum.products);
            let made = lines(&mut scratch.rows, sum.products.len() * self.width * self.brick());
            let mut made = made.chunks_exact_mut(self.width * self.brick());
            let mut terms: SmallVec<[Term; KERNEL]> = SmallVec::new();
            for (product, made) in sum.products.iter().zip(&mut made) {
                let of_row = |row| source.row(row);
                let row = match self.affine {
                    None => combined(simd, &product.sources, of_row, made),
                    Some(affine) => normalised(simd, &product.sources, of_row, self.rows, affine, made),
                };
                terms.push(Term { row, variant: product.variant });
            }
            let (before, out, same, finish) = match sum.to {
                To::Part(part) => {
                    let (before, rest) = parts.split_at_mut(part * each);
                    (&*before, &mut rest[..each], [].as_slice(), Finish::Keep)
                }
                To::Out(out) => (&*parts, &mut *outs[out], self.bias, self.finish),
            };
            let parts = sum.parts.iter().map(|&(part, factor)| (factor, &before[part * each..][..each])).collect();
            self.row_of(simd, &terms, &RowStart { same, parts }, finish, &mut scratch.columns, out);
        }
        SCRATCH.set(scratch);
    }

    /// Lines of a position.
    fn brick(&self) -> usize {
        self.blocks * self.rows
    }

    /// `out = finish(start + terms)`, column by column.
    #[inline(always)]
    fn row_of<S: Simd>(
        &self,
        simd: S,
        terms: &[Term],
        start: &RowStart,
        finish: Finish,
        scratch: &mut ColumnScratch,
        out: &mut [Line],
    ) {
        let each = pack::panel(self.blocks);
        let panels = self.weights.len() / each;
        if terms.is_empty() {
            for (position, out) in out.chunks_exact_mut(self.rows).enumerate() {
                let parts: Parts = start.parts(position, self.rows).collect();
                panel(simd, Start::Parts(&parts, start.same(position % panels)), &[], &[], finish, out);
            }
            return;
        }
        for span in self.columns {
            let products = span.sums.iter().map(|sum| sum.products.len()).sum::<usize>();
            let mut made =
                lines(&mut scratch.bricks, products * terms.len() * self.brick()).chunks_exact_mut(self.brick());
            // Those of one sum behind those of another.
            let mut steps: SmallVec<[Step; MANY_STEPS]> = SmallVec::new();
            for sum in &span.sums {
                for product in &sum.products {
                    for (term, made) in terms.iter().zip(&mut made) {
                        let brick = |column: usize| &term.row[column * self.brick()..(column + 1) * self.brick()];
                        let brick = combined(simd, &product.sources, brick, made);
                        steps.extend(brick.chunks_exact(self.rows).enumerate().map(|(block, source)| Step {
                            source,
                            weight: first_line(self.blocks, term.variant, product.variant) + block * LANES,
                        }));
                    }
                }
            }
            let column_parts = lines(&mut scratch.parts, span.parts() * self.rows);
            for (index, weights) in self.weights.chunks_exact(each).enumerate() {
                let mut steps = steps.as_slice();
                for sum in &span.sums {
                    let (of_sum, rest) = steps.split_at(sum.products.len() * terms.len() * self.blocks);
                    steps = rest;
                    let mut parts = Parts::new();
                    let (before, out, same, finish) = match sum.to {
                        To::Part(part) => {
                            let (before, rest) = column_parts.split_at_mut(part * self.rows);
                            (&*before, &mut rest[..self.rows], Line::ZERO, Finish::Keep)
                        }
                        To::Out(out_index) => {
                            let position = span.outs[out_index] * panels + index;
                            parts.extend(start.parts(position, self.rows));
                            let out = &mut out[position * self.rows..][..self.rows];
                            (&*column_parts, out, start.same(index), finish)
                        }
                    };
                    let of_columns = sum.parts.iter();
                    parts.extend(of_columns.map(|&(part, factor)| (factor, &before[part * self.rows..][..self.rows])));
                    panel(simd, Start::Parts(&parts, same), weights, of_sum, finish, out);
                }
            }
        }
    }
}
