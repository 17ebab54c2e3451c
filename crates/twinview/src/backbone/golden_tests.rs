//! Agreement with torchvision, on `golden/backbone`; `make.py` there says what is in the files.

use burn::module::{Module, ModuleVisitor, Param};
use burn::tensor::{Device, Gradients, Tensor, TensorData};
use safetensors::{Dtype, SafeTensors};

use super::*;
use crate::state::{Array, StateDict, Values};

/// Largest difference allowed, as a share of the largest value of a tensor.
const TOLERANCE: f32 = 2e-5;

struct Golden(Vec<u8>);

impl Golden {
    fn read() -> Self {
        Self::of("resnet")
    }

    fn of(network: &str) -> Self {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../../golden/backbone");
        Self(std::fs::read(format!("{folder}/{network}.safetensors")).unwrap())
    }

    /// All arrays whose names begin with `prefix`, under the rest of their names.
    fn below(&self, prefix: &str) -> StateDict {
        let file = SafeTensors::deserialize(&self.0).unwrap();
        let read = |(name, view): (&str, safetensors::tensor::TensorView)| {
            let values = match view.dtype() {
                Dtype::F32 => Values::F32(view.data().as_chunks().0.iter().map(|&x| f32::from_le_bytes(x)).collect()),
                _ => Values::I64(view.data().as_chunks().0.iter().map(|&x| i64::from_le_bytes(x)).collect()),
            };
            Some((name.strip_prefix(prefix)?.to_owned(), Array { shape: view.shape().to_vec(), values }))
        };
        file.iter().filter_map(read).collect()
    }

    fn tensor<const D: usize>(&self, name: &str, device: &Device) -> Tensor<D> {
        let array = &self.below(name)[""];
        let shape: [usize; D] = array.shape.clone().try_into().unwrap();
        Tensor::from_data(TensorData::new(floats(array).to_vec(), shape), device)
    }
}

fn floats(array: &Array) -> &[f32] {
    match &array.values {
        Values::F32(values) => values,
        Values::I64(_) => panic!("floats"),
    }
}

#[track_caller]
fn assert_close(name: &str, ours: &[f32], expected: &[f32]) {
    assert_eq!(ours.len(), expected.len(), "{name}");
    let largest = expected.iter().fold(0.0f32, |most, value| most.max(value.abs()));
    for (place, (ours, expected)) in ours.iter().zip(expected).enumerate() {
        let difference = (ours - expected).abs();
        assert!(difference <= TOLERANCE * largest, "{name} {place}: {ours}, PyTorch {expected}");
    }
}

fn values<const D: usize>(tensor: Tensor<D>) -> Vec<f32> {
    tensor.into_data_as::<f32>().iter::<f32>().collect()
}

/// The gradients of parameters by PyTorch's names.
struct Collected<'a> {
    gradients: &'a Gradients,
    path: Vec<String>,
    found: Vec<(String, Vec<f32>)>,
}

impl ModuleVisitor for Collected<'_> {
    fn enter_module(&mut self, name: &str, _container: &str) {
        self.path.push(name.to_owned());
    }

    fn exit_module(&mut self, _name: &str, _container: &str) {
        self.path.pop();
    }

    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        if let Some(gradient) = param.val().grad(self.gradients) {
            // Burn's linear weights are `[inputs, outputs]`.
            let gradient = if D == 2 { gradient.swap_dims(0, 1) } else { gradient };
            self.found.push((Backbone::torch_name(&self.path.join(".")), values(gradient)));
        }
    }
}

fn resnet(golden: &Golden, case: &str, config: ResNetConfig, in_channels: usize, device: &Device) -> Backbone {
    let config = BackboneConfig { in_channels, architecture: Architecture::Resnet18(config) };
    let model = load_state_dict(config.init(device), &golden.below(&format!("{case}/weights/"))).unwrap();
    assert_eq!(model.config(), config);
    model
}

#[test]
fn a_resnet_is_torchvisions() {
    let golden = Golden::read();
    let device = crate::training::cpu();
    for (case, in_channels, width, blocks, views) in [("square", 1, 4, [2, 2, 2, 2], 1), ("odd", 3, 3, [1, 2, 1, 1], 2)]
    {
        let model = resnet(&golden, case, ResNetConfig { width, blocks }, in_channels, &device);
        let images: Tensor<4> = golden.tensor(&format!("{case}/images"), &device);
        let features = model.forward(images.clone(), views, Mode::Train);
        let expected = golden.below(case);
        assert_close(case, &values(features.clone()), floats(&expected["/features"]));

        let gradients = (features * golden.tensor(&format!("{case}/seed"), &device)).sum().backward();
        let mut collected = Collected { gradients: &gradients, path: Vec::new(), found: Vec::new() };
        model.visit(&mut collected);
        let expected = golden.below(&format!("{case}/gradients/"));
        assert_eq!(collected.found.len(), expected.len(), "{case}");
        for (name, gradient) in collected.found {
            let stride = if gradient.len() > 512 { 7 } else { 1 };
            let gradient: Vec<f32> = gradient.into_iter().step_by(stride).collect();
            assert_close(&format!("{case} gradient of {name}"), &gradient, floats(&expected[&name]));
        }

        let after = state_dict(&model);
        for (name, expected) in golden.below(&format!("{case}/after/")) {
            match &after[&name] {
                Array { values: Values::F32(ours), .. } => {
                    assert_close(&format!("{case} {name}"), ours, floats(&expected))
                }
                counter => assert_eq!(*counter, expected, "{name}"),
            }
        }
        let eval = values(model.forward(images, 1, Mode::Eval));
        assert_close(&format!("{case} eval"), &eval, floats(&golden.below(case)["/eval"]));
    }
}

#[test]
fn two_views_in_one_pass_are_two_passes() {
    let golden = Golden::read();
    let device = crate::training::cpu();
    let config = ResNetConfig { width: 3, blocks: [1, 2, 1, 1] };
    let [together, apart] = [0, 1].map(|_| resnet(&golden, "odd", config.clone(), 3, &device));
    let images: Tensor<4> = golden.tensor("odd/images", &device);
    let ours = values(together.forward(images.clone(), 2, Mode::Train));
    let each = images.chunk(2, 0).into_iter().flat_map(|view| values(apart.forward(view, 1, Mode::Train)));
    assert_close("features", &ours, &each.collect::<Vec<_>>());
    let (together, apart) = (state_dict(&together), state_dict(&apart));
    for (name, apart) in apart.iter().filter(|(name, _)| name.contains("running")) {
        assert_close(name, floats(&together[name]), floats(apart));
    }
    assert_eq!(together["bn1.num_batches_tracked"], apart["bn1.num_batches_tracked"]);
}

#[test]
fn names_are_those_of_pytorch() {
    let device = crate::training::cpu();
    let names = |config: BackboneConfig| state_dict(&config.init(&device)).into_keys().collect::<Vec<_>>();
    let mut conv = names(BackboneConfig::article());
    conv.retain(|name| !name.contains("running"));
    let blocks = [0, 3, 6].into_iter().flat_map(|block| {
        let norm = block + 2;
        [format!("{block}.bias"), format!("{block}.weight")]
            .into_iter()
            .chain(["bias", "num_batches_tracked", "weight"].map(|part| format!("{norm}.{part}")))
    });
    assert_eq!(conv, blocks.collect::<Vec<_>>());
    let resnet = ResNetConfig { width: 3, blocks: [1, 2, 1, 1] };
    let resnet = names(BackboneConfig { in_channels: 3, architecture: Architecture::Resnet18(resnet) });
    assert_eq!(resnet, Golden::read().below("odd/weights/").into_keys().collect::<Vec<_>>());
}

#[test]
fn a_resnet_begins_with_weights_like_torchvisions() {
    let architecture = Architecture::Resnet18(ResNetConfig { width: 8, blocks: [1; 4] });
    let state =
        state_dict(&initialise(BackboneConfig { in_channels: 1, architecture }.init(&crate::training::cpu()), 5));
    for (name, fan_out) in [("layer4.0.conv2.weight", 64.0 * 9.0), ("layer4.0.downsample.0.weight", 64.0)] {
        let weights = floats(&state[name]);
        let variance = weights.iter().map(|weight| weight * weight).sum::<f32>() / weights.len() as f32;
        assert!((variance * fan_out / 2.0 - 1.0).abs() < 0.1, "{name}: {variance}");
    }
    assert!(floats(&state["layer4.0.bn2.weight"]).iter().all(|&scale| scale == 1.0));
}

fn vit(frozen_patches: bool, device: &Device) -> Backbone {
    let architecture = Architecture::Vit(VitConfig { patch: 2, width: 64, depth: 2, frozen_patches });
    let config = BackboneConfig { in_channels: 2, architecture };
    let model = load_state_dict(config.init(device), &Golden::of("vit").below("weights/")).unwrap();
    assert_eq!(model.config(), config);
    model
}

#[test]
fn a_vit_is_torchvisions_with_the_positions_of_moco_v3() {
    let golden = Golden::of("vit");
    let device = crate::training::cpu();
    let expected = golden.below("gradients/");
    for frozen in [false, true] {
        let model = vit(frozen, &device);
        assert_eq!(state_dict(&model), golden.below("weights/"));
        let features = model.forward(golden.tensor("images", &device), 1, Mode::Train);
        assert_close("features", &values(features.clone()), floats(&golden.below("features")[""]));
        let gradients = (features * golden.tensor("seed", &device)).sum().backward();
        let mut collected = Collected { gradients: &gradients, path: Vec::new(), found: Vec::new() };
        model.visit(&mut collected);
        // A frozen projection has no gradient: 2 parameters fewer.
        assert_eq!(collected.found.len(), expected.len() - if frozen { 2 } else { 0 });
        for (name, gradient) in collected.found {
            let stride = if gradient.len() > 512 { 7 } else { 1 };
            let gradient: Vec<f32> = gradient.into_iter().step_by(stride).collect();
            assert_close(&format!("gradient of {name}"), &gradient, floats(&expected[&name]));
        }
    }
}

#[test]
fn a_vit_begins_as_in_moco_v3() {
    let architecture = Architecture::Vit(VitConfig { patch: 4, width: 64, depth: 1, frozen_patches: true });
    let state =
        state_dict(&initialise(BackboneConfig { in_channels: 3, architecture }.init(&crate::training::cpu()), 5));
    for (name, sum) in [
        ("patch_embed.proj.weight", 48.0 + 64.0),
        ("blocks.0.attn.qkv.weight", 64.0 + 64.0),
        ("blocks.0.mlp.fc1.weight", 64.0 + 256.0),
    ] {
        let bound = (6.0_f32 / sum).sqrt();
        let largest = floats(&state[name]).iter().fold(0.0_f32, |most, weight| most.max(weight.abs()));
        assert!(largest <= bound && largest > 0.99 * bound, "{name}: {largest} {bound}");
    }
    assert!(floats(&state["cls_token"]).iter().all(|&value| value != 0.0 && value.abs() < 1e-5));
    for (name, array) in state.iter().filter(|(name, _)| name.ends_with("bias")) {
        assert!(floats(array).iter().all(|&bias| bias == 0.0), "{name}");
    }
    assert!(floats(&state["norm.weight"]).iter().all(|&scale| scale == 1.0));
}
