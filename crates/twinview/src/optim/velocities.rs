//! Momentum.

use std::collections::BTreeMap;

use burn::tensor::{Device, Tensor};
use twinview_kernels::momentum_step;

use super::optimizer::{array, tensor};
use crate::Result;
use crate::state::StateDict;

/// The velocities, by PyTorch's parameter names; flat, because a map holds tensors of one rank.
#[derive(Debug, Default)]
pub(super) struct Velocities(BTreeMap<String, Tensor<1>>);

impl Velocities {
    /// The parameter `name` after a step with its velocity; `factors` are those of [`momentum_step`].
    pub(super) fn moved(
        &mut self,
        name: String,
        value: Tensor<1>,
        gradient: Tensor<1>,
        factors: [f32; 3],
    ) -> Tensor<1> {
        let [value, velocity] = momentum_step(value, self.0.remove(&name), gradient, factors);
        self.0.insert(name, velocity);
        value
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
