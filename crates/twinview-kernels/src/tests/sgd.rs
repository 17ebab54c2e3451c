//! The update of SGD against its composed version: the same bits.

use burn::tensor::{Device, Tensor};

use super::{Draws, bits, values};
use crate::sgd::{composed, sgd};

#[test]
fn steps_are_the_composed_ones_to_the_bit() {
    let device = Device::flex();
    for count in [1, 17, 16_384, 16_385, 40_000] {
        let mut draws = Draws(29);
        let mut tensor = || draws.uniform::<1>([count], -1.0, 1.0, &device);
        let [value, velocity, gradient] = [tensor(), tensor(), tensor()];
        // A velocity that was loaded may lie where gradients are recorded.
        for velocity in [None, Some(velocity.clone()), Some(velocity.autodiff())] {
            type Step = fn(Tensor<1>, Option<Tensor<1>>, Tensor<1>, f32, f32, f32) -> (Tensor<1>, Tensor<1>);
            let run = |step: Step, velocity: Option<Tensor<1>>| {
                let (value, velocity) = step(value.clone(), velocity, gradient.clone(), 0.05, 0.9, 1e-2);
                vec![("value", values(value)), ("velocity", values(velocity))]
            };
            let plain = velocity.clone().map(Tensor::inner);
            let truth = bits(1, || run(composed, plain));
            for threads in [1, 2, 4] {
                assert!(bits(threads, || run(sgd, velocity.clone())) == truth, "{count} values, {threads} threads");
            }
        }
    }
}
