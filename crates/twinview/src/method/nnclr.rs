//! NNCLR: Dwibedi et al., "With a Little Help from My Friends: Nearest-Neighbor Contrastive Learning of Visual
//! Representations", 2021 (arXiv 2104.14548).
//!
//! ```text
//! z1, z2 = projector(backbone(view))      p1, p2 = predictor(z)      n1, n2 = nearest of the remembered z to z1, z2
//! loss   = contrast of n1 with p2 plus n2 with p1, negatives from the batch; then z1 is remembered
//! ```
//!
//! A pair is not two views of one image but an image and its nearest neighbour: more variety than views can make.

use serde::{Deserialize, Serialize};

use super::loss::shared::normalise;
use super::loss::{nearest_neighbours, nnclr};
use super::{Heads, Method, MlpConfig, Network, Step, Views, at_least_one, pair, positive, watched};
use crate::Result;
use crate::optim::Progress;

/// Settings of NNCLR.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Nnclr {
    /// Widths of the projector's layers.
    pub projector: Vec<usize>,
    /// Width of the predictor's hidden layer.
    pub predictor: usize,
    /// What similarities are divided by.
    pub temperature: f64,
    /// Past projections among which neighbours are sought.
    pub memory: usize,
}

impl Default for Nnclr {
    /// The paper remembers 98,304 of a million images.
    fn default() -> Self {
        Self { projector: vec![512, 512, 256], predictor: 512, temperature: 0.1, memory: 4096 }
    }
}

impl Method for Nnclr {
    fn title(&self) -> &'static str {
        "NNCLR"
    }

    fn validate(&self) -> Result<()> {
        positive([("temperature", self.temperature)])?;
        at_least_one([("projector", &self.projector), ("predictor", &[self.predictor]), ("memory", &[self.memory])])
    }

    fn heads(&self) -> Heads {
        Heads {
            projector: Some(MlpConfig::new(&self.projector).with_output_norm()),
            predictor: Some(MlpConfig::new(&[self.predictor])),
            memory: self.memory,
            ..Heads::default()
        }
    }

    fn step(&self, network: &Network, views: Views, _progress: Progress) -> Step {
        let projections = network.online.project(views.pixels, 2);
        let output = watched(&projections, 2);
        let [prediction1, prediction2] = pair(network.predict(projections.clone(), 2));
        let [first, second] = pair(normalise(projections.detach()));
        let [neighbours1, neighbours2] =
            [&first, &second].map(|own| nearest_neighbours(own.clone(), network.remembered()));
        let loss =
            nnclr(neighbours1, prediction2, self.temperature) + nnclr(neighbours2, prediction1, self.temperature);
        network.remember(first);
        Step { loss: loss / 2.0, output }
    }
}
