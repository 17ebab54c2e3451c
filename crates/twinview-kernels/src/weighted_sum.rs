//! What optimisers and momentum encoders are made of: weighted sums of two tensors, and a step with momentum, in one pass.

use burn::backend::Flex;
use burn::tensor::Tensor;
use burn_flex::FlexTensor;
use rayon::prelude::*;

use crate::network::{fused, on_cpu, slice, tensor};
use crate::vectorized::vectorized;
use crate::workspace::keep;

/// Values of a task: few enough that no thread waits long for the last of a tensor.
const TASK: usize = 1 << 12;

/// `weights[0] · first + weights[1] · second`, of tensors of the same shape, rounded as by two products and a sum.
///
/// No gradient flows. On the CPU it takes the place of `first` where nobody else holds that.
///
/// # Panics
/// When the shapes differ.
pub fn weighted_sum<const D: usize>(first: Tensor<D>, second: Tensor<D>, weights: [f32; 2]) -> Tensor<D> {
    assert_eq!(first.dims(), second.dims(), "tensors of the same shape");
    let (first, second) = (first.inner(), second.inner());
    if !(fused(&first) && fused(&second)) {
        return first.mul_scalar(weights[0]).add(second.mul_scalar(weights[1]));
    }
    let (mut first, second) = (owned(on_cpu(first)), on_cpu(second));
    let tasks = values_mut(&mut first).par_chunks_mut(TASK).zip(slice(&second).par_chunks(TASK));
    tasks.for_each(|(sums, second)| add_weighted(sums, second, weights));
    Tensor::from_primitive::<Flex>(first)
}

/// [`weighted_sum`] in place.
pub(crate) fn add_weighted(sums: &mut [f32], second: &[f32], weights: [f32; 2]) {
    sums.iter_mut().zip(second).for_each(|(sum, second)| *sum = weights[0] * *sum + weights[1] * second);
}

/// A step of gradient descent with momentum. `factors` are weight decay, momentum and learning rate:
///
/// ```text
/// g = gradient + decay · value        v = momentum · velocity + g        value − rate · v
/// ```
///
/// Returns the new value and `v`, which without a velocity is `g`. No gradient flows. On the CPU it is one pass that takes the place
/// of value and velocity where nobody else holds them; rounded as by three [`weighted_sum`]s.
///
/// # Panics
/// When the shapes differ.
pub fn momentum_step<const D: usize>(
    value: Tensor<D>,
    velocity: Option<Tensor<D>>,
    gradient: Tensor<D>,
    factors: [f32; 3],
) -> [Tensor<D>; 2] {
    let [decay, momentum, rate] = factors;
    let Some(velocity) = velocity else {
        let velocity = weighted_sum(gradient, value.clone(), [1.0, decay]);
        return [weighted_sum(value, velocity.clone(), [1.0, -rate]), velocity];
    };
    assert!(value.dims() == velocity.dims() && value.dims() == gradient.dims(), "tensors of the same shape");
    let [value, velocity, gradient] = [value, velocity, gradient].map(Tensor::inner);
    if ![&value, &velocity, &gradient].into_iter().all(fused) {
        let push = weighted_sum(gradient, value.clone(), [1.0, decay]);
        let velocity = weighted_sum(velocity, push, [momentum, 1.0]);
        return [weighted_sum(value, velocity.clone(), [1.0, -rate]), velocity];
    }
    let (mut value, mut velocity, gradient) = (owned(on_cpu(value)), owned(on_cpu(velocity)), on_cpu(gradient));
    let (values, velocities) = (values_mut(&mut value), values_mut(&mut velocity));
    let tasks = values.par_chunks_mut(TASK).zip(velocities.par_chunks_mut(TASK)).zip(slice(&gradient).par_chunks(TASK));
    tasks.for_each(|((values, velocities), gradients)| {
        vectorized(
            #[inline(always)]
            || add_momentum(values, velocities, gradients, factors),
        );
    });
    if gradient.is_unique()
        && slice(&gradient).len() >= TASK
        && let Ok(gradient) = gradient.into_data().try_into_vec()
    {
        keep(gradient);
    }
    [value, velocity].map(Tensor::from_primitive::<Flex>)
}

/// [`momentum_step`] in place.
#[inline(always)]
fn add_momentum(values: &mut [f32], velocities: &mut [f32], gradients: &[f32], [decay, momentum, rate]: [f32; 3]) {
    for ((value, velocity), gradient) in values.iter_mut().zip(velocities).zip(gradients) {
        *velocity = momentum * *velocity + (gradient + decay * *value);
        *value += -rate * *velocity;
    }
}

/// `values`, or a copy where somebody else holds them or there are others beside them.
pub(crate) fn owned(mut values: FlexTensor) -> FlexTensor {
    let shape = values.layout().shape().to_vec();
    let count: usize = shape.iter().product();
    match values.try_storage_mut().filter(|values: &&mut [f32]| values.len() == count) {
        Some(_) => values,
        None => tensor(slice(&values).to_vec(), shape),
    }
}

/// The values of what is [`owned`].
pub(crate) fn values_mut(values: &mut FlexTensor) -> &mut [f32] {
    values.try_storage_mut().expect("values of its own")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::workspace::for_gradient;
    use burn::tensor::Device;

    fn values(tensor: Tensor<1>) -> Vec<f32> {
        tensor.into_data().iter::<f32>().collect()
    }

    #[test]
    fn sums_are_those_of_products_whoever_holds_the_first() {
        let (count, device) = (3 * TASK + 7, Device::flex());
        let of = |factor: f32| (0..count).map(|i| (i as f32 * factor).sin()).collect::<Vec<f32>>();
        let (one, other) = (of(0.37), of(0.11));
        let expected: Vec<f32> = one.iter().zip(&other).map(|(one, other)| 0.9 * one + -0.3 * other).collect();
        let [first, second] = [&one, &other].map(|values| Tensor::<1>::from_floats(values.as_slice(), &device));
        let held = first.clone();
        let part = Tensor::cat(vec![second.clone(), first.clone()], 0).narrow(0, count, count);
        assert_eq!(values(weighted_sum(first, second.clone(), [0.9, -0.3])), expected);
        assert_eq!(values(weighted_sum(part, second.clone(), [0.9, -0.3])), expected);
        assert_eq!(values(held.clone()), one, "what others hold stays");
        assert_eq!(values(weighted_sum(held * 1.0, second.clone(), [0.9, -0.3])), expected);
        assert_eq!(values(second), other);
    }

    #[test]
    fn a_momentum_step_is_three_sums_whoever_holds_what() {
        let (count, device) = (2 * TASK + 5, Device::flex());
        let of = |factor: f32| {
            let values: Vec<f32> = (0..count).map(|i| (i as f32 * factor).sin()).collect();
            Tensor::<1>::from_floats(values.as_slice(), &device)
        };
        let [decay, momentum, rate] = [1e-2, 0.9, 0.03];
        let push = weighted_sum(of(0.11), of(0.37), [1.0, decay]);
        let begun = values(push.clone());
        let velocity = weighted_sum(of(0.23), push, [momentum, 1.0]);
        let moved = values(weighted_sum(of(0.37), velocity.clone(), [1.0, -rate]));
        let step = |value, velocity, gradient| momentum_step(value, velocity, gradient, [decay, momentum, rate]);
        let held = (of(0.37), of(0.23));
        let outcomes = [step(of(0.37), Some(of(0.23)), of(0.11)), step(held.0.clone(), Some(held.1.clone()), of(0.11))];
        for [value, after] in outcomes {
            assert_eq!(values(value), moved);
            assert_eq!(values(after), values(velocity.clone()));
        }
        assert_eq!(values(held.0.clone()), values(of(0.37)), "what others hold stays");
        let [first, after] = step(held.0, None, of(0.11));
        assert_eq!(values(after.clone()), begun);
        assert_eq!(values(first), values(weighted_sum(of(0.37), after, [1.0, -rate])));
    }

    #[test]
    fn the_next_gradient_takes_the_memory_of_one_that_is_done() {
        let (count, device) = (1_000_003, Device::flex());
        let zeros = || Tensor::<1>::zeros([count], &device);
        let gradient = || Tensor::from_primitive::<Flex>(tensor(vec![1.0; count], [count]));
        let place = |gradient: &Tensor<1>| slice(&on_cpu(gradient.clone())).as_ptr();
        let step = |gradient| _ = momentum_step(zeros(), Some(zeros()), gradient, [0.0, 0.9, 0.1]);
        let (done, held) = (gradient(), gradient());
        let was = place(&done);
        step(done);
        step(held.clone());
        let next = for_gradient(count);
        assert_eq!((next.len(), next.as_ptr()), (count, was));
        let another = for_gradient(count);
        assert_ne!(another.as_ptr(), place(&held), "what others hold stays");
        assert_eq!(values(held), vec![1.0; count]);
    }
}
