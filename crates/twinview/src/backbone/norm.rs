//! Batch normalisation with PyTorch's bookkeeping.

use burn::module::{Module, Param, RunningState};
use burn::tensor::{Device, Tensor};
use twinview_kernels::{BatchStatistics, RunningStatistics};

/// What a batch normalisation over every dimension but the second keeps (Ioffe and Szegedy 2015, arXiv 1502.03167).
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

    /// The same with a scale of 1 and a shift of 0 that never learn.
    pub fn without_affine(self) -> Self {
        let Self { weight, bias, .. } = self;
        let fixed = |param: Param<Tensor<1>>| param.set_require_grad(false);
        Self { weight: fixed(weight), bias: fixed(bias), ..self }
    }

    /// What it normalises with outside training.
    pub(super) fn running(&self) -> RunningStatistics {
        RunningStatistics { mean: self.running_mean.value_sync(), variance: self.running_var.value_sync() }
    }

    /// Lets each group's statistics over `count` values a channel enter the running statistics, in turn.
    pub fn track(&self, statistics: BatchStatistics, count: usize) {
        // PyTorch divides by count - 1 and refuses a single value; we keep such a batch's variance of 0.
        let unbiased = count as f64 / (count.max(2) - 1) as f64;
        let groups = statistics.mean.dims()[0] as i64;
        let RunningStatistics { mean, variance } = self.running().after(statistics, Self::MOMENTUM, unbiased);
        set(&self.running_mean, mean);
        set(&self.running_var, variance);
        set(&self.num_batches_tracked, self.num_batches_tracked.value_sync().add_scalar(groups));
    }
}

/// Replaces a statistic at once: an update alone would stay invisible to exports until the next one.
fn set(state: &RunningState<Tensor<1>>, value: Tensor<1>) {
    state.update(value.detach());
    state.value_sync();
}
