//! The stack on tensors: fused on the CPU, composed of Burn's own operations elsewhere.

use std::sync::Arc;

use burn::backend::{DispatchTensor, Flex};
use burn::tensor::Tensor;
use fearless_simd::Level;

use crate::composed;
use crate::inference::inference;
use crate::layout::Pixel;
use crate::network::{self, Network, Pass, fused, on_cpu, slice, tensor};
use crate::parameters::Parameters;
use crate::plan::BlockShape;
use crate::stack::{self, BlockGradients, BlockParameters};
use crate::statistics::{self, BatchStatistics, RunningStatistics};

/// One block: 3×3 convolution with padding 1, bias, ReLU, batch normalisation.
#[derive(Clone, Debug)]
pub struct Block {
    /// Convolution weights `[out, in, 3, 3]`.
    pub weight: Tensor<4>,
    /// Convolution bias `[out]`.
    pub bias: Tensor<1>,
    /// Scale of the normalisation `[out]`.
    pub gamma: Tensor<1>,
    /// Shift of the normalisation `[out]`.
    pub beta: Tensor<1>,
    /// Step of the convolution in both directions: 1 or 2.
    pub stride: usize,
    /// Added to the variance.
    pub epsilon: f32,
}

/// The parts of a stack that are not tensors.
#[derive(Clone, Debug)]
pub(crate) struct Layout {
    pub(crate) shapes: Vec<BlockShape>,
    epsilons: Vec<f32>,
    groups: usize,
}

impl Layout {
    pub(crate) fn new(input: [usize; 4], blocks: &[Block], groups: usize) -> Self {
        let epsilons = blocks.iter().map(|block| block.epsilon).collect();
        Self { shapes: shapes(input, blocks), epsilons, groups }
    }

    /// The parameters of `values`: each block's weight, bias, gamma, beta in turn.
    pub(crate) fn parameters<'a>(&self, values: &[&'a [f32]]) -> Vec<BlockParameters<'a>> {
        let (blocks, rest) = values.as_chunks();
        assert!(blocks.len() == self.shapes.len() && rest.is_empty(), "four parameters of each block");
        let blocks = blocks.iter().zip(&self.epsilons);
        blocks
            .map(|(&[weight, bias, gamma, beta], &epsilon)| BlockParameters { weight, bias, gamma, beta, epsilon })
            .collect()
    }
}

impl Network for Layout {
    fn forward(&self, input: &[f32], parameters: &[&[f32]]) -> Pass {
        let blocks = self.parameters(parameters);
        let (output, tape) = stack::forward(Level::new(), input, self.groups, &self.shapes, &blocks);
        let statistics = statistics::flat(tape.moments().iter().map(Vec::as_slice));
        let layout = self.clone();
        let back = move |parameters: &[&[f32]], gradient: &[f32], with_input| {
            let (blocks, input) = stack::backward(&tape, &layout.parameters(parameters), gradient, with_input);
            (input, gradients(blocks))
        };
        Pass { output, statistics, back: Arc::new(back) }
    }
}

/// The shapes of `blocks` for an input of the given size.
pub(crate) fn shapes(input: [usize; 4], blocks: &[Block]) -> Vec<BlockShape> {
    let [_, mut in_channels, mut height, mut width] = input;
    let mut shapes = Vec::with_capacity(blocks.len());
    for block in blocks {
        let [out_channels, channels, rows, columns] = block.weight.dims();
        assert!(
            (channels, rows, columns) == (in_channels, 3, 3),
            "weights [{out_channels}, {channels}, {rows}, {columns}] do not fit {in_channels} channels and a 3×3 kernel"
        );
        let shape = BlockShape { in_channels, out_channels, height, width, stride: block.stride };
        (in_channels, height, width) = (out_channels, shape.out_height(), shape.out_width());
        shapes.push(shape);
    }
    shapes
}

/// The gradients of all parameters in the order in which [`tensors`] gives those.
pub(crate) fn gradients(blocks: Vec<BlockGradients>) -> Vec<Vec<f32>> {
    blocks.into_iter().flat_map(|block| [block.weight, block.bias, block.gamma, block.beta]).collect()
}

/// All parameters, in the order [`Layout::parameters`] reads.
pub(crate) fn tensors(blocks: &[Block]) -> Vec<DispatchTensor> {
    let of = |block: &Block| {
        let Block { weight, bias, gamma, beta, .. } = block.clone();
        [weight.into_dispatch(), bias.into_dispatch(), gamma.into_dispatch(), beta.into_dispatch()]
    };
    blocks.iter().flat_map(of).collect()
}

/// Runs `blocks` in training mode on `input` `[batch, channels, height, width]`.
///
/// `groups` equal runs of images (group 0 first) are normalised each by its own batch statistics, exactly as
/// by one pass a group: the two views of a batch take one call with `groups` = 2.
///
/// Returns the features `[batch, channels × height × width]` of the last block in PyTorch's order, and each
/// block's batch statistics. Differentiable in every parameter, and in the input if it requires a gradient.
/// On the CPU (`flex`, f32) this is one fused operation whose results do not depend on the number of
/// threads; elsewhere it is composed of Burn's operations.
///
/// # Panics
/// Panics when the shapes do not fit one another, a stride is not 1 or 2, or the batch does not divide into the groups.
pub fn conv_relu_bn_stack(input: Tensor<4>, blocks: &[Block], groups: usize) -> (Tensor<2>, Vec<BatchStatistics>) {
    if !fused(&input) {
        return composed::conv_relu_bn_stack(input, blocks, groups);
    }
    let layout = Layout::new(input.dims(), blocks, groups);
    let channels: Vec<usize> = layout.shapes.iter().map(|shape| shape.out_channels).collect();
    let (features, statistics) = network::run(input, tensors(blocks), layout);
    (features, BatchStatistics::by_layer(&statistics, groups, channels))
}

/// Runs `blocks` on `input` `[batch, channels, height, width]`, normalised by the given statistics, one a block.
///
/// Returns the features `[batch, channels × height × width]`. No gradient is recorded. On the CPU the batch goes
/// through in small chunks, in parallel, so beyond input and output hardly any memory is needed.
///
/// # Panics
/// Panics when the shapes do not fit one another, or a stride is not 1 or 2.
pub fn conv_relu_bn_stack_inference(input: Tensor<4>, blocks: &[Block], running: &[RunningStatistics]) -> Tensor<2> {
    let input = input.inner();
    if !fused(&input) {
        return composed::conv_relu_bn_stack_inference(input, blocks, running);
    }
    let (size, batch) = (input.dims(), input.dims()[0]);
    let features = infer(slice(&on_cpu(input)), size, blocks, running);
    let width = features.len() / batch;
    Tensor::from_primitive::<Flex>(tensor(features, [batch, width]))
}

/// The same for images of bytes, 0..=255 for 0 to 1, `[batch, channels, height, width]`; `size` is
/// `[channels, height, width]`. Returns the values of the features `[batch, channels × height × width]`.
///
/// On the CPU the features are the only large thing that is made, and each is written once.
///
/// # Panics
/// As [`conv_relu_bn_stack_inference`], and when `pixels` are not whole images.
pub fn conv_relu_bn_stack_of_bytes(
    pixels: &[u8],
    size: [usize; 3],
    blocks: &[Block],
    running: &[RunningStatistics],
) -> Vec<f32> {
    let [channels, height, width] = size;
    if !blocks.first().is_some_and(|block| fused(&block.weight)) {
        return composed::conv_relu_bn_stack_of_bytes(pixels, size, blocks, running);
    }
    infer(pixels, [pixels.len() / size.iter().product::<usize>(), channels, height, width], blocks, running)
}

/// The features of `input`, of the given size, by the fused kernels.
fn infer<P: Pixel>(input: &[P], size: [usize; 4], blocks: &[Block], running: &[RunningStatistics]) -> Vec<f32> {
    let layout = Layout::new(size, blocks, 1);
    let parameters = Parameters::new(tensors(blocks));
    inference(
        Level::new(),
        input,
        &layout.shapes,
        &layout.parameters(&parameters.values()),
        &RunningStatistics::moments(running),
    )
}
