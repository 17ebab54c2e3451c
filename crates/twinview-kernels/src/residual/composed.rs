//! The network composed of Burn's own operations.

use burn::tensor::{Tensor, activation::relu, module::conv2d, ops::ConvOptions};

use super::{ConvNorm, LayerStatistics, ResidualNetwork};
use crate::composed::{normalise_by_batch, of_bytes};
use crate::statistics::RunningStatistics;

/// What stands behind the convolutions.
pub(crate) trait Between {
    /// Behind each: takes its output and the layer.
    fn normalise(&mut self, values: Tensor<4>, layer: &ConvNorm) -> Tensor<4>;

    /// Behind the stem, and twice in a block.
    fn activate(&mut self, values: Tensor<4>) -> Tensor<4> {
        relu(values)
    }
}

/// By each group's own statistics, which are gathered.
pub(crate) struct ByBatch {
    pub(crate) groups: usize,
    pub(crate) epsilon: f32,
    pub(crate) statistics: Vec<LayerStatistics>,
}

impl Between for ByBatch {
    fn normalise(&mut self, values: Tensor<4>, layer: &ConvNorm) -> Tensor<4> {
        let [images, _, height, width] = values.dims();
        let (values, batch) = normalise_by_batch(values, &layer.gamma, &layer.beta, self.epsilon, self.groups);
        self.statistics.push(LayerStatistics { batch, count: images / self.groups * height * width });
        values
    }
}

/// By running statistics, in turn.
struct ByRunning<'a, I: Iterator<Item = &'a RunningStatistics>> {
    epsilon: f32,
    running: I,
}

impl<'a, I: Iterator<Item = &'a RunningStatistics>> Between for ByRunning<'a, I> {
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
pub(crate) fn infer(images: Tensor<4>, network: &ResidualNetwork, running: &[RunningStatistics]) -> Tensor<2> {
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

/// See [`super::residual_network_of_bytes`].
pub(crate) fn infer_bytes(
    pixels: &[u8],
    size: [usize; 3],
    network: &ResidualNetwork,
    running: &[RunningStatistics],
) -> Vec<f32> {
    /// Images a pass: what lies between the layers must fit the device's memory.
    const BATCH: usize = 256;
    let device = network.stem.weight.device().inner();
    of_bytes(pixels, size, BATCH, &device, |images| infer(images, network, running))
}

/// The features of `images`.
pub(crate) fn run(images: Tensor<4>, network: &ResidualNetwork, between: &mut dyn Between) -> Tensor<2> {
    let layer = |between: &mut dyn Between, input: Tensor<4>, layer: &ConvNorm, stride: usize| {
        let padding = layer.weight.dims()[2] / 2;
        let options = ConvOptions::new([stride; 2], [padding; 2], [1, 1], 1);
        between.normalise(conv2d(input, layer.weight.clone(), None, options), layer)
    };
    let values = layer(between, images, &network.stem, 1);
    let mut values = between.activate(values);
    for block in &network.blocks {
        let inside = layer(between, values.clone(), &block.first, block.stride);
        let inside = between.activate(inside);
        let inside = layer(between, inside, &block.second, 1);
        let shortcut = match &block.shortcut {
            Some(shortcut) => layer(between, values, shortcut, block.stride),
            None => values,
        };
        values = between.activate(inside + shortcut);
    }
    let [images, channels, ..] = values.dims();
    values.mean_dims(&[2, 3]).reshape([images, channels])
}
