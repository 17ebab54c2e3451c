//! FastSiam: Pototzky, Sultan and Schmidt-Thieme, "FastSiam: Resource-Efficient Self-supervised Learning on a Single
//! GPU", 2022.
//!
//! ```text
//! loss = mean over views i of D(p_i, stop_gradient(mean of z_j, j ≠ i))
//! ```
//!
//! SimSiam whose target is the mean of the other views: less noise, so it learns from smaller batches.

use burn::tensor::Tensor;
use serde::{Deserialize, Serialize};

use super::{
    Heads, Method, MlpConfig, Network, SimSiam, Step, Views, at_least_one, each_view, negative_cosine_similarity,
    watched,
};
use crate::optim::Progress;
use crate::{Error, Result};

/// Settings of FastSiam.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct FastSiam {
    /// Widths of the projector's layers; none where empty.
    pub projector: Vec<usize>,
    /// Width of the predictor's hidden layer.
    pub bottleneck: usize,
    /// Views of each image.
    pub views: usize,
}

impl Default for FastSiam {
    /// Four views, as in the paper.
    fn default() -> Self {
        Self { projector: vec![512, 512, 512], bottleneck: 128, views: 4 }
    }
}

impl Method for FastSiam {
    fn title(&self) -> &'static str {
        "FastSiam"
    }

    fn validate(&self) -> Result<()> {
        if !(2..=16).contains(&self.views) {
            let views = self.views;
            return Err(Error::Config(format!("method.views = {views} cannot train; it must be from 2 to 16")));
        }
        at_least_one([("bottleneck", &[self.bottleneck])])?;
        if self.projector.is_empty() { Ok(()) } else { at_least_one([("projector", &self.projector)]) }
    }

    fn heads(&self) -> Heads {
        Heads {
            projector: SimSiam::projector(&self.projector),
            predictor: Some(MlpConfig::new(&[self.bottleneck])),
            ..Heads::default()
        }
    }

    fn views(&self) -> usize {
        self.views
    }

    fn step(&self, network: &Network, views: Views, _progress: Progress) -> Step {
        let count = views.count;
        let projections = network.online.project(views.pixels, count);
        let output = watched(&projections, count);
        let predictions = network.predict(projections.clone(), count);
        let projections = each_view(projections.detach(), count);
        let sum = projections.iter().cloned().reduce(Tensor::add).expect("at least two views");
        let others = projections.into_iter().map(|own| (sum.clone() - own) / (count - 1) as f64).collect();
        Step { loss: negative_cosine_similarity(predictions, Tensor::cat(others, 0), 1), output }
    }
}
