//! Numbers of `report.json` and `evaluation.json` as the tables of a page.

use serde_json::Value;

use crate::evaluation::Summary;
use crate::report::page::{ClassRow, ClassScores, LabelArm, LabelCurve, ScoreRow, ScoreTable};

/// The text at `key`.
pub(super) fn text<'a>(value: &'a Value, key: &str) -> Option<&'a str> {
    value.get(key)?.as_str()
}

fn list<'a>(value: &'a Value, key: &str) -> &'a [Value] {
    value.get(key).and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

fn numbers(value: &Value, key: &str) -> Vec<f64> {
    list(value, key).iter().filter_map(Value::as_f64).collect()
}

/// scikit-learn's reports of several seeds as one, whose numbers are their means; `None` where there are none.
pub(super) fn class_scores(name: &str, images: &str, reports: &[&Value], classes: &[String]) -> Option<ClassScores> {
    let first = reports.first()?.as_object()?;
    let mean = |row: &str, column: &str| {
        let values: Vec<f64> = reports.iter().filter_map(|report| report.get(row)?.get(column)?.as_f64()).collect();
        Summary::of(&values).map_or(0.0, |summary| summary.mean)
    };
    let accuracies: Vec<f64> = reports.iter().filter_map(|report| report.get("accuracy")?.as_f64()).collect();
    let is_class = |row: &&String| row.parse::<usize>().is_ok();
    let row = |label: &String| ClassRow {
        class: label.parse().ok().and_then(|label: usize| classes.get(label).cloned()).unwrap_or_else(|| label.clone()),
        precision: mean(label, "precision"),
        recall: mean(label, "recall"),
        f1: mean(label, "f1-score"),
        support: mean(label, "support"),
    };
    Some(ClassScores {
        name: name.to_owned(),
        images: images.to_owned(),
        seeds: reports.len(),
        macro_f1: mean("macro avg", "f1-score"),
        accuracy: Summary::of(&accuracies)?.mean,
        rows: first.keys().filter(is_class).map(row).collect(),
    })
}

/// Macro F1 and accuracy of the arms of a comparison.
pub(super) fn comparison(report: &Value) -> Vec<ScoreTable> {
    let row = |arm: &Value, measure: &str| ScoreRow {
        name: text(arm, "title").unwrap_or_default().to_owned(),
        detail: format!("{} labels, {} updates", arm["labels"], arm["updates"]),
        control: matches!(text(arm, "role"), Some("scratch" | "equal-updates" | "random")),
        values: numbers(arm, measure),
        published: arm["published"].as_f64().filter(|_| measure == "macro_f1"),
    };
    let table = |title: &str, measure| ScoreTable {
        title: title.to_owned(),
        rows: with_values(list(report, "arms").iter().map(|arm| row(arm, measure))),
    };
    vec![table("Macro F1", "macro_f1"), table("Accuracy", "accuracy")]
}

/// The class scores of the arms of a comparison, the pretrained one first.
pub(super) fn arm_reports(report: &Value, images: &str, classes: &[String]) -> Vec<ClassScores> {
    let arms = list(report, "arms");
    let of = |role: &str| arms.iter().find(|arm| text(arm, "role") == Some(role));
    ["pretrained", "random", "equal-updates", "scratch", "ceiling"]
        .into_iter()
        .filter_map(of)
        .filter_map(|arm| {
            class_scores(text(arm, "title")?, images, &list(arm, "reports").iter().collect::<Vec<_>>(), classes)
        })
        .collect()
}

/// The scores of the methods of a table.
pub(super) fn methods(table: &Value) -> Vec<ScoreTable> {
    let row = |place: usize, row: &Value, measure: &str| ScoreRow {
        name: text(row, "name").unwrap_or_default().to_owned(),
        detail: format!(
            "{} epochs{}",
            row["epochs"],
            if row["reads_labels"] == true { ", reads the labels" } else { "" }
        ),
        control: place == 0,
        values: numbers(row, measure),
        published: None,
    };
    let scores = |title: String, measure| ScoreTable {
        title,
        rows: with_values(list(table, "rows").iter().enumerate().map(|(place, one)| row(place, one, measure))),
    };
    let linear = format!("Macro F1 of a linear probe on {} labels", table["labels"]);
    vec![scores("Accuracy of the nearest neighbours".to_owned(), "knn_accuracy"), scores(linear, "linear_f1")]
}

fn with_values(rows: impl Iterator<Item = ScoreRow>) -> Vec<ScoreRow> {
    rows.filter(|row| !row.values.is_empty()).collect()
}

/// The scores by number of labels, for each way of choosing them: a curve, or a table where there is but one number.
pub(super) fn label_scores(curve: &Value) -> (Vec<LabelCurve>, Vec<ScoreTable>) {
    let several = |curve: &LabelCurve| curve.arms.iter().any(|arm| arm.points.len() > 1);
    let (curves, single): (Vec<_>, Vec<_>) = label_curves(curve).into_iter().partition(several);
    let control = |title: &str| {
        let points = list(curve, "points").iter();
        let mut arms =
            points.filter(|point| text(point, "title") == Some(title)).filter_map(|point| text(point, "arm"));
        arms.any(|arm| arm == "random" || arm.starts_with("scratch"))
    };
    let table = |curve: LabelCurve| {
        let labels = curve.arms.first().and_then(|arm| arm.points.first()).map_or(0, |point| point.0);
        let row = |arm: LabelArm| ScoreRow {
            control: control(&arm.name),
            name: arm.name,
            values: arm.points.into_iter().flat_map(|(_, scores)| scores).collect(),
            ..ScoreRow::default()
        };
        ScoreTable {
            title: format!("Macro F1 with {labels} labels ({})", curve.chosen),
            rows: curve.arms.into_iter().map(row).collect(),
        }
    };
    (curves, single.into_iter().map(table).collect())
}

/// The curves of scores by number of labels, one for each way of choosing them.
fn label_curves(curve: &Value) -> Vec<LabelCurve> {
    let mut curves: Vec<LabelCurve> = Vec::new();
    for point in list(curve, "points") {
        let (Some(chosen), Some(title)) = (text(point, "chosen"), text(point, "title")) else { continue };
        let Some(labels) = point["labels"].as_u64() else { continue };
        let scores = numbers(point, "macro_f1");
        if scores.is_empty() {
            continue;
        }
        let place = curves.iter().position(|curve| curve.chosen == chosen).unwrap_or_else(|| {
            curves.push(LabelCurve { chosen: chosen.to_owned(), arms: Vec::new() });
            curves.len() - 1
        });
        let arms = &mut curves[place].arms;
        let arm = arms.iter().position(|arm| arm.name == title).unwrap_or_else(|| {
            arms.push(LabelArm { name: title.to_owned(), points: Vec::new() });
            arms.len() - 1
        });
        arms[arm].points.push((labels as usize, scores));
    }
    curves
}
