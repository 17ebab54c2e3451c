//! SimCLR: Chen, Kornblith, Norouzi and Hinton, "A Simple Framework for Contrastive Learning of Visual
//! Representations", 2020 (arXiv 2002.05709).
//!
//! ```text
//! z1, z2 = projector(backbone(view1)), projector(backbone(view2))
//! loss   = NT-Xent(z1, z2): each view must find its partner among all other views of the batch
//! ```
//!
//! The projector is the paper's two layers, each normalised as in its published code.

use serde::{Deserialize, Serialize};

use super::loss::nt_xent;
use super::{Heads, Method, MlpConfig, Network, Step, Views, at_least_one, pair, positive, watched};
use crate::Result;
use crate::optim::Progress;

/// Settings of SimCLR.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct SimClr {
    /// Widths of the projector's layers.
    pub projector: Vec<usize>,
    /// What similarities are divided by.
    pub temperature: f64,
}

impl Default for SimClr {
    fn default() -> Self {
        Self { projector: vec![512, 128], temperature: 0.5 }
    }
}

impl Method for SimClr {
    fn title(&self) -> &'static str {
        "SimCLR"
    }

    fn validate(&self) -> Result<()> {
        positive([("temperature", self.temperature)])?;
        at_least_one([("projector", &self.projector)])
    }

    fn heads(&self) -> Heads {
        Heads { projector: Some(MlpConfig::new(&self.projector).with_output_norm()), ..Heads::default() }
    }

    fn step(&self, network: &Network, views: Views, _progress: Progress) -> Step {
        let projections = network.online.project(views.pixels, 2);
        let [first, second] = pair(projections.clone());
        Step { loss: nt_xent(first, second, self.temperature), output: watched(&projections, 2) }
    }
}
