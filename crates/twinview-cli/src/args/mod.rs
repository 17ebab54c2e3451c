//! The command line: what each command takes.

mod experiment;
mod pages;
mod program;
mod shared;
mod training;
mod weights;

pub(crate) use experiment::{BenchArgs, LabelsArgs, MethodsArgs, ReproduceArgs};
pub(crate) use pages::{CompareArgs, PageArgs, WatchArgs};
pub(crate) use program::{CompletionsArgs, ManArgs};
pub(crate) use shared::{BackboneArgs, DataArgs, LabelArgs, PresetName, ReportArgs, ShowArgs, SplitName};
pub(crate) use training::{FinetuneArgs, HeadName, PretrainArgs, ProbeArgs, RunArgs, SelftrainArgs, TrainArgs};
pub(crate) use weights::{ConvertArgs, EmbedArgs, EvaluateArgs, PredictArgs, SearchArgs, SelectArgs};

use clap::{Parser, Subcommand};

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
    /// What a classifier takes each image for, and how sure it is, as a table
    Predict(PredictArgs),
    /// Which images to label first: the typical ones of the groups that an encoder sees
    Select(SelectArgs),
    /// The images that an encoder finds most like those you name, as a table and a picture
    Search(SearchArgs),
    /// Features of images, their UMAP and a scatter plot
    Embed(EmbedArgs),
    /// The page report.html of a run or an experiment: settings, curves, scores, images, their map
    ///
    /// Trainings and experiments write it themselves when they are over; this makes it again, or for one under way.
    Report(PageArgs),
    /// Several runs on one page: their curves over one another, settings that differ, their scores
    Compare(CompareArgs),
    /// The page of a run while it trains, in the browser; for this machine alone unless --bind says otherwise
    Watch(WatchArgs),
    /// Weights from PyTorch (.pt, .pth) or safetensors into Twinview's form
    Import(ConvertArgs),
    /// Weights of a run as safetensors with PyTorch's names, or the model as ONNX
    Export(ConvertArgs),
    /// Time the parts of a pretraining step
    Bench(BenchArgs),
    /// Shell completions, on standard output
    Completions(CompletionsArgs),
    /// Manual pages
    Man(ManArgs),
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
