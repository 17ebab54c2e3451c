//! Stochastic gradient descent with momentum.

use burn::tensor::{Device, Tensor};
use serde::{Deserialize, Serialize};

use super::config::{check_not_negative, check_share};
use super::optimizer::{Parameter, Rule};
use super::velocities::Velocities;
use crate::Result;
use crate::state::StateDict;

/// SGD as `torch.optim.SGD` does it: the first velocity is the gradient, and no dampening follows.
///
/// ```text
/// g = ∇ + weight_decay · w        v = momentum · v + g        w = w − learning_rate · v
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct SgdConfig {
    /// Share of the last velocity that is kept.
    pub momentum: f32,
    /// Strength of the pull towards 0, added to the gradient.
    pub weight_decay: f32,
    /// Whether biases and normalisation are pulled too, as by PyTorch: all parameters of one dimension.
    #[serde(skip_serializing_if = "is_true")]
    pub decay_bias_and_norm: bool,
}

/// What stays unwritten, so that runs from before there was a choice can be gone on with.
fn is_true(value: &bool) -> bool {
    *value
}

impl Default for SgdConfig {
    /// The article's: momentum 0.9, weight decay 1e-5.
    fn default() -> Self {
        Self { momentum: 0.9, weight_decay: 1e-5, decay_bias_and_norm: true }
    }
}

impl SgdConfig {
    pub(super) fn validate(&self) -> Result<()> {
        check_share("optimizer.momentum", self.momentum)?;
        check_not_negative("optimizer.weight_decay", self.weight_decay)
    }
}

#[derive(Debug)]
pub(super) struct Sgd {
    config: SgdConfig,
    velocities: Velocities,
}

impl Sgd {
    pub(super) fn new(config: SgdConfig) -> Self {
        Self { config, velocities: Velocities::default() }
    }
}

impl Rule for Sgd {
    fn moved(&mut self, parameter: Parameter) -> Tensor<1> {
        let SgdConfig { momentum, weight_decay, decay_bias_and_norm } = self.config;
        let Parameter { name, value, gradient, learning_rate, is_bias_or_norm } = parameter;
        let decay = if is_bias_or_norm && !decay_bias_and_norm { 0.0 } else { weight_decay };
        self.velocities.moved(name, value, gradient, [decay, momentum, learning_rate])
    }

    fn state(&self) -> StateDict {
        self.velocities.state()
    }

    fn load(&mut self, state: &StateDict, device: &Device) -> Result<()> {
        self.velocities.load(state, device)
    }
}
