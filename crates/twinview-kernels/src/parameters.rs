//! A network's parameters, behind one parent of its operation.
//!
//! A Burn operation has a fixed number of parents, and networks have parameters in any number. Joined in one tensor they would be
//! copied, and their gradients twice more. So they are linked, a few at a time, into a chain of operations that compute nothing: its
//! end is the network's parent, and each gradient goes to its link through a slot that the network's way back holds too.

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
        let mut end = begin.clone();
        for (tensors, values) in tensors.chunks(LINKED).zip(parameters.0.chunks(LINKED)) {
            // Beside the last of them there may be nothing.
            let [a, b, c, d] = std::array::from_fn(|i| tensors.get(i).unwrap_or(&begin).clone());
            let slots = values.iter().map(|(_, slot)| Arc::clone(slot)).collect();
            end = <Dispatch as Link>::link(end, a, b, c, d, slots);
        }
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

/// Parameters of a link.
const LINKED: usize = 4;

#[backend_extension(Autodiff, Flex)]
trait Link: burn::backend::Backend {
    /// `chain`, longer by as many of the parameters as there are `slots`.
    fn link(
        chain: FloatTensor<Self>,
        a: FloatTensor<Self>,
        b: FloatTensor<Self>,
        c: FloatTensor<Self>,
        d: FloatTensor<Self>,
        slots: Vec<Slot>,
    ) -> FloatTensor<Self>;
}

impl Link for Flex {
    fn link(
        chain: FloatTensor<Self>,
        _a: FloatTensor<Self>,
        _b: FloatTensor<Self>,
        _c: FloatTensor<Self>,
        _d: FloatTensor<Self>,
        _slots: Vec<Slot>,
    ) -> FloatTensor<Self> {
        chain
    }
}

#[derive(Debug)]
struct LinkBackward;

impl Backward<Flex, { 1 + LINKED }> for LinkBackward {
    type State = Vec<Slot>;

    fn backward(self, ops: Ops<Vec<Slot>, { 1 + LINKED }>, grads: &mut Gradients, _checkpointer: &mut Checkpointer) {
        let signal = grads.consume::<Flex>(&ops.node);
        let take = |slot: &Slot| slot.lock().unwrap_or_else(PoisonError::into_inner).take();
        let gradients = std::iter::once(Some(signal)).chain(ops.state.iter().map(take));
        for (node, gradient) in ops.parents.into_iter().zip(gradients) {
            if let (Some(node), Some(gradient)) = (node, gradient) {
                grads.register::<Flex>(node.id, gradient);
            }
        }
    }
}

impl<C: CheckpointStrategy> Link for Autodiff<Flex, C> {
    fn link(
        chain: FloatTensor<Self>,
        a: FloatTensor<Self>,
        b: FloatTensor<Self>,
        c: FloatTensor<Self>,
        d: FloatTensor<Self>,
        slots: Vec<Slot>,
    ) -> FloatTensor<Self> {
        let nodes = [&chain, &a, &b, &c, &d].map(|tensor| tensor.node());
        let prepared = LinkBackward.prepare::<C>(nodes).compute_bound().stateful();
        let chain = chain.into_primitive();
        match prepared {
            OpsKind::Tracked(prepared) => prepared.finish(slots, chain),
            OpsKind::UnTracked(prepared) => prepared.finish(chain),
        }
    }
}
