//! Matrix products of row-major slices, for the linear layers of heads.
//!
//! Two forms serve forward and backward: [`rows_by_panels`] takes its right side packed into panels of sixteen
//! columns, [`columns_by_columns`] sums over the rows of both sides, as a weight gradient does. The work is cut
//! by the shape alone and every sum runs in the order of the summed index, so results do not depend on threads.

use fearless_simd::{Level, Simd, dispatch, f32x16, prelude::*};
use rayon::prelude::*;

use crate::tile::{LANES, Line, is_wide, tiles, with_rows};
use crate::workspace::{Buffer, zeros};

/// Rows of a task: several tiles share each panel while it is in the cache.
const TASK_ROWS: usize = 24;

/// Length of a sum before it goes back to memory: a panel of that many lines stays in the first-level cache.
const DEPTH: usize = 256;

/// Rows a tile of [`columns_by_columns`] is high.
const TILE: usize = 6;

/// Tiles and panels of a task of [`columns_by_columns`], and the rows it sums at a time: both sides stay in the
/// second-level cache.
const TASK_TILES: usize = 24;
const TASK_PANELS: usize = 8;
const TASK_DEPTH: usize = 128;

/// The right side of a product, in panels of sixteen columns: `[column block][row]`, the last filled up with zeros.
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
        let mut lines: Buffer<Line> = Buffer::new(columns.div_ceil(LANES) * rows);
        lines.par_chunks_mut(rows).enumerate().for_each(|(block, lines)| {
            for (line, row) in lines.iter_mut().zip(matrix.chunks_exact(columns)) {
                *line = block_of(row, block);
            }
        });
        Self { lines, rows, columns }
    }

    /// From the transpose of `matrix`, `[columns, rows]`.
    pub(crate) fn transposed(matrix: &[f32], rows: usize) -> Self {
        let columns = matrix.len() / rows;
        let mut lines: Buffer<Line> = Buffer::new(columns.div_ceil(LANES) * rows);
        lines.par_chunks_mut(rows).zip(matrix.par_chunks(LANES * rows)).for_each(|(lines, matrix)| {
            if matrix.len() < LANES * rows {
                lines.fill(Line::ZERO);
            }
            for (lane, row) in matrix.chunks_exact(rows).enumerate() {
                for (line, value) in lines.iter_mut().zip(row) {
                    line.0[lane] = *value;
                }
            }
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

/// `left · right + start`: `left` is `[rows, right.rows]`, `start` has a value for each column or is empty.
/// Returns `[rows, right.columns]`.
pub(crate) fn rows_by_panels(level: Level, left: &[f32], right: &Panels, start: &[f32]) -> Vec<f32> {
    let Panels { lines, rows: depth, columns } = right;
    let (depth, columns) = (*depth, *columns);
    let mut out = zeros(left.len() / depth * columns);
    let tasks = out.par_chunks_mut(TASK_ROWS * columns).zip(left.par_chunks(TASK_ROWS * depth));
    tasks.with_max_len(1).for_each(|(out, left)| {
        for row in out.chunks_exact_mut(columns).filter(|_| !start.is_empty()) {
            row.copy_from_slice(start);
        }
        for begin in (0..depth).step_by(DEPTH) {
            let end = depth.min(begin + DEPTH);
            for (block, lines) in lines.chunks_exact(depth).enumerate() {
                dispatch!(level, simd => {
                    add_panel(simd, out, columns, block, left, depth, begin, &lines[begin..end]);
                });
            }
        }
    });
    out
}

/// Adds to sixteen columns of `out` the products of `left`'s columns from `begin` on with a panel's lines.
#[inline(always)]
#[expect(clippy::too_many_arguments, reason = "one call, all of it needed")]
fn add_panel<S: Simd>(
    simd: S,
    out: &mut [f32],
    columns: usize,
    block: usize,
    left: &[f32],
    depth: usize,
    begin: usize,
    lines: &[Line],
) {
    for (first, count) in tiles::<S>(out.len() / columns) {
        with_rows!(S, count, R => {
            let left: [&[f32]; R] = std::array::from_fn(|r| &left[(first + r) * depth + begin..][..lines.len()]);
            let rows = &mut out[first * columns..(first + R) * columns];
            let mut sums: [f32x16<S>; R] =
                std::array::from_fn(|r| block_of(&rows[r * columns..(r + 1) * columns], block).load(simd));
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

/// `leftᵀ · right`, `[m, n]`, of `left` `[rows, m]` and `right` `[rows, n]`.
pub(crate) fn columns_by_columns(level: Level, left: &[f32], m: usize, right: &[f32], n: usize) -> Vec<f32> {
    let (tiles, panels) = (m.div_ceil(TILE), n.div_ceil(LANES));
    // A narrow product is cut finer, or one thread would make it all.
    let task_panels = TASK_PANELS.min(panels.div_ceil(8));
    let (down, across) = (tiles.div_ceil(TASK_TILES), panels.div_ceil(task_panels));
    let blocks: Vec<Buffer<Line>> = (0..down * across)
        .into_par_iter()
        .with_max_len(1)
        .map(|task| {
            let first_tile = task / across * TASK_TILES;
            let first_panel = task % across * task_panels;
            let block = Block {
                first_tile,
                tiles: TASK_TILES.min(tiles - first_tile),
                first_panel,
                panels: task_panels.min(panels - first_panel),
            };
            block.product(level, left, m, right, n)
        })
        .collect();
    let mut out = zeros(m * n);
    out.par_chunks_mut(TASK_TILES * TILE * n).zip(blocks.par_chunks(across)).for_each(|(out, blocks)| {
        for (i, row) in out.chunks_exact_mut(n).enumerate() {
            for (panel, to) in row.chunks_mut(LANES).enumerate() {
                let (task, panel) = (panel / task_panels, panel % task_panels);
                let panels = task_panels.min(panels - task * task_panels);
                blocks[task][(i / TILE * panels + panel) * TILE + i % TILE].write(to);
            }
        }
    });
    out
}

/// A part of a product of columns by columns.
struct Block {
    first_tile: usize,
    tiles: usize,
    first_panel: usize,
    panels: usize,
}

impl Block {
    /// `[tile][panel][TILE]`, a line of columns each.
    fn product(&self, level: Level, left: &[f32], m: usize, right: &[f32], n: usize) -> Buffer<Line> {
        let mut sums: Buffer<Line> = Buffer::new(self.tiles * self.panels * TILE);
        sums.fill(Line::ZERO);
        let mut left_pack = vec![[0.0; TILE]; self.tiles * TASK_DEPTH];
        let mut right_pack: Buffer<Line> = Buffer::new(self.panels * TASK_DEPTH);
        for (left, right) in left.chunks(TASK_DEPTH * m).zip(right.chunks(TASK_DEPTH * n)) {
            let depth = left.len() / m;
            for (k, row) in left.chunks_exact(m).enumerate() {
                for (tile, values) in row.chunks(TILE).skip(self.first_tile).take(self.tiles).enumerate() {
                    left_pack[tile * depth + k] = match values.first_chunk() {
                        Some(values) => *values,
                        None => std::array::from_fn(|i| values.get(i).copied().unwrap_or(0.0)),
                    };
                }
            }
            for (k, row) in right.chunks_exact(n).enumerate() {
                for panel in 0..self.panels {
                    right_pack[panel * depth + k] = block_of(row, self.first_panel + panel);
                }
            }
            dispatch!(level, simd => {
                let tiles = left_pack.chunks_exact(depth).zip(sums.chunks_exact_mut(self.panels * TILE));
                for (left, sums) in tiles {
                    add_outer_products(simd, sums, left, &right_pack[..self.panels * depth]);
                }
            });
        }
        sums
    }
}

/// `sums[panel][i] += Σ left[k][i] · right[panel][k]`.
#[inline(always)]
fn add_outer_products<S: Simd>(simd: S, sums: &mut [Line], left: &[[f32; TILE]], right: &[Line]) {
    let depth = left.len();
    let mut panels = sums.as_chunks_mut::<TILE>().0.iter_mut().zip(right.chunks_exact(depth));
    while let Some((sums, right)) = panels.next() {
        match panels.len() {
            1.. if const { is_wide::<S>() } => {
                let (others, beside) = panels.next().expect("another panel");
                panels_by_tile(simd, [sums, others], left, [right, beside]);
            }
            _ => panels_by_tile(simd, [sums], left, [right]),
        }
    }
}

/// `P` panels of a tile at once.
#[inline(always)]
fn panels_by_tile<S: Simd, const P: usize>(
    simd: S,
    sums: [&mut [Line; TILE]; P],
    left: &[[f32; TILE]],
    right: [&[Line]; P],
) {
    let right = right.map(|right| &right[..left.len()]);
    let mut totals: [[f32x16<S>; TILE]; P] = std::array::from_fn(|p| std::array::from_fn(|i| sums[p][i].load(simd)));
    for (k, left) in left.iter().enumerate() {
        let right: [f32x16<S>; P] = std::array::from_fn(|p| right[p][k].load(simd));
        for i in 0..TILE {
            let left = f32x16::splat(simd, left[i]);
            for p in 0..P {
                totals[p][i] = left.mul_add(right[p], totals[p][i]);
            }
        }
    }
    for (sums, totals) in sums.into_iter().zip(totals) {
        for (sum, total) in sums.iter_mut().zip(totals) {
            sum.store(total);
        }
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
