//! The update of stochastic gradient descent in one pass over the parameters.

use burn::backend::Flex;
use burn::tensor::Tensor;
use rayon::prelude::*;

use crate::operation::{fused, slice, tensor};

/// Values of a task: what is read and written of them stays in the second-level cache.
const TASK: usize = 1 << 14;

/// One step of SGD with momentum as `torch.optim.SGD` takes it, on flat tensors, `[n]` each. No gradient is recorded.
///
/// ```text
/// g = gradient + weight_decay · value        v = momentum · velocity + g        value − learning_rate · v
/// ```
///
/// The first velocity is `g` itself. Returns the new value and the new velocity.
///
/// # Panics
/// Panics when the lengths differ.
pub fn sgd(
    value: Tensor<1>,
    velocity: Option<Tensor<1>>,
    gradient: Tensor<1>,
    learning_rate: f32,
    momentum: f32,
    weight_decay: f32,
) -> (Tensor<1>, Tensor<1>) {
    assert_eq!(value.dims(), gradient.dims(), "a gradient for each value");
    let (value, velocity, gradient) = (value.inner(), velocity.map(Tensor::inner), gradient.inner());
    if !fused(&value) {
        return composed(value, velocity, gradient, learning_rate, momentum, weight_decay);
    }
    let primitive =
        |tensor: Tensor<1>| tensor.try_into_primitive::<Flex>().expect("a tensor on the CPU").to_contiguous();
    let (value, gradient) = (primitive(value), primitive(gradient));
    let velocity = velocity.map(primitive);
    let (value, gradient, velocity) = (slice(&value), slice(&gradient), velocity.as_ref().map(slice));
    assert!(velocity.is_none_or(|velocity| velocity.len() == value.len()), "a velocity for each value");
    let (mut new_value, mut new_velocity) = (value.to_vec(), gradient.to_vec());
    new_value.par_chunks_mut(TASK).zip(new_velocity.par_chunks_mut(TASK)).enumerate().for_each(|(task, (w, g))| {
        for (g, w) in g.iter_mut().zip(w.iter()) {
            *g += weight_decay * w;
        }
        if let Some(velocity) = velocity {
            for (g, v) in g.iter_mut().zip(&velocity[task * TASK..]) {
                *g += momentum * v;
            }
        }
        for (w, v) in w.iter_mut().zip(g) {
            *w -= learning_rate * *v;
        }
    });
    let count = new_value.len();
    let [value, velocity] =
        [new_value, new_velocity].map(|values| Tensor::from_primitive::<Flex>(tensor(values, [count])));
    (value, velocity)
}

/// The same composed of Burn's operations.
pub(crate) fn composed(
    value: Tensor<1>,
    velocity: Option<Tensor<1>>,
    gradient: Tensor<1>,
    learning_rate: f32,
    momentum: f32,
    weight_decay: f32,
) -> (Tensor<1>, Tensor<1>) {
    let gradient = gradient.add(value.clone().mul_scalar(weight_decay));
    let velocity = match velocity {
        Some(velocity) => velocity.mul_scalar(momentum).add(gradient),
        None => gradient,
    };
    (value.sub(velocity.clone().mul_scalar(learning_rate)), velocity)
}
