//! Barlow Twins: Zbontar et al., "Barlow Twins: Self-Supervised Learning via Redundancy Reduction", 2021
//! (arXiv 2103.03230).
//!
//! The cross-correlation of the two views' projections shall be the identity: each dimension the same for both views,
//! and no two dimensions alike. Nothing else keeps it from collapsing: no negatives, no momentum, no predictor.

use serde::{Deserialize, Serialize};

use super::loss::barlow_twins;
use super::{Heads, Method, MlpConfig, Network, Step, Views, at_least_one, pair, positive, watched};
use crate::Result;
use crate::optim::Progress;

/// Settings of Barlow Twins.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct BarlowTwins {
    /// Widths of the projector's layers.
    pub projector: Vec<usize>,
    /// Weight of what lies off the diagonal.
    pub lambda: f64,
}

impl Default for BarlowTwins {
    /// The paper's three layers of 8,192 are for images of a thousand classes; these train in minutes.
    fn default() -> Self {
        Self { projector: vec![512, 512, 512], lambda: 5e-3 }
    }
}

impl Method for BarlowTwins {
    fn title(&self) -> &'static str {
        "Barlow Twins"
    }

    fn validate(&self) -> Result<()> {
        positive([("lambda", self.lambda)])?;
        at_least_one([("projector", &self.projector)])
    }

    fn heads(&self) -> Heads {
        Heads { projector: Some(MlpConfig::new(&self.projector)), ..Heads::default() }
    }

    fn step(&self, network: &Network, views: Views, _progress: Progress) -> Step {
        let projections = network.online.project(views.pixels, 2);
        let output = watched(&projections, 2);
        let [first, second] = pair(projections);
        Step { loss: barlow_twins(first, second, self.lambda), output }
    }
}
