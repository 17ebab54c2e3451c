//! The linear layer as one operation: product and bias, forward and backward.

use burn::backend::{
    Autodiff, Dispatch, Flex,
    autodiff::{
        checkpoint::{base::Checkpointer, strategy::CheckpointStrategy},
        grads::Gradients,
        ops::{Backward, Ops, OpsKind},
    },
    backend_extension,
    tensor::FloatTensor,
};
use burn::tensor::Tensor;
use burn_flex::FlexTensor;
use fearless_simd::Level;

use crate::network::{fused, slice, tensor};
use crate::product::{Panels, column_sums, columns_by_columns, rows_by_panels};

#[backend_extension(Autodiff, Flex)]
trait LinearBackend: burn::backend::Backend {
    fn linear(
        input: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        bias: FloatTensor<Self>,
        sizes: Sizes,
    ) -> FloatTensor<Self>;
}

/// Rows of the input, features of a row, features of a row of the output.
#[derive(Clone, Copy, Debug)]
struct Sizes {
    rows: usize,
    inputs: usize,
    outputs: usize,
}

fn forward(input: &FlexTensor, weight: &FlexTensor, bias: &FlexTensor, sizes: Sizes) -> FlexTensor {
    let weight = Panels::new(slice(weight), sizes.outputs);
    tensor(rows_by_panels(Level::new(), slice(input), &weight, slice(bias)), [sizes.rows, sizes.outputs])
}

impl LinearBackend for Flex {
    fn linear(
        input: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        bias: FloatTensor<Self>,
        sizes: Sizes,
    ) -> FloatTensor<Self> {
        forward(&input.to_contiguous(), &weight.to_contiguous(), &bias.to_contiguous(), sizes)
    }
}

#[derive(Debug)]
struct LinearBackward;

/// What the backward pass needs.
#[derive(Clone, Debug)]
struct Saved {
    input: FlexTensor,
    weight: FlexTensor,
    sizes: Sizes,
}

impl Backward<Flex, 3> for LinearBackward {
    type State = Saved;

    fn backward(self, ops: Ops<Saved, 3>, grads: &mut Gradients, _checkpointer: &mut Checkpointer) {
        let Saved { input, weight, sizes: Sizes { rows, inputs, outputs } } = ops.state;
        let gradient = grads.consume::<Flex>(&ops.node).to_contiguous();
        let gradient = slice(&gradient);
        let [input_node, weight_node, bias_node] = ops.parents;
        if let Some(node) = input_node {
            let weight = Panels::transposed(slice(&weight), outputs);
            let back = rows_by_panels(Level::new(), gradient, &weight, &[]);
            grads.register::<Flex>(node.id, tensor(back, [rows, inputs]));
        }
        if let Some(node) = weight_node {
            let back = columns_by_columns(Level::new(), slice(&input), inputs, gradient, outputs);
            grads.register::<Flex>(node.id, tensor(back, [inputs, outputs]));
        }
        if let Some(node) = bias_node {
            grads.register::<Flex>(node.id, tensor(column_sums(gradient, outputs), [outputs]));
        }
    }
}

impl<C: CheckpointStrategy> LinearBackend for Autodiff<Flex, C> {
    fn linear(
        input: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        bias: FloatTensor<Self>,
        sizes: Sizes,
    ) -> FloatTensor<Self> {
        let nodes = [input.node(), weight.node(), bias.node()];
        let prepared = LinearBackward.prepare::<C>(nodes).compute_bound().stateful();
        let input = input.into_primitive().to_contiguous();
        let weight = weight.into_primitive().to_contiguous();
        let output = forward(&input, &weight, &bias.into_primitive().to_contiguous(), sizes);
        match prepared {
            OpsKind::Tracked(prepared) => prepared.finish(Saved { input, weight, sizes }, output),
            OpsKind::UnTracked(prepared) => prepared.finish(output),
        }
    }
}

/// `input · weight + bias`: `[rows, inputs]` by `[inputs, outputs]` (the transpose of PyTorch's weights) and
/// `[outputs]`, as `[rows, outputs]`. Differentiable in all three.
///
/// # Panics
/// Panics when the shapes do not fit one another, or a size is 0.
pub fn linear(input: Tensor<2>, weight: Tensor<2>, bias: Tensor<1>) -> Tensor<2> {
    let ([rows, features], [inputs, outputs]) = (input.dims(), weight.dims());
    assert!(features == inputs && bias.dims() == [outputs], "a layer {inputs} → {outputs} for {features} features");
    assert!(rows * inputs * outputs > 0, "{rows} rows of {inputs} → {outputs} features");
    if !fused(&input) {
        return composed(input, weight, bias);
    }
    let sizes = Sizes { rows, inputs, outputs };
    Tensor::from_dispatch(<Dispatch as LinearBackend>::linear(
        input.into_dispatch(),
        weight.into_dispatch(),
        bias.into_dispatch(),
        sizes,
    ))
}

/// The same composed of Burn's operations.
pub(crate) fn composed(input: Tensor<2>, weight: Tensor<2>, bias: Tensor<1>) -> Tensor<2> {
    input.matmul(weight).add(bias.unsqueeze())
}
