//! SimSiam's loss against its composed version.

use burn::tensor::{Device, Gradients, Tensor};
use proptest::prelude::*;

use super::{Draws, bits, distance, fixed, largest, values, wide};
use crate::rows_norm::{self, Layout};
use crate::simsiam::{self, Predictor, simsiam_loss};
use crate::{BatchStatistics, linear};

/// Bound on a gradient's error, relative to its largest value.
const TOLERANCE: f64 = 1e-5;

const EPSILON: f32 = 1e-5;

/// Results by name.
pub(super) type Outcomes = Vec<(String, Vec<f64>)>;

/// A predictor drawn as PyTorch draws one.
pub(super) fn predictor(draws: &mut Draws, width: usize, bottleneck: usize) -> Predictor {
    let device = Device::flex().autodiff();
    let mut tensor = |shape: [usize; 2], bound: f32| draws.uniform(shape, -bound, bound, &device);
    let (inward, outward) = ((1.0 / width as f32).sqrt(), (1.0 / bottleneck as f32).sqrt());
    let vector = |tensor: Tensor<2>| tensor.flatten::<1>(0, 1).detach().require_grad();
    Predictor {
        hidden_weight: tensor([width, bottleneck], inward).require_grad(),
        hidden_bias: vector(tensor([1, bottleneck], inward)),
        gamma: vector(tensor([1, bottleneck], 0.5) + 1.0),
        beta: vector(tensor([1, bottleneck], 0.5)),
        epsilon: EPSILON,
        output_weight: tensor([bottleneck, width], outward).require_grad(),
        output_bias: vector(tensor([1, width], outward)),
    }
}

/// The same in double precision.
pub(super) fn wide_predictor(predictor: &Predictor) -> Predictor {
    Predictor {
        hidden_weight: wide(&predictor.hidden_weight),
        hidden_bias: wide(&predictor.hidden_bias),
        gamma: wide(&predictor.gamma),
        beta: wide(&predictor.beta),
        epsilon: predictor.epsilon,
        output_weight: wide(&predictor.output_weight),
        output_bias: wide(&predictor.output_bias),
    }
}

/// The gradients of its parameters.
pub(super) fn gradients(predictor: &Predictor, grads: &Gradients) -> Outcomes {
    let Predictor { hidden_weight, hidden_bias, gamma, beta, output_weight, output_bias, .. } = predictor;
    let matrices = [("hidden weight", hidden_weight), ("output weight", output_weight)];
    let vectors = [("hidden bias", hidden_bias), ("gamma", gamma), ("beta", beta), ("output bias", output_bias)];
    let matrices = matrices.map(|(name, tensor)| (name.to_owned(), values(tensor.grad(grads).expect("gradient"))));
    let vectors = vectors.map(|(name, tensor)| (name.to_owned(), values(tensor.grad(grads).expect("gradient"))));
    matrices.into_iter().chain(vectors).collect()
}

/// The value of the bottleneck that is nearest to ReLU's kink; all in double precision.
pub(super) fn nearest_to_kink(features: Tensor<2>, predictor: Predictor, views: usize) -> f64 {
    let hidden = linear::composed(features, predictor.hidden_weight, predictor.hidden_bias);
    let [rows, channels] = hidden.dims();
    let layout = Layout { rows, channels, groups: views, epsilon: EPSILON, with_relu: false };
    let (normalised, _) = rows_norm::composed(hidden, predictor.gamma, predictor.beta, layout);
    values(normalised).into_iter().map(f64::abs).fold(f64::INFINITY, f64::min)
}

/// Each of the results is as in `truth`, relative to the largest of it.
///
/// The loss is a mean of cosines that may cancel. A bias before a normalisation has no gradient but rounding: what that is made
/// of is as large as the shift's gradient. `nothings` names others of that kind, each with what is as large as its terms.
pub(super) fn compare(
    fused: &Outcomes,
    truth: &Outcomes,
    nothings: &[(String, String)],
    tolerance: f64,
) -> Result<(), TestCaseError> {
    let size = |name: &str| truth.iter().find(|(other, _)| other == name).map_or(1.0, |(_, values)| largest(values));
    for ((name, fused), (_, truth)) in fused.iter().zip(truth) {
        let size = match (name.as_str(), nothings.iter().find(|(nothing, _)| nothing == name)) {
            ("loss", _) => 1.0,
            ("hidden bias", _) => size("beta"),
            (_, Some((_, terms))) => size(terms),
            (name, None) => size(name),
        };
        let worst = distance(fused, truth) / size;
        prop_assert!(worst < tolerance, "{name}: {worst}");
    }
    Ok(())
}

struct Case {
    features: Tensor<2>,
    predictor: Predictor,
    views: usize,
}

impl Case {
    /// The second view's features are the first's, `noise` of them replaced, so predictions are not all at right angles.
    fn new(batch: usize, views: usize, width: usize, bottleneck: usize) -> Self {
        let device = Device::flex().autodiff();
        let mut draws = Draws(23);
        let mut tensor = |shape: [usize; 2], bound: f32| draws.uniform(shape, -bound, bound, &device);
        let image = tensor([batch, width], 1.0);
        let views_of_it = (0..views).map(|_| image.clone() + tensor([batch, width], 0.5)).collect();
        let features = Tensor::cat(views_of_it, 0).detach().require_grad();
        Self { features, predictor: predictor(&mut draws, width, bottleneck), views }
    }

    fn in_f64(&self) -> Self {
        let predictor = wide_predictor(&self.predictor);
        Self { features: wide(&self.features), predictor, views: self.views }
    }

    fn nearest_to_kink(&self) -> f64 {
        let Self { features, predictor, views } = self.in_f64();
        nearest_to_kink(features, predictor, views)
    }

    fn outcomes(&self, run: impl Fn(Tensor<2>, Predictor, usize) -> (Tensor<1>, BatchStatistics)) -> Outcomes {
        let (loss, statistics) = run(self.features.clone(), self.predictor.clone(), self.views);
        // Not the loss itself, so that a gradient that comes from further on counts.
        let grads = (loss.clone() * 3.0).backward();
        let results = [
            ("loss", values(loss)),
            ("mean", values(statistics.mean)),
            ("variance", values(statistics.variance)),
            ("features", values(self.features.grad(&grads).expect("gradient"))),
        ];
        let results = results.map(|(name, values)| (name.to_owned(), values));
        results.into_iter().chain(gradients(&self.predictor, &grads)).collect()
    }

    fn check(&self) -> Result<(), TestCaseError> {
        compare(&self.outcomes(simsiam_loss), &self.in_f64().outcomes(simsiam::composed), &[], TOLERANCE)
    }
}

#[test]
fn simsiam_agrees_at_the_edges_of_its_blocks() {
    for (batch, width, bottleneck) in [(12, 16, 16), (13, 17, 15), (25, 257, 33), (49, 129, 64)] {
        Case::new(batch, 2, width, bottleneck).check().expect("agreement");
    }
}

// Of a few rows, or of a few features, all that counts cancels, and what is left is rounding on both sides.
proptest! {
    #![proptest_config(fixed(60, 3))]

    #[test]
    fn random_predictors_agree(batch in 8..40usize, views in 1..4usize, width in 8..200usize, bottleneck in 2..40usize) {
        let case = Case::new(batch, views, width, bottleneck);
        prop_assume!(case.nearest_to_kink() > 1e-5);
        case.check()?;
    }
}

#[test]
fn results_do_not_depend_on_threads() {
    let case = Case::new(70, 2, 300, 33);
    let run = || case.outcomes(simsiam_loss);
    let once = bits(1, run);
    for threads in [1, 2, 4] {
        assert!(bits(threads, run) == once, "{threads} threads");
    }
}

#[test]
fn a_prediction_of_no_length_has_a_finite_loss() {
    let mut case = Case::new(5, 2, 20, 3);
    case.predictor.output_weight = case.predictor.output_weight.zeros_like().detach().require_grad();
    case.predictor.output_bias = case.predictor.output_bias.zeros_like().detach().require_grad();
    let outcomes = case.outcomes(simsiam_loss);
    assert_eq!(outcomes[0].1, [0.0]);
    for (name, values) in &outcomes {
        assert!(largest(values).is_finite(), "{name}");
    }
    let (_, output) = outcomes.iter().find(|(name, _)| name == "output weight").expect("its gradient");
    assert!(largest(output) > 0.0, "the way out of it");
}

#[test]
fn a_nan_comes_through() {
    let case = Case::new(5, 2, 20, 3);
    let nan = Tensor::full([1, 1], f32::NAN, &case.features.device().inner());
    let features = case.features.clone().inner().slice_assign([2..3, 4..5], nan);
    let (loss, _) = simsiam_loss(features.autodiff(), case.predictor, 2);
    assert!(values(loss)[0].is_nan());
}
