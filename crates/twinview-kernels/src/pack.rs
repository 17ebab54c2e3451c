//! Weights and per-channel values in the order in which the tiles read them.

use fearless_simd::{Level, Simd, dispatch, f32x16};
use rayon::prelude::*;

use crate::plan::{BlockShape, KERNEL, TAPS};
use crate::spans::{HALF_DIFFERENCE, HALF_SUM, VARIANTS};
use crate::tile::{LANES, Line, fetch};
use crate::transpose::transpose;
use crate::workspace::Buffer;

/// Values of each channel as lines, the last filled up with zeros.
pub(crate) fn channels(values: &[f32]) -> Vec<Line> {
    values.chunks(LANES).map(|chunk| Line::of(chunk, |value| value)).collect()
}

/// Lines of a kernel variant in a panel: so many blocks of rows, and one more, or the variants of a row could lie a multiple of 4 KiB
/// from one another, and such lines drive each other out of the cache.
fn variant(blocks: usize) -> usize {
    blocks * LANES + 1
}

/// Lines of one panel: `[kernel row variant][kernel column variant]`, a [`variant`] each.
pub(crate) fn panel(blocks: usize) -> usize {
    VARIANTS * VARIANTS * variant(blocks)
}

/// First line of a kernel variant in a panel of so many blocks.
pub(crate) fn first_line(blocks: usize, row_variant: usize, column_variant: usize) -> usize {
    (row_variant * VARIANTS + column_variant) * variant(blocks)
}

/// Fetches the lines of a block of a panel's rows, which are to be written.
#[inline(always)]
fn fetch_block(blocks: usize, block: usize, panel: &[Line]) {
    panel.chunks_exact(variant(blocks)).for_each(|lines| fetch(&lines[block * LANES..][..LANES]));
}

/// Fills a panel's rows from `rows` on with zeros.
fn clear_behind(blocks: usize, rows: usize, panel: &mut [Line]) {
    panel.chunks_exact_mut(variant(blocks)).for_each(|lines| lines[rows..].fill(Line::ZERO));
}

/// Fills `taps` with the nine of up to sixteen columns, a line of columns each, and rubbish behind them. `weight(column)` begins with
/// its taps.
#[inline(always)]
pub(crate) fn tap_lines<'a, S: Simd>(
    simd: S,
    columns: usize,
    weight: impl Fn(usize) -> &'a [f32],
    taps: &mut [Line; LANES],
) {
    let mut tile = [Line::ZERO; LANES];
    for (lane, line) in tile[..columns].iter_mut().enumerate() {
        *line = Line::of(weight(lane), |value| value);
    }
    transpose(simd, &tile, taps);
}

/// Three neighbours, half the sum of the outer ones, and half their difference.
#[inline(always)]
fn variants<S: Simd>([a, b, c]: [f32x16<S>; KERNEL]) -> [f32x16<S>; VARIANTS] {
    let mut all = [a, b, c, a, a];
    all[HALF_SUM] = (a + c) * 0.5;
    all[HALF_DIFFERENCE] = (a - c) * 0.5;
    all
}

/// Writes a row's taps and their variants by columns and rows into a panel of so many blocks.
#[inline(always)]
fn write_row<S: Simd>(simd: S, blocks: usize, row: usize, taps: &[Line; LANES], panel: &mut [Line]) {
    let tap = |tap: usize| taps[tap].load(simd);
    // Written out: what is mapped from array to array is called, a value at a time.
    let a = variants([tap(0), tap(1), tap(2)]);
    let b = variants([tap(3), tap(4), tap(5)]);
    let c = variants([tap(6), tap(7), tap(8)]);
    for x in 0..VARIANTS {
        for (y, line) in variants([a[x], b[x], c[x]]).into_iter().enumerate() {
            panel[first_line(blocks, y, x) + row].store(line);
        }
    }
}

/// Fills one panel, whose columns are `columns` and whose rows are `rows` channels. `weight(column, row)` begins with the nine taps.
#[inline(always)]
fn fill_panel<'a, S: Simd>(
    simd: S,
    panel: &mut [Line],
    columns: usize,
    rows: usize,
    weight: impl Fn(usize, usize) -> &'a [f32],
) {
    let mut taps = [Line::ZERO; LANES];
    let blocks = rows.div_ceil(LANES);
    clear_behind(blocks, rows, panel);
    for row in 0..rows {
        if row % LANES == 0 {
            fetch_block(blocks, row / LANES, panel);
        }
        tap_lines(simd, columns, |lane| weight(lane, row), &mut taps);
        write_row(simd, blocks, row, &taps, panel);
    }
}

/// Packs weights `[out, in, 3, 3]` for the forward pass: a panel for each output block, lines of output channels.
pub(crate) fn forward(level: Level, shape: &BlockShape, weight: &[f32]) -> Buffer<Line> {
    let panel = panel(shape.in_blocks());
    let mut lines = Buffer::new(shape.out_blocks() * panel);
    lines.par_chunks_mut(panel).enumerate().for_each(|(block, lines)| {
        let columns = LANES.min(shape.out_channels - block * LANES);
        let of = |lane, input| &weight[((block * LANES + lane) * shape.in_channels + input) * TAPS..];
        dispatch!(level, simd => fill_panel(simd, lines, columns, shape.in_channels, of));
    });
    lines
}

/// Packs weights `[out, in, 3, 3]` for the input's gradient: a panel for each input block, lines of input channels.
pub(crate) fn backward(level: Level, shape: &BlockShape, weight: &[f32]) -> Buffer<Line> {
    let panel = panel(shape.out_blocks());
    let mut lines = Buffer::new(shape.in_blocks() * panel);
    lines.par_chunks_mut(panel).enumerate().for_each(|(block, lines)| {
        let columns = LANES.min(shape.in_channels - block * LANES);
        let of = |lane, output| &weight[(output * shape.in_channels + block * LANES + lane) * TAPS..];
        dispatch!(level, simd => fill_panel(simd, lines, columns, shape.out_channels, of));
    });
    lines
}

/// Takes the `scale` of a normalisation of the output, in lines of channels, into weights [packed](forward) for it.
pub(crate) fn scale_outputs(shape: &BlockShape, packed: &mut [Line], scale: &[Line]) {
    packed.par_chunks_mut(panel(shape.in_blocks())).zip(scale).for_each(|(lines, scale)| {
        for line in lines {
            line.0.iter_mut().zip(scale.0).for_each(|(weight, scale)| *weight *= scale);
        }
    });
}

/// Packs weights `[out, in, 3, 3]` for planes: `[output block][tap][input channel]`.
pub(crate) fn planes(shape: &BlockShape, weight: &[f32]) -> Buffer<Line> {
    let panel = TAPS * shape.in_channels;
    let mut lines = Buffer::new(shape.out_blocks() * panel);
    lines.fill(Line::ZERO);
    for (output, weight) in weight.chunks_exact(panel).enumerate() {
        for (i, &value) in weight.iter().enumerate() {
            let (input, tap) = (i / TAPS, i % TAPS);
            lines[output / LANES * panel + tap * shape.in_channels + input].0[output % LANES] = value;
        }
    }
    lines
}
