//! Linear layers and the batch normalisation between them against their composed versions.
//!
//! Rounding errors grow with the terms of a sum, not with the sum, which may be nearly nothing. So every value
//! is compared relative to the size of the terms it is made of: no looser scale is needed at any shape.

use burn::tensor::{DType, Device, Tensor};
use proptest::prelude::*;

use super::{Draws, bits, fixed, largest, values, wide};
use crate::rows_norm::{self, Layout};
use crate::statistics::BatchStatistics;
use crate::{batch_norm, linear};

/// Bound on relative errors: three times the worst seen.
const TOLERANCE: f64 = 1e-6;

/// What a call computes: each result's name and values.
type Outcomes = Vec<(&'static str, Vec<f64>)>;

/// Every value of `fused` is within the tolerance of `truth`, relative to its terms.
fn compare(fused: &Outcomes, truth: &Outcomes, terms: &Outcomes) -> Result<(), TestCaseError> {
    for (((name, fused), (_, truth)), (_, terms)) in fused.iter().zip(truth).zip(terms) {
        prop_assert!(fused.len() == truth.len() && fused.len() == terms.len(), "{name}");
        let errors = fused.iter().zip(truth).zip(terms).map(|((fused, truth), terms)| (fused - truth).abs() / terms);
        let worst = largest(&errors.collect::<Vec<_>>());
        prop_assert!(worst < TOLERANCE, "{name}: {worst}");
    }
    Ok(())
}

/// Sizes on both sides of every constant by which work is cut.
fn size() -> impl Strategy<Value = usize> {
    prop_oneof![1 => Just(1usize), 3 => 2..60usize, 2 => 60..300usize, 1 => 300..560usize]
}

/// A linear layer, its input, and the gradient of its output.
struct Layer {
    input: Tensor<2>,
    weight: Tensor<2>,
    bias: Tensor<1>,
    gradient: Tensor<2>,
}

impl Layer {
    fn new(rows: usize, inputs: usize, outputs: usize) -> Self {
        let device = Device::flex().autodiff();
        let mut draws = Draws(17);
        let bound = (1.0 / inputs as f32).sqrt();
        Self {
            input: draws.uniform([rows, inputs], -1.0, 1.0, &device).require_grad(),
            weight: draws.uniform([inputs, outputs], -bound, bound, &device).require_grad(),
            bias: draws.uniform([outputs], -bound, bound, &device).require_grad(),
            gradient: draws.uniform([rows, outputs], -1.0, 1.0, &device),
        }
    }

    fn in_f64(&self) -> Self {
        Self {
            input: wide(&self.input),
            weight: wide(&self.weight),
            bias: wide(&self.bias),
            gradient: wide(&self.gradient),
        }
    }

    /// The layer whose results are the sums of the sizes of this one's terms.
    fn of_sizes(&self) -> Self {
        Self {
            input: self.input.clone().inner().abs().autodiff().require_grad(),
            weight: self.weight.clone().inner().abs().autodiff().require_grad(),
            bias: self.bias.clone().inner().abs().autodiff().require_grad(),
            gradient: self.gradient.clone().abs(),
        }
    }

    fn outcomes(&self, run: impl Fn(Tensor<2>, Tensor<2>, Tensor<1>) -> Tensor<2>) -> Outcomes {
        let output = run(self.input.clone(), self.weight.clone(), self.bias.clone());
        let grads = (output.clone() * self.gradient.clone()).sum().backward();
        vec![
            ("output", values(output)),
            ("input", values(self.input.grad(&grads).expect("gradient"))),
            ("weight", values(self.weight.grad(&grads).expect("gradient"))),
            ("bias", values(self.bias.grad(&grads).expect("gradient"))),
        ]
    }

    fn check(&self) -> Result<(), TestCaseError> {
        let (truth, composed) = (self.in_f64(), crate::linear::composed);
        compare(&self.outcomes(linear), &truth.outcomes(composed), &truth.of_sizes().outcomes(composed))
    }
}

/// Rows to normalise, and the gradient of the result.
struct Rows {
    input: Tensor<2>,
    gamma: Tensor<1>,
    beta: Tensor<1>,
    gradient: Tensor<2>,
    groups: usize,
    with_relu: bool,
}

/// Added to the variance.
const EPSILON: f32 = 1e-5;

impl Rows {
    /// Values are spread by 1 about `offset`.
    fn new(per_group: usize, groups: usize, channels: usize, offset: f32, with_relu: bool) -> Self {
        let device = Device::flex().autodiff();
        let mut draws = Draws(19);
        let shape = [per_group * groups, channels];
        Self {
            input: draws.uniform(shape, offset - 1.0, offset + 1.0, &device).require_grad(),
            gamma: draws.uniform([channels], 0.5, 1.5, &device).require_grad(),
            beta: draws.uniform([channels], -0.5, 0.5, &device).require_grad(),
            gradient: draws.uniform(shape, -1.0, 1.0, &device),
            groups,
            with_relu,
        }
    }

    fn in_f64(&self) -> Self {
        Self {
            input: wide(&self.input),
            gamma: wide(&self.gamma),
            beta: wide(&self.beta),
            gradient: wide(&self.gradient),
            ..*self
        }
    }

    fn outcomes(&self, run: impl Fn(&Self) -> (Tensor<2>, BatchStatistics)) -> Outcomes {
        let (output, statistics) = run(self);
        let grads = (output.clone() * self.gradient.clone()).sum().backward();
        vec![
            ("output", values(output)),
            ("mean", values(statistics.mean)),
            ("variance", values(statistics.variance)),
            ("input", values(self.input.grad(&grads).expect("gradient"))),
            ("gamma", values(self.gamma.grad(&grads).expect("gradient"))),
            ("beta", values(self.beta.grad(&grads).expect("gradient"))),
        ]
    }

    fn fused(&self) -> (Tensor<2>, BatchStatistics) {
        let Self { input, gamma, beta, groups, with_relu, .. } = self;
        batch_norm(input.clone(), gamma.clone(), beta.clone(), EPSILON, *groups, *with_relu)
    }

    /// Composed, with ReLU as a product by `mask`.
    fn composed(&self, mask: &Tensor<2>) -> (Tensor<2>, BatchStatistics) {
        let [rows, channels] = self.input.dims();
        let layout = Layout { rows, channels, groups: self.groups, epsilon: EPSILON, with_relu: false };
        let (output, statistics) =
            rows_norm::composed(self.input.clone(), self.gamma.clone(), self.beta.clone(), layout);
        (output * mask.clone(), statistics)
    }

    /// The sizes of the terms of each of [`Self::outcomes`], from f64 values and the true variance.
    ///
    /// Input less mean is the difference of two terms that may each be much larger; that, divided by the deviation,
    /// is what `condition` stands for.
    fn terms(&self, variance: &[f64]) -> Outcomes {
        let [rows, channels] = self.input.dims();
        let [input, gradient] = [&self.input, &self.gradient].map(|tensor| values(tensor.clone()));
        let [gamma, beta] = [&self.gamma, &self.beta].map(|tensor| values(tensor.clone()));
        let column =
            |matrix: &[f64], c: usize| -> Vec<f64> { matrix.iter().skip(c).step_by(channels).copied().collect() };
        let mut terms = vec![vec![]; 6];
        for c in 0..channels {
            let (input, gradient) = (column(&input, c), column(&gradient, c));
            let deviation = column(variance, c).into_iter().fold(f64::INFINITY, f64::min) + f64::from(EPSILON);
            let deviation = deviation.sqrt();
            let condition = largest(&input) / deviation;
            let sum: f64 = gradient.iter().map(|gradient| gradient.abs()).sum();
            let by_channel = [
                gamma[c] * condition + beta[c].abs(),
                largest(&input),
                largest(&input).powi(2),
                gamma[c] / deviation * largest(&gradient) * (1.0 + condition),
                sum * condition,
                sum,
            ];
            for (terms, term) in terms.iter_mut().zip(by_channel) {
                terms.push(term);
            }
        }
        let repeated = [rows, self.groups, self.groups, rows, 1, 1];
        let names = ["output", "mean", "variance", "input", "gamma", "beta"];
        names.into_iter().zip(terms.iter().zip(repeated).map(|(terms, times)| terms.repeat(times))).collect()
    }

    /// At ReLU's kink, where rounding decides the side, the reference takes the fused pass's side; that this
    /// happens at the kink only is checked.
    fn check(&self) -> Result<(), TestCaseError> {
        let wide = self.in_f64();
        let passed = self.fused().0.inner().greater_elem(0.0).float().cast(DType::F64).autodiff();
        let mask = if self.with_relu { passed } else { passed.ones_like() };
        let truth = wide.outcomes(|rows| rows.composed(&mask));
        let terms = wide.terms(&truth[2].1);
        if self.with_relu {
            let plain = values(wide.composed(&mask.ones_like()).0);
            for ((plain, kept), terms) in plain.iter().zip(&truth[0].1).zip(&terms[0].1) {
                prop_assert!((plain.max(0.0) - kept).abs() < TOLERANCE * terms, "off the kink: {plain}");
            }
        }
        compare(&self.outcomes(Self::fused), &truth, &terms)
    }
}

#[test]
fn layers_agree_at_the_edges_of_their_blocks() {
    for (rows, inputs, outputs) in
        [(1, 1, 1), (6, 16, 16), (24, 256, 128), (25, 257, 129), (128, 96, 64), (129, 97, 65), (3, 513, 257)]
    {
        Layer::new(rows, inputs, outputs).check().expect("agreement");
    }
}

#[test]
fn normalised_rows_agree_at_the_edges_of_their_blocks() {
    for (per_group, groups, channels) in [(1, 1, 1), (1, 3, 17), (2, 2, 16), (48, 1, 16), (49, 2, 33), (97, 3, 64)] {
        for with_relu in [false, true] {
            Rows::new(per_group, groups, channels, 0.5, with_relu).check().expect("agreement");
        }
    }
}

proptest! {
    #![proptest_config(fixed(60, 2))]

    #[test]
    fn random_layers_agree(rows in size(), inputs in size(), outputs in size()) {
        Layer::new(rows, inputs, outputs).check()?;
    }

    #[test]
    fn random_rows_agree(
        per_group in size(),
        groups in 1..4usize,
        channels in size(),
        offset in -3.0..3.0f32,
        with_relu: bool,
    ) {
        Rows::new(per_group, groups, channels, offset, with_relu).check()?;
    }
}

#[test]
fn results_do_not_depend_on_threads() {
    let layer = Layer::new(301, 270, 145);
    let rows = Rows::new(101, 3, 145, 0.5, true);
    let run = || [layer.outcomes(linear), rows.outcomes(Rows::fused)].concat();
    let once = bits(1, run);
    for threads in [1, 2, 4] {
        assert!(bits(threads, run) == once, "{threads} threads");
    }
}

/// `tensor` with a NaN at `[row, column]`.
fn with_nan(tensor: &Tensor<2>, row: usize, column: usize) -> Tensor<2> {
    let nan = Tensor::full([1, 1], f32::NAN, &tensor.device().inner());
    tensor.clone().inner().slice_assign([row..row + 1, column..column + 1], nan)
}

#[test]
fn a_nan_comes_through_a_layer() {
    let Layer { input, weight, bias, .. } = Layer::new(9, 20, 18);
    let output = values(linear(with_nan(&input, 7, 19), weight.inner(), bias.inner()));
    for (row, output) in output.chunks(18).enumerate() {
        assert!(output.iter().all(|value| value.is_nan() == (row == 7)), "row {row}");
    }
}

#[test]
fn a_nan_comes_through_normalisation() {
    for with_relu in [false, true] {
        let Rows { input, gamma, beta, .. } = Rows::new(50, 2, 18, 0.0, with_relu);
        let (output, statistics) =
            batch_norm(with_nan(&input, 60, 17), gamma.inner(), beta.inner(), EPSILON, 2, with_relu);
        // Of its group and channel, nothing is a number; everything else is.
        for (index, value) in values(output).into_iter().enumerate() {
            assert_eq!(value.is_nan(), index / 18 >= 50 && index % 18 == 17, "value {index}");
        }
        for (index, value) in values(statistics.variance).into_iter().enumerate() {
            assert_eq!(value.is_nan(), index == 18 + 17, "variance {index}");
        }
    }
}
