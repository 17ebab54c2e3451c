//! BYOL: Grill et al., "Bootstrap Your Own Latent", 2020 (arXiv 2006.07733).
//!
//! ```text
//! p1, p2 = predictor(projector(backbone(view)))        t1, t2 = momentum(view)
//! loss   = 2 − 2 cos(p1, t2) + 2 − 2 cos(p2, t1)
//! ```
//!
//! SimSiam with a target that is a slow copy instead of the network itself.

use serde::{Deserialize, Serialize};

use super::{Heads, Method, MlpConfig, Network, Step, Views, at_least_one, negative_cosine_similarity, share, watched};
use crate::Result;
use crate::optim::{Progress, cosine_schedule};

/// Settings of BYOL.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Byol {
    /// Widths of the projector's layers.
    pub projector: Vec<usize>,
    /// Width of the predictor's hidden layer.
    pub predictor: usize,
    /// Share of itself that the target keeps at the start; it grows to 1 along a half cosine.
    pub momentum: f64,
}

impl Default for Byol {
    /// The paper's 0.996 is for hundreds of thousands of updates; 0.99 suits some thousands.
    fn default() -> Self {
        Self { projector: vec![512, 256], predictor: 512, momentum: 0.99 }
    }
}

impl Method for Byol {
    fn title(&self) -> &'static str {
        "BYOL"
    }

    fn validate(&self) -> Result<()> {
        share("momentum", self.momentum)?;
        at_least_one([("projector", &self.projector), ("predictor", &[self.predictor])])
    }

    fn heads(&self) -> Heads {
        Heads {
            projector: Some(MlpConfig::new(&self.projector)),
            predictor: Some(MlpConfig::new(&[self.predictor])),
            target: true,
            ..Heads::default()
        }
    }

    fn step(&self, network: &Network, views: Views, _progress: Progress) -> Step {
        let targets = network.target().project(views.range(0, 2), 2);
        let projections = network.online.project(views.pixels, 2);
        let output = watched(&projections, 2);
        let predictions = network.predict(projections, 2);
        // The mean over both directions is half their sum.
        Step { loss: negative_cosine_similarity(predictions, targets, 2) * 4.0 + 4.0, output }
    }

    fn momentum(&self, progress: Progress) -> f64 {
        cosine_schedule(progress.step, progress.steps, self.momentum, 1.0)
    }
}
