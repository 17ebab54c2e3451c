//! What each command does.

pub(crate) mod data;
pub(crate) mod train;

use std::path::Path;

use twinview::backbone::ConvStackConfig;
use twinview::dataset::{Dataset, Split};
use twinview::embedding::{Matrix, Umap, extract, write_csv, write_npy};
use twinview::evaluation::{ClassificationReport, ConfusionMatrix};
use twinview::experiment::{Preset, Recipe, benchmark, merged, reproduce as run_experiment};
use twinview::method::{Classifier, ClassifierConfig};
use twinview::report::figures;
use twinview::tracking::Terminal;
use twinview::training::{Context, load_backbone, load_weights, open_weights, predict};
use twinview::weights::{Backbone, Kind, Model, Weights, identify};
use twinview::{Error, Result};

use crate::args::{
    BenchArgs, ConvertArgs, DataArgs, EmbedArgs, EvaluateArgs, MethodName, PresetName, ReproduceArgs, SplitName,
};
use crate::{output, settings, stop};

/// Every arm of the article's comparison, and the report.
pub(crate) fn reproduce(args: ReproduceArgs) -> Result<()> {
    let (preset, name) = preset(args.preset);
    let mut changes: Vec<String> = Vec::new();
    changes.extend(args.dataset.map(|dataset| format!("dataset={dataset:?}")));
    changes.extend(args.seeds.map(|seeds| format!("seeds={seeds}")));
    changes.extend(args.recipe.changes);
    let recipe: Recipe = merged(preset.toml(), args.recipe.recipe.as_deref(), &changes)?;
    recipe.validate()?;
    let root = args.run.unwrap_or_else(|| format!("runs/reproduce-{name}").into());
    let dataset = data::open(&DataArgs { dataset: Some(recipe.dataset.clone()), data: args.data })?;

    let interrupt = stop::on_request()?;
    let mut reporter = Terminal::new();
    let device = settings::device();
    let mut context = Context { device, interrupt: &interrupt, reporter: &mut reporter };
    let comparison =
        run_experiment(&recipe, &dataset, &root, &settings::command_line(), settings::VERSION, &mut context)
            .map_err(|error| stop::with_advice(error, "run the same command again"))?;
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

/// Times the parts of a pretraining step.
pub(crate) fn bench(args: &BenchArgs) -> Result<()> {
    let recipe: Recipe = merged(preset(args.recipe).0.toml(), None, &[])?;
    let MethodName::Simsiam = args.method;
    let images = data::open(&args.data)?.train.images;
    let times = benchmark(&recipe, &images, args.batch, args.steps, &settings::device())?;
    if args.json {
        return output::line(serde_json::json!(times));
    }
    output::line(format_args!(
        "batch {} on {} threads, 2 views an image\n\
         views     {:>8.2} ms (mean)\n\
         forward   {:>8.2} ms\n\
         backward  {:>8.2} ms\n\
         update    {:>8.2} ms\n\
         step      {:>8.2} ms (the three above)\n\
         {:.0} images/s with views made before each step, {:.0} as training makes them\n\
         {:.0} images/s of feature extraction",
        times.batch,
        times.threads,
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

/// Scores a classifier.
pub(crate) fn evaluate(args: &EvaluateArgs) -> Result<()> {
    let weights = open_weights(&args.weights)?;
    let kind = identify(&weights)?;
    let Model::Classifier { features, hidden, classes } = kind.model else {
        let message = format!("{kind} has no classifier head; train one with twinview probe --weights");
        return Err(Error::format(&weights.path, message));
    };
    let config = ClassifierConfig { backbone: backbone_config(&kind), features, hidden, classes };
    let (model, report) = load_weights(config.init(&settings::device()), &weights)?;
    let dataset = data::open_for(&args.data, &weights)?;
    if classes != dataset.class_names.len() {
        let (name, count) = (&dataset.name, dataset.class_names.len());
        let message =
            format!("tells {classes} classes apart, and {name} has {count}; choose the dataset it was trained on");
        return Err(Error::format(&weights.path, message));
    }
    let split = choose(dataset.clone(), args.split);
    let predicted = predict(&model, &split.images).map_err(|error| Error::format(&weights.path, error.to_string()))?;

    let scores = ClassificationReport::new(&split.labels, &predicted)?;
    if args.json {
        output::line(format_args!("{:#}", scores.to_json()))?;
    } else {
        output::note(format_args!("{kind}\n{report}"));
        scores.warnings().iter().for_each(|warning| output::note(format_args!("UndefinedMetricWarning: {warning}")));
        let scores = if args.class_names { scores.with_names(&dataset.class_names)? } else { scores };
        output::line(scores.to_string().trim_end_matches('\n'))?;
    }
    if let Some(folder) = &args.figures {
        let matrix = ConfusionMatrix::new(&split.labels, &predicted, classes)?;
        save(&figures::confusion_matrix(&matrix, &dataset.class_names), folder, "confusion.png")?;
        let grid = figures::prediction_grid(&split, &predicted, &dataset.class_names, 4, 4)?;
        save(&grid, folder, "predictions.png")?;
    }
    Ok(())
}

/// Features, their map, and a picture of it.
pub(crate) fn embed(args: &EmbedArgs) -> Result<()> {
    let weights = open_weights(&args.weights)?;
    let (model, _) = encoder(&weights)?;
    let dataset = data::open_for(&args.data, &weights)?;
    let (name, class_names) = (dataset.name.clone(), dataset.class_names.clone());
    let mut split = choose(dataset, args.split);
    if let Some(k) = args.first_k {
        split = split.select(&twinview::dataset::first_k(&split, k)?);
    }
    let features = extract(&model.backbone, &split.images)?;
    let features = Matrix::new(features.values(), features.dimensions())?;
    output::note(format_args!("UMAP of {} × {} features", features.rows(), features.columns()));
    let umap = Umap {
        n_components: args.components,
        n_neighbors: args.neighbors,
        metric: args.metric.into(),
        seed: args.seed,
        ..Umap::default()
    };
    let map = umap.fit_transform(features)?;
    let (table, coordinates) = (args.out.join("features.npy"), args.out.join("umap.csv"));
    write_npy(&table, features)?;
    output::note(table.display());
    let classes: Vec<&str> = split.labels.iter().map(|&label| class_names[usize::from(label)].as_str()).collect();
    write_csv(&coordinates, &[("class", &classes)], Matrix::new(&map, args.components)?)?;
    output::note(coordinates.display());
    if args.components > 1 {
        let title = format!("UMAP of {} images of {name}", split.len());
        let figure = figures::scatter(&title, "UMAP", &map, args.components, &split.labels, &class_names)?;
        save(&figure, &args.out, "umap.png")?;
    }
    Ok(())
}

/// Weights of any known form as a safetensors file.
pub(crate) fn convert(args: &ConvertArgs) -> Result<()> {
    let weights = open_weights(&args.weights)?;
    let kind = identify(&weights)?;
    let mut state = weights.state.clone();
    if args.backbone_only {
        state.retain(|name, _| name.starts_with("backbone."));
    }
    output::note(format_args!("{kind}, from {} ({})", weights.path.display(), weights.format));
    weights.renamed.iter().for_each(|rename| output::note(format_args!("  {rename}")));
    let mut metadata = weights.metadata.clone();
    metadata.insert("format".to_owned(), "pt".to_owned());
    twinview::weights::save(&args.out, &state, &metadata)?;
    output::line(args.out.display())
}

/// A model with the encoder of `weights`, and what the file is.
fn encoder(weights: &Weights) -> Result<(Classifier, Kind)> {
    let kind = identify(weights)?;
    let config = ClassifierConfig { backbone: backbone_config(&kind), ..ClassifierConfig::article() };
    let (model, report) = load_backbone(config.init(&settings::device()), weights)?;
    output::note(format_args!("{kind}\n{report}"));
    Ok((model, kind))
}

fn backbone_config(kind: &Kind) -> ConvStackConfig {
    let Backbone::Article { in_channels, widths } = kind.backbone;
    ConvStackConfig { in_channels, widths: widths.to_vec() }
}

fn choose(dataset: Dataset, split: SplitName) -> Split {
    match split {
        SplitName::Train => dataset.train,
        SplitName::Test => dataset.test,
    }
}

fn save(figure: &figures::Figure, folder: &Path, name: &str) -> Result<()> {
    let path = folder.join(name);
    figure.save(&path)?;
    output::note(path.display());
    Ok(())
}
