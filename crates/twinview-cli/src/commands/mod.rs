//! What each command does.

pub(crate) mod data;
pub(crate) mod experiment;
pub(crate) mod heads;
pub(crate) mod pages;
pub(crate) mod program;
pub(crate) mod search;
pub(crate) mod select;
pub(crate) mod train;

use std::path::Path;

use twinview::dataset::{Dataset, Part, Split, first_k};
use twinview::embedding::{Matrix, Umap, extract, write_csv, write_npy};
use twinview::evaluation::{ClassificationReport, ConfusionMatrix};
use twinview::method::{Classifier, ClassifierConfig};
use twinview::report::{Prediction, figures};
use twinview::training::{Device, KnnProbe, load_backbone, load_weights, logits, open_weights, predict};
use twinview::weights::{Kind, Model, Weights, identify, onnx};
use twinview::{Error, Result, files};

use self::train::Labelled;
use crate::args::{ConvertArgs, EmbedArgs, EvaluateArgs, PredictArgs, SplitName};
use crate::output;

/// Scores a classifier, or an encoder by its neighbours.
pub(crate) fn evaluate(args: &EvaluateArgs) -> Result<()> {
    let weights = open_weights(&args.weights)?;
    if let Some(neighbours) = args.knn {
        return evaluate_knn(args, &weights, KnnProbe { neighbours, temperature: args.temperature });
    }
    if args.labels.are_few() {
        return Err(Error::Config(
            "--first-k, --stratified and --chosen choose images that vote; they need --knn".into(),
        ));
    }
    let model = classifier(&weights, &args.device.open()?, "or ask with --knn 20", args.json)?;
    let dataset = data::open_for(&args.data, &weights)?;
    let (classes, count) = (model.fc.classes(), dataset.class_names.len());
    if classes != count {
        let name = &dataset.name;
        let message =
            format!("tells {classes} classes apart, and {name} has {count}; choose the dataset it was trained on");
        return Err(Error::format(&weights.path, message));
    }
    // Pictures of one's own have no fixed classes: the same number of others would be scored for nothing.
    if let Some(trained) = weights.class_names().filter(|names| *names != dataset.class_names)
        && dataset.files.is_some()
    {
        let (trained, found) = (trained.join(", "), dataset.class_names.join(", "));
        let message = format!("tells apart {trained}, and the pictures are of {found}; name the folders alike");
        return Err(Error::format(&weights.path, message));
    }
    let split = labelled(&dataset, args.split)?;
    let predicted = predict(&model, &split.images).map_err(|error| Error::format(&weights.path, error.to_string()))?;
    show(args, &dataset, &split, &predicted)
}

/// Scores an encoder by the vote of the nearest training images.
fn evaluate_knn(args: &EvaluateArgs, weights: &Weights, probe: KnnProbe) -> Result<()> {
    let (model, _) = encoder(weights, &args.device.open()?)?;
    let dataset = data::open_for(&args.data, weights)?;
    let Labelled { split: voters, .. } = Labelled::of(&dataset, &args.labels, 0)?;
    let split = labelled(&dataset, args.split)?;
    let predicted = probe.predict(&model.backbone, &voters, &split.images)?;
    show(args, &dataset, &split, &predicted)
}

/// Prints how good `predicted` are, and draws it where that was asked for.
fn show(args: &EvaluateArgs, dataset: &Dataset, split: &Split, predicted: &[u8]) -> Result<()> {
    let scores = ClassificationReport::new(&split.labels, predicted)?;
    if args.json {
        output::line(format_args!("{:#}", scores.to_json()))?;
    } else {
        scores.warnings().iter().for_each(|warning| output::note(format_args!("UndefinedMetricWarning: {warning}")));
        let scores = if args.class_names { scores.with_names(&dataset.class_names)? } else { scores };
        output::line(scores.to_string().trim_end_matches('\n'))?;
    }
    if let Some(folder) = &args.figures {
        let matrix = ConfusionMatrix::new(&split.labels, predicted, dataset.class_names.len())?;
        save(&figures::confusion_matrix(&matrix, &dataset.class_names), folder, "confusion.png")?;
        let grid = figures::prediction_grid(split, predicted, &dataset.class_names, 4, 4)?;
        save(&grid, folder, "predictions.png")?;
    }
    Ok(())
}

/// The images of a part of `dataset` that can be scored.
fn labelled(dataset: &Dataset, split: SplitName) -> Result<Split> {
    let (split, class_names) = dataset.part(split.into())?;
    if class_names.len() > dataset.class_names.len() {
        return Err(Error::Config("images without a label cannot be scored; choose --split train or test".into()));
    }
    Ok(split)
}

/// What a classifier takes each image for.
pub(crate) fn predictions(args: &PredictArgs) -> Result<()> {
    let weights = open_weights(&args.weights)?;
    let model = classifier(&weights, &args.device.open()?, "", false)?;
    let dataset = data::open_for(&args.data, &weights)?;
    let names = weights.class_names().unwrap_or_else(|| dataset.class_names.clone());
    let parts = match args.split {
        Some(split) => vec![split.into()],
        None if dataset.test.is_empty() => vec![Part::Pool],
        None if dataset.pool.is_empty() => vec![Part::Test],
        None => vec![Part::Pool, Part::Test],
    };
    let mut table = Vec::new();
    for part in parts {
        let (split, _) = dataset.part(part)?;
        let name = select::names(&dataset, part);
        let rows = logits(&model, &split.images).map_err(|error| Error::format(&weights.path, error.to_string()))?;
        for (index, (row, &label)) in rows.chunks_exact(model.fc.classes()).zip(&split.labels).enumerate() {
            let label = dataset.class_names.get(usize::from(label)).map(String::as_str);
            table.push(Prediction::new(name(index), label, row, &names));
        }
    }
    print_or_write(&Prediction::csv(&table, args.probabilities.then_some(names.as_slice()))?, args.out.as_deref())
}

/// Writes `table` to `out`, or prints it.
fn print_or_write(table: &str, out: Option<&Path>) -> Result<()> {
    let Some(file) = out else { return output::line(table.trim_end()) };
    files::write_atomic(file, table.as_bytes())?;
    output::line(file.display())
}

/// Features, their map, and a picture of it.
pub(crate) fn embed(args: &EmbedArgs) -> Result<()> {
    let weights = open_weights(&args.weights)?;
    let (model, _) = encoder(&weights, &args.device.open()?)?;
    let dataset = data::open_for(&args.data, &weights)?;
    let name = &dataset.name;
    let default = if dataset.test.is_empty() { Part::Pool } else { Part::Test };
    let part = args.split.map_or(default, Part::from);
    let (mut split, class_names) = dataset.part(part)?;
    if let Some(k) = args.first_k {
        split = split.select(&first_k(&split, k)?);
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
    let files = dataset.files_of(part).unwrap_or_default().iter().take(split.len());
    let files: Vec<String> = files.map(|file| file.display().to_string()).collect();
    let files: Vec<&str> = files.iter().map(String::as_str).collect();
    let mut columns = vec![("file", files.as_slice()), ("class", classes.as_slice())];
    columns.retain(|(_, column)| !column.is_empty());
    write_csv(&coordinates, &columns, Matrix::new(&map, args.components)?)?;
    output::note(coordinates.display());
    if args.components > 1 {
        let title = format!("UMAP of {} images of {name}", split.len());
        let figure = figures::scatter(&title, "UMAP", &map, args.components, &split.labels, &class_names)?;
        save(&figure, &args.out, "umap.png")?;
    }
    Ok(())
}

/// Weights of any known form as a safetensors or ONNX file.
pub(crate) fn convert(args: &ConvertArgs) -> Result<()> {
    let mut weights = open_weights(&args.weights)?;
    let kind = identify(&weights)?;
    if args.backbone_only {
        weights.state.retain(|name, _| name.starts_with("backbone."));
    }
    output::note(format_args!("{kind}, from {} ({})", weights.path.display(), weights.format));
    weights.renamed.iter().for_each(|rename| output::note(format_args!("  {rename}")));
    if args.out.extension().is_some_and(|ending| ending.eq_ignore_ascii_case("onnx")) {
        files::write_atomic(&args.out, &onnx::to_bytes(&weights)?)?;
    } else {
        weights.metadata.insert("format".to_owned(), "pt".to_owned());
        twinview::weights::save(&args.out, &weights.state, &weights.metadata)?;
    }
    output::line(args.out.display())
}

/// A model with the encoder of `weights`, and what the file is.
fn encoder(weights: &Weights, device: &Device) -> Result<(Classifier, Kind)> {
    let kind = identify(weights)?;
    let config = ClassifierConfig { backbone: kind.backbone.clone(), ..ClassifierConfig::article() };
    let (model, report) = load_backbone(config.init(device), weights)?;
    output::note(format_args!("{kind}\n{report}"));
    Ok((model, kind))
}

/// The classifier that `weights` are; says what was loaded unless `quiet`.
fn classifier(weights: &Weights, device: &Device, advice: &str, quiet: bool) -> Result<Classifier> {
    let kind = identify(weights)?;
    let Model::Classifier { features, hidden, classes } = kind.model else {
        let message = format!("{kind} has no classifier head; train one with twinview probe --weights, {advice}");
        return Err(Error::format(&weights.path, message.trim_end_matches([',', ' '])));
    };
    let config = ClassifierConfig { backbone: kind.backbone.clone(), features, hidden, classes };
    let (model, report) = load_weights(config.init(device), weights)?;
    if !quiet {
        output::note(format_args!("{kind}\n{report}"));
    }
    Ok(model)
}

fn save(figure: &figures::Figure, folder: &Path, name: &str) -> Result<()> {
    let path = folder.join(name);
    figure.save(&path)?;
    output::note(path.display());
    Ok(())
}
