//! What all methods have in common, and SimSiam's ablations.

use std::collections::BTreeSet;

use burn::tensor::{Int, Tensor, TensorData};

use super::*;
use crate::backbone::{Architecture, Backbone, BackboneConfig, ConvStackConfig, TorchNames, state_dict};
use crate::optim::{LearningRate, Optimizer, OptimizerConfig, SgdConfig};
use crate::random::{Purpose, Stream};
use crate::training::cpu;

const BATCH: usize = 12;

fn methods() -> Vec<MethodConfig> {
    let simsiam = SimSiam::default();
    vec![
        MethodConfig::Simsiam(simsiam.clone()),
        MethodConfig::Simsiam(SimSiam { projector: vec![24, 16], ..simsiam }),
        MethodConfig::Fastsiam(FastSiam { projector: vec![24, 16], ..FastSiam::default() }),
        MethodConfig::Simclr(SimClr::default()),
        MethodConfig::Dcl(Dcl { sigma: Some(0.5), ..Dcl::default() }),
        MethodConfig::Moco(Moco { memory: 50, ..Moco::default() }),
        MethodConfig::Mocov3(MocoV3::default()),
        MethodConfig::Byol(Byol::default()),
        MethodConfig::BarlowTwins(BarlowTwins::default()),
        MethodConfig::Vicreg(VicReg::default()),
        MethodConfig::Nnclr(Nnclr { memory: 50, ..Nnclr::default() }),
        MethodConfig::Swav(Swav { prototypes: 20, ..Swav::default() }),
        MethodConfig::Dino(Dino { prototypes: 20, ..Dino::default() }),
        MethodConfig::Supcon(SupCon::default()),
    ]
}

fn network(method: &MethodConfig, seed: u64) -> Network {
    let architecture = Architecture::Conv(ConvStackConfig { widths: vec![8, 16] });
    let backbone = BackboneConfig { in_channels: 1, architecture };
    Network::new(&backbone, backbone.features(8, 8), &method.heads(), seed, &cpu())
}

/// Views that keep something of their image.
fn views(method: &MethodConfig, step: u64) -> Views {
    let mut random = Stream::new(step, Purpose::View).at(0, 0, 0);
    let count = method.views();
    let images: Vec<f32> = (0..BATCH * 64).map(|_| random.uniform_in(0.0, 1.0)).collect();
    let pixels: Vec<f32> =
        (0..count).flat_map(|_| images.clone()).map(|pixel| pixel * 0.8 + random.uniform_in(0.0, 0.2)).collect();
    let labels: Vec<i32> = (0..BATCH as i32).map(|image| image % 3).collect();
    Views {
        pixels: Tensor::from_data(TensorData::new(pixels, [count * BATCH, 1, 8, 8]), &cpu()),
        count,
        labels: method.needs_labels().then(|| Tensor::<1, Int>::from_ints(labels.as_slice(), &cpu())),
    }
}

/// Trains and gives what is watched and lost at the end.
fn trained(method: &MethodConfig, steps: u64, learning_rate: f32) -> (Network, Vec<f32>) {
    let mut network = network(method, 3);
    let mut optimizer = Optimizer::new(OptimizerConfig::Sgd(SgdConfig { weight_decay: 0.0, ..SgdConfig::default() }));
    let mut losses = Vec::new();
    for step in 0..steps {
        let progress = Progress { step, steps, steps_per_epoch: 2 };
        let Step { loss, output } = method.step(&network, views(method, step), progress);
        assert_eq!(output().dims()[0], BATCH * if matches!(method, MethodConfig::Moco(_)) { 1 } else { 2 });
        losses.push(loss.clone().into_scalar::<f32>());
        network = optimizer.step(LearningRate::constant(learning_rate), network, loss.backward());
        network = method.after_update(network, progress);
    }
    (network, losses)
}

fn changed(before: &Network, after: &Network) -> BTreeSet<String> {
    let (before, after) = (state_dict(before), state_dict(after));
    before.into_iter().filter(|(name, array)| after[name] != *array).map(|(name, _)| name).collect()
}

#[test]
fn every_method_trains_its_encoder() {
    for method in methods() {
        let (after, losses) = trained(&method, 6, 0.05);
        let title = method.title();
        assert!(losses.iter().all(|loss| loss.is_finite()), "{title}: {losses:?}");
        let changed = changed(&network(&method, 3), &after);
        for name in ["backbone.0.weight", "backbone.5.bias", "backbone.3.weight"] {
            assert!(changed.contains(name), "{title}: {name} did not move");
        }
        let heads = method.heads();
        assert_eq!(heads.target, changed.contains("momentum.backbone.0.weight"), "{title}");
        assert_eq!(heads.memory > 0, changed.contains("memory"), "{title}");
        assert_eq!(heads.center, changed.contains("center"), "{title}");
        assert_eq!(heads.prototypes > 0, changed.contains("prototypes"), "{title}");
        assert_eq!(heads.predictor.is_some(), changed.contains("prediction_mlp.0.weight"), "{title}");
        assert_eq!(heads.projector.is_some(), changed.contains("projection_mlp.0.weight"), "{title}");
    }
}

/// One operation serves predictors of two layers. Behind a deeper one no gradient reaches the other side either.
#[test]
fn simsiam_stops_the_gradient_behind_a_deeper_predictor() {
    let method = MethodConfig::Simsiam(SimSiam::default());
    let heads = Heads { predictor: Some(MlpConfig::new(&[8, 8])), ..method.heads() };
    let architecture = Architecture::Conv(ConvStackConfig { widths: vec![8, 16] });
    let backbone = BackboneConfig { in_channels: 1, architecture };
    let network = Network::new(&backbone, backbone.features(8, 8), &heads, 3, &cpu());
    let Backbone::Conv(stack) = &network.online.backbone else { panic!("the article's encoder") };
    let gradient = |loss: Tensor<1>| stack.blocks[0].weight.grad(&loss.backward()).expect("its gradient").into_data();
    let loss = method.step(&network, views(&method, 0), Progress { step: 0, steps: 1, steps_per_epoch: 1 }).loss;
    let Views { pixels, count, .. } = views(&method, 0);
    let projections = network.online.project(pixels, count);
    let predictions = network.predict(projections.clone(), count);
    assert_eq!(gradient(loss), gradient(negative_cosine_similarity(predictions, projections, count)));
}

#[test]
fn the_target_begins_as_the_online_branch_and_follows_it() {
    let method = MethodConfig::Byol(Byol { momentum: 0.9, ..Byol::default() });
    let same = |network: &Network| {
        let state = state_dict(network);
        let learned = |name: &&String| !name.contains("running") && !name.contains("tracked");
        let names = state.keys().filter(learned).filter_map(|name| name.strip_prefix("momentum."));
        names.clone().count() > 0 && names.clone().all(|name| state[name] == state[&format!("momentum.{name}")])
    };
    let begun = network(&method, 3);
    assert!(same(&begun));
    let moved = trained(&method, 1, 0.1).0;
    assert!(!same(&moved));
    assert!(same(&moved.clone().with_target_moved(0.0)));
    // Statistics are the target's own.
    let state = state_dict(&moved);
    assert_ne!(state["momentum.backbone.2.running_mean"], state_dict(&begun)["momentum.backbone.2.running_mean"]);
    let half = state_dict(&moved.clone().with_target_moved(0.5));
    let first = |name: &str| match &half[name].values {
        crate::state::Values::F32(values) => values[0],
        crate::state::Values::I64(_) => f32::NAN,
    };
    let old = match &state["momentum.backbone.0.weight"].values {
        crate::state::Values::F32(values) => values[0],
        crate::state::Values::I64(_) => f32::NAN,
    };
    assert!((first("momentum.backbone.0.weight") - (old + first("backbone.0.weight")) / 2.0).abs() < 1e-6);
}

#[test]
fn the_target_keeps_no_graph() {
    let method = MethodConfig::Byol(Byol::default());
    let network = network(&method, 3).with_target_moved(0.5);
    let first = |branch: &Branch| match &branch.backbone {
        Backbone::Conv(stack) => stack.blocks[0].weight.val(),
        other => panic!("{other:?}"),
    };
    let target = first(network.target());
    assert!(!target.is_require_grad());
    let online = first(&network.online);
    let gradients = (target.sum() + online.clone().sum() * 0.0).backward();
    let reached: f32 = online.grad(&gradients).map_or(0.0, |gradient| gradient.abs().sum().into_scalar::<f32>());
    assert_eq!(reached, 0.0, "a gradient passes through the target's update");
}

#[test]
fn a_memory_keeps_the_newest() {
    let method = MethodConfig::Moco(Moco { memory: 5, projector: vec![2], ..Moco::default() });
    let network = network(&method, 0);
    let keys = |start: f32, count: usize| {
        let values = (0..2 * count).map(|at| start + at as f32).collect();
        Tensor::<2>::from_data(TensorData::new::<f32, _>(values, [count, 2]), &cpu())
    };
    let remembered = || network.remembered().into_data_as::<f32>().iter::<f32>().collect::<Vec<_>>();
    let before = remembered();
    network.remember(keys(10.0, 2));
    assert_eq!(remembered(), [&before[4..], &[10.0, 11.0, 12.0, 13.0]].concat());
    network.remember(keys(20.0, 7));
    assert_eq!(remembered(), (24..34).map(|value| value as f32).collect::<Vec<_>>());
}

#[test]
fn heads_have_the_names_of_a_sequential() {
    let method = MethodConfig::Mocov3(MocoV3::default());
    let names: Vec<String> = state_dict(&network(&method, 0)).into_keys().collect();
    for name in ["backbone.0.weight", "projection_mlp.0.weight", "projection_mlp.1.running_var"] {
        assert!(names.contains(&name.to_owned()) && names.contains(&format!("momentum.{name}")), "{names:?}");
    }
    for name in ["projection_mlp.3.bias", "projection_mlp.4.weight", "prediction_mlp.3.weight"] {
        assert!(names.contains(&name.to_owned()), "{names:?}");
    }
    assert_eq!(Network::torch_name("online.backbone.Conv.blocks.1.norm.weight"), "backbone.5.weight");
}
