//! Encoders: networks that turn an image into a feature vector.

mod config;
mod conv_stack;
mod encoder;
#[cfg(test)]
mod golden_tests;
mod norm;
mod parameters;
mod resnet;

pub use config::{Architecture, BackboneConfig};
pub use conv_stack::{ConvBlock, ConvStack, ConvStackConfig};
pub use encoder::Backbone;
pub use norm::BatchNorm;
pub use parameters::{TorchNames, initialise, load_state_dict, parameter_count, state_dict};
pub use resnet::{BasicBlock, Conv, Downsample, ResNet, ResNetConfig};

/// Which statistics BatchNorm normalises with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// The batch's own statistics; the running ones are updated.
    Train,
    /// The running statistics, unchanged.
    Eval,
}
