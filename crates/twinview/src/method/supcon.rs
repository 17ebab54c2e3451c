//! SupCon: Khosla et al., "Supervised Contrastive Learning", 2020 (arXiv 2004.11362).
//!
//! SimCLR in which all images of a class are partners. It learns from the labels of every image it sees, so it is no
//! way to learn from unlabelled images: it is here as what contrasting can reach when labels are known.

use serde::{Deserialize, Serialize};

use super::loss::sup_con;
use super::{Heads, Method, MlpConfig, Network, Step, Views, at_least_one, positive, watched};
use crate::Result;
use crate::optim::Progress;

/// Settings of SupCon.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct SupCon {
    /// Widths of the projector's layers.
    pub projector: Vec<usize>,
    /// What similarities are divided by.
    pub temperature: f64,
}

impl Default for SupCon {
    fn default() -> Self {
        Self { projector: vec![512, 128], temperature: 0.1 }
    }
}

impl Method for SupCon {
    fn title(&self) -> &'static str {
        "SupCon"
    }

    fn validate(&self) -> Result<()> {
        positive([("temperature", self.temperature)])?;
        at_least_one([("projector", &self.projector)])
    }

    fn heads(&self) -> Heads {
        Heads { projector: Some(MlpConfig::new(&self.projector).without_norm()), ..Heads::default() }
    }

    fn needs_labels(&self) -> bool {
        true
    }

    fn step(&self, network: &Network, views: Views, _progress: Progress) -> Step {
        let projections = network.online.project(views.pixels, views.count);
        let output = watched(&projections, views.count);
        let labels = views.labels.expect("labels for a method that needs them");
        Step { loss: sup_con(projections, labels, views.count, self.temperature), output }
    }
}
