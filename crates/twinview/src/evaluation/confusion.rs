//! Which classes are taken for which.

use super::check_labels;
use crate::{Error, Result};

/// Counts of (truth, prediction) pairs: a row for each true class, a column for each predicted one, as in
/// `sklearn.metrics.confusion_matrix`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfusionMatrix {
    classes: usize,
    counts: Vec<u64>,
}

impl ConfusionMatrix {
    /// Counts the pairs of labels, each below `classes`.
    ///
    /// Fails when the two lists differ in length or are empty, or when a label is not below `classes`.
    pub fn new(truth: &[u8], predicted: &[u8], classes: usize) -> Result<Self> {
        check_labels(truth, predicted)?;
        if let Some(label) = truth.iter().chain(predicted).find(|&&label| usize::from(label) >= classes) {
            return Err(Error::Config(format!(
                "label {label} does not fit into a confusion matrix of {classes} classes: labels count from 0"
            )));
        }
        let mut counts = vec![0; classes * classes];
        for (&truth, &predicted) in truth.iter().zip(predicted) {
            counts[usize::from(truth) * classes + usize::from(predicted)] += 1;
        }
        Ok(Self { classes, counts })
    }

    /// How many classes there are.
    pub fn classes(&self) -> usize {
        self.classes
    }

    /// The samples of class `truth` that were taken for `predicted`.
    ///
    /// # Panics
    /// When one of the two is not below [`classes`](Self::classes).
    pub fn count(&self, truth: usize, predicted: usize) -> u64 {
        assert!(predicted < self.classes, "there are {} classes", self.classes);
        self.counts[truth * self.classes + predicted]
    }

    /// A row of counts for each true class.
    pub fn rows(&self) -> impl Iterator<Item = &[u64]> {
        self.counts.chunks(self.classes)
    }

    /// The rows as shares of each true class, 0..=1; a class without samples has zeros.
    pub fn normalised(&self) -> Vec<Vec<f64>> {
        let share = |row: &[u64]| {
            let total = row.iter().sum::<u64>().max(1) as f64;
            row.iter().map(|&count| count as f64 / total).collect()
        };
        self.rows().map(share).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_truths() {
        let matrix = ConfusionMatrix::new(&[0, 0, 1, 1], &[0, 2, 2, 2], 3).unwrap();
        assert_eq!(matrix.rows().collect::<Vec<_>>(), [[1, 0, 1], [0, 0, 2], [0, 0, 0]]);
        assert_eq!((matrix.count(1, 2), matrix.count(2, 1)), (2, 0));
        assert_eq!(matrix.normalised(), [[0.5, 0.0, 0.5], [0.0, 0.0, 1.0], [0.0; 3]]);
    }

    #[test]
    fn a_label_out_of_range_is_told() {
        let message = ConfusionMatrix::new(&[0, 3], &[0, 0], 3).unwrap_err().to_string();
        assert!(message.contains("label 3 does not fit") && message.contains("3 classes"), "{message}");
    }
}
