//! Commands that train.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

use super::shared::{BackboneArgs, DataArgs, DeviceArgs, LabelArgs, MethodName, RecipeArgs, ReportArgs, method_name};

/// What every training command takes.
#[derive(Args)]
pub(crate) struct RunArgs {
    #[command(flatten)]
    pub(crate) data: DataArgs,
    /// Run directory
    #[arg(long, value_name = "DIR")]
    pub(crate) run: PathBuf,
    /// Go on with the run in --run; its settings must be the same
    #[arg(long)]
    pub(crate) resume: bool,
    /// Passes over the images
    #[arg(long)]
    pub(crate) epochs: Option<u64>,
    /// Images in one training step
    #[arg(long)]
    pub(crate) batch_size: Option<usize>,
    /// Step size
    #[arg(long, allow_negative_numbers = true)]
    pub(crate) learning_rate: Option<f32>,
    /// What all randomness comes from
    #[arg(long, value_parser = clap::value_parser!(u64).range(..=i64::MAX as u64))]
    pub(crate) seed: Option<u64>,
    #[command(flatten)]
    pub(crate) device: DeviceArgs,
    #[command(flatten)]
    pub(crate) report: ReportArgs,
    #[command(flatten)]
    pub(crate) recipe: RecipeArgs,
}

#[derive(Args)]
pub(crate) struct TrainArgs {
    #[command(flatten)]
    pub(crate) backbone: BackboneArgs,
    #[command(flatten)]
    pub(crate) run: RunArgs,
    #[command(flatten)]
    pub(crate) labels: LabelArgs,
}

#[derive(Args)]
pub(crate) struct PretrainArgs {
    /// How the views of an image are contrasted; each method has settings of its own
    #[arg(long, value_parser = method_name(), default_value = "simsiam")]
    pub(crate) method: MethodName,
    #[command(flatten)]
    pub(crate) backbone: BackboneArgs,
    #[command(flatten)]
    pub(crate) run: RunArgs,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum HeadName {
    /// The article's: two layers, trained by SGD
    Mlp,
    /// Logistic regression, its penalty chosen by cross-validation on the labels; it has no plan
    Linear,
}

#[derive(Args)]
pub(crate) struct ProbeArgs {
    /// What is put on the encoder
    #[arg(long, value_enum, default_value = "mlp")]
    pub(crate) head: HeadName,
    /// Weights with the encoder: a file or a run directory; random ones where absent, as a control
    #[arg(long, value_name = "FILE|RUN", conflicts_with = "backbone")]
    pub(crate) weights: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) backbone: BackboneArgs,
    #[command(flatten)]
    pub(crate) run: RunArgs,
    #[command(flatten)]
    pub(crate) labels: LabelArgs,
}

#[derive(Args)]
pub(crate) struct FinetuneArgs {
    /// Weights with the encoder: a file or a run directory. A linear head of theirs is gone on with
    #[arg(long, value_name = "FILE|RUN")]
    pub(crate) weights: PathBuf,
    #[command(flatten)]
    pub(crate) run: RunArgs,
    #[command(flatten)]
    pub(crate) labels: LabelArgs,
}

#[derive(Args)]
pub(crate) struct SelftrainArgs {
    /// Weights of the classifier that teaches: a file or a run directory. Repeat for more teachers, whose probabilities are
    /// averaged; the student begins as the first
    #[arg(long, required = true, value_name = "FILE|RUN")]
    pub(crate) weights: Vec<PathBuf>,
    #[command(flatten)]
    pub(crate) run: RunArgs,
    #[command(flatten)]
    pub(crate) labels: LabelArgs,
}
