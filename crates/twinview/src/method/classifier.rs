//! Learning with labels: a backbone, and a head that names the class.

use burn::module::Module;
use burn::tensor::{Device, Int, Tensor, activation};

use crate::backbone::{Architecture, Backbone, BackboneConfig, Linear, Mode, Start, TorchNames};
use crate::dataset::Images;

/// Sizes of a [`Classifier`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClassifierConfig {
    /// The encoder.
    pub backbone: BackboneConfig,
    /// Features the encoder gives for the images at hand.
    pub features: usize,
    /// Width of the head's hidden layer; none for a linear head.
    pub hidden: Option<usize>,
    /// Number of classes.
    pub classes: usize,
}

impl ClassifierConfig {
    /// Units of the hidden layer of the article's head.
    pub const ARTICLE_HIDDEN: usize = 32;

    /// The article's sizes for 28 × 28 grey images: 2,048 features, 32 hidden units, 10 classes.
    pub fn article() -> Self {
        let backbone = BackboneConfig::article();
        Self { features: backbone.features(28, 28), backbone, hidden: Some(Self::ARTICLE_HIDDEN), classes: 10 }
    }

    /// The article's head on an encoder of `architecture`, fitted to `images` and a number of classes.
    pub fn for_images(images: &Images, classes: usize, architecture: &Architecture) -> Self {
        let backbone = BackboneConfig { in_channels: images.channels(), architecture: architecture.clone() };
        let features = backbone.features(images.height(), images.width());
        Self { backbone, features, classes, ..Self::article() }
    }

    /// A model with zero weights; see [`initialise`](crate::backbone::initialise).
    pub fn init(&self, device: &Device) -> Classifier {
        Classifier { backbone: self.backbone.init(device), fc: self.init_head(device) }
    }

    /// The head alone, with zero weights.
    pub fn init_head(&self, device: &Device) -> Head {
        match self.hidden {
            Some(hidden) => Head::Mlp(MlpHead {
                hidden: Linear::new(self.features, hidden, device),
                output: Linear::new(hidden, self.classes, device),
            }),
            None => Head::Linear(Linear::new(self.features, self.classes, device)),
        }
    }
}

/// An encoder and a head.
#[derive(Module, Debug)]
pub struct Classifier {
    /// The encoder.
    pub backbone: Backbone,
    /// The head.
    pub fc: Head,
}

impl Classifier {
    /// Logits of `images`, `[batch, channels, height, width]` in 0..1, as `[batch, classes]`.
    pub fn forward(&self, images: Tensor<4>, mode: Mode) -> Tensor<2> {
        self.fc.forward(self.backbone.forward(images, 1, mode))
    }
}

impl TorchNames for Classifier {
    fn torch_name(path: &str) -> String {
        match path.split_once('.') {
            Some(("fc", rest)) => format!("fc.{}", Head::torch_name(rest)),
            Some(("backbone", rest)) => format!("backbone.{}", Backbone::torch_name(rest)),
            _ => path.to_owned(),
        }
    }

    fn start(path: &str) -> Start {
        path.strip_prefix("backbone.").map_or_else(Start::default, Backbone::start)
    }
}

/// What tells classes apart by features.
#[derive(Module, Debug)]
pub enum Head {
    /// The article's, `fc.0` and `fc.2` of an `nn.Sequential` in PyTorch.
    Mlp(MlpHead),
    /// One layer, `fc` in PyTorch.
    Linear(Linear),
}

/// Linear, ReLU, linear.
#[derive(Module, Debug)]
pub struct MlpHead {
    hidden: Linear,
    output: Linear,
}

impl Head {
    /// First and last layer.
    fn ends(&self) -> (&Linear, &Linear) {
        match self {
            Self::Mlp(MlpHead { hidden, output }) => (hidden, output),
            Self::Linear(linear) => (linear, linear),
        }
    }

    /// Features it takes.
    pub fn features(&self) -> usize {
        self.ends().0.weight.dims()[0]
    }

    /// Classes it tells apart.
    pub fn classes(&self) -> usize {
        self.ends().1.weight.dims()[1]
    }

    /// Where its weights live.
    pub fn device(&self) -> Device {
        self.ends().0.weight.device()
    }

    /// Logits of `features`, `[batch, features]`, as `[batch, classes]`.
    pub fn forward(&self, features: Tensor<2>) -> Tensor<2> {
        match self {
            Self::Mlp(MlpHead { hidden, output }) => output.forward(activation::relu(hidden.forward(features))),
            Self::Linear(linear) => linear.forward(features),
        }
    }
}

impl TorchNames for Head {
    fn torch_name(path: &str) -> String {
        match path.split_once('.') {
            Some(("Mlp", rest)) => rest.replace("hidden", "0").replace("output", "2"),
            Some(("Linear", rest)) => rest.to_owned(),
            _ => path.to_owned(),
        }
    }
}

/// Mean cross-entropy of `logits`, `[batch, classes]`, against `labels`, `[batch]` in `0..classes`, as `[1]`.
pub fn cross_entropy(logits: Tensor<2>, labels: Tensor<1, Int>) -> Tensor<1> {
    activation::log_softmax(logits, 1).gather(1, labels.unsqueeze_dim(1)).mean().neg()
}
