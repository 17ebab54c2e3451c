//! The fused transformer against the composed one.

use burn::tensor::{DType, Device, Tensor};
use proptest::prelude::*;

use super::{Draws, bits, distance, fixed, largest, values, wide};
use crate::transformer::composed;
use crate::{LayerNorm, TokenLinear, Transformer, TransformerBlock, transformer_first_token};

/// Sizes of a transformer and its tokens.
#[derive(Clone, Debug)]
struct Sizes {
    images: usize,
    length: usize,
    heads: usize,
    head: usize,
    hidden: usize,
    depth: usize,
}

struct Case {
    tokens: Tensor<3>,
    transformer: Transformer,
}

impl Case {
    fn new(sizes: &Sizes) -> Self {
        let Sizes { images, length, heads, head, hidden, depth } = *sizes;
        let (device, width) = (Device::flex().autodiff(), heads * head);
        let mut draws = Draws(0x9e37_79b9_7f4a_7c15 ^ length as u64);
        let tokens = draws.uniform([images, length, width], -2.0, 2.0, &device).require_grad();
        let norm = |draws: &mut Draws| LayerNorm {
            gamma: draws.uniform([width], 0.5, 1.5, &device).require_grad(),
            beta: draws.uniform([width], -0.5, 0.5, &device).require_grad(),
        };
        let linear = |draws: &mut Draws, inputs: usize, outputs: usize| {
            let bound = (6.0 / (inputs + outputs) as f32).sqrt();
            TokenLinear {
                weight: draws.uniform([inputs, outputs], -bound, bound, &device).require_grad(),
                bias: draws.uniform([outputs], -0.5, 0.5, &device).require_grad(),
            }
        };
        let block = |_| TransformerBlock {
            norm1: norm(&mut draws),
            qkv: linear(&mut draws, width, 3 * width),
            proj: linear(&mut draws, width, width),
            norm2: norm(&mut draws),
            fc1: linear(&mut draws, width, hidden),
            fc2: linear(&mut draws, hidden, width),
        };
        Self { tokens, transformer: Transformer { blocks: (0..depth).map(block).collect(), head, epsilon: 1e-6 } }
    }

    /// The transformer with other tensors.
    fn with(&self, values: impl Fn(&Tensor<1>) -> Tensor<1>, weights: impl Fn(&Tensor<2>) -> Tensor<2>) -> Transformer {
        let norm = |norm: &LayerNorm| LayerNorm { gamma: values(&norm.gamma), beta: values(&norm.beta) };
        let linear = |layer: &TokenLinear| TokenLinear { weight: weights(&layer.weight), bias: values(&layer.bias) };
        let blocks = self.transformer.blocks.iter().map(|block| TransformerBlock {
            norm1: norm(&block.norm1),
            qkv: linear(&block.qkv),
            proj: linear(&block.proj),
            norm2: norm(&block.norm2),
            fc1: linear(&block.fc1),
            fc2: linear(&block.fc2),
        });
        Transformer { blocks: blocks.collect(), ..self.transformer }
    }

    /// What comes out without gradients.
    fn inference(&self) -> Tensor<2> {
        let transformer = self.with(|values| values.clone().inner(), |weights| weights.clone().inner());
        transformer_first_token(self.tokens.clone().inner(), &transformer)
    }

    /// What comes out, and every gradient, as named flat vectors.
    fn outcomes(
        &self,
        run: impl Fn(Tensor<3>, &Transformer) -> Tensor<2>,
        weights: &Tensor<2>,
    ) -> Vec<(String, Vec<f64>)> {
        let features = run(self.tokens.clone(), &self.transformer);
        let mut outcomes = vec![("features".to_owned(), values(features.clone()))];
        let grads = (features * weights.clone()).sum().backward();
        outcomes.push(("tokens".to_owned(), values(self.tokens.grad(&grads).expect("gradient"))));
        for (index, block) in self.transformer.blocks.iter().enumerate() {
            for (name, norm) in [("norm1", &block.norm1), ("norm2", &block.norm2)] {
                for (part, tensor) in [("gamma", &norm.gamma), ("beta", &norm.beta)] {
                    outcomes.push((format!("{name} {part} {index}"), values(tensor.grad(&grads).expect("gradient"))));
                }
            }
            let layers = [("qkv", &block.qkv), ("proj", &block.proj), ("fc1", &block.fc1), ("fc2", &block.fc2)];
            for (name, layer) in layers {
                outcomes.push((format!("{name} weight {index}"), values(layer.weight.grad(&grads).expect("gradient"))));
                outcomes.push((format!("{name} bias {index}"), values(layer.bias.grad(&grads).expect("gradient"))));
            }
        }
        outcomes
    }

    /// What to weigh the features with.
    fn weights(&self) -> Tensor<2> {
        let [images, _, width] = self.tokens.dims();
        Draws(7).uniform([images, width], -1.0, 1.0, &Device::flex())
    }
}

/// Compares the fused transformer with the composed one in double precision, relative to each outcome's largest value, or to
/// 1 where that is smaller.
fn compare(case: &Case) -> Result<(), TestCaseError> {
    let weights = case.weights();
    let in_f64 = Case { tokens: wide(&case.tokens), transformer: case.with(wide, wide) };
    let truth = in_f64.outcomes(composed::first_token, &weights.clone().cast(DType::F64));
    let fused = case.outcomes(transformer_first_token, &weights);
    for ((name, truth), (fused_name, fused)) in truth.iter().zip(&fused) {
        prop_assert_eq!(name, fused_name);
        let error = distance(truth, fused) / largest(truth).max(1.0);
        prop_assert!(error < 1e-5, "{name}: {error}");
    }
    let error = distance(&truth[0].1, &values(case.inference()));
    prop_assert!(error < 1e-5 * largest(&truth[0].1).max(1.0), "without gradients: {error}");
    Ok(())
}

fn sizes() -> impl Strategy<Value = Sizes> {
    let images = prop_oneof![2 => 1..10usize, 1 => 10..60usize];
    (images, prop_oneof![1..20usize, Just(50)], 1..4usize, 1..3usize, 1..9usize, 1..4usize).prop_map(
        |(images, length, heads, head, hidden, depth)| Sizes {
            images,
            length,
            heads,
            head: 16 * head,
            hidden: 16 * hidden,
            depth,
        },
    )
}

#[test]
fn a_small_vision_transformer_agrees() {
    let sizes = Sizes { images: 70, length: 50, heads: 3, head: 32, hidden: 384, depth: 3 };
    compare(&Case::new(&sizes)).expect("agreement");
}

proptest! {
    #![proptest_config(fixed(40, 1))]

    #[test]
    fn random_transformers_agree(sizes in sizes()) {
        compare(&Case::new(&sizes))?;
    }
}

#[test]
fn widths_that_fill_no_lines_are_composed() {
    compare(&Case::new(&Sizes { images: 3, length: 4, heads: 2, head: 10, hidden: 7, depth: 2 })).expect("agreement");
}

#[test]
fn results_do_not_depend_on_threads() {
    let case = Case::new(&Sizes { images: 201, length: 17, heads: 2, head: 16, hidden: 48, depth: 2 });
    let weights = case.weights();
    let run = || case.outcomes(transformer_first_token, &weights);
    let once = bits(1, run);
    for threads in [1, 2, 4] {
        assert!(bits(threads, run) == once, "{threads} threads");
    }
    assert_eq!(bits(2, || vec![("features", values(case.inference()))])[0], once[0], "without gradients");
}

#[test]
fn a_nan_comes_through() {
    let case = Case::new(&Sizes { images: 2, length: 5, heads: 1, head: 16, hidden: 16, depth: 1 });
    let case = Case { tokens: case.tokens.clone() * f32::NAN, ..case };
    assert!(values(case.inference()).iter().all(|value| value.is_nan()));
}
