//! The training loop, and what makes it survive: run directories, checkpoints, resume.
//!
//! ```
//! use std::sync::atomic::AtomicBool;
//!
//! use twinview::backbone::initialise;
//! use twinview::dataset::{self, Request};
//! use twinview::method::ClassifierConfig;
//! use twinview::tracking::{Quiet, Tracking};
//! use twinview::training::{self, Context, Origin, Plan, RunDir};
//!
//! # let folder = tempfile::tempdir().unwrap();
//! # let path = folder.path().join("run");
//! let data = dataset::open(&Request { shapes: (60, 20), ..Request::new("shapes") }, &mut |_| {})?;
//! let plan = Plan::new(1, 20, 0.01);
//! let run = RunDir::open(&path, &plan, false, &Origin::new("example", &data))?;
//! let (interrupt, tracking) = (AtomicBool::new(false), Tracking::default());
//! let mut context =
//!     Context { device: training::cpu(), interrupt: &interrupt, reporter: &mut Quiet, tracking: &tracking };
//!
//! let model = initialise(ClassifierConfig::article().init(&context.device), plan.seed);
//! let model = training::train_classifier(model, "Example", &data.train, &plan, &run, &mut context)?;
//! assert!(run.is_finished());
//! assert_eq!(training::predict(&model, &data.test.images)?.len(), 20);
//! # Ok::<(), twinview::Error>(())
//! ```

mod awake;
mod checkpoint;
mod device;
mod fit;
#[cfg(test)]
mod fit_tests;
mod knn_probe;
mod linear_probe;
mod loading;
mod plan;
mod pretrain;
mod probe;
mod run_dir;
mod self_training;
mod shown;
mod supervised;
mod watch;

pub(crate) use awake::awake;
pub use checkpoint::{Checkpoint, Position};
pub(crate) use device::is_cpu;
pub use device::{DeviceName, cpu, name_of};
pub use knn_probe::KnnProbe;
pub use linear_probe::fit_linear_head;
pub use loading::{load_backbone, load_weights, open_weights};
pub use plan::Plan;
pub use pretrain::{LocalViews, Pretraining, pretrain};
pub use probe::{HeadPlan, Statistics, calibrate, train_head};
pub use run_dir::{Origin, RunDir};
pub use self_training::{SelfTraining, alike, mean_probabilities, self_train, smoothed};
pub use supervised::{labels_of, logits, predict, to_tensor, train_classifier};
pub use watch::Watch;

use std::sync::atomic::{AtomicBool, Ordering};

pub use burn::tensor::Device;

use crate::tracking::{Reporter, Tracking};

/// What every training needs from outside.
pub struct Context<'a> {
    /// Where tensors live, with automatic differentiation.
    pub device: Device,
    /// Becomes true when the user asks to stop.
    pub interrupt: &'a AtomicBool,
    /// Who is told how it goes.
    pub reporter: &'a mut dyn Reporter,
    /// Where runs are logged.
    pub tracking: &'a Tracking,
}

impl Context<'_> {
    /// Whether the user asked to stop.
    pub fn is_interrupted(&self) -> bool {
        self.interrupt.load(Ordering::Relaxed)
    }
}
