//! Products of values and gradients, of neighbours together, for the gradient of a block's weights.
//!
//! A product of a [`Span`] is linear in a kernel index, in its sources and in the results that it is part of. So the
//! kernel index gathers the product of the same sources with the sum of those results' gradients, and there are as few of
//! these products as there are of those.

use fearless_simd::{Simd, f32x16, prelude::*};

use crate::plan::{BlockShape, KERNEL, TAPS};
use crate::spans::{OF_VARIANT, Products, Span, Spans, VARIANTS, Weighted};
use crate::tile::{LANES, Line, block_products, combined};
use crate::values::Rows;

/// Gradients of rows, or of columns, and the products that they meet.
struct Term {
    gradient: Weighted,
    products: Products,
}

/// All terms of a block, span by span: what a span reads stays in the cache.
pub(crate) struct Terms {
    rows: Vec<Term>,
    columns: Vec<Term>,
    /// Columns of the values, and of the gradient.
    width: usize,
    out_width: usize,
}

impl Terms {
    pub(crate) fn new(shape: &BlockShape) -> Self {
        let of = |spans: Vec<Span>| {
            let mut terms = Vec::new();
            for span in spans {
                let shares = span.shares();
                let with_shares =
                    span.sums.into_iter().zip(shares).map(|(sum, gradient)| Term { gradient, products: sum.products });
                terms.extend(with_shares.filter(|term| !term.products.is_empty()));
            }
            terms
        };
        let spans = Spans::forward(shape);
        Self { rows: of(spans.rows), columns: of(spans.columns), width: shape.width, out_width: shape.out_width() }
    }
}

/// One chunk's gradients, and the size of its values.
pub(crate) struct Factors<'a> {
    /// Images in the chunk.
    pub(crate) rows: usize,
    /// Channel blocks of the values, and of the gradient.
    pub(crate) inputs: usize,
    pub(crate) outputs: usize,
    /// `[position][channel block][image]`.
    pub(crate) gradient: &'a [Line],
}

/// Which sums, by row and column variant, hold something.
pub(crate) type Begun = [bool; VARIANTS * VARIANTS];

/// Lines of the sums of one output block.
pub(crate) fn sums_each(inputs: usize) -> usize {
    VARIANTS * VARIANTS * inputs * LANES
}

/// Lines of scratch that `outputs` output blocks need.
pub(crate) fn scratch_len(terms: &Terms, rows: usize, inputs: usize, outputs: usize) -> usize {
    let products = terms.rows.iter().map(|term| term.products.len()).max().unwrap_or(0);
    rows * ((products * terms.width + 1) * inputs + (terms.out_width + 1) * outputs)
}

impl Factors<'_> {
    /// Adds the products of the output blocks from `first` on to `sums`,
    /// `[output block][row variant][column variant][input block][16 input channels]`, of which those that are `begun` are held.
    #[inline(always)]
    #[expect(clippy::too_many_arguments, reason = "one call, all of it needed")]
    pub(crate) fn add_products<S: Simd>(
        &self,
        simd: S,
        terms: &Terms,
        values: &mut Rows,
        first: usize,
        scratch: &mut [Line],
        begun: &mut Begun,
        sums: &mut [Line],
    ) {
        let count = sums.len() / sums_each(self.inputs);
        let value_brick = self.inputs * self.rows;
        let value_row = terms.width * value_brick;
        let gradient_brick = count * self.rows;
        let (value, scratch) = scratch.split_at_mut(value_brick);
        let (gradient, scratch) = scratch.split_at_mut(gradient_brick);
        let (gradients, value_rows) = scratch.split_at_mut(terms.out_width * gradient_brick);
        for row in &terms.rows {
            let made = gradients.chunks_exact_mut(gradient_brick).enumerate();
            let gradients: Vec<&[Line]> = made
                .map(|(x, made)| {
                    let position = |y: usize| (y * terms.out_width + x) * self.outputs + first;
                    let brick = |y| &self.gradient[position(y) * self.rows..][..gradient_brick];
                    combined(simd, &row.gradient, brick, made)
                })
                .collect();
            values.make(simd, &row.products);
            let made = value_rows.chunks_exact_mut(value_row);
            let of_row = |y| values.row(y);
            let values: Vec<(usize, &[Line])> = (row.products.iter().zip(made))
                .map(|(product, made)| (product.variant, combined(simd, &product.sources, of_row, made)))
                .collect();
            for column in &terms.columns {
                let gradient = combined(simd, &column.gradient, |x| gradients[x], gradient);
                for (row_variant, values) in &values {
                    for product in &column.products {
                        let brick = |x: usize| &values[x * value_brick..][..value_brick];
                        let value = combined(simd, &product.sources, brick, value);
                        let variant = row_variant * VARIANTS + product.variant;
                        let held = std::mem::replace(&mut begun[variant], true);
                        let first = variant * self.inputs;
                        for (input, value) in value.chunks_exact(self.rows).enumerate() {
                            let sums = sums.chunks_exact_mut(sums_each(self.inputs));
                            for (sums, gradient) in sums.zip(gradient.chunks_exact(self.rows)) {
                                let sums = &mut sums[(first + input) * LANES..][..LANES];
                                block_products(simd, held, sums, value, gradient);
                            }
                        }
                    }
                }
            }
        }
    }
}

/// From sums by variants to products by taps, `[output block][tap][input channel]`: a kernel index has its share of each variant.
#[inline(always)]
pub(crate) fn fold<S: Simd>(simd: S, inputs: usize, begun: &Begun, sums: &[Line], products: &mut [Line]) {
    let panel = inputs * LANES;
    let shares =
        |k: usize| OF_VARIANT.iter().map(move |shares| shares[k]).enumerate().filter(|(_, share)| *share != 0.0);
    let outputs = sums.chunks_exact(sums_each(inputs)).zip(products.chunks_exact_mut(TAPS * panel));
    for (sums, products) in outputs {
        for (tap, products) in products.chunks_exact_mut(panel).enumerate() {
            // First lines of the variants, and their shares.
            let mut parts = Vec::with_capacity(VARIANTS * VARIANTS);
            for (row, row_share) in shares(tap / KERNEL) {
                for (column, column_share) in shares(tap % KERNEL) {
                    if begun[row * VARIANTS + column] {
                        parts.push(((row * VARIANTS + column) * panel, row_share * column_share));
                    }
                }
            }
            for (line, product) in products.iter_mut().enumerate() {
                let mut total = f32x16::splat(simd, 0.0);
                for (first, share) in &parts {
                    total = f32x16::splat(simd, *share).mul_add(sums[first + line].load(simd), total);
                }
                product.store(total);
            }
        }
    }
}
