//! Batch normalisation with PyTorch's bookkeeping.

use burn::module::{Module, Param, RunningState};
use burn::tensor::{Device, Tensor, module};

use super::Mode;

/// Batch normalisation over every dimension but the second (Ioffe and Szegedy 2015, arXiv 1502.03167).
///
/// Fields carry PyTorch's names, and the statistics its semantics: a batch is normalised with the biased
/// variance, and the *unbiased* one enters `running_var`, with momentum 0.1.
#[derive(Module, Debug)]
pub struct BatchNorm {
    /// Scale γ, `[channels]`.
    pub weight: Param<Tensor<1>>,
    /// Shift β, `[channels]`.
    pub bias: Param<Tensor<1>>,
    /// Running mean, `[channels]`.
    pub running_mean: RunningState<Tensor<1>>,
    /// Running unbiased variance, `[channels]`.
    pub running_var: RunningState<Tensor<1>>,
    /// Batches that entered the running statistics, `[1]`.
    pub num_batches_tracked: RunningState<Tensor<1>>,
}

impl BatchNorm {
    /// The share of a new batch in the running statistics.
    pub const MOMENTUM: f64 = 0.1;
    /// What is added to a variance before its root is taken.
    pub const EPSILON: f64 = 1e-5;

    /// Scale 1, shift 0, running mean 0 and variance 1.
    pub fn new(channels: usize, device: &Device) -> Self {
        Self {
            weight: Param::from_tensor(Tensor::ones([channels], device)),
            bias: Param::from_tensor(Tensor::zeros([channels], device)),
            running_mean: RunningState::new(Tensor::zeros([channels], device)),
            running_var: RunningState::new(Tensor::ones([channels], device)),
            num_batches_tracked: RunningState::new(Tensor::zeros([1], device)),
        }
    }

    /// Normalises `input`, `[batch, channels, ...]`.
    pub fn forward<const D: usize>(&self, input: Tensor<D>, mode: Mode) -> Tensor<D> {
        match mode {
            Mode::Train => {
                let count = input.shape().num_elements() / input.dims()[1];
                let batch = module::batch_norm_train(input, self.weight.val(), self.bias.val(), Self::EPSILON);
                self.track(batch.mean, batch.variance, count);
                batch.output
            }
            Mode::Eval => module::batch_norm(
                input,
                self.weight.val(),
                self.bias.val(),
                self.running_mean.value_sync(),
                self.running_var.value_sync(),
                Self::EPSILON,
            ),
        }
    }

    /// Lets a batch's `mean` and biased `variance`, both `[channels]` over `count` values a channel, enter
    /// the running statistics.
    pub fn track(&self, mean: Tensor<1>, variance: Tensor<1>, count: usize) {
        // PyTorch divides by count - 1 and refuses a single value; we keep such a batch's variance of 0.
        let unbiased = variance.mul_scalar(count as f64 / (count.max(2) - 1) as f64);
        let blend = |running: &RunningState<Tensor<1>>, batch: Tensor<1>| {
            let kept = running.value_sync().mul_scalar(1.0 - Self::MOMENTUM);
            let batch = batch.detach().to_device(&kept.device());
            set(running, kept.add(batch.mul_scalar(Self::MOMENTUM)));
        };
        blend(&self.running_mean, mean);
        blend(&self.running_var, unbiased);
        set(&self.num_batches_tracked, self.num_batches_tracked.value_sync().add_scalar(1));
    }
}

/// Replaces a statistic at once: an update alone would stay invisible to exports until the next one.
fn set(state: &RunningState<Tensor<1>>, value: Tensor<1>) {
    state.update(value.detach());
    state.value_sync();
}
