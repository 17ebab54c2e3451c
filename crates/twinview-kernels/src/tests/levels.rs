//! Every set of instructions this processor has, and the portable path, against one another.
//!
//! These tests need no Burn and are small enough for an emulator or an interpreter.

use super::{Draws, distance, largest};
use crate::product::{Panels, columns_by_columns, rows_by_panels};
use crate::residual::network::{BlockShapes, LayerValues, Shapes};
use crate::rows_norm::Layout;
use crate::tile::{LANES, Line};
use crate::transformer::network::Sizes;
use crate::transpose::transpose;
use crate::{BlockParameters, BlockShape, Level, Moments, cosine, inference, predictor, residual, stack, transformer};
use fearless_simd::dispatch;

/// All levels but the portable one.
fn levels() -> Vec<Level> {
    let best = Level::new();
    #[cfg(target_arch = "x86_64")]
    let levels = [
        best.as_sse2().map(Level::Sse2),
        best.as_sse4_2().map(Level::Sse4_2),
        best.as_avx2().map(Level::Avx2),
        best.as_avx512().map(Level::Avx512),
    ];
    #[cfg(target_arch = "aarch64")]
    let levels = [best.as_neon().map(Level::Neon)];
    #[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
    let levels = [Some(best)];
    levels.into_iter().flatten().collect()
}

/// Runs `run` on each level; its results must be those of the portable path.
fn compare(run: impl Fn(Level) -> Vec<Vec<f32>>) {
    let in_f64 = |values: Vec<f32>| values.into_iter().map(f64::from).collect::<Vec<_>>();
    let portable = run(Level::fallback()).into_iter().map(in_f64).collect::<Vec<_>>();
    for level in levels() {
        for (index, (portable, other)) in portable.iter().zip(run(level)).enumerate() {
            let distance = distance(portable, &in_f64(other)) / largest(portable).max(1.0);
            assert!(distance < 2e-6, "{level:?}, result {index}: {distance}");
        }
    }
}

fn draws(seed: u64) -> impl FnMut(usize) -> Vec<f32> {
    let mut draws = Draws(seed);
    move |count| draws.values(count, -0.3, 0.3)
}

/// Rows of a test's input, in two groups.
const ROWS: usize = if cfg!(miri) { 6 } else { 106 };

#[test]
fn every_level_transposes() {
    let tile: [Line; LANES] =
        std::array::from_fn(|row| Line(std::array::from_fn(|column| (row * LANES + column) as f32)));
    let expected: [Line; LANES] = std::array::from_fn(|row| Line(std::array::from_fn(|column| tile[column].0[row])));
    for level in levels().into_iter().chain([Level::fallback()]) {
        let mut columns = [Line::ZERO; LANES];
        dispatch!(level, simd => transpose(simd, &tile, &mut columns));
        assert_eq!(columns, expected, "{level:?}");
    }
}

#[test]
fn levels_agree_on_a_stack() {
    let shapes = [
        BlockShape { in_channels: 1, out_channels: 20, height: 9, width: 7, stride: 2 },
        BlockShape { in_channels: 20, out_channels: 33, height: 5, width: 4, stride: 1 },
        BlockShape { in_channels: 33, out_channels: 5, height: 5, width: 4, stride: 2 },
    ];
    let mut flat = draws(13);
    let values: Vec<_> = shapes
        .iter()
        .map(|shape| (flat(shape.in_channels * shape.out_channels * 9), flat(shape.out_channels)))
        .collect();
    let blocks: Vec<_> = values
        .iter()
        .map(|(weight, bias)| BlockParameters { weight, bias, gamma: bias, beta: bias, epsilon: 1e-5 })
        .collect();
    let (input, gradient) = (flat(ROWS * 63), flat(ROWS * shapes[2].out_features()));
    let running: Vec<_> = values
        .iter()
        .map(|(_, bias)| Moments { mean: bias.clone(), variance: bias.iter().map(|v| v.abs() + 0.1).collect() })
        .collect();
    compare(|level| {
        let (features, tape) = stack::forward(level, &input, 2, &shapes, &blocks);
        let (gradients, input_gradient) = stack::backward(&tape, &blocks, &gradient, true);
        let inference = inference(level, &input, &shapes, &blocks, &running);
        let mut outcomes = vec![features, input_gradient.expect("gradient"), inference];
        outcomes.extend(gradients.into_iter().flat_map(|g| [g.weight, g.bias, g.gamma, g.beta]));
        outcomes
    });
}

#[test]
fn levels_agree_on_simsiam_behind_a_stack() {
    let shape = BlockShape { in_channels: 1, out_channels: 20, height: 7, width: 5, stride: 2 };
    let (width, channels) = (shape.out_features(), 18);
    let mut flat = draws(25);
    let (weight, bias, gamma, beta) = (flat(20 * 9), flat(20), flat(20), flat(20));
    let blocks = [BlockParameters { weight: &weight, bias: &bias, gamma: &gamma, beta: &beta, epsilon: 1e-5 }];
    let head = [width * channels, channels, channels, channels, channels * width, width].map(flat);
    let [hidden_weight, hidden_bias, gamma, beta, output_weight, output_bias] = head.each_ref().map(Vec::as_slice);
    let parameters = predictor::Parameters { hidden_weight, hidden_bias, gamma, beta, output_weight, output_bias };
    let layout = Layout { rows: ROWS, channels, groups: 2, epsilon: 1e-5, with_relu: true };
    let input = Draws(27).values(ROWS * 35, 0.0, 1.0);
    compare(|level| {
        let below = stack::run(level, &input, 2, &[shape], &blocks);
        let features = below.to_predict(&blocks);
        let prepared = predictor::Prepared::new(level, predictor::Grid::of(&shape), &parameters);
        let (loss, tape) = predictor::forward(level, &features, &parameters, prepared, layout);
        let above = predictor::backward(level, &features, layout, &tape, 1.0);
        let (gradients, input) = stack::backward_from(&below, &blocks, &below.packed(&blocks, true), &above, true);
        let head = above.gradients();
        let mut outcomes = vec![vec![loss], input.expect("gradient"), head.hidden_weight, head.gamma, head.beta];
        outcomes.extend([head.output_weight, head.output_bias]);
        outcomes.extend(gradients.into_iter().flat_map(|g| [g.weight, g.bias, g.gamma, g.beta]));
        outcomes
    });
}

#[test]
fn levels_agree_on_a_residual_network() {
    let stem = BlockShape { in_channels: 2, out_channels: 18, height: 5, width: 7, stride: 1 };
    let first = BlockShape { in_channels: 18, out_channels: 33, stride: 2, ..stem };
    let second = BlockShape { in_channels: 33, height: 3, width: 4, stride: 1, ..first };
    let block = |first, has_shortcut| BlockShapes { first, second, has_shortcut };
    let shapes = Shapes { stem, blocks: vec![block(first, true), block(second, false)], epsilon: 1e-5 };
    let mut flat = draws(21);
    let values: Vec<_> = shapes
        .layers()
        .into_iter()
        .map(|(shape, taps)| (flat(shape.in_channels * shape.out_channels * taps), flat(shape.out_channels)))
        .collect();
    let layers: Vec<_> = values
        .iter()
        .map(|(weight, gamma)| LayerValues { weight: &weight[..], gamma: &gamma[..], beta: gamma })
        .collect();
    let (input, gradient) = (flat(ROWS * 70), flat(ROWS * 33));
    let running: Vec<_> = values
        .iter()
        .map(|(_, mean)| Moments { mean: mean.clone(), variance: mean.iter().map(|v| v.abs() + 0.1).collect() })
        .collect();
    compare(|level| {
        let (features, tape) = residual::network::forward(level, &input, 2, &shapes, &layers);
        let (gradients, images) = residual::network::backward(&tape, &shapes, &layers, &gradient, true);
        let inference = residual::inference::inference(level, &input, &shapes, &layers, &running);
        let mut outcomes = vec![features, images.expect("gradient"), inference];
        outcomes.extend(gradients.into_iter().flat_map(|g| [g.weight, g.gamma, g.beta]));
        outcomes
    });
}

#[test]
fn levels_agree_on_a_transformer() {
    let (length, images) = if cfg!(miri) { (3, 2) } else { (18, 25) };
    let sizes = Sizes { length, width: 32, hidden: 48, head: 16, depth: 2, epsilon: 1e-6 };
    let mut flat = draws(23);
    let (tokens, gradient) = (flat(images * length * sizes.width), flat(images * sizes.width));
    let mut parameters = Vec::new();
    for _ in 0..sizes.depth {
        sizes.values(|rows, columns| parameters.push(flat(rows * columns)));
    }
    let parameters: Vec<&[f32]> = parameters.iter().map(Vec::as_slice).collect();
    let parameters = sizes.parameters(&parameters);
    compare(|level| {
        let (features, tape) = transformer::network::forward(level, &sizes, &parameters, &tokens);
        let (tokens_gradient, gradients) = transformer::network::backward(&tape, &parameters, &gradient);
        let inference = transformer::network::inference(level, &sizes, &parameters, &tokens);
        let mut outcomes = vec![features, tokens_gradient, inference];
        outcomes.extend(gradients);
        outcomes
    });
}

#[test]
fn levels_agree_on_products() {
    let (inputs, outputs) = if cfg!(miri) { (20, 18) } else { (270, 145) };
    let mut flat = draws(15);
    let (input, weight, bias) = (flat(ROWS * inputs), flat(inputs * outputs), flat(outputs));
    let gradient = flat(ROWS * outputs);
    compare(|level| {
        vec![
            rows_by_panels(level, &input, &Panels::new(&weight, outputs), &bias),
            rows_by_panels(level, &gradient, &Panels::transposed(&weight, outputs), &[]),
            columns_by_columns(level, &input, inputs, &gradient, outputs),
        ]
    });
}

#[test]
fn levels_agree_on_normalised_rows() {
    let channels = 18;
    let layout = Layout { rows: ROWS, channels, groups: 2, epsilon: 1e-5, with_relu: true };
    let mut flat = draws(17);
    let (input, gamma, beta) = (flat(ROWS * channels), flat(channels), flat(channels));
    let gradient = flat(ROWS * channels);
    compare(|level| {
        let normalisations = layout.normalisations(level, &input, &gamma, &beta);
        let (input, gamma, beta) = layout.backward(level, &input, &gradient, &normalisations);
        vec![input, gamma, beta]
    });
}

#[test]
fn levels_agree_on_cosines() {
    let mut flat = draws(19);
    let (prediction, target) = (flat(37), flat(37));
    compare(|level| {
        let pair = dispatch!(level, simd => cosine::Pair::new(simd, &prediction, &target));
        vec![vec![pair.cosine, pair.prediction, pair.target]]
    });
}
