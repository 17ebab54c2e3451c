//! SimSiam: Chen and He, "Exploring Simple Siamese Representation Learning", 2021 (arXiv 2011.10566).
//!
//! ```text
//! z1, z2 = backbone(view1), backbone(view2)
//! p1, p2 = predictor(z1), predictor(z2)
//! loss   = D(p1, stop_gradient(z2)) / 2 + D(p2, stop_gradient(z1)) / 2      D = negative cosine similarity
//! ```
//!
//! This is the article's form, which differs from the paper: no projector between backbone and predictor,
//! and a learning rate that stays constant.

use burn::module::Module;
use burn::tensor::{Device, Tensor};
use twinview_kernels::negative_cosine_similarity;

use super::{Linear, Method, Step};
use crate::backbone::{BatchNorm, ConvStack, ConvStackConfig, Mode, TorchNames};
use crate::dataset::Images;

/// Sizes of a [`SimSiam`] model.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SimSiamConfig {
    /// The encoder.
    pub backbone: ConvStackConfig,
    /// Features the encoder gives for the images at hand.
    pub features: usize,
    /// Width of the predictor's bottleneck.
    pub bottleneck: usize,
}

impl SimSiamConfig {
    /// The article's sizes for 28 × 28 grey images: 2,048 features, a bottleneck of 64.
    pub fn article() -> Self {
        let backbone = ConvStackConfig::article();
        Self { features: backbone.features(28, 28), backbone, bottleneck: 64 }
    }

    /// The article's sizes, fitted to `images`.
    pub fn for_images(images: &Images) -> Self {
        let backbone = ConvStackConfig { in_channels: images.channels(), ..ConvStackConfig::article() };
        Self { features: backbone.features(images.height(), images.width()), backbone, ..Self::article() }
    }

    /// A model with zero weights; see [`initialise`](crate::backbone::initialise).
    pub fn init(&self, device: &Device) -> SimSiam {
        SimSiam {
            backbone: self.backbone.init(device),
            prediction_mlp: Predictor {
                hidden: Linear::new(self.features, self.bottleneck, device),
                norm: BatchNorm::new(self.bottleneck, device),
                output: Linear::new(self.bottleneck, self.features, device),
            },
        }
    }
}

/// An encoder and a predictor.
#[derive(Module, Debug)]
pub struct SimSiam {
    /// The encoder.
    pub backbone: ConvStack,
    /// What guesses one view's features from the other's.
    pub prediction_mlp: Predictor,
}

/// Linear, batch normalisation, ReLU, linear, with a bottleneck between.
///
/// In PyTorch: `prediction_mlp.0`, `.1` and `.3` of an `nn.Sequential`.
#[derive(Module, Debug)]
pub struct Predictor {
    hidden: Linear,
    norm: BatchNorm,
    output: Linear,
}

impl Predictor {
    /// Predicts from `features`, `[views * batch, features]`; each view is normalised with its own statistics.
    pub fn forward(&self, features: Tensor<2>, views: usize, mode: Mode) -> Tensor<2> {
        self.output.forward(self.norm.forward(self.hidden.forward(features), views, mode, true))
    }
}

impl TorchNames for SimSiam {
    fn torch_name(path: &str) -> String {
        match path.split_once('.') {
            Some(("prediction_mlp", rest)) => {
                let rest = rest.replace("hidden", "0").replace("norm", "1").replace("output", "3");
                format!("prediction_mlp.{rest}")
            }
            _ => ConvStack::torch_name(path),
        }
    }
}

impl Method for SimSiam {
    fn step(&self, views: Tensor<4>) -> Step {
        let features = self.backbone.forward(views, 2, Mode::Train);
        let predictions = self.prediction_mlp.forward(features.clone(), 2, Mode::Train);
        let targets = features.detach();
        let loss = negative_cosine_similarity(predictions, targets.clone(), 2);
        let batch = targets.dims()[0] / 2;
        Step { loss, output: targets.narrow(0, 0, batch) }
    }

    fn backbone(&self) -> &ConvStack {
        &self.backbone
    }
}
