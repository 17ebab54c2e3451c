//! Adam with decoupled weight decay.

use std::collections::BTreeMap;

use burn::tensor::{Device, Tensor};
use serde::{Deserialize, Serialize};
use twinview_kernels::weighted_sum;

use super::config::{check_not_negative, check_positive, check_share};
use super::optimizer::{Parameter, Rule, array, counter, tensor};
use crate::Result;
use crate::state::{Array, StateDict};

/// AdamW: Loshchilov and Hutter, "Decoupled Weight Decay Regularization", 2019 (arXiv 1711.05101), as
/// `torch.optim.AdamW` does it. At a parameter's step `t`, counted from 1:
///
/// ```text
/// m = β₁ · m + (1 − β₁) · ∇        s = β₂ · s + (1 − β₂) · ∇²
/// w = w − learning_rate · weight_decay · w
/// w = w − learning_rate · m / (1 − β₁ᵗ) / (√(s / (1 − β₂ᵗ)) + epsilon)
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct AdamWConfig {
    /// Shares that are kept of the mean of the gradients, and of the mean of their squares.
    pub betas: [f32; 2],
    /// Keeps small gradients from moving weights far.
    pub epsilon: f32,
    /// Strength of the pull towards 0, in parts of the learning rate.
    pub weight_decay: f32,
    /// Whether biases and normalisation are pulled too, as by PyTorch: all parameters of one dimension.
    pub decay_bias_and_norm: bool,
}

impl Default for AdamWConfig {
    /// PyTorch's: β 0.9 and 0.999, epsilon 1e-8, weight decay 0.01.
    fn default() -> Self {
        Self { betas: [0.9, 0.999], epsilon: 1e-8, weight_decay: 0.01, decay_bias_and_norm: true }
    }
}

impl AdamWConfig {
    pub(super) fn validate(&self) -> Result<()> {
        check_share("optimizer.betas[0]", self.betas[0])?;
        check_share("optimizer.betas[1]", self.betas[1])?;
        check_positive("optimizer.epsilon", self.epsilon)?;
        check_not_negative("optimizer.weight_decay", self.weight_decay)
    }
}

/// What is known of a parameter's gradients; PyTorch calls the means `exp_avg` and `exp_avg_sq`.
#[derive(Debug)]
struct Moments {
    mean: Tensor<1>,
    square: Tensor<1>,
    step: i64,
}

#[derive(Debug)]
pub(super) struct AdamW {
    config: AdamWConfig,
    /// By PyTorch's parameter names.
    moments: BTreeMap<String, Moments>,
}

impl AdamW {
    pub(super) fn new(config: AdamWConfig) -> Self {
        Self { config, moments: BTreeMap::new() }
    }
}

impl Rule for AdamW {
    fn moved(&mut self, parameter: Parameter) -> Tensor<1> {
        let Parameter { name, value, gradient, learning_rate, is_bias_or_norm } = parameter;
        let AdamWConfig { betas, epsilon, weight_decay, decay_bias_and_norm } = self.config;
        // In 64 bits, because 1 − β would lose half of its digits in 32.
        let ([first, second], rate) = (betas.map(f64::from), f64::from(learning_rate));
        let Moments { mean, square, step } = self.moments.remove(&name).unwrap_or_else(|| Moments {
            mean: value.zeros_like(),
            square: value.zeros_like(),
            step: 0,
        });
        let step = step + 1;
        let shares = |beta: f64| [beta, 1.0 - beta].map(|share| share as f32);
        let mean = weighted_sum(mean, gradient.clone(), shares(first));
        let square = weighted_sum(square, gradient.clone().mul(gradient), shares(second));
        let value = match is_bias_or_norm && !decay_bias_and_norm {
            true => value,
            false => value.mul_scalar(1.0 - rate * f64::from(weight_decay)),
        };
        let unbiased = |beta: f64| 1.0 - beta.powf(step as f64);
        let spread = square.clone().sqrt().div_scalar(unbiased(second).sqrt()).add_scalar(epsilon);
        let value = value.sub(mean.clone().div(spread).mul_scalar(rate / unbiased(first)));
        self.moments.insert(name, Moments { mean, square, step });
        value
    }

    fn state(&self) -> StateDict {
        let arrays = self.moments.iter().flat_map(|(name, Moments { mean, square, step })| {
            [
                (format!("{name}.exp_avg"), array(mean)),
                (format!("{name}.exp_avg_sq"), array(square)),
                (format!("{name}.step"), Array::counter(*step)),
            ]
        });
        arrays.collect()
    }

    fn load(&mut self, state: &StateDict, device: &Device) -> Result<()> {
        let names = state.keys().filter_map(|name| name.strip_suffix(".step"));
        let moments = |name: &str| {
            Ok(Moments {
                mean: tensor(state, &format!("{name}.exp_avg"), device)?,
                square: tensor(state, &format!("{name}.exp_avg_sq"), device)?,
                step: counter(state, &format!("{name}.step"))?,
            })
        };
        self.moments = names.map(|name| Ok((name.to_owned(), moments(name)?))).collect::<Result<_>>()?;
        Ok(())
    }
}
