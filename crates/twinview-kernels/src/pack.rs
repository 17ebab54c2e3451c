//! Weights and per-channel values in the order in which the tiles read them.

use rayon::prelude::*;

use crate::normalise::Affine;
use crate::plan::{BlockShape, KERNEL, TAPS};
use crate::spans::{HALF_DIFFERENCE, HALF_SUM, VARIANTS};
use crate::tile::{LANES, Line};
use crate::workspace::Buffer;

/// Values of each channel as lines, the last filled up with zeros.
pub(crate) fn channels(values: &[f32]) -> Vec<Line> {
    values.chunks(LANES).map(|chunk| Line::of(chunk, |value| value)).collect()
}

/// Lines of one panel: `[kernel row variant][kernel column variant][block][16]`.
fn panel(blocks: usize) -> usize {
    VARIANTS * VARIANTS * blocks * LANES
}

/// Fills one panel, whose columns are `columns` and whose rows are `rows` channels, with `weight(column, row)`, the nine taps.
fn fill_panel<'a>(lines: &mut [Line], columns: usize, rows: usize, weight: impl Fn(usize, usize) -> &'a [f32]) {
    let each = lines.len() / (VARIANTS * VARIANTS);
    if columns < LANES || rows < each {
        lines.fill(Line::ZERO);
    }
    for lane in 0..columns {
        for row in 0..rows {
            let taps = weight(lane, row);
            for (tap, &value) in taps.iter().enumerate() {
                lines[(tap / KERNEL * VARIANTS + tap % KERNEL) * each + row].0[lane] = value;
            }
        }
    }
    // Half sums and differences of the outer columns, and then of the outer rows.
    let mut add_variants = |of: usize, step: usize| {
        for i in 0..each {
            let (a, b) = (lines[of * each + i].0, lines[(of + 2 * step) * each + i].0);
            let sum = std::array::from_fn(|lane| 0.5 * (a[lane] + b[lane]));
            let difference = std::array::from_fn(|lane| 0.5 * (a[lane] - b[lane]));
            lines[(of + HALF_SUM * step) * each + i] = Line(sum);
            lines[(of + HALF_DIFFERENCE * step) * each + i] = Line(difference);
        }
    };
    for row in 0..KERNEL {
        add_variants(row * VARIANTS, 1);
    }
    for column in 0..VARIANTS {
        add_variants(column, VARIANTS);
    }
}

/// Packs weights `[out, in, 3, 3]` for the forward pass: a panel for each output block, lines of output channels.
pub(crate) fn forward(shape: &BlockShape, weight: &[f32]) -> Buffer<Line> {
    let panel = panel(shape.in_blocks());
    let mut lines = Buffer::new(shape.out_blocks() * panel);
    lines.par_chunks_mut(panel).enumerate().for_each(|(block, lines)| {
        let columns = LANES.min(shape.out_channels - block * LANES);
        fill_panel(lines, columns, shape.in_channels, |lane, input| {
            let first = ((block * LANES + lane) * shape.in_channels + input) * TAPS;
            &weight[first..first + TAPS]
        });
    });
    lines
}

/// Packs weights `[out, in, 3, 3]` for the input's gradient: a panel for each input block, lines of input channels.
pub(crate) fn backward(shape: &BlockShape, weight: &[f32]) -> Buffer<Line> {
    let panel = panel(shape.out_blocks());
    let mut lines = Buffer::new(shape.in_blocks() * panel);
    lines.par_chunks_mut(panel).enumerate().for_each(|(block, lines)| {
        let columns = LANES.min(shape.in_channels - block * LANES);
        fill_panel(lines, columns, shape.out_channels, |lane, output| {
            let first = (output * shape.in_channels + block * LANES + lane) * TAPS;
            &weight[first..first + TAPS]
        });
    });
    lines
}

/// Weights of one group's forward pass, the normalisation `scale · y + shift` of the input folded in.
#[derive(Debug)]
pub(crate) struct ForwardWeights {
    /// As [`forward`] packs them.
    pub(crate) lines: Buffer<Line>,
    /// What each tap adds because of the shift: `[output block][tap]`.
    pub(crate) shifts: Vec<Line>,
}

impl ForwardWeights {
    /// From weights packed by [`forward`], with nothing folded in.
    pub(crate) fn plain(shape: &BlockShape, packed: Buffer<Line>) -> Self {
        Self { lines: packed, shifts: vec![Line::ZERO; shape.out_blocks() * TAPS] }
    }

    /// From weights packed by [`forward`], with the scale of a normalisation of the output.
    pub(crate) fn scaled(shape: &BlockShape, mut packed: Buffer<Line>, scale: &[Line]) -> Self {
        let panels = packed.par_chunks_mut(panel(shape.in_blocks()));
        panels.zip(scale).for_each(|(lines, scale)| {
            for line in lines {
                line.0.iter_mut().zip(scale.0).for_each(|(weight, scale)| *weight *= scale);
            }
        });
        Self::plain(shape, packed)
    }

    /// From weights packed by [`forward`], behind a normalisation.
    pub(crate) fn new(shape: &BlockShape, packed: &[Line], affine: &Affine) -> Self {
        let inputs = shape.in_blocks() * LANES;
        let panel = panel(shape.in_blocks());
        let mut lines = Buffer::new(packed.len());
        let mut shifts = vec![Line::ZERO; shape.out_blocks() * TAPS];
        let panels = lines.par_chunks_mut(panel).zip(packed.par_chunks(panel));
        panels.zip(shifts.par_chunks_mut(TAPS)).for_each(|((lines, packed), shifts)| {
            for (lines, packed) in lines.chunks_exact_mut(inputs).zip(packed.chunks_exact(inputs)) {
                for (line, packed) in lines[shape.in_channels..].iter_mut().zip(&packed[shape.in_channels..]) {
                    *line = *packed;
                }
                for ((line, packed), scale) in lines.iter_mut().zip(packed).zip(&affine.scale) {
                    line.0 = packed.0.map(|weight| scale * weight);
                }
            }
            for (tap, line) in shifts.iter_mut().enumerate() {
                let first = (tap / KERNEL * VARIANTS + tap % KERNEL) * inputs;
                let mut sums = [0.0f64; LANES];
                for (packed, &shift) in packed[first..].iter().zip(&affine.shift) {
                    for (sum, &weight) in sums.iter_mut().zip(&packed.0) {
                        *sum += f64::from(shift) * f64::from(weight);
                    }
                }
                line.0 = sums.map(|sum| sum as f32);
            }
        });
        Self { lines, shifts }
    }
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
