//! Telling people and files how a training goes.
//!
//! People are told by a [`Reporter`]: progress on a terminal, lines in a log. Files are written by any number of [`Sink`]s:
//! `metrics.jsonl` always, and what [`Tracking`] asks for. A [`Tracker`] holds the sinks of one training.
//!
//! ```
//! use twinview::tracking::{Entry, MetricsLog, Sink};
//!
//! # let folder = tempfile::tempdir().unwrap();
//! # let path = folder.path().join("metrics.jsonl");
//! let mut log = MetricsLog::resume(&path, 0)?;
//! log.log(10, &[Entry::Epoch(vec![("loss", 0.5)])])?;
//! log.log(20, &[Entry::Epoch(vec![("loss", 0.25)])])?;
//! assert_eq!(std::fs::read_to_string(&path).unwrap().lines().count(), 2);
//! # Ok::<(), twinview::Error>(())
//! ```

mod colour;
mod entry;
mod environment;
mod jsonl;
mod mlflow;
mod secrets;
mod tensorboard;
mod terminal;
#[cfg(test)]
mod tests;
mod tracker;
mod wandb;

pub use colour::has_colours;
pub use entry::{Entry, Histogram, Picture};
pub use environment::Environment;
pub use jsonl::MetricsLog;
pub use mlflow::MlFlow;
pub use tensorboard::TensorBoard;
pub use terminal::{Detail, Terminal};
pub use tracker::{Ending, Sink, SinkKind, TrackedRun, Tracker, Tracking};
pub use wandb::WandB;

use crate::evaluation::Verdict;

/// Listens to long work.
pub trait Reporter {
    /// A piece of work begins: `steps` in all, `done` of them before an interruption.
    fn start(&mut self, label: &str, steps: u64, done: u64);
    /// A step was made on `images` images, with `loss`.
    fn step(&mut self, images: usize, loss: f64);
    /// An epoch ended.
    fn epoch(&mut self, news: &EpochNews<'_>);
    /// Something to know, beside the progress.
    fn message(&mut self, text: &str);
    /// The piece of work is over.
    fn finish(&mut self);
}

/// What is known at the end of an epoch.
#[derive(Clone, Copy, Debug)]
pub struct EpochNews<'a> {
    /// How it went, in a few words.
    pub summary: &'a str,
    /// What was measured, by name.
    pub values: &'a [(&'static str, f64)],
    /// How the run stands, where that is watched.
    pub health: Option<Verdict>,
}

/// Says nothing.
#[derive(Clone, Copy, Debug, Default)]
pub struct Quiet;

impl Reporter for Quiet {
    fn start(&mut self, _label: &str, _steps: u64, _done: u64) {}
    fn step(&mut self, _images: usize, _loss: f64) {}
    fn epoch(&mut self, _news: &EpochNews<'_>) {}
    fn message(&mut self, _text: &str) {}
    fn finish(&mut self) {}
}
