//! Encoders: networks that turn an image into a feature vector.
//!
//! ```
//! use twinview::backbone::{BackboneConfig, initialise};
//! use twinview::training::Device;
//!
//! let encoder = initialise(BackboneConfig::article().init(&Device::flex()), 0);
//! let images = vec![0; 2 * 28 * 28];
//! assert_eq!(encoder.encode(&images, [1, 28, 28]).len(), 2 * 2048);
//! ```

mod config;
mod conv_stack;
mod encoder;
#[cfg(test)]
mod golden_tests;
mod linear;
mod norm;
mod parameters;
mod resnet;
mod vit;

pub use config::{Architecture, BackboneConfig};
pub use conv_stack::{ConvBlock, ConvStack, ConvStackConfig};
pub use encoder::Backbone;
pub use linear::Linear;
pub use norm::BatchNorm;
pub use parameters::{Start, TorchNames, initialise, load_state_dict, parameter_count, state_dict};
pub use resnet::{BasicBlock, Conv, Downsample, ResNet, ResNetConfig};
pub(crate) use vit::patch_positions;
pub use vit::{
    Attention, LayerNorm, PatchEmbedding, PatchProjection, TransformerBlock, TransformerMlp, VisionTransformer,
    VitConfig,
};

/// Which statistics BatchNorm normalises with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// The batch's own statistics; the running ones are updated.
    Train,
    /// The running statistics, unchanged.
    Eval,
}
