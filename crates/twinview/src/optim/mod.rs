//! Optimisers with PyTorch's arithmetic and state that can be saved by name, and what steers them: schedules, groups
//! of parameters, gradients of several batches.
//!
//! An [`OptimizerConfig`] is what a recipe holds, an [`Optimizer`] what moves a model.
//!
//! ```
//! use twinview::optim::{CosineConfig, Progress, Schedule};
//!
//! let schedule = Schedule::Cosine(CosineConfig { warmup_epochs: 1.0, ..CosineConfig::default() });
//! let factor = |step| schedule.factor(Progress { step, steps: 100, steps_per_epoch: 10 });
//! assert_eq!(factor(0), 0.1);
//! assert_eq!(factor(9), 1.0); // the end of the warm-up
//! assert_eq!(factor(99), 0.0);
//! ```

mod accumulate;
mod adamw;
mod config;
#[cfg(test)]
mod golden_tests;
mod group;
mod lars;
mod optimizer;
mod schedule;
mod sgd;
mod velocities;

pub use accumulate::Accumulator;
pub use adamw::AdamWConfig;
pub use config::OptimizerConfig;
pub(crate) use config::check;
pub use group::ParameterGroup;
pub use lars::LarsConfig;
pub use optimizer::{LearningRate, Optimizer};
pub use schedule::{CosineConfig, Schedule, cosine_schedule};
pub use sgd::SgdConfig;

/// How far a training is, in updates of the optimiser.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress {
    /// The number of the update at hand, from 0: as many were made before it.
    pub step: u64,
    /// Updates of the whole training.
    pub steps: u64,
    /// Updates of one epoch.
    pub steps_per_epoch: u64,
}
