//! SimSiam's predictor and loss on plain slices.
//!
//! A predictor is a linear layer into a bottleneck, batch normalisation, ReLU, and a linear layer back out. With `a` the
//! bottleneck's values and a one behind them, and `W` the outer layer's weights and its bias below them, a prediction is
//! `p = a W`. It is as wide as the features, and never made, nor is its gradient: against a target `t` the loss needs
//! `p·t = a·(W t)` and `|p|² = a W Wᵀ·a`. The gradient of `p` is `α t − β p`, so that of `a` is `α W t − β W Wᵀ a`, and
//! that of `W` is `Σ α a tᵀ − (Σ β a aᵀ) W`. That leaves five products of the features' width where six would be, and
//! far less to read and write.

use fearless_simd::{Level, dispatch};
use rayon::prelude::*;

use crate::cosine::{Pair, dot_and_squares, target_row};
use crate::product::{Panels, column_sums, columns_by_columns, rows_by_each, rows_by_panels};
use crate::rows_norm::{Layout, Normalisation};
use crate::tile::LANES;
use crate::workspace::zeros;

/// The trained values of a predictor.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Parameters<'a> {
    /// `[features, bottleneck]`.
    pub(crate) hidden_weight: &'a [f32],
    pub(crate) hidden_bias: &'a [f32],
    pub(crate) gamma: &'a [f32],
    pub(crate) beta: &'a [f32],
    /// `[bottleneck, features]`.
    pub(crate) output_weight: &'a [f32],
    pub(crate) output_bias: &'a [f32],
}

/// Gradients of [`Parameters`], and of the features.
pub(crate) struct Gradients {
    pub(crate) features: Vec<f32>,
    pub(crate) hidden_weight: Vec<f32>,
    pub(crate) hidden_bias: Vec<f32>,
    pub(crate) gamma: Vec<f32>,
    pub(crate) beta: Vec<f32>,
    pub(crate) output_weight: Vec<f32>,
    pub(crate) output_bias: Vec<f32>,
}

/// What the backward pass needs of the forward pass. Rows are as long as the bottleneck and one more, but `hidden`'s.
#[derive(Clone, Debug)]
pub(crate) struct Tape {
    /// Before normalisation.
    hidden: Vec<f32>,
    pub(crate) normalisations: Vec<Normalisation>,
    /// `W`.
    output: Vec<f32>,
    /// `a`.
    bottleneck: Vec<f32>,
    /// `W z` of the features `z`.
    toward: Vec<f32>,
    /// `W Wᵀ a`.
    along: Vec<f32>,
    pairs: Vec<Pair>,
}

/// The mean negative cosine similarity of `features`' predictions and their targets. `layout` is that of the bottleneck.
pub(crate) fn forward(level: Level, features: &[f32], parameters: &Parameters, layout: Layout) -> (f32, Tape) {
    let Parameters { hidden_weight, hidden_bias, gamma, beta, output_weight, output_bias } = *parameters;
    let (channels, width) = (layout.channels, output_bias.len());
    let each = channels + 1;
    let into = Panels::new(hidden_weight, channels);
    let out_of = Panels::transposed(output_weight, width);
    let [hidden, toward] = rows_by_each(level, features, [(&into, hidden_bias), (&out_of, &[])]);
    let normalisations = layout.normalisations(level, &hidden, gamma, beta);
    let mut bottleneck = Vec::with_capacity(layout.rows * each);
    for row in layout.forward(&hidden, &normalisations).chunks_exact(channels) {
        bottleneck.extend_from_slice(row);
        bottleneck.push(1.0);
    }
    // The bias's products by themselves: a panel of sixteen columns for one would be a waste.
    let sums: Vec<[f32; 3]> =
        features.par_chunks_exact(width).map(|row| dot_and_squares_of(level, row, output_bias)).collect();
    let toward = with_column(&toward, channels, sums.iter().map(|[dot, ..]| *dot));
    let output = [output_weight, output_bias].concat();
    let gram = rows_by_panels(level, &output, &out_of, &[]);
    let square = dot_and_squares_of(level, output_bias, output_bias)[0];
    let gram = with_column(&gram, channels, gram[channels * channels..].iter().copied().chain([square]));
    let along = rows_by_panels(level, &bottleneck, &Panels::new(&gram, each), &[]);

    let pairs: Vec<Pair> = (0..layout.rows)
        .map(|row| {
            let dot = |other: &[f32], of: usize| {
                let (a, b) = (bottleneck[row * each..].iter().take(each), &other[of * each..]);
                a.zip(b).map(|(a, b)| f64::from(a * b)).sum::<f64>()
            };
            let square = dot(&along, row).max(0.0);
            let target = target_row(row, layout.rows, layout.groups);
            Pair::of(dot(&toward, target) as f32, square.sqrt() as f32, sums[target][1].sqrt())
        })
        .collect();
    let sum: f64 = pairs.iter().map(|pair| f64::from(pair.cosine)).sum();
    let loss = (-sum / layout.rows as f64) as f32;
    (loss, Tape { hidden, normalisations, output, bottleneck, toward, along, pairs })
}

fn dot_and_squares_of(level: Level, a: &[f32], b: &[f32]) -> [f32; 3] {
    dispatch!(level, simd => dot_and_squares(simd, a, b))
}

/// `matrix`, `[rows, columns]`, with another column behind.
fn with_column(matrix: &[f32], columns: usize, values: impl Iterator<Item = f32>) -> Vec<f32> {
    matrix.chunks_exact(columns).zip(values).flat_map(|(row, value)| row.iter().copied().chain([value])).collect()
}

/// Gradients of `scale` times the loss.
pub(crate) fn backward(
    level: Level,
    features: &[f32],
    parameters: &Parameters,
    layout: Layout,
    tape: &Tape,
    scale: f32,
) -> Gradients {
    let (rows, channels, width) = (layout.rows, layout.channels, parameters.output_bias.len());
    let each = channels + 1;
    let slopes: Vec<(f32, f32)> = tape.pairs.iter().map(|pair| pair.slopes(-scale / rows as f32)).collect();
    let mut gradient = Vec::with_capacity(rows * channels);
    // `β a` of each row, and, in the row of its target, `α a` behind the gradient of `hidden`.
    let mut along = Vec::with_capacity(rows * each);
    let mut left = vec![0.0; rows * (channels + each)];
    for (row, &(alpha, beta)) in slopes.iter().enumerate() {
        let target = target_row(row, layout.rows, layout.groups);
        let toward = &tape.toward[target * each..][..channels];
        gradient.extend(toward.iter().zip(&tape.along[row * each..]).map(|(t, p)| alpha * t - beta * p));
        let a = &tape.bottleneck[row * each..][..each];
        along.extend(a.iter().map(|a| beta * a));
        for (left, a) in left[target * (channels + each) + channels..].iter_mut().zip(a) {
            *left = alpha * a;
        }
    }
    let (hidden, gamma, beta) = layout.backward(level, &tape.hidden, &gradient, &tape.normalisations);
    for (left, hidden) in left.chunks_exact_mut(channels + each).zip(hidden.chunks_exact(channels)) {
        left[..channels].copy_from_slice(hidden);
    }

    let mut products = columns_by_columns(level, &left, channels + each, features, width);
    let outer = products.split_off(channels * width);
    let squares = columns_by_columns(level, &tape.bottleneck, each, &along, each);
    let inner = rows_by_panels(level, &squares, &Panels::new(&tape.output, width), &[]);
    let mut output_weight: Vec<f32> = outer.iter().zip(&inner).map(|(outer, inner)| outer - inner).collect();
    let output_bias = output_weight.split_off(channels * width);

    let back = Panels::transposed(parameters.hidden_weight, channels);
    Gradients {
        features: rows_by_panels(level, &hidden, &back, &[]),
        hidden_weight: transpose(&products, width),
        hidden_bias: column_sums(&hidden, channels),
        gamma,
        beta,
        output_weight,
        output_bias,
    }
}

/// The transpose of `matrix`, `[rows, columns]`.
fn transpose(matrix: &[f32], columns: usize) -> Vec<f32> {
    let rows = matrix.len() / columns;
    let mut out = zeros(matrix.len());
    // Sixteen columns at a time: every line of the matrix is read once.
    out.par_chunks_mut(LANES * rows).enumerate().for_each(|(block, out)| {
        for (row, values) in matrix.chunks_exact(columns).enumerate() {
            for (out, value) in out[row..].iter_mut().step_by(rows).zip(&values[block * LANES..]) {
                *out = *value;
            }
        }
    });
    out
}
