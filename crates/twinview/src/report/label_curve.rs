//! Scores by number of labels: a table, what they show, Markdown.

use serde::{Deserialize, Serialize};

use super::comparison::half_interval;
use crate::evaluation::Summary;

/// The results of arms at several budgets of labels.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct LabelCurve {
    /// The recipe's name.
    pub recipe: String,
    /// The method of the pretraining.
    pub method: String,
    /// The command that made it.
    pub command: String,
    /// The program's version.
    pub version: String,
    /// The dataset.
    pub dataset: String,
    /// Images that the scores are on.
    pub test_images: usize,
    /// Pretrained encoders that the seeds share.
    pub encoders: u64,
    /// The dataset that those were pretrained on, where it is another.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pretrained_on: Option<String>,
    /// The scores, by way of choosing labels, then by budget, then by arm.
    pub points: Vec<LabelPoint>,
}

/// What one arm reached with one budget.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct LabelPoint {
    /// The arm's short name.
    pub arm: String,
    /// Its name in tables.
    pub title: String,
    /// How the labelled images were chosen.
    pub chosen: String,
    /// Labels.
    pub labels: usize,
    /// Test macro F1, by seed.
    pub macro_f1: Vec<f64>,
    /// Test accuracy, by seed.
    pub accuracy: Vec<f64>,
}

/// One arm against its control, seed by seed.
fn gain(ours: &LabelPoint, control: &LabelPoint) -> Option<String> {
    let (score, gain) = (Summary::of(&ours.macro_f1)?, Summary::of_differences(&ours.macro_f1, &control.macro_f1)?);
    let certainty = match half_interval(&gain) {
        None => "one seed, no interval".to_owned(),
        Some(half) if gain.mean.abs() <= half => "within the noise".to_owned(),
        Some(half) => format!("95 % interval {:+.3} to {:+.3}", gain.mean - half, gain.mean + half),
    };
    Some(format!("{} {score}, {:+.3} against {} ({certainty})", ours.title, gain.mean, control.title))
}

impl LabelCurve {
    /// Ways of choosing labels, each with its budgets and arms, all in the order of the points.
    fn tables(&self) -> Vec<(&str, Vec<usize>, Vec<&str>)> {
        fn distinct<T: PartialEq>(values: impl Iterator<Item = T>) -> Vec<T> {
            values.fold(Vec::new(), |mut seen, value| {
                if !seen.contains(&value) {
                    seen.push(value);
                }
                seen
            })
        }
        let of = |chosen: &str| self.points.iter().filter(move |point| point.chosen == chosen).collect::<Vec<_>>();
        distinct(self.points.iter().map(|point| point.chosen.as_str()))
            .into_iter()
            .map(|chosen| {
                let points = of(chosen);
                let budgets = distinct(points.iter().map(|point| point.labels));
                (chosen, budgets, distinct(points.iter().map(|point| point.title.as_str())))
            })
            .collect()
    }

    fn point(&self, chosen: &str, labels: usize, title: &str) -> Option<&LabelPoint> {
        self.points.iter().find(|point| point.chosen == chosen && point.labels == labels && point.title == title)
    }

    /// The tables in Markdown, with a line on each: macro F1, mean ± standard deviation.
    pub fn markdown_tables(&self) -> String {
        let table = |(chosen, budgets, titles): (&str, Vec<usize>, Vec<&str>)| {
            let mut lines = vec![
                format!("| Labels ({chosen}) | {} |", titles.join(" | ")),
                format!("| ---: |{}", " ---: |".repeat(titles.len())),
            ];
            for labels in budgets {
                let cell = |title: &&str| {
                    let summary = self.point(chosen, labels, title).and_then(|point| Summary::of(&point.macro_f1));
                    summary.map_or_else(|| "–".to_owned(), |summary| summary.to_string())
                };
                let cells: Vec<String> = titles.iter().map(cell).collect();
                lines.push(format!("| {labels} | {} |", cells.join(" | ")));
            }
            lines.join("\n")
        };
        self.tables().into_iter().map(table).collect::<Vec<_>>().join("\n\n")
    }

    /// What the numbers show at one budget, in plain words: the linear head against the same head on the random encoder;
    /// the arm that made most of the unlabelled images against the tuned scratch control; and self-training with
    /// the pretrained encoder against self-training without.
    fn gains(&self, chosen: &str, labels: usize, titles: &[&str]) -> String {
        let point = |arm: &str| {
            self.points.iter().find(|point| point.arm == arm && point.chosen == chosen && point.labels == labels)
        };
        let most = titles.last().and_then(|title| self.point(chosen, labels, title));
        let pairs = [
            (point("pretrained"), point("random")),
            (most, point("scratch")),
            (point("self-trained"), point("scratch-self-trained")),
        ];
        let parts: Vec<String> = pairs.into_iter().filter_map(|(ours, control)| gain(ours?, control?)).collect();
        parts.join("; ")
    }

    /// What the numbers show at every budget, in a list.
    pub fn verdict(&self) -> String {
        let of = |(chosen, budgets, titles): (&str, Vec<usize>, Vec<&str>)| {
            let line = |labels| format!("- {labels} labels ({chosen}): {}.", self.gains(chosen, labels, &titles));
            budgets.into_iter().map(line).collect::<Vec<_>>()
        };
        self.tables().into_iter().flat_map(of).collect::<Vec<_>>().join("\n")
    }

    /// The verdict in a paragraph: the least and the largest number of labels, for the first way of choosing them.
    pub fn summary(&self) -> String {
        let Some((chosen, budgets, titles)) = self.tables().into_iter().next() else { return String::new() };
        let sentence = |labels| format!("With {labels} labels: {}.", self.gains(chosen, labels, &titles));
        let (first, last) = (budgets.iter().min(), budgets.iter().max().filter(|_| budgets.len() > 1));
        first.into_iter().chain(last).map(|&labels| sentence(labels)).collect::<Vec<_>>().join(" ")
    }

    /// The report.
    pub fn markdown(&self, settings: &str) -> String {
        let figures: Vec<String> = self
            .tables()
            .iter()
            .map(|(chosen, ..)| format!("![Macro F1 by number of labels](figures/labels-{chosen}.png)"))
            .collect();
        let Self { method, dataset, test_images, encoders, command, version, .. } = self;
        let elsewhere = self.pretrained_on.as_ref().map_or_else(String::new, |on| format!(" (on {on})"));
        format!(
            "# Labels that {method} saves on {dataset}\n\n{}\n\n{}\n\n{}\n\nMacro F1 on {test_images} test images, \
             mean ± standard deviation over the seeds, read once after each training; settings were chosen on \
             held-out training images. {encoders} pretrained encoder{}{elsewhere} for all seeds.\n\nMade by `{command}` with twinview \
             {version}.\n\n## Settings\n\n```toml\n{settings}```\n",
            self.verdict(),
            self.markdown_tables(),
            figures.join("\n\n"),
            if *encoders == 1 { "" } else { "s" },
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn point(arm: &str, labels: usize, macro_f1: &[f64]) -> LabelPoint {
        LabelPoint {
            arm: arm.into(),
            title: arm.to_uppercase(),
            chosen: "first".into(),
            labels,
            macro_f1: macro_f1.to_vec(),
            accuracy: macro_f1.to_vec(),
        }
    }

    #[test]
    fn tables_and_verdict_hold_every_budget() {
        let points = vec![
            point("scratch", 10, &[0.4, 0.5]),
            point("random", 10, &[0.45, 0.45]),
            point("pretrained", 10, &[0.55, 0.57]),
            point("scratch", 100, &[0.7]),
            point("random", 100, &[0.65]),
            point("pretrained", 100, &[0.6]),
            point("scratch-self-trained", 100, &[0.68]),
            point("self-trained", 100, &[0.69]),
        ];
        let curve = LabelCurve {
            recipe: "r".into(),
            method: "SimCLR".into(),
            command: "c".into(),
            version: "v".into(),
            dataset: "d".into(),
            test_images: 3,
            encoders: 1,
            pretrained_on: None,
            points,
        };
        let table = curve.markdown_tables();
        assert!(
            table.contains("| Labels (first) | SCRATCH | RANDOM | PRETRAINED | SCRATCH-SELF-TRAINED | SELF-TRAINED |"),
            "{table}"
        );
        assert!(table.contains("| 10 | 0.450 ± 0.071 | 0.450 ± 0.000 | 0.560 ± 0.014 | – | – |"), "{table}");
        let verdict = curve.verdict();
        assert!(verdict.contains("- 10 labels (first): PRETRAINED 0.560 ± 0.014, +0.110 against RANDOM"), "{verdict}");
        let summary = curve.summary();
        assert!(summary.starts_with("With 10 labels: PRETRAINED 0.560 ± 0.014, +0.110 against RANDOM"), "{summary}");
        assert!(summary.contains(" With 100 labels: PRETRAINED 0.600, -0.050 against RANDOM"), "{summary}");
        let gains = "SELF-TRAINED 0.690, -0.010 against SCRATCH (one seed, no interval); SELF-TRAINED 0.690, +0.010 against \
                     SCRATCH-SELF-TRAINED (one seed, no interval).";
        assert!(verdict.ends_with(gains), "{verdict}");
    }
}
