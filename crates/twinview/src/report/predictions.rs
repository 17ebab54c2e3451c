//! What a classifier takes each image for, as a table.
//!
//! ```
//! use twinview::report::Prediction;
//!
//! let prediction = Prediction::new("photos/1.jpg".into(), Some("cat"), &[0.0, 2.0], &["cat".into(), "dog".into()]);
//! assert_eq!((prediction.class.as_str(), prediction.probability), ("dog", 0.880797));
//! assert_eq!(Prediction::csv(&[prediction])?, "file,label,predicted,probability\nphotos/1.jpg,cat,dog,0.8808\n");
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
    /// How probable the classifier says that it is. Trained on few labels, classifiers are surer than they are right.
    pub probability: f32,
}

impl Prediction {
    /// From the `logits` of the classes called `class_names`: those of equals the first.
    pub fn new(file: String, label: Option<&str>, logits: &[f32], class_names: &[String]) -> Self {
        let best = most_probable(logits);
        let mut probabilities = logits.to_vec();
        softmax(&mut probabilities);
        let class = class_names.get(best).cloned().unwrap_or_else(|| best.to_string());
        Self { file, label: label.map(str::to_owned), class, probability: probabilities[best] }
    }

    /// `predictions` as comma-separated values.
    ///
    /// # Errors
    /// When there is no memory for it.
    pub fn csv(predictions: &[Self]) -> Result<String> {
        let row = |Self { file, label, class, probability }: &Self| {
            [file.clone(), label.clone().unwrap_or_default(), class.clone(), format!("{probability:.4}")]
        };
        csv_table(["file", "label", "predicted", "probability"], predictions.iter().map(row))
    }
}

/// `rows` below their `header` as comma-separated values.
///
/// # Errors
/// When there is no memory for it.
pub fn csv_table<const N: usize>(header: [&str; N], rows: impl IntoIterator<Item = [String; N]>) -> Result<String> {
    let failed = |error: csv::Error| Error::Config(format!("the table cannot be written: {error}"));
    let mut writer = csv::Writer::from_writer(Vec::new());
    writer.write_record(header).map_err(failed)?;
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
            Prediction::csv(&predictions).unwrap(),
            "file,label,predicted,probability\n\"a \"\"b\"\".png\",,\"cat, small\",1.0000\n7,1,1,1.0000\n"
        );
    }
}
