//! DCL: Yeh et al., "Decoupled Contrastive Learning", 2022 (arXiv 2110.06848).
//!
//! SimCLR whose denominator leaves the positive pair out, so that easy pairs do not weaken the gradient: it needs
//! smaller batches. With `sigma` the weighted form, which counts hard pairs more.

use serde::{Deserialize, Serialize};

use super::loss::dcl;
use super::{Heads, Method, MlpConfig, Network, Step, Views, at_least_one, pair, positive, watched};
use crate::Result;
use crate::optim::Progress;

/// Settings of DCL.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Dcl {
    /// Widths of the projector's layers.
    pub projector: Vec<usize>,
    /// What similarities are divided by.
    pub temperature: f64,
    /// Concentration of the weights of positive pairs; none for the plain form.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sigma: Option<f64>,
}

impl Default for Dcl {
    fn default() -> Self {
        Self { projector: vec![512, 128], temperature: 0.1, sigma: None }
    }
}

impl Method for Dcl {
    fn title(&self) -> &'static str {
        "DCL"
    }

    fn validate(&self) -> Result<()> {
        positive([("temperature", self.temperature), ("sigma", self.sigma.unwrap_or(1.0))])?;
        at_least_one([("projector", &self.projector)])
    }

    fn heads(&self) -> Heads {
        Heads { projector: Some(MlpConfig::new(&self.projector).with_output_norm()), ..Heads::default() }
    }

    fn step(&self, network: &Network, views: Views, _progress: Progress) -> Step {
        let projections = network.online.project(views.pixels, 2);
        let [first, second] = pair(projections.clone());
        Step { loss: dcl(first, second, self.temperature, self.sigma), output: watched(&projections, 2) }
    }
}
