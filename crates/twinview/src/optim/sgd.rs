//! Stochastic gradient descent with momentum.

use std::collections::BTreeMap;

use burn::module::{ModuleMapper, Param};
use burn::tensor::{Device, Gradients, Tensor};
use serde::{Deserialize, Serialize};

use crate::backbone::TorchNames;
use crate::state::{Array, StateDict, Values};

/// Settings of [`Sgd`].
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SgdConfig {
    /// Share of the last velocity that is kept.
    pub momentum: f32,
    /// Strength of the pull towards 0, added to the gradient.
    pub weight_decay: f32,
}

impl Default for SgdConfig {
    /// The article's: momentum 0.9, weight decay 1e-5.
    fn default() -> Self {
        Self { momentum: 0.9, weight_decay: 1e-5 }
    }
}

/// SGD as `torch.optim.SGD` does it: the first velocity is the gradient, and no dampening follows.
///
/// ```text
/// g = ∇ + weight_decay · w        v = momentum · v + g        w = w − learning_rate · v
/// ```
#[derive(Debug)]
pub struct Sgd {
    config: SgdConfig,
    /// By PyTorch's parameter name; flat, because a map holds tensors of one rank.
    velocities: BTreeMap<String, Tensor<1>>,
}

impl Sgd {
    /// An optimiser at rest.
    pub fn new(config: SgdConfig) -> Self {
        Self { config, velocities: BTreeMap::new() }
    }

    /// Moves every parameter of `model` that has a gradient.
    pub fn step<M: TorchNames>(&mut self, learning_rate: f32, model: M, mut gradients: Gradients) -> M {
        let path = Vec::new();
        model.map(&mut Update { optimizer: self, learning_rate, gradients: &mut gradients, path, name: M::torch_name })
    }

    /// The velocities, flat, by the name of their parameter.
    pub fn state(&self) -> StateDict {
        let array = |velocity: &Tensor<1>| {
            let values: Vec<f32> = velocity.to_data().iter::<f32>().collect();
            Array::f32([values.len()], values)
        };
        self.velocities.iter().map(|(name, velocity)| (name.clone(), array(velocity))).collect()
    }

    /// Takes up the velocities of an earlier [`state`](Self::state).
    pub fn load(&mut self, state: &StateDict, device: &Device) {
        let tensor = |array: &Array| match &array.values {
            Values::F32(values) => Some(Tensor::from_floats(values.as_slice(), device)),
            Values::I64(_) => None,
        };
        self.velocities = state.iter().filter_map(|(name, array)| Some((name.clone(), tensor(array)?))).collect();
    }

    /// The new value of a parameter, flat as everything here.
    fn updated(&mut self, name: String, value: Tensor<1>, gradient: Tensor<1>, learning_rate: f32) -> Tensor<1> {
        let SgdConfig { momentum, weight_decay } = self.config;
        let gradient = gradient.add(value.clone().mul_scalar(weight_decay));
        let velocity = match self.velocities.remove(&name) {
            Some(velocity) => velocity.mul_scalar(momentum).add(gradient),
            None => gradient,
        };
        let value = value.sub(velocity.clone().mul_scalar(learning_rate));
        self.velocities.insert(name, velocity);
        value
    }
}

struct Update<'a> {
    optimizer: &'a mut Sgd,
    learning_rate: f32,
    gradients: &'a mut Gradients,
    path: Vec<String>,
    name: fn(&str) -> String,
}

impl ModuleMapper for Update<'_> {
    fn enter_module(&mut self, name: &str, _container: &str) {
        self.path.push(name.to_owned());
    }

    fn exit_module(&mut self, _name: &str, _container: &str) {
        self.path.pop();
    }

    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        let Some(gradient) = param.val().grad_remove(self.gradients) else { return param };
        let name = (self.name)(&self.path.join("."));
        let shape = gradient.shape();
        param.map(|tensor| {
            let value = tensor.inner().flatten(0, D - 1);
            let value = self.optimizer.updated(name, value, gradient.flatten(0, D - 1), self.learning_rate);
            Tensor::from_inner(value.reshape(shape)).require_grad()
        })
    }
}
