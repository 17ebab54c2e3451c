//! A whole network as one Burn operation on the CPU, with a way back made by hand.

use std::fmt;
use std::sync::Arc;

use burn::backend::{
    Autodiff, Dispatch, DispatchTensor, Flex,
    autodiff::{
        checkpoint::{base::Checkpointer, strategy::CheckpointStrategy},
        grads::Gradients,
        ops::{Backward, Ops, OpsKind},
    },
    backend_extension,
    tensor::FloatTensor,
};
use burn::tensor::{DType, Device, Tensor, TensorData};
use burn_flex::FlexTensor;

use crate::parameters::Parameters;

/// All of a network but its values.
pub(crate) trait Network: fmt::Debug + Send + Sync {
    /// Runs the network on `input` with all `parameters`, in the order in which it gives their gradients.
    fn forward(&self, input: &[f32], parameters: &[&[f32]]) -> Pass;

    /// The output alone, where no way back is asked for, and the statistics.
    fn inference(&self, input: &[f32], parameters: &[&[f32]]) -> (Vec<f32>, Vec<f32>) {
        let Pass { output, statistics, .. } = self.forward(input, parameters);
        (output, statistics)
    }
}

/// A network's forward pass.
pub(crate) struct Pass {
    /// As many values for each row of the input.
    pub(crate) output: Vec<f32>,
    pub(crate) statistics: Vec<f32>,
    pub(crate) back: Back,
}

/// Gradients of the input, if asked for, and of each parameter.
pub(crate) type InputAndParameters = (Option<Vec<f32>>, Vec<Vec<f32>>);

/// From the parameters, the output's gradient, and whether that of the input is asked for.
pub(crate) type Back = Arc<dyn Fn(&[&[f32]], &[f32], bool) -> InputAndParameters + Send + Sync>;

/// Output, `[rows of the input, width]`, and statistics, flat.
#[backend_extension(Autodiff, Flex)]
trait NetworkBackend: burn::backend::Backend {
    fn network(
        input: FloatTensor<Self>,
        chain: FloatTensor<Self>,
        parameters: Parameters,
        network: Arc<dyn Network>,
    ) -> (FloatTensor<Self>, FloatTensor<Self>);
}

/// The values of `tensor`.
pub(crate) fn slice(tensor: &FlexTensor) -> &[f32] {
    tensor.as_slice().expect("a contiguous f32 tensor")
}

pub(crate) fn tensor(values: Vec<f32>, shape: impl Into<Vec<usize>>) -> FlexTensor {
    FlexTensor::from_data(TensorData::new(values, shape.into()))
}

/// `values` in a row.
pub(crate) fn flat(values: Vec<f32>) -> FlexTensor {
    let count = values.len();
    tensor(values, [count])
}

fn by_rows(values: Vec<f32>, rows: usize) -> FlexTensor {
    let width = values.len() / rows;
    tensor(values, [rows, width])
}

/// The values of `tensor`, which is on the CPU.
pub(crate) fn on_cpu<const D: usize>(tensor: Tensor<D>) -> FlexTensor {
    tensor.inner().try_into_primitive::<Flex>().expect("a tensor on the CPU").to_contiguous()
}

/// Whether the fused kernels serve this tensor.
pub(crate) fn fused<const D: usize>(input: &Tensor<D>) -> bool {
    input.device().inner() == Device::flex() && input.dtype() == DType::F32
}

impl NetworkBackend for Flex {
    fn network(
        input: FloatTensor<Self>,
        _chain: FloatTensor<Self>,
        parameters: Parameters,
        network: Arc<dyn Network>,
    ) -> (FloatTensor<Self>, FloatTensor<Self>) {
        let input = input.to_contiguous();
        let (output, statistics) = network.inference(slice(&input), &parameters.values());
        (by_rows(output, input.layout().shape()[0]), flat(statistics))
    }
}

#[derive(Debug)]
struct NetworkBackward;

/// What the way back needs.
#[derive(Clone)]
struct Saved {
    parameters: Parameters,
    input_shape: Vec<usize>,
    back: Back,
}

impl fmt::Debug for Saved {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Saved").field("input_shape", &self.input_shape).finish_non_exhaustive()
    }
}

impl Backward<Flex, 2> for NetworkBackward {
    type State = Saved;

    fn backward(self, ops: Ops<Saved, 2>, grads: &mut Gradients, _checkpointer: &mut Checkpointer) {
        let Saved { parameters, input_shape, back } = ops.state;
        let gradient = grads.consume::<Flex>(&ops.node).to_contiguous();
        let [input_node, chain_node] = ops.parents;
        let (input, gradients) = back(&parameters.values(), slice(&gradient), input_node.is_some());
        if let (Some(node), Some(values)) = (input_node, input) {
            grads.register::<Flex>(node.id, tensor(values, input_shape));
        }
        if let Some(node) = chain_node {
            grads.register::<Flex>(node.id, parameters.leave(gradients));
        }
    }
}

impl<C: CheckpointStrategy> NetworkBackend for Autodiff<Flex, C> {
    fn network(
        input: FloatTensor<Self>,
        chain: FloatTensor<Self>,
        parameters: Parameters,
        network: Arc<dyn Network>,
    ) -> (FloatTensor<Self>, FloatTensor<Self>) {
        let prepared = NetworkBackward.prepare::<C>([input.node(), chain.node()]).compute_bound().stateful();
        let input = input.into_primitive().to_contiguous();
        let input_shape = input.layout().shape().to_vec();
        let (output, statistics) = match prepared {
            OpsKind::Tracked(prepared) => {
                let Pass { output, statistics, back } = network.forward(slice(&input), &parameters.values());
                let output = by_rows(output, input_shape[0]);
                (prepared.finish(Saved { parameters, input_shape, back }, output), statistics)
            }
            OpsKind::UnTracked(prepared) => {
                let (output, statistics) = network.inference(slice(&input), &parameters.values());
                (prepared.finish(by_rows(output, input_shape[0])), statistics)
            }
        };
        (output, FloatTensor::<Self>::new(flat(statistics)))
    }
}

/// Runs `network` on `input`, which is on the CPU, with all `parameters`, of any rank. Gives the output, `[rows of the input, width]`,
/// and the statistics, through which no gradient flows.
pub(crate) fn run<const D: usize>(
    input: Tensor<D>,
    parameters: Vec<DispatchTensor>,
    network: impl Network + 'static,
) -> (Tensor<2>, Tensor<1>) {
    let (parameters, chain) = Parameters::linked(parameters);
    let (input, chain) = (input.into_dispatch(), chain.into_dispatch());
    let (output, statistics) = <Dispatch as NetworkBackend>::network(input, chain, parameters, Arc::new(network));
    (Tensor::from_dispatch(output), Tensor::<1>::from_dispatch(statistics).inner())
}
