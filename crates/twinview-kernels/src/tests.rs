//! The fused stack against the composed one, over random shapes.

use burn::tensor::{Device, Distribution, Tensor};
use proptest::prelude::*;
use proptest::test_runner::Config;

use crate::operation::{BatchStatistics, Block, RunningStatistics};
use crate::{composed, conv_relu_bn_stack, conv_relu_bn_stack_inference};

/// A stack, an input and what to weigh the features with.
struct Case {
    input: Tensor<4>,
    blocks: Vec<Block>,
    groups: usize,
}

fn uniform<const D: usize>(shape: [usize; D], low: f64, high: f64, device: &Device) -> Tensor<D> {
    Tensor::<D>::random(shape, Distribution::Uniform(low, high), device)
}

impl Case {
    fn new(per_group: usize, groups: usize, size: (usize, usize), channels: &[usize], strides: &[usize]) -> Self {
        let device = Device::flex().autodiff();
        let input =
            uniform([per_group * groups, channels[0], size.0, size.1], -1.0, 1.0, &device).require_grad();
        let blocks = channels
            .windows(2)
            .zip(strides)
            .map(|(pair, &stride)| {
                let bound = (1.0 / (pair[0] as f64 * 9.0)).sqrt();
                Block {
                    weight: uniform([pair[1], pair[0], 3, 3], -bound, bound, &device).require_grad(),
                    bias: uniform([pair[1]], -bound, bound, &device).require_grad(),
                    gamma: uniform([pair[1]], 0.5, 1.5, &device).require_grad(),
                    beta: uniform([pair[1]], -0.5, 0.5, &device).require_grad(),
                    stride,
                    epsilon: 1e-5,
                }
            })
            .collect();
        Self { input, blocks, groups }
    }

    /// Features, statistics and every gradient, as named flat vectors.
    fn outcomes(
        &self,
        run: impl Fn(Tensor<4>, &[Block], usize) -> (Tensor<2>, Vec<BatchStatistics>),
        weights: &Tensor<2>,
    ) -> Vec<(String, Vec<f32>)> {
        let (features, statistics) = run(self.input.clone(), &self.blocks, self.groups);
        let mut outcomes = vec![("features".to_owned(), values(features.clone()))];
        for (i, statistics) in statistics.into_iter().enumerate() {
            outcomes.push((format!("mean {i}"), values(statistics.mean)));
            outcomes.push((format!("variance {i}"), values(statistics.variance)));
        }
        let grads = (features * weights.clone()).sum().backward();
        outcomes.push(("input".to_owned(), values(self.input.grad(&grads).expect("gradient"))));
        for (i, block) in self.blocks.iter().enumerate() {
            outcomes.push((format!("weight {i}"), values(block.weight.grad(&grads).expect("gradient"))));
            outcomes.push((format!("bias {i}"), values(block.bias.grad(&grads).expect("gradient"))));
            outcomes.push((format!("gamma {i}"), values(block.gamma.grad(&grads).expect("gradient"))));
            outcomes.push((format!("beta {i}"), values(block.beta.grad(&grads).expect("gradient"))));
        }
        outcomes
    }
}

fn values<const D: usize>(tensor: Tensor<D>) -> Vec<f32> {
    tensor.into_data().try_to_vec().expect("f32 values")
}

/// Largest difference, relative to the largest value.
fn distance(a: &[f32], b: &[f32]) -> f32 {
    assert_eq!(a.len(), b.len());
    let scale = a.iter().fold(1e-20f32, |scale, value| scale.max(value.abs()));
    a.iter().zip(b).fold(0.0, |worst, (a, b)| (a - b).abs().max(worst)) / scale
}

fn compare(case: &Case) -> Result<(), TestCaseError> {
    let features = composed::conv_relu_bn_stack(case.input.clone(), &case.blocks, case.groups).0.dims();
    let weights = uniform(features, -1.0, 1.0, &Device::flex());
    let expected = case.outcomes(composed::conv_relu_bn_stack, &weights);
    let fused = case.outcomes(conv_relu_bn_stack, &weights);
    for ((name, expected), (_, fused)) in expected.iter().zip(&fused) {
        let distance = distance(expected, fused);
        prop_assert!(distance < 1e-5, "{name}: {distance}");
    }
    Ok(())
}

#[test]
fn article_backbone_agrees() {
    let case = Case::new(26, 2, (28, 28), &[1, 32, 64, 128], &[2, 2, 2]);
    compare(&case).expect("agreement");
}

proptest! {
    #![proptest_config(Config { cases: 40, ..Config::default() })]

    #[test]
    fn random_stacks_agree(
        per_group in prop_oneof![3 => 1..20usize, 1 => 20..150usize],
        groups in 1..3usize,
        height in 3..12usize,
        width in 3..12usize,
        inputs in prop_oneof![Just(1usize), Just(3), 2..20usize],
        outputs in prop::collection::vec(1..40usize, 1..4),
        strides in prop::collection::vec(1..3usize, 3),
    ) {
        let mut channels = vec![inputs];
        channels.extend(outputs);
        compare(&Case::new(per_group, groups, (height, width), &channels, &strides))?;
    }

    #[test]
    fn inference_agrees(batch in 1..120usize, size in 1..12usize, inputs in 1..4usize, outputs in 1..40usize) {
        let case = Case::new(batch, 1, (size, size + 1), &[inputs, outputs, 20], &[2, 1]);
        let device = Device::flex();
        let running: Vec<RunningStatistics> = case.blocks.iter().map(|block| RunningStatistics {
            mean: uniform(block.bias.dims(), -0.5, 0.5, &device),
            variance: uniform(block.bias.dims(), 0.1, 2.0, &device),
        }).collect();
        let expected =
            composed::conv_relu_bn_stack_inference(case.input.clone().inner(), &case.blocks, &running);
        let fused = conv_relu_bn_stack_inference(case.input.clone(), &case.blocks, &running);
        prop_assert_eq!(expected.dims(), fused.dims());
        let distance = distance(&values(expected), &values(fused));
        prop_assert!(distance < 1e-5, "{}", distance);
    }
}
