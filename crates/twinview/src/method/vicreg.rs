//! VICReg: Bardes, Ponce and LeCun, "VICReg: Variance-Invariance-Covariance Regularization for Self-Supervised
//! Learning", 2022 (arXiv 2105.04906).
//!
//! Projections of the two views shall be close (invariance), spread in every dimension (variance), and have dimensions
//! that do not follow one another (covariance), each view for itself.

use serde::{Deserialize, Serialize};

use super::loss::{VicRegWeights, vicreg};
use super::{Heads, Method, MlpConfig, Network, Step, Views, at_least_one, pair, positive, watched};
use crate::Result;
use crate::optim::Progress;

/// Settings of VICReg.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct VicReg {
    /// Widths of the projector's layers; the paper calls it expander.
    pub projector: Vec<usize>,
    /// Weight of the distance between the views.
    pub invariance: f64,
    /// Weight of the spread that is missing.
    pub variance: f64,
    /// Weight of the covariances.
    pub covariance: f64,
}

impl Default for VicReg {
    /// The paper's weights; its layers have 8,192 units.
    fn default() -> Self {
        Self { projector: vec![512, 512, 512], invariance: 25.0, variance: 25.0, covariance: 1.0 }
    }
}

impl Method for VicReg {
    fn title(&self) -> &'static str {
        "VICReg"
    }

    fn validate(&self) -> Result<()> {
        let Self { invariance, variance, covariance, .. } = *self;
        positive([("invariance", invariance), ("variance", variance), ("covariance", covariance)])?;
        at_least_one([("projector", &self.projector)])
    }

    fn heads(&self) -> Heads {
        Heads { projector: Some(MlpConfig::new(&self.projector)), ..Heads::default() }
    }

    fn step(&self, network: &Network, views: Views, _progress: Progress) -> Step {
        let projections = network.online.project(views.pixels, 2);
        let output = watched(&projections, 2);
        let [first, second] = pair(projections);
        let Self { invariance, variance, covariance, .. } = *self;
        Step { loss: vicreg(first, second, VicRegWeights { invariance, variance, covariance }), output }
    }
}
