//! What several commands take.

use std::borrow::Cow;
use std::path::PathBuf;

use clap::builder::{PossibleValuesParser, TypedValueParser};
use clap::{Args, ValueEnum};
use twinview::Result;
use twinview::backbone::Architecture;
use twinview::dataset::Part;
use twinview::experiment::{METHODS, method_recipe_on};
use twinview::tracking::SinkKind;
use twinview::training::{Device, DeviceName};

/// Which dataset, and where it is.
#[derive(Args, Clone)]
pub(crate) struct DataArgs {
    /// fashion-mnist, mnist, kmnist; shapes, which the program draws itself; or for pictures in --data folder:SIDE or
    /// folder:SIDE:grey, where SIDE is what they are brought to in pixels [default: what the weights were trained on;
    /// folder:64 where --data holds pictures; or fashion-mnist]
    #[arg(long)]
    pub(crate) dataset: Option<String>,
    /// Folder with the dataset's files, or with pictures; otherwise TWINVIEW_DATA, the system, the cache and the net are tried
    #[arg(long, value_name = "DIR")]
    pub(crate) data: Option<PathBuf>,
}

#[derive(Clone, Copy, ValueEnum)]
pub(crate) enum SplitName {
    /// Labelled images to train on
    Train,
    /// What is read once, at the end
    Test,
    /// Images without a label
    Unlabelled,
    /// Training images and those without a label
    Pool,
}

impl From<SplitName> for Part {
    fn from(name: SplitName) -> Self {
        match name {
            SplitName::Train => Self::Train,
            SplitName::Test => Self::Test,
            SplitName::Unlabelled => Self::Unlabelled,
            SplitName::Pool => Self::Pool,
        }
    }
}

#[derive(Args)]
pub(crate) struct ShowArgs {
    #[command(flatten)]
    pub(crate) data: DataArgs,
    /// Which images the picture shows [default: pool]
    #[arg(long, value_enum)]
    pub(crate) split: Option<SplitName>,
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

/// Which training images have labels.
#[derive(Args, Clone)]
pub(crate) struct LabelArgs {
    /// Use the labels of the first K training images only
    #[arg(long, value_name = "K", conflicts_with = "stratified")]
    pub(crate) first_k: Option<usize>,
    /// Use K labels, as many of each class, chosen by the seed
    #[arg(long, value_name = "K")]
    pub(crate) stratified: Option<usize>,
    /// Use the labels of the training images that FILE names, a table of twinview select
    #[arg(long, value_name = "FILE", conflicts_with_all = ["first_k", "stratified"])]
    pub(crate) chosen: Option<PathBuf>,
}

impl LabelArgs {
    /// Whether not all labels are asked for.
    pub(crate) fn are_few(&self) -> bool {
        self.first_k.or(self.stratified).is_some() || self.chosen.is_some()
    }
}

/// A method that there is a recipe of.
#[derive(Clone, Copy)]
pub(crate) struct MethodName(pub(crate) &'static str);

impl MethodName {
    /// Its recipe with an encoder named `backbone`.
    pub(crate) fn recipe(self, backbone: &str) -> Cow<'static, str> {
        method_recipe_on(self.0, backbone).unwrap_or_default()
    }
}

pub(crate) fn method_name() -> impl TypedValueParser<Value = MethodName> {
    let known = |name: String| METHODS.iter().find(|(known, _)| *known == name).map(|(known, _)| MethodName(known));
    PossibleValuesParser::new(METHODS.map(|(name, _)| name))
        .try_map(move |name| known(name).ok_or("no method of this name"))
}

/// Which encoder a network begins with.
#[derive(Args, Clone)]
pub(crate) struct BackboneArgs {
    /// The encoder; --set backbone.KEY=VALUE changes its size [default: conv, the article's]
    #[arg(long, value_name = "NAME", value_parser = PossibleValuesParser::new(Architecture::NAMES))]
    pub(crate) backbone: Option<String>,
}

impl BackboneArgs {
    /// Its name.
    pub(crate) fn name(&self) -> &str {
        self.backbone.as_deref().unwrap_or(Architecture::NAMES[0])
    }
}

/// Where networks run. Nothing of this is part of the run: it may be resumed elsewhere.
#[derive(Args, Clone)]
pub(crate) struct DeviceArgs {
    /// Where networks run: cpu, or in a program built with --features wgpu also gpu, or gpu:1 for the second of several
    #[arg(long, default_value_t)]
    pub(crate) device: DeviceName,
}

impl DeviceArgs {
    /// The device, ready to train.
    pub(crate) fn open(&self) -> Result<Device> {
        self.device.open()
    }
}

/// A sink besides `metrics.jsonl`, by name.
#[derive(Clone, Copy)]
pub(crate) struct SinkName(pub(crate) SinkKind);

fn sink_name() -> impl TypedValueParser<Value = SinkName> {
    let known = |name: String| SinkKind::ALL.into_iter().find(|sink| sink.name() == name).map(SinkName);
    PossibleValuesParser::new(SinkKind::ALL.map(SinkKind::name))
        .try_map(move |name| known(name).ok_or("no sink of this name"))
}

/// Whom a training tells how it goes. Nothing of this is part of the run: it may be resumed with other ones.
#[derive(Args, Clone)]
pub(crate) struct ReportArgs {
    /// Log the run there too, separated by commas; metrics.jsonl is always written
    #[arg(long, value_name = "SINK", value_parser = sink_name(), value_delimiter = ',')]
    pub(crate) track: Vec<SinkName>,
    /// One folder for what --track writes, for several runs [default: the run directory]
    #[arg(long, value_name = "DIR")]
    pub(crate) track_dir: Option<PathBuf>,
    /// Send the finished run to W&B with its program wandb; needs --track wandb and a login
    #[arg(long)]
    pub(crate) wandb_sync: bool,
    /// Write no report.html at the end
    #[arg(long)]
    pub(crate) no_report: bool,
    /// Show no progress, warnings only
    #[arg(long, short, conflicts_with_all = ["verbose", "tui"])]
    pub(crate) quiet: bool,
    /// Show every epoch with all that was measured
    #[arg(long, short)]
    pub(crate) verbose: bool,
    /// Show live curves and the collapse monitor on the whole terminal
    #[arg(long)]
    pub(crate) tui: bool,
}
