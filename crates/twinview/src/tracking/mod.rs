//! Telling people and files how a training goes.

mod jsonl;
mod terminal;

pub use jsonl::MetricsLog;
pub use terminal::Terminal;

/// Listens to long work.
pub trait Reporter {
    /// A piece of work begins: `steps` in all, `done` of them before an interruption.
    fn start(&mut self, label: &str, steps: u64, done: u64);
    /// A step was made on `images` images, with `loss`.
    fn step(&mut self, images: usize, loss: f64);
    /// An epoch ended; `summary` says how, in a few words.
    fn epoch(&mut self, summary: &str);
    /// Something to know, beside the progress.
    fn message(&mut self, text: &str);
    /// The piece of work is over.
    fn finish(&mut self);
}

/// Says nothing.
#[derive(Clone, Copy, Debug, Default)]
pub struct Quiet;

impl Reporter for Quiet {
    fn start(&mut self, _label: &str, _steps: u64, _done: u64) {}
    fn step(&mut self, _images: usize, _loss: f64) {}
    fn epoch(&mut self, _summary: &str) {}
    fn message(&mut self, _text: &str) {}
    fn finish(&mut self) {}
}
