//! Encoders: networks that turn an image into a feature vector.

mod conv_stack;
mod norm;
mod parameters;

pub use conv_stack::{ConvBlock, ConvStack, ConvStackConfig};
pub use norm::BatchNorm;
pub use parameters::{TorchNames, initialise, load_state_dict, parameter_count, state_dict};

/// Which statistics BatchNorm normalises with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// The batch's own statistics; the running ones are updated.
    Train,
    /// The running statistics, unchanged.
    Eval,
}
