//! Fused CPU training kernels, as Burn operations.
//!
//! [`conv_relu_bn_stack`] runs an encoder made of blocks of 3×3 convolution, ReLU and batch normalisation,
//! forward and backward, in a fraction of the time of the separate operations:
//!
//! - Activations lie as `[chunk of images][position][16-channel block][image][16 channels]`. Every inner loop is then a
//!   6×16 register tile over whole cache lines: no im2col buffer, padding taps are left out, a stride costs nothing.
//! - Neighbouring outputs that share outer taps are made together, three with four products for six, in rows and in
//!   columns; so are the gradients of inputs and weights.
//! - Values are stored once, before normalisation; of grey images, the first block's not at all: they are made where they are
//!   read. Normalisation, an affine map of each channel, is done as the next block reads
//!   them; its sums are gathered while the values are in the cache.
//! - All views of a batch go through in one pass, each with its own batch statistics.
//! - Buffers are kept from step to step; a fresh one costs a page fault for every 4 KiB.
//! - Each task may go to another thread (`with_max_len(1)`): rayon hands out runs of tasks, and the last run would be waited for.
//! - Work is cut by the batch alone and sums are added in a fixed order: results are the same, bit for bit, on any number of
//!   threads and from run to run.
//!
//! [`residual_network`] does the same for residual networks of basic blocks. There a ReLU stands behind the normalisation, so its
//! values are stored as well, and both ways into a block's input meet while the gradient is in the cache.
//!
//! [`transformer_first_token`] runs the blocks of a vision transformer. A few images at a time pass all of them, so that what lies
//! between stays in the cache, and the last block makes only what the class token asks for.
//!
//! The vector instructions (AVX-512, AVX2 with FMA, NEON, or a portable path) are chosen when the program runs.
//!
//! Heads and losses have operations of their own: [`linear`], [`batch_norm`], [`negative_cosine_similarity`], and
//! [`simsiam_loss`], which is predictor and loss in one, and with the stack below them [`stack_simsiam_loss`]; [`momentum_step`] and
//! [`weighted_sum`] serve what moves weights, [`vectorized`] whoever has a loop to run. On devices other than the CPU all are
//! composed of Burn's own operations. The slice functions ([`forward`], [`backward`], [`inference`]) need no Burn.
//!
//! ```
//! use burn::tensor::{Device, Tensor};
//! use twinview_kernels::{Block, conv_relu_bn_stack};
//!
//! let device = Device::flex().autodiff();
//! let block = Block {
//!     weight: Tensor::<4>::full([16, 1, 3, 3], 0.1, &device).require_grad(),
//!     bias: Tensor::<1>::zeros([16], &device),
//!     gamma: Tensor::<1>::ones([16], &device),
//!     beta: Tensor::<1>::zeros([16], &device),
//!     stride: 2,
//!     epsilon: 1e-5,
//! };
//! let images = Tensor::<1, burn::tensor::Int>::arange(0..4 * 28 * 28, &device).float().reshape([4, 1, 28, 28]);
//! let views = 2;
//! let (features, statistics) = conv_relu_bn_stack(images / 3136.0, std::slice::from_ref(&block), views);
//! assert_eq!(features.dims(), [4, 16 * 14 * 14]);
//! assert_eq!(statistics.len(), 1);
//! let gradients = features.powf_scalar(3.0).sum().backward();
//! assert_eq!(block.weight.grad(&gradients).unwrap().dims(), [16, 1, 3, 3]);
//! ```
#![forbid(unsafe_code)]

mod backward;
mod composed;
mod convolve;
mod cosine;
mod first_block;
mod forward;
mod inference;
mod layout;
mod linear;
mod network;
mod normalise;
mod operation;
mod pack;
mod parameters;
mod plan;
mod predictor;
mod product;
mod residual;
mod rows_norm;
mod simsiam;
mod spans;
mod stack;
mod statistics;
#[cfg(test)]
mod tests;
mod tile;
mod transformer;
mod transpose;
mod values;
mod vectorized;
mod weight_gradient;
mod weight_products;
mod weighted_sum;
mod workspace;

pub use cosine::negative_cosine_similarity;
pub use fearless_simd::Level;
pub use inference::inference;
pub use layout::Pixel;
pub use linear::linear;
pub use normalise::Moments;
pub use operation::{Block, conv_relu_bn_stack, conv_relu_bn_stack_inference, conv_relu_bn_stack_of_bytes};
pub use plan::BlockShape;
pub use residual::{
    ConvNorm, LayerStatistics, ResidualBlock, ResidualNetwork, residual_network, residual_network_inference,
    residual_network_of_bytes,
};
pub use rows_norm::batch_norm;
pub use simsiam::{Predictor, StackSimSiam, simsiam_loss, stack_simsiam_loss};
pub use stack::{BlockGradients, BlockParameters, Tape, backward, forward};
pub use statistics::{BatchStatistics, RunningStatistics};
pub use transformer::{LayerNorm, TokenLinear, Transformer, TransformerBlock, transformer_first_token};
pub use vectorized::vectorized;
pub use weighted_sum::{momentum_step, weighted_sum};
