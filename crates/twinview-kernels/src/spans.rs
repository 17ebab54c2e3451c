//! Neighbouring rows, or columns, made together with fewer products.
//!
//! With a stride of 2 (or every second output of a stride of 1) neighbours share an outer source: with sources `d` and
//! outer kernel indices `g`, `y[i] = g0 d[i] + g1 d[i + 1]`, besides what the middle of the kernel adds. These are the outputs
//! of a short filter, which S. Winograd ("Arithmetic Complexity of Computations", 1980) makes with fewer products:
//!
//! - two outputs with three products instead of four: `p = (g0 + g1) d1`; `y0 = p + g0 (d0 − d1)`, `y1 = p + g1 (d2 − d1)`;
//! - three with four instead of six: `p = (g0 + g1)/2 (d1 + d2)`, `q = (g0 − g1)/2 (d2 − d1)`; `y0 = p + q + g0 (d0 − d2)`,
//!   `y1 = p − q`, `y2 = p + q + g1 (d3 − d1)`;
//! - four between borders, where `d0` and `d4` are padding, with four instead of six: `p = (g0 + g1)/2 (d1 + d2 + d3)`,
//!   `q = (g0 − g1)/2 (d1 − d2 + d3)`; `y0 = g1 d1`, `y1 = p + q − g0 d3`, `y2 = p − q − g1 d1`, `y3 = g0 d3`.

use smallvec::{SmallVec, smallvec};

use crate::plan::{BlockShape, KERNEL};

/// Kernel rows, or columns, as the products use them: the three, and what [`HALF_SUM`] and [`HALF_DIFFERENCE`] are.
pub(crate) const VARIANTS: usize = 5;

/// Half the sum of the two outer kernel rows, or columns.
pub(crate) const HALF_SUM: usize = 3;

/// Half of the first less the last kernel row, or column.
pub(crate) const HALF_DIFFERENCE: usize = 4;

/// How much of each kernel row, or column, a variant holds.
pub(crate) const OF_VARIANT: [[f32; KERNEL]; VARIANTS] =
    [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0], [0.5, 0.0, 0.5], [0.5, 0.0, -0.5]];

/// A sum of a few things, each with its factor.
pub(crate) type Weighted = SmallVec<[(usize, f32); 3]>;

/// Products of one sum.
pub(crate) type Products = SmallVec<[Product; KERNEL]>;

/// Results along one direction (rows, or columns) that are made together.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Span {
    pub(crate) outs: Vec<usize>,
    /// One after another.
    pub(crate) sums: Vec<Sum>,
}

/// `parts + products`.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Sum {
    pub(crate) to: To,
    /// Earlier sums that it begins with.
    pub(crate) parts: Weighted,
    pub(crate) products: Products,
}

/// What a sum is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum To {
    /// One of the span's results, by its index in `outs`.
    Out(usize),
    /// Part of later sums. They are numbered in the order in which they are made.
    Part(usize),
}

/// A kernel row, or column, by its variant, and the sources it meets.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Product {
    pub(crate) variant: usize,
    /// A single source has a factor of 1.
    pub(crate) sources: Weighted,
}

impl Span {
    /// Sums that are parts of others.
    pub(crate) fn parts(&self) -> usize {
        self.sums.iter().filter(|sum| matches!(sum.to, To::Part(_))).count()
    }

    /// For each sum, the results that it is part of.
    pub(crate) fn shares(&self) -> Vec<Weighted> {
        let mut of_parts = vec![vec![0.0; self.outs.len()]; self.parts()];
        let mut shares = Vec::with_capacity(self.sums.len());
        for sum in self.sums.iter().rev() {
            let share = match sum.to {
                To::Part(part) => of_parts[part].clone(),
                To::Out(out) => (0..self.outs.len()).map(|index| f32::from(u8::from(index == out))).collect(),
            };
            for &(part, factor) in &sum.parts {
                of_parts[part].iter_mut().zip(&share).for_each(|(total, share)| *total += factor * share);
            }
            let outs = self.outs.iter().copied().zip(share);
            shares.push(outs.filter(|&(_, factor)| factor != 0.0).collect());
        }
        shares.reverse();
        shares
    }

    fn part(&mut self, parts: &[(usize, f32)], variant: usize, sources: &[(usize, f32)]) {
        let products = smallvec![Product { variant, sources: sources.into() }];
        self.sums.push(Sum { to: To::Part(self.parts()), parts: parts.into(), products });
    }

    /// A result from parts, an outer product perhaps, and the middle of the kernel where that meets a source.
    fn out(&mut self, reads: &Reads, parts: &[(usize, f32)], outer: Option<(usize, [(usize, f32); 2])>) {
        let outer = outer.map(|(variant, sources)| Product { variant, sources: sources[..].into() });
        let middle = reads.sources[1].map(|source| Product { variant: 1, sources: smallvec![(source, 1.0)] });
        let to = To::Out(self.outs.len());
        self.outs.push(reads.out);
        self.sums.push(Sum { to, parts: parts.into(), products: outer.into_iter().chain(middle).collect() });
    }

    fn one(reads: &Reads) -> Self {
        let sources = reads.sources.iter().enumerate();
        let products =
            sources.filter_map(|(variant, source)| Some(Product { variant, sources: smallvec![((*source)?, 1.0)] }));
        let sum = Sum { to: To::Out(0), parts: SmallVec::new(), products: products.collect() };
        Self { outs: vec![reads.out], sums: vec![sum] }
    }

    /// Two results of `d`, whose outer kernel indices are `g0` and `g1`.
    fn two(reads: &[Reads], [g0, g1]: [usize; 2], d: [usize; 3]) -> Self {
        let mut span = Self::default();
        span.part(&[], HALF_SUM, &[(d[1], 1.0)]);
        span.out(&reads[0], &[(0, 2.0)], Some((g0, [(d[0], 1.0), (d[1], -1.0)])));
        span.out(&reads[1], &[(0, 2.0)], Some((g1, [(d[2], 1.0), (d[1], -1.0)])));
        span
    }

    fn three(reads: &[Reads], [g0, g1]: [usize; 2], d: [usize; 4]) -> Self {
        let mut span = Self::default();
        span.part(&[], HALF_SUM, &[(d[1], 1.0), (d[2], 1.0)]);
        // Half of `g0 − g1`, or of `g1 − g0`.
        let (plus, minus) = if g0 == 0 { (d[2], d[1]) } else { (d[1], d[2]) };
        span.part(&[(0, 1.0)], HALF_DIFFERENCE, &[(plus, 1.0), (minus, -1.0)]);
        span.out(&reads[0], &[(1, 1.0)], Some((g0, [(d[0], 1.0), (d[2], -1.0)])));
        span.out(&reads[1], &[(0, 2.0), (1, -1.0)], None);
        span.out(&reads[2], &[(1, 1.0)], Some((g1, [(d[3], 1.0), (d[1], -1.0)])));
        span
    }

    fn four_between_borders(reads: &[Reads], [g0, g1]: [usize; 2], d: [usize; 3]) -> Self {
        let mut span = Self::default();
        span.part(&[], g1, &[(d[0], 1.0)]);
        span.part(&[], g0, &[(d[2], 1.0)]);
        span.part(&[], HALF_SUM, &[(d[0], 1.0), (d[1], 1.0), (d[2], 1.0)]);
        span.part(&[(2, 1.0)], HALF_DIFFERENCE, &[(d[0], 1.0), (d[1], -1.0), (d[2], 1.0)]);
        let sum = [(3, 1.0)].as_slice();
        let difference = [(2, 2.0), (3, -1.0)].as_slice();
        let (second, third) = if g0 == 0 { (sum, difference) } else { (difference, sum) };
        span.out(&reads[0], &[(0, 1.0)], None);
        span.out(&reads[1], &[second, &[(1, -1.0)]].concat(), None);
        span.out(&reads[2], &[third, &[(0, -1.0)]].concat(), None);
        span.out(&reads[3], &[(1, 1.0)], None);
        span
    }
}

/// A result, and the source that meets each kernel index.
struct Reads {
    out: usize,
    sources: [Option<usize>; KERNEL],
}

impl Reads {
    /// Whether both outer kernel indices meet a source.
    fn is_full(&self) -> bool {
        self.sources[0].is_some() && self.sources[KERNEL - 1].is_some()
    }

    /// The outer kernel indices `[g0, g1]` if `next` reads with the first what this reads with the second.
    fn shares(&self, next: &Self) -> Option<[usize; 2]> {
        [[0, KERNEL - 1], [KERNEL - 1, 0]]
            .into_iter()
            .find(|&[first, last]| self.sources[last].is_some() && self.sources[last] == next.sources[first])
    }
}

/// Takes a run of neighbours together, as far as that saves products.
fn of_run(run: &[Reads], spans: &mut Vec<Span>) {
    let Some(g) = run.get(1).and_then(|second| run[0].shares(second)) else {
        spans.extend(run.iter().map(Span::one));
        return;
    };
    let d = |index: usize| run[index].sources[g[0]].expect("a shared source");
    if run.len() == 4 && !run[0].is_full() && !run[3].is_full() {
        spans.push(Span::four_between_borders(run, g, [d(1), d(2), d(3)]));
        return;
    }
    let mut at = 0;
    while at < run.len() {
        let full = run[at..].iter().take(3).take_while(|reads| reads.is_full()).count();
        let last = |index: usize| run[index].sources[g[1]].expect("a full result");
        match full {
            3 => spans.push(Span::three(&run[at..], g, [d(at), d(at + 1), d(at + 2), last(at + 2)])),
            2 => spans.push(Span::two(&run[at..], g, [d(at), d(at + 1), last(at + 1)])),
            _ => spans.push(Span::one(&run[at])),
        }
        at += full.max(1);
    }
}

fn spans(reads: &[Reads]) -> Vec<Span> {
    let mut spans = Vec::new();
    for run in reads.chunk_by(|a, b| a.shares(b).is_some()) {
        of_run(run, &mut spans);
    }
    spans
}

/// Which results there are and what they read: rows, and columns.
pub(crate) struct Spans {
    pub(crate) rows: Vec<Span>,
    pub(crate) columns: Vec<Span>,
}

impl Spans {
    /// Outputs from inputs.
    pub(crate) fn forward(shape: &BlockShape) -> Self {
        let of = |size: usize| {
            let outputs = (size - 1) / shape.stride + 1;
            let sources = |out| std::array::from_fn(|k| shape.input(out, k, size));
            // With a stride of 1 it is every second output that shares an outer source with the next.
            let step = 3 - shape.stride;
            let outs = (0..step).flat_map(|first| (first..outputs).step_by(step));
            spans(&outs.map(|out| Reads { out, sources: sources(out) }).collect::<Vec<_>>())
        };
        Self { rows: of(shape.height), columns: of(shape.width) }
    }

    /// Inputs' gradients from outputs' gradients.
    pub(crate) fn backward(shape: &BlockShape) -> Self {
        let of = |size: usize| {
            let outputs = (size - 1) / shape.stride + 1;
            let sources = |input| std::array::from_fn(|k| shape.output(input, k, outputs));
            let inputs = (0..2).flat_map(|first| (first..size).step_by(2));
            spans(&inputs.map(|out| Reads { out, sources: sources(out) }).collect::<Vec<_>>())
        };
        Self { rows: of(shape.height), columns: of(shape.width) }
    }
}

/// Deals rows, `height` a chunk, to the spans that make them.
pub(crate) fn tasks<T>(rows: impl Iterator<Item = T>, height: usize, spans: &[Span]) -> Vec<(&Span, Vec<T>)> {
    let mut rows = rows.peekable();
    let mut tasks = Vec::new();
    while rows.peek().is_some() {
        let mut chunk: Vec<Option<T>> = rows.by_ref().take(height).map(Some).collect();
        tasks.extend(spans.iter().map(|span| (span, span.outs.iter().filter_map(|&out| chunk[out].take()).collect())));
    }
    tasks
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    /// `(result, kernel index, source)` of all products, and how many times.
    fn expanded(spans: &[Span]) -> BTreeMap<(usize, usize, usize), f32> {
        let mut products = BTreeMap::new();
        for span in spans {
            for (sum, outs) in span.sums.iter().zip(span.shares()) {
                for product in &sum.products {
                    for (k, share) in OF_VARIANT[product.variant].into_iter().enumerate() {
                        for &(source, sign) in &product.sources {
                            for &(out, factor) in &outs {
                                *products.entry((out, k, source)).or_default() += share * sign * factor;
                            }
                        }
                    }
                }
            }
        }
        products.retain(|_, times| *times != 0.0);
        products
    }

    #[test]
    fn spans_are_every_product_once() {
        for stride in [1, 2] {
            for size in 1..40 {
                let shape = BlockShape { in_channels: 1, out_channels: 1, height: size, width: size, stride };
                let outs = 0..shape.out_height();
                let taps = outs.flat_map(|out| (0..KERNEL).map(move |k| (out, k)));
                let reads = taps.filter_map(|(out, k)| Some((out, k, shape.input(out, k, size)?))).collect::<Vec<_>>();
                let forward = reads.iter().map(|&read| (read, 1.0)).collect();
                assert_eq!(expanded(&Spans::forward(&shape).rows), forward, "{shape:?}");
                let backward = reads.iter().map(|&(out, k, input)| ((input, k, out), 1.0)).collect();
                assert_eq!(expanded(&Spans::backward(&shape).columns), backward, "{shape:?}");
            }
        }
    }

    #[test]
    fn neighbours_save_products() {
        let shape = |size| BlockShape { in_channels: 1, out_channels: 1, height: size, width: size, stride: 2 };
        let products =
            |spans: Vec<Span>| spans.iter().flat_map(|span| &span.sums).map(|sum| sum.products.len()).sum::<usize>();
        let forward = |size| products(Spans::forward(&shape(size)).rows);
        let backward = |size| products(Spans::backward(&shape(size)).rows);
        // Of 20, of 10, and of 17, where a pair remains.
        assert_eq!([forward(14), forward(7), forward(12)], [16, 8, 14]);
        assert_eq!([backward(14), backward(7), backward(12)], [16, 8, 14]);
    }
}
