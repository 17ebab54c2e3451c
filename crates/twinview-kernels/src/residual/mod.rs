//! Residual networks of basic blocks (He et al. 2015, arXiv 1512.03385, section 3.3), as one operation.

pub(crate) mod composed;
pub(crate) mod inference;
mod layers;
pub(crate) mod network;
pub(crate) mod operation;
mod shortcut;

use burn::backend::Flex;
use burn::tensor::Tensor;

use crate::network::{fused, on_cpu, slice, tensor};
use crate::statistics::{BatchStatistics, RunningStatistics};

/// A convolution without bias and the batch normalisation behind it.
#[derive(Clone, Debug)]
pub struct ConvNorm {
    /// Convolution weights, `[out, in, 3, 3]`, or `[out, in, 1, 1]` in a shortcut.
    pub weight: Tensor<4>,
    /// Scale of the normalisation, `[out]`.
    pub gamma: Tensor<1>,
    /// Shift of the normalisation, `[out]`.
    pub beta: Tensor<1>,
}

/// `relu(norm2(conv2(relu(norm1(conv1(x))))) + shortcut(x))`.
#[derive(Clone, Debug)]
pub struct ResidualBlock {
    /// 3 × 3, with the block's stride.
    pub first: ConvNorm,
    /// 3 × 3, with stride 1.
    pub second: ConvNorm,
    /// 1 × 1, with the block's stride; `x` itself where absent.
    pub shortcut: Option<ConvNorm>,
    /// Step of the block in both directions: 1 or 2.
    pub stride: usize,
}

/// A stem of one 3 × 3 convolution with normalisation and ReLU, blocks, and the mean over all positions.
#[derive(Clone, Debug)]
pub struct ResidualNetwork {
    /// 3 × 3, with stride 1.
    pub stem: ConvNorm,
    /// First to last.
    pub blocks: Vec<ResidualBlock>,
    /// Added to the variances.
    pub epsilon: f32,
}

/// What a layer's normalisation gathered in training.
#[derive(Clone, Debug)]
pub struct LayerStatistics {
    /// Of each group.
    pub batch: BatchStatistics,
    /// Values a channel that entered each group's.
    pub count: usize,
}

/// Runs the network in training mode on `images`, `[groups * batch, channels, height, width]`, of which `groups` equal runs
/// are normalised each by its own batch statistics, as by one pass a group.
///
/// Gives the features, `[groups * batch, channels of the last block]`, and each layer's statistics: the stem's, then of each block
/// the first, the second and the shortcut's.
///
/// # Panics
/// When the weights do not fit the images or one another, or the batch does not divide into the groups.
pub fn residual_network(
    images: Tensor<4>,
    network: &ResidualNetwork,
    groups: usize,
) -> (Tensor<2>, Vec<LayerStatistics>) {
    match fused(&images) {
        true => operation::train(images, network, groups),
        false => composed::train(images, network, groups),
    }
}

/// The features of `images`, `[batch, channels, height, width]`, by the running statistics of each layer, in the order
/// of [`residual_network`]. No gradient flows.
///
/// # Panics
/// When the weights do not fit the images or one another.
pub fn residual_network_inference(
    images: Tensor<4>,
    network: &ResidualNetwork,
    running: &[RunningStatistics],
) -> Tensor<2> {
    let images = images.inner();
    if !fused(&images) {
        return composed::infer(images, network, running);
    }
    let (size, batch) = (images.dims(), images.dims()[0]);
    let features = operation::infer(slice(&on_cpu(images)), size, network, running);
    let width = features.len() / batch;
    Tensor::from_primitive::<Flex>(tensor(features, [batch, width]))
}

/// The same for images of bytes, which are taken as 0 to 1. `size` is `[channels, height, width]`.
///
/// # Panics
/// As [`residual_network_inference`], and when `pixels` are not whole images.
pub fn residual_network_of_bytes(
    pixels: &[u8],
    [channels, height, width]: [usize; 3],
    network: &ResidualNetwork,
    running: &[RunningStatistics],
) -> Vec<f32> {
    let each = channels * height * width;
    assert!(each > 0 && pixels.len().is_multiple_of(each), "whole images of {each} values");
    if !fused(&network.stem.weight) {
        return composed::infer_bytes(pixels, [channels, height, width], network, running);
    }
    operation::infer(pixels, [pixels.len() / each, channels, height, width], network, running)
}
