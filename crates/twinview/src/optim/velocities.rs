//! Momentum.

use std::collections::BTreeMap;

use burn::tensor::{Device, Tensor};
use twinview_kernels::weighted_sum;

use super::optimizer::{array, tensor};
use crate::Result;
use crate::state::StateDict;

/// The velocities, by PyTorch's parameter names; flat, because a map holds tensors of one rank.
#[derive(Debug, Default)]
pub(super) struct Velocities(BTreeMap<String, Tensor<1>>);

impl Velocities {
    /// The velocity of the parameter `name` after a push: `v = momentum · v + push`, and the push itself at first.
    pub(super) fn pushed(&mut self, name: String, momentum: f32, push: Tensor<1>) -> Tensor<1> {
        let velocity = match self.0.remove(&name) {
            Some(velocity) => weighted_sum(velocity, push, [momentum, 1.0]),
            None => push,
        };
        self.0.insert(name, velocity.clone());
        velocity
    }

    /// Each velocity under the name of its parameter.
    pub(super) fn state(&self) -> StateDict {
        self.0.iter().map(|(name, velocity)| (name.clone(), array(velocity))).collect()
    }

    pub(super) fn load(&mut self, state: &StateDict, device: &Device) -> Result<()> {
        self.0 = state.keys().map(|name| Ok((name.clone(), tensor(state, name, device)?))).collect::<Result<_>>()?;
        Ok(())
    }
}
