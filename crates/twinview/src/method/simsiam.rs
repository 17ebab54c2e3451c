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
use twinview_kernels::simsiam_loss;

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
    /// The loss of `features`, `[views * batch, features]`; each view is normalised with its own statistics.
    fn loss(&self, features: Tensor<2>, views: usize) -> Tensor<1> {
        let count = features.dims()[0] / views;
        let predictor = twinview_kernels::Predictor {
            hidden_weight: self.hidden.weight.val(),
            hidden_bias: self.hidden.bias.val(),
            gamma: self.norm.weight.val(),
            beta: self.norm.bias.val(),
            epsilon: BatchNorm::EPSILON as f32,
            output_weight: self.output.weight.val(),
            output_bias: self.output.bias.val(),
        };
        let (loss, statistics) = simsiam_loss(features, predictor, views);
        self.norm.track(statistics, count);
        loss
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
        let output = features.clone().detach();
        let batch = output.dims()[0] / 2;
        Step { loss: self.prediction_mlp.loss(features, 2), output: output.narrow(0, 0, batch) }
    }

    fn backbone(&self) -> &ConvStack {
        &self.backbone
    }
}
