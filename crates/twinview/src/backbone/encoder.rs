//! The encoders behind one interface.

use burn::module::Module;
use burn::tensor::{Device, Tensor};

use super::{Architecture, BackboneConfig, ConvStack, Mode, ResNet, Start, TorchNames, VisionTransformer};

/// A network that turns an image into a feature vector.
#[derive(Module, Debug)]
pub enum Backbone {
    /// The article's.
    Conv(ConvStack),
    /// A residual network of basic blocks.
    Resnet(ResNet),
    /// A vision transformer.
    Vit(VisionTransformer),
}

impl Backbone {
    /// Features of `images`, `[views * batch, channels, height, width]` in 0..1, as `[views * batch, features]`.
    ///
    /// Each of the `views` groups of the batch is normalised with its own statistics, as if the views had
    /// passed one after the other.
    pub fn forward(&self, images: Tensor<4>, views: usize, mode: Mode) -> Tensor<2> {
        match self {
            Self::Conv(stack) => stack.forward(images, views, mode),
            Self::Resnet(network) => network.forward(images, views, mode),
            Self::Vit(transformer) => transformer.forward(images),
        }
    }

    /// Features of images of bytes, `[count, channels, height, width]` in 0..=255, with the running statistics:
    /// `[count, features]`. The bytes are taken as 0..1. `size` is `[channels, height, width]`.
    ///
    /// # Panics
    /// When the images have another number of channels than the encoder takes, or `pixels` are not whole images.
    pub fn encode(&self, pixels: &[u8], size: [usize; 3]) -> Vec<f32> {
        match self {
            Self::Conv(stack) => stack.encode(pixels, size),
            Self::Resnet(network) => network.encode(pixels, size),
            Self::Vit(transformer) => transformer.encode(pixels, size),
        }
    }

    /// Whether it keeps running statistics, which images must have passed before they mean anything.
    pub fn has_running_statistics(&self) -> bool {
        match self {
            Self::Conv(_) | Self::Resnet(_) => true,
            Self::Vit(_) => false,
        }
    }

    /// Where its weights live.
    pub fn device(&self) -> Device {
        match self {
            Self::Conv(stack) => stack.device(),
            Self::Resnet(network) => network.device(),
            Self::Vit(transformer) => transformer.device(),
        }
    }

    /// The shape that makes this encoder.
    pub fn config(&self) -> BackboneConfig {
        let (in_channels, architecture) = match self {
            Self::Conv(stack) => (stack.in_channels(), Architecture::Conv(stack.config())),
            Self::Resnet(network) => (network.in_channels(), Architecture::Resnet18(network.config())),
            Self::Vit(transformer) => (transformer.in_channels(), Architecture::Vit(transformer.config())),
        };
        BackboneConfig { in_channels, architecture }
    }
}

impl TorchNames for Backbone {
    fn torch_name(path: &str) -> String {
        match path.split_once('.') {
            Some(("Conv", rest)) => ConvStack::torch_name(rest),
            Some(("Resnet", rest)) => ResNet::torch_name(rest),
            Some(("Vit", rest)) => VisionTransformer::torch_name(rest),
            _ => path.to_owned(),
        }
    }

    fn start(path: &str) -> Start {
        match path.split_once('.') {
            Some(("Resnet", rest)) => ResNet::start(rest),
            Some(("Vit", rest)) => VisionTransformer::start(rest),
            _ => Start::default(),
        }
    }
}
