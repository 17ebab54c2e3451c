//! Weighted sums of two tensors in one pass: what optimisers and momentum encoders are made of.

use burn::backend::Flex;
use burn::tensor::Tensor;
use burn_flex::FlexTensor;
use rayon::prelude::*;

use crate::network::{fused, on_cpu, slice, tensor};

/// Values of a task.
const TASK: usize = 1 << 14;

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
    let shape = first.dims();
    let (mut first, second) = (on_cpu(first), on_cpu(second));
    let second = slice(&second);
    let add = |sum: &mut f32, second: &f32| *sum = weights[0] * *sum + weights[1] * second;
    match whole(&mut first, second.len()) {
        Some(sums) => {
            let tasks = sums.par_chunks_mut(TASK).zip(second.par_chunks(TASK));
            tasks.for_each(|(sums, second)| sums.iter_mut().zip(second).for_each(|(sum, second)| add(sum, second)));
            Tensor::from_primitive::<Flex>(first)
        }
        None => {
            let mut sums = slice(&first).to_vec();
            sums.iter_mut().zip(second).for_each(|(sum, second)| add(sum, second));
            Tensor::from_primitive::<Flex>(tensor(sums, shape))
        }
    }
}

/// The values of `tensor` to write to, where nobody else holds them and there are no others beside them.
fn whole(tensor: &mut FlexTensor, count: usize) -> Option<&mut [f32]> {
    tensor.try_storage_mut().filter(|values: &&mut [f32]| values.len() == count)
}

#[cfg(test)]
mod tests {
    use super::*;
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
}
