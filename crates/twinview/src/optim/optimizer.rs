//! What moves a model.

use std::fmt::Debug;

use burn::module::{ModuleMapper, Param};
use burn::tensor::{Device, Gradients, Tensor, TensorData};

use super::adamw::AdamW;
use super::lars::Lars;
use super::sgd::Sgd;
use super::{OptimizerConfig, ParameterGroup};
use crate::backbone::TorchNames;
use crate::state::{Array, StateDict, Values};
use crate::{Error, Result};

/// An optimiser, with what it remembers of each parameter.
#[derive(Debug)]
pub struct Optimizer {
    rule: Box<dyn Rule>,
    groups: Vec<ParameterGroup>,
}

/// A learning rate at one step.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct LearningRate {
    /// The plan's.
    pub base: f32,
    /// The schedule's factor on it.
    pub factor: f32,
}

impl LearningRate {
    /// The same at all steps.
    pub fn constant(base: f32) -> Self {
        Self { base, factor: 1.0 }
    }
}

/// How an optimiser moves one parameter.
pub(super) trait Rule: Debug + Send {
    /// The parameter's new value.
    fn moved(&mut self, parameter: Parameter) -> Tensor<1>;

    /// What is remembered, under names that begin with those of the parameters.
    fn state(&self) -> StateDict;

    /// Takes up an earlier [`state`](Self::state).
    fn load(&mut self, state: &StateDict, device: &Device) -> Result<()>;
}

/// A parameter that is to be moved; flat, whatever its shape.
pub(super) struct Parameter {
    /// PyTorch's name.
    pub(super) name: String,
    pub(super) value: Tensor<1>,
    pub(super) gradient: Tensor<1>,
    pub(super) learning_rate: f32,
    /// Whether it has one dimension: only biases and the parameters of normalisation have.
    pub(super) is_bias_or_norm: bool,
}

impl Optimizer {
    /// An optimiser at rest, under which all parameters learn alike.
    pub fn new(config: OptimizerConfig) -> Self {
        let rule: Box<dyn Rule> = match config {
            OptimizerConfig::Sgd(config) => Box::new(Sgd::new(config)),
            OptimizerConfig::Lars(config) => Box::new(Lars::new(config)),
            OptimizerConfig::AdamW(config) => Box::new(AdamW::new(config)),
        };
        Self { rule, groups: Vec::new() }
    }

    /// The same, with other learning rates for `groups` of the parameters of `model`.
    ///
    /// # Errors
    /// For a group that no parameter which learns belongs to.
    pub fn with_groups<M: TorchNames>(self, groups: &[ParameterGroup], model: &M) -> Result<Self> {
        ParameterGroup::check_names(groups, model)?;
        Ok(Self { groups: groups.to_vec(), ..self })
    }

    /// Moves every parameter of `model` that has a gradient and is not frozen.
    pub fn step<M: TorchNames>(&mut self, learning_rate: LearningRate, model: M, mut gradients: Gradients) -> M {
        let path = Vec::new();
        let name = M::torch_name;
        model.map(&mut Update { optimizer: self, learning_rate, gradients: &mut gradients, path, name })
    }

    /// What it remembers, flat, under names that begin with those of the parameters.
    pub fn state(&self) -> StateDict {
        self.rule.state()
    }

    /// Takes up the [`state`](Self::state) of an optimiser of the same kind.
    ///
    /// # Errors
    /// When the state is of another kind or not whole.
    pub fn load(&mut self, state: &StateDict, device: &Device) -> Result<()> {
        self.rule.load(state, device)
    }
}

/// `tensor` as files hold it.
pub(super) fn array(tensor: &Tensor<1>) -> Array {
    let values: Vec<f32> = tensor.to_data().iter::<f32>().collect();
    Array::f32([values.len()], values)
}

/// The floats in `state` under `name`.
pub(super) fn tensor(state: &StateDict, name: &str, device: &Device) -> Result<Tensor<1>> {
    match state.get(name).map(|array| &array.values) {
        Some(Values::F32(values)) => Ok(Tensor::from_data(TensorData::new(values.clone(), [values.len()]), device)),
        _ => Err(not_there(name, "floats")),
    }
}

/// The whole number in `state` under `name`.
pub(super) fn counter(state: &StateDict, name: &str) -> Result<i64> {
    match state.get(name).map(|array| &array.values) {
        Some(Values::I64(counts)) if counts.len() == 1 => Ok(counts[0]),
        _ => Err(not_there(name, "whole number")),
    }
}

fn not_there(name: &str, kind: &str) -> Error {
    Error::Config(format!("the optimiser cannot go on: the checkpoint has no {kind} optimizer.{name}; train anew"))
}

struct Update<'a> {
    optimizer: &'a mut Optimizer,
    learning_rate: LearningRate,
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
        let groups = &self.optimizer.groups;
        let Some(learning_rate) = ParameterGroup::rate(groups, &name, self.learning_rate) else { return param };
        let shape = gradient.shape();
        param.map(|tensor| {
            let value = self.optimizer.rule.moved(Parameter {
                name,
                value: tensor.inner().flatten(0, D - 1),
                gradient: gradient.flatten(0, D - 1),
                learning_rate,
                is_bias_or_norm: D == 1,
            });
            Tensor::from_inner(value.reshape(shape)).require_grad()
        })
    }
}
