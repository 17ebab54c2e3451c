//! The network on tensors, fused on the CPU.

use std::sync::Arc;

use burn::backend::DispatchTensor;
use burn::tensor::Tensor;
use fearless_simd::Level;

use super::inference::inference;
use super::network::{BlockShapes, LayerValues, Shapes, backward, forward};
use super::{ConvNorm, LayerStatistics, ResidualNetwork};
use crate::layout::Pixel;
use crate::network::{self, Network, Pass};
use crate::parameters::Parameters;
use crate::plan::BlockShape;
use crate::statistics::{self, BatchStatistics, RunningStatistics};

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

    /// The trained values of `values`: each layer's weight, gamma, beta in turn.
    pub(crate) fn parameters<'a>(&self, values: &[&'a [f32]]) -> Vec<LayerValues<&'a [f32]>> {
        let layers = self.shapes.layers();
        let (values, rest) = values.as_chunks();
        assert!(values.len() == layers.len() && rest.is_empty(), "three parameters of each layer");
        let layers = values.iter().zip(layers).map(|(&[weight, gamma, beta], (shape, _))| {
            assert_eq!([gamma.len(), beta.len()], [shape.out_channels; 2], "a scale and a shift of each channel");
            LayerValues { weight, gamma, beta }
        });
        layers.collect()
    }
}

/// All layers, in the order of their statistics.
pub(crate) fn layers(network: &ResidualNetwork) -> impl Iterator<Item = &ConvNorm> {
    let blocks = network.blocks.iter().flat_map(|b| [&b.first, &b.second].into_iter().chain(&b.shortcut));
    std::iter::once(&network.stem).chain(blocks)
}

/// All trained values, in the order [`Layout::parameters`] reads.
pub(crate) fn tensors(network: &ResidualNetwork) -> Vec<DispatchTensor> {
    let of = |layer: &ConvNorm| {
        let ConvNorm { weight, gamma, beta } = layer.clone();
        [weight.into_dispatch(), gamma.into_dispatch(), beta.into_dispatch()]
    };
    layers(network).flat_map(of).collect()
}

impl Network for Layout {
    fn forward(&self, images: &[f32], parameters: &[&[f32]]) -> Pass {
        let layers = self.parameters(parameters);
        let (output, tape) = forward(Level::new(), images, self.groups, &self.shapes, &layers);
        let statistics = statistics::flat(tape.moments());
        let layout = self.clone();
        let back = move |parameters: &[&[f32]], gradient: &[f32], with_images| {
            let layers = layout.parameters(parameters);
            let (layers, images) = backward(&tape, &layout.shapes, &layers, gradient, with_images);
            (images, layers.into_iter().flat_map(|layer| [layer.weight, layer.gamma, layer.beta]).collect())
        };
        Pass { output, statistics, back: Arc::new(back) }
    }
}

/// See [`super::residual_network`].
pub(super) fn train(images: Tensor<4>, network: &ResidualNetwork, groups: usize) -> (Tensor<2>, Vec<LayerStatistics>) {
    let batch = images.dims()[0];
    assert!(groups > 0 && batch > 0 && batch.is_multiple_of(groups), "{batch} images in {groups} equal groups");
    let layout = Layout::new(images.dims(), network, groups);
    let layers = layout.shapes.layers();
    let (features, statistics) = network::run(images, tensors(network), layout);
    let channels = layers.iter().map(|(shape, _)| shape.out_channels);
    let statistics = BatchStatistics::by_layer(&statistics, groups, channels);
    let count = |shape: &BlockShape| batch / groups * shape.out_positions();
    let statistics = statistics.into_iter().zip(&layers);
    let statistics = statistics.map(|(batch, (shape, _))| LayerStatistics { batch, count: count(shape) });
    (features, statistics.collect())
}

/// The features of `images`, of the given size, by running statistics.
pub(super) fn infer<P: Pixel>(
    images: &[P],
    size: [usize; 4],
    network: &ResidualNetwork,
    running: &[RunningStatistics],
) -> Vec<f32> {
    let layout = Layout::new(size, network, 1);
    let parameters = Parameters::new(tensors(network));
    inference(
        Level::new(),
        images,
        &layout.shapes,
        &layout.parameters(&parameters.values()),
        &RunningStatistics::moments(running),
    )
}
