//! Layer-wise adaptive rate scaling.

use burn::tensor::{Device, Tensor};
use serde::{Deserialize, Serialize};
use twinview_kernels::weighted_sum;

use super::config::{check_not_negative, check_positive, check_share};
use super::optimizer::{Parameter, Rule};
use super::velocities::Velocities;
use crate::Result;
use crate::state::StateDict;

/// LARS: You, Gitman and Ginsburg, "Large Batch Training of Convolutional Networks", 2017 (arXiv 1708.03888), equation
/// 6, as SimCLR and BYOL use it: every tensor of weights moves by a share of its own length.
///
/// ```text
/// r = trust_coefficient · |w| / (|∇| + weight_decay · |w|)
/// g = r · (∇ + weight_decay · w)        v = momentum · v + g        w = w − learning_rate · v
/// ```
///
/// Biases and the parameters of normalisation, which are all those of one dimension, move as under SGD without weight
/// decay, and so do weights that are all 0. As in lightly, the learning rate stands outside the velocity; in the paper
/// it is inside, which differs while the rate changes. Other than in lightly, a weight decay of 0 does not switch the
/// adaptation off.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct LarsConfig {
    /// Share of the last velocity that is kept.
    pub momentum: f32,
    /// Strength of the pull towards 0.
    pub weight_decay: f32,
    /// How far a tensor moves at a learning rate of 1, as part of its length.
    pub trust_coefficient: f32,
}

/// Keeps a gradient of 0 from being divided by.
const EPSILON: f32 = 1e-8;

impl Default for LarsConfig {
    /// SimCLR's (arXiv 2002.05709, section 2.2): momentum 0.9, weight decay 1e-6, trust coefficient 0.001.
    fn default() -> Self {
        Self { momentum: 0.9, weight_decay: 1e-6, trust_coefficient: 1e-3 }
    }
}

impl LarsConfig {
    pub(super) fn validate(&self) -> Result<()> {
        check_share("optimizer.momentum", self.momentum)?;
        check_not_negative("optimizer.weight_decay", self.weight_decay)?;
        check_positive("optimizer.trust_coefficient", self.trust_coefficient)
    }

    /// The gradient with weight decay, scaled to the length of `value`.
    fn adapted(&self, value: Tensor<1>, gradient: Tensor<1>) -> Tensor<1> {
        let norm = |tensor: &Tensor<1>| tensor.clone().mul(tensor.clone()).sum().sqrt();
        let (length, slope) = (norm(&value), norm(&gradient));
        let pull = length.clone().mul_scalar(self.weight_decay);
        let rate = length.clone().mul_scalar(self.trust_coefficient) / (slope.clone() + pull).add_scalar(EPSILON);
        // Weights of length 0 could never leave it, and without a gradient nothing says how far to decay.
        let rate = rate.mask_fill(length.equal_elem(0.0), 1.0).mask_fill(slope.equal_elem(0.0), 0.0);
        weighted_sum(gradient, value, [1.0, self.weight_decay]).mul(rate)
    }
}

#[derive(Debug)]
pub(super) struct Lars {
    config: LarsConfig,
    velocities: Velocities,
}

impl Lars {
    pub(super) fn new(config: LarsConfig) -> Self {
        Self { config, velocities: Velocities::default() }
    }
}

impl Rule for Lars {
    fn moved(&mut self, parameter: Parameter) -> Tensor<1> {
        let Parameter { name, value, gradient, learning_rate, is_bias_or_norm } = parameter;
        let push = match is_bias_or_norm {
            true => gradient,
            false => self.config.adapted(value.clone(), gradient),
        };
        self.velocities.moved(name, value, push, [0.0, self.config.momentum, learning_rate])
    }

    fn state(&self) -> StateDict {
        self.velocities.state()
    }

    fn load(&mut self, state: &StateDict, device: &Device) -> Result<()> {
        self.velocities.load(state, device)
    }
}
