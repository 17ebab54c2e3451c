//! Against PyTorch and lightly: `golden/optim/make.py` made the expected values.

use std::collections::BTreeMap;

use burn::module::{Module, Param};
use burn::tensor::{Device, Tensor, TensorData};
use serde::Deserialize;

use super::{
    Accumulator, LearningRate, Optimizer, OptimizerConfig, ParameterGroup, Progress, Schedule, cosine_schedule,
};
use crate::backbone::{TorchNames, state_dict};
use crate::state::Values;
use crate::training::cpu;

type Values32 = BTreeMap<String, Vec<f32>>;

#[derive(Deserialize)]
struct Golden {
    start: Values32,
    gradients: Vec<Values32>,
    factors: Vec<f32>,
    cases: Vec<Case>,
    schedules: Vec<Factors>,
    cosines: Vec<Cosine>,
}

#[derive(Deserialize)]
struct Case {
    optimizer: OptimizerConfig,
    learning_rate: f32,
    groups: Vec<ParameterGroup>,
    values: Vec<Values32>,
}

#[derive(Deserialize)]
struct Factors {
    schedule: Schedule,
    steps_per_epoch: u64,
    factors: Vec<f64>,
}

#[derive(Deserialize)]
struct Cosine {
    max_steps: u64,
    start: f64,
    end: f64,
    values: Vec<f64>,
}

fn golden() -> Golden {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../golden/optim/optim.json");
    serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
}

#[derive(Module, Debug)]
struct Body {
    weight: Param<Tensor<2>>,
    bias: Param<Tensor<1>>,
}

#[derive(Module, Debug)]
struct Head {
    weight: Param<Tensor<2>>,
}

#[derive(Module, Debug)]
struct Model {
    body: Body,
    head: Head,
}

impl TorchNames for Model {}

fn tensor<const D: usize>(values: &Values32, name: &str, shape: [usize; D], device: &Device) -> Tensor<D> {
    Tensor::from_data(TensorData::new(values[name].clone(), shape), device)
}

impl Model {
    fn new(values: &Values32, device: &Device) -> Self {
        Self {
            body: Body {
                weight: Param::from_tensor(tensor(values, "body.weight", [3, 4], device)),
                bias: Param::from_tensor(tensor(values, "body.bias", [4], device)),
            },
            head: Head { weight: Param::from_tensor(tensor(values, "head.weight", [2, 3], device)) },
        }
    }

    /// A loss whose gradients are `gradients`.
    fn loss(&self, gradients: &Values32, device: &Device) -> Tensor<1> {
        let weight = self.body.weight.val().mul(tensor(gradients, "body.weight", [3, 4], device)).sum();
        let bias = self.body.bias.val().mul(tensor(gradients, "body.bias", [4], device)).sum();
        weight + bias + self.head.weight.val().mul(tensor(gradients, "head.weight", [2, 3], device)).sum()
    }

    /// The values, in the order that they lie in.
    fn values(&self) -> Values32 {
        let flat = |tensor: TensorData| tensor.iter::<f32>().collect();
        BTreeMap::from([
            ("body.weight".to_owned(), flat(self.body.weight.val().into_data())),
            ("body.bias".to_owned(), flat(self.body.bias.val().into_data())),
            ("head.weight".to_owned(), flat(self.head.weight.val().into_data())),
        ])
    }
}

#[test]
fn optimisers_move_as_pytorchs_and_lightlys() {
    let golden = golden();
    let device = cpu();
    assert!(golden.cases.len() >= 7 && golden.gradients.len() >= 6);
    for Case { optimizer: config, learning_rate: base, groups, values } in &golden.cases {
        let mut model = Model::new(&golden.start, &device);
        let mut optimizer = Optimizer::new(*config).with_groups(groups, &model).unwrap();
        for (step, gradients) in golden.gradients.iter().enumerate() {
            let rate = LearningRate { base: *base, factor: golden.factors[step] };
            let gradients = model.loss(gradients, &device).backward();
            model = optimizer.step(rate, model, gradients);
            let found = model.values();
            for (name, expected) in &values[step] {
                for (place, (found, expected)) in found[name].iter().zip(expected).enumerate() {
                    let difference = (found - expected).abs();
                    assert!(
                        difference <= 1e-6 * (1.0 + expected.abs()),
                        "{config:?} step {step} {name} {place}: {found}, expected {expected}"
                    );
                }
            }
        }
        assert_ne!(model.values()["head.weight"], golden.start["head.weight"]);
    }
}

#[test]
fn an_optimiser_goes_on_from_its_state_bit_for_bit() {
    let golden = golden();
    let device = cpu();
    for Case { optimizer: config, learning_rate, .. } in &golden.cases {
        let mut model = Model::new(&golden.start, &device);
        let mut optimizer = Optimizer::new(*config);
        let rate = LearningRate::constant(*learning_rate);
        let mut resumed = None;
        for (step, gradients) in golden.gradients.iter().enumerate() {
            if step == 3 {
                let mut later = Optimizer::new(*config);
                later.load(&optimizer.state(), &device).unwrap();
                resumed = Some((Model::new(&model.values(), &device), later));
            }
            if let Some((model, mut later)) = resumed.take() {
                let loss = model.loss(gradients, &device);
                resumed = Some((later.step(rate, model, loss.backward()), later));
            }
            let loss = model.loss(gradients, &device);
            model = optimizer.step(rate, model, loss.backward());
        }
        let (resumed, later) = resumed.unwrap();
        assert_eq!(resumed.values(), model.values(), "{config:?}");
        assert_eq!(later.state(), optimizer.state(), "{config:?}");
    }
}

#[test]
fn states_are_named_and_whole() {
    let golden = golden();
    let device = cpu();
    let state = |config: OptimizerConfig| {
        let model = Model::new(&golden.start, &device);
        let mut optimizer = Optimizer::new(config);
        let gradients = model.loss(&golden.gradients[0], &device).backward();
        optimizer.step(LearningRate::constant(0.1), model, gradients);
        optimizer.state()
    };
    let names = |config| state(config).into_keys().collect::<Vec<_>>();
    let sgd = OptimizerConfig::default();
    let adamw = OptimizerConfig::AdamW(Default::default());
    assert_eq!(names(sgd), ["body.bias", "body.weight", "head.weight"]);
    assert_eq!(names(OptimizerConfig::Lars(Default::default())), names(sgd));
    assert_eq!(names(adamw)[..3], ["body.bias.exp_avg", "body.bias.exp_avg_sq", "body.bias.step"]);
    let mut part = state(adamw);
    assert_eq!(part["head.weight.step"].values, Values::I64(vec![1]));
    part.remove("head.weight.exp_avg_sq");
    let message = Optimizer::new(adamw).load(&part, &device).unwrap_err().to_string();
    assert!(message.contains("no floats optimizer.head.weight.exp_avg_sq"), "{message}");
    let message = Optimizer::new(sgd).load(&state(adamw), &device).unwrap_err().to_string();
    assert!(message.contains("no floats optimizer.body.bias.step"), "{message}");
}

#[test]
fn what_is_frozen_stays_and_is_not_remembered() {
    let golden = golden();
    let device = cpu();
    let groups = [ParameterGroup { prefix: "body".into(), learning_rate_scale: 0.0, constant: false }];
    let model = Model::new(&golden.start, &device);
    let mut optimizer = Optimizer::new(OptimizerConfig::default()).with_groups(&groups, &model).unwrap();
    let gradients = model.loss(&golden.gradients[0], &device).backward();
    let moved = optimizer.step(LearningRate::constant(0.1), model, gradients);
    let before = state_dict(&Model::new(&golden.start, &device));
    let after = state_dict(&moved);
    assert_eq!(after["body.weight"], before["body.weight"]);
    assert_eq!(after["body.bias"], before["body.bias"]);
    assert_ne!(after["head.weight"], before["head.weight"]);
    assert_eq!(optimizer.state().into_keys().collect::<Vec<_>>(), ["head.weight"]);
}

#[test]
fn accumulated_gradients_are_the_sum() {
    let golden = golden();
    let device = cpu();
    let model = Model::new(&golden.start, &device);
    let mut gradients = Accumulator::default();
    assert!(gradients.take().is_none());
    for values in &golden.gradients[..3] {
        gradients.add(&model, model.loss(values, &device).backward());
    }
    let sum = gradients.take().unwrap();
    assert!(gradients.take().is_none());
    let found = model.body.bias.val().grad(&sum).unwrap().into_data();
    for (place, found) in found.iter::<f32>().enumerate() {
        let expected: f32 = golden.gradients[..3].iter().map(|values| values["body.bias"][place]).sum();
        assert!((found - expected).abs() <= 1e-6, "{found} {expected}");
    }
}

#[test]
fn schedules_have_lightlys_values() {
    for Factors { schedule, steps_per_epoch, factors } in golden().schedules {
        let steps = factors.len() as u64;
        schedule.validate(steps / steps_per_epoch).unwrap();
        for (step, expected) in (0..).zip(factors) {
            let found = schedule.factor(Progress { step, steps, steps_per_epoch });
            assert!((f64::from(found) - expected).abs() <= 1e-7, "{schedule:?} {step}: {found} {expected}");
        }
    }
    for Cosine { max_steps, start, end, values } in golden().cosines {
        assert_eq!(values.len() as u64, max_steps);
        for (step, expected) in (0..).zip(values) {
            let found = cosine_schedule(step, max_steps, start, end);
            assert!((found - expected).abs() <= 1e-12, "{step} of {max_steps}: {found} {expected}");
        }
    }
}
