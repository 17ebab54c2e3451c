//! Experiments of several trainings, and the benchmark.

use std::path::PathBuf;

use clap::Args;

use super::shared::{BackboneArgs, DataArgs, DeviceArgs, MethodName, PresetName, RecipeArgs, ReportArgs, method_name};

#[derive(Args)]
pub(crate) struct MethodsArgs {
    /// The methods, separated by commas [default: all]
    #[arg(long, value_parser = method_name(), value_delimiter = ',')]
    pub(crate) methods: Vec<MethodName>,
    #[command(flatten)]
    pub(crate) backbone: BackboneArgs,
    /// Most epochs of a pretraining; recipes that are longer are cut
    #[arg(long, default_value_t = 20)]
    pub(crate) epochs: u64,
    /// Pretrainings of each method
    #[arg(long, default_value_t = 1)]
    pub(crate) seeds: u64,
    /// The first K training images, from which the linear probe learns
    #[arg(long, value_name = "K", default_value_t = 1000)]
    pub(crate) first_k: usize,
    #[command(flatten)]
    pub(crate) data: DataArgs,
    /// Run directory
    #[arg(long, value_name = "DIR", default_value = "runs/methods")]
    pub(crate) run: PathBuf,
    #[command(flatten)]
    pub(crate) device: DeviceArgs,
    #[command(flatten)]
    pub(crate) report: ReportArgs,
    /// Print the scores as JSON
    #[arg(long)]
    pub(crate) json: bool,
    /// One setting of every pretraining, such as batch_size=512; repeat for more
    #[arg(long = "set", value_name = "KEY=VALUE")]
    pub(crate) changes: Vec<String>,
}

#[derive(Args)]
pub(crate) struct LabelsArgs {
    /// The method that pretrains
    #[arg(long, value_parser = method_name(), default_value = "simclr")]
    pub(crate) method: MethodName,
    #[command(flatten)]
    pub(crate) backbone: BackboneArgs,
    /// Run directory of an encoder that is pretrained already; repeat for more seeds of it
    #[arg(long = "encoder", value_name = "RUN", conflicts_with_all = ["method", "backbone"])]
    pub(crate) encoders: Vec<PathBuf>,
    /// Trainings of each arm at each budget [default: 3, or one for each encoder where they are more]
    #[arg(long)]
    pub(crate) seeds: Option<u64>,
    /// Folder with the dataset's files
    #[arg(long, value_name = "DIR")]
    pub(crate) data: Option<PathBuf>,
    /// Dataset [default: fashion-mnist]
    #[arg(long)]
    pub(crate) dataset: Option<String>,
    /// Run directory [default: runs/labels-METHOD]
    #[arg(long, value_name = "DIR")]
    pub(crate) run: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) device: DeviceArgs,
    #[command(flatten)]
    pub(crate) report: ReportArgs,
    /// Print the scores as JSON
    #[arg(long)]
    pub(crate) json: bool,
    #[command(flatten)]
    pub(crate) recipe: RecipeArgs,
}

#[derive(Args)]
pub(crate) struct ReproduceArgs {
    /// Settings to start from
    #[arg(long, value_enum, default_value = "quick")]
    pub(crate) preset: PresetName,
    /// Trainings of each arm [default: the preset's]
    #[arg(long)]
    pub(crate) seeds: Option<u64>,
    /// Folder with the dataset's files
    #[arg(long, value_name = "DIR")]
    pub(crate) data: Option<PathBuf>,
    /// Dataset [default: the preset's]
    #[arg(long)]
    pub(crate) dataset: Option<String>,
    /// Run directory [default: runs/reproduce-PRESET]
    #[arg(long, value_name = "DIR")]
    pub(crate) run: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) device: DeviceArgs,
    #[command(flatten)]
    pub(crate) report: ReportArgs,
    /// Print the report as JSON
    #[arg(long)]
    pub(crate) json: bool,
    #[command(flatten)]
    pub(crate) recipe: RecipeArgs,
}

#[derive(Args)]
pub(crate) struct BenchArgs {
    /// What is timed
    #[arg(long, value_parser = method_name(), default_value = "simsiam")]
    pub(crate) method: MethodName,
    #[command(flatten)]
    pub(crate) backbone: BackboneArgs,
    /// Whose views and optimiser are timed
    #[arg(long, value_enum, default_value = "article")]
    pub(crate) recipe: PresetName,
    /// One setting of the method or the encoder: backbone.width=16; may be repeated
    #[arg(long = "set", value_name = "KEY=VALUE")]
    pub(crate) changes: Vec<String>,
    #[command(flatten)]
    pub(crate) data: DataArgs,
    #[command(flatten)]
    pub(crate) device: DeviceArgs,
    /// Images a step
    #[arg(long, default_value_t = 256)]
    pub(crate) batch: usize,
    /// Steps to time, after 8 to warm up
    #[arg(long, default_value_t = 60)]
    pub(crate) steps: usize,
    /// Images that features are extracted from [default: all for training]
    #[arg(long, value_name = "COUNT")]
    pub(crate) extract: Option<usize>,
    /// Print one line of JSON
    #[arg(long)]
    pub(crate) json: bool,
}
