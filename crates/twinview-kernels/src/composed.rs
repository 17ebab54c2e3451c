//! The stack composed of Burn's own operations: for other devices, and as the reference in tests.

use burn::tensor::{Device, Tensor, TensorData, activation::relu, module::conv2d, ops::ConvOptions};
use rayon::prelude::*;

use crate::layout::Pixel;
use crate::operation::Block;
use crate::statistics::{BatchStatistics, RunningStatistics};

fn convolve(input: Tensor<4>, block: &Block) -> Tensor<4> {
    let stride = [block.stride; 2];
    let options = ConvOptions::new(stride, [1, 1], [1, 1], 1);
    conv2d(input, block.weight.clone(), Some(block.bias.clone()), options)
}

fn normalise(input: Tensor<4>, mean: Tensor<4>, variance: Tensor<4>, block: &Block) -> Tensor<4> {
    let channels = block.gamma.dims()[0];
    let by_channel = |values: &Tensor<1>| values.clone().reshape([1, channels, 1, 1]);
    (input - mean) / (variance + block.epsilon).sqrt() * by_channel(&block.gamma) + by_channel(&block.beta)
}

/// See [`crate::conv_relu_bn_stack`].
pub(crate) fn conv_relu_bn_stack(
    input: Tensor<4>,
    blocks: &[Block],
    groups: usize,
) -> (Tensor<2>, Vec<BatchStatistics>) {
    with_activation(input, blocks, groups, |_, values| relu(values))
}

/// The same with another activation, which is told the block.
pub(crate) fn with_activation(
    input: Tensor<4>,
    blocks: &[Block],
    groups: usize,
    activation: impl Fn(usize, Tensor<4>) -> Tensor<4>,
) -> (Tensor<2>, Vec<BatchStatistics>) {
    assert!(groups > 0 && input.dims()[0].is_multiple_of(groups), "a batch of {groups} equal groups");
    let (mut values, mut statistics) = (input, Vec::with_capacity(blocks.len()));
    for (index, block) in blocks.iter().enumerate() {
        let active = activation(index, convolve(values, block));
        let (normalised, of_block) = normalise_by_batch(active, &block.gamma, &block.beta, block.epsilon, groups);
        values = normalised;
        statistics.push(of_block);
    }
    (values.flatten(1, 3), statistics)
}

/// `values`, `[batch, channels, height, width]`, normalised by channel, each of the `groups` equal runs of images by its own
/// statistics, which are returned.
pub(crate) fn normalise_by_batch(
    values: Tensor<4>,
    gamma: &Tensor<1>,
    beta: &Tensor<1>,
    epsilon: f32,
    groups: usize,
) -> (Tensor<4>, BatchStatistics) {
    let [images, channels, height, width] = values.dims();
    let values = values.reshape([groups, images / groups, channels, height * width]);
    let mean = values.clone().mean_dims(&[1, 3]);
    let centred = values - mean.clone();
    let variance = centred.clone().square().mean_dims(&[1, 3]);
    let flat = |values: &Tensor<4>| values.clone().inner().reshape([groups, channels]);
    let statistics = BatchStatistics { mean: flat(&mean), variance: flat(&variance) };
    let by_channel = |values: &Tensor<1>| values.clone().reshape([1, 1, channels, 1]);
    let scale = by_channel(gamma) / (variance + epsilon).sqrt();
    let normalised = (centred * scale + by_channel(beta)).reshape([images, channels, height, width]);
    (normalised, statistics)
}

/// See [`crate::conv_relu_bn_stack_inference`].
pub(crate) fn conv_relu_bn_stack_inference(
    input: Tensor<4>,
    blocks: &[Block],
    running: &[RunningStatistics],
) -> Tensor<2> {
    let mut values = input;
    for (block, running) in blocks.iter().zip(running) {
        let channels = block.gamma.dims()[0];
        let by_channel = |values: &Tensor<1>| values.clone().inner().reshape([1, channels, 1, 1]);
        let block = Block {
            weight: block.weight.clone().inner(),
            bias: block.bias.clone().inner(),
            gamma: block.gamma.clone().inner(),
            beta: block.beta.clone().inner(),
            ..block.clone()
        };
        let mean = by_channel(&running.mean);
        let variance = by_channel(&running.variance);
        values = normalise(relu(convolve(values, &block)), mean, variance, &block);
    }
    values.flatten(1, 3)
}

/// See [`crate::conv_relu_bn_stack_of_bytes`].
pub(crate) fn conv_relu_bn_stack_of_bytes(
    pixels: &[u8],
    size: [usize; 3],
    blocks: &[Block],
    running: &[RunningStatistics],
) -> Vec<f32> {
    /// Images a pass: what lies between the blocks must fit the device's memory.
    const BATCH: usize = 2048;
    let device = blocks.first().expect("a stack has at least one block").weight.device().inner();
    of_bytes(pixels, size, BATCH, &device, |images| conv_relu_bn_stack_inference(images, blocks, running))
}

/// What `infer` makes of images of bytes, which are taken as 0 to 1, on `device`, `batch` of them a pass.
pub(crate) fn of_bytes(
    pixels: &[u8],
    [channels, height, width]: [usize; 3],
    batch: usize,
    device: &Device,
    infer: impl Fn(Tensor<4>) -> Tensor<2>,
) -> Vec<f32> {
    let each = channels * height * width;
    assert!(each > 0 && pixels.len().is_multiple_of(each), "whole images of {each} values");
    let mut features = Vec::new();
    for bytes in pixels.chunks(batch * each) {
        let values: Vec<f32> = bytes.par_iter().map(|byte| byte.value()).collect();
        let data = TensorData::new(values, [bytes.len() / each, channels, height, width]);
        let made = infer(Tensor::from_data(data, device)).into_data_as::<f32>();
        features.extend_from_slice(made.as_slice::<f32>().expect("values of f32"));
    }
    features
}
