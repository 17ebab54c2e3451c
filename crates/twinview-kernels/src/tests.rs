//! The fused stack against the composed one, over random shapes.

use burn::tensor::{DType, Device, Tensor, TensorData, activation::relu};
use proptest::prelude::*;
use proptest::test_runner::{Config, RngSeed};

use crate::operation::{BatchStatistics, Block, RunningStatistics, shapes};
use crate::{
    BlockParameters, BlockShape, Level, composed, conv_relu_bn_stack, conv_relu_bn_stack_inference,
    conv_relu_bn_stack_of_bytes, cosine, negative_cosine_similarity, stack,
};

/// A stack, an input and what to weigh the features with.
struct Case {
    input: Tensor<4>,
    blocks: Vec<Block>,
    groups: usize,
}

/// Uniform values from a small generator of the tests' own (xorshift), the same on every machine.
struct Draws(u64);

impl Draws {
    fn uniform<const D: usize>(&mut self, shape: [usize; D], low: f32, high: f32, device: &Device) -> Tensor<D> {
        let values: Vec<f32> = (0..shape.iter().product())
            .map(|_| {
                self.0 ^= self.0 << 13;
                self.0 ^= self.0 >> 7;
                self.0 ^= self.0 << 17;
                low + (high - low) * ((self.0 >> 40) as f32 / (1u32 << 24) as f32)
            })
            .collect();
        Tensor::from_data(TensorData::new(values, shape), device)
    }
}

impl Case {
    fn new(per_group: usize, groups: usize, size: (usize, usize), channels: &[usize], strides: &[usize]) -> Self {
        let device = Device::flex().autodiff();
        let mut draws = Draws(0x9e37_79b9_7f4a_7c15 ^ per_group as u64);
        let input = draws.uniform([per_group * groups, channels[0], size.0, size.1], -1.0, 1.0, &device).require_grad();
        let blocks = channels
            .windows(2)
            .zip(strides)
            .map(|(pair, &stride)| {
                let bound = (1.0 / (pair[0] as f32 * 9.0)).sqrt();
                Block {
                    weight: draws.uniform([pair[1], pair[0], 3, 3], -bound, bound, &device).require_grad(),
                    bias: draws.uniform([pair[1]], -bound, bound, &device).require_grad(),
                    gamma: draws.uniform([pair[1]], 0.5, 1.5, &device).require_grad(),
                    beta: draws.uniform([pair[1]], -0.5, 0.5, &device).require_grad(),
                    stride,
                    epsilon: 1e-5,
                }
            })
            .collect();
        Self { input, blocks, groups }
    }

    /// The same case in double precision.
    fn in_f64(&self) -> Self {
        let blocks = self.blocks.iter().map(|block| Block {
            weight: wide(&block.weight),
            bias: wide(&block.bias),
            gamma: wide(&block.gamma),
            beta: wide(&block.beta),
            ..block.clone()
        });
        Self { input: wide(&self.input), blocks: blocks.collect(), groups: self.groups }
    }

    /// Features, statistics and every gradient, as named flat vectors.
    fn outcomes(
        &self,
        run: impl Fn(Tensor<4>, &[Block], usize) -> (Tensor<2>, Vec<BatchStatistics>),
        weights: &Tensor<2>,
    ) -> Vec<(String, Vec<f64>)> {
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

fn wide<const D: usize>(tensor: &Tensor<D>) -> Tensor<D> {
    tensor.clone().inner().cast(DType::F64).autodiff().require_grad()
}

fn values<const D: usize>(tensor: Tensor<D>) -> Vec<f64> {
    tensor.into_data().iter::<f64>().collect()
}

/// Largest size of a value.
fn largest(values: &[f64]) -> f64 {
    values.iter().fold(0.0, |worst: f64, value| worst.max(value.abs()))
}

/// Largest difference.
fn distance(a: &[f64], b: &[f64]) -> f64 {
    assert_eq!(a.len(), b.len());
    a.iter().zip(b).fold(0.0, |worst: f64, (a, b)| worst.max((a - b).abs()))
}

/// Where each block's ReLU let values through in the fused forward pass, as 1 and 0: `[block]`, shaped as its output.
fn masks(case: &Case) -> Vec<Tensor<4>> {
    let shapes = shapes(case.input.dims(), &case.blocks);
    let flat = |tensor: Tensor<1>| -> Vec<f32> { tensor.into_data().iter::<f32>().collect() };
    let values: Vec<_> = case
        .blocks
        .iter()
        .map(|b| {
            (flat(b.weight.clone().flatten(0, 3)), flat(b.bias.clone()), flat(b.gamma.clone()), flat(b.beta.clone()))
        })
        .collect();
    let blocks: Vec<_> = values
        .iter()
        .map(|(weight, bias, gamma, beta)| BlockParameters { weight, bias, gamma, beta, epsilon: 1e-5 })
        .collect();
    let input = flat(case.input.clone().flatten(0, 3));
    let (_, tape) = stack::forward(Level::new(), &input, case.groups, &shapes, &blocks);
    let mask = |(index, shape): (usize, &BlockShape)| {
        let mask: Vec<f64> = tape.activations(index).iter().map(|&v| f64::from(u8::from(v > 0.0))).collect();
        let shape = [case.input.dims()[0], shape.out_channels, shape.out_height(), shape.out_width()];
        Tensor::from_data(TensorData::new(mask, shape), (&Device::flex(), DType::F64))
    };
    shapes.iter().enumerate().map(mask).collect()
}

/// Compares the fused stack with the composed one in double precision: it must be within 1e-5, or where
/// a channel has so few values that normalising them magnifies rounding errors, no further than three times
/// the composed one in single precision. At ReLU's kink, where rounding decides
/// the side and so a whole gradient, the reference takes the fused pass's side; that this happens at the kink
/// only is checked. A gradient is compared relative to the largest of its block or to 1, the size of the
/// terms summed: normalisation may take nearly everything away and leave but their rounding errors.
fn compare(case: &Case) -> Result<(), TestCaseError> {
    let masks = masks(case);
    let reference = |input: Tensor<4>, blocks: &[Block], groups: usize| {
        composed::with_activation(input, blocks, groups, |block, group, values| {
            let rows = masks[block].dims()[0] / groups;
            let mask = masks[block].clone().narrow(0, group * rows, rows).cast(values.dtype());
            let kept = values.clone() * mask;
            let off = (relu(values.inner()) - kept.clone().inner()).abs().max().cast(DType::F64).into_scalar::<f64>();
            assert!(off < 1e-5, "off the kink by {off}");
            kept
        })
    };
    let features = conv_relu_bn_stack(case.input.clone(), &case.blocks, case.groups).0.dims();
    let weights = Draws(7).uniform(features, -1.0, 1.0, &Device::flex());
    let truth = case.in_f64().outcomes(reference, &weights.clone().cast(DType::F64));
    let composed = case.outcomes(reference, &weights);
    let fused = case.outcomes(conv_relu_bn_stack, &weights);
    for (((name, truth_values), (_, fused)), (_, composed)) in truth.iter().zip(&fused).zip(&composed) {
        let scale = truth
            .iter()
            .filter(|(other, _)| other.split(' ').nth(1) == name.split(' ').nth(1))
            .fold(1.0, |scale: f64, (_, values)| scale.max(largest(values)));
        let composed = distance(truth_values, composed) / scale;
        let fused = distance(truth_values, fused) / scale;
        prop_assert!(fused < (3.0 * composed).max(1e-5), "{name}: fused {fused}, composed {composed}");
    }
    Ok(())
}

#[test]
fn article_backbone_agrees() {
    let case = Case::new(26, 2, (28, 28), &[1, 32, 64, 128], &[2, 2, 2]);
    compare(&case).expect("agreement");
}

proptest! {
    #![proptest_config(Config { cases: 60, rng_seed: RngSeed::Fixed(1), failure_persistence: None, ..Config::default() })]

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
        let case = Case::new(per_group, groups, (height, width), &channels, &strides);
        // Two or three values normalised are -1, 0 and 1 whatever they were: all gradients are rounding errors.
        let smallest = shapes(case.input.dims(), &case.blocks).iter().map(|s| s.out_positions()).min();
        prop_assume!(smallest.is_some_and(|positions| positions * per_group >= 8));
        compare(&case)?;
    }

    #[test]
    fn cosine_agrees(per_group in 1..20usize, groups in 1..3usize, width in 1..100usize) {
        let device = Device::flex().autodiff();
        let mut draws = Draws(11);
        let shape = [per_group * groups, width];
        let prediction = draws.uniform(shape, -1.0, 1.0, &device).require_grad();
        let target = draws.uniform(shape, -1.0, 1.0, &device);
        let truth = cosine::composed(wide(&prediction), wide(&target), groups);
        let fused = negative_cosine_similarity(prediction.clone(), target.clone(), groups);
        prop_assert!(distance(&values(truth), &values(fused.clone())) < 1e-6);
        let wide_prediction = wide(&prediction);
        let truth = cosine::composed(wide_prediction.clone(), wide(&target), groups) * 3.0;
        let truth = wide_prediction.grad(&truth.backward()).map(values).expect("gradient");
        let fused = prediction.grad(&(fused * 3.0).backward()).map(values).expect("gradient");
        let distance = distance(&truth, &fused) / largest(&truth).max(1e-2);
        prop_assert!(distance < 1e-5, "{}", distance);
    }

    #[test]
    fn inference_agrees(batch in 1..120usize, size in 1..12usize, inputs in 1..4usize, outputs in 1..40usize) {
        let case = Case::new(batch, 1, (size, size + 1), &[inputs, outputs, 20], &[2, 1]);
        let mut draws = Draws(9);
        let running = statistics(&case.blocks, &mut draws);
        let expected =
            composed::conv_relu_bn_stack_inference(case.input.clone().inner(), &case.blocks, &running);
        let fused = conv_relu_bn_stack_inference(case.input.clone(), &case.blocks, &running);
        prop_assert_eq!(expected.dims(), fused.dims());
        let expected = values(expected);
        let distance = distance(&expected, &values(fused)) / largest(&expected).max(1.0);
        prop_assert!(distance < 1e-5, "{}", distance);
    }
}

/// Statistics such as a trained stack has.
fn statistics(blocks: &[Block], draws: &mut Draws) -> Vec<RunningStatistics> {
    let device = Device::flex();
    let mut each = |block: &Block| RunningStatistics {
        mean: draws.uniform(block.bias.dims(), -0.5, 0.5, &device),
        variance: draws.uniform(block.bias.dims(), 0.1, 2.0, &device),
    };
    blocks.iter().map(&mut each).collect()
}

/// Features of bytes are, bit for bit, those of the same images in f32, whatever the number of images and threads.
#[test]
fn bytes_are_the_values_from_0_to_1() {
    let case = Case::new(1, 1, (9, 7), &[2, 20, 33], &[2, 2]);
    let running = statistics(&case.blocks, &mut Draws(9));
    let each = 2 * 9 * 7;
    let bytes: Vec<u8> = (0..101 * each).map(|i| (i * i % 256) as u8).collect();
    let floats = |count: usize| {
        let values: Vec<f32> = bytes[..count * each].iter().map(|&byte| f32::from(byte) / 255.0).collect();
        Tensor::<4>::from_data(TensorData::new(values, [count, 2, 9, 7]), &Device::flex())
    };
    let bits = |features: &[f32]| features.iter().map(|value| value.to_bits()).collect::<Vec<u32>>();
    let all = conv_relu_bn_stack_of_bytes(&bytes, [2, 9, 7], &case.blocks, &running);
    let width = all.len() / 101;
    for (count, threads) in [(1, 1), (16, 4), (48, 2), (49, 1), (95, 2), (101, 4)] {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().expect("a pool");
        let pixels = &bytes[..count * each];
        let some = pool.install(|| conv_relu_bn_stack_of_bytes(pixels, [2, 9, 7], &case.blocks, &running));
        assert_eq!(bits(&some), bits(&all[..count * width]), "{count} images on {threads} threads");
        let of_floats = conv_relu_bn_stack_inference(floats(count), &case.blocks, &running);
        assert_eq!(of_floats.dims(), [count, width]);
        assert_eq!(bits(&some), bits(&of_floats.into_data().iter::<f32>().collect::<Vec<_>>()), "{count} images");
    }
    assert!(conv_relu_bn_stack_of_bytes(&[], [2, 9, 7], &case.blocks, &running).is_empty());
}

/// More images than the composed form takes at a time.
#[test]
fn bytes_agree_with_the_composed_form() {
    let case = Case::new(1, 1, (5, 4), &[1, 6, 18], &[2, 1]);
    let running = statistics(&case.blocks, &mut Draws(9));
    let bytes: Vec<u8> = (0..515 * 20).map(|i| (i * 7919 % 256) as u8).collect();
    let wide = |features: Vec<f32>| features.into_iter().map(f64::from).collect::<Vec<f64>>();
    let fused = wide(conv_relu_bn_stack_of_bytes(&bytes, [1, 5, 4], &case.blocks, &running));
    let composed = wide(composed::conv_relu_bn_stack_of_bytes(&bytes, [1, 5, 4], &case.blocks, &running));
    assert!(distance(&fused, &composed) / largest(&composed).max(1.0) < 1e-5);
}

/// Bits of everything a step computes on `threads` threads.
fn bits(case: &Case, threads: usize) -> Vec<Vec<u64>> {
    let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().expect("a pool");
    let weights = Draws(7).uniform([case.input.dims()[0], 12 * 4 * 3], -1.0, 1.0, &Device::flex());
    let outcomes = pool.install(|| case.outcomes(conv_relu_bn_stack, &weights));
    outcomes.into_iter().map(|(_, values)| values.iter().map(|v| v.to_bits()).collect()).collect()
}

#[test]
fn results_do_not_depend_on_threads() {
    let case = Case::new(101, 2, (13, 9), &[1, 20, 12], &[2, 2]);
    let once = bits(&case, 1);
    for threads in [1, 2, 4] {
        assert!(bits(&case, threads) == once, "{threads} threads");
    }
}

#[test]
#[cfg(target_arch = "x86_64")]
fn narrower_instructions_agree() {
    let shapes = [
        BlockShape { in_channels: 1, out_channels: 20, height: 9, width: 7, stride: 2 },
        BlockShape { in_channels: 20, out_channels: 33, height: 5, width: 4, stride: 1 },
    ];
    let mut draws = Draws(13);
    let mut flat = |count: usize| -> Vec<f32> {
        draws.uniform([count], -0.3, 0.3, &Device::flex()).into_data().iter::<f32>().collect()
    };
    let values: Vec<_> = shapes
        .iter()
        .map(|shape| (flat(shape.in_channels * shape.out_channels * 9), flat(shape.out_channels)))
        .collect();
    let blocks: Vec<_> = values
        .iter()
        .map(|(weight, bias)| BlockParameters { weight, bias, gamma: bias, beta: bias, epsilon: 1e-5 })
        .collect();
    let (input, gradient) = (flat(50 * 63), flat(50 * shapes[1].out_features()));
    let run = |level: Level| {
        let (features, tape) = stack::forward(level, &input, 2, &shapes, &blocks);
        let (gradients, input) = stack::backward(&tape, &blocks, &gradient, true);
        let mut outcomes = vec![features, input.expect("gradient")];
        outcomes.extend(gradients.into_iter().flat_map(|g| [g.weight, g.bias, g.gamma, g.beta]));
        outcomes.into_iter().map(|v| v.into_iter().map(f64::from).collect::<Vec<_>>()).collect::<Vec<_>>()
    };
    let best = run(Level::new());
    let levels = [Level::new().as_sse2().map(Level::Sse2), Level::new().as_sse4_2().map(Level::Sse4_2)];
    for level in levels.into_iter().flatten() {
        for (best, other) in best.iter().zip(run(level)) {
            let distance = distance(best, &other) / largest(best).max(1.0);
            assert!(distance < 1e-5, "{level:?}: {distance}");
        }
    }
}

#[test]
fn a_nan_comes_through() {
    let case = Case::new(4, 1, (6, 6), &[1, 16], &[2]);
    let input = case.input.clone().inner() * f32::NAN;
    let (features, statistics) = conv_relu_bn_stack(input, &case.blocks, 1);
    assert!(values(features).iter().all(|value| value.is_nan()));
    assert!(values(statistics[0].mean.clone()).iter().all(|value| value.is_nan()));
}
