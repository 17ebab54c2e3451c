//! Matrix products of row-major slices, for the linear layers of heads.
//!
//! Two forms serve forward and backward: [`rows_by_panels`] takes its right side packed into panels of sixteen
//! columns, [`columns_by_columns`] sums over the rows of both sides, as a weight gradient does. The work is cut
//! by the shape alone and every sum runs in the order of the summed index, so results do not depend on threads.

use std::ops::Range;

use fearless_simd::{Level, Simd, dispatch, f32x16, prelude::*};
use rayon::prelude::*;

use crate::tile::{Finish, LANES, Line, Start, Step, panel, tiles, with_rows};
use crate::transpose::transpose;
use crate::workspace::{Buffer, zeros};

/// Rows of a task of [`rows_by_panels`], tiles of so many: several of them share each panel while it is in the cache.
const TASK_ROWS: usize = 4 * TILE;
const TILE: usize = 6;

/// Length of a sum before it goes back to memory: a panel of that many lines stays in the first-level cache.
const DEPTH: usize = 256;

/// Rows and panels of a task of [`columns_by_columns`], and how much of each sum it makes at a time: both sides stay in
/// the second-level cache.
const BLOCK_ROWS: usize = 144;
const BLOCK_PANELS: usize = 8;
const BLOCK_DEPTH: usize = 128;

/// How many pieces a small product is cut into, or one thread would make it all.
const PIECES: usize = 8;

/// The right side of a product, in panels of sixteen columns: `[column block][row]`, rows and columns filled up with zeros
/// to whole blocks of sixteen.
#[derive(Debug)]
pub(crate) struct Panels {
    lines: Buffer<Line>,
    rows: usize,
    columns: usize,
}

impl Panels {
    /// From `matrix`, `[rows, columns]`.
    pub(crate) fn new(matrix: &[f32], columns: usize) -> Self {
        let rows = matrix.len() / columns;
        Self::filled(rows, columns, |block, lines| {
            for (line, row) in lines.iter_mut().zip(matrix.chunks_exact(columns)) {
                *line = block_of(row, block);
            }
        })
    }

    /// From the transpose of `matrix`, `[columns, rows]`.
    pub(crate) fn transposed(matrix: &[f32], rows: usize) -> Self {
        let columns = matrix.len() / rows;
        Self::filled(rows, columns, |block, lines| {
            for (lane, row) in matrix.chunks_exact(rows).skip(block * LANES).take(LANES).enumerate() {
                for (line, value) in lines.iter_mut().zip(row) {
                    line.0[lane] = *value;
                }
            }
        })
    }

    /// What `fill` writes into each panel, and zeros around it.
    fn filled(rows: usize, columns: usize, fill: impl Fn(usize, &mut [Line]) + Sync) -> Self {
        let each = rows.next_multiple_of(LANES);
        let mut lines: Buffer<Line> = Buffer::new(columns.div_ceil(LANES) * each);
        lines.par_chunks_mut(each).enumerate().for_each(|(block, lines)| {
            if rows < each || columns < (block + 1) * LANES {
                lines.fill(Line::ZERO);
            }
            fill(block, lines);
        });
        Self { lines, rows, columns }
    }

    /// The lines of all panels.
    pub(crate) fn lines(&self) -> &[Line] {
        &self.lines
    }
}

/// Sixteen neighbouring values of a row, with zeros beyond its end.
pub(crate) fn block_of(row: &[f32], block: usize) -> Line {
    Line::of(&row[block * LANES..], |value| value)
}

/// A left side, `[sixteen columns][row]`, a line each.
pub(crate) fn steps(left: &[Line], rows: usize) -> Vec<Step<'_>> {
    left.chunks_exact(rows).enumerate().map(|(block, source)| Step { source, weight: block * LANES }).collect()
}

/// `out = start + steps · panels`, `[panel][row]`, a panel for each block of `out`.
pub(crate) fn panels_by_steps<'a, S: Simd>(
    simd: S,
    start: impl Fn(usize) -> Start<'a>,
    steps: &[Step],
    panels: &[Line],
    rows: usize,
    out: &mut [Line],
) {
    let each = panels.len() / (out.len() / rows);
    for (block, (out, weights)) in out.chunks_exact_mut(rows).zip(panels.chunks_exact(each)).enumerate() {
        panel(simd, start(block), weights, steps, Finish::Keep, out);
    }
}

/// `left · right + start`: `left` is `[rows, right.rows]`, `start` has a value for each column or is empty.
/// Returns `[rows, right.columns]`.
pub(crate) fn rows_by_panels(level: Level, left: &[f32], right: &Panels, start: &[f32]) -> Vec<f32> {
    let Panels { rows: depth, columns, .. } = *right;
    let rows = left.len() / depth;
    let task = TASK_ROWS.min(rows.div_ceil(PIECES).next_multiple_of(TILE));
    let mut out = zeros(rows * columns);
    let tasks = left.par_chunks(task * depth).zip(out.par_chunks_mut(task * columns));
    tasks.with_max_len(1).for_each(|(left, out)| {
        for begin in (0..depth).step_by(DEPTH) {
            let end = depth.min(begin + DEPTH);
            for (block, lines) in right.lines.chunks_exact(depth.next_multiple_of(LANES)).enumerate() {
                let lines = &lines[begin..end];
                let start = (begin == 0).then(|| if start.is_empty() { Line::ZERO } else { block_of(start, block) });
                dispatch!(level, simd => add_panel(simd, out, columns, block, start, left, begin, lines));
            }
        }
    });
    out
}

/// Adds to sixteen columns of `out`, or to `start`, the products of `left`'s columns from `begin` on with a panel's lines.
#[inline(always)]
#[expect(clippy::too_many_arguments, reason = "one call, all of it needed")]
fn add_panel<S: Simd>(
    simd: S,
    out: &mut [f32],
    columns: usize,
    block: usize,
    start: Option<Line>,
    left: &[f32],
    begin: usize,
    lines: &[Line],
) {
    let depth = left.len() / (out.len() / columns);
    for (first, count) in tiles::<S>(out.len() / columns) {
        with_rows!(S, count, R => {
            let left: [&[f32]; R] = std::array::from_fn(|r| &left[(first + r) * depth + begin..][..lines.len()]);
            let rows = &mut out[first * columns..(first + R) * columns];
            let mut sums: [f32x16<S>; R] = match start {
                Some(start) => [start.load(simd); R],
                None => std::array::from_fn(|r| block_of(&rows[r * columns..(r + 1) * columns], block).load(simd)),
            };
            for (k, line) in lines.iter().enumerate() {
                let line = line.load(simd);
                for r in 0..R {
                    sums[r] = f32x16::splat(simd, left[r][k]).mul_add(line, sums[r]);
                }
            }
            for (row, sum) in rows.chunks_exact_mut(columns).zip(sums) {
                Line(sum.to_array()).write(&mut row[block * LANES..]);
            }
        });
    }
}

/// The transpose of `matrix`, `[depth, rows]`, as left sides of up to [`BLOCK_ROWS`] rows each, one behind another.
fn column_lines(level: Level, matrix: &[f32], rows: usize) -> Buffer<Line> {
    let blocks = (matrix.len() / rows).div_ceil(LANES);
    let mut lines = Buffer::new(blocks * rows);
    lines.par_chunks_mut(BLOCK_ROWS * blocks).enumerate().for_each(|(group, lines)| {
        let first = group * BLOCK_ROWS;
        let of_blocks = lines.par_chunks_mut(lines.len() / blocks).zip(matrix.par_chunks(LANES * rows));
        of_blocks.for_each(|(lines, matrix)| {
            for (block, lines) in lines.chunks_mut(LANES).enumerate() {
                let mut tile = [Line::ZERO; LANES];
                for (line, row) in tile.iter_mut().zip(matrix.chunks_exact(rows)) {
                    *line = block_of(&row[first..], block);
                }
                let mut columns = [Line::ZERO; LANES];
                dispatch!(level, simd => transpose(simd, &tile, &mut columns));
                lines.copy_from_slice(&columns[..lines.len()]);
            }
        });
    });
    lines
}

/// `leftᵀ · right`, `[m, n]`, of `left` `[rows, m]` and `right` `[rows, n]`.
pub(crate) fn columns_by_columns(level: Level, left: &[f32], m: usize, right: &[f32], n: usize) -> Vec<f32> {
    let left = column_lines(level, left, m);
    let blocks = left.len() / m;
    let panels = n.div_ceil(LANES);
    let task_panels = BLOCK_PANELS.min(panels.div_ceil(PIECES));
    let across = panels.div_ceil(task_panels);
    let products: Vec<Buffer<Line>> = (0..m.div_ceil(BLOCK_ROWS) * across)
        .into_par_iter()
        .with_max_len(1)
        .map(|task| {
            let (group, first) = (task / across, task % across * task_panels);
            let rows = BLOCK_ROWS.min(m - group * BLOCK_ROWS);
            let panels = first..panels.min(first + task_panels);
            let mut sums = Buffer::new(panels.len() * rows);
            sums.fill(Line::ZERO);
            let left = &left[group * BLOCK_ROWS * blocks..][..rows * blocks];
            dispatch!(level, simd => add_block(simd, left, rows, right, n, panels, &mut sums));
            sums
        })
        .collect();
    let mut out = zeros(m * n);
    out.par_chunks_mut(n).enumerate().with_min_len(LANES).for_each(|(row, out)| {
        let (group, row) = (row / BLOCK_ROWS, row % BLOCK_ROWS);
        let rows = BLOCK_ROWS.min(m - group * BLOCK_ROWS);
        let panels = products[group * across..][..across].iter().flat_map(|product| product.chunks_exact(rows));
        for (out, panel) in out.chunks_mut(LANES).zip(panels) {
            panel[row].write(out);
        }
    });
    out
}

/// Adds a left side's product with some panels of `right`, `[depth, n]`, to `sums`, `[panel][row]`.
#[inline(always)]
fn add_block<S: Simd>(
    simd: S,
    left: &[Line],
    rows: usize,
    right: &[f32],
    n: usize,
    panels: Range<usize>,
    sums: &mut [Line],
) {
    let mut packed = Buffer::new(panels.len() * BLOCK_DEPTH);
    for (left, right) in left.chunks(BLOCK_DEPTH / LANES * rows).zip(right.chunks(BLOCK_DEPTH * n)) {
        let depth = left.len() / rows * LANES;
        let packed = &mut packed[..panels.len() * depth];
        // Beyond the last row there are zeros.
        if right.len() < depth * n {
            packed.fill(Line::ZERO);
        }
        for (k, row) in right.chunks_exact(n).enumerate() {
            for (panel, block) in panels.clone().enumerate() {
                packed[panel * depth + k] = block_of(row, block);
            }
        }
        panels_by_steps(simd, |_| Start::Held, &steps(left, rows), packed, rows, sums);
    }
}

/// The sum of each column of `matrix`, `[rows, columns]`.
pub(crate) fn column_sums(matrix: &[f32], columns: usize) -> Vec<f32> {
    /// Columns of a task: a few cache lines of each row.
    const TASK_COLUMNS: usize = 64;
    let mut out = vec![0.0; columns];
    out.par_chunks_mut(TASK_COLUMNS).enumerate().for_each(|(task, out)| {
        let mut totals = [0.0f64; TASK_COLUMNS];
        // A few rows in f32 at a time, those in f64: as exact as needed, and quick.
        for rows in matrix.chunks(16 * columns) {
            let mut sums = [0.0f32; TASK_COLUMNS];
            for row in rows.chunks_exact(columns) {
                for (sum, value) in sums.iter_mut().zip(&row[task * TASK_COLUMNS..]) {
                    *sum += value;
                }
            }
            for (total, sum) in totals.iter_mut().zip(sums) {
                *total += f64::from(sum);
            }
        }
        for (out, total) in out.iter_mut().zip(totals) {
            *out = total as f32;
        }
    });
    out
}
