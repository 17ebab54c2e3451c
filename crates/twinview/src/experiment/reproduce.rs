//! The article's comparison with its controls, start to finish.

use std::fs;
use std::path::Path;

use serde_json::Value;

use super::Recipe;
use super::arm::{Arm, Experiment};
use crate::augment::Batch;
use crate::dataset::{Dataset, Portion, split_validation};
use crate::embedding::{Matrix, Umap, extract};
use crate::evaluation::{ConfusionMatrix, Summary};
use crate::report::figures;
use crate::report::{ArmResult, Comparison, Role};
use crate::training::{Context, Origin, RunDir, predict};
use crate::{Error, Result, files};

/// Images of the test split in the map.
const MAPPED: usize = 10_000;

/// Runs every arm of `recipe` on `dataset` in the run directory `root`, and writes `report.md`, `report.json`
/// and `figures/` there.
///
/// What an earlier, interrupted call has done is not done again, and the numbers are those of a call without
/// interruption. `command` and `version` are quoted in the report.
pub fn reproduce(
    recipe: &Recipe,
    dataset: &Dataset,
    root: &Path,
    command: &str,
    version: &str,
    context: &mut Context<'_>,
) -> Result<Comparison> {
    let held_out = held_out(recipe, dataset)?;
    let dataset = held_out.as_ref().unwrap_or(dataset);
    recipe.validate_for(dataset)?;
    let origin = Origin::new(version, dataset);
    let run = RunDir::open(root, recipe, true, &origin)?;
    let experiment = Experiment::new(run.path(), recipe, dataset, &origin)?;
    let mut arms = Vec::new();
    for arm in Arm::ALL {
        let scores =
            (0..recipe.seeds).map(|index| experiment.score(arm, index, context)).collect::<Result<Vec<_>>>()?;
        arms.push(ArmResult {
            arm: arm.name().to_owned(),
            title: arm.title().to_owned(),
            role: role(arm),
            labels: arm.labels(recipe, dataset),
            updates: arm.updates(recipe, dataset),
            macro_f1: scores.iter().map(|score| score.macro_f1).collect(),
            accuracy: scores.iter().map(|score| score.accuracy).collect(),
            published: arm.published(recipe),
            reports: scores.into_iter().map(|score| score.report).collect(),
        });
    }
    let comparison = Comparison {
        recipe: recipe.name.clone(),
        command: command.to_owned(),
        version: version.to_owned(),
        dataset: dataset.name.clone(),
        test_images: dataset.test.len(),
        validation: recipe.holdout > 0,
        encoders: recipe.pretraining_seeds,
        arms,
    };
    let json = format!("{}\n", serde_json::to_string_pretty(&comparison.to_json(recipe)).unwrap_or_default());
    let file = run.join("report.json");
    if !fs::read_to_string(&file).is_ok_and(|found| same_but_command(&found, &json)) {
        context.reporter.message("Drawing the figures");
        let figures = draw(&experiment, &comparison, &run, context)?;
        files::write_atomic(run.join("report.md"), markdown(recipe, &comparison, &figures).as_bytes())?;
        // Last, because it says that all the others are there.
        files::write_atomic(file, json.as_bytes())?;
    }
    Ok(comparison)
}

/// Whether two reports in JSON differ in nothing but the command that made them.
fn same_but_command(one: &str, other: &str) -> bool {
    let is_result = |line: &&str| !line.starts_with("  \"command\": ");
    one.lines().filter(is_result).eq(other.lines().filter(is_result))
}

/// `dataset` with a part of its training images in the place of the test images, where the recipe asks for it.
pub(super) fn held_out(recipe: &Recipe, dataset: &Dataset) -> Result<Option<Dataset>> {
    if recipe.holdout == 0 {
        return Ok(None);
    }
    let (train, validation) = split_validation(&dataset.train, Portion::Count(recipe.holdout), 0)?;
    Ok(Some(dataset.hold_out(&train, &validation)))
}

fn role(arm: Arm) -> Role {
    match arm {
        Arm::Supervised => Role::Ceiling,
        Arm::Scratch => Role::Scratch,
        Arm::ScratchEqualUpdates => Role::EqualUpdates,
        Arm::RandomFrozen => Role::Random,
        Arm::SimSiamFrozen => Role::Pretrained,
    }
}

/// Draws every figure; gives file names and captions.
fn draw(
    experiment: &Experiment<'_>,
    comparison: &Comparison,
    run: &RunDir,
    context: &Context<'_>,
) -> Result<Vec<(&'static str, &'static str)>> {
    let Experiment { dataset, recipe, .. } = experiment;
    let (test, names) = (&dataset.test, dataset.class_names.as_slice());
    let mut drawn = Vec::new();
    let mut save = |figure: figures::Figure, file: &'static str, caption: &'static str| {
        drawn.push((file, caption));
        figure.save(run.join("figures").join(file))
    };

    let bars = comparison.arms.iter().filter_map(|arm| {
        Some(figures::Arm { name: arm.title.clone(), result: Summary::of(&arm.macro_f1)?, published: arm.published })
    });
    let bars = figures::bar_with_error(
        &format!("Macro F1 on {} images", comparison.judges()),
        "macro F1",
        &bars.collect::<Vec<_>>(),
    )?;
    save(
        bars,
        "macro-f1.png",
        "Macro F1 of each arm: mean and standard deviation over the seeds, with the article's figures beside",
    )?;

    let model = experiment.trained(Arm::SimSiamFrozen, 0, &context.device)?;
    let predicted = predict(&model, &test.images)?;
    let confusion = ConfusionMatrix::new(&test.labels, &predicted, names.len())?;
    let caption = "What the head on the frozen SimSiam encoder takes each class for";
    save(figures::confusion_matrix(&confusion, names), "confusion-simsiam.png", caption)?;
    let grid = figures::prediction_grid(test, &predicted, names, 4, 4)?;
    save(grid, "predictions-simsiam.png", "Images, what they are taken for, and what they are")?;

    let shown: Vec<usize> = (0..test.len().min(MAPPED)).collect();
    let shown = test.select(&shown);
    for (arm, file, caption) in [
        (Arm::SimSiamFrozen, "umap-simsiam.png", "UMAP of the SimSiam encoder's features"),
        (Arm::RandomFrozen, "umap-random.png", "UMAP of the random encoder's features"),
    ] {
        let model = experiment.trained(arm, 0, &context.device)?;
        let features = extract(&model.backbone, &shown.images)?;
        let umap = Umap::default();
        let map = umap.fit_transform(Matrix::new(features.values(), features.dimensions())?)?;
        save(figures::scatter(caption, "UMAP", &map, umap.n_components, &shown.labels, names)?, file, caption)?;
    }

    save(view_pairs(experiment)?, "views.png", "Training images, and below each the two views that are contrasted")?;
    let curve = curve(&run.join("pretraining/seed-0/metrics.jsonl"))?;
    let curve = figures::Curve { name: format!("SimSiam, {} epochs", recipe.pretraining.plan.epochs), points: curve };
    let curves = figures::learning_curves("SimSiam pretraining", "epoch", "loss", &[curve])?;
    save(curves, "pretraining-loss.png", "The pretraining loss; -1 is the least it can be")?;
    Ok(drawn)
}

/// The first training images and the views that the first batch of the pretraining made of them.
fn view_pairs(experiment: &Experiment<'_>) -> Result<figures::Figure> {
    const SHOWN: usize = 10;
    let settings = &experiment.recipe.pretraining;
    let images = &experiment.dataset.pool;
    let batch = Batch { epoch: 0, number: 0, indices: (0..images.len().min(SHOWN)).collect() };
    let mut pixels = Vec::new();
    settings.view_maker(images)?.make(images, &batch, &mut pixels)?;
    let bytes: Vec<u8> = pixels.iter().map(|value| (value * 255.0).round() as u8).collect();
    let view = |half: &[u8]| images.of_same_form(half.to_vec());
    let (first, second) = bytes.split_at(bytes.len() / 2);
    figures::view_pairs(&images.select(&batch.indices), [&view(first), &view(second)])
}

/// Epoch and loss, from a run's metrics.
fn curve(path: &Path) -> Result<Vec<(f64, f64)>> {
    let text = fs::read_to_string(path).map_err(|error| Error::io(path, "read the metrics", error))?;
    let point = |line: &str| {
        let values: Value = serde_json::from_str(line).ok()?;
        Some((values.get("epoch")?.as_f64()?, values.get("loss")?.as_f64()?))
    };
    Ok(text.lines().filter_map(point).collect())
}

fn markdown(recipe: &Recipe, comparison: &Comparison, figures: &[(&str, &str)]) -> String {
    let settings = toml::to_string(recipe).unwrap_or_default();
    let pictures: Vec<String> =
        figures.iter().map(|(file, caption)| format!("![{caption}](figures/{file})\n\n{caption}.")).collect();
    let seeds = recipe.seeds;
    format!(
        "# What {} unlabelled images add on {}\n\n{}\n\n## Results\n\n{}\n\nMacro F1 and accuracy on the {} \
         images{}. They were read once, after each training. \
         \"Article\" is the macro F1 that the article gives.\n\nMade by `{}` with twinview {}.\n\n## Figures\n\n{}\n\n\
         ## Settings\n\n```toml\n{settings}```\n",
        experiment_size(comparison),
        comparison.dataset,
        comparison.verdict(),
        comparison.markdown_table(),
        comparison.judges(),
        if seeds == 1 { ", one seed".to_owned() } else { format!(", mean ± standard deviation over {seeds} seeds") },
        comparison.command,
        comparison.version,
        pictures.join("\n\n"),
    )
}

/// Images that the pretraining sees: as many as the ceiling has labels.
fn experiment_size(comparison: &Comparison) -> usize {
    comparison.arms.iter().map(|arm| arm.labels).max().unwrap_or(0)
}
