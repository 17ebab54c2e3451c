//! The stack as a Burn operation: fused on the CPU, composed of Burn's own operations elsewhere.

use burn::backend::{
    Autodiff, Dispatch, Flex,
    autodiff::{
        checkpoint::{base::Checkpointer, strategy::CheckpointStrategy},
        grads::Gradients,
        ops::{Backward, Ops, OpsKind},
    },
    backend_extension,
    tensor::FloatTensor,
};
use burn::tensor::{DType, Device, Tensor, TensorData};
use burn_flex::FlexTensor;
use fearless_simd::Level;
use std::sync::Arc;

use crate::composed;
use crate::inference::inference;
use crate::layout::Pixel;
use crate::normalise::Moments;
use crate::plan::BlockShape;
use crate::stack::{self, BlockParameters, Tape};

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

/// Batch statistics of one block, with which running statistics can be updated. No gradient flows through them.
#[derive(Clone, Debug)]
pub struct BatchStatistics {
    /// Mean over a group's images and positions, `[groups, channels]`.
    pub mean: Tensor<2>,
    /// Biased variance over a group's images and positions, `[groups, channels]`.
    pub variance: Tensor<2>,
}

impl BatchStatistics {
    /// From flat statistics, `[mean, variance][group][channel]`.
    pub(crate) fn new(statistics: Tensor<1>, groups: usize, channels: usize) -> Self {
        let [mean, variance] = [0, groups * channels]
            .map(|start| statistics.clone().inner().narrow(0, start, groups * channels).reshape([groups, channels]));
        Self { mean, variance }
    }
}

/// Statistics that a block normalises with outside training.
#[derive(Clone, Debug)]
pub struct RunningStatistics {
    /// Running mean `[channels]`.
    pub mean: Tensor<1>,
    /// Running variance `[channels]`.
    pub variance: Tensor<1>,
}

/// The parts of a stack that are not tensors.
#[derive(Clone, Debug)]
struct Layout {
    shapes: Vec<BlockShape>,
    epsilons: Vec<f32>,
    groups: usize,
}

impl Layout {
    fn new(input: [usize; 4], blocks: &[Block], groups: usize) -> Self {
        let epsilons = blocks.iter().map(|block| block.epsilon).collect();
        Self { shapes: shapes(input, blocks), epsilons, groups }
    }

    /// The parameters in a flat slice: each block's weight, bias, gamma, beta in turn.
    fn parameters<'a>(&self, mut flat: &'a [f32]) -> Vec<BlockParameters<'a>> {
        let mut take = |count: usize| {
            let (head, tail) = flat.split_at(count);
            flat = tail;
            head
        };
        let blocks = self.shapes.iter().zip(&self.epsilons);
        blocks
            .map(|(shape, &epsilon)| BlockParameters {
                weight: take(shape.out_channels * shape.in_channels * 9),
                bias: take(shape.out_channels),
                gamma: take(shape.out_channels),
                beta: take(shape.out_channels),
                epsilon,
            })
            .collect()
    }
}

/// The fused stack. The second output holds the statistics: `[block][mean, variance][group][channel]`, flat.
#[backend_extension(Autodiff, Flex)]
trait StackBackend: burn::backend::Backend {
    fn conv_relu_bn(
        input: FloatTensor<Self>,
        parameters: FloatTensor<Self>,
        layout: Layout,
    ) -> (FloatTensor<Self>, FloatTensor<Self>);
}

pub(crate) fn slice(tensor: &FlexTensor) -> &[f32] {
    tensor.as_slice().expect("a contiguous f32 tensor")
}

pub(crate) fn tensor(values: Vec<f32>, shape: impl Into<Vec<usize>>) -> FlexTensor {
    FlexTensor::from_data(TensorData::new(values, shape.into()))
}

/// Runs the forward pass: features, statistics, tape.
fn run(input: &FlexTensor, parameters: &FlexTensor, layout: &Layout) -> (FlexTensor, FlexTensor, Tape) {
    let blocks = layout.parameters(slice(parameters));
    let (features, tape) = stack::forward(Level::new(), slice(input), layout.groups, &layout.shapes, &blocks);
    let width = layout.shapes[layout.shapes.len() - 1].out_features();
    let statistics = statistics(tape.moments().iter().map(Vec::as_slice));
    let batch = features.len() / width;
    (tensor(features, [batch, width]), statistics, tape)
}

/// Each layer's statistics of the groups, flat: `[layer][mean, variance][group][channel]`.
pub(crate) fn statistics<'a>(layers: impl Iterator<Item = &'a [Moments]>) -> FlexTensor {
    let mut values = Vec::new();
    for groups in layers {
        values.extend(groups.iter().flat_map(|moments| &moments.mean));
        values.extend(groups.iter().flat_map(|moments| &moments.variance));
    }
    let count = values.len();
    tensor(values, [count])
}

/// What [`statistics`] made flat, for layers of so many `channels`.
pub(crate) fn by_layer(
    statistics: &Tensor<1>,
    groups: usize,
    channels: impl IntoIterator<Item = usize>,
) -> Vec<BatchStatistics> {
    let mut start = 0;
    let take = |channels: usize| {
        let count = 2 * groups * channels;
        start += count;
        BatchStatistics::new(statistics.clone().narrow(0, start - count, count), groups, channels)
    };
    channels.into_iter().map(take).collect()
}

/// The values of `tensor`, which is on the CPU.
pub(crate) fn on_cpu<const D: usize>(tensor: Tensor<D>) -> FlexTensor {
    tensor.inner().try_into_primitive::<Flex>().expect("a tensor on the CPU").to_contiguous()
}

/// Running statistics as the slice functions take them.
pub(crate) fn running_moments(running: &[RunningStatistics]) -> Vec<Moments> {
    let values = |tensor: &Tensor<1>| slice(&on_cpu(tensor.clone())).to_vec();
    running.iter().map(|one| Moments { mean: values(&one.mean), variance: values(&one.variance) }).collect()
}

impl StackBackend for Flex {
    fn conv_relu_bn(
        input: FloatTensor<Self>,
        parameters: FloatTensor<Self>,
        layout: Layout,
    ) -> (FloatTensor<Self>, FloatTensor<Self>) {
        let (input, parameters) = (input.to_contiguous(), parameters.to_contiguous());
        let (features, statistics, _) = run(&input, &parameters, &layout);
        (features, statistics)
    }
}

/// The hand-made backward pass.
#[derive(Debug)]
struct StackBackward;

/// What it needs from the forward pass.
#[derive(Clone, Debug)]
struct Saved {
    parameters: FlexTensor,
    layout: Layout,
    tape: Arc<Tape>,
}

impl Backward<Flex, 2> for StackBackward {
    type State = Saved;

    fn backward(self, ops: Ops<Saved, 2>, grads: &mut Gradients, _checkpointer: &mut Checkpointer) {
        let Saved { parameters, layout, tape } = ops.state;
        let gradient = grads.consume::<Flex>(&ops.node).to_contiguous();
        let blocks = layout.parameters(slice(&parameters));
        let [input, flat] = ops.parents;
        let (blocks, input_gradient) = stack::backward(&tape, &blocks, slice(&gradient), input.is_some());
        if let (Some(node), Some(values)) = (input, input_gradient) {
            let first = &layout.shapes[0];
            let batch = values.len() / (first.in_channels * first.height * first.width);
            let shape = [batch, first.in_channels, first.height, first.width];
            grads.register::<Flex>(node.id, tensor(values, shape));
        }
        if let Some(node) = flat {
            let parts: Vec<_> = blocks.iter().flat_map(|b| [&*b.weight, &b.bias, &b.gamma, &b.beta]).collect();
            let values = parts.concat();
            let count = values.len();
            grads.register::<Flex>(node.id, tensor(values, [count]));
        }
    }
}

impl<C: CheckpointStrategy> StackBackend for Autodiff<Flex, C> {
    fn conv_relu_bn(
        input: FloatTensor<Self>,
        parameters: FloatTensor<Self>,
        layout: Layout,
    ) -> (FloatTensor<Self>, FloatTensor<Self>) {
        let prepared = StackBackward.prepare::<C>([input.node(), parameters.node()]).compute_bound().stateful();
        let input = input.into_primitive().to_contiguous();
        let parameters = parameters.into_primitive().to_contiguous();
        let (features, statistics, tape) = run(&input, &parameters, &layout);
        let features = match prepared {
            OpsKind::Tracked(prepared) => prepared.finish(Saved { parameters, layout, tape: Arc::new(tape) }, features),
            OpsKind::UnTracked(prepared) => prepared.finish(features),
        };
        (features, FloatTensor::<Self>::new(statistics))
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

/// Whether the fused kernels serve this tensor.
pub(crate) fn fused<const D: usize>(input: &Tensor<D>) -> bool {
    input.device().inner() == Device::flex() && input.dtype() == DType::F32
}

/// All parameters in one flat tensor, in the order [`Layout::parameters`] reads.
fn flatten(blocks: &[Block]) -> Tensor<1> {
    let parts = blocks.iter().flat_map(|block| {
        let Block { weight, bias, gamma, beta, .. } = block.clone();
        [weight.flatten(0, 3), bias, gamma, beta]
    });
    Tensor::cat(parts.collect(), 0)
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
    let (features, statistics) =
        <Dispatch as StackBackend>::conv_relu_bn(input.into_dispatch(), flatten(blocks).into_dispatch(), layout);
    let statistics = Tensor::<1>::from_dispatch(statistics);
    (Tensor::from_dispatch(features), by_layer(&statistics, groups, channels))
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
    let parameters = on_cpu(flatten(blocks));
    inference(Level::new(), input, &layout.shapes, &layout.parameters(slice(&parameters)), &running_moments(running))
}
