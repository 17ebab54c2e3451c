//! Arms side by side: a table, a verdict in words, JSON and Markdown.

use serde::Serialize;
use serde_json::{Value, json};

use crate::evaluation::Summary;

/// The results of an experiment with several arms, each trained under several seeds.
#[derive(Clone, Debug, Serialize)]
pub struct Comparison {
    /// The recipe's name.
    pub recipe: String,
    /// The command that made it.
    pub command: String,
    /// The program's version.
    pub version: String,
    /// The dataset.
    pub dataset: String,
    /// Images that the scores are on.
    pub test_images: usize,
    /// Whether these were held out of the training images, to choose settings, and are not the test images.
    pub validation: bool,
    /// Pretrained encoders that the seeds of the pretrained arm share.
    pub encoders: u64,
    /// The arms, in the order of the tables.
    pub arms: Vec<ArmResult>,
}

/// What one arm reached.
#[derive(Clone, Debug, Serialize)]
pub struct ArmResult {
    /// Its short name.
    pub arm: String,
    /// Its name in tables.
    pub title: String,
    /// What it is to the verdict.
    pub role: Role,
    /// Labels it learned from.
    pub labels: usize,
    /// Updates of its classifier.
    pub updates: u64,
    /// Test macro F1, by seed.
    pub macro_f1: Vec<f64>,
    /// Test accuracy, by seed.
    pub accuracy: Vec<f64>,
    /// The macro F1 that the article gives.
    pub published: Option<f64>,
    /// scikit-learn's report, by seed.
    pub reports: Vec<Value>,
}

/// What an arm is to the verdict.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Role {
    /// All labels: what few labels are measured against.
    Ceiling,
    /// Few labels without pretraining.
    Scratch,
    /// Few labels without pretraining, by as many updates.
    EqualUpdates,
    /// A frozen encoder that learned nothing.
    Random,
    /// A frozen encoder that learned from unlabelled images.
    Pretrained,
}

/// Two-sided 95 % points of Student's t for 1 to 10 degrees of freedom; past them the normal's is near enough.
const STUDENT: [f64; 10] = [12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228];

/// Half the width of the 95 % interval of the mean; `None` for one run.
pub(super) fn half_interval(summary: &Summary) -> Option<f64> {
    let quantile = STUDENT.get(summary.n.checked_sub(2)?).copied().unwrap_or(1.96);
    Some(quantile * summary.sd? / (summary.n as f64).sqrt())
}

impl Comparison {
    fn arm(&self, role: Role) -> Option<&ArmResult> {
        self.arms.iter().find(|arm| arm.role == role)
    }

    /// The gain of the pretrained arm over `role`, seed by seed.
    fn gain(&self, role: Role) -> Option<Summary> {
        Summary::of_differences(&self.arm(Role::Pretrained)?.macro_f1, &self.arm(role)?.macro_f1)
    }

    /// The images that the scores are on, in words.
    pub fn judges(&self) -> String {
        format!("{} {}", self.test_images, if self.validation { "held-out training" } else { "test" })
    }

    /// What the numbers show, in plain words.
    pub fn verdict(&self) -> String {
        let Some(pretrained) = self.arm(Role::Pretrained) else { return String::new() };
        let Some(score) = Summary::of(&pretrained.macro_f1) else { return String::new() };
        let mut text = format!(
            "With {} labels, a head on the frozen SimSiam encoder reaches a macro F1 of {score}.",
            pretrained.labels
        );
        let controls = [
            (Role::Random, "the same head on an encoder of random weights"),
            (Role::EqualUpdates, "training the whole network from scratch by as many updates"),
            (Role::Scratch, "the scratch baseline"),
        ];
        for (role, name) in controls {
            let (Some(gain), Some(arm)) = (self.gain(role), self.arm(role)) else { continue };
            let Some(control) = Summary::of(&arm.macro_f1) else { continue };
            text.push_str(&format!(" Against {name} ({control}) that is {:+.3}", gain.mean));
            text.push_str(&match half_interval(&gain) {
                None => "; one seed cannot tell this from chance.".to_owned(),
                Some(half) if gain.mean.abs() <= half => {
                    format!(", within the noise (95 % interval {:+.3} to {:+.3}).", gain.mean - half, gain.mean + half)
                }
                Some(half) => format!(" (95 % interval {:+.3} to {:+.3}).", gain.mean - half, gain.mean + half),
            });
        }
        if let Some(gain) = self.gain(Role::Random) {
            let sure = half_interval(&gain).is_some_and(|half| gain.mean > half);
            text.push_str(" What the unlabelled images add is the gain over the random encoder, and ");
            text.push_str(match (sure, self.encoders) {
                (false, _) => "these runs do not show one.",
                (true, 1) => "for this one pretraining it is real.",
                (true, _) => "it is real here.",
            });
        }
        if let Some(ceiling) = self.arm(Role::Ceiling).and_then(|arm| Some((arm, Summary::of(&arm.macro_f1)?))) {
            text.push_str(&format!(" All {} labels give {}.", ceiling.0.labels, ceiling.1));
        }
        if (self.encoders as usize) < pretrained.macro_f1.len() {
            let count = self.encoders;
            let encoders = if count == 1 { "one pretraining".to_owned() } else { format!("{count} pretrainings") };
            text.push_str(&format!(" The spread of the SimSiam arm is that of its heads: they share {encoders}."));
        }
        text
    }

    /// The table of arms: header and rows, as text in columns.
    fn cells(&self) -> Vec<[String; 6]> {
        let mut rows = vec![["Arm", "Labels", "Updates", "Macro F1", "Accuracy", "Article"].map(str::to_owned)];
        for arm in &self.arms {
            let text = |values: &[f64]| Summary::of(values).map_or_else(String::new, |summary| summary.to_string());
            rows.push([
                arm.title.clone(),
                arm.labels.to_string(),
                arm.updates.to_string(),
                text(&arm.macro_f1),
                text(&arm.accuracy),
                arm.published.map_or_else(|| "–".to_owned(), |published| format!("{published:.2}")),
            ]);
        }
        rows
    }

    /// The table for a terminal.
    pub fn table(&self) -> String {
        let rows = self.cells();
        let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
        let widths: Vec<usize> = (0..6).map(width).collect();
        let line = |row: &[String; 6]| {
            let cells = row.iter().zip(&widths).enumerate().map(|(column, (cell, &width))| {
                if column == 0 { format!("{cell:<width$}") } else { format!("{cell:>width$}") }
            });
            cells.collect::<Vec<_>>().join("  ").trim_end().to_owned()
        };
        rows.iter().map(line).collect::<Vec<_>>().join("\n")
    }

    /// The table in Markdown.
    pub fn markdown_table(&self) -> String {
        let mut lines: Vec<String> = self.cells().iter().map(|row| format!("| {} |", row.join(" | "))).collect();
        lines.insert(1, "| --- | ---: | ---: | ---: | ---: | ---: |".to_owned());
        lines.join("\n")
    }

    /// Everything as one JSON object.
    pub fn to_json(&self, settings: &impl Serialize) -> Value {
        let mut report = json!(self);
        let summaries: serde_json::Map<String, Value> = self
            .arms
            .iter()
            .map(|arm| {
                let of = |values: &[f64]| json!(Summary::of(values));
                (arm.arm.clone(), json!({ "macro_f1": of(&arm.macro_f1), "accuracy": of(&arm.accuracy) }))
            })
            .collect();
        if let Some(object) = report.as_object_mut() {
            object.insert("summary".to_owned(), Value::Object(summaries));
            object.insert("verdict".to_owned(), Value::from(self.verdict()));
            object.insert("settings".to_owned(), json!(settings));
        }
        report
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn comparison(pretrained: &[f64], random: &[f64]) -> Comparison {
        let arm = |role, title: &str, macro_f1: &[f64]| ArmResult {
            arm: title.to_owned(),
            title: title.to_owned(),
            role,
            labels: 100,
            updates: 10,
            macro_f1: macro_f1.to_vec(),
            accuracy: macro_f1.to_vec(),
            published: None,
            reports: Vec::new(),
        };
        let arms = vec![arm(Role::Random, "Random", random), arm(Role::Pretrained, "SimSiam", pretrained)];
        let [recipe, command, version, dataset] = ["quick", "twinview", "0", "shapes"].map(str::to_owned);
        Comparison { recipe, command, version, dataset, test_images: 10, validation: false, encoders: 1, arms }
    }

    #[test]
    fn a_gain_is_only_called_real_where_it_is_outside_the_noise() {
        let clear = comparison(&[0.85, 0.86, 0.84], &[0.75, 0.76, 0.74]).verdict();
        assert!(clear.contains("for this one pretraining it is real"), "{clear}");
        let noise = comparison(&[0.80, 0.70, 0.90], &[0.79, 0.78, 0.80]).verdict();
        assert!(noise.contains("within the noise") && noise.contains("do not show one"), "{noise}");
        let single = comparison(&[0.85], &[0.75]).verdict();
        assert!(single.contains("one seed cannot tell") && single.contains("do not show one"), "{single}");
    }

    #[test]
    fn tables_line_up() {
        let comparison = comparison(&[0.85, 0.86], &[0.75, 0.76]);
        let table = comparison.table();
        let widths: Vec<usize> = table.lines().map(|line| line.chars().count()).collect();
        assert_eq!(widths.len(), 3);
        assert!(table.contains("0.855 ± 0.007"), "{table}");
        assert!(widths[1] == widths[2], "{table}");
    }
}
