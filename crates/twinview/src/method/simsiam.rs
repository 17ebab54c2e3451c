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
use burn::tensor::{Device, Tensor, activation};

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
    /// Predicts from `features`, `[batch, features]`.
    pub fn forward(&self, features: Tensor<2>, mode: Mode) -> Tensor<2> {
        let hidden = self.norm.forward(self.hidden.forward(features), mode);
        self.output.forward(activation::relu(hidden))
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
    const NAME: &'static str = "simsiam";

    fn step(&self, views: Tensor<4>) -> Step {
        let features = self.backbone.forward(views, 2, Mode::Train);
        let [z1, z2] = halves(features);
        let p1 = self.prediction_mlp.forward(z1.clone(), Mode::Train);
        let p2 = self.prediction_mlp.forward(z2.clone(), Mode::Train);
        let [z1, z2] = [z1.detach(), z2.detach()];
        let loss = negative_cosine_similarity(p1, z2).add(negative_cosine_similarity(p2, z1.clone())).div_scalar(2);
        Step { loss, output: z1 }
    }

    fn backbone(&self) -> &ConvStack {
        &self.backbone
    }
}

/// The two views' halves of `[2 * batch, features]`.
fn halves(features: Tensor<2>) -> [Tensor<2>; 2] {
    let batch = features.dims()[0] / 2;
    [features.clone().narrow(0, 0, batch), features.narrow(0, batch, batch)]
}

/// The mean over the batch of `-p·z / (max(‖p‖, ε) max(‖z‖, ε))` with ε = 1e-6, as `[1]`.
///
/// Both inputs are `[batch, features]`. The floor on each norm is that of
/// `torch.nn.CosineSimilarity(dim=1, eps=1e-6)`.
pub fn negative_cosine_similarity(p: Tensor<2>, z: Tensor<2>) -> Tensor<1> {
    let norm = |x: &Tensor<2>| x.clone().square().sum_dim(1).sqrt().clamp_min(1e-6);
    let norms = norm(&p).mul(norm(&z));
    p.mul(z).sum_dim(1).div(norms).mean().neg()
}
