//! The stack composed of Burn's own operations: for other devices, and as the reference in tests.

use burn::tensor::{Device, Tensor, TensorData, activation::relu, module::conv2d, ops::ConvOptions};

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
    with_activation(input, blocks, groups, |_, _, values| relu(values))
}

/// The same with another activation, which is told the block and the group.
pub(crate) fn with_activation(
    input: Tensor<4>,
    blocks: &[Block],
    groups: usize,
    activation: impl Fn(usize, usize, Tensor<4>) -> Tensor<4>,
) -> (Tensor<2>, Vec<BatchStatistics>) {
    let mut parts = input.chunk(groups, 0);
    let mut statistics = Vec::with_capacity(blocks.len());
    for (index, block) in blocks.iter().enumerate() {
        let channels = block.gamma.dims()[0];
        let (mut means, mut variances) = (Vec::new(), Vec::new());
        for (group, part) in parts.iter_mut().enumerate() {
            let values = activation(index, group, convolve(part.clone(), block));
            let mean = values.clone().mean_dims(&[0, 2, 3]);
            let variance = (values.clone() - mean.clone()).square().mean_dims(&[0, 2, 3]);
            means.push(mean.clone().inner().reshape([1, channels]));
            variances.push(variance.clone().inner().reshape([1, channels]));
            *part = normalise(values, mean, variance, block);
        }
        statistics.push(BatchStatistics { mean: Tensor::cat(means, 0), variance: Tensor::cat(variances, 0) });
    }
    (Tensor::cat(parts, 0).flatten(1, 3), statistics)
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
    const BATCH: usize = 512;
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
        let values: Vec<f32> = bytes.iter().map(|byte| byte.value()).collect();
        let data = TensorData::new(values, [bytes.len() / each, channels, height, width]);
        features.extend(infer(Tensor::from_data(data, device)).into_data_as::<f32>().iter::<f32>());
    }
    features
}
