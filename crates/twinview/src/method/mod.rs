//! Ways to learn: with labels ([`Classifier`]), and from two views of each image ([`SimSiam`]).

mod classifier;
mod mlp;
mod simsiam;

pub use classifier::{Classifier, ClassifierConfig, Head, cross_entropy};
pub use mlp::Linear;
pub use simsiam::{SimSiam, SimSiamConfig};
pub use twinview_kernels::negative_cosine_similarity;

use burn::tensor::Tensor;

use crate::backbone::{ConvStack, TorchNames};

/// A self-supervised method: it turns views into a loss.
///
/// The training loop knows only this. What a method has besides the backbone (heads, queues, a momentum
/// copy) is its own business.
pub trait Method: TorchNames {
    /// The loss of one batch of views, `[2 * batch, channels, height, width]` in 0..1: all first views, then
    /// all second views in the same order.
    fn step(&self, views: Tensor<4>) -> Step;

    /// The encoder that is kept when training is over.
    fn backbone(&self) -> &ConvStack;
}

/// What a method makes of one batch.
pub struct Step {
    /// The loss to go down, `[1]`.
    pub loss: Tensor<1>,
    /// The representation watched for collapse, `[batch, dimensions]`, detached.
    pub output: Tensor<2>,
}
