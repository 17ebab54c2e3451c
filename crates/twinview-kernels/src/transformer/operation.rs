//! The blocks on tensors, fused on the CPU.

use std::sync::Arc;

use burn::backend::DispatchTensor;
use burn::tensor::Tensor;
use fearless_simd::Level;

use super::network::{Sizes, backward, forward, inference};
use super::{Transformer, TransformerBlock};
use crate::network::{self, Network, Pass};

/// All parameters, in the order that [`Sizes::parameters`] reads.
pub(crate) fn tensors(transformer: &Transformer) -> Vec<DispatchTensor> {
    let of = |block: &TransformerBlock| {
        let norms = [&block.norm1, &block.norm2].map(|norm| [&norm.gamma, &norm.beta].map(dispatched));
        let layers = [&block.qkv, &block.proj, &block.fc1, &block.fc2];
        let [qkv, proj, fc1, fc2] = layers.map(|layer| [dispatched(&layer.weight), dispatched(&layer.bias)]);
        let [norm1, norm2] = norms;
        [norm1, qkv, proj, norm2, fc1, fc2].into_iter().flatten()
    };
    transformer.blocks.iter().flat_map(of).collect()
}

fn dispatched<const D: usize>(tensor: &Tensor<D>) -> DispatchTensor {
    tensor.clone().into_dispatch()
}

impl Network for Sizes {
    fn forward(&self, tokens: &[f32], parameters: &[&[f32]]) -> Pass {
        let (output, tape) = forward(Level::new(), self, &self.parameters(parameters), tokens);
        let sizes = *self;
        let back = move |parameters: &[&[f32]], gradient: &[f32], _| {
            let (tokens, parameters) = backward(&tape, &sizes.parameters(parameters), gradient);
            (Some(tokens), parameters)
        };
        Pass { output, statistics: Vec::new(), back: Arc::new(back) }
    }

    fn inference(&self, tokens: &[f32], parameters: &[&[f32]]) -> (Vec<f32>, Vec<f32>) {
        (inference(Level::new(), self, &self.parameters(parameters), tokens), Vec::new())
    }
}

/// See [`super::transformer_first_token`].
pub(super) fn first_token(tokens: Tensor<3>, transformer: &Transformer, sizes: Sizes) -> Tensor<2> {
    network::run(tokens, tensors(transformer), sizes).0
}
