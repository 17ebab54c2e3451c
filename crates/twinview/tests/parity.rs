//! Twenty steps of training against PyTorch, from the same weights and batches.
//!
//! `golden/training/make.py` made the expected values and says how weights and images are hashed.

use std::path::Path;

use burn::tensor::{Device, Int, Tensor, TensorData};
use safetensors::{Dtype, SafeTensors};
use twinview::backbone::BackboneConfig;
use twinview::backbone::{Mode, TorchNames, load_state_dict, state_dict};
use twinview::method::{Classifier, ClassifierConfig, Method, Network, SimSiam, Views, cross_entropy};
use twinview::optim::{LearningRate, Optimizer, OptimizerConfig, Progress};
use twinview::state::{Array, StateDict, Values};
use twinview::training;

const STEPS: u32 = 20;
const BATCH: usize = 48;
/// Where the salts of the weights begin; the golden script says why.
const WEIGHTS: u32 = 1150;

fn hashed(count: usize, salt: u32) -> Vec<f32> {
    let start = salt.wrapping_mul(0x9E37_79B1);
    let scramble = |index: u32| {
        let mut x = index.wrapping_add(start);
        for (shift, factor) in [(16, 0x7FEB_352D), (15, 0x846C_A68B)] {
            x = (x ^ (x >> shift)).wrapping_mul(factor);
        }
        ((x ^ (x >> 16)) >> 8) as f32 / (1 << 24) as f32
    };
    (0..count as u32).map(scramble).collect()
}

/// Hashed weights for a model: all but the statistics and the scales, which stay as they are.
fn filled<M: TorchNames>(model: M) -> M {
    let mut state: StateDict = state_dict(&model);
    for (salt, (name, array)) in state.iter_mut().enumerate() {
        let Values::F32(values) = &mut array.values else { continue };
        if name.contains("running") || (array.shape.len() == 1 && values.iter().all(|&value| value == 1.0)) {
            continue;
        }
        let hashed = hashed(values.len(), WEIGHTS + salt as u32).into_iter();
        *values = if array.shape.len() > 1 {
            let fan_in: usize = array.shape[1..].iter().product();
            hashed.map(|x| (x * 2.0 - 1.0) / (fan_in as f32).sqrt()).collect()
        } else {
            hashed.map(|x| x * 0.5 + 0.5).collect()
        };
    }
    if let Some(Values::F32(inward)) = state.get("prediction_mlp.0.weight").map(|array| array.values.clone()) {
        // Out as in: `[64, 2048]` transposed.
        let outward = (0..2048 * 64).map(|place| inward[place % 64 * 2048 + place / 64]).collect();
        state.insert("prediction_mlp.3.weight".to_owned(), Array::f32([2048, 64], outward));
    }
    load_state_dict(model, &state).unwrap()
}

fn images(step: u32, views: &[u32], device: &Device) -> Tensor<4> {
    let patches = hashed(BATCH * 16, 3000 + step);
    let patch = |pixel: usize| patches[pixel / 784 * 16 + pixel % 784 / 28 / 7 * 4 + pixel % 28 / 7];
    let view = |view| {
        let noise = hashed(BATCH * 784, 1000 + 2 * step + view).into_iter().enumerate();
        noise.map(|(pixel, noise)| patch(pixel) * 0.75 + noise * 0.25).collect::<Vec<f32>>()
    };
    let pixels: Vec<f32> = views.iter().flat_map(|&index| view(index)).collect();
    Tensor::from_data(TensorData::new(pixels, [views.len() * BATCH, 1, 28, 28]), device)
}

/// Trains `model` and holds losses and final weights against the golden file `name`.
fn check<M: TorchNames>(name: &str, mut model: M, learning_rate: f32, loss: impl Fn(&M, u32) -> Tensor<1>) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("../../golden/training/{name}.safetensors"));
    let bytes = std::fs::read(path).unwrap();
    let golden = SafeTensors::deserialize(&bytes).unwrap();
    let expected_losses: Vec<f64> = {
        let view = golden.tensor("losses").unwrap();
        assert_eq!(view.dtype(), Dtype::F64);
        view.data().chunks_exact(8).map(|b| f64::from_le_bytes(b.try_into().unwrap())).collect()
    };

    let mut optimizer = Optimizer::new(OptimizerConfig::default());
    for step in 0..STEPS {
        let loss = loss(&model, step);
        let value: f64 = loss.clone().into_scalar::<f32>().into();
        let expected = expected_losses[step as usize];
        assert!(
            (value - expected).abs() <= 1e-4 * expected.abs() + 1e-6,
            "{name} step {step}: {value}, PyTorch {expected}"
        );
        model = optimizer.step(LearningRate::constant(learning_rate), model, loss.backward());
    }

    let ours = state_dict(&model);
    assert_eq!(ours.len() + 1, golden.len(), "{name}: other parameters than PyTorch's");
    for (parameter, Array { values, .. }) in ours {
        let floats = match values {
            Values::F32(floats) => floats,
            Values::I64(counts) => counts.into_iter().map(|count| count as f32).collect(),
        };
        let stride = if floats.len() > 512 { 37 } else { 1 };
        let golden = golden.tensor(&parameter).unwrap();
        let expected = golden.data().chunks_exact(4).map(|b| f32::from_le_bytes(b.try_into().unwrap()));
        assert_eq!(expected.len(), floats.len().div_ceil(stride), "{parameter}");
        for (place, (value, expected)) in floats.into_iter().step_by(stride).zip(expected).enumerate() {
            assert!((value - expected).abs() <= 1e-4, "{name} {parameter} {place}: {value}, PyTorch {expected}");
        }
    }
}

fn check_simsiam(device: &Device) {
    let method = SimSiam::default();
    let network = Network::new(&BackboneConfig::article(), 2048, &method.heads(), 0, device);
    check("simsiam", filled(network), 0.05, |network, step| {
        let views = Views { pixels: images(step, &[0, 1], device), count: 2, labels: None };
        method.step(network, views, Progress { step: 0, steps: 1, steps_per_epoch: 1 }).loss
    });
}

fn check_classifier(device: &Device) {
    let model = filled(ClassifierConfig::article().init(device));
    check("classifier", model, 0.001, |model: &Classifier, step| {
        let labels: Vec<i32> = hashed(BATCH, 5000 + step).iter().map(|x| (x * 10.0) as i32).collect();
        let labels = Tensor::<1, Int>::from_ints(labels.as_slice(), device);
        cross_entropy(model.forward(images(step, &[0], device), Mode::Train), labels)
    });
}

#[test]
fn simsiam_trains_as_in_pytorch() {
    check_simsiam(&training::cpu());
}

#[test]
fn classifier_trains_as_in_pytorch() {
    check_classifier(&training::cpu());
}

/// Apart, so that they can run beside each other: it takes minutes to try kernels.
#[cfg(feature = "wgpu")]
mod graphics {
    use super::*;

    fn device() -> Device {
        training::DeviceName::Gpu(0).open().unwrap()
    }

    #[test]
    #[ignore = "needs a graphics processor"]
    fn simsiam_trains_as_in_pytorch() {
        check_simsiam(&device());
    }

    #[test]
    #[ignore = "needs a graphics processor"]
    fn classifier_trains_as_in_pytorch() {
        check_classifier(&device());
    }
}
