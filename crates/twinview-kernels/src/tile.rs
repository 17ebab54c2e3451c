//! Register tiles: the inner loops of every product, written once over the SIMD level.

use fearless_simd::{Simd, f32x16, prelude::*};

/// Channels per [`Line`].
pub(crate) const LANES: usize = 16;

/// Sixteen neighbouring channels of one image at one position: one cache line.
#[derive(Clone, Copy, Debug, PartialEq)]
#[repr(C, align(64))]
pub(crate) struct Line(pub(crate) [f32; LANES]);

impl Line {
    pub(crate) const ZERO: Self = Self([0.0; LANES]);

    /// The beginning of `values`, each as `value` makes it, with zeros beyond their end.
    #[inline(always)]
    pub(crate) fn of<T: Copy>(values: &[T], value: impl Fn(T) -> f32) -> Self {
        match values.first_chunk::<LANES>() {
            Some(values) => Self(values.map(value)),
            None => Self::of_few(values, value),
        }
    }

    /// Apart, or the compiler makes of a whole line and of a few values one copy of a length that it does not know: a call for each.
    #[inline(never)]
    fn of_few<T: Copy>(values: &[T], value: impl Fn(T) -> f32) -> Self {
        let mut line = Self::ZERO;
        line.0.iter_mut().zip(values).for_each(|(to, from)| *to = value(*from));
        line
    }

    /// Writes as much as fits into the beginning of `out`.
    #[inline(always)]
    pub(crate) fn write(&self, out: &mut [f32]) {
        match out.first_chunk_mut() {
            Some(out) => *out = self.0,
            None => self.write_few(out),
        }
    }

    /// Apart, as [`of_few`](Self::of_few).
    #[inline(never)]
    fn write_few(&self, out: &mut [f32]) {
        out.copy_from_slice(&self.0[..out.len()]);
    }

    /// The sum of its values.
    #[inline(always)]
    pub(crate) fn sum(mut self) -> f32 {
        for half in [8, 4, 2, 1] {
            let (first, second) = self.0.split_at_mut(half);
            first.iter_mut().zip(second).for_each(|(sum, value)| *sum += *value);
        }
        self.0[0]
    }

    #[inline(always)]
    pub(crate) fn load<S: Simd>(&self, simd: S) -> f32x16<S> {
        f32x16::load_array_ref(simd, &self.0)
    }

    #[inline(always)]
    pub(crate) fn store<S: Simd>(&mut self, value: f32x16<S>) {
        value.store_array(&mut self.0);
    }
}

/// Fetches lines that are to be written, all at once: a write that misses the cache waits for the one before it.
#[inline(always)]
pub(crate) fn fetch(lines: &[Line]) {
    for line in lines {
        std::hint::black_box(line.0[0]);
    }
}

/// One block of a product: a source line for each row, and which sixteen weight lines meet them.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Step<'a> {
    pub(crate) source: &'a [Line],
    /// First weight line.
    pub(crate) weight: usize,
}

/// `R` rows × 16 columns: `sums + Σ source[row, k] · weight[k, column]`, the sum running over all steps
/// in order, sixteen `k` each. The accumulators never leave the registers.
#[inline(always)]
fn rows_by_columns<S: Simd, const R: usize>(
    simd: S,
    mut sums: [f32x16<S>; R],
    row: usize,
    weights: &[Line],
    steps: &[Step],
) -> [f32x16<S>; R] {
    for step in steps {
        let rows: &[Line; R] = step.source[row..row + R].try_into().expect("R rows");
        let weight: &[Line; LANES] = weights[step.weight..step.weight + LANES].try_into().expect("sixteen lines");
        // Written out: the end of a loop of sixteen turns is mispredicted, which costs a seventh of the speed.
        macro_rules! turns {
            ($($k:literal)*) => {$({
                let weight = weight[$k].load(simd);
                for r in 0..R {
                    sums[r] = f32x16::splat(simd, rows[r].0[$k]).mul_add(weight, sums[r]);
                }
            })*};
        }
        turns!(0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15);
    }
    sums
}

/// `sums[i] = start[i] + Σ left[n][i] · right[n]`, a line of channels a row `i`: sixteen channels by sixteen, or the first alone by
/// sixteen. The start is zero, or what is there already if they are `held`.
#[inline(never)]
pub(crate) fn block_products<S: Simd>(simd: S, held: bool, sums: &mut [Line], left: &[Line], right: &[Line]) {
    simd.vectorize(
        #[inline(always)]
        || {
            if sums.len() == 1 {
                strip::<S, 0, 1>(simd, held, sums, left, right);
            } else if const { is_wide::<S>() } {
                strip::<S, 0, LANES>(simd, held, sums, left, right);
            } else {
                strip::<S, 0, 6>(simd, held, sums, left, right);
                strip::<S, 6, 5>(simd, held, sums, left, right);
                strip::<S, 11, 5>(simd, held, sums, left, right);
            }
        },
    );
}

/// Rows `FIRST..FIRST + R` of a block of products. The accumulators never leave the registers.
#[inline(always)]
fn strip<S: Simd, const FIRST: usize, const R: usize>(
    simd: S,
    held: bool,
    sums: &mut [Line],
    left: &[Line],
    right: &[Line],
) {
    let sums: &mut [Line; R] = (&mut sums[FIRST..FIRST + R]).try_into().expect("R lines");
    let zero = f32x16::splat(simd, 0.0);
    let mut totals: [f32x16<S>; R] = std::array::from_fn(|i| if held { sums[i].load(simd) } else { zero });
    let (left_fours, left_rest) = left.as_chunks::<4>();
    let (right_fours, right_rest) = right.as_chunks::<4>();
    for (left, right) in left_fours.iter().zip(right_fours) {
        add_products::<S, FIRST, R, 4>(simd, &mut totals, left, right);
    }
    for (left, right) in left_rest.iter().zip(right_rest) {
        add_products::<S, FIRST, R, 1>(simd, &mut totals, &[*left], &[*right]);
    }
    for i in 0..R {
        sums[i].store(totals[i]);
    }
}

/// `sums[i] += Σ left[n][FIRST + i] · right[n]`.
#[inline(always)]
fn add_products<S: Simd, const FIRST: usize, const R: usize, const N: usize>(
    simd: S,
    sums: &mut [f32x16<S>; R],
    left: &[Line; N],
    right: &[Line; N],
) {
    for n in 0..N {
        let right = right[n].load(simd);
        for (i, sum) in sums.iter_mut().enumerate() {
            *sum = f32x16::splat(simd, left[n].0[FIRST + i]).mul_add(right, *sum);
        }
    }
}

/// Whether a register holds a whole [`Line`]. There are thirty-two such registers, and a tile of six rows, whose sums
/// take six of them, would wait for each product to end: two units, each four cycles long, want eight at least.
pub(crate) const fn is_wide<S: Simd>() -> bool {
    <S::f32s as SimdBase<S>>::LEN >= LANES
}

/// Calls `$run` with the constant `$R` equal to `$rows`, which is a height that [`tiles`] gives.
macro_rules! with_rows {
    ($S:ident, $rows:expr, $R:ident => $run:expr) => {{
        macro_rules! one_of {
            ($height:expr) => {{
                const $R: usize = $height;
                $run
            }};
        }
        match $rows {
            1 => one_of!(1),
            2 => one_of!(2),
            3 => one_of!(3),
            4 => one_of!(4),
            5 => one_of!(5),
            rows => {
                if const { $crate::tile::is_wide::<$S>() } {
                    match rows {
                        8 => one_of!(8),
                        9 => one_of!(9),
                        12 => one_of!(12),
                        _ => one_of!(6),
                    }
                } else {
                    one_of!(6)
                }
            }
        }
    }};
}
pub(crate) use with_rows;

/// Cuts `rows` into tiles: `(first row, rows)`. There are up to six rows in a tile; where registers are wide, there may be
/// 8, 9 or 12.
pub(crate) fn tiles<S: Simd>(rows: usize) -> impl Iterator<Item = (usize, usize)> {
    let mut first = 0;
    std::iter::from_fn(move || {
        let left = rows - first;
        let count = match left {
            0 => return None,
            8 | 9 | 12 if is_wide::<S>() => left,
            13 | 14 | 16 if is_wide::<S>() => 8,
            15 | 17 | 18 if is_wide::<S>() => 9,
            19.. if is_wide::<S>() => 12,
            _ => left.div_ceil(left.div_ceil(6)),
        };
        first += count;
        Some((first - count, count))
    })
}

/// What happens to a sum before it is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Finish {
    Relu,
    Keep,
}

/// What the sums of a channel block begin with.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Start<'a> {
    /// The same for each row.
    Same(Line),
    /// A line a row, and another that is the same for each.
    Biased(&'a [Line], Line),
    /// What is there already, a line a row.
    Held,
    /// Several lines a row, each with its factor, and another that is the same for each.
    Parts(&'a [(f32, &'a [Line])], Line),
}

/// One channel block of one position for all rows of a chunk: `out = finish(start + source · weights)`.
///
/// A function of its own for each level: copied into every caller, its six heights made minutes of compilation.
#[inline(never)]
pub(crate) fn panel<S: Simd>(
    simd: S,
    start: Start,
    weights: &[Line],
    steps: &[Step],
    finish: Finish,
    out: &mut [Line],
) {
    simd.vectorize(
        #[inline(always)]
        || {
            // First operand: a NaN in the second comes through, so a diverged run shows.
            let least = f32x16::splat(simd, if finish == Finish::Relu { 0.0 } else { f32::NEG_INFINITY });
            for (row, count) in tiles::<S>(out.len()) {
                with_rows!(S, count, R => {
                    let sums: [f32x16<S>; R] = match start {
                        Start::Same(line) => [line.load(simd); R],
                        Start::Held => std::array::from_fn(|r| out[row + r].load(simd)),
                        Start::Biased(a, line) => std::array::from_fn(|r| a[row + r].load(simd) + line.load(simd)),
                        Start::Parts(parts, line) => {
                            let mut sums = [line.load(simd); R];
                            for (factor, lines) in parts {
                                let factor = f32x16::splat(simd, *factor);
                                let lines: &[Line; R] = lines[row..row + R].try_into().expect("R rows");
                                for r in 0..R {
                                    sums[r] = factor.mul_add(lines[r].load(simd), sums[r]);
                                }
                            }
                            sums
                        }
                    };
                    let sums = rows_by_columns::<S, R>(simd, sums, row, weights, steps);
                    for (line, sum) in out[row..row + R].iter_mut().zip(sums) {
                        line.store(least.max(sum));
                    }
                });
            }
        },
    );
}

/// `out = Σ factor · term`, line by line.
#[inline(always)]
fn weighted<S: Simd, const N: usize>(simd: S, terms: [(f32, &[Line]); N], out: &mut [Line]) {
    let terms = terms.map(|(factor, term)| (f32x16::splat(simd, factor), &term[..out.len()]));
    for (n, out) in out.iter_mut().enumerate() {
        out.store(sum_of(terms.map(|(factor, term)| (factor, term[n].load(simd)))));
    }
}

/// The only term as it is, or `Σ factor · term` of several, by their indices, which goes to `made`.
#[inline(always)]
pub(crate) fn combined<'a, S: Simd>(
    simd: S,
    terms: &[(usize, f32)],
    term: impl Fn(usize) -> &'a [Line],
    made: &'a mut [Line],
) -> &'a [Line] {
    let of = |(index, factor): (usize, f32)| (factor, term(index));
    match *terms {
        [(only, 1.0)] => return term(only),
        [a, b] => weighted(simd, [a, b].map(of), made),
        [a, b, c] => weighted(simd, [a, b, c].map(of), made),
        _ => unreachable!("one term with a factor of 1, or two or three"),
    }
    made
}

/// `Σ factor · term`.
#[inline(always)]
pub(crate) fn sum_of<S: Simd, const N: usize>(terms: [(f32x16<S>, f32x16<S>); N]) -> f32x16<S> {
    let mut total = terms[0].0 * terms[0].1;
    for (factor, term) in &terms[1..] {
        total = factor.mul_add(*term, total);
    }
    total
}

/// As [`panel`] with a ReLU, from planes: a step is the first of the chunk's rows of one input value, and the
/// weight line it meets.
#[inline(always)]
pub(crate) fn panel_from_planes<S: Simd>(
    simd: S,
    start: Line,
    planes: &[f32],
    weights: &[Line],
    steps: &[(usize, usize)],
    out: &mut [Line],
) {
    let start = start.load(simd);
    let zero = f32x16::splat(simd, 0.0);
    for (row, count) in tiles::<S>(out.len()) {
        with_rows!(S, count, R => {
            let mut sums = [start; R];
            for &(plane, weight) in steps {
                let values: &[f32; R] = planes[plane + row..plane + row + R].try_into().expect("R rows");
                let weight = weights[weight].load(simd);
                for r in 0..R {
                    sums[r] = f32x16::splat(simd, values[r]).mul_add(weight, sums[r]);
                }
            }
            for (line, sum) in out[row..row + R].iter_mut().zip(sums) {
                line.store(zero.max(sum));
            }
        });
    }
}

/// `sums[i] += Σ left[i][n] · right(n)`: a block of a weight gradient whose input lies in planes.
#[inline(always)]
pub(crate) fn plane_products<S: Simd, const R: usize>(
    simd: S,
    sums: &mut [Line],
    left: &[&[f32]],
    mut right: impl FnMut(usize) -> f32x16<S>,
) {
    let sums: &mut [Line; R] = sums.try_into().expect("R sums");
    let mut totals: [f32x16<S>; R] = std::array::from_fn(|i| sums[i].load(simd));
    let rows = left[0].len();
    let left: [&[f32]; R] = std::array::from_fn(|i| &left[i][..rows]);
    #[expect(clippy::needless_range_loop, reason = "`n` runs along all of `left` at once")]
    for n in 0..rows {
        let right = right(n);
        for i in 0..R {
            totals[i] = f32x16::splat(simd, left[i][n]).mul_add(right, totals[i]);
        }
    }
    for i in 0..R {
        sums[i].store(totals[i]);
    }
}
