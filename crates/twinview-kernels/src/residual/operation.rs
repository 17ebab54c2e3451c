//! The network as a Burn operation, fused on the CPU.

use std::sync::Arc;

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
use burn::tensor::Tensor;
use burn_flex::FlexTensor;
use fearless_simd::Level;

use super::inference::inference;
use super::network::{self, BlockShapes, LayerValues, Shapes, Tape};
use super::{ConvNorm, LayerStatistics, ResidualNetwork};
use crate::layout::Pixel;
use crate::operation::{RunningStatistics, by_layer, on_cpu, running_moments, slice, statistics, tensor};
use crate::plan::BlockShape;

/// The parts of a network that are not tensors.
#[derive(Clone, Debug)]
pub(crate) struct Layout {
    pub(crate) shapes: Shapes,
    groups: usize,
}

impl Layout {
    pub(crate) fn new([_, channels, height, width]: [usize; 4], network: &ResidualNetwork, groups: usize) -> Self {
        let convolution = |layer: &ConvNorm, kernel: usize, input: (usize, usize, usize), stride: usize| {
            let (in_channels, height, width) = input;
            let dims = layer.weight.dims();
            assert_eq!(dims[1..], [in_channels, kernel, kernel], "weights {dims:?} for {in_channels} channels");
            assert!(matches!(stride, 1 | 2), "a stride of 1 or 2, not {stride}");
            BlockShape { in_channels, out_channels: dims[0], height, width, stride }
        };
        let output = |shape: &BlockShape| (shape.out_channels, shape.out_height(), shape.out_width());
        let stem = convolution(&network.stem, 3, (channels, height, width), 1);
        let mut input = output(&stem);
        let blocks = network.blocks.iter().map(|block| {
            let first = convolution(&block.first, 3, input, block.stride);
            let second = convolution(&block.second, 3, output(&first), 1);
            let beside = match &block.shortcut {
                Some(layer) => output(&convolution(layer, 1, input, block.stride)),
                None => input,
            };
            assert_eq!(output(&second), beside, "a block and its shortcut give the same size");
            input = beside;
            BlockShapes { first, second, has_shortcut: block.shortcut.is_some() }
        });
        let blocks = blocks.collect();
        Self { shapes: Shapes { stem, blocks, epsilon: network.epsilon }, groups }
    }

    /// The trained values in a flat slice: each layer's weight, gamma, beta in turn.
    pub(crate) fn parameters<'a>(&self, mut flat: &'a [f32]) -> Vec<LayerValues<&'a [f32]>> {
        let mut take = |count: usize| {
            let (head, tail) = flat.split_at(count);
            flat = tail;
            head
        };
        let of = |(shape, taps): (BlockShape, usize)| LayerValues {
            weight: take(shape.out_channels * shape.in_channels * taps),
            gamma: take(shape.out_channels),
            beta: take(shape.out_channels),
        };
        self.shapes.layers().into_iter().map(of).collect()
    }
}

/// All layers, in the order of their statistics.
pub(crate) fn layers(network: &ResidualNetwork) -> impl Iterator<Item = &ConvNorm> {
    let blocks = network.blocks.iter().flat_map(|b| [&b.first, &b.second].into_iter().chain(&b.shortcut));
    std::iter::once(&network.stem).chain(blocks)
}

/// All trained values in one flat tensor, in the order [`Layout::parameters`] reads.
pub(crate) fn flatten(network: &ResidualNetwork) -> Tensor<1> {
    let parts = layers(network).flat_map(|layer| {
        let ConvNorm { weight, gamma, beta } = layer.clone();
        [weight.flatten(0, 3), gamma, beta]
    });
    Tensor::cat(parts.collect(), 0)
}

/// The fused network. The second output holds the statistics: `[layer][mean, variance][group][channel]`, flat.
#[backend_extension(Autodiff, Flex)]
trait ResidualBackend: burn::backend::Backend {
    fn residual(
        images: FloatTensor<Self>,
        parameters: FloatTensor<Self>,
        layout: Layout,
    ) -> (FloatTensor<Self>, FloatTensor<Self>);
}

/// Runs the forward pass: features, statistics, tape.
fn run(images: &FlexTensor, parameters: &FlexTensor, layout: &Layout) -> (FlexTensor, FlexTensor, Tape) {
    let layers = layout.parameters(slice(parameters));
    let (features, tape) = network::forward(Level::new(), slice(images), layout.groups, &layout.shapes, &layers);
    let width = layout.shapes.last().out_channels;
    let statistics = statistics(tape.moments());
    let batch = features.len() / width;
    (tensor(features, [batch, width]), statistics, tape)
}

impl ResidualBackend for Flex {
    fn residual(
        images: FloatTensor<Self>,
        parameters: FloatTensor<Self>,
        layout: Layout,
    ) -> (FloatTensor<Self>, FloatTensor<Self>) {
        let (features, statistics, _) = run(&images.to_contiguous(), &parameters.to_contiguous(), &layout);
        (features, statistics)
    }
}

#[derive(Debug)]
struct ResidualBackward;

/// What the way back needs.
#[derive(Clone, Debug)]
struct Saved {
    parameters: FlexTensor,
    layout: Layout,
    tape: Arc<Tape>,
}

impl Backward<Flex, 2> for ResidualBackward {
    type State = Saved;

    fn backward(self, ops: Ops<Saved, 2>, grads: &mut Gradients, _checkpointer: &mut Checkpointer) {
        let Saved { parameters, layout, tape } = ops.state;
        let gradient = grads.consume::<Flex>(&ops.node).to_contiguous();
        let layers = layout.parameters(slice(&parameters));
        let [images, flat] = ops.parents;
        let (layers, images_gradient) =
            network::backward(&tape, &layout.shapes, &layers, slice(&gradient), images.is_some());
        if let (Some(node), Some(values)) = (images, images_gradient) {
            let stem = &layout.shapes.stem;
            let batch = values.len() / (stem.in_channels * stem.height * stem.width);
            grads.register::<Flex>(node.id, tensor(values, [batch, stem.in_channels, stem.height, stem.width]));
        }
        if let Some(node) = flat {
            let parts: Vec<_> = layers.iter().flat_map(|layer| [&*layer.weight, &layer.gamma, &layer.beta]).collect();
            let values = parts.concat();
            let count = values.len();
            grads.register::<Flex>(node.id, tensor(values, [count]));
        }
    }
}

impl<C: CheckpointStrategy> ResidualBackend for Autodiff<Flex, C> {
    fn residual(
        images: FloatTensor<Self>,
        parameters: FloatTensor<Self>,
        layout: Layout,
    ) -> (FloatTensor<Self>, FloatTensor<Self>) {
        let prepared = ResidualBackward.prepare::<C>([images.node(), parameters.node()]).compute_bound().stateful();
        let images = images.into_primitive().to_contiguous();
        let parameters = parameters.into_primitive().to_contiguous();
        let (features, statistics, tape) = run(&images, &parameters, &layout);
        let features = match prepared {
            OpsKind::Tracked(prepared) => prepared.finish(Saved { parameters, layout, tape: Arc::new(tape) }, features),
            OpsKind::UnTracked(prepared) => prepared.finish(features),
        };
        (features, FloatTensor::<Self>::new(statistics))
    }
}

/// See [`super::residual_network`].
pub(super) fn train(images: Tensor<4>, network: &ResidualNetwork, groups: usize) -> (Tensor<2>, Vec<LayerStatistics>) {
    let batch = images.dims()[0];
    assert!(groups > 0 && batch > 0 && batch.is_multiple_of(groups), "{batch} images in {groups} equal groups");
    let layout = Layout::new(images.dims(), network, groups);
    let layers = layout.shapes.layers();
    let (features, statistics) =
        <Dispatch as ResidualBackend>::residual(images.into_dispatch(), flatten(network).into_dispatch(), layout);
    let statistics =
        by_layer(&Tensor::from_dispatch(statistics), groups, layers.iter().map(|(shape, _)| shape.out_channels));
    let count = |shape: &BlockShape| batch / groups * shape.out_positions();
    let statistics = statistics.into_iter().zip(&layers);
    let statistics = statistics.map(|(batch, (shape, _))| LayerStatistics { batch, count: count(shape) });
    (Tensor::from_dispatch(features), statistics.collect())
}

/// The features of `images`, of the given size, by running statistics.
pub(super) fn infer<P: Pixel>(
    images: &[P],
    size: [usize; 4],
    network: &ResidualNetwork,
    running: &[RunningStatistics],
) -> Vec<f32> {
    let layout = Layout::new(size, network, 1);
    let parameters = on_cpu(flatten(network));
    inference(Level::new(), images, &layout.shapes, &layout.parameters(slice(&parameters)), &running_moments(running))
}
