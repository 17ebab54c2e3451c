//! SimSiam's predictor and loss on plain slices.
//!
//! A predictor is a linear layer into a bottleneck, batch normalisation, ReLU, and a linear layer back out. With `a` the
//! bottleneck's values and a one behind them, and `W` the outer layer's weights and its bias below them, a prediction is
//! `p = a W`. It is as wide as the features, and never made, nor is its gradient: against a target `t` the loss needs
//! `p·t = a·(W t)` and `|p|² = a W Wᵀ·a`. The gradient of `p` is `α t − β p`, so that of `a` is `α W t − β W Wᵀ a`, and
//! that of `W` is `Σ α a tᵀ − (Σ β a aᵀ) W`. That leaves five products of the features' width where six would be, and
//! far less to read and write.
//!
//! The features are read where an encoder's last block left them, and their gradient goes on from there.

mod features;
mod gradients;
mod weights;

use fearless_simd::{Level, dispatch};

use self::features::RowProducts;
pub(crate) use self::features::{Features, Grid};
use self::gradients::{Left, WeightGradients};
use self::weights::Weights;
use crate::backward::{Above, GradientSums, Onward};
use crate::cosine::{Pair, dot_and_squares, target_row};
use crate::product::{Panels, column_sums, columns_by_columns, rows_by_panels};
use crate::rows_norm::{Layout, Normalisation};
use crate::tile::{LANES, Line};
use crate::vectorized::vectorized;
use crate::workspace::Buffer;

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

/// Gradients of [`Parameters`].
#[derive(Debug)]
pub(crate) struct Gradients {
    pub(crate) hidden_weight: Vec<f32>,
    pub(crate) hidden_bias: Vec<f32>,
    pub(crate) gamma: Vec<f32>,
    pub(crate) beta: Vec<f32>,
    pub(crate) output_weight: Vec<f32>,
    pub(crate) output_bias: Vec<f32>,
}

/// What is made of a predictor's weights alone.
pub(crate) struct Prepared {
    weights: Weights,
    /// `W Wᵀ`.
    gram: Vec<f32>,
}

impl Prepared {
    /// For features of `grid`.
    pub(crate) fn new(level: Level, grid: Grid, parameters: &Parameters) -> Self {
        let (weights, gram) = Weights::new(level, grid, parameters);
        let (channels, bias) = (parameters.hidden_bias.len(), parameters.output_bias);
        let [square, ..] = dispatch!(level, simd => dot_and_squares(simd, bias, bias));
        let of_bias = gram[channels * channels..].iter().copied().chain([square]);
        Self { gram: with_column(&gram, channels, of_bias), weights }
    }
}

/// The way back, come as far as the features.
pub(crate) struct AtFeatures<'a> {
    features: &'a Features<'a>,
    weights: &'a Weights,
    left: Left,
    of_weights: WeightGradients,
    hidden_bias: Vec<f32>,
    gamma: Vec<f32>,
    beta: Vec<f32>,
}

impl AtFeatures<'_> {
    /// Gradients of the parameters.
    pub(crate) fn gradients(self) -> Gradients {
        let Self { of_weights, hidden_bias, gamma, beta, .. } = self;
        let WeightGradients { hidden: hidden_weight, output: output_weight, bias: output_bias, .. } = of_weights;
        Gradients { hidden_weight, hidden_bias, gamma, beta, output_weight, output_bias }
    }
}

impl Above for &AtFeatures<'_> {
    fn sums(&self) -> &GradientSums {
        &self.of_weights.sums
    }

    fn onward(self, onward: &impl Onward) -> (Buffer<Line>, Buffer<f64>) {
        self.features.gradient(self.weights, &self.left, onward)
    }
}

/// What the backward pass needs of the forward pass. Rows are as long as the bottleneck and one more, but `hidden`'s.
#[derive(Debug)]
pub(crate) struct Tape {
    /// Before normalisation.
    hidden: Vec<f32>,
    pub(crate) normalisations: Vec<Normalisation>,
    weights: Weights,
    /// `a`.
    bottleneck: Vec<f32>,
    /// `W z` of the features `z`.
    toward: Vec<f32>,
    /// `W Wᵀ a`.
    along: Vec<f32>,
    pairs: Vec<Pair>,
}

/// The mean negative cosine similarity of `features`' predictions and their targets. `layout` is that of the bottleneck.
pub(crate) fn forward(
    level: Level,
    features: &Features,
    parameters: &Parameters,
    Prepared { weights, gram }: Prepared,
    layout: Layout,
) -> (f32, Tape) {
    let Parameters { hidden_bias, gamma, beta, .. } = *parameters;
    let channels = layout.channels;
    let each = channels + 1;
    let RowProducts { hidden, toward, sums } = features.products(&weights, hidden_bias);
    let normalisations = layout.normalisations(level, &hidden, gamma, beta);
    let mut bottleneck = Vec::with_capacity(layout.rows * each);
    for row in layout.forward(&hidden, &normalisations).chunks_exact(channels) {
        bottleneck.extend_from_slice(row);
        bottleneck.push(1.0);
    }
    let toward = with_column(&toward, channels, sums.iter().map(|[dot, _]| *dot));
    let along = rows_by_panels(level, &bottleneck, &Panels::new(&gram, each), &[]);

    let pair = |row: usize| {
        let dot = |other: &[f32], of: usize| exact_dot(&bottleneck[row * each..][..each], &other[of * each..][..each]);
        let square = dot(&along, row).max(0.0);
        let target = target_row(row, layout.rows, layout.groups);
        Pair::of(dot(&toward, target) as f32, square.sqrt() as f32, sums[target][1].sqrt())
    };
    let pairs: Vec<Pair> = vectorized(
        #[inline(always)]
        || (0..layout.rows).map(pair).collect(),
    );
    let sum: f64 = pairs.iter().map(|pair| f64::from(pair.cosine)).sum();
    let loss = (-sum / layout.rows as f64) as f32;
    (loss, Tape { hidden, normalisations, weights, bottleneck, toward, along, pairs })
}

/// The dot product, of products in f32 added in f64.
#[inline(always)]
fn exact_dot(a: &[f32], b: &[f32]) -> f64 {
    let (lines, rest) = a.as_chunks::<LANES>();
    let (others, other_rest) = b.as_chunks::<LANES>();
    let mut sums = [0.0; LANES];
    for (a, b) in lines.iter().zip(others) {
        for ((sum, a), b) in sums.iter_mut().zip(a).zip(b) {
            *sum += f64::from(a * b);
        }
    }
    let rests = rest.iter().zip(other_rest).map(|(a, b)| f64::from(a * b));
    sums.into_iter().chain(rests).sum()
}

/// `matrix`, `[rows, columns]`, with another column behind.
fn with_column(matrix: &[f32], columns: usize, values: impl Iterator<Item = f32>) -> Vec<f32> {
    matrix.chunks_exact(columns).zip(values).flat_map(|(row, value)| row.iter().copied().chain([value])).collect()
}

/// The way back from `scale` times the loss.
pub(crate) fn backward<'a>(
    level: Level,
    features: &'a Features,
    layout: Layout,
    tape: &'a Tape,
    scale: f32,
) -> AtFeatures<'a> {
    let (rows, channels) = (layout.rows, layout.channels);
    let (each, inner) = (channels + 1, channels.next_multiple_of(LANES));
    let columns = inner + each;
    let slopes: Vec<(f32, f32)> = tape.pairs.iter().map(|pair| pair.slopes(-scale / rows as f32)).collect();
    let mut gradient = Vec::with_capacity(rows * channels);
    // `β a` of each row, and, in the row of its target, `α a` behind the gradient of `hidden`.
    let mut along = Vec::with_capacity(rows * each);
    let mut left = vec![0.0; rows * columns];
    for (row, &(alpha, beta)) in slopes.iter().enumerate() {
        let target = target_row(row, layout.rows, layout.groups);
        let toward = &tape.toward[target * each..][..channels];
        gradient.extend(toward.iter().zip(&tape.along[row * each..]).map(|(t, p)| alpha * t - beta * p));
        let a = &tape.bottleneck[row * each..][..each];
        along.extend(a.iter().map(|a| beta * a));
        for (left, a) in left[target * columns + inner..].iter_mut().zip(a) {
            *left = alpha * a;
        }
    }
    let (hidden, gamma, beta) = layout.backward(level, &tape.hidden, &gradient, &tape.normalisations);
    for (left, hidden) in left.chunks_exact_mut(columns).zip(hidden.chunks_exact(channels)) {
        left[..channels].copy_from_slice(hidden);
    }
    let left = Left::new(features, &left, columns, inner);
    let squares = columns_by_columns(level, &tape.bottleneck, each, &along, each);
    let of_weights = features.weight_gradients(&tape.weights, &left, &squares);
    let hidden_bias = column_sums(&hidden, channels);
    AtFeatures { features, weights: &tape.weights, left, of_weights, hidden_bias, gamma, beta }
}
