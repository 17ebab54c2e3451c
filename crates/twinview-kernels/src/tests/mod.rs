//! The fused operations against the composed ones, over random shapes, on every instruction set there is.

mod cosine;
mod heads;
mod levels;
mod residual;
mod simsiam;
mod stack;
mod stack_simsiam;
mod transformer;

use burn::tensor::{DType, Device, Tensor, TensorData};
use proptest::test_runner::{Config, RngSeed};

/// The same cases in every run.
fn fixed(cases: u32, seed: u64) -> Config {
    Config { cases, rng_seed: RngSeed::Fixed(seed), failure_persistence: None, ..Config::default() }
}

/// Uniform values from a small generator of the tests' own (xorshift), the same on every machine.
struct Draws(u64);

impl Draws {
    fn values(&mut self, count: usize, low: f32, high: f32) -> Vec<f32> {
        let draw = |_| {
            self.0 ^= self.0 << 13;
            self.0 ^= self.0 >> 7;
            self.0 ^= self.0 << 17;
            low + (high - low) * ((self.0 >> 40) as f32 / (1u32 << 24) as f32)
        };
        (0..count).map(draw).collect()
    }

    fn uniform<const D: usize>(&mut self, shape: [usize; D], low: f32, high: f32, device: &Device) -> Tensor<D> {
        Tensor::from_data(TensorData::new(self.values(shape.iter().product(), low, high), shape), device)
    }
}

fn wide<const D: usize>(tensor: &Tensor<D>) -> Tensor<D> {
    tensor.clone().inner().cast(DType::F64).autodiff().require_grad()
}

fn values<const D: usize>(tensor: Tensor<D>) -> Vec<f64> {
    tensor.into_data().iter::<f64>().collect()
}

/// Largest size of a value; a NaN is larger than anything.
fn largest(values: &[f64]) -> f64 {
    let larger = |worst: f64, value: f64| if worst.is_nan() || value <= worst { worst } else { value };
    values.iter().fold(0.0, |worst, value| larger(worst, value.abs()))
}

/// Largest difference.
fn distance(a: &[f64], b: &[f64]) -> f64 {
    assert_eq!(a.len(), b.len());
    largest(&a.iter().zip(b).map(|(a, b)| a - b).collect::<Vec<_>>())
}

/// Bits of everything `run` computes on a pool of `threads` threads.
fn bits<N>(threads: usize, run: impl FnOnce() -> Vec<(N, Vec<f64>)> + Send) -> Vec<Vec<u64>> {
    let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().expect("a pool");
    let outcomes = pool.install(|| run().into_iter().map(|(_, values)| values).collect::<Vec<_>>());
    outcomes.into_iter().map(|values| values.into_iter().map(f64::to_bits).collect()).collect()
}
