//! SimSiam: Chen and He, "Exploring Simple Siamese Representation Learning", 2021 (arXiv 2011.10566).
//!
//! ```text
//! z1, z2 = projector(backbone(view1)), projector(backbone(view2))
//! p1, p2 = predictor(z1), predictor(z2)
//! loss   = D(p1, stop_gradient(z2)) / 2 + D(p2, stop_gradient(z1)) / 2      D = negative cosine similarity
//! ```
//!
//! The default is the article's form, which has no projector. The paper's has one of three layers; its recipe also
//! keeps the predictor's learning rate constant while the rest decays.

use burn::tensor::Tensor;
use serde::{Deserialize, Serialize};
use twinview_kernels::{Predictor, StackSimSiam, negative_cosine_similarity, simsiam_loss};

use super::{Branch, Heads, Method, Mlp, MlpConfig, MlpLayer, Network, Step, Views, at_least_one, first_two, watched};
use crate::Result;
use crate::backbone::{Backbone, BatchNorm};
use crate::optim::Progress;

/// Settings of SimSiam.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct SimSiam {
    /// Widths of the projector's layers; none in the article.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub projector: Vec<usize>,
    /// Width of the predictor's hidden layer.
    pub bottleneck: usize,
    /// Whether no gradient flows through the other view's side. Without, outputs collapse: the paper's ablation.
    #[serde(skip_serializing_if = "is_true")]
    pub stop_gradient: bool,
    /// Whether there is a predictor. Without, outputs collapse: the paper's ablation.
    #[serde(skip_serializing_if = "is_true")]
    pub with_predictor: bool,
}

fn is_true(value: &bool) -> bool {
    *value
}

impl Default for SimSiam {
    fn default() -> Self {
        Self { projector: Vec::new(), bottleneck: 64, stop_gradient: true, with_predictor: true }
    }
}

impl SimSiam {
    /// The paper's projector: every layer normalised, the last without scale and shift.
    pub(super) fn projector(widths: &[usize]) -> Option<MlpConfig> {
        (!widths.is_empty()).then(|| MlpConfig::new(widths).with_output_norm())
    }
}

impl Method for SimSiam {
    fn title(&self) -> &'static str {
        "SimSiam"
    }

    fn validate(&self) -> Result<()> {
        at_least_one([("bottleneck", &[self.bottleneck])])?;
        if self.projector.is_empty() { Ok(()) } else { at_least_one([("projector", &self.projector)]) }
    }

    fn heads(&self) -> Heads {
        Heads {
            projector: Self::projector(&self.projector),
            predictor: self.with_predictor.then(|| MlpConfig::new(&[self.bottleneck])),
            ..Heads::default()
        }
    }

    fn step(&self, network: &Network, Views { pixels, count, .. }: Views, _progress: Progress) -> Step {
        let Branch { backbone, projector, .. } = &network.online;
        let predictor = network.predictor.as_ref().filter(|_| self.stop_gradient).and_then(Mlp::as_predictor);
        let batch = pixels.dims()[0] / count;
        if let (Backbone::Conv(stack), None, Some((predictor, norm))) = (backbone, projector, &predictor) {
            let StackSimSiam { loss, bottleneck, features, .. } = stack.simsiam_loss(pixels, predictor.clone(), count);
            norm.track(bottleneck, batch);
            return Step { loss, output: Box::new(move || first_two(features(), count)) };
        }
        let projections = network.online.project(pixels, count);
        let output = watched(&projections, count);
        let loss = match predictor {
            Some((predictor, norm)) => {
                let (loss, statistics) = simsiam_loss(projections, predictor, count);
                norm.track(statistics, batch);
                loss
            }
            None => {
                let predictions = match &network.predictor {
                    Some(predictor) => predictor.forward(projections.clone(), count),
                    None => projections.clone(),
                };
                let loss = if self.stop_gradient { negative_cosine_similarity } else { both_ways };
                loss(predictions, projections, count)
            }
        };
        Step { loss, output }
    }
}

/// The loss with a gradient on both sides.
fn both_ways(predictions: Tensor<2>, projections: Tensor<2>, views: usize) -> Tensor<1> {
    let one = negative_cosine_similarity(predictions.clone(), projections.clone(), views);
    // The kernel stops the gradient of its targets, so the other side's comes from a term of value 0.
    let other = negative_cosine_similarity(projections, predictions, views);
    one + other.clone() - other.detach()
}

impl Mlp {
    /// As the operations take it that are predictor and loss in one, and what normalises its bottleneck: an MLP of two
    /// layers, the first normalised.
    fn as_predictor(&self) -> Option<(Predictor, &BatchNorm)> {
        let [MlpLayer { linear: hidden, norm: Some(norm) }, MlpLayer { linear: output, norm: None }] =
            self.layers.as_slice()
        else {
            return None;
        };
        let predictor = Predictor {
            hidden_weight: hidden.weight.val(),
            hidden_bias: hidden.bias.val(),
            gamma: norm.weight.val(),
            beta: norm.bias.val(),
            epsilon: BatchNorm::EPSILON as f32,
            output_weight: output.weight.val(),
            output_bias: output.bias.val(),
        };
        Some((predictor, norm))
    }
}
