//! What a method trains.

use std::collections::BTreeMap;

use burn::module::{Module, ModuleMapper, ModuleVisitor, Param, RunningState};
use burn::tensor::{Device, Tensor, TensorData};
use twinview_kernels::weighted_sum;

use super::loss::shared::normalise;
use super::{Activation, Mlp, MlpConfig};
use crate::backbone::{Backbone, BackboneConfig, Mode, Start, TorchNames, initialise};
use crate::random::{Purpose, Stream};

/// What a method puts around an encoder.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Heads {
    /// From features to what is contrasted; the features themselves where absent.
    pub projector: Option<MlpConfig>,
    /// What guesses one view's projection from another's: its hidden layers. The last gives what it takes.
    pub predictor: Option<MlpConfig>,
    /// Prototypes that projections are compared with; 0 for none.
    pub prototypes: usize,
    /// Whether a second encoder follows the first: the momentum encoder, or teacher.
    pub target: bool,
    /// Projections that are remembered from batch to batch; 0 for none.
    pub memory: usize,
    /// Whether the target's mean output is tracked.
    pub center: bool,
}

/// An encoder and its heads; what of them a method does not use is absent.
#[derive(Module, Debug)]
pub struct Network {
    /// What learns by gradients.
    pub online: Branch,
    /// On top of the online branch's projections.
    pub predictor: Option<Mlp>,
    /// What follows the online branch.
    pub target: Option<Branch>,
    /// l2-normalise projections of past batches, the newest last: `[memory, dimensions]`.
    pub memory: Option<RunningState<Tensor<2>>>,
    /// The target's mean output, `[1, outputs]`.
    pub center: Option<RunningState<Tensor<2>>>,
}

/// Encoder, projector, prototypes.
#[derive(Module, Debug)]
pub struct Branch {
    /// The encoder.
    pub backbone: Backbone,
    /// From features to projections.
    pub projector: Option<Mlp>,
    /// Directions that projections are compared with, `[dimensions, prototypes]`.
    pub prototypes: Option<Param<Tensor<2>>>,
}

impl Branch {
    /// Projections of `pixels`, `[views * batch, channels, height, width]` in 0..1, as `[views * batch, dimensions]`.
    pub fn project(&self, pixels: Tensor<4>, views: usize) -> Tensor<2> {
        self.project_with(pixels, views, Activation::Relu)
    }

    /// The same with another activation in the projector.
    pub fn project_with(&self, pixels: Tensor<4>, views: usize, between: Activation) -> Tensor<2> {
        let features = self.backbone.forward(pixels, views, Mode::Train);
        match &self.projector {
            Some(projector) => projector.forward_with(features, views, between),
            None => features,
        }
    }

    /// Cosine similarities of `projections` and the prototypes, `[rows, prototypes]`; no gradient reaches the
    /// prototypes where they are `frozen`.
    ///
    /// Prototypes count by their direction alone, as under a weight normalisation whose length stays 1.
    ///
    /// # Panics
    /// When the branch has no prototypes.
    pub fn scores(&self, projections: Tensor<2>, frozen: bool) -> Tensor<2> {
        let prototypes = self.prototypes.as_ref().expect("a branch with prototypes").val().transpose();
        let prototypes = if frozen { prototypes.detach() } else { prototypes };
        normalise(projections).matmul(normalise(prototypes).transpose())
    }
}

impl Network {
    /// An encoder with `heads` for images that give `features` features, all weights drawn under `seed`.
    pub fn new(backbone: &BackboneConfig, features: usize, heads: &Heads, seed: u64, device: &Device) -> Self {
        let width = heads.projector.as_ref().and_then(|mlp| mlp.widths.last().copied()).unwrap_or(features);
        let outputs = if heads.prototypes > 0 { heads.prototypes } else { width };
        let zeros = |shape| Tensor::<2>::zeros(shape, device);
        let branch = || Branch {
            backbone: backbone.init(device),
            projector: heads.projector.as_ref().map(|config| config.init(features, device)),
            prototypes: (heads.prototypes > 0).then(|| Param::from_tensor(zeros([width, heads.prototypes]))),
        };
        let predictor = heads.predictor.clone().map(|mut config| {
            config.widths.push(width);
            config.init(width, device)
        });
        let network = Self { online: branch(), predictor, target: None, memory: None, center: None };
        let network = Self {
            target: heads.target.then(|| branch().no_grad()),
            memory: (heads.memory > 0).then(|| RunningState::new(random_directions(heads.memory, width, seed, device))),
            center: heads.center.then(|| RunningState::new(zeros([1, outputs]))),
            ..initialise(network, seed)
        };
        // The target begins as a copy of the online branch.
        network.with_target_moved(0.0)
    }

    /// The network with its target moved towards the online branch: `target = momentum · target + (1 − momentum) · online`.
    pub fn with_target_moved(self, momentum: f64) -> Self {
        let target = self.target.map(|target| {
            let mut learned = Learned::default();
            self.online.visit(&mut learned);
            target.map(&mut Follow { path: Vec::new(), online: learned.values, momentum })
        });
        Self { target, ..self }
    }

    /// Remembers the l2-normalise `projections`, `[batch, dimensions]`, and forgets as many of the oldest.
    pub fn remember(&self, projections: Tensor<2>) {
        let Some(memory) = &self.memory else { return };
        let old = memory.value_sync();
        let size = old.dims()[0];
        let all = Tensor::cat(vec![old, projections.detach()], 0);
        let rows = all.dims()[0];
        replace(memory, all.narrow(0, rows - size, size));
    }

    /// What is remembered, `[memory, dimensions]`.
    ///
    /// # Panics
    /// When the network has no memory.
    pub fn remembered(&self) -> Tensor<2> {
        self.memory.as_ref().expect("a network with a memory").value_sync()
    }

    /// The predictor's guesses from `projections`, both `[views * batch, dimensions]`.
    ///
    /// # Panics
    /// When the network has no predictor.
    pub fn predict(&self, projections: Tensor<2>, views: usize) -> Tensor<2> {
        self.predictor.as_ref().expect("a network with a predictor").forward(projections, views)
    }

    /// The branch that follows.
    ///
    /// # Panics
    /// When the network has none.
    pub fn target(&self) -> &Branch {
        self.target.as_ref().expect("a network with a target")
    }

    /// The mean of the target's outputs, `[1, outputs]`.
    ///
    /// # Panics
    /// When the network does not track it.
    pub fn center(&self) -> Tensor<2> {
        self.center.as_ref().expect("a network with a center").value_sync()
    }

    /// Takes up a new mean of the target's outputs.
    pub fn set_center(&self, value: Tensor<2>) {
        self.center.iter().for_each(|center| replace(center, value.clone()));
    }
}

/// Replaces a state at once: an update alone would stay invisible to exports until the next one.
fn replace(state: &RunningState<Tensor<2>>, value: Tensor<2>) {
    state.update(value.detach());
    state.value_sync();
}

impl TorchNames for Network {
    fn torch_name(path: &str) -> String {
        let (part, rest) = path.split_once('.').unwrap_or((path, ""));
        match part {
            "online" => Branch::torch_name(rest),
            "target" => format!("momentum.{}", Branch::torch_name(rest)),
            "predictor" => format!("prediction_mlp.{}", Mlp::torch_name(rest)),
            _ => path.to_owned(),
        }
    }

    fn start(path: &str) -> Start {
        let encoder = path
            .strip_prefix("online.")
            .or(path.strip_prefix("target."))
            .and_then(|path| path.strip_prefix("backbone."));
        encoder.map_or_else(Start::default, Backbone::start)
    }
}

impl TorchNames for Branch {
    fn torch_name(path: &str) -> String {
        match path.split_once('.') {
            Some(("projector", rest)) => format!("projection_mlp.{}", Mlp::torch_name(rest)),
            Some(("backbone", rest)) => format!("backbone.{}", Backbone::torch_name(rest)),
            _ => path.to_owned(),
        }
    }
}

/// Random unit vectors: what a memory holds before it has seen anything.
fn random_directions(rows: usize, width: usize, seed: u64, device: &Device) -> Tensor<2> {
    let mut random = Stream::new(seed, Purpose::Init).at(1, 0, 0);
    let values: Vec<f32> = (0..rows * width).map(|_| random.normal()).collect();
    normalise(Tensor::from_data(TensorData::new(values, [rows, width]), device))
}

/// The learned values of a branch by path, flat.
#[derive(Default)]
struct Learned {
    path: Vec<String>,
    values: BTreeMap<String, Tensor<1>>,
}

impl ModuleVisitor for Learned {
    fn enter_module(&mut self, name: &str, _container: &str) {
        self.path.push(name.to_owned());
    }

    fn exit_module(&mut self, _name: &str, _container: &str) {
        self.path.pop();
    }

    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        let name = self.path.last().map_or("", String::as_str);
        if !name.starts_with("running_") && name != "num_batches_tracked" {
            // Not `detach`: of a parameter that keeps its gradient, and the target would learn and grow a graph.
            self.values.insert(self.path.join("."), param.val().inner().flatten(0, D - 1));
        }
    }
}

struct Follow {
    path: Vec<String>,
    online: BTreeMap<String, Tensor<1>>,
    momentum: f64,
}

impl ModuleMapper for Follow {
    fn enter_module(&mut self, name: &str, _container: &str) {
        self.path.push(name.to_owned());
    }

    fn exit_module(&mut self, _name: &str, _container: &str) {
        self.path.pop();
    }

    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        let Some(online) = self.online.remove(&self.path.join(".")) else { return param };
        let momentum = self.momentum;
        param.map(|value| {
            let online = online.reshape(value.shape());
            let weights = [momentum, 1.0 - momentum].map(|weight| weight as f32);
            Tensor::from_inner(weighted_sum(value.inner(), online, weights))
        })
    }
}
