//! The network composed of Burn's own operations.

use burn::tensor::{Tensor, activation::relu, module::conv2d, ops::ConvOptions};

use super::{ConvNorm, LayerStatistics, ResidualNetwork};
use crate::operation::{BatchStatistics, RunningStatistics};

/// What stands behind each convolution: takes its output and the layer.
trait Normalise {
    fn normalise(&mut self, values: Tensor<4>, layer: &ConvNorm) -> Tensor<4>;
}

/// By each group's own statistics, which are gathered.
struct ByBatch {
    groups: usize,
    epsilon: f32,
    statistics: Vec<LayerStatistics>,
}

impl Normalise for ByBatch {
    fn normalise(&mut self, values: Tensor<4>, layer: &ConvNorm) -> Tensor<4> {
        let [images, channels, height, width] = values.dims();
        let (groups, batch) = (self.groups, images / self.groups);
        let values = values.reshape([groups, batch, channels, height * width]);
        let mean = values.clone().mean_dims(&[1, 3]);
        let centred = values - mean.clone();
        let variance = centred.clone().square().mean_dims(&[1, 3]);
        let flat = |values: &Tensor<4>| values.clone().inner().reshape([groups, channels]);
        let batch_statistics = BatchStatistics { mean: flat(&mean), variance: flat(&variance) };
        self.statistics.push(LayerStatistics { batch: batch_statistics, count: batch * height * width });
        let by_channel = |values: &Tensor<1>| values.clone().reshape([1, 1, channels, 1]);
        let scale = by_channel(&layer.gamma) / (variance + self.epsilon).sqrt();
        (centred * scale + by_channel(&layer.beta)).reshape([images, channels, height, width])
    }
}

/// By running statistics, in turn.
struct ByRunning<'a, I: Iterator<Item = &'a RunningStatistics>> {
    epsilon: f32,
    running: I,
}

impl<'a, I: Iterator<Item = &'a RunningStatistics>> Normalise for ByRunning<'a, I> {
    fn normalise(&mut self, values: Tensor<4>, layer: &ConvNorm) -> Tensor<4> {
        let running = self.running.next().expect("running statistics of each layer");
        let channels = values.dims()[1];
        let by_channel = |values: Tensor<1>| values.reshape([1, channels, 1, 1]);
        let scale = layer.gamma.clone() / (running.variance.clone().inner() + self.epsilon).sqrt();
        let shift = layer.beta.clone() - running.mean.clone().inner() * scale.clone();
        values * by_channel(scale) + by_channel(shift)
    }
}

/// See [`super::residual_network`].
pub(super) fn train(images: Tensor<4>, network: &ResidualNetwork, groups: usize) -> (Tensor<2>, Vec<LayerStatistics>) {
    assert!(groups > 0 && images.dims()[0].is_multiple_of(groups), "a batch of {groups} equal groups");
    let mut norm = ByBatch { groups, epsilon: network.epsilon, statistics: Vec::new() };
    let features = run(images, network, &mut norm);
    (features, norm.statistics)
}

/// See [`super::residual_network_inference`].
pub(super) fn infer(images: Tensor<4>, network: &ResidualNetwork, running: &[RunningStatistics]) -> Tensor<2> {
    let inner = |layer: &ConvNorm| ConvNorm {
        weight: layer.weight.clone().inner(),
        gamma: layer.gamma.clone().inner(),
        beta: layer.beta.clone().inner(),
    };
    let mut network = network.clone();
    network.stem = inner(&network.stem);
    for block in &mut network.blocks {
        block.first = inner(&block.first);
        block.second = inner(&block.second);
        block.shortcut = block.shortcut.as_ref().map(inner);
    }
    run(images.inner(), &network, &mut ByRunning { epsilon: network.epsilon, running: running.iter() })
}

fn run(images: Tensor<4>, network: &ResidualNetwork, norm: &mut impl Normalise) -> Tensor<2> {
    let mut layer = |input: Tensor<4>, layer: &ConvNorm, stride: usize| {
        let padding = layer.weight.dims()[2] / 2;
        let options = ConvOptions::new([stride; 2], [padding; 2], [1, 1], 1);
        norm.normalise(conv2d(input, layer.weight.clone(), None, options), layer)
    };
    let mut values = relu(layer(images, &network.stem, 1));
    for block in &network.blocks {
        let inside = relu(layer(values.clone(), &block.first, block.stride));
        let inside = layer(inside, &block.second, 1);
        let shortcut = match &block.shortcut {
            Some(shortcut) => layer(values, shortcut, block.stride),
            None => values,
        };
        values = relu(inside + shortcut);
    }
    let [images, channels, ..] = values.dims();
    values.mean_dims(&[2, 3]).reshape([images, channels])
}
