//! Inner products of all pairs of rows, and the eigenvalues of the matrix they make.
//!
//! In f64: the root of an eigenvalue has only half of its digits.

use fearless_simd::{Level, Simd, dispatch, f64x4, prelude::*};
use rayon::prelude::*;

/// Rows of a register tile, above and beside it, and numbers of a register.
const ROWS: usize = 4;
const OTHERS: usize = 2;
const LANES: usize = 4;

/// A symmetric matrix, row-major.
pub(super) struct Symmetric {
    pub(super) size: usize,
    pub(super) values: Vec<f64>,
}

/// The products of `rows` rows of `columns` numbers; `fill(row, target)` writes one into zeros.
///
/// Behind the rows come up to three of zeros.
pub(super) fn gram(rows: usize, columns: usize, fill: impl Fn(usize, &mut [f64]) + Sync) -> Symmetric {
    let (size, stride) = (rows.next_multiple_of(ROWS), columns.next_multiple_of(LANES));
    let mut table = vec![0.0; size * stride];
    table.par_chunks_mut(stride).enumerate().take(rows).for_each(|(row, target)| fill(row, &mut target[..columns]));
    let mut values = vec![0.0; size * size];
    values.par_chunks_mut(ROWS * size).enumerate().for_each(|(tile, target)| {
        let upper = &table[tile * ROWS * stride..][..ROWS * stride];
        // The rest follows from symmetry.
        let others = &table[..(tile + 1) * ROWS * stride];
        dispatch!(Level::new(), simd => multiply(simd, stride, upper, others, target));
    });
    for row in 0..size {
        for column in row + 1..size {
            values[row * size + column] = values[column * size + row];
        }
    }
    Symmetric { size, values }
}

/// Writes the products of four rows with all `others` to the beginnings of the rows of `target`.
#[inline(always)]
fn multiply<S: Simd>(simd: S, stride: usize, rows: &[f64], others: &[f64], target: &mut [f64]) {
    let size = target.len() / ROWS;
    let row = |row: usize| rows[row * stride..][..stride].as_chunks::<LANES>().0;
    let rows: [_; ROWS] = [row(0), row(1), row(2), row(3)];
    for (pair, others) in others.chunks_exact(OTHERS * stride).enumerate() {
        let (left, right) = others.split_at(stride);
        let mut sums = [[f64x4::splat(simd, 0.0); OTHERS]; ROWS];
        let columns = left.as_chunks::<LANES>().0.iter().zip(right.as_chunks::<LANES>().0);
        for (place, (left, right)) in columns.enumerate() {
            let (left, right) = (f64x4::from_slice(simd, left), f64x4::from_slice(simd, right));
            for (sums, row) in sums.iter_mut().zip(&rows) {
                let value = f64x4::from_slice(simd, &row[place]);
                sums[0] = value.mul_add(left, sums[0]);
                sums[1] = value.mul_add(right, sums[1]);
            }
        }
        for (row, sums) in sums.iter().enumerate() {
            for (other, sum) in sums.iter().enumerate() {
                let mut lanes = [0.0; LANES];
                sum.store_slice(&mut lanes);
                target[row * size + pair * OTHERS + other] = lanes.iter().sum();
            }
        }
    }
}

impl Symmetric {
    /// All eigenvalues, ascending.
    pub(super) fn eigenvalues(self) -> Vec<f64> {
        let size = self.size;
        let (diagonal, beside) = self.into_tridiagonal();
        let squares: Vec<f64> = beside.iter().map(|entry| entry * entry).collect();
        // Gershgorin's bound.
        let radius = |row: usize| {
            let left = if row == 0 { 0.0 } else { beside[row - 1].abs() };
            left + beside.get(row).map_or(0.0, |right| right.abs())
        };
        let bound = (0..size).map(|row| diagonal[row].abs() + radius(row)).fold(0.0, f64::max);
        let smallest = f64::MIN_POSITIVE.max(f64::EPSILON * f64::EPSILON * bound);
        // How many are below `limit` (Barth, Martin and Wilkinson 1967, "Calculation of the eigenvalues of a symmetric
        // tridiagonal matrix by the method of bisection").
        let below = |limit: f64| {
            let mut pivot = 1.0;
            let mut count = 0;
            for (row, entry) in diagonal.iter().enumerate() {
                let square = if row == 0 { 0.0 } else { squares[row - 1] };
                pivot = entry - limit - square / pivot;
                if pivot.abs() < smallest {
                    pivot = -smallest;
                }
                count += usize::from(pivot < 0.0);
            }
            count
        };
        let eigenvalue = |index: usize| {
            let (mut low, mut high) = (-bound, bound);
            // Halvings until the last digit of the largest.
            for _ in 0..54 {
                let middle = (low + high) / 2.0;
                if below(middle) > index { high = middle } else { low = middle }
            }
            (low + high) / 2.0
        };
        (0..size).into_par_iter().map(eigenvalue).collect()
    }

    /// The diagonal and the numbers beside it of a tridiagonal matrix with the same eigenvalues, by Householder's
    /// reflections.
    fn into_tridiagonal(mut self) -> (Vec<f64>, Vec<f64>) {
        let size = self.size;
        let mut beside = Vec::with_capacity(size);
        for step in 0..size.saturating_sub(1) {
            let (done, rest) = self.values.split_at_mut((step + 1) * size);
            let mut normal = done[step * size + step + 1..].to_vec();
            let length = dot(&normal, &normal).sqrt();
            let target = if normal[0] > 0.0 { -length } else { length };
            beside.push(target);
            normal[0] -= target;
            let squares = dot(&normal, &normal);
            if squares == 0.0 {
                continue;
            }
            let scale = 2.0 / squares;
            let row = |row: &[f64]| scale * dot(&row[step + 1..], &normal);
            let mut image: Vec<f64> = rest.par_chunks(size).with_min_len(32).map(row).collect();
            let along = scale / 2.0 * dot(&image, &normal);
            image.iter_mut().zip(&normal).for_each(|(image, normal)| *image -= along * normal);
            rest.par_chunks_mut(size).with_min_len(32).enumerate().for_each(|(row, values)| {
                let (own_normal, own_image) = (normal[row], image[row]);
                for ((value, normal), image) in values[step + 1..].iter_mut().zip(&normal).zip(&image) {
                    *value -= own_normal * image + own_image * normal;
                }
            });
        }
        ((0..size).map(|row| self.values[row * size + row]).collect(), beside)
    }
}

fn dot(left: &[f64], right: &[f64]) -> f64 {
    // Eight sums side by side let the compiler use vector instructions without changing the order.
    let mut sums = [0.0; 8];
    let ((left, left_rest), (right, right_rest)) = (left.as_chunks::<8>(), right.as_chunks::<8>());
    for (x, y) in left.iter().zip(right) {
        (0..8).for_each(|lane| sums[lane] += x[lane] * y[lane]);
    }
    sums.iter().sum::<f64>() + left_rest.iter().zip(right_rest).map(|(x, y)| x * y).sum::<f64>()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn products_are_those_of_the_plain_sums() {
        for (rows, columns) in [(1, 1), (4, 4), (7, 9), (30, 50)] {
            let number = |row: usize, column: usize| ((row * 31 + column * column) % 11) as f64 - 5.0;
            let products = gram(rows, columns, |row, target| {
                target.iter_mut().enumerate().for_each(|(column, target)| *target = number(row, column));
            });
            assert_eq!(products.size, rows.next_multiple_of(4));
            for row in 0..products.size {
                for other in 0..products.size {
                    let real = row < rows && other < rows;
                    let sum: f64 = (0..columns).map(|column| number(row, column) * number(other, column)).sum();
                    assert_eq!(products.values[row * products.size + other], if real { sum } else { 0.0 });
                }
            }
        }
    }

    #[test]
    fn eigenvalues_of_a_chain_are_known() {
        // 2 on the diagonal and -1 beside it: 2 - 2 cos(pi k / (n + 1)); hidden from the reduction by a reflection.
        let size = 37;
        let chain = |row: usize, column: usize| match row.abs_diff(column) {
            0 => 2.0,
            1 => -1.0,
            _ => 0.0,
        };
        let normal: Vec<f64> = (0..size).map(|row| ((row * row % 13) as f64 - 6.0) / 10.0).collect();
        let scale = 2.0 / dot(&normal, &normal);
        let reflection = |row: usize, column: usize| f64::from(row == column) - scale * normal[row] * normal[column];
        let product = |left: &dyn Fn(usize, usize) -> f64, right: &dyn Fn(usize, usize) -> f64| -> Vec<f64> {
            let entry = |place: usize| (0..size).map(|k| left(place / size, k) * right(k, place % size)).sum();
            (0..size * size).map(entry).collect()
        };
        let half = product(&reflection, &chain);
        let values = product(&|row, column| half[row * size + column], &reflection);
        let eigenvalues = Symmetric { size, values }.eigenvalues();
        for (index, eigenvalue) in eigenvalues.iter().enumerate() {
            let angle = std::f64::consts::PI * (index + 1) as f64 / (size + 1) as f64;
            assert!((eigenvalue - (2.0 - 2.0 * angle.cos())).abs() < 1e-12, "{index}: {eigenvalue}");
        }
        assert_eq!(Symmetric { size: 4, values: vec![0.0; 16] }.eigenvalues().len(), 4);
    }
}
