//! Blocks of a vision transformer (Dosovitskiy et al. 2020, arXiv 2010.11929), as one operation.

mod attention;
mod block;
pub(crate) mod composed;
pub(crate) mod network;
pub(crate) mod operation;
mod rows;

use burn::tensor::Tensor;

use crate::network::fused;

/// Normalisation of every token by itself (Ba et al. 2016, arXiv 1607.06450).
#[derive(Clone, Debug)]
pub struct LayerNorm {
    /// Scale, `[width]`.
    pub gamma: Tensor<1>,
    /// Shift, `[width]`.
    pub beta: Tensor<1>,
}

/// `x W + b` of every token.
#[derive(Clone, Debug)]
pub struct TokenLinear {
    /// `[inputs, outputs]`.
    pub weight: Tensor<2>,
    /// `[outputs]`.
    pub bias: Tensor<1>,
}

/// `y = x + proj(attention(qkv(norm1(x))))`, and then `y + fc2(gelu(fc1(norm2(y))))`.
#[derive(Clone, Debug)]
pub struct TransformerBlock {
    /// Before the attention.
    pub norm1: LayerNorm,
    /// Queries, keys and values of all heads: to three times the width.
    pub qkv: TokenLinear,
    /// Brings the heads together.
    pub proj: TokenLinear,
    /// Before the two layers.
    pub norm2: LayerNorm,
    /// To the hidden units, behind which stands a GELU.
    pub fc1: TokenLinear,
    /// And back.
    pub fc2: TokenLinear,
}

/// Blocks that each token of an image passes in turn.
#[derive(Clone, Debug)]
pub struct Transformer {
    /// First to last, at least one.
    pub blocks: Vec<TransformerBlock>,
    /// Length of what one head of the attention sees of a token.
    pub head: usize,
    /// Added to the variances.
    pub epsilon: f32,
}

/// What the blocks make of the first token of each image, `[images, width]`, from `tokens`, `[images, length, width]`.
///
/// Only that token is asked for, as a class token is: the last block makes keys and values of all tokens, and everything else of
/// the first alone. Differentiable in `tokens` and all parameters. On the CPU this is one fused operation where `head` and the hidden
/// units are multiples of 16, with results that do not depend on the number of threads.
///
/// # Panics
/// When the parameters do not fit the tokens or one another, or there is no block.
pub fn transformer_first_token(tokens: Tensor<3>, transformer: &Transformer) -> Tensor<2> {
    let [_, length, width] = tokens.dims();
    let sizes = network::Sizes::new(length, width, transformer);
    match fused(&tokens) && sizes.fill_lines() {
        true => operation::first_token(tokens, transformer, sizes),
        false => composed::first_token(tokens, transformer),
    }
}
