//! Convolution of whole rows of positions, for the forward pass and for the input's gradient.
//!
//! Outputs that share an outer tap are made in pairs ([`Pair`]), in rows and in columns: 25 products where the plain way
//! needs 36, less what the borders take.

use fearless_simd::Simd;

use crate::plan::{BlockShape, OUTER, Pair, Span, VARIANTS};
use crate::tile::{Finish, LANES, Line, Start, Step, difference, panel};

/// Which results there are and what they read: rows, and columns.
pub(crate) struct Spans {
    pub(crate) rows: Vec<Span>,
    pub(crate) columns: Vec<Span>,
}

impl Spans {
    /// Outputs from inputs.
    pub(crate) fn forward(shape: &BlockShape) -> Self {
        Self { rows: shape.forward_spans(shape.height), columns: shape.forward_spans(shape.width) }
    }

    /// Inputs' gradients from outputs' gradients.
    pub(crate) fn backward(shape: &BlockShape) -> Self {
        Self { rows: shape.backward_spans(shape.height), columns: shape.backward_spans(shape.width) }
    }
}

/// One chunk's source and the weights it meets.
#[derive(Clone, Copy)]
pub(crate) struct Convolution<'a> {
    /// Images in the chunk.
    pub(crate) rows: usize,
    /// Columns of the source, and its channel blocks.
    pub(crate) width: usize,
    pub(crate) blocks: usize,
    /// `[row][column][channel block][image]`.
    pub(crate) source: &'a [Line],
    /// `[panel][kernel row variant][kernel column variant][channel block][16]`.
    pub(crate) weights: &'a [Line],
    pub(crate) columns: &'a [Span],
    pub(crate) finish: Finish,
}

/// What lies between sources and results, kept from one span to the next.
#[derive(Default)]
pub(crate) struct Scratch {
    row: Vec<Line>,
    common_row: Vec<Line>,
    bricks: Vec<Line>,
    common_brick: Vec<Line>,
}

/// `len` lines of any content.
fn lines(scratch: &mut Vec<Line>, len: usize) -> &mut [Line] {
    if scratch.len() < len {
        scratch.resize(len, Line::ZERO);
    }
    &mut scratch[..len]
}

/// A row of a source and the kernel row variant it meets.
#[derive(Clone, Copy)]
struct Term<'a> {
    row: &'a [Line],
    kernel: usize,
}

/// What the sums of a row begin with.
#[derive(Clone, Copy)]
enum RowStart<'a> {
    /// `[column][panel]`.
    Same(&'a [Line]),
    /// `[column][panel][image]`.
    Each(&'a [Line]),
}

impl<'a> Convolution<'a> {
    /// Makes the rows of `span`, `[column][panel][image]` each. Their sums begin with `start(row)`, `[column][panel]`, which is the same
    /// for both rows of a pair.
    #[inline(always)]
    pub(crate) fn rows<S: Simd>(
        &self,
        simd: S,
        span: &Span,
        start: impl Fn(usize) -> Vec<Line>,
        scratch: &mut Scratch,
        outs: &mut [&mut [Line]],
    ) {
        let Scratch { row: apart, common_row: common, bricks, common_brick } = scratch;
        let mut between = (bricks, common_brick);
        let between = &mut between;
        match span {
            Span::One(out, reads) => {
                let terms: Vec<Term> = reads.iter().map(|&(kernel, row)| Term { row: self.row(row), kernel }).collect();
                self.row_of(simd, &terms, RowStart::Same(&start(*out)), self.finish, between, outs[0]);
            }
            Span::Two(Pair { outs: rows, shared, outer, middle }) => {
                let shared = self.row(*shared);
                let start = start(rows[0]);
                let common = lines(common, outs[0].len());
                let term = Term { row: shared, kernel: OUTER };
                self.row_of(simd, &[term], RowStart::Same(&start), Finish::Keep, between, common);
                let apart = lines(apart, shared.len());
                for (i, out) in outs.iter_mut().enumerate() {
                    let (kernel, row) = outer[i];
                    difference(simd, self.row(row), shared, apart);
                    let outer = Term { row: apart, kernel };
                    let middle = middle[i].map(|row| Term { row: self.row(row), kernel: 1 });
                    let terms = [outer, middle.unwrap_or(outer)];
                    let terms = &terms[..1 + usize::from(middle.is_some())];
                    self.row_of(simd, terms, RowStart::Each(common), self.finish, between, out);
                }
            }
        }
    }

    fn row(&self, row: usize) -> &'a [Line] {
        let each = self.width * self.brick();
        &self.source[row * each..(row + 1) * each]
    }

    /// Lines of a position.
    fn brick(&self) -> usize {
        self.blocks * self.rows
    }

    /// First weight line of a tap's channel block.
    fn weight(&self, kernel_row: usize, kernel_column: usize, block: usize) -> usize {
        ((kernel_row * VARIANTS + kernel_column) * self.blocks + block) * LANES
    }

    #[inline(always)]
    fn row_of<S: Simd>(
        &self,
        simd: S,
        terms: &[Term],
        start: RowStart,
        finish: Finish,
        (apart, common): &mut (&mut Vec<Line>, &mut Vec<Line>),
        out: &mut [Line],
    ) {
        let each = VARIANTS * VARIANTS * self.blocks * LANES;
        let panels = self.weights.len() / each;
        let position = panels * self.rows;
        let start = |column: usize, panel: usize| match start {
            RowStart::Same(lines) => Start::Same(lines[column * panels + panel]),
            RowStart::Each(lines) => Start::Each(&lines[column * position + panel * self.rows..][..self.rows]),
        };
        // Sums and differences of the bricks of a pair of columns, `[term][which][channel block][image]`.
        let apart = lines(apart, 2 * terms.len() * self.brick());
        let common = lines(common, self.rows);
        for span in self.columns {
            match span {
                Span::One(x, reads) => {
                    let mut steps = Vec::with_capacity(terms.len() * reads.len() * self.blocks);
                    for term in terms {
                        for &(kernel, column) in reads {
                            self.push(&mut steps, &term.row[column * self.brick()..], term.kernel, kernel);
                        }
                    }
                    let outs = out[x * position..(x + 1) * position].chunks_exact_mut(self.rows);
                    for (i, (out, weights)) in outs.zip(self.weights.chunks_exact(each)).enumerate() {
                        panel(simd, start(*x, i), weights, &steps, finish, out);
                    }
                }
                Span::Two(Pair { outs, shared, outer, middle }) => {
                    let mut parts = apart.chunks_exact_mut(self.brick());
                    for term in terms {
                        let brick = |column: usize| &term.row[column * self.brick()..(column + 1) * self.brick()];
                        for (&(_, column), part) in outer.iter().zip(&mut parts) {
                            difference(simd, brick(column), brick(*shared), part);
                        }
                    }
                    let mut steps: [Vec<Step>; 3] = Default::default();
                    let mut parts = apart.chunks_exact(self.brick());
                    for term in terms {
                        let brick = |column: usize| &term.row[column * self.brick()..];
                        self.push(&mut steps[2], brick(*shared), term.kernel, OUTER);
                        for ((steps, (kernel, _)), (part, middle)) in
                            steps.iter_mut().zip(outer).zip((&mut parts).zip(middle))
                        {
                            self.push(steps, part, term.kernel, *kernel);
                            if let Some(column) = middle {
                                self.push(steps, brick(*column), term.kernel, 1);
                            }
                        }
                    }
                    for (i, weights) in self.weights.chunks_exact(each).enumerate() {
                        let begin = match start(outs[0], i) {
                            same @ Start::Same(_) => same,
                            _ => Start::Same(Line::ZERO),
                        };
                        panel(simd, begin, weights, &steps[2], Finish::Keep, common);
                        for (x, steps) in outs.iter().zip(&steps) {
                            let start = match start(*x, i) {
                                Start::Each(lines) => Start::Both(lines, common),
                                _ => Start::Each(common),
                            };
                            let out = &mut out[x * position + i * self.rows..][..self.rows];
                            panel(simd, start, weights, steps, finish, out);
                        }
                    }
                }
            }
        }
    }

    fn push<'b>(&self, steps: &mut Vec<Step<'b>>, brick: &'b [Line], kernel_row: usize, kernel_column: usize) {
        steps.extend((0..self.blocks).map(|block| Step {
            source: &brick[block * self.rows..(block + 1) * self.rows],
            weight: self.weight(kernel_row, kernel_column, block),
        }));
    }
}
