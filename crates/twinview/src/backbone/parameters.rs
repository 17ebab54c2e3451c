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

    /// How the parameter at `path` begins.
    fn start(_path: &str) -> Start {
        Start::default()
    }
}

/// What [`initialise`] draws the values of a parameter from.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub enum Start {
    /// PyTorch's default. Convolutions and linear layers: uniform in ±1/√fan_in, weights and biases alike (what
    /// `kaiming_uniform_(a=√5)` amounts to). All else stays as it is.
    #[default]
    Torch,
    /// Weights normal with the variance 2/fan_out (He et al. 2015, arXiv 1502.01852). What has one dimension stays as it is.
    FanOut,
    /// Uniform in ±√(6 / (fan_in + outputs)) (Glorot and Bengio 2010). The outputs are those of one of `layers` that share
    /// the parameter. What has one dimension stays as it is.
    Glorot {
        /// Layers side by side.
        layers: usize,
    },
    /// Normal about 0.
    Normal {
        /// The standard deviation.
        deviation: f32,
    },
    /// As it was made.
    AsItIs,
}

/// Fills `model` with random weights under `seed`, each as [`TorchNames::start`] says. Normalisation keeps scale 1 and shift 0.
///
/// The draws depend on the seed and the order of the parameters, not on the machine; they are not PyTorch's own numbers.
pub fn initialise<M: TorchNames>(model: M, seed: u64) -> M {
    let stream = Stream::new(seed, Purpose::Init);
    let (path, layer) = (Path::default(), String::new());
    model.map(&mut Initialiser { stream, path, start: M::start, layer, bound: 0.0, count: 0 })
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
    start: fn(&str) -> Start,
    /// The last layer with PyTorch's default, whose bias is drawn within the same bound.
    layer: String,
    bound: f32,
    count: u64,
}

impl ModuleMapper for Initialiser {
    fn enter_module(&mut self, name: &str, _container: &str) {
        self.path.enter(name);
    }

    fn exit_module(&mut self, _name: &str, _container: &str) {
        self.path.exit();
    }

    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        let path = self.path.joined();
        let (layer, name) = path.rsplit_once('.').unwrap_or(("", &path));
        let dims = param.dims();
        // Filters are `[out, in, height, width]`; Burn's linear weights are `[in, out]`.
        let (fan_in, outputs): (usize, usize) = match dims[..] {
            [inputs, outputs] => (inputs, outputs),
            _ => (dims[1..].iter().product(), dims[0]),
        };
        let start = (self.start)(&path);
        let draw: Draw = match start {
            Start::Torch if D > 1 => {
                self.bound = 1.0 / (fan_in as f32).sqrt();
                self.layer = layer.to_owned();
                Draw::Within(self.bound)
            }
            Start::Torch if layer == self.layer && name == "bias" => Draw::Within(self.bound),
            Start::FanOut if D > 1 => {
                let fan_out = outputs * dims[2..].iter().product::<usize>();
                Draw::About((2.0 / fan_out as f32).sqrt())
            }
            Start::Glorot { layers } if D > 1 => Draw::Within((6.0 / (fan_in + outputs / layers) as f32).sqrt()),
            Start::Normal { deviation } => Draw::About(deviation),
            Start::Torch | Start::FanOut | Start::Glorot { .. } | Start::AsItIs => return param,
        };
        let mut random = self.stream.at(0, self.count, 0);
        self.count += 1;
        param.map(|tensor| {
            let value = |_| match draw {
                Draw::Within(bound) => random.uniform_in(-bound, bound),
                Draw::About(deviation) => deviation * random.normal(),
            };
            let values: Vec<f32> = (0..dims.iter().product()).map(value).collect();
            replaced(&tensor, TensorData::new(values, tensor.shape()))
        })
    }
}

/// What a number is drawn from: uniformly within plus and minus a bound, or normally about 0 with a deviation.
#[derive(Clone, Copy)]
enum Draw {
    Within(f32),
    About(f32),
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
