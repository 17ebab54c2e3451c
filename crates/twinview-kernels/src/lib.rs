//! Fused CPU training kernels.
#![forbid(unsafe_code)]

mod backward;
mod composed;
mod cosine;
mod forward;
mod normalise;
mod operation;
mod pack;
mod plan;
mod stack;
#[cfg(test)]
mod tests;
mod tile;
mod workspace;

pub use cosine::negative_cosine_similarity;
pub use fearless_simd::Level;
pub use normalise::Moments;
pub use operation::{BatchStatistics, Block, RunningStatistics, conv_relu_bn_stack, conv_relu_bn_stack_inference};
pub use plan::BlockShape;
pub use stack::{BlockGradients, BlockParameters, Tape, backward, forward, inference};
