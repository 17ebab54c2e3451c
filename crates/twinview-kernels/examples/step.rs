//! Times one SimSiam step of the article's model on synthetic views, part by part.
//!
//! `cargo run --release -p twinview-kernels --example step -- [batch] [runs]`

use std::time::Instant;

use burn::module::{Module, Param};
use burn::optim::{GradientsParams, SgdConfig, momentum::MomentumConfig};
use burn::tensor::{Device, Distribution, Tensor};
use twinview_kernels::{
    Block, Predictor, RunningStatistics, conv_relu_bn_stack, conv_relu_bn_stack_inference, stack_simsiam_loss,
};

#[derive(Module, Debug)]
struct Model {
    weights: Vec<Param<Tensor<4>>>,
    vectors: Vec<Param<Tensor<1>>>,
    inward: Param<Tensor<2>>,
    outward: Param<Tensor<2>>,
    /// The predictor's bias, scale and shift in the bottleneck, and its bias behind it.
    predictor: Vec<Param<Tensor<1>>>,
}

const CHANNELS: [usize; 4] = [1, 32, 64, 128];

impl Model {
    fn new(device: &Device) -> Self {
        let uniform = |inputs: usize| {
            let bound = (1.0 / inputs as f64).sqrt();
            Distribution::Uniform(-bound, bound)
        };
        let zeros = |count| Param::from_tensor(Tensor::<1>::zeros([count], device));
        let ones = |count| Param::from_tensor(Tensor::<1>::ones([count], device));
        let weight = |pair: &[usize]| Tensor::random([pair[1], pair[0], 3, 3], uniform(pair[0] * 9), device);
        let matrix = |shape: [usize; 2]| Param::from_tensor(Tensor::random(shape, uniform(shape[0]), device));
        Self {
            weights: CHANNELS.windows(2).map(|pair| Param::from_tensor(weight(pair))).collect(),
            vectors: CHANNELS[1..].iter().flat_map(|&count| [zeros(count), ones(count), zeros(count)]).collect(),
            inward: matrix([2048, 64]),
            outward: matrix([64, 2048]),
            predictor: vec![zeros(64), ones(64), zeros(64), zeros(2048)],
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

    fn predictor(&self) -> Predictor {
        let [hidden_bias, gamma, beta, output_bias] = [0, 1, 2, 3].map(|i| self.predictor[i].val());
        let (hidden_weight, output_weight) = (self.inward.val(), self.outward.val());
        Predictor { hidden_weight, hidden_bias, gamma, beta, epsilon: 1e-5, output_weight, output_bias }
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
        let pass = stack_simsiam_loss(views.clone(), &model.blocks(), model.predictor(), 2);
        times.add("forward", start);
        let start = Instant::now();
        let gradients = pass.loss.backward();
        times.add("backward", start);
        let start = Instant::now();
        let gradients = GradientsParams::from_grads(gradients, &model);
        model = optimiser.step(1e-4, model, gradients);
        times.add("update", start);
        times.add("whole step", whole);

        let start = Instant::now();
        let (features, _) = conv_relu_bn_stack(views.clone(), &model.blocks(), 2);
        times.add("(stack forward alone)", start);
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
            "(stack forward alone)" | "(stack inference)" => 2.0 * images * (first + second + third),
            "(stack backward alone)" => 2.0 * images * (first + 2.0 * (second + third)),
            _ => 0.0,
        };
        let rate = flops / times[0] / 1e6;
        println!("{name:24} min {:7.2} median {:7.2} ms  {rate:6.1} GFLOP/s", times[0], times[times.len() / 2]);
    }
}
