//! Methods side by side: a table, Markdown.

use serde::{Deserialize, Serialize};

use crate::evaluation::Summary;

/// The scores of several methods, their control first.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct MethodTable {
    /// The dataset.
    pub dataset: String,
    /// Images that the scores are on.
    pub test_images: usize,
    /// Labels that the linear probes learned from.
    pub labels: usize,
    /// The command that made it.
    pub command: String,
    /// The program's version.
    pub version: String,
    /// The random encoders, then each method.
    pub rows: Vec<MethodRow>,
}

/// What one method reached.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct MethodRow {
    /// Its name.
    pub name: String,
    /// Epochs of its pretraining.
    pub epochs: u64,
    /// Whether its pretraining read the labels.
    #[serde(default)]
    pub reads_labels: bool,
    /// Test accuracy of the neighbours' vote, by seed.
    pub knn_accuracy: Vec<f64>,
    /// Test macro F1 of the linear probe, by seed.
    pub linear_f1: Vec<f64>,
}

impl MethodRow {
    /// A row of `scores`: accuracy of the vote and macro F1 of the linear probe, by seed.
    pub fn new(name: &str, epochs: u64, reads_labels: bool, scores: &[(f64, f64)]) -> Self {
        let (knn_accuracy, linear_f1) = scores.iter().copied().unzip();
        Self { name: name.to_owned(), epochs, reads_labels, knn_accuracy, linear_f1 }
    }
}

impl MethodTable {
    /// The table in Markdown: mean ± standard deviation, and what each gains over the first row, the control.
    pub fn markdown_table(&self) -> String {
        let mut lines = vec![
            format!("| Method | Epochs | kNN accuracy | gain | linear F1, {} labels | gain |", self.labels),
            "| --- | ---: | ---: | ---: | ---: | ---: |".to_owned(),
        ];
        for (place, row) in self.rows.iter().enumerate() {
            let cells = |values: &[f64], control: &[f64]| {
                let (Some(ours), Some(control)) = (Summary::of(values), Summary::of(control)) else {
                    return "– | –".to_owned();
                };
                let gain = if place == 0 { "–".to_owned() } else { format!("{:+.3}", ours.mean - control.mean) };
                format!("{ours} | {gain}")
            };
            let control = &self.rows[0];
            lines.push(format!(
                "| {} | {} | {} | {} |",
                row.name,
                row.epochs,
                cells(&row.knn_accuracy, &control.knn_accuracy),
                cells(&row.linear_f1, &control.linear_f1),
            ));
        }
        lines.join("\n")
    }

    /// What the numbers show, in plain words. The best is one of the methods that read no labels.
    pub fn verdict(&self) -> String {
        let Some((control, methods)) = self.rows.split_first() else { return String::new() };
        let mean = |values: &[f64]| Summary::of(values).map(|summary| summary.mean);
        let best = |of: fn(&MethodRow) -> &[f64], what: &str| {
            let unlabelled = methods.iter().filter(|row| !row.reads_labels);
            let scored = unlabelled.filter_map(|row| Some((row, mean(of(row))?)));
            let (row, score) = scored.max_by(|one, other| one.1.total_cmp(&other.1))?;
            let gain = score - mean(of(control))?;
            Some(format!("By {what}, {} is best with {score:.3}, {gain:+.3} against a random encoder.", row.name))
        };
        let sentences = [
            best(|row| &row.knn_accuracy, "the vote of the neighbours"),
            best(|row| &row.linear_f1, &format!("a linear probe on {} labels", self.labels)),
        ];
        let left_out = methods.iter().filter(|row| row.reads_labels);
        let left_out = left_out.map(|row| format!("{} read the labels and is left out of this.", row.name));
        let single = self.rows.iter().any(|row| row.knn_accuracy.len() < 2);
        let caution = single.then(|| "One seed cannot tell small differences from chance.".to_owned());
        sentences.into_iter().flatten().chain(left_out).chain(caution).collect::<Vec<_>>().join(" ")
    }

    /// The report.
    pub fn markdown(&self, settings: &str) -> String {
        let Self { dataset, test_images, labels, command, version, .. } = self;
        format!(
            "# Methods on {dataset}\n\n{}\n\n{}\n\nOn {test_images} test images, read once after each training, mean ± standard \
             deviation over the seeds. kNN: the vote of the 20 nearest training images (cosine, temperature 0.07), which \
             all have their labels. Linear: logistic regression on the first {labels} training images, its penalty chosen by \
             cross-validation on them. The random encoder has never been trained; its BatchNorm has seen the images.\n\nMade \
             by `{command}` with twinview {version}.\n\n## Settings\n\n```toml\n{settings}```\n",
            self.markdown_table(),
            self.verdict(),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_has_its_gain_over_the_first() {
        let rows = vec![
            MethodRow::new("random encoder", 0, false, &[(0.5, 0.4), (0.7, 0.4)]),
            MethodRow::new("simclr", 20, false, &[(0.75, 0.39), (0.85, 0.39)]),
            MethodRow::new("supcon", 20, true, &[(0.95, 0.89), (0.95, 0.89)]),
        ];
        let (command, version, dataset) = ("c".into(), "v".into(), "d".into());
        let table = MethodTable { dataset, test_images: 10, labels: 100, command, version, rows };
        let text = table.markdown("a = 1\n");
        assert!(text.contains("| Method | Epochs | kNN accuracy | gain | linear F1, 100 labels | gain |"), "{text}");
        assert!(text.contains("| random encoder | 0 | 0.600 ± 0.141 | – | 0.400 ± 0.000 | – |"), "{text}");
        assert!(text.contains("| simclr | 20 | 0.800 ± 0.071 | +0.200 | 0.390 ± 0.000 | -0.010 |"), "{text}");
        let verdict = table.verdict();
        assert!(verdict.contains("neighbours, simclr is best with 0.800, +0.200 against"), "{verdict}");
        assert!(verdict.contains("100 labels, simclr is best with 0.390, -0.010") && !verdict.contains("One seed"));
        assert!(verdict.ends_with("encoder. supcon read the labels and is left out of this."), "{verdict}");
        assert!(text.contains(&verdict), "{text}");
        assert!(text.ends_with("```toml\na = 1\n```\n"), "{text}");
    }
}
