//! `twinview reproduce`, `experiment` and `bench`.

use twinview::Result;
use twinview::experiment::{
    self, LabelRecipe, Lengths, METHODS, MethodsRecipe, Preset, Recipe, benchmark, label_recipe, merged,
    pretraining_of, trained_on,
};
use twinview::training::Pretraining;

use super::train::as_toml;
use super::{data, pages};
use crate::args::{BenchArgs, DataArgs, LabelsArgs, MethodsArgs, PresetName, ReproduceArgs};
use crate::session::with_context;
use crate::{output, settings};

/// Every arm of the article's comparison, and the report.
pub(crate) fn reproduce(args: ReproduceArgs) -> Result<()> {
    let device = args.device.open()?;
    let (preset, name) = preset(args.preset);
    let mut changes: Vec<String> = Vec::new();
    let asked = data::asked(args.dataset, args.data.as_deref(), args.recipe.recipe.as_deref());
    changes.extend(asked.map(|dataset| format!("dataset={dataset:?}")));
    changes.extend(args.seeds.map(|seeds| format!("seeds={seeds}")));
    changes.extend(args.recipe.changes.iter().cloned());
    let recipe: Recipe = merged(preset.toml(), args.recipe.recipe.as_deref(), &changes)?;
    recipe.validate()?;
    let root = args.run.unwrap_or_else(|| format!("runs/reproduce-{name}").into());
    let dataset = data::open(&DataArgs { dataset: Some(recipe.dataset.clone()), data: args.data })?;

    let comparison = with_context(&args.report, &device, args.recipe.recipe.as_deref(), AGAIN, |context| {
        experiment::reproduce(&recipe, &dataset, &root, &settings::command_line(), settings::VERSION, context)
    })?;
    pages::at_the_end(&root, &dataset, &device, &args.report);
    if args.json {
        return output::line(format_args!("{:#}", comparison.to_json(&recipe)));
    }
    let report = root.join("report.md");
    output::line(format_args!(
        "{}\n\n{}\n\nThe report is {}",
        comparison.table(),
        comparison.verdict(),
        report.display()
    ))
}

/// A method and its controls at every budget of labels.
pub(crate) fn labels(args: LabelsArgs) -> Result<()> {
    let device = args.device.open()?;
    let (name, pretraining) = match args.encoders.as_slice() {
        [] => (args.method.0.to_owned(), args.method.recipe(args.backbone.name()).into_owned()),
        runs => {
            let pretraining = pretraining_of(runs)?;
            (pretraining.method.name(), as_toml(&pretraining)?)
        }
    };
    let base = format!("name = \"labels-{name}\"\n{}", label_recipe(&pretraining)?);
    let mut changes: Vec<String> = Vec::new();
    let mut asked = data::asked(args.dataset, args.data.as_deref(), args.recipe.recipe.as_deref());
    if let Some(first) = args.encoders.first() {
        let runs = args.encoders.len();
        changes.extend([format!("pretraining_seeds={runs}"), format!("seeds={}", runs.max(3))]);
        if asked.is_none() && args.recipe.recipe.is_none() {
            asked = trained_on(first)?;
        }
    }
    changes.extend(asked.map(|dataset| format!("dataset={dataset:?}")));
    changes.extend(args.seeds.map(|seeds| format!("seeds={seeds}")));
    changes.extend(args.recipe.changes.iter().cloned());
    let recipe: LabelRecipe = merged(&base, args.recipe.recipe.as_deref(), &changes)?;
    let root = args.run.unwrap_or_else(|| format!("runs/labels-{name}").into());
    let dataset = data::open(&DataArgs { dataset: Some(recipe.dataset.clone()), data: args.data })?;
    let curve = with_context(&args.report, &device, args.recipe.recipe.as_deref(), AGAIN, |context| {
        experiment::label_curve(
            &recipe,
            &args.encoders,
            &dataset,
            &root,
            &settings::command_line(),
            settings::VERSION,
            context,
        )
    })?;
    pages::at_the_end(&root, &dataset, &device, &args.report);
    if args.json {
        return output::line(format_args!("{:#}", serde_json::json!(curve)));
    }
    let report = root.join("report.md");
    output::line(format_args!(
        "{}\n\n{}\n\nThe report is {}",
        curve.markdown_tables(),
        curve.verdict(),
        report.display()
    ))
}

/// Every method under the same questions.
pub(crate) fn methods(args: MethodsArgs) -> Result<()> {
    let device = args.device.open()?;
    let names: Vec<&str> = if args.methods.is_empty() {
        METHODS.iter().map(|(name, _)| *name).collect()
    } else {
        args.methods.iter().map(|method| method.0).collect()
    };
    let dataset = data::open(&args.data)?;
    let recipe = MethodsRecipe {
        dataset: dataset.name.clone(),
        seeds: args.seeds,
        labels: args.first_k,
        ..MethodsRecipe::new(&names, args.backbone.name(), Some(args.epochs), &args.changes)?
    };
    let table = with_context(&args.report, &device, None, AGAIN, |context| {
        experiment::method_table(&recipe, &dataset, &args.run, &settings::command_line(), settings::VERSION, context)
    })?;
    pages::at_the_end(&args.run, &dataset, &device, &args.report);
    if args.json {
        return output::line(format_args!("{:#}", serde_json::json!(table)));
    }
    output::line(format_args!("{}\n\nThe report is {}", table.markdown_table(), args.run.join("report.md").display()))
}

/// How an interrupted experiment is gone on with.
const AGAIN: &str = "run the same command again";

/// Times the parts of a pretraining step.
pub(crate) fn bench(args: &BenchArgs) -> Result<()> {
    let device = args.device.open()?;
    let recipe: Recipe = merged(preset(args.recipe).0.toml(), None, &[])?;
    let method: Pretraining = merged(&args.method.recipe(args.backbone.name()), None, &args.changes)?;
    let settings = Pretraining { plan: recipe.pretraining.plan, ..method };
    let dataset = data::open(&args.data)?;
    settings.validate_for(&dataset.pool, dataset.train.len())?;
    let lengths = Lengths { batch: args.batch, steps: args.steps, extract: args.extract };
    let times = benchmark(&settings, &dataset.pool, &dataset.train.labels, lengths, &device)?;
    if args.json {
        return output::line(serde_json::json!(times));
    }
    output::line(format_args!(
        "batch {} on {} ({} threads), {} views an image\n\
         views     {:>8.2} ms (mean)\n\
         forward   {:>8.2} ms\n\
         backward  {:>8.2} ms\n\
         update    {:>8.2} ms\n\
         step      {:>8.2} ms (the three above)\n\
         {:.0} images/s with views made before each step, {:.0} as training makes them\n\
         {:.0} images/s of feature extraction",
        times.batch,
        times.device,
        times.threads,
        times.views,
        times.augment_ms_mean,
        times.forward_ms_median,
        times.backward_ms_median,
        times.update_ms_median,
        times.step_ms_median,
        times.images_per_second,
        times.training_images_per_second,
        times.extraction_images_per_second,
    ))
}

/// A preset and its name.
fn preset(name: PresetName) -> (Preset, &'static str) {
    match name {
        PresetName::Article => (Preset::Article, "article"),
        PresetName::Quick => (Preset::Quick, "quick"),
    }
}
