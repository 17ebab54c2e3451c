//! Matrix product and bias.

use burn::module::{Module, Param};
use burn::tensor::{Device, Tensor};
use twinview_kernels::linear;

/// `y = x W + b`.
#[derive(Module, Debug)]
pub struct Linear {
    /// Weights, `[inputs, outputs]`: the transpose of PyTorch's.
    pub weight: Param<Tensor<2>>,
    /// Biases, `[outputs]`.
    pub bias: Param<Tensor<1>>,
}

impl Linear {
    /// A layer with zero weights; see [`initialise`](super::initialise).
    pub fn new(inputs: usize, outputs: usize, device: &Device) -> Self {
        Self {
            weight: Param::from_tensor(Tensor::zeros([inputs, outputs], device)),
            bias: Param::from_tensor(Tensor::zeros([outputs], device)),
        }
    }

    /// `input`, `[batch, inputs]`, as `[batch, outputs]`.
    pub fn forward(&self, input: Tensor<2>) -> Tensor<2> {
        linear(input, self.weight.val(), self.bias.val())
    }
}
