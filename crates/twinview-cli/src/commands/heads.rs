//! `twinview probe`, `finetune` and `selftrain`.

use std::path::Path;

use serde::{Deserialize, Serialize};
use twinview::backbone::{Architecture, initialise, state_dict};
use twinview::dataset::Dataset;
use twinview::method::{Classifier, ClassifierConfig};
use twinview::training::{
    self, Device, HeadPlan, Plan, RunDir, SelfTraining, Statistics, fit_linear_head, open_weights,
};
use twinview::weights::{Kind, Model, Weights, identify};
use twinview::{Error, Result};

use super::data;
use super::train::{Config, Labelled, WithBackbone, settled, with_context};
use crate::args::{FinetuneArgs, HeadName, ProbeArgs, RunArgs, SelftrainArgs};
use crate::{output, settings};

/// What a command starts from where no recipe says otherwise.
const FINETUNE: &str = include_str!("../../../../recipes/finetune.toml");
const SELFTRAIN: &str = include_str!("../../../../recipes/selftrain.toml");

/// A head on a frozen encoder.
pub(crate) fn probe(args: ProbeArgs) -> Result<()> {
    match args.head {
        HeadName::Mlp => mlp_probe(args),
        HeadName::Linear => linear_probe(args),
    }
}

fn mlp_probe(args: ProbeArgs) -> Result<()> {
    let device = args.run.device.open()?;
    let defaults = HeadPlan { statistics: Statistics::Fixed, plan: Plan::new(100, 32, 1e-3) };
    let settings = WithBackbone::settled(&args.run, &defaults, &args.backbone, "plan.")?;
    let plan = &settings.plan;
    let (weights, dataset) = weights_and_data(&args)?;
    let Labelled { split, chosen, .. } = Labelled::of(&dataset, &args.labels, plan.plan.seed)?;
    plan.validate_for(&split.images)?;
    let hidden = Some(ClassifierConfig::ARTICLE_HIDDEN);
    let model = start(&args, &device, &weights, &dataset, hidden, &settings.backbone, plan.plan.seed)?;
    let config = Config {
        command: "probe",
        dataset: &dataset.name,
        labels: Some(split.len()),
        chosen: Some(chosen),
        weights: Some(weights.as_ref().map_or("random".into(), |weights| weights.path.display().to_string())),
        plan: &settings,
    };
    let run = RunDir::open(&args.run.run, &config, args.run.resume, &settings::origin(&dataset))?;
    with_context(&args.run, &device, &run, &dataset, |context| {
        if weights.is_none() && plan.statistics == Statistics::Fixed {
            training::calibrate(&model.backbone, &dataset.pool, plan.plan.seed)?;
        }
        training::train_head(model, "Head on a frozen encoder", &split, plan, &run, context).map(drop)
    })
}

/// The weights that `args` name, and the dataset: the one asked for, or else that of the weights.
fn weights_and_data(args: &ProbeArgs) -> Result<(Option<Weights>, Dataset)> {
    let weights = args.weights.as_ref().map(open_weights).transpose()?;
    let dataset = match &weights {
        Some(weights) => data::open_for(&args.run.data, weights)?,
        None => data::open(&args.run.data)?,
    };
    Ok((weights, dataset))
}

/// A classifier with the encoder of `weights`, or with a random one of the kind `backbone`.
fn start(
    args: &ProbeArgs,
    device: &Device,
    weights: &Option<Weights>,
    dataset: &Dataset,
    hidden: Option<usize>,
    backbone: &Option<Architecture>,
    seed: u64,
) -> Result<Classifier> {
    let Some(weights) = weights else {
        let (architecture, images) = (backbone.clone().unwrap_or_default(), &dataset.pool);
        architecture.validate_for(images.height(), images.width())?;
        return Ok(random(dataset, device, &architecture, hidden, seed));
    };
    let found = identify(weights)?.backbone;
    if backbone.as_ref().is_some_and(|backbone| *backbone != found.architecture) {
        let message = format!("weights of {found}; the setting backbone asks for another. Leave it out with --weights");
        return Err(Error::format(&weights.path, message));
    }
    with_backbone(random(dataset, device, &found.architecture, hidden, seed), weights, args.run.report.quiet)
}

/// What a linear probe depends on.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct LinearPlan {
    head: String,
    seed: u64,
}

fn linear_probe(args: ProbeArgs) -> Result<()> {
    let RunArgs { epochs, batch_size, learning_rate, recipe, .. } = &args.run;
    let is_plan = epochs.is_some() || batch_size.is_some() || learning_rate.is_some();
    let is_backbone = |change: &String| change.trim_start().starts_with("backbone.");
    if is_plan || recipe.recipe.is_some() || !recipe.changes.iter().all(is_backbone) {
        let message = "--head linear has no settings but --seed and backbone: its penalty is chosen by cross-validation. \
                       Leave out --epochs, --batch-size, --learning-rate, --recipe and --set, or use --head mlp";
        return Err(Error::Config(message.into()));
    }
    let device = args.run.device.open()?;
    let defaults = LinearPlan { head: "linear".to_owned(), seed: 0 };
    let settings = WithBackbone::settled(&args.run, &defaults, &args.backbone, "")?;
    let seed = settings.plan.seed;
    let (weights, dataset) = weights_and_data(&args)?;
    let Labelled { split, chosen, .. } = Labelled::of(&dataset, &args.labels, seed)?;
    let model = start(&args, &device, &weights, &dataset, None, &settings.backbone, seed)?;
    let config = Config {
        command: "probe",
        dataset: &dataset.name,
        labels: Some(split.len()),
        chosen: Some(chosen),
        weights: Some(weights.as_ref().map_or("random".into(), |weights| weights.path.display().to_string())),
        plan: &settings,
    };
    let run = RunDir::open(&args.run.run, &config, args.run.resume, &settings::origin(&dataset))?;
    with_context(&args.run, &device, &run, &dataset, |context| {
        let (model, choice) = fit_linear_head(model, &dataset.pool, &split, seed)?;
        if let (c, Some(accuracy)) = (choice.c, choice.accuracy) {
            let text = format!("penalty C = {c:.4}, {accuracy:.3} of {} labels right in cross-validation", split.len());
            context.reporter.message(&text);
        }
        run.finish(&state_dict(&model))
    })
}

/// All of a pretrained network on labels.
pub(crate) fn finetune(args: FinetuneArgs) -> Result<()> {
    let device = args.run.device.open()?;
    let plan: Plan = settled(&args.run, FINETUNE, "")?;
    let weights = open_weights(&args.weights)?;
    let dataset = data::open_for(&args.run.data, &weights)?;
    let Labelled { split, chosen, .. } = Labelled::of(&dataset, &args.labels, plan.seed)?;
    plan.validate_for(&split.images)?;
    let config = Config {
        command: "finetune",
        dataset: &dataset.name,
        labels: Some(split.len()),
        chosen: Some(chosen),
        weights: Some(weights.path.display().to_string()),
        plan: &plan,
    };
    let run = RunDir::open(&args.run.run, &config, args.run.resume, &settings::origin(&dataset))?;
    with_context(&args.run, &device, &run, &dataset, |context| {
        let model = match classifier(&dataset, &device, &weights)? {
            Some(model) => model,
            // A head that begins at random would shake the encoder before it knows anything (Kumar et al. 2022,
            // arXiv 2202.10054).
            None => {
                let architecture = identify(&weights)?.backbone.architecture;
                let model = random(&dataset, &device, &architecture, None, plan.seed);
                let model = with_backbone(model, &weights, args.run.report.quiet)?;
                fit_linear_head(model, &dataset.pool, &split, plan.seed)?.0
            }
        };
        training::train_classifier(model, "Fine-tuning", &split, &plan, &run, context).map(drop)
    })
}

/// A classifier on its own predictions.
pub(crate) fn selftrain(args: SelftrainArgs) -> Result<()> {
    let device = args.run.device.open()?;
    let plan: SelfTraining = settled(&args.run, SELFTRAIN, "")?;
    let dataset = data::open_for(&args.run.data, &open_weights(&args.weights[0])?)?;
    let images = &dataset.pool;
    let Labelled { split, indices, chosen } = Labelled::of(&dataset, &args.labels, plan.plan.seed)?;
    plan.validate_for(images)?;
    let teachers = args.weights.iter().map(|path| teacher(&dataset, &device, path)).collect::<Result<Vec<_>>>()?;
    let names: Vec<String> = args.weights.iter().map(|path| path.display().to_string()).collect();
    let config = Config {
        command: "selftrain",
        dataset: &dataset.name,
        labels: Some(split.len()),
        chosen: Some(chosen),
        weights: Some(names.join(", ")),
        plan: &plan,
    };
    let run = RunDir::open(&args.run.run, &config, args.run.resume, &settings::origin(&dataset))?;
    let labelled: Vec<(usize, u8)> = indices.into_iter().zip(split.labels).collect();
    with_context(&args.run, &device, &run, &dataset, |context| {
        // A copy would share its running statistics with the teacher.
        let student = teacher(&dataset, &device, &args.weights[0])?;
        training::self_train(student, &teachers, images, &labelled, &plan, &run, context).map(drop)
    })
}

/// The classifier in `path`, which must tell the classes of `dataset` apart.
fn teacher(dataset: &Dataset, device: &Device, path: &Path) -> Result<Classifier> {
    let weights = open_weights(path)?;
    let model = classifier(dataset, device, &weights)?;
    model.ok_or_else(|| {
        let message = format!(
            "no classifier of the {} classes of {}; make one with twinview probe or finetune",
            dataset.class_names.len(),
            dataset.name
        );
        Error::format(&weights.path, message)
    })
}

/// A classifier of random weights for `dataset`.
fn random(
    dataset: &Dataset,
    device: &Device,
    architecture: &Architecture,
    hidden: Option<usize>,
    seed: u64,
) -> Classifier {
    let config = ClassifierConfig::for_images(&dataset.train.images, dataset.class_names.len(), architecture);
    initialise(ClassifierConfig { hidden, ..config }.init(device), seed)
}

/// `model` with the backbone of `weights`; says what was loaded unless `quiet`.
fn with_backbone(model: Classifier, weights: &Weights, quiet: bool) -> Result<Classifier> {
    let (model, report) = training::load_backbone(model, weights)?;
    if !quiet {
        output::note(report);
    }
    Ok(model)
}

/// The classifier that `weights` are, if it tells the classes of `dataset` apart.
fn classifier(dataset: &Dataset, device: &Device, weights: &Weights) -> Result<Option<Classifier>> {
    let Kind { model, backbone } = identify(weights)?;
    let Model::Classifier { hidden, classes, .. } = model else { return Ok(None) };
    if classes != dataset.class_names.len() {
        return Ok(None);
    }
    Ok(Some(training::load_weights(random(dataset, device, &backbone.architecture, hidden, 0), weights)?.0))
}
