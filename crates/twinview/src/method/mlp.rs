//! The layers of heads.

use burn::module::Module;
use burn::tensor::{Device, Tensor, activation};
use serde::{Deserialize, Serialize};
use twinview_kernels::batch_norm;

use crate::backbone::{BatchNorm, Linear};

/// Shape of an [`Mlp`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MlpConfig {
    /// Outputs of each layer, first to last.
    pub widths: Vec<usize>,
    /// Whether every layer but the last is normalised over the batch.
    #[serde(default = "yes")]
    pub hidden_norm: bool,
    /// Whether the last layer is: without scale and shift, which would only undo it.
    #[serde(default)]
    pub output_norm: bool,
}

fn yes() -> bool {
    true
}

impl MlpConfig {
    /// Layers of `widths`, the hidden ones normalised.
    pub fn new(widths: &[usize]) -> Self {
        Self { widths: widths.to_vec(), hidden_norm: true, output_norm: false }
    }

    /// The last layer normalised too.
    pub fn with_output_norm(self) -> Self {
        Self { output_norm: true, ..self }
    }

    /// No layer normalised.
    pub fn without_norm(self) -> Self {
        Self { hidden_norm: false, ..self }
    }

    /// Layers with zero weights for `inputs` features; see [`initialise`](crate::backbone::initialise).
    pub fn init(&self, inputs: usize, device: &Device) -> Mlp {
        let from = std::iter::once(inputs).chain(self.widths.iter().copied());
        let last = self.widths.len().saturating_sub(1);
        let layer = |(place, (from, &to)): (usize, (usize, &usize))| MlpLayer {
            linear: Linear::new(from, to, device),
            norm: match place == last {
                false => self.hidden_norm.then(|| BatchNorm::new(to, device)),
                true => self.output_norm.then(|| BatchNorm::new(to, device).without_affine()),
            },
        };
        Mlp { layers: from.zip(&self.widths).enumerate().map(layer).collect() }
    }
}

/// Linear layers with batch normalisation, where there is one, and an activation between them.
///
/// In PyTorch an `nn.Sequential` of linear, normalisation (or identity) and activation a layer, so that layer `i` holds
/// the parameters `3 i` and `3 i + 1`. A linear layer before a normalisation keeps its bias, which papers leave out
/// because it changes nothing.
#[derive(Module, Debug)]
pub struct Mlp {
    /// First to last.
    pub layers: Vec<MlpLayer>,
}

/// One of them.
#[derive(Module, Debug)]
pub struct MlpLayer {
    /// The product.
    pub linear: Linear,
    /// What normalises it.
    pub norm: Option<BatchNorm>,
}

/// What stands between the layers of an [`Mlp`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Activation {
    /// max(x, 0).
    Relu,
    /// x Φ(x) (Hendrycks and Gimpel 2016, arXiv 1606.08415).
    Gelu,
}

impl Mlp {
    /// `input`, `[views * batch, inputs]`, as `[views * batch, outputs]`, with ReLU between the layers. Each view is
    /// normalised with its own batch statistics.
    pub fn forward(&self, input: Tensor<2>, views: usize) -> Tensor<2> {
        self.forward_with(input, views, Activation::Relu)
    }

    /// The same with another activation.
    pub fn forward_with(&self, input: Tensor<2>, views: usize, between: Activation) -> Tensor<2> {
        let last = self.layers.len().saturating_sub(1);
        self.layers.iter().enumerate().fold(input, |input, (place, layer)| {
            let output = layer.linear.forward(input);
            let with_relu = place < last && between == Activation::Relu;
            let output = match &layer.norm {
                Some(norm) => norm.forward_rows(output, views, with_relu),
                None if with_relu => activation::relu(output),
                None => output,
            };
            if place < last && between == Activation::Gelu { activation::gelu(output) } else { output }
        })
    }

    /// PyTorch's name of the parameter at `path` of an MLP.
    pub(super) fn torch_name(path: &str) -> String {
        let mut parts = path.splitn(4, '.');
        match (parts.next(), parts.next().and_then(|layer| layer.parse::<usize>().ok()), parts.next(), parts.next()) {
            (Some("layers"), Some(layer), Some("linear"), Some(rest)) => format!("{}.{rest}", 3 * layer),
            (Some("layers"), Some(layer), Some("norm"), Some(rest)) => format!("{}.{rest}", 3 * layer + 1),
            _ => path.to_owned(),
        }
    }
}

impl BatchNorm {
    /// `input`, `[views * batch, channels]`, normalised in training mode, each view with its own statistics, and
    /// where `with_relu` only what is above 0 of it.
    fn forward_rows(&self, input: Tensor<2>, views: usize, with_relu: bool) -> Tensor<2> {
        let batch = input.dims()[0] / views;
        let (output, statistics) =
            batch_norm(input, self.weight.val(), self.bias.val(), Self::EPSILON as f32, views, with_relu);
        self.track(statistics, batch);
        output
    }
}
