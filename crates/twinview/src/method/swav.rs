//! SwAV: Caron et al., "Unsupervised Learning of Visual Features by Contrasting Cluster Assignments", 2020
//! (arXiv 2006.09882).
//!
//! ```text
//! s_v  = cosines of projector(backbone(view v)) and the prototypes
//! q_v  = Sinkhorn(s_v): soft clusters of the batch, all used alike         for the first two views
//! loss = each view predicts the clusters of the other: cross-entropy of softmax(s_w / temperature) and q_v
//! ```
//!
//! Local views predict too and are not clustered. The paper's prototypes are fixed in the first epoch; its queue, for
//! batches with fewer images than prototypes, is left out: fewer prototypes serve as well.

use serde::{Deserialize, Serialize};

use super::loss::swapped_prediction;
use super::{Heads, Method, MlpConfig, Network, Step, Views, at_least_one, each_view, positive, watched};
use crate::Result;
use crate::optim::Progress;

/// Settings of SwAV.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Swav {
    /// Widths of the projector's layers.
    pub projector: Vec<usize>,
    /// Clusters; at most about as many as images in a batch.
    pub prototypes: usize,
    /// What similarities are divided by.
    pub temperature: f64,
    /// How soft the assignment to clusters is.
    pub epsilon: f64,
    /// Rounds of Sinkhorn's algorithm.
    pub iterations: usize,
    /// Epochs in which the prototypes stay as they are.
    pub frozen_epochs: u64,
}

impl Default for Swav {
    fn default() -> Self {
        Self {
            projector: vec![512, 128],
            prototypes: 256,
            temperature: 0.1,
            epsilon: 0.05,
            iterations: 3,
            frozen_epochs: 1,
        }
    }
}

impl Method for Swav {
    fn title(&self) -> &'static str {
        "SwAV"
    }

    fn validate(&self) -> Result<()> {
        positive([("temperature", self.temperature), ("epsilon", self.epsilon)])?;
        at_least_one([
            ("projector", &self.projector),
            ("prototypes", &[self.prototypes]),
            ("iterations", &[self.iterations]),
        ])
    }

    fn heads(&self) -> Heads {
        Heads { projector: Some(MlpConfig::new(&self.projector)), prototypes: self.prototypes, ..Heads::default() }
    }

    fn step(&self, network: &Network, views: Views, progress: Progress) -> Step {
        let count = views.count;
        let projections = network.online.project(views.pixels, count);
        let output = watched(&projections, count);
        let is_frozen = progress.step < self.frozen_epochs * progress.steps_per_epoch;
        let scores = each_view(network.online.scores(projections, is_frozen), count);
        let loss = swapped_prediction(&scores, 2, self.temperature, self.epsilon, self.iterations);
        Step { loss, output }
    }
}
