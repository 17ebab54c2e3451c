//! A network's parameters, behind one parent of its operation.
//!
//! A Burn operation has a fixed number of parents, and networks have parameters in any number. Joined in one tensor they would be
//! copied, and their gradients twice more. So they are linked into a chain of operations that compute nothing: its end is the
//! network's parent, and each gradient goes to its link through a slot that the network's way back holds too.

use std::sync::{Arc, Mutex, PoisonError};

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
use burn::tensor::Tensor;
use burn_flex::FlexTensor;

use crate::network::{flat, on_cpu, slice, tensor};

/// Where a parameter's gradient is left for its link.
type Slot = Arc<Mutex<Option<FlexTensor>>>;

/// The parameters of a network, in its order.
#[derive(Clone, Debug)]
pub(crate) struct Parameters(Vec<(FlexTensor, Slot)>);

impl Parameters {
    /// `tensors`, which are on the CPU, of any rank.
    pub(crate) fn new(tensors: impl IntoIterator<Item = DispatchTensor>) -> Self {
        let values = tensors.into_iter().map(|tensor| on_cpu(Tensor::<1>::from_dispatch(tensor)));
        Self(values.map(|values| (values, Slot::default())).collect())
    }

    /// The same, and the end of the chain of `tensors`.
    pub(crate) fn linked(tensors: Vec<DispatchTensor>) -> (Self, Tensor<1>) {
        let parameters = Self::new(tensors.iter().cloned());
        let device = Tensor::<1>::from_dispatch(tensors[0].clone()).device();
        let begin = Tensor::<1>::zeros([1], &device).into_dispatch();
        let links = tensors.into_iter().zip(&parameters.0);
        let end =
            links.fold(begin, |chain, (tensor, (_, slot))| <Dispatch as Link>::link(chain, tensor, Arc::clone(slot)));
        (parameters, Tensor::from_dispatch(end))
    }

    /// Values of each.
    pub(crate) fn values(&self) -> Vec<&[f32]> {
        self.0.iter().map(|(values, _)| slice(values)).collect()
    }

    /// Leaves a gradient for each link, and gives what goes back to the chain's end, so that they are asked for.
    pub(crate) fn leave(&self, gradients: Vec<Vec<f32>>) -> FlexTensor {
        assert_eq!(gradients.len(), self.0.len(), "a gradient of each parameter");
        for ((values, slot), gradient) in self.0.iter().zip(gradients) {
            let gradient = tensor(gradient, values.layout().shape().to_vec());
            *slot.lock().unwrap_or_else(PoisonError::into_inner) = Some(gradient);
        }
        flat(vec![0.0])
    }
}

#[backend_extension(Autodiff, Flex)]
trait Link: burn::backend::Backend {
    /// `chain`, one `parameter` longer.
    fn link(chain: FloatTensor<Self>, parameter: FloatTensor<Self>, slot: Slot) -> FloatTensor<Self>;
}

impl Link for Flex {
    fn link(chain: FloatTensor<Self>, _parameter: FloatTensor<Self>, _slot: Slot) -> FloatTensor<Self> {
        chain
    }
}

#[derive(Debug)]
struct LinkBackward;

impl Backward<Flex, 2> for LinkBackward {
    type State = Slot;

    fn backward(self, ops: Ops<Slot, 2>, grads: &mut Gradients, _checkpointer: &mut Checkpointer) {
        let signal = grads.consume::<Flex>(&ops.node);
        let gradient = ops.state.lock().unwrap_or_else(PoisonError::into_inner).take();
        for (node, gradient) in ops.parents.into_iter().zip([Some(signal), gradient]) {
            if let (Some(node), Some(gradient)) = (node, gradient) {
                grads.register::<Flex>(node.id, gradient);
            }
        }
    }
}

impl<C: CheckpointStrategy> Link for Autodiff<Flex, C> {
    fn link(chain: FloatTensor<Self>, parameter: FloatTensor<Self>, slot: Slot) -> FloatTensor<Self> {
        let prepared = LinkBackward.prepare::<C>([chain.node(), parameter.node()]).compute_bound().stateful();
        let chain = chain.into_primitive();
        match prepared {
            OpsKind::Tracked(prepared) => prepared.finish(slot, chain),
            OpsKind::UnTracked(prepared) => prepared.finish(chain),
        }
    }
}
