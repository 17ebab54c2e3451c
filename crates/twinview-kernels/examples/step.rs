//! Times one SimSiam step of the article's model on synthetic views, part by part.
//!
//! `cargo run --release -p twinview-kernels --example step -- [batch] [runs]`

use std::time::Instant;

use burn::module::{Module, Param};
use burn::nn::{BatchNorm, BatchNormConfig, Linear, LinearConfig};
use burn::optim::{GradientsParams, SgdConfig, momentum::MomentumConfig};
use burn::tensor::{Device, Distribution, Tensor, activation::relu};
use twinview_kernels::{
    Block, RunningStatistics, conv_relu_bn_stack, conv_relu_bn_stack_inference, negative_cosine_similarity,
};

#[derive(Module, Debug)]
struct Model {
    weights: Vec<Param<Tensor<4>>>,
    vectors: Vec<Param<Tensor<1>>>,
    first: Linear,
    norm: BatchNorm,
    second: Linear,
}

const CHANNELS: [usize; 4] = [1, 32, 64, 128];

impl Model {
    fn new(device: &Device) -> Self {
        let weights = CHANNELS
            .windows(2)
            .map(|pair| {
                let bound = (1.0 / (pair[0] as f64 * 9.0)).sqrt();
                let distribution = Distribution::Uniform(-bound, bound);
                Param::from_tensor(Tensor::random([pair[1], pair[0], 3, 3], distribution, device))
            })
            .collect();
        let vectors = CHANNELS[1..]
            .iter()
            .flat_map(|&channels| {
                let zeros = || Param::from_tensor(Tensor::zeros([channels], device));
                [zeros(), Param::from_tensor(Tensor::ones([channels], device)), zeros()]
            })
            .collect();
        Self {
            weights,
            vectors,
            first: LinearConfig::new(2048, 64).init(device),
            norm: BatchNormConfig::new(64).init(device),
            second: LinearConfig::new(64, 2048).init(device),
        }
    }

    fn blocks(&self) -> Vec<Block> {
        let vectors = self.vectors.chunks(3);
        self.weights
            .iter()
            .zip(vectors)
            .map(|(weight, vectors)| Block {
                weight: weight.val(),
                bias: vectors[0].val(),
                gamma: vectors[1].val(),
                beta: vectors[2].val(),
                stride: 2,
                epsilon: 1e-5,
            })
            .collect()
    }

    fn predict(&self, features: Tensor<2>) -> Tensor<2> {
        // As in training, each view is normalised by itself.
        let hidden = self.first.forward(features).chunk(2, 0);
        let hidden = hidden.into_iter().map(|view| self.norm.forward(view)).collect();
        self.second.forward(relu(Tensor::cat(hidden, 0)))
    }
}

/// Milliseconds of each part over the runs.
struct Times(Vec<(&'static str, Vec<f64>)>);

impl Times {
    fn add(&mut self, name: &'static str, start: Instant) {
        let time = start.elapsed().as_secs_f64() * 1e3;
        match self.0.iter_mut().find(|(other, _)| *other == name) {
            Some((_, times)) => times.push(time),
            None => self.0.push((name, vec![time])),
        }
    }
}

fn main() {
    let mut arguments = std::env::args().skip(1).filter_map(|argument| argument.parse().ok());
    let batch: usize = arguments.next().unwrap_or(256);
    let runs: usize = arguments.next().unwrap_or(20);
    let device = Device::flex().autodiff();
    let mut model = Model::new(&device);
    let mut optimiser =
        SgdConfig::new().with_momentum(Some(MomentumConfig { momentum: 0.9, dampening: 0.0, nesterov: false })).init();
    let distribution = Distribution::Uniform(0.0, 1.0);
    let views = Tensor::<4>::random([2 * batch, 1, 28, 28], distribution, &Device::flex()).autodiff();
    let mut times = Times(Vec::new());
    for _ in 0..runs {
        let whole = Instant::now();
        let start = Instant::now();
        let (features, _) = conv_relu_bn_stack(views.clone(), &model.blocks(), 2);
        times.add("stack forward", start);
        let start = Instant::now();
        let predictions = model.predict(features.clone());
        times.add("predictor forward", start);
        let start = Instant::now();
        let loss = negative_cosine_similarity(predictions, features, 2);
        times.add("loss forward", start);
        let start = Instant::now();
        let gradients = loss.backward();
        times.add("backward", start);
        let start = Instant::now();
        let gradients = GradientsParams::from_grads(gradients, &model);
        model = optimiser.step(1e-4, model, gradients);
        times.add("update", start);
        times.add("whole step", whole);

        let blocks: Vec<Block> = model.blocks();
        let (features, _) = conv_relu_bn_stack(views.clone(), &blocks, 2);
        let weights = features.clone().detach();
        let sum = (features * weights).sum();
        let start = Instant::now();
        let _gradients = sum.backward();
        times.add("(stack backward alone)", start);
    }
    let running: Vec<RunningStatistics> = CHANNELS[1..]
        .iter()
        .map(|&channels| RunningStatistics {
            mean: Tensor::zeros([channels], &Device::flex()),
            variance: Tensor::ones([channels], &Device::flex()),
        })
        .collect();
    for _ in 0..runs {
        let start = Instant::now();
        let _features = conv_relu_bn_stack_inference(views.clone(), &model.blocks(), &running);
        times.add("(stack inference)", start);
    }
    // Multiply-adds of the valid taps for one image: 3 taps a side less the padding, squared.
    let [first, second, third] = [41.0 * 41.0 * 32.0, 20.0 * 20.0 * 2048.0, 10.0 * 10.0 * 8192.0];
    let images = 2.0 * batch as f64;
    for (name, mut times) in times.0 {
        times.sort_by(f64::total_cmp);
        let flops = match name {
            "stack forward" | "(stack inference)" => 2.0 * images * (first + second + third),
            "(stack backward alone)" => 2.0 * images * (first + 2.0 * (second + third)),
            _ => 0.0,
        };
        let rate = flops / times[0] / 1e6;
        println!("{name:24} min {:7.2} median {:7.2} ms  {rate:6.1} GFLOP/s", times[0], times[times.len() / 2]);
    }
}
