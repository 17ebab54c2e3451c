//! Weights and per-channel values in the order in which the tiles read them.

use rayon::prelude::*;

use crate::plan::{BlockShape, TAPS};
use crate::tile::{LANES, Line};
use crate::workspace::Buffer;

/// Values of each channel as lines, the last filled up with zeros.
pub(crate) fn channels(values: &[f32]) -> Vec<Line> {
    values
        .chunks(LANES)
        .map(|chunk| {
            let mut line = Line::ZERO;
            line.0[..chunk.len()].copy_from_slice(chunk);
            line
        })
        .collect()
}

/// Weights of one group's forward pass, the normalisation `scale · y + shift` of the input folded in.
#[derive(Debug)]
pub(crate) struct ForwardWeights {
    /// `[output block][tap][input block][16 input channels]`, a line of output channels each.
    pub(crate) lines: Buffer<Line>,
    /// What each tap adds because of the shift: `[output block][tap]`.
    pub(crate) shifts: Vec<Line>,
}

/// Packs weights `[out, in, 3, 3]` for the forward pass behind a normalisation.
pub(crate) fn forward(shape: &BlockShape, weight: &[f32], scale: &[f32], shift: &[f32]) -> ForwardWeights {
    let panel = TAPS * shape.in_blocks() * LANES;
    let mut lines = Buffer::new(shape.out_blocks() * panel);
    let mut shifts = vec![Line::ZERO; shape.out_blocks() * TAPS];
    lines.par_chunks_mut(panel).zip(shifts.par_chunks_mut(TAPS)).enumerate().for_each(|(block, (lines, shifts))| {
        lines.fill(Line::ZERO);
        let each = shape.in_channels * TAPS;
        let outputs = weight.chunks_exact(each).skip(block * LANES).take(LANES);
        for (lane, weight) in outputs.enumerate() {
            let mut sums = [0.0f64; TAPS];
            for (input, weight) in weight.chunks_exact(TAPS).enumerate() {
                for tap in 0..TAPS {
                    lines[tap * shape.in_blocks() * LANES + input].0[lane] = scale[input] * weight[tap];
                    sums[tap] += f64::from(shift[input]) * f64::from(weight[tap]);
                }
            }
            for tap in 0..TAPS {
                shifts[tap].0[lane] = sums[tap] as f32;
            }
        }
    });
    ForwardWeights { lines, shifts }
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

/// Packs weights `[out, in, 3, 3]` for the input's gradient:
/// `[input block][tap][output block][16 output channels]`, a line of input channels each.
pub(crate) fn backward(shape: &BlockShape, weight: &[f32]) -> Buffer<Line> {
    let panel = TAPS * shape.out_blocks() * LANES;
    let mut lines = Buffer::new(shape.in_blocks() * panel);
    lines.par_chunks_mut(panel).enumerate().for_each(|(block, lines)| {
        lines.fill(Line::ZERO);
        for (output, weight) in weight.chunks_exact(shape.in_channels * TAPS).enumerate() {
            let inputs = weight.chunks_exact(TAPS).skip(block * LANES).take(LANES);
            for (lane, weight) in inputs.enumerate() {
                for tap in 0..TAPS {
                    lines[tap * shape.out_blocks() * LANES + output].0[lane] = weight[tap];
                }
            }
        }
    });
    lines
}
