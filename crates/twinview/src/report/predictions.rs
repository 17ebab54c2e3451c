//! What a classifier takes each image for, as a table.
//!
//! ```
//! use twinview::report::Prediction;
//!
//! let prediction = Prediction::new("photos/1.jpg".into(), Some("cat"), &[0.0, 2.0], &["cat".into(), "dog".into()]);
//! assert_eq!((prediction.class.as_str(), prediction.probability()), ("dog", 0.880797));
//! assert_eq!(Prediction::csv(&[prediction], None)?, "file,label,predicted,probability\nphotos/1.jpg,cat,dog,0.8808\n");
//! # Ok::<(), twinview::Error>(())
//! ```

use crate::evaluation::{most_probable, softmax};
use crate::{Error, Result};

/// What a classifier takes one image for.
#[derive(Clone, Debug, PartialEq)]
pub struct Prediction {
    /// The image: its file, or its number.
    pub file: String,
    /// What it is, where that is known.
    pub label: Option<String>,
    /// The most probable class.
    pub class: String,
    /// How probable the classifier says that each class is, together 1. Trained on few labels, classifiers are surer than they are
    /// right.
    pub probabilities: Vec<f32>,
}

impl Prediction {
    /// From the `logits` of the classes called `class_names`: those of equals the first.
    pub fn new(file: String, label: Option<&str>, logits: &[f32], class_names: &[String]) -> Self {
        let mut probabilities = logits.to_vec();
        softmax(&mut probabilities);
        let class = name_of(most_probable(logits), class_names);
        Self { file, label: label.map(str::to_owned), class, probabilities }
    }

    /// That of the most probable class.
    pub fn probability(&self) -> f32 {
        self.probabilities.get(most_probable(&self.probabilities)).copied().unwrap_or(f32::NAN)
    }

    /// `predictions` as comma-separated values: of the most probable class alone, or of `every` class too, in a column for each that
    /// bears its name.
    ///
    /// # Errors
    /// When there is no memory for it.
    pub fn csv(predictions: &[Self], every: Option<&[String]>) -> Result<String> {
        let mut header = ["file", "label", "predicted", "probability"].map(str::to_owned).to_vec();
        if let Some(names) = every {
            let classes = predictions.first().map_or(names.len(), |one| one.probabilities.len());
            header.extend((0..classes).map(|class| format!("p({})", name_of(class, names))));
        }
        let row = |one: &Self| {
            let label = one.label.clone().unwrap_or_default();
            let mut row = vec![one.file.clone(), label, one.class.clone(), format!("{:.4}", one.probability())];
            if every.is_some() {
                // All digits: where classifiers are mixed, what each finds improbable counts too.
                row.extend(one.probabilities.iter().map(f32::to_string));
            }
            row
        };
        csv_table(&header, predictions.iter().map(row))
    }
}

fn name_of(class: usize, names: &[String]) -> String {
    names.get(class).cloned().unwrap_or_else(|| class.to_string())
}

/// `rows` below their `header` as comma-separated values.
///
/// # Errors
/// When there is no memory for it.
pub fn csv_table(
    header: &[impl AsRef<str>],
    rows: impl IntoIterator<Item = impl IntoIterator<Item = String>>,
) -> Result<String> {
    let failed = |error: csv::Error| Error::Config(format!("the table cannot be written: {error}"));
    let mut writer = csv::Writer::from_writer(Vec::new());
    writer.write_record(header.iter().map(AsRef::as_ref)).map_err(failed)?;
    rows.into_iter().try_for_each(|row| writer.write_record(row)).map_err(failed)?;
    let bytes = writer.into_inner().map_err(|error| failed(error.into_error().into()))?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_with_commas_survive_and_unknown_labels_are_empty() {
        let names = ["cat, small".to_owned()];
        let predictions = [
            Prediction::new("a \"b\".png".into(), None, &[f32::MIN], &names),
            Prediction::new("7".into(), Some("1"), &[-1e30, 1e30], &[]),
        ];
        assert_eq!(
            Prediction::csv(&predictions, None).unwrap(),
            "file,label,predicted,probability\n\"a \"\"b\"\".png\",,\"cat, small\",1.0000\n7,1,1,1.0000\n"
        );
    }

    #[test]
    fn every_class_has_a_column_of_its_own() {
        let names = ["cat".to_owned(), "label".to_owned()];
        let predictions = [Prediction::new("a.png".into(), None, &[0.0, 1e-3, -30.0], &names)];
        let table = Prediction::csv(&predictions, Some(&names)).unwrap();
        let mut reader = csv::Reader::from_reader(table.as_bytes());
        assert_eq!(
            reader.headers().unwrap(),
            &["file", "label", "predicted", "probability", "p(cat)", "p(label)", "p(2)"][..]
        );
        let row = reader.records().next().unwrap().unwrap();
        let shares: Vec<f32> = row.iter().skip(4).map(|share| share.parse().unwrap()).collect();
        assert_eq!(shares, predictions[0].probabilities);
        assert!((shares.iter().sum::<f32>() - 1.0).abs() < 1e-6 && shares[2] > 0.0);
        assert_eq!(Prediction::csv(&[], Some(&names)).unwrap(), "file,label,predicted,probability,p(cat),p(label)\n");
    }
}
