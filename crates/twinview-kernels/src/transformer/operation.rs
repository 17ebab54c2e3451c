//! The blocks on tensors, fused on the CPU.

use std::sync::Arc;

use burn::tensor::Tensor;
use fearless_simd::Level;

use super::Transformer;
use super::network::{Sizes, backward, forward, inference};
use crate::network::{self, Network, Pass};

/// All parameters in one flat tensor, in the order that [`Sizes::parameters`] reads.
pub(crate) fn flatten(transformer: &Transformer) -> Tensor<1> {
    let parts = transformer.blocks.iter().flat_map(|block| {
        let norms = [&block.norm1, &block.norm2].map(|norm| [norm.gamma.clone(), norm.beta.clone()]);
        let layers = [&block.qkv, &block.proj, &block.fc1, &block.fc2];
        let [qkv, proj, fc1, fc2] = layers.map(|layer| [layer.weight.clone().flatten(0, 1), layer.bias.clone()]);
        let [norm1, norm2] = norms;
        [norm1, qkv, proj, norm2, fc1, fc2].into_iter().flatten()
    });
    Tensor::cat(parts.collect(), 0)
}

impl Network for Sizes {
    fn forward(&self, tokens: &[f32], parameters: &[f32]) -> Pass {
        let (output, tape) = forward(Level::new(), self, &self.parameters(parameters), tokens);
        let sizes = *self;
        let back = move |parameters: &[f32], gradient: &[f32], _| {
            let (tokens, parameters) = backward(&tape, &sizes.parameters(parameters), gradient);
            (Some(tokens), parameters)
        };
        Pass { output, statistics: Vec::new(), back: Arc::new(back) }
    }

    fn inference(&self, tokens: &[f32], parameters: &[f32]) -> (Vec<f32>, Vec<f32>) {
        (inference(Level::new(), self, &self.parameters(parameters), tokens), Vec::new())
    }
}

/// See [`super::transformer_first_token`].
pub(super) fn first_token(tokens: Tensor<3>, transformer: &Transformer, sizes: Sizes) -> Tensor<2> {
    network::run(tokens, flatten(transformer), sizes).0
}
