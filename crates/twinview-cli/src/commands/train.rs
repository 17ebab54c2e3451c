//! `twinview train` and `pretrain`.

use serde::de::{DeserializeOwned, Error as _};
use serde::{Deserialize, Deserializer, Serialize};
use twinview::backbone::{Architecture, initialise};
use twinview::dataset::{Dataset, Split, first_k, stratified};
use twinview::experiment::merged;
use twinview::method::ClassifierConfig;
use twinview::training::{self, Context, Device, Plan, Pretraining, RunDir};
use twinview::{Error, Result};

use super::select::chosen_in;
use super::{data, pages};
use crate::args::{BackboneArgs, LabelArgs, PretrainArgs, RunArgs, TrainArgs};
use crate::{output, session, settings};

/// What a run directory says of the run that made it.
#[derive(Serialize)]
pub(super) struct Config<'a, P> {
    pub(super) command: &'a str,
    pub(super) dataset: &'a str,
    /// Labelled images that were trained on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) labels: Option<usize>,
    /// How those were chosen: `all`, `first`, `stratified`, or in which file.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) chosen: Option<String>,
    /// Where the encoder came from.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) weights: Option<String>,
    pub(super) plan: P,
}

/// A training, and the encoder that it begins with.
#[derive(Serialize)]
pub(super) struct WithBackbone<P> {
    /// Its settings stand beside `backbone`, not in a table of their own.
    #[serde(flatten)]
    pub(super) plan: P,
    /// The article's where absent, or that of the weights.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) backbone: Option<Architecture>,
}

/// By hand, because serde's own way through `flatten` does not say which settings there are when one is unknown.
impl<'de, P: DeserializeOwned> Deserialize<'de> for WithBackbone<P> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        let wrong = |error: toml::de::Error| D::Error::custom(error.message());
        let mut settings = toml::Table::deserialize(deserializer)?;
        let backbone = settings.remove("backbone").map(toml::Value::try_into).transpose().map_err(wrong)?;
        Ok(Self { plan: settings.try_into().map_err(wrong)?, backbone })
    }
}

impl<P: Serialize + DeserializeOwned> WithBackbone<P> {
    /// `defaults`, changed by what `args` say, and the encoder.
    pub(super) fn settled(args: &RunArgs, defaults: &P, backbone: &BackboneArgs, prefix: &str) -> Result<Self> {
        let mut defaults = as_toml(defaults)?;
        if let Some(name) = &backbone.backbone {
            defaults.push_str(&format!("\n[backbone]\nname = {name:?}\n"));
        }
        let settings: Self = settled(args, &defaults, prefix)?;
        settings.backbone.iter().try_for_each(Architecture::validate)?;
        Ok(settings)
    }
}

/// Supervised training.
pub(crate) fn train(args: TrainArgs) -> Result<()> {
    let device = args.run.device.open()?;
    let settings = WithBackbone::settled(&args.run, &Plan::new(10, 64, 1e-3), &args.backbone, "")?;
    let plan = &settings.plan;
    let dataset = data::open(&args.run.data)?;
    let Labelled { split, chosen, .. } = Labelled::of(&dataset, &args.labels, plan.seed)?;
    plan.validate_for(&split.images)?;
    let architecture = settings.backbone.clone().unwrap_or_default();
    architecture.validate_for(split.images.height(), split.images.width())?;
    let config = Config {
        command: "train",
        dataset: &dataset.name,
        labels: Some(split.len()),
        chosen: Some(chosen),
        weights: None,
        plan: &settings,
    };
    let run = RunDir::open(&args.run.run, &config, args.run.resume, &settings::origin(&dataset))?;
    with_context(&args.run, &device, &run, &dataset, |context| {
        let config = ClassifierConfig::for_images(&split.images, dataset.class_names.len(), &architecture);
        let model = initialise(config.init(&context.device), plan.seed);
        training::train_classifier(model, "Supervised training", &split, plan, &run, context).map(drop)
    })
}

/// Self-supervised training.
pub(crate) fn pretrain(args: PretrainArgs) -> Result<()> {
    let device = args.run.device.open()?;
    let settings: Pretraining = settled(&args.run, &args.method.recipe(args.backbone.name()), "")?;
    let dataset = data::open(&args.run.data)?;
    let labels = &dataset.train.labels;
    settings.validate_for(&dataset.pool, labels.len())?;
    let name = args.method.0;
    let config = Config {
        command: &format!("pretrain {name}"),
        dataset: &dataset.name,
        labels: settings.method.needs_labels().then_some(labels.len()),
        chosen: None,
        weights: None,
        plan: &settings,
    };
    let run = RunDir::open(&args.run.run, &config, args.run.resume, &settings::origin(&dataset))?;
    with_context(&args.run, &device, &run, &dataset, |context| {
        let label = format!("{} pretraining", settings.method.title());
        training::pretrain(&settings, &label, &dataset.pool, labels, &run, context).map(drop)
    })
}

/// The training images whose labels are used.
pub(super) struct Labelled {
    pub(super) split: Split,
    /// Their places in the training set.
    pub(super) indices: Vec<usize>,
    /// How they were chosen.
    pub(super) chosen: String,
}

impl Labelled {
    /// Those that are asked for.
    pub(super) fn of(dataset: &Dataset, labels: &LabelArgs, seed: u64) -> Result<Self> {
        dataset.require_labels()?;
        let train = &dataset.train;
        let (indices, chosen) = match (labels.first_k, labels.stratified, &labels.chosen) {
            (Some(k), ..) => (first_k(train, k)?, "first".to_owned()),
            (_, Some(k), _) => (stratified(train, k, seed)?, "stratified".to_owned()),
            (.., Some(file)) => (chosen_in(file, dataset)?, format!("chosen in {}", file.display())),
            (None, None, None) => ((0..train.len()).collect(), "all".to_owned()),
        };
        Ok(Self { split: train.select(&indices), indices, chosen })
    }
}

/// `defaults` as a recipe.
pub(super) fn as_toml(defaults: &impl Serialize) -> Result<String> {
    let unserialisable = |error| Error::Config(format!("the default settings cannot be written as TOML: {error}"));
    toml::to_string(defaults).map_err(unserialisable)
}

/// The defaults, changed by the recipe, then by the flags, then by `--set`.
pub(super) fn settled<P: DeserializeOwned>(args: &RunArgs, defaults: &str, prefix: &str) -> Result<P> {
    let mut changes = Vec::new();
    changes.extend(args.epochs.map(|epochs| format!("{prefix}epochs={epochs}")));
    changes.extend(args.batch_size.map(|size| format!("{prefix}batch_size={size}")));
    changes.extend(args.learning_rate.map(|rate| format!("{prefix}learning_rate={rate:?}")));
    changes.extend(args.seed.map(|seed| format!("{prefix}seed={seed}")));
    changes.extend(args.recipe.changes.iter().cloned());
    merged(defaults, args.recipe.recipe.as_deref(), &changes)
}

/// Trains, writes the page of the run, and says where the weights are.
pub(super) fn with_context(
    args: &RunArgs,
    device: &Device,
    run: &RunDir,
    dataset: &Dataset,
    train: impl FnOnce(&mut Context<'_>) -> Result<()>,
) -> Result<()> {
    if !run.is_finished() {
        let resume = if args.resume { "" } else { " --resume" };
        let advice = format!("run: {}{resume}", settings::command_line());
        session::with_context(&args.report, device, args.recipe.recipe.as_deref(), &advice, train)?;
    }
    pages::at_the_end(run.path(), dataset, device, &args.report);
    output::line(run.path().display())
}

#[cfg(test)]
mod tests {
    use super::*;
    use twinview::training::{HeadPlan, Statistics};

    fn written(plan: impl Serialize) -> String {
        let (command, dataset) = ("train", "shapes");
        let config = Config { command, dataset, labels: Some(3), chosen: Some("all".to_owned()), weights: None, plan };
        toml::to_string(&config).unwrap()
    }

    /// Run directories are opened by the same text.
    #[test]
    fn a_training_on_the_articles_encoder_is_written_as_before_there_was_another() {
        let plan = Plan { accumulate: 2, ..Plan::new(10, 64, 1e-3) };
        assert_eq!(written(WithBackbone { plan: plan.clone(), backbone: None }), written(&plan));
        let head = HeadPlan { statistics: Statistics::Updating, plan };
        assert_eq!(written(WithBackbone { plan: head.clone(), backbone: None }), written(&head));
        let chosen = WithBackbone { plan: head, backbone: Some(Architecture::default()) };
        assert!(written(chosen).contains("[plan.backbone]\nname = \"conv\""));
    }
}
