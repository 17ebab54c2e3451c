//! Precision, recall and F1 of each class, as scikit-learn 1.9.1 reports them.
//!
//! ```
//! let report = twinview::evaluation::ClassificationReport::new(&[0, 1, 1], &[0, 1, 0])?;
//! println!("{report}"); // two digits; "{report:.4}" prints four
//! assert_eq!(report.to_json()["1"]["precision"], 1.0);
//! # Ok::<(), twinview::Error>(())
//! ```

use std::fmt;

use serde_json::{Map, Value, json};

use super::check_labels;
use crate::{Error, Result};

/// The figures of one row of a [`ClassificationReport`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Scores {
    /// True positives among all predicted as the class, 0..=1.
    pub precision: f64,
    /// True positives among all of the class, 0..=1.
    pub recall: f64,
    /// Harmonic mean of precision and recall, 0..=1.
    pub f1: f64,
    /// Samples of the class.
    pub support: u64,
}

/// Precision, recall and F1 of each class and their averages.
///
/// The text (by `Display`, with two digits or as many as the format's precision asks for) equals that of
/// `sklearn.metrics.classification_report` character for character, and [`to_json`](Self::to_json) its
/// `output_dict=True` to the last bit: sums are grouped as NumPy groups them. One choice is our own: class
/// names belong to labels, so a list of ten names serves a test set in which only nine classes occur.
#[derive(Clone, Debug, PartialEq)]
pub struct ClassificationReport {
    rows: Vec<(u8, Scores)>,
    names: Option<Vec<String>>,
    micro: Scores,
    macro_average: Scores,
    weighted_average: Scores,
    micro_is_accuracy: bool,
    nothing_right: bool,
    warnings: Vec<String>,
}

impl ClassificationReport {
    /// Reports on every label that occurs in `truth` or in `predicted`, in rising order.
    ///
    /// Fails when the two differ in length or are empty.
    pub fn new(truth: &[u8], predicted: &[u8]) -> Result<Self> {
        let present = Counts::new(truth, predicted)?.present();
        Self::of_labels(truth, predicted, &present)
    }

    /// Reports on `labels` only, in the order given; they need not occur.
    ///
    /// Where they leave out a label that occurs, the report has a micro average in place of the accuracy.
    /// Fails when `truth` and `predicted` differ in length or are empty, or when `labels` is empty or names
    /// a label twice.
    pub fn of_labels(truth: &[u8], predicted: &[u8], labels: &[u8]) -> Result<Self> {
        let counts = Counts::new(truth, predicted)?;
        if labels.is_empty() {
            return Err(Error::Config("a report on no labels was asked for: name at least one".into()));
        }
        if let Some((_, twice)) = labels.iter().enumerate().find(|&(index, label)| labels[..index].contains(label)) {
            return Err(Error::Config(format!("label {twice} is listed twice: list each label once")));
        }
        let of_class: Vec<ClassCounts> = labels.iter().map(|&label| counts.0[usize::from(label)]).collect();
        let total = of_class.iter().fold(ClassCounts::default(), |sum, class| sum.add(class));
        let micro = [total];
        // scikit-learn works out the averages one after the other, and warns each time.
        let passes: [&[ClassCounts]; 4] = [&of_class, &micro, &of_class, &of_class];
        let warnings = passes.iter().flat_map(|classes| zero_division_warnings(classes)).collect();
        let scores: Vec<Scores> = of_class.iter().map(ClassCounts::scores).collect();
        let support: Vec<u64> = of_class.iter().map(|class| class.truth).collect();
        let weights = if total.truth == 0 { vec![1; labels.len()] } else { support };
        Ok(Self {
            macro_average: average(&scores, &vec![1; labels.len()], total.truth),
            weighted_average: average(&scores, &weights, total.truth),
            micro: total.scores(),
            rows: labels.iter().copied().zip(scores).collect(),
            names: None,
            micro_is_accuracy: counts.present().iter().all(|label| labels.contains(label)),
            nothing_right: counts.0.iter().all(|class| class.right == 0),
            warnings,
        })
    }

    /// Prints `names[label]` instead of the label's number.
    ///
    /// Fails when a reported label has no name.
    pub fn with_names(mut self, names: &[String]) -> Result<Self> {
        let shown: Option<Vec<String>> =
            self.rows.iter().map(|&(label, _)| names.get(usize::from(label)).cloned()).collect();
        let Some(shown) = shown else {
            let highest = self.rows.iter().map(|row| row.0).max().unwrap_or(0);
            return Err(Error::Config(format!(
                "there are {} class names but a label is {highest}: give a name for each of the labels 0 to {highest}",
                names.len()
            )));
        };
        self.names = Some(shown);
        Ok(self)
    }

    /// Each reported label and its figures.
    pub fn rows(&self) -> &[(u8, Scores)] {
        &self.rows
    }

    /// The share of samples predicted right; `None` where only some of the labels are reported on.
    pub fn accuracy(&self) -> Option<f64> {
        self.micro_is_accuracy.then_some(self.micro.precision)
    }

    /// The mean over classes, each counting the same.
    pub fn macro_average(&self) -> Scores {
        self.macro_average
    }

    /// The mean over classes, each counting by its support.
    pub fn weighted_average(&self) -> Scores {
        self.weighted_average
    }

    /// What scikit-learn warns about, in its words and order: the figures that stand at 0 because their
    /// denominator is 0.
    pub fn warnings(&self) -> &[String] {
        &self.warnings
    }

    /// One object with a member for each row, shaped like `classification_report(output_dict=True)`.
    pub fn to_json(&self) -> Value {
        let row = |scores: &Scores| {
            json!({
                "precision": scores.precision,
                "recall": scores.recall,
                "f1-score": scores.f1,
                "support": scores.support as f64,
            })
        };
        let mut object: Map<String, Value> =
            self.headings().zip(&self.rows).map(|(heading, (_, scores))| (heading, row(scores))).collect();
        match self.accuracy() {
            Some(accuracy) => object.insert("accuracy".into(), accuracy.into()),
            None => object.insert("micro avg".into(), row(&self.micro)),
        };
        object.insert("macro avg".into(), row(&self.macro_average));
        object.insert("weighted avg".into(), row(&self.weighted_average));
        Value::Object(object)
    }

    fn headings(&self) -> impl Iterator<Item = String> {
        self.rows.iter().enumerate().map(|(index, (label, _))| match &self.names {
            Some(names) => names[index].clone(),
            None => label.to_string(),
        })
    }
}

impl fmt::Display for ClassificationReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let digits = f.precision().unwrap_or(2);
        let longest = self.headings().map(|heading| heading.chars().count()).max().unwrap_or(0);
        let width = longest.max("weighted avg".len()).max(digits);
        // scikit-learn's counts turn into floating-point numbers when no sample at all is right.
        let decimal = if self.nothing_right { ".0" } else { "" };
        let count = |support: u64| format!("{support}{decimal}");
        let row = |f: &mut fmt::Formatter<'_>, heading: &str, scores: &Scores| {
            let Scores { precision, recall, f1, support } = *scores;
            let support = count(support);
            writeln!(f, "{heading:>width$}  {precision:>9.digits$} {recall:>9.digits$} {f1:>9.digits$} {support:>9}")
        };
        writeln!(f, "{:>width$}  {:>9} {:>9} {:>9} {:>9}\n", "", "precision", "recall", "f1-score", "support")?;
        for (heading, (_, scores)) in self.headings().zip(&self.rows) {
            row(f, &heading, scores)?;
        }
        writeln!(f)?;
        if self.micro_is_accuracy {
            let Scores { f1, support, .. } = self.micro;
            let support = count(support);
            writeln!(f, "{:>width$}  {:>9} {:>9} {f1:>9.digits$} {support:>9}", "accuracy", "", "")?;
        } else {
            row(f, "micro avg", &self.micro)?;
        }
        row(f, "macro avg", &self.macro_average)?;
        row(f, "weighted avg", &self.weighted_average)
    }
}

/// How often a class was predicted right, was predicted, and was the truth.
#[derive(Clone, Copy, Default)]
struct ClassCounts {
    right: u64,
    predicted: u64,
    truth: u64,
}

impl ClassCounts {
    fn add(self, other: &Self) -> Self {
        Self {
            right: self.right + other.right,
            predicted: self.predicted + other.predicted,
            truth: self.truth + other.truth,
        }
    }

    fn scores(&self) -> Scores {
        let ratio = |part: u64, whole: u64| if whole == 0 { 0.0 } else { part as f64 / whole as f64 };
        Scores {
            precision: ratio(self.right, self.predicted),
            recall: ratio(self.right, self.truth),
            f1: ratio(2 * self.right, self.truth + self.predicted),
            support: self.truth,
        }
    }
}

/// [`ClassCounts`] of each of the 256 labels.
struct Counts(Vec<ClassCounts>);

impl Counts {
    fn new(truth: &[u8], predicted: &[u8]) -> Result<Self> {
        check_labels(truth, predicted)?;
        let mut counts = vec![ClassCounts::default(); 256];
        for (&truth, &predicted) in truth.iter().zip(predicted) {
            counts[usize::from(truth)].truth += 1;
            counts[usize::from(predicted)].predicted += 1;
            counts[usize::from(truth)].right += u64::from(truth == predicted);
        }
        Ok(Self(counts))
    }

    fn present(&self) -> Vec<u8> {
        (0..=u8::MAX)
            .zip(&self.0)
            .filter(|(_, class)| class.truth + class.predicted > 0)
            .map(|(label, _)| label)
            .collect()
    }
}

/// scikit-learn's `UndefinedMetricWarning` for each of the three figures that has a 0 below its line.
fn zero_division_warnings(classes: &[ClassCounts]) -> Vec<String> {
    let of = |metric: &str, missing: &str, undefined: fn(&ClassCounts) -> bool| {
        let place = if classes.len() == 1 { "due to" } else { "in labels with" };
        classes.iter().any(undefined).then(|| {
            format!(
                "{metric} is ill-defined and being set to 0.0 {place} no {missing} samples. \
                 Use `zero_division` parameter to control this behavior."
            )
        })
    };
    [
        of("Precision", "predicted", |class| class.predicted == 0),
        of("Recall", "true", |class| class.truth == 0),
        of("F-score", "true nor predicted", |class| class.predicted + class.truth == 0),
    ]
    .into_iter()
    .flatten()
    .collect()
}

/// The mean of each figure with whole-number weights that are not all 0.
fn average(scores: &[Scores], weights: &[u64], support: u64) -> Scores {
    let total = weights.iter().sum::<u64>() as f64;
    let mean = |figure: fn(&Scores) -> f64| {
        let weighted: Vec<f64> = scores.iter().zip(weights).map(|(row, &weight)| figure(row) * weight as f64).collect();
        pairwise_sum(&weighted) / total
    };
    Scores { precision: mean(|row| row.precision), recall: mean(|row| row.recall), f1: mean(|row| row.f1), support }
}

/// NumPy's grouping of a sum: eight running sums for each block of up to 128, halves above that.
fn pairwise_sum(values: &[f64]) -> f64 {
    match values.len() {
        0..8 => values.iter().sum(),
        8..=128 => {
            let mut sums = [0.0; 8];
            let (blocks, rest) = values.as_chunks::<8>();
            for block in blocks {
                sums.iter_mut().zip(block).for_each(|(sum, value)| *sum += value);
            }
            let [a, b, c, d, e, f, g, h] = sums;
            rest.iter().fold(((a + b) + (c + d)) + ((e + f) + (g + h)), |sum, value| sum + value)
        }
        length => {
            let (left, right) = values.split_at(length / 2 - length / 2 % 8);
            pairwise_sum(left) + pairwise_sum(right)
        }
    }
}

#[cfg(test)]
#[path = "classification_tests.rs"]
mod tests;
