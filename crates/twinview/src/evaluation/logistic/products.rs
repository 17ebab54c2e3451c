//! The two products of a linear model: rows with weights, and residuals with rows.
//!
//! Both take a block of rows that stays in the cache and tiles of the weights that stay in registers. Weights and
//! their gradient share one layout, [`Layout`], that both read in order.

use fearless_simd::{Level, Simd, dispatch, f32x8, prelude::*};

/// Classes and columns of a register tile: 10 of AVX2's 16 registers hold its sums.
const CLASSES: usize = 5;
const COLUMNS: usize = 16;
const TILE: usize = CLASSES * COLUMNS;
/// Rows scored together.
const ROWS: usize = 2;
/// Numbers in a block of rows: 256 KiB of cache.
const BLOCK: usize = 1 << 16;

/// Where the weights of a linear model stand: `[groups, column tiles, CLASSES, COLUMNS]`, zero beyond the last
/// class and column.
#[derive(Clone, Copy, Debug)]
pub(super) struct Layout {
    pub(super) classes: usize,
    pub(super) columns: usize,
}

impl Layout {
    fn tiles(self) -> usize {
        self.columns.div_ceil(COLUMNS)
    }

    /// How many numbers hold the weights.
    pub(super) fn weights(self) -> usize {
        self.classes.div_ceil(CLASSES) * self.tiles() * TILE
    }

    /// The place of one weight.
    pub(super) fn weight(self, class: usize, column: usize) -> usize {
        let tile = class / CLASSES * self.tiles() + column / COLUMNS;
        tile * TILE + class % CLASSES * COLUMNS + column % COLUMNS
    }

    /// Numbers from one row of a block to the next; the gap keeps rows of a power of two out of each other's way in
    /// the cache.
    pub(super) fn stride(self) -> usize {
        (self.tiles() + 1) * COLUMNS
    }

    /// How many rows a block has: even.
    pub(super) fn rows(self) -> usize {
        (BLOCK / self.stride()).clamp(2 * ROWS, 128).next_multiple_of(ROWS)
    }

    /// How many scores a block has.
    pub(super) fn scores(self) -> usize {
        self.rows() * self.classes.next_multiple_of(CLASSES)
    }

    /// The place of one score: `[groups, rows, CLASSES]`.
    pub(super) fn score(self, row: usize, class: usize) -> usize {
        (class / CLASSES * self.rows() + row) * CLASSES + class % CLASSES
    }

    /// Writes the product of each row of the block and each class's weights to `scores`.
    pub(super) fn multiply(self, rows: &[f32], weights: &[f32], scores: &mut [f32]) {
        dispatch!(Level::new(), simd => multiply(simd, self, rows, weights, scores));
    }

    /// Adds the sum over the block of residual times row to `gradient`; `residuals` are placed as scores.
    pub(super) fn accumulate(self, rows: &[f32], residuals: &[f32], gradient: &mut [f64]) {
        dispatch!(Level::new(), simd => accumulate(simd, self, rows, residuals, gradient));
    }
}

#[inline(always)]
fn multiply<S: Simd>(simd: S, layout: Layout, rows: &[f32], weights: &[f32], scores: &mut [f32]) {
    let groups = weights.chunks_exact(layout.tiles() * TILE).zip(scores.chunks_exact_mut(layout.rows() * CLASSES));
    for (weights, scores) in groups {
        let pairs = rows.chunks_exact(ROWS * layout.stride()).zip(scores.chunks_exact_mut(ROWS * CLASSES));
        for (pair, scores) in pairs {
            let (upper, lower) = pair.split_at(layout.stride());
            let (upper, lower) = (upper.as_chunks::<COLUMNS>().0, lower.as_chunks::<COLUMNS>().0);
            let mut sums = [[f32x8::splat(simd, 0.0); ROWS]; CLASSES];
            for ((upper, lower), tile) in upper.iter().zip(lower).zip(weights.as_chunks::<TILE>().0) {
                for half in [0, COLUMNS / 2] {
                    let upper = f32x8::from_slice(simd, &upper[half..half + 8]);
                    let lower = f32x8::from_slice(simd, &lower[half..half + 8]);
                    for (class, sums) in sums.iter_mut().enumerate() {
                        let weight = f32x8::from_slice(simd, &tile[class * COLUMNS + half..][..8]);
                        sums[0] = weight.mul_add(upper, sums[0]);
                        sums[1] = weight.mul_add(lower, sums[1]);
                    }
                }
            }
            for (class, sums) in sums.iter().enumerate() {
                for (row, sum) in sums.iter().enumerate() {
                    let mut lanes = [0.0; 8];
                    sum.store_slice(&mut lanes);
                    scores[row * CLASSES + class] = lanes.iter().sum();
                }
            }
        }
    }
}

#[inline(always)]
fn accumulate<S: Simd>(simd: S, layout: Layout, rows: &[f32], residuals: &[f32], gradient: &mut [f64]) {
    let groups = gradient.chunks_exact_mut(layout.tiles() * TILE).zip(residuals.chunks_exact(layout.rows() * CLASSES));
    for (gradient, residuals) in groups {
        let residuals = residuals.as_chunks::<CLASSES>().0;
        for (place, gradient) in gradient.as_chunks_mut::<TILE>().0.iter_mut().enumerate() {
            let mut sums = [[f32x8::splat(simd, 0.0); 2]; CLASSES];
            for (row, residuals) in rows.chunks_exact(layout.stride()).zip(residuals) {
                let row = &row[place * COLUMNS..][..COLUMNS];
                let left = f32x8::from_slice(simd, &row[..8]);
                let right = f32x8::from_slice(simd, &row[8..]);
                for (sums, &residual) in sums.iter_mut().zip(residuals) {
                    let residual = f32x8::splat(simd, residual);
                    sums[0] = residual.mul_add(left, sums[0]);
                    sums[1] = residual.mul_add(right, sums[1]);
                }
            }
            for (sum, gradient) in sums.as_flattened().iter().zip(gradient.as_chunks_mut::<8>().0) {
                let mut lanes = [0.0; 8];
                sum.store_slice(&mut lanes);
                gradient.iter_mut().zip(lanes).for_each(|(entry, lane)| *entry += f64::from(lane));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn products_are_those_of_the_plain_sums() {
        for (classes, columns) in [(1, 1), (5, 16), (7, 40), (10, 300)] {
            let layout = Layout { classes, columns };
            let (count, stride) = (layout.rows(), layout.stride());
            // Small whole numbers: every sum is exact.
            let number = |index: usize| (index * index % 7) as f32 - 3.0;
            let mut rows = vec![0.0; count * stride];
            rows.chunks_mut(stride).enumerate().for_each(|(row, target)| {
                (0..columns).for_each(|column| target[column] = number(row * 31 + column));
            });
            let mut weights = vec![0.0; layout.weights()];
            let mut residuals = vec![0.0; layout.scores()];
            for class in 0..classes {
                (0..columns).for_each(|column| weights[layout.weight(class, column)] = number(class * 17 + column));
                (0..count).for_each(|row| residuals[layout.score(row, class)] = number(row * 5 + class));
            }
            let mut scores = vec![f32::NAN; layout.scores()];
            layout.multiply(&rows, &weights, &mut scores);
            let mut gradient = vec![1.0; layout.weights()];
            layout.accumulate(&rows, &residuals, &mut gradient);
            for class in 0..classes {
                for row in 0..count {
                    let expected: f32 =
                        (0..columns).map(|column| number(row * 31 + column) * number(class * 17 + column)).sum();
                    assert_eq!(scores[layout.score(row, class)], expected);
                }
                for column in 0..columns {
                    let expected: f32 = (0..count).map(|row| number(row * 31 + column) * number(row * 5 + class)).sum();
                    assert_eq!(gradient[layout.weight(class, column)], f64::from(1.0 + expected));
                }
            }
        }
    }
}
