//! Transposing squares of sixteen by sixteen values.

use fearless_simd::{Simd, f32x4, f32x16, prelude::*};

use crate::tile::{LANES, Line, is_wide};

/// Makes the rows of sixteen lines the columns of `out`.
#[inline(always)]
pub(crate) fn transpose<S: Simd>(simd: S, tile: &[Line; LANES], out: &mut [Line; LANES]) {
    if const { is_wide::<S>() } {
        transpose_by_lines(simd, tile, out);
    } else {
        transpose_by_squares(simd, tile, out);
    }
}

/// Four times, each row of the first half is interleaved with the one as far down the second: each line is written once, as a whole.
#[inline(always)]
fn transpose_by_lines<S: Simd>(simd: S, tile: &[Line; LANES], out: &mut [Line; LANES]) {
    let mut rows: [f32x16<S>; LANES] = [f32x16::splat(simd, 0.0); LANES];
    for (row, line) in rows.iter_mut().zip(tile) {
        *row = line.load(simd);
    }
    for _ in 0..LANES.ilog2() {
        let before = rows;
        for i in 0..LANES / 2 {
            rows[2 * i] = before[i].zip_low(before[i + LANES / 2]);
            rows[2 * i + 1] = before[i].zip_high(before[i + LANES / 2]);
        }
    }
    for (line, row) in out.iter_mut().zip(rows) {
        line.store(row);
    }
}

/// Squares of 4×4, which the registers hold, one by one.
#[inline(always)]
fn transpose_by_squares<S: Simd>(simd: S, tile: &[Line; LANES], out: &mut [Line; LANES]) {
    for (row, lines) in tile.as_chunks::<4>().0.iter().enumerate() {
        for (column, out) in out.as_chunks_mut::<4>().0.iter_mut().enumerate() {
            let [a, b, c, d] = lines.each_ref().map(|line| f32x4::load_array_ref(simd, &line.0.as_chunks().0[column]));
            let (ac, bd) = ((a.zip_low(c), a.zip_high(c)), (b.zip_low(d), b.zip_high(d)));
            let columns = [ac.0.zip_low(bd.0), ac.0.zip_high(bd.0), ac.1.zip_low(bd.1), ac.1.zip_high(bd.1)];
            for (out, column) in out.iter_mut().zip(columns) {
                column.store_array(&mut out.0.as_chunks_mut().0[row]);
            }
        }
    }
}
