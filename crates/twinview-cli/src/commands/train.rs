//! `twinview train`, `pretrain` and `probe`.

use serde::{Deserialize, Serialize};
use twinview::augment::Augmentation;
use twinview::backbone::initialise;
use twinview::dataset::{Dataset, Split, first_k, stratified};
use twinview::experiment::merged;
use twinview::method::{ClassifierConfig, SimSiam, SimSiamConfig};
use twinview::tracking::{Quiet, Reporter, Terminal};
use twinview::training::{self, Context, HeadPlan, Plan, RunDir, Statistics, open_weights};
use twinview::{Error, Result};

use super::data;
use crate::args::{LabelArgs, MethodName, PretrainArgs, ProbeArgs, RunArgs, TrainArgs};
use crate::{output, settings, stop};

/// What a run directory says of the run that made it.
#[derive(Serialize)]
struct Config<'a, P> {
    command: &'static str,
    dataset: &'a str,
    /// Labelled images that were trained on.
    #[serde(skip_serializing_if = "Option::is_none")]
    labels: Option<usize>,
    /// How those were chosen: `all`, `first` or `stratified`.
    #[serde(skip_serializing_if = "Option::is_none")]
    chosen: Option<&'static str>,
    /// Where the encoder came from.
    #[serde(skip_serializing_if = "Option::is_none")]
    weights: Option<String>,
    plan: P,
}

/// Supervised training.
pub(crate) fn train(args: TrainArgs) -> Result<()> {
    let plan: Plan = plan(&args.run, &Plan::new(10, 64, 1e-3))?;
    let dataset = data::open(&args.run.data)?;
    let (split, chosen) = labelled(&dataset, &args.labels, plan.seed)?;
    plan.validate_for(&split.images)?;
    let config = Config {
        command: "train",
        dataset: &dataset.name,
        labels: Some(split.len()),
        chosen: Some(chosen),
        weights: None,
        plan: &plan,
    };
    let run = RunDir::open(&args.run.run, &config, args.run.resume, &settings::origin(&dataset.name))?;
    with_context(&args.run, &run, |context| {
        let model = initialise(
            ClassifierConfig::for_images(&split.images, dataset.class_names.len()).init(&context.device),
            plan.seed,
        );
        training::train_classifier(model, "Supervised training", &split, &plan, &run, context).map(drop)
    })
}

/// Self-supervised training.
pub(crate) fn pretrain(args: PretrainArgs) -> Result<()> {
    let defaults = Plan { augmentation: Augmentation::simclr_grey(), ..Plan::new(10, 256, 0.05) };
    let plan: Plan = plan(&args.run, &defaults)?;
    let dataset = data::open(&args.run.data)?;
    plan.validate_for(&dataset.train.images)?;
    let MethodName::Simsiam = args.method;
    let config = Config {
        command: "pretrain simsiam",
        dataset: &dataset.name,
        labels: None,
        chosen: None,
        weights: None,
        plan: &plan,
    };
    let run = RunDir::open(&args.run.run, &config, args.run.resume, &settings::origin(&dataset.name))?;
    let images = dataset.train.images;
    with_context(&args.run, &run, |context| {
        let model: SimSiam = initialise(SimSiamConfig::for_images(&images).init(&context.device), plan.seed);
        training::pretrain(model, "SimSiam pretraining", &images, &plan, &run, context).map(drop)
    })
}

/// A head on a frozen encoder.
pub(crate) fn probe(args: ProbeArgs) -> Result<()> {
    let defaults = HeadPlan { statistics: Statistics::Fixed, plan: Plan::new(100, 32, 1e-3) };
    let plan: HeadPlan = head_plan(&args.run, &defaults)?;
    let dataset = data::open(&args.run.data)?;
    let (split, chosen) = labelled(&dataset, &args.labels, plan.plan.seed)?;
    plan.validate_for(&split.images)?;
    let weights = args.weights.as_ref().map(open_weights).transpose()?;
    let mut model = initialise(
        ClassifierConfig::for_images(&split.images, dataset.class_names.len()).init(&settings::device()),
        plan.plan.seed,
    );
    if let Some(weights) = &weights {
        let (loaded, report) = training::load_backbone(model, weights)?;
        if !args.run.quiet {
            output::note(report);
        }
        model = loaded;
    }
    let config = Config {
        command: "probe",
        dataset: &dataset.name,
        labels: Some(split.len()),
        chosen: Some(chosen),
        weights: Some(weights.as_ref().map_or("random".into(), |weights| weights.path.display().to_string())),
        plan: &plan,
    };
    let run = RunDir::open(&args.run.run, &config, args.run.resume, &settings::origin(&dataset.name))?;
    with_context(&args.run, &run, |context| {
        if weights.is_none() && plan.statistics == Statistics::Fixed {
            training::calibrate(&model.backbone, &dataset.train.images, plan.plan.seed)?;
        }
        training::train_head(model, "Head on a frozen encoder", &split, &plan, &run, context).map(drop)
    })
}

/// The labelled training images that are asked for, and how they were chosen.
fn labelled(dataset: &Dataset, labels: &LabelArgs, seed: u64) -> Result<(Split, &'static str)> {
    let train = &dataset.train;
    Ok(match (labels.first_k, labels.stratified) {
        (Some(k), _) => (train.select(&first_k(train, k)?), "first"),
        (_, Some(k)) => (train.select(&stratified(train, k, seed)?), "stratified"),
        (None, None) => (train.clone(), "all"),
    })
}

fn plan(args: &RunArgs, defaults: &Plan) -> Result<Plan> {
    settled(args, defaults, "")
}

fn head_plan(args: &RunArgs, defaults: &HeadPlan) -> Result<HeadPlan> {
    settled(args, defaults, "plan.")
}

/// The defaults, changed by the recipe, then by the flags, then by `--set`.
fn settled<P: Serialize + for<'de> Deserialize<'de>>(args: &RunArgs, defaults: &P, prefix: &str) -> Result<P> {
    let unserialisable = |error| Error::Config(format!("the default settings cannot be written as TOML: {error}"));
    let defaults = toml::to_string(defaults).map_err(unserialisable)?;
    let mut changes = Vec::new();
    changes.extend(args.epochs.map(|epochs| format!("{prefix}epochs={epochs}")));
    changes.extend(args.batch_size.map(|size| format!("{prefix}batch_size={size}")));
    changes.extend(args.learning_rate.map(|rate| format!("{prefix}learning_rate={rate:?}")));
    changes.extend(args.seed.map(|seed| format!("{prefix}seed={seed}")));
    changes.extend(args.recipe.changes.iter().cloned());
    merged(&defaults, args.recipe.recipe.as_deref(), &changes)
}

/// Trains, and says where the weights are.
fn with_context(args: &RunArgs, run: &RunDir, train: impl FnOnce(&mut Context<'_>) -> Result<()>) -> Result<()> {
    let interrupt = stop::on_request()?;
    let mut reporter: Box<dyn Reporter> = if args.quiet { Box::new(Quiet) } else { Box::new(Terminal::new()) };
    let mut context = Context { device: settings::device(), interrupt: &interrupt, reporter: &mut *reporter };
    if !run.is_finished() {
        let again = settings::command_line();
        let resume = if args.resume { "" } else { " --resume" };
        train(&mut context).map_err(|error| stop::with_advice(error, &format!("run: {again}{resume}")))?;
    }
    output::line(run.path().display())
}
