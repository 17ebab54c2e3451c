//! The fused residual network against the composed one.

use burn::tensor::{DType, Device, Tensor, TensorData, activation::relu};
use proptest::prelude::*;
use proptest::test_runner::TestRunner;

use super::{Draws, bits, distance, fixed, largest, values, wide};
use crate::parameters::Parameters;
use crate::residual::composed::{self, Between, ByBatch};
use crate::residual::network;
use crate::residual::operation::{Layout, layers, tensors};
use crate::{
    ConvNorm, LayerStatistics, Level, ResidualBlock, ResidualNetwork, RunningStatistics, residual_network,
    residual_network_inference, residual_network_of_bytes,
};

/// Sizes of a network and its images.
#[derive(Clone, Debug)]
struct Sizes {
    per_group: usize,
    groups: usize,
    size: (usize, usize),
    in_channels: usize,
    stem: usize,
    /// Channels and stride of each block. Where neither changes, `x` itself is the shortcut.
    blocks: Vec<(usize, usize)>,
}

/// Images and a network.
struct Case {
    images: Tensor<4>,
    network: ResidualNetwork,
    groups: usize,
}

impl Case {
    fn new(sizes: &Sizes) -> Self {
        let device = Device::flex().autodiff();
        let mut draws = Draws(0x9e37_79b9_7f4a_7c15 ^ sizes.per_group as u64);
        let (height, width) = sizes.size;
        let shape = [sizes.per_group * sizes.groups, sizes.in_channels, height, width];
        let images = draws.uniform(shape, -1.0, 1.0, &device).require_grad();
        let mut layer = |inputs: usize, outputs: usize, kernel: usize| {
            let bound = (3.0 / (inputs * kernel * kernel) as f32).sqrt();
            ConvNorm {
                weight: draws.uniform([outputs, inputs, kernel, kernel], -bound, bound, &device).require_grad(),
                gamma: draws.uniform([outputs], 0.5, 1.5, &device).require_grad(),
                beta: draws.uniform([outputs], -0.5, 0.5, &device).require_grad(),
            }
        };
        let stem = layer(sizes.in_channels, sizes.stem, 3);
        let mut inputs = sizes.stem;
        let blocks = sizes.blocks.iter().map(|&(outputs, stride)| {
            let block = ResidualBlock {
                first: layer(inputs, outputs, 3),
                second: layer(outputs, outputs, 3),
                shortcut: (inputs != outputs || stride > 1).then(|| layer(inputs, outputs, 1)),
                stride,
            };
            inputs = outputs;
            block
        });
        let blocks = blocks.collect();
        Self { images, network: ResidualNetwork { stem, blocks, epsilon: 1e-5 }, groups: sizes.groups }
    }

    /// The same case in double precision.
    fn in_f64(&self) -> Self {
        let layer = |layer: &ConvNorm| ConvNorm {
            weight: wide(&layer.weight),
            gamma: wide(&layer.gamma),
            beta: wide(&layer.beta),
        };
        let blocks = self.network.blocks.iter().map(|block| ResidualBlock {
            first: layer(&block.first),
            second: layer(&block.second),
            shortcut: block.shortcut.as_ref().map(layer),
            stride: block.stride,
        });
        let network = ResidualNetwork { stem: layer(&self.network.stem), blocks: blocks.collect(), epsilon: 1e-5 };
        Self { images: wide(&self.images), network, groups: self.groups }
    }

    /// Features, statistics and every gradient, as named flat vectors.
    fn outcomes(
        &self,
        run: impl Fn(Tensor<4>, &ResidualNetwork, usize) -> (Tensor<2>, Vec<LayerStatistics>),
        weights: &Tensor<2>,
    ) -> Vec<(String, Vec<f64>)> {
        let (features, statistics) = run(self.images.clone(), &self.network, self.groups);
        let mut outcomes = vec![("features".to_owned(), values(features.clone()))];
        for (i, layer) in statistics.into_iter().enumerate() {
            outcomes.push((format!("count {i}"), vec![layer.count as f64]));
            outcomes.push((format!("mean {i}"), values(layer.batch.mean)));
            outcomes.push((format!("variance {i}"), values(layer.batch.variance)));
        }
        let grads = (features * weights.clone()).sum().backward();
        outcomes.push(("images".to_owned(), values(self.images.grad(&grads).expect("gradient"))));
        for (i, layer) in layers(&self.network).enumerate() {
            outcomes.push((format!("weight {i}"), values(layer.weight.grad(&grads).expect("gradient"))));
            outcomes.push((format!("gamma {i}"), values(layer.gamma.grad(&grads).expect("gradient"))));
            outcomes.push((format!("beta {i}"), values(layer.beta.grad(&grads).expect("gradient"))));
        }
        outcomes
    }

    /// What to weigh the features with.
    fn weights(&self) -> Tensor<2> {
        let last = self.network.blocks.last().map_or(&self.network.stem, |block| &block.second);
        Draws(7).uniform([self.images.dims()[0], last.gamma.dims()[0]], -1.0, 1.0, &Device::flex())
    }
}

/// The composed network, whose ReLUs let through what those of the fused one did: where rounding decides the side, so does it
/// a whole gradient. That this happens at the kink only is checked.
struct SameSides {
    by_batch: ByBatch,
    activations: std::vec::IntoIter<Vec<f32>>,
}

impl Between for SameSides {
    fn normalise(&mut self, values: Tensor<4>, layer: &ConvNorm) -> Tensor<4> {
        self.by_batch.normalise(values, layer)
    }

    fn activate(&mut self, values: Tensor<4>) -> Tensor<4> {
        let through = self.activations.next().expect("a ReLU of the fused network");
        let mask: Vec<f64> = through.iter().map(|&value| f64::from(u8::from(value > 0.0))).collect();
        let mask = Tensor::from_data(TensorData::new(mask, values.dims()), (&Device::flex(), DType::F64));
        let kept = values.clone() * mask;
        let off = (relu(values.inner()) - kept.clone().inner()).abs().max().into_scalar::<f64>();
        assert!(off < 2e-4, "off the kink by {off}");
        kept
    }
}

/// Compares the fused network with the composed one in double precision, relative to the largest value of its layer, or to 1
/// where that is smaller. The tolerance grows where a channel hardly varies, whose rounding errors normalisation divides by the deviation; see the
/// tests of the stack.
fn compare(case: &Case) -> Result<(), TestCaseError> {
    let parameters = Parameters::new(tensors(&case.network));
    let images: Vec<f32> = case.images.clone().flatten::<1>(0, 3).into_data().iter::<f32>().collect();
    let layout = Layout::new(case.images.dims(), &case.network, case.groups);
    let layers = layout.parameters(&parameters.values());
    let (_, tape) = network::forward(Level::new(), &images, case.groups, &layout.shapes, &layers);
    let activations = tape.activations(&layout.shapes);
    let reference = |images: Tensor<4>, network: &ResidualNetwork, groups: usize| {
        let by_batch = ByBatch { groups, epsilon: network.epsilon, statistics: Vec::new() };
        let mut between = SameSides { by_batch, activations: activations.clone().into_iter() };
        let features = composed::run(images, network, &mut between);
        (features, between.by_batch.statistics)
    };
    let weights = case.weights();
    let truth = case.in_f64().outcomes(reference, &weights.clone().cast(DType::F64));
    let fused = case.outcomes(residual_network, &weights);
    let variances = truth.iter().filter(|(name, _)| name.starts_with("variance")).flat_map(|(_, values)| values);
    let smallest = variances.fold(1.0, |least: f64, &variance| least.min(variance));
    let tolerance = f64::max(1e-5, 1e-6 / (smallest + 1e-5).sqrt());
    for ((name, truth_values), (fused_name, fused)) in truth.iter().zip(&fused) {
        prop_assert_eq!(name, fused_name);
        let scale = truth
            .iter()
            .filter(|(other, _)| other.split(' ').nth(1) == name.split(' ').nth(1) && !other.starts_with("count"))
            .fold(1.0, |scale: f64, (_, values)| scale.max(largest(values)));
        let error = distance(truth_values, fused) / scale;
        prop_assert!(error < tolerance, "{name}: {error}, not below {tolerance}");
    }
    Ok(())
}

#[test]
fn a_narrow_resnet_18_agrees() {
    let blocks = [(8, 1), (8, 1), (16, 2), (16, 1), (32, 2), (32, 1), (64, 2), (64, 1)].to_vec();
    let sizes = Sizes { per_group: 13, groups: 2, size: (28, 28), in_channels: 1, stem: 8, blocks };
    compare(&Case::new(&sizes)).expect("agreement");
}

fn sizes() -> impl Strategy<Value = Sizes> {
    (
        prop_oneof![2 => 1..10usize, 2 => 10..60usize],
        1..3usize,
        (1..12usize, 1..12usize),
        prop_oneof![Just(1usize), Just(3), 2..20usize],
        1..40usize,
        prop::collection::vec((prop_oneof![Just(None), (1..40usize).prop_map(Some)], 1..3usize), 0..4),
    )
        .prop_map(|(per_group, groups, size, in_channels, stem, blocks)| {
            let mut channels = stem;
            let blocks = blocks.into_iter().map(|(outputs, stride)| {
                channels = outputs.unwrap_or(channels);
                (channels, stride)
            });
            let blocks = blocks.collect();
            Sizes { per_group, groups, size, in_channels, stem, blocks }
        })
}

fn random_networks(cases: u32, seed: u64) {
    let agree = |sizes: Sizes| {
        let case = Case::new(&sizes);
        // Two or three values normalised are -1, 0 and 1 whatever they were: all gradients are rounding errors.
        let layout = Layout::new(case.images.dims(), &case.network, case.groups);
        prop_assume!(layout.shapes.last().out_positions() * sizes.per_group >= 8);
        compare(&case)
    };
    if let Err(error) = TestRunner::new(fixed(cases, seed)).run(&sizes(), agree) {
        panic!("seed {seed}: {error}");
    }
}

#[test]
fn random_networks_agree() {
    random_networks(40, 1);
}

#[test]
#[ignore = "takes minutes: hundreds of cases"]
fn many_random_networks_agree() {
    for seed in 2..22 {
        random_networks(40, seed);
    }
}

/// Statistics such as a trained network has.
fn statistics(network: &ResidualNetwork) -> Vec<RunningStatistics> {
    let mut draws = Draws(9);
    let mut each = |layer: &ConvNorm| RunningStatistics {
        mean: draws.uniform(layer.gamma.dims(), -0.5, 0.5, &Device::flex()),
        variance: draws.uniform(layer.gamma.dims(), 0.1, 2.0, &Device::flex()),
    };
    layers(network).map(&mut each).collect()
}

fn small() -> Sizes {
    Sizes { per_group: 1, groups: 1, size: (9, 7), in_channels: 2, stem: 20, blocks: vec![(20, 1), (33, 2), (5, 1)] }
}

proptest! {
    #![proptest_config(fixed(40, 1))]

    #[test]
    fn inference_agrees(sizes in sizes()) {
        let case = Case::new(&sizes);
        let running = statistics(&case.network);
        let expected = values(composed::infer(case.images.clone(), &case.network, &running));
        let fused = values(residual_network_inference(case.images.clone(), &case.network, &running));
        let distance = distance(&expected, &fused) / largest(&expected).max(1.0);
        prop_assert!(distance < 1e-5, "{}", distance);
    }
}

/// Features of bytes are, bit for bit, those of the same images in f32, whatever the number of images and threads.
#[test]
fn bytes_are_the_values_from_0_to_1() {
    let case = Case::new(&small());
    let running = statistics(&case.network);
    let each = 2 * 9 * 7;
    let bytes: Vec<u8> = (0..101 * each).map(|i| (i * i % 256) as u8).collect();
    let bits = |features: &[f32]| features.iter().map(|value| value.to_bits()).collect::<Vec<u32>>();
    let all = residual_network_of_bytes(&bytes, [2, 9, 7], &case.network, &running);
    assert_eq!(all.len(), 101 * 5);
    for (count, threads) in [(1, 1), (24, 4), (25, 2), (101, 4)] {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().expect("a pool");
        let pixels = &bytes[..count * each];
        let some = pool.install(|| residual_network_of_bytes(pixels, [2, 9, 7], &case.network, &running));
        assert_eq!(bits(&some), bits(&all[..count * 5]), "{count} images on {threads} threads");
        let floats: Vec<f32> = pixels.iter().map(|&byte| f32::from(byte) / 255.0).collect();
        let floats = Tensor::<4>::from_data(TensorData::new(floats, [count, 2, 9, 7]), &Device::flex());
        let of_floats = residual_network_inference(floats, &case.network, &running);
        assert_eq!(of_floats.dims(), [count, 5]);
        assert_eq!(bits(&some), bits(&of_floats.into_data().iter::<f32>().collect::<Vec<_>>()), "{count} images");
    }
    assert!(residual_network_of_bytes(&[], [2, 9, 7], &case.network, &running).is_empty());
}

/// More images than the composed form takes at a time.
#[test]
fn bytes_agree_with_the_composed_form() {
    let case = Case::new(&small());
    let running = statistics(&case.network);
    let bytes: Vec<u8> = (0..131 * 126).map(|i| (i * 7919 % 256) as u8).collect();
    let wide = |features: Vec<f32>| features.into_iter().map(f64::from).collect::<Vec<f64>>();
    let fused = wide(residual_network_of_bytes(&bytes, [2, 9, 7], &case.network, &running));
    let composed = wide(composed::infer_bytes(&bytes, [2, 9, 7], &case.network, &running));
    assert!(distance(&fused, &composed) / largest(&composed).max(1.0) < 1e-5);
}

#[test]
fn results_do_not_depend_on_threads() {
    let case = Case::new(&Sizes { per_group: 101, groups: 2, ..small() });
    let weights = case.weights();
    let run = || case.outcomes(residual_network, &weights);
    let once = bits(1, run);
    for threads in [1, 2, 4] {
        assert!(bits(threads, run) == once, "{threads} threads");
    }
}

#[test]
fn a_nan_comes_through() {
    let case = Case::new(&Sizes { per_group: 4, ..small() });
    let images = case.images.clone().inner() * f32::NAN;
    let (features, statistics) = residual_network(images, &case.network, 1);
    assert!(values(features).iter().all(|value| value.is_nan()));
    assert!(values(statistics[0].batch.mean.clone()).iter().all(|value| value.is_nan()));
}
