//! The loss against its composed version.

use burn::tensor::Device;
use proptest::prelude::*;

use super::{Draws, distance, fixed, largest, values, wide};
use crate::{cosine, negative_cosine_similarity};

proptest! {
    #![proptest_config(fixed(60, 1))]

    #[test]
    fn cosine_agrees(per_group in 1..20usize, groups in 1..3usize, width in 1..100usize) {
        let device = Device::flex().autodiff();
        let mut draws = Draws(11);
        let shape = [per_group * groups, width];
        let prediction = draws.uniform(shape, -1.0, 1.0, &device).require_grad();
        let target = draws.uniform(shape, -1.0, 1.0, &device);
        let truth = cosine::composed(wide(&prediction), wide(&target), groups);
        let fused = negative_cosine_similarity(prediction.clone(), target.clone(), groups);
        prop_assert!(distance(&values(truth), &values(fused.clone())) < 1e-6);
        let wide_prediction = wide(&prediction);
        let truth = cosine::composed(wide_prediction.clone(), wide(&target), groups) * 3.0;
        let truth = wide_prediction.grad(&truth.backward()).map(values).expect("gradient");
        let fused = prediction.grad(&(fused * 3.0).backward()).map(values).expect("gradient");
        let distance = distance(&truth, &fused) / largest(&truth).max(1e-2);
        prop_assert!(distance < 1e-5, "{}", distance);
    }

}
