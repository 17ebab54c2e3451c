//! What every model can do with its parameters: initialise, export and import them by PyTorch's names.

use burn::module::{Module, ModuleMapper, ModuleVisitor, Param};
use burn::tensor::{Tensor, TensorData};

use crate::random::{Purpose, Stream};
use crate::state::{Array, StateDict, Values};
use crate::{Error, Result};

/// A model whose parameters have names in PyTorch.
pub trait TorchNames: Module {
    /// PyTorch's name of the parameter at `path`: of a classifier on the article's encoder, `backbone.Conv.blocks.1.norm.weight`
    /// is `backbone.5.weight`.
    fn torch_name(path: &str) -> String {
        path.to_owned()
    }
}

/// Fills `model` with PyTorch's default weights under `seed`.
///
/// Convolutions and linear layers: uniform in ±1/√fan_in, weights and biases alike (what
/// `kaiming_uniform_(a=√5)` amounts to). Those of a [`ResNet`](super::ResNet): normal with the variance 2/fan_out, as in torchvision.
/// Normalisation keeps scale 1 and shift 0. The draws depend on the seed and the order of the parameters, not on the
/// machine; they are not PyTorch's own numbers.
pub fn initialise<M: Module>(model: M, seed: u64) -> M {
    let stream = Stream::new(seed, Purpose::Init);
    let (path, containers) = (Path::default(), Vec::new());
    model.map(&mut Initialiser { stream, path, containers, layer: String::new(), bound: 0.0, count: 0 })
}

/// The parameters and running statistics of `model`, in PyTorch's names and layouts.
pub fn state_dict<M: TorchNames>(model: &M) -> StateDict {
    let mut exporter = Exporter { path: Path::default(), name: M::torch_name, state: StateDict::new() };
    model.visit(&mut exporter);
    exporter.state
}

/// `model` with the values of `state`, which must hold every parameter in its shape.
///
/// Names in `state` that the model lacks are left alone: [`weights`](crate::weights) decides what to make of
/// those.
pub fn load_state_dict<M: TorchNames>(model: M, state: &StateDict) -> Result<M> {
    let mut importer = Importer { path: Path::default(), name: M::torch_name, state, problem: None };
    let model = model.map(&mut importer);
    match importer.problem {
        None => Ok(model),
        Some(problem) => Err(Error::Config(problem)),
    }
}

/// How many numbers `model` learns.
pub fn parameter_count<M: TorchNames>(model: &M) -> usize {
    let is_statistic = |name: &str| name.contains("running_") || name.ends_with("num_batches_tracked");
    let state = state_dict(model);
    state.iter().filter(|(name, _)| !is_statistic(name)).map(|(_, array)| array.shape.iter().product::<usize>()).sum()
}

/// The names of the modules around a parameter.
#[derive(Default)]
struct Path(Vec<String>);

impl Path {
    fn enter(&mut self, name: &str) {
        self.0.push(name.to_owned());
    }

    fn exit(&mut self) {
        self.0.pop();
    }

    fn joined(&self) -> String {
        self.0.join(".")
    }
}

struct Initialiser {
    stream: Stream,
    path: Path,
    /// The types of the modules around a parameter.
    containers: Vec<String>,
    layer: String,
    bound: f32,
    count: u64,
}

impl ModuleMapper for Initialiser {
    fn enter_module(&mut self, name: &str, container: &str) {
        self.path.enter(name);
        self.containers.push(container.to_owned());
    }

    fn exit_module(&mut self, _name: &str, _container: &str) {
        self.path.exit();
        self.containers.pop();
    }

    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        let (layer, name) = self.path.0.split_at(self.path.0.len().saturating_sub(1));
        let layer = layer.join(".");
        if D > 1 {
            // Filters are `[out, in, height, width]`; Burn's linear weights are `[in, out]`.
            let dims = param.dims();
            let fan_in: usize = if D == 2 { dims[0] } else { dims[1..].iter().product() };
            self.bound = 1.0 / (fan_in as f32).sqrt();
            self.layer = layer;
        } else if layer != self.layer || name.first().is_none_or(|name| name != "bias") {
            return param;
        }
        let mut random = self.stream.at(0, self.count, 0);
        self.count += 1;
        let bound = self.bound;
        let is_resnet = self.containers.last().is_some_and(|container| container == "Struct:Conv");
        param.map(|tensor| {
            let dims = tensor.dims();
            let count = 0..dims.iter().product();
            let values: Vec<f32> = if is_resnet {
                let fan_out = dims[0] * dims[2..].iter().product::<usize>();
                let deviation = (2.0 / fan_out as f32).sqrt();
                count.map(|_| deviation * random.normal()).collect()
            } else {
                count.map(|_| random.uniform_in(-bound, bound)).collect()
            };
            replaced(&tensor, TensorData::new(values, tensor.shape()))
        })
    }
}

/// `data` on the device of `tensor`, learning if that did.
fn replaced<const D: usize>(tensor: &Tensor<D>, data: TensorData) -> Tensor<D> {
    let learns = tensor.is_require_grad();
    let new = Tensor::from_data(data, &tensor.device());
    if learns { new.require_grad() } else { new }
}

struct Exporter {
    path: Path,
    name: fn(&str) -> String,
    state: StateDict,
}

impl ModuleVisitor for Exporter {
    fn enter_module(&mut self, name: &str, _container: &str) {
        self.path.enter(name);
    }

    fn exit_module(&mut self, _name: &str, _container: &str) {
        self.path.exit();
    }

    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        let name = (self.name)(&self.path.joined());
        self.state.insert(name.clone(), to_array(&name, param.val()));
    }
}

/// A parameter or statistic as PyTorch lays it out.
fn to_array<const D: usize>(name: &str, tensor: Tensor<D>) -> Array {
    let shape = tensor.dims().to_vec();
    let values: Vec<f32> = tensor.into_data_as::<f32>().iter::<f32>().collect();
    if name.ends_with("num_batches_tracked") {
        return Array::counter(values.first().map_or(0, |&count| count as i64));
    }
    match shape[..] {
        [inputs, outputs] => Array::f32([outputs, inputs], transposed(&values, inputs, outputs)),
        _ => Array::f32(shape, values),
    }
}

/// The transpose of a `[rows, columns]` matrix.
fn transposed(values: &[f32], rows: usize, columns: usize) -> Vec<f32> {
    (0..columns).flat_map(|column| (0..rows).map(move |row| values[row * columns + column])).collect()
}

struct Importer<'a> {
    path: Path,
    name: fn(&str) -> String,
    state: &'a StateDict,
    problem: Option<String>,
}

impl Importer<'_> {
    /// The values of `name` in Burn's layout, for a tensor of `shape`.
    fn values(&self, name: &str, shape: &[usize]) -> std::result::Result<Vec<f32>, String> {
        let array = self.state.get(name).ok_or_else(|| format!("the weights have no {name}"))?;
        let floats = match &array.values {
            Values::I64(counts) if counts.len() == 1 => return Ok(vec![counts[0] as f32]),
            Values::I64(_) => return Err(format!("{name} holds whole numbers, the model expects floats")),
            Values::F32(floats) => floats,
        };
        let expected = match *shape {
            [inputs, outputs] => vec![outputs, inputs],
            _ => shape.to_vec(),
        };
        if array.shape != expected {
            return Err(format!("{name} has shape {:?}, the model expects {expected:?}", array.shape));
        }
        Ok(match *shape {
            [inputs, outputs] => transposed(floats, outputs, inputs),
            _ => floats.clone(),
        })
    }
}

impl ModuleMapper for Importer<'_> {
    fn enter_module(&mut self, name: &str, _container: &str) {
        self.path.enter(name);
    }

    fn exit_module(&mut self, _name: &str, _container: &str) {
        self.path.exit();
    }

    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        let name = (self.name)(&self.path.joined());
        let shape = param.dims();
        match self.values(&name, &shape) {
            Ok(values) => param.map(|tensor| replaced(&tensor, TensorData::new(values, shape))),
            Err(problem) => {
                self.problem.get_or_insert(problem);
                param
            }
        }
    }
}
