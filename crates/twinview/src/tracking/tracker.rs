//! All sinks of a run at once, none of which can stop it.

use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::secrets::Secrets;
use super::{Entry, Environment, MetricsLog, MlFlow, Reporter, TensorBoard, WandB};
use crate::{Error, Result, files};

/// Where a run is logged.
///
/// A sink is opened for a run that goes on after some step: what it holds of later steps is taken out then, because those
/// steps are made again.
pub trait Sink {
    /// Logs what became known at `step`; called once for a step, with rising steps.
    ///
    /// # Errors
    /// When it cannot be written; the sink is not called again.
    fn log(&mut self, step: u64, entries: &[Entry]) -> Result<()>;

    /// The training is over; gives what the user should know.
    ///
    /// # Errors
    /// When it cannot be written.
    fn finish(&mut self, _ending: Ending) -> Result<Option<String>> {
        Ok(None)
    }
}

/// How a training ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// All steps were made.
    Finished,
    /// The user stopped it; it may be gone on with.
    Stopped,
    /// An error ended it.
    Failed,
}

/// The sinks that there are besides `metrics.jsonl`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SinkKind {
    /// TensorBoard's event files.
    TensorBoard,
    /// The folder of an offline run of Weights & Biases.
    WandB,
    /// MLflow's file store.
    MlFlow,
}

impl SinkKind {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::TensorBoard, Self::WandB, Self::MlFlow];

    /// What it is called in settings.
    pub fn name(self) -> &'static str {
        match self {
            Self::TensorBoard => "tensorboard",
            Self::WandB => "wandb",
            Self::MlFlow => "mlflow",
        }
    }
}

/// How runs are logged. It is no part of what a run is: a run may be gone on with under another one.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Tracking {
    /// The sinks besides `metrics.jsonl`.
    pub sinks: Vec<SinkKind>,
    /// The folder for all runs; each run's own directory where absent.
    pub folder: Option<PathBuf>,
    /// Whether finished runs are sent to W&B, by the program `wandb`.
    pub upload: bool,
    /// The command that trains, as it was typed.
    #[serde(skip)]
    pub command: String,
}

/// A run as its sinks know it.
#[derive(Clone, Debug, PartialEq)]
pub struct TrackedRun {
    /// 32 hexadecimal digits that no other run has.
    pub id: String,
    /// Seconds since 1970 when the run was begun.
    pub started: f64,
    /// The path of its directory.
    pub name: String,
    /// What is trained, in words.
    pub label: String,
    /// The settings, as TOML.
    pub settings: String,
    /// The command that began it or went on with it.
    pub command: String,
    /// What it runs on.
    pub environment: Environment,
}

/// What stays of a run's identity on disk, so that a resumed run is still the same to every sink.
#[derive(Serialize, Deserialize)]
struct Identity {
    id: String,
    started: f64,
}

impl TrackedRun {
    /// The run in the directory `folder` with its `settings`, by the program `version`; without any secret that this process
    /// knows of.
    ///
    /// # Errors
    /// When the identity in `tracking.json` can be neither read nor written.
    pub fn open(folder: &Path, label: &str, settings: &str, version: &str, command: &str) -> Result<Self> {
        let file = folder.join("tracking.json");
        let stored = std::fs::read(&file).ok().and_then(|bytes| serde_json::from_slice::<Identity>(&bytes).ok());
        let Identity { id, started } = match stored {
            Some(identity) => identity,
            None => {
                let started = now();
                let seed = format!("{started:?} {} {}", std::process::id(), folder.display());
                let digest = Sha256::digest(seed);
                let id = digest.iter().take(16).map(|byte| format!("{byte:02x}")).collect();
                let identity = Identity { id, started };
                let text = serde_json::to_string(&identity).unwrap_or_default();
                files::write_atomic(&file, text.as_bytes())?;
                identity
            }
        };
        let secrets = Secrets::known();
        Ok(Self {
            id,
            started,
            name: secrets.scrub(&folder.display().to_string()),
            label: secrets.scrub(label),
            settings: secrets.scrub(settings),
            command: secrets.scrub(command),
            environment: Environment::here(version),
        })
    }

    /// `name` as one part of a path.
    pub(super) fn file_name(&self) -> String {
        let is_plain = |c: char| c.is_alphanumeric() || "._-".contains(c);
        let plain: String = self.name.chars().map(|c| if is_plain(c) { c } else { '-' }).collect();
        plain.trim_matches(['-', '.']).to_owned()
    }
}

/// Seconds since 1970.
pub(super) fn now() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0.0, |time| time.as_secs_f64())
}

/// Points of a curve by updates, at most; more are more than a screen has pixels.
const POINTS: u64 = 2000;

/// The sinks of one training. A sink that fails is reported once and then left alone.
pub struct Tracker {
    sinks: Vec<(&'static str, Box<dyn Sink>)>,
    every: u64,
    shows: bool,
}

impl Tracker {
    /// The sinks of a run in `folder` that goes on after `step` of `steps`. `describe` is asked what the run is when a sink
    /// besides `metrics.jsonl` wants to know.
    pub fn open(
        tracking: &Tracking,
        folder: &Path,
        (step, steps): (u64, u64),
        describe: impl FnOnce() -> Result<TrackedRun>,
        reporter: &mut dyn Reporter,
    ) -> Self {
        let mut tracker = Self { sinks: Vec::new(), every: steps.div_ceil(POINTS).max(1), shows: false };
        let metrics = MetricsLog::resume(folder.join("metrics.jsonl"), step);
        tracker.add("metrics.jsonl", metrics.map(|log| Box::new(log) as Box<dyn Sink>), reporter);
        if tracking.sinks.is_empty() {
            return tracker;
        }
        let run = describe();
        for &kind in &tracking.sinks {
            let open = |run: &TrackedRun| -> Result<Box<dyn Sink>> {
                let place = |name: &str| tracking.folder.as_deref().unwrap_or(folder).join(name);
                Ok(match kind {
                    SinkKind::TensorBoard => {
                        let shared = tracking.folder.as_ref().map(|_| run.file_name()).unwrap_or_default();
                        Box::new(TensorBoard::open(&place("tensorboard").join(shared), run, step)?)
                    }
                    SinkKind::WandB => Box::new(WandB::open(&place("wandb"), run, step, tracking.upload)?),
                    SinkKind::MlFlow => Box::new(MlFlow::open(&place("mlruns"), run, step)?),
                })
            };
            // One description serves all, and so does its error.
            let sink = run.as_ref().map_err(|error| Error::Config(error.to_string())).and_then(open);
            tracker.add(kind.name(), sink, reporter);
        }
        tracker.shows = tracker.sinks.iter().any(|(name, _)| *name != "metrics.jsonl");
        tracker
    }

    fn add(&mut self, name: &'static str, sink: Result<Box<dyn Sink>>, reporter: &mut dyn Reporter) {
        match sink {
            Ok(sink) => self.sinks.push((name, sink)),
            Err(error) => reporter.message(&warning(name, &error)),
        }
    }

    /// Whether anybody looks at pictures, histograms and embeddings, which take time to make.
    pub fn shows(&self) -> bool {
        self.shows
    }

    /// Tells every sink what became known at `step`.
    pub fn log(&mut self, step: u64, mut entries: Vec<Entry>, reporter: &mut dyn Reporter) {
        if !step.is_multiple_of(self.every) {
            entries.retain(|entry| !matches!(entry, Entry::Update { .. }));
        }
        if entries.is_empty() {
            return;
        }
        self.sinks.retain_mut(|(name, sink)| {
            let logged = sink.log(step, &entries);
            logged.inspect_err(|error| reporter.message(&warning(name, error))).is_ok()
        });
    }

    /// Tells every sink how the training ended.
    pub fn finish(mut self, ending: Ending, reporter: &mut dyn Reporter) {
        for (name, mut sink) in std::mem::take(&mut self.sinks) {
            match sink.finish(ending) {
                Ok(note) => note.into_iter().for_each(|note| reporter.message(&note)),
                Err(error) => reporter.message(&format!("warning: {name}: {error}")),
            }
        }
    }
}

impl Drop for Tracker {
    /// A training that ends without a word has failed, and its own error is what the user reads.
    fn drop(&mut self) {
        self.sinks.iter_mut().for_each(|(_, sink)| drop(sink.finish(Ending::Failed)));
    }
}

fn warning(name: &str, error: &Error) -> String {
    format!("warning: {name} logs no more of this run, which goes on: {error}")
}
