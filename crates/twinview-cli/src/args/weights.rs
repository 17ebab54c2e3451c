//! Commands that use weights.

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use twinview::embedding::Metric;
use twinview::training::KnnProbe;

use super::shared::{DataArgs, DeviceArgs, LabelArgs, SplitName};

#[derive(Args)]
pub(crate) struct EvaluateArgs {
    /// Weights of a classifier, or of any encoder with --knn: a file or a run directory
    #[arg(long, value_name = "FILE|RUN")]
    pub(crate) weights: PathBuf,
    /// Let the K nearest training images vote instead of asking a head; 20 and 200 are usual
    #[arg(long, value_name = "K")]
    pub(crate) knn: Option<usize>,
    /// How much nearer images count more in that vote: smaller for more
    #[arg(long, requires = "knn", default_value_t = KnnProbe::default().temperature)]
    pub(crate) temperature: f32,
    #[command(flatten)]
    pub(crate) labels: LabelArgs,
    #[command(flatten)]
    pub(crate) data: DataArgs,
    #[command(flatten)]
    pub(crate) device: DeviceArgs,
    /// The split to evaluate on
    #[arg(long, value_enum, default_value = "test")]
    pub(crate) split: SplitName,
    /// Print class names instead of numbers
    #[arg(long)]
    pub(crate) class_names: bool,
    /// Print one object as of scikit-learn's classification_report(output_dict=True)
    #[arg(long)]
    pub(crate) json: bool,
    /// Folder for confusion.png and predictions.png
    #[arg(long, value_name = "DIR")]
    pub(crate) figures: Option<PathBuf>,
}

#[derive(Args)]
pub(crate) struct PredictArgs {
    /// Weights of a classifier: a file or a run directory
    #[arg(long, value_name = "FILE|RUN")]
    pub(crate) weights: PathBuf,
    #[command(flatten)]
    pub(crate) data: DataArgs,
    #[command(flatten)]
    pub(crate) device: DeviceArgs,
    /// The images to name [default: pool, then test]
    #[arg(long, value_enum)]
    pub(crate) split: Option<SplitName>,
    /// A column more for each class: how probable it is
    #[arg(long)]
    pub(crate) probabilities: bool,
    /// The table [default: standard output]
    #[arg(long, value_name = "FILE")]
    pub(crate) out: Option<PathBuf>,
}

#[derive(Args)]
pub(crate) struct SelectArgs {
    /// Weights with an encoder: a file or a run directory
    #[arg(long, value_name = "FILE|RUN")]
    pub(crate) weights: PathBuf,
    /// Images to choose
    #[arg(long, value_name = "K")]
    pub(crate) count: usize,
    #[command(flatten)]
    pub(crate) data: DataArgs,
    #[command(flatten)]
    pub(crate) device: DeviceArgs,
    /// What the groups' first centres are drawn by
    #[arg(long, default_value_t = 0)]
    pub(crate) seed: u64,
    /// The table [default: standard output]
    #[arg(long, value_name = "FILE")]
    pub(crate) out: Option<PathBuf>,
}

#[derive(Args)]
pub(crate) struct SearchArgs {
    /// Weights with an encoder: a file or a run directory
    #[arg(long, value_name = "FILE|RUN")]
    pub(crate) weights: PathBuf,
    /// What others shall be like: an image of the split by its file or its number, or any picture; repeat for more
    #[arg(long = "image", value_name = "NAME|FILE", required = true)]
    pub(crate) images: Vec<String>,
    /// Images to find for each
    #[arg(long, value_name = "K", default_value_t = 9)]
    pub(crate) count: usize,
    #[command(flatten)]
    pub(crate) data: DataArgs,
    #[command(flatten)]
    pub(crate) device: DeviceArgs,
    /// The images to search [default: pool]
    #[arg(long, value_enum)]
    pub(crate) split: Option<SplitName>,
    /// How features are compared
    #[arg(long, value_enum, default_value = "cosine")]
    pub(crate) metric: MetricName,
    /// The table [default: standard output]
    #[arg(long, value_name = "FILE")]
    pub(crate) out: Option<PathBuf>,
    /// A picture with a row for each image asked for
    #[arg(long, value_name = "FILE")]
    pub(crate) figure: Option<PathBuf>,
}

#[derive(Clone, Copy, ValueEnum)]
pub(crate) enum MetricName {
    Cosine,
    Euclidean,
}

impl From<MetricName> for Metric {
    fn from(name: MetricName) -> Self {
        match name {
            MetricName::Cosine => Self::Cosine,
            MetricName::Euclidean => Self::Euclidean,
        }
    }
}

#[derive(Args)]
pub(crate) struct EmbedArgs {
    /// Weights with an encoder: a file or a run directory
    #[arg(long, value_name = "FILE|RUN")]
    pub(crate) weights: PathBuf,
    #[command(flatten)]
    pub(crate) data: DataArgs,
    #[command(flatten)]
    pub(crate) device: DeviceArgs,
    /// The images to embed [default: test where there are any, pool otherwise]
    #[arg(long, value_enum)]
    pub(crate) split: Option<SplitName>,
    /// Embed the first K images only
    #[arg(long, value_name = "K")]
    pub(crate) first_k: Option<usize>,
    /// Dimensions of the map
    #[arg(long, default_value_t = 3)]
    pub(crate) components: usize,
    /// Neighbours that define an image's surroundings
    #[arg(long, default_value_t = 10)]
    pub(crate) neighbors: usize,
    /// How features are compared
    #[arg(long, value_enum, default_value = "cosine")]
    pub(crate) metric: MetricName,
    /// What the map's random choices come from
    #[arg(long, default_value_t = 0)]
    pub(crate) seed: u64,
    /// Folder for features.npy, umap.csv and umap.png
    #[arg(long, value_name = "DIR")]
    pub(crate) out: PathBuf,
}

#[derive(Args)]
pub(crate) struct ConvertArgs {
    /// Weights: safetensors, a PyTorch state dict, or a run directory
    #[arg(value_name = "FILE|RUN")]
    pub(crate) weights: PathBuf,
    /// The file to write: safetensors, or ONNX if its name ends in .onnx
    #[arg(long, value_name = "FILE")]
    pub(crate) out: PathBuf,
    /// Keep the encoder alone
    #[arg(long)]
    pub(crate) backbone_only: bool,
}
