//! MoCo, momentum contrast.
//!
//! - v1: He et al., "Momentum Contrast for Unsupervised Visual Representation Learning", 2020 (arXiv 1911.05722).
//! - v2: Chen et al., "Improved Baselines with Momentum Contrastive Learning", 2020 (arXiv 2003.04297).
//! - v3: Chen, Xie and He, "An Empirical Study of Training Self-Supervised Vision Transformers", 2021
//!   (arXiv 2104.02057).
//!
//! ```text
//! v1, v2   q = projector(backbone(view1))          k = momentum(view2)
//!          loss = InfoNCE(q, k, queue of past keys); then k enters the queue
//! v3       q = predictor(projector(backbone(view)))     k = momentum(other view)
//!          loss = contrast of q1 with k2 plus q2 with k1, negatives from the batch; no queue
//! ```
//!
//! v1 and v2 differ in the projector (one layer, two layers), the views and the schedule, so they are two recipes of
//! one method. The papers shuffle images between processors so that batch statistics do not give pairs away; here each
//! view has its own statistics on one device, and nothing is shuffled.

use serde::{Deserialize, Serialize};

use super::loss::shared::normalise;
use super::loss::{contrast, info_nce};
use super::{Heads, Method, MlpConfig, Network, Step, Views, at_least_one, pair, positive, share, watched};
use crate::Result;
use crate::optim::{Progress, cosine_schedule};

/// Settings of MoCo v1 and v2.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Moco {
    /// Widths of the projector's layers: one in v1, two in v2.
    pub projector: Vec<usize>,
    /// What similarities are divided by.
    pub temperature: f64,
    /// Past keys that serve as negatives.
    pub memory: usize,
    /// Share of itself that the momentum encoder keeps.
    pub momentum: f64,
}

impl Default for Moco {
    /// v2. The papers' 65,536 keys and momentum 0.999 are for a million images; these are for some ten thousand.
    fn default() -> Self {
        Self { projector: vec![512, 128], temperature: 0.2, memory: 4096, momentum: 0.99 }
    }
}

impl Method for Moco {
    fn title(&self) -> &'static str {
        if self.projector.len() > 1 { "MoCo v2" } else { "MoCo v1" }
    }

    fn validate(&self) -> Result<()> {
        positive([("temperature", self.temperature)])?;
        share("momentum", self.momentum)?;
        at_least_one([("projector", &self.projector), ("memory", &[self.memory])])
    }

    fn heads(&self) -> Heads {
        Heads {
            projector: Some(MlpConfig::new(&self.projector).without_norm()),
            target: true,
            memory: self.memory,
            ..Heads::default()
        }
    }

    fn step(&self, network: &Network, views: Views, _progress: Progress) -> Step {
        let queries = network.online.project(views.range(0, 1), 1);
        let keys = normalise(network.target().project(views.range(1, 1), 1)).detach();
        let loss = info_nce(queries.clone(), keys.clone(), network.remembered(), self.temperature);
        network.remember(keys);
        Step { loss, output: watched(&queries, 1) }
    }

    fn momentum(&self, _progress: Progress) -> f64 {
        self.momentum
    }
}

/// Settings of MoCo v3.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct MocoV3 {
    /// Widths of the projector's layers.
    pub projector: Vec<usize>,
    /// Width of the predictor's hidden layer.
    pub predictor: usize,
    /// What similarities are divided by.
    pub temperature: f64,
    /// Share of itself that the momentum encoder keeps at the start; it grows to 1 along a half cosine.
    pub momentum: f64,
}

impl Default for MocoV3 {
    fn default() -> Self {
        Self { projector: vec![512, 256], predictor: 512, temperature: 0.2, momentum: 0.99 }
    }
}

impl Method for MocoV3 {
    fn title(&self) -> &'static str {
        "MoCo v3"
    }

    fn validate(&self) -> Result<()> {
        positive([("temperature", self.temperature)])?;
        share("momentum", self.momentum)?;
        at_least_one([("projector", &self.projector), ("predictor", &[self.predictor])])
    }

    fn heads(&self) -> Heads {
        Heads {
            projector: Some(MlpConfig::new(&self.projector).with_output_norm()),
            predictor: Some(MlpConfig::new(&[self.predictor]).with_output_norm()),
            target: true,
            ..Heads::default()
        }
    }

    fn step(&self, network: &Network, views: Views, _progress: Progress) -> Step {
        let keys = pair(network.target().project(views.range(0, 2), 2).detach());
        let projections = network.online.project(views.pixels, 2);
        let output = watched(&projections, 2);
        let queries = pair(network.predict(projections, 2));
        let ([query1, query2], [key1, key2]) = (queries, keys);
        Step { loss: contrast(query1, key2, self.temperature) + contrast(query2, key1, self.temperature), output }
    }

    fn momentum(&self, progress: Progress) -> f64 {
        cosine_schedule(progress.step, progress.steps, self.momentum, 1.0)
    }
}
