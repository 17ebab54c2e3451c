//! SimSiam's loss behind a stack of blocks, as one operation, against the composed form of both.

use burn::tensor::{Device, Tensor};
use proptest::prelude::*;

use super::simsiam::{Outcomes, compare, gradients, nearest_to_kink, predictor, wide_predictor};
use super::stack::{self, on_the_same_side};
use super::{Draws, bits, fixed, values};
use crate::conv_relu_bn_stack;
use crate::operation::{Block, shapes};
use crate::simsiam::{self, Predictor, StackSimSiam, simsiam_loss, stack_simsiam_loss};

/// Bound on a result's error, relative to its largest value.
const TOLERANCE: f64 = 1e-5;

struct Case {
    stack: stack::Case,
    predictor: Predictor,
}

impl Case {
    /// All views are of the same images, so that predictions are not all at right angles to what they are to predict.
    fn new(
        batch: usize,
        views: usize,
        size: (usize, usize),
        channels: &[usize],
        strides: &[usize],
        bottleneck: usize,
    ) -> Self {
        let mut stack = stack::Case::new(batch, views, size, channels, strides);
        let device = Device::flex().autodiff();
        let mut draws = Draws(29);
        let shape = [batch, channels[0], size.0, size.1];
        let image = draws.uniform(shape, -1.0, 1.0, &device);
        let views = (0..views).map(|_| image.clone() + draws.uniform(shape, -0.5, 0.5, &device)).collect();
        stack.input = Tensor::cat(views, 0).detach().require_grad();
        let width = shapes(stack.input.dims(), &stack.blocks).last().expect("a block").out_features();
        Self { stack, predictor: predictor(&mut draws, width, bottleneck) }
    }

    fn outcomes(&self, run: impl Fn(Tensor<4>, &[Block], Predictor, usize) -> StackSimSiam) -> Outcomes {
        let stack::Case { input, blocks, groups } = &self.stack;
        let pass = run(input.clone(), blocks, self.predictor.clone(), *groups);
        let grads = (pass.loss.clone() * 3.0).backward();
        let mut outcomes =
            vec![("loss".to_owned(), values(pass.loss)), ("features".to_owned(), values((pass.features)()))];
        for (i, statistics) in pass.blocks.into_iter().chain([pass.bottleneck]).enumerate() {
            outcomes.push((format!("mean {i}"), values(statistics.mean)));
            outcomes.push((format!("variance {i}"), values(statistics.variance)));
        }
        outcomes.extend(gradients(&self.predictor, &grads));
        outcomes.push(("input".to_owned(), values(input.grad(&grads).expect("gradient"))));
        for (i, block) in blocks.iter().enumerate() {
            outcomes.push((format!("weight {i}"), values(block.weight.grad(&grads).expect("gradient"))));
            outcomes.push((format!("bias {i}"), values(block.bias.grad(&grads).expect("gradient"))));
            outcomes.push((format!("gamma {i}"), values(block.gamma.grad(&grads).expect("gradient"))));
            outcomes.push((format!("beta {i}"), values(block.beta.grad(&grads).expect("gradient"))));
        }
        outcomes
    }

    fn check(&self) -> Result<(), TestCaseError> {
        let on_the_same_side = on_the_same_side(&self.stack);
        let reference = |input: Tensor<4>, blocks: &[Block], predictor: Predictor, views: usize| {
            let (features, blocks) = on_the_same_side(input, blocks, views);
            let (loss, bottleneck) = simsiam::composed(features.clone(), predictor, views);
            StackSimSiam { loss, blocks, bottleneck, features: Box::new(|| features.inner()) }
        };
        let wide = Self { stack: self.stack.in_f64(), predictor: wide_predictor(&self.predictor) };
        let (features, _) = on_the_same_side(wide.stack.input.clone(), &wide.stack.blocks, wide.stack.groups);
        prop_assume!(nearest_to_kink(features, wide.predictor.clone(), wide.stack.groups) > 1e-5);
        // The last shift moves all images alike, which the bottleneck's normalisation takes away.
        let last = self.stack.blocks.len() - 1;
        let nothings = [(format!("beta {last}"), format!("gamma {last}"))];
        compare(&self.outcomes(stack_simsiam_loss), &wide.outcomes(reference), &nothings, TOLERANCE)
    }
}

#[test]
fn simsiam_behind_the_article_backbone_agrees() {
    Case::new(70, 2, (28, 28), &[1, 32, 64, 128], &[2, 2, 2], 64).check().expect("agreement");
}

proptest! {
    #![proptest_config(fixed(60, 5))]

    #[test]
    fn random_stacks_and_predictors_agree(
        (batch, views) in (8..80usize, 1..4usize),
        size in (3..10usize, 3..10usize),
        inputs in 1..4usize,
        outputs in prop::collection::vec(8..40usize, 1..4),
        strides in prop::collection::vec(1..3usize, 3),
        bottleneck in 2..40usize,
    ) {
        let channels = [vec![inputs], outputs].concat();
        Case::new(batch, views, size, &channels, &strides, bottleneck).check()?;
    }
}

/// Bit for bit, as far as the loss that both make of the same features.
#[test]
fn the_features_are_those_of_the_stack() {
    let Case { stack: stack::Case { input, blocks, groups }, predictor } =
        Case::new(20, 2, (9, 8), &[2, 20, 24], &[2, 1], 18);
    let (features, statistics) = conv_relu_bn_stack(input.clone(), &blocks, groups);
    let (loss, _) = simsiam_loss(features.clone(), predictor.clone(), groups);
    let pass = stack_simsiam_loss(input, &blocks, predictor, groups);
    assert_eq!(values((pass.features)()), values(features));
    for (one, other) in pass.blocks.into_iter().zip(statistics) {
        assert_eq!(values(one.mean), values(other.mean));
        assert_eq!(values(one.variance), values(other.variance));
    }
    assert!((values(pass.loss)[0] - values(loss)[0]).abs() < 1e-6);
}

#[test]
fn results_do_not_depend_on_threads() {
    let case = Case::new(101, 2, (13, 9), &[1, 20, 12], &[2, 2], 33);
    let run = || case.outcomes(stack_simsiam_loss);
    let once = bits(1, run);
    for threads in [1, 2, 4] {
        assert!(bits(threads, run) == once, "{threads} threads");
    }
}

#[test]
fn a_nan_comes_through() {
    let Case { stack: stack::Case { input, blocks, groups }, predictor } = Case::new(5, 2, (6, 6), &[1, 16], &[2], 3);
    let pass = stack_simsiam_loss(input.inner().autodiff() * f32::NAN, &blocks, predictor, groups);
    assert!(values(pass.loss)[0].is_nan());
    assert!(values((pass.features)()).iter().all(|value| value.is_nan()));
}
