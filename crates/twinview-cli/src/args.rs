//! The command line.

use std::path::PathBuf;

use clap::builder::{PossibleValuesParser, TypedValueParser};
use clap::{Args, Parser, Subcommand, ValueEnum};
use twinview::embedding::Metric;
use twinview::experiment::{METHODS, method_recipe};
use twinview::training::KnnProbe;

/// Learn from images nobody labelled.
#[derive(Parser)]
#[command(name = "twinview", version = crate::settings::VERSION, about, long_about = None, arg_required_else_help = true)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Subcommand)]
pub(crate) enum Command {
    /// The article's comparison, start to finish, with controls and a report
    ///
    /// Interrupted or killed, it goes on where it was when it is run again.
    Reproduce(ReproduceArgs),
    /// Get a dataset, look at it
    Data {
        #[command(subcommand)]
        command: DataCommand,
    },
    /// Train a classifier with labels
    Train(TrainArgs),
    /// Train an encoder without labels
    Pretrain(PretrainArgs),
    /// Train a head on a frozen encoder
    Probe(ProbeArgs),
    /// Train a pretrained encoder and a head on labels, both
    Finetune(FinetuneArgs),
    /// Train a classifier on its own predictions for all training images
    Selftrain(SelftrainArgs),
    /// Comparisons of your own
    Experiment {
        #[command(subcommand)]
        command: ExperimentCommand,
    },
    /// Classification report, confusion matrix and prediction grid of a classifier
    Evaluate(EvaluateArgs),
    /// Features of a split, their UMAP and a scatter plot
    Embed(EmbedArgs),
    /// Weights from PyTorch (.pt, .pth) or safetensors into Twinview's form
    Import(ConvertArgs),
    /// Weights of a run as safetensors with PyTorch's names
    Export(ConvertArgs),
    /// Time the parts of a pretraining step
    Bench(BenchArgs),
}

#[derive(Subcommand)]
pub(crate) enum DataCommand {
    /// Find a dataset or download it, and say where it lies
    Fetch(DataArgs),
    /// Class counts and a picture of 16 images
    Show(ShowArgs),
}

#[derive(Subcommand)]
pub(crate) enum ExperimentCommand {
    /// How many labels an encoder saves: a method and its controls at every budget of labels
    ///
    /// Interrupted or killed, it goes on where it was when it is run again.
    Labels(LabelsArgs),
    /// Every method under the same questions: kNN accuracy and a linear probe, beside random encoders
    ///
    /// Interrupted or killed, it goes on where it was when it is run again.
    Methods(MethodsArgs),
}

#[derive(Args)]
pub(crate) struct MethodsArgs {
    /// The methods, separated by commas [default: all]
    #[arg(long, value_parser = method_name(), value_delimiter = ',')]
    pub(crate) methods: Vec<MethodName>,
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
    /// Trainings of each arm at each budget [default: 3]
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
    /// Print the scores as JSON
    #[arg(long)]
    pub(crate) json: bool,
    #[command(flatten)]
    pub(crate) recipe: RecipeArgs,
}

/// Which dataset, and where it is.
#[derive(Args, Clone)]
pub(crate) struct DataArgs {
    /// fashion-mnist, mnist, kmnist, or shapes, which the program draws itself [default: what the weights were
    /// trained on, or fashion-mnist]
    #[arg(long)]
    pub(crate) dataset: Option<String>,
    /// Folder with the dataset's files; otherwise TWINVIEW_DATA, the system, the cache and the net are tried
    #[arg(long, value_name = "DIR")]
    pub(crate) data: Option<PathBuf>,
}

#[derive(Clone, Copy, ValueEnum)]
pub(crate) enum SplitName {
    Train,
    Test,
}

#[derive(Args)]
pub(crate) struct ShowArgs {
    #[command(flatten)]
    pub(crate) data: DataArgs,
    /// Which split the picture shows
    #[arg(long, value_enum, default_value = "train")]
    pub(crate) split: SplitName,
    /// The picture
    #[arg(long, value_name = "FILE", default_value = "dataset.png")]
    pub(crate) out: PathBuf,
}

#[derive(Clone, Copy, ValueEnum)]
pub(crate) enum PresetName {
    /// The settings of the article's listing
    Article,
    /// The same story in minutes
    Quick,
}

/// Where settings come from.
#[derive(Args)]
pub(crate) struct RecipeArgs {
    /// TOML file with settings that differ from the defaults
    #[arg(long, value_name = "FILE")]
    pub(crate) recipe: Option<PathBuf>,
    /// One setting, such as optimizer.momentum=0.8; repeat for more
    #[arg(long = "set", value_name = "KEY=VALUE")]
    pub(crate) changes: Vec<String>,
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
    /// Print the report as JSON
    #[arg(long)]
    pub(crate) json: bool,
    #[command(flatten)]
    pub(crate) recipe: RecipeArgs,
}

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
    /// Show no progress
    #[arg(long, short)]
    pub(crate) quiet: bool,
    #[command(flatten)]
    pub(crate) recipe: RecipeArgs,
}

/// Which training images have labels.
#[derive(Args, Clone)]
pub(crate) struct LabelArgs {
    /// Use the labels of the first K training images only
    #[arg(long, value_name = "K", conflicts_with = "stratified")]
    pub(crate) first_k: Option<usize>,
    /// Use K labels, as many of each class, chosen by the seed
    #[arg(long, value_name = "K")]
    pub(crate) stratified: Option<usize>,
}

#[derive(Args)]
pub(crate) struct TrainArgs {
    #[command(flatten)]
    pub(crate) run: RunArgs,
    #[command(flatten)]
    pub(crate) labels: LabelArgs,
}

/// A method that there is a recipe of.
#[derive(Clone, Copy)]
pub(crate) struct MethodName(pub(crate) &'static str);

impl MethodName {
    /// Its recipe.
    pub(crate) fn recipe(self) -> &'static str {
        method_recipe(self.0).unwrap_or_default()
    }
}

fn method_name() -> impl TypedValueParser<Value = MethodName> {
    let known = |name: String| METHODS.iter().find(|(known, _)| *known == name).map(|(known, _)| MethodName(known));
    PossibleValuesParser::new(METHODS.map(|(name, _)| name))
        .try_map(move |name| known(name).ok_or("no method of this name"))
}

#[derive(Args)]
pub(crate) struct PretrainArgs {
    /// How the views of an image are contrasted; each method has settings of its own
    #[arg(long, value_parser = method_name(), default_value = "simsiam")]
    pub(crate) method: MethodName,
    #[command(flatten)]
    pub(crate) run: RunArgs,
}

#[derive(Args)]
pub(crate) struct BenchArgs {
    /// What is timed
    #[arg(long, value_parser = method_name(), default_value = "simsiam")]
    pub(crate) method: MethodName,
    /// Whose views and optimiser are timed
    #[arg(long, value_enum, default_value = "article")]
    pub(crate) recipe: PresetName,
    #[command(flatten)]
    pub(crate) data: DataArgs,
    /// Images a step
    #[arg(long, default_value_t = 256)]
    pub(crate) batch: usize,
    /// Steps to time, after 8 to warm up
    #[arg(long, default_value_t = 60)]
    pub(crate) steps: usize,
    /// Print one line of JSON
    #[arg(long)]
    pub(crate) json: bool,
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
    #[arg(long, value_name = "FILE|RUN")]
    pub(crate) weights: Option<PathBuf>,
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
    /// Weights of the classifier that teaches, and that the student begins as: a file or a run directory
    #[arg(long, value_name = "FILE|RUN")]
    pub(crate) weights: PathBuf,
    #[command(flatten)]
    pub(crate) run: RunArgs,
    #[command(flatten)]
    pub(crate) labels: LabelArgs,
}

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
    /// The split to embed
    #[arg(long, value_enum, default_value = "test")]
    pub(crate) split: SplitName,
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
    /// The safetensors file to write
    #[arg(long, value_name = "FILE")]
    pub(crate) out: PathBuf,
    /// Keep the encoder alone
    #[arg(long)]
    pub(crate) backbone_only: bool,
}
