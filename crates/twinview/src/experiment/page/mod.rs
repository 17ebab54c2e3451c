//! The pages of runs and experiments, gathered from what lies in their folders.
//!
//! A page never takes part in a training: it is made from files, after the fact, and test images are read for it only when
//! the run is over.

mod compare;
mod run;
mod samples;
mod tables;
#[cfg(test)]
mod tests;

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

pub use self::compare::compare;
use self::compare::distinct_names;
use self::run::{RunFiles, trainings};
use self::samples::{Opened, Shown, open, samples, spread, views};
use self::tables::{arm_reports, class_scores, comparison, label_scores, methods, text};
use super::reproduce::held_out;
use crate::dataset::{Dataset, Part, Split};
use crate::evaluation::{ClassificationReport, ConfusionMatrix, Verdict};
use crate::report::page::{ClassScores, Page, Run};
use crate::training::{Device, RunDir, open_weights, predict};
use crate::{Error, Result, files};

/// The name of a page in a run directory.
pub const PAGE: &str = "report.html";
/// What a classifier scored, for pages that set runs side by side.
const EVALUATION: &str = "evaluation.json";
/// Images in maps and confusion matrices.
const SAMPLES: usize = 10_000;
/// Curves of an experiment under way.
const CURVES: usize = 8;
/// Maps of a table of methods: the best ones.
const MAPS: usize = 3;

/// Writes the page of the run or experiment in `root` to `report.html` there, and gives its path.
///
/// `part` is by default the test images for classifiers and experiments that are over, and the pool otherwise. The
/// classifiers in the run directories `controls` are set beside the run's own.
///
/// # Errors
/// When there is no run, when test images are asked for before it is over, or when the page cannot be written.
pub fn write_page(
    root: &Path,
    dataset: &Dataset,
    part: Option<Part>,
    controls: &[PathBuf],
    device: &Device,
) -> Result<PathBuf> {
    let page = full_page(root, dataset, part, controls, device)?;
    let file = root.join(PAGE);
    files::write_atomic(&file, page.to_html().as_bytes())?;
    Ok(file)
}

/// The page of the run or experiment in `root` as far as its files tell, without any image: settings, curves, scores.
///
/// # Errors
/// When there is no run.
pub fn page(root: &Path) -> Result<Page> {
    let files = RunFiles::read(root)?;
    Ok(match experiment_report(root) {
        Some(report) => experiment_page(&files, &report, &[]),
        None => run_page(&files),
    })
}

/// `report.json` of an experiment.
fn experiment_report(root: &Path) -> Option<Value> {
    serde_json::from_str(&fs::read_to_string(root.join("report.json")).ok()?).ok()
}

fn full_page(
    root: &Path,
    dataset: &Dataset,
    part: Option<Part>,
    controls: &[PathBuf],
    device: &Device,
) -> Result<Page> {
    let files = RunFiles::read(root)?;
    let classes = &dataset.class_names;
    let report = experiment_report(root);
    if part == Some(Part::Test) && !files.progress.finished {
        let message =
            "the run is not over, and test images are read at its end only. Choose --split pool, or finish the run";
        return Err(Error::format(root, message));
    }
    let Some(report) = report else { return trained_page(&files, dataset, part, controls, device) };
    let mut page = experiment_page(&files, &report, classes);
    // An experiment that chose settings was scored on held-out training images; test images stay unread.
    let recipe = files.config.clone().try_into().ok();
    let held_out = recipe.and_then(|recipe| held_out(&recipe, dataset).transpose()).transpose()?;
    let judged = held_out.as_ref().unwrap_or(dataset);
    let part = part.unwrap_or(Part::Test);
    let shown = experiment_models(root, &report);
    let (split, class_names) = judged.part(part)?;
    let split = spread(&split, SAMPLES);
    let kind = if part == Part::Test && held_out.is_some() { "held-out training" } else { kind(part) };
    page.split = format!("{} {kind} images", split.len());
    if !shown.is_empty() {
        page.samples = Some(samples(split, &shown, classes.len(), device)?);
    }
    page.classes = class_names;
    let first = trainings(root).into_iter().find(|(name, _)| name.ends_with("seed-0") && !name.starts_with("arms"));
    if let Some(settings) = first.and_then(|(_, path)| RunFiles::read(&path).ok()?.pretraining()) {
        page.views = Some(views(&settings, &judged.pool)?);
    }
    Ok(page)
}

/// The page of a training, with images.
fn trained_page(
    files: &RunFiles,
    dataset: &Dataset,
    part: Option<Part>,
    controls: &[PathBuf],
    device: &Device,
) -> Result<Page> {
    let classes = &dataset.class_names;
    let mut page = run_page(files);
    page.reports.clear();
    page.classes = classes.clone();
    if let Some(settings) = files.pretraining() {
        page.views = Some(views(&settings, &dataset.pool)?);
    }
    let weights = match open_weights(&files.path) {
        Ok(weights) => weights,
        Err(error) if files.progress.finished => return Err(error),
        // Before its first checkpoint a run has nothing to show images by.
        Err(_) => return Ok(page),
    };
    let Opened { model, classes: told } = open(&weights, device)?;
    let is_classifier = told == Some(classes.len());
    let part = part.unwrap_or(if is_classifier && files.progress.finished { Part::Test } else { Part::Pool });
    let (split, class_names) = dataset.part(part)?;
    page.classes = class_names;
    let has_labels = page.classes.len() == classes.len();
    // Of test images every one counts; of others the score is an aside.
    let split = if part == Part::Test { split } else { spread(&split, SAMPLES) };
    let images = format!("{} {} images", split.len(), kind(part));
    let shown = spread(&split, SAMPLES);
    page.split = if shown.len() < split.len() { format!("{} of {images}", shown.len()) } else { images.clone() };
    let mut models = vec![Shown { name: files.name.clone(), path: files.path.clone(), mapped: true }];
    if is_classifier && has_labels {
        let predicted = predict(&model, &split.images)?;
        let report = ClassificationReport::new(&split.labels, &predicted)?.to_json();
        page.reports.extend(class_scores(&files.name, &images, &[&report], classes));
        if files.progress.finished {
            let text = format!("{:#}\n", json!({ "images": images, "classes": classes, "report": report }));
            files::write_atomic(files.path.join(EVALUATION), text.as_bytes())?;
        }
        for (path, name) in controls.iter().zip(distinct_names(controls)) {
            let control = open(&open_weights(path)?, device)?;
            if control.classes != told {
                let message = format!("no classifier of {} classes, and so no control of this run", classes.len());
                return Err(Error::format(path, message));
            }
            let report = ClassificationReport::new(&split.labels, &predict(&control.model, &split.images)?)?.to_json();
            page.reports.extend(class_scores(&name, &images, &[&report], classes));
            models.push(Shown { name, path: path.clone(), mapped: false });
        }
        page.verdict = classifier_verdict(&page.reports, &split, &predicted, classes)?;
    }
    page.samples = Some(samples(shown, &models, classes.len(), device)?);
    Ok(page)
}

fn kind(part: Part) -> &'static str {
    match part {
        Part::Test => "test",
        Part::Train | Part::Pool => "training",
        Part::Unlabelled => "unlabelled",
    }
}

/// What a classifier scored, in words.
fn classifier_verdict(reports: &[ClassScores], split: &Split, predicted: &[u8], classes: &[String]) -> Result<String> {
    let Some((ours, controls)) = reports.split_first() else { return Ok(String::new()) };
    let matrix = ConfusionMatrix::new(&split.labels, predicted, classes.len())?;
    let name = |label: usize| classes.get(label).map_or("?", String::as_str);
    let mut text =
        format!("Right on {:.1} % of {}, with a macro F1 of {:.3}.", 100.0 * ours.accuracy, ours.images, ours.macro_f1);
    for control in controls {
        let gain = ours.macro_f1 - control.macro_f1;
        text.push_str(&format!(" That is {gain:+.3} against {} ({:.3}).", control.name, control.macro_f1));
    }
    if let Some(hardest) = ours.rows.iter().min_by(|one, other| one.f1.total_cmp(&other.f1)) {
        text.push_str(&format!(" Hardest is {}, with an F1 of {:.3}", hardest.class, hardest.f1));
        let pairs = (0..classes.len()).flat_map(|truth| (0..classes.len()).map(move |told| (truth, told)));
        let worst = pairs.filter(|(truth, told)| truth != told).max_by_key(|&(truth, told)| matrix.count(truth, told));
        match worst.map(|(truth, told)| (truth, told, matrix.count(truth, told))).filter(|worst| worst.2 > 0) {
            Some((truth, told, count)) => text.push_str(&format!(
                "; the most frequent mistake is {} taken for {} ({count} images).",
                name(truth),
                name(told)
            )),
            None => text.push('.'),
        }
    }
    if controls.is_empty() {
        text.push_str(" One run without a control tells nothing of what any of its settings gains.");
    }
    Ok(text)
}

/// The page of a training, without images.
fn run_page(files: &RunFiles) -> Page {
    let dataset = files.text("dataset").unwrap_or_default();
    let kind = files.text("command").unwrap_or("training");
    let mut page = Page {
        title: files.name.clone(),
        subtitle: if dataset.is_empty() { kind.to_owned() } else { format!("{kind} on {dataset}") },
        progress: Some(files.progress.clone()),
        runs: vec![files.run.clone()],
        ..Page::default()
    };
    let label = |key: &str| files.config.get(key).map(|value| value.to_string().trim_matches('"').to_owned());
    for (title, value) in [
        ("Dataset", Some(dataset.to_owned()).filter(|name| !name.is_empty())),
        ("Labels", label("labels")),
        ("Chosen", label("chosen")),
        ("Encoder from", label("weights")),
        ("Made by", Some(files.maker.clone()).filter(|maker| !maker.is_empty())),
    ] {
        page.facts.extend(value.map(|value| (title.to_owned(), value)));
    }
    if let Some((verdict, summary)) = files.health() {
        page.verdict = summary;
        if matches!(verdict, Verdict::Collapsing | Verdict::Declining) {
            page.notes.push(format!("This run is {}. A low loss says nothing of it.", verdict.word()));
        }
    }
    let evaluation = [EVALUATION, "result.json"].iter().find_map(|name| {
        let value: Value = serde_json::from_str(&fs::read_to_string(files.path.join(name)).ok()?).ok()?;
        let classes: Vec<String> =
            value.get("classes").and_then(|names| serde_json::from_value(names.clone()).ok()).unwrap_or_default();
        class_scores(&files.name, text(&value, "images").unwrap_or_default(), &[value.get("report")?], &classes)
    });
    page.reports.extend(evaluation);
    if files.run.series.is_empty() && !files.progress.finished {
        // An experiment under way: the trainings below it that wrote last.
        let below = trainings(&files.path);
        if !below.is_empty() {
            page.progress = None;
            page.facts.push(("Trainings begun".into(), below.len().to_string()));
        }
        page.runs.extend(below.into_iter().take(CURVES).filter_map(curves));
    }
    page
}

/// The page of an experiment that is over, without images.
fn experiment_page(files: &RunFiles, report: &Value, classes: &[String]) -> Page {
    let body = ["curve", "table"].iter().find_map(|key| report.get(key)).unwrap_or(report);
    let fact = |key: &str| text(body, key).map(str::to_owned);
    let dataset = fact("dataset").unwrap_or_default();
    let kind = if body["validation"] == true { "held-out training" } else { "test" };
    let images = format!("{} {kind} images", body["test_images"]);
    let mut page = Page { runs: vec![files.run.clone()], split: images.clone(), ..Page::default() };
    if report.get("arms").is_some() {
        page.title = format!("What unlabelled images add on {dataset}");
        page.subtitle = format!("The article's comparison, recipe {}", fact("recipe").unwrap_or_default());
        page.verdict = fact("verdict").unwrap_or_default();
        page.scores = comparison(report);
        page.reports = arm_reports(report, &images, classes);
    } else if report.get("curve").is_some() {
        let method = fact("method").unwrap_or_default();
        page.title = format!("Labels that {method} saves on {dataset}");
        page.subtitle = "Scores by number of labels".into();
        page.verdict = text(report, "verdict").unwrap_or_default().to_owned();
        (page.label_curves, page.scores) = label_scores(body);
    } else {
        page.title = format!("Methods on {dataset}");
        page.subtitle = "Every method under the same questions".into();
        page.verdict = text(report, "verdict").unwrap_or_default().to_owned();
        page.scores = methods(body);
    }
    for (title, value) in [
        ("Dataset", Some(dataset)),
        ("Scored on", Some(images)),
        ("Made by", fact("command")),
        ("Version", fact("version")),
    ] {
        page.facts.extend(value.map(|value| (title.to_owned(), value)));
    }
    let pretrainings =
        trainings(&files.path).into_iter().filter(|(name, _)| !name.starts_with("arms") && !name.starts_with("tuning"));
    let mut pretrainings: Vec<(String, PathBuf)> = pretrainings.collect();
    pretrainings.sort();
    page.runs.extend(pretrainings.into_iter().filter_map(curves));
    page
}

/// The curves of a training below an experiment; its settings are the experiment's.
fn curves((name, path): (String, PathBuf)) -> Option<Run> {
    let run = RunFiles::read(&path).ok()?.run;
    Some(Run { name, settings: Vec::new(), ..run })
}

/// The models of an experiment that a page shows images by.
fn experiment_models(root: &Path, report: &Value) -> Vec<Shown> {
    let shown = |name: &str, path: PathBuf, mapped| Shown { name: name.to_owned(), path, mapped };
    let list = |value: &Value, key: &str| value.get(key).and_then(Value::as_array).cloned().unwrap_or_default();
    let mut found: Vec<Shown> = if report.get("arms").is_some() {
        let arms = list(report, "arms");
        let of = |role: &str| {
            let arm = arms.iter().find(|arm| text(arm, "role") == Some(role))?;
            let folder = root.join("arms").join(text(arm, "arm")?).join("seed-0");
            Some(shown(text(arm, "title")?, folder, matches!(role, "pretrained" | "random")))
        };
        ["pretrained", "random", "equal-updates", "scratch", "ceiling"].into_iter().filter_map(of).collect()
    } else if let Some(curve) = report.get("curve") {
        let method = text(curve, "method").unwrap_or("pretrained");
        vec![shown(&format!("{method} encoder"), root.join("pretraining/seed-0"), true)]
    } else {
        let mut rows = list(report.get("table").unwrap_or(&Value::Null), "rows");
        let score =
            |row: &Value| row["knn_accuracy"].as_array().and_then(|scores| scores.first()?.as_f64()).unwrap_or(0.0);
        // What has read the labels comes last: of course its map shows the classes.
        let reads_labels = |row: &Value| row["reads_labels"] == true;
        let order = |one: &Value, other: &Value| score(other).total_cmp(&score(one));
        rows.sort_by(|one, other| reads_labels(one).cmp(&reads_labels(other)).then_with(|| order(one, other)));
        let name = |row: &Value| text(row, "name").map(str::to_owned);
        let names = rows.iter().filter_map(name).filter(|name| root.join(name).is_dir());
        names.take(MAPS).map(|name| shown(&name, root.join(&name).join("seed-0"), true)).collect()
    };
    found.retain(|model| RunDir::is_finished_at(&model.path));
    found
}
