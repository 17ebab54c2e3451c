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
        for velocity in [None, Some(velocity)] {
            type Step = fn(Tensor<1>, Option<Tensor<1>>, Tensor<1>, f32, f32, f32) -> (Tensor<1>, Tensor<1>);
            let run = |step: Step| {
                let (value, velocity) = step(value.clone(), velocity.clone(), gradient.clone(), 0.05, 0.9, 1e-2);
                vec![("value", values(value)), ("velocity", values(velocity))]
            };
            let truth = bits(1, || run(composed));
            for threads in [1, 2, 4] {
                assert!(bits(threads, || run(sgd)) == truth, "{count} values, {threads} threads");
            }
        }
    }
}
