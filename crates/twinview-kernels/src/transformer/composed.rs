//! The blocks composed of Burn's own operations.

use burn::tensor::{Tensor, activation};

use super::{LayerNorm, TokenLinear, Transformer, TransformerBlock};

/// See [`super::transformer_first_token`].
pub(crate) fn first_token(tokens: Tensor<3>, transformer: &Transformer) -> Tensor<2> {
    let [images, _, width] = tokens.dims();
    let Transformer { blocks, head, epsilon } = transformer;
    let tokens = blocks.iter().fold(tokens, |tokens, block| {
        let TransformerBlock { norm1, qkv, proj, norm2, fc1, fc2 } = block;
        let seen = attention(linear(qkv, normalise(norm1, tokens.clone(), *epsilon)), *head);
        let tokens = tokens + linear(proj, seen);
        let hidden = activation::gelu(linear(fc1, normalise(norm2, tokens.clone(), *epsilon)));
        tokens + linear(fc2, hidden)
    });
    tokens.narrow(1, 0, 1).reshape([images, width])
}

fn normalise(norm: &LayerNorm, tokens: Tensor<3>, epsilon: f32) -> Tensor<3> {
    let centred = tokens.clone() - tokens.mean_dim(2);
    let variance = centred.clone().square().mean_dim(2);
    let normal = centred / (variance + epsilon).sqrt();
    normal * norm.gamma.clone().unsqueeze::<3>() + norm.beta.clone().unsqueeze::<3>()
}

fn linear(layer: &TokenLinear, tokens: Tensor<3>) -> Tensor<3> {
    let [images, length, width] = tokens.dims();
    let output = crate::linear(tokens.reshape([images * length, width]), layer.weight.clone(), layer.bias.clone());
    let width = output.dims()[1];
    output.reshape([images, length, width])
}

/// What all heads see, from queries, keys and values, `[images, length, 3 * width]` (Vaswani et al. 2017, arXiv 1706.03762).
fn attention(parts: Tensor<3>, head: usize) -> Tensor<3> {
    let [images, length, width] = parts.dims();
    let width = width / 3;
    let heads = width / head;
    let parts = parts.reshape([images, length, 3, heads, head]).permute([2, 0, 3, 1, 4]);
    let part = |index: usize| parts.clone().narrow(0, index, 1).reshape([images, heads, length, head]);
    let (queries, keys, values) = (part(0), part(1), part(2));
    let likeness = queries.matmul(keys.swap_dims(2, 3)) / (head as f64).sqrt();
    let seen = activation::softmax(likeness, 3).matmul(values);
    seen.swap_dims(1, 2).reshape([images, length, width])
}
