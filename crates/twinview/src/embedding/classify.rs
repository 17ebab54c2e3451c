//! Classification by the labels of the nearest neighbours.

use super::{Matrix, Metric, Neighbours, knn};
use crate::{Error, Result};

/// How neighbours make a class.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Vote {
    /// Each counts one.
    Majority,
    /// Each counts `exp((1 - distance) / temperature)`, which for the cosine metric is the weighted vote of
    /// Wu et al. 2018 (arXiv:1805.01978, §3.4; they use temperature 0.07 and 200 neighbours).
    Weighted {
        /// Smaller gives near neighbours more weight: above 0.
        temperature: f32,
    },
}

/// The class of each query; of equal votes the lowest class wins.
///
/// `labels` are those of the references that `neighbours` were found in.
///
/// # Errors
/// When a neighbour has no label, or the temperature is not above 0.
pub fn classify(neighbours: &Neighbours, labels: &[u8], vote: Vote) -> Result<Vec<u8>> {
    if let Some(&index) = neighbours.indices().iter().max()
        && index as usize >= labels.len()
    {
        return Err(Error::Config(format!("{} labels were given, none for reference {index}", labels.len())));
    }
    if let Vote::Weighted { temperature } = vote
        && (temperature.is_nan() || temperature <= 0.0)
    {
        return Err(Error::Config(format!("the temperature of a vote must be above 0, not {temperature}")));
    }
    let class_of = |(indices, distances): (&[u32], &[f32])| {
        let mut votes = [0.0; 256];
        for (&index, &distance) in indices.iter().zip(distances) {
            votes[usize::from(labels[index as usize])] += match vote {
                Vote::Majority => 1.0,
                // Relative to the nearest, so that no exponential overflows and one is always 1.
                Vote::Weighted { temperature } => f64::from((distances[0] - distance) / temperature).exp(),
            };
        }
        let mut best = 0;
        (1..=255).filter(|&class: &u8| votes[usize::from(class)] > 0.0).for_each(|class| {
            if votes[usize::from(class)] > votes[usize::from(best)] {
                best = class;
            }
        });
        best
    };
    Ok(neighbours.rows().map(class_of).collect())
}

/// The share of `test` rows whose class [`classify`] finds from their `k` neighbours in `train`: 0..=1.
///
/// # Errors
/// As [`knn`] and [`classify`]; also when rows and labels differ in number or there is nothing to test.
pub fn accuracy(
    (train, train_labels): (Matrix<'_>, &[u8]),
    (test, test_labels): (Matrix<'_>, &[u8]),
    k: usize,
    metric: Metric,
    vote: Vote,
) -> Result<f64> {
    for (rows, labels) in [(train.rows(), train_labels.len()), (test.rows(), test_labels.len())] {
        if rows != labels || rows == 0 {
            return Err(Error::Config(format!("{rows} rows of features came with {labels} labels")));
        }
    }
    let classes = classify(&knn(train, test, k, metric)?, train_labels, vote)?;
    let right = classes.iter().zip(test_labels).filter(|(class, label)| class == label).count();
    Ok(right as f64 / test_labels.len() as f64)
}

#[cfg(test)]
mod tests {
    use super::super::tests::golden;
    use super::*;

    #[test]
    fn majority_agrees_with_scikit_learn() {
        let (values, columns) = golden("features");
        let labels: Vec<u8> = golden("labels").0.iter().map(|&label| label as u8).collect();
        let (train, test) = values.split_at(100 * columns);
        let (train, test) = (Matrix::new(train, columns).unwrap(), Matrix::new(test, columns).unwrap());
        for (metric, name) in [(Metric::Cosine, "cosine"), (Metric::Euclidean, "euclidean")] {
            let expected: Vec<u8> = golden(&format!("knn_{name}_classes")).0.iter().map(|&class| class as u8).collect();
            let neighbours = knn(train, test, 7, metric).unwrap();
            assert_eq!(classify(&neighbours, &labels[..100], Vote::Majority).unwrap(), expected);
            let right = expected.iter().zip(&labels[100..]).filter(|(class, label)| class == label).count();
            let share = accuracy((train, &labels[..100]), (test, &labels[100..]), 7, metric, Vote::Majority).unwrap();
            assert_eq!(share, right as f64 / 20.0);
        }
    }

    #[test]
    fn the_weighted_vote_agrees_with_lightly() {
        let (values, columns) = golden("vote_features");
        let labels: Vec<u8> = golden("vote_labels").0.iter().map(|&label| label as u8).collect();
        let (train, test) = values.split_at(320 * columns);
        let (train, test) = (Matrix::new(train, columns).unwrap(), Matrix::new(test, columns).unwrap());
        let (expected, cases) = golden("vote_classes");
        let weighted = |temperature| Vote::Weighted { temperature };
        let votes = [(200, weighted(0.07)), (200, weighted(0.1)), (20, weighted(0.07)), (200, Vote::Majority)];
        assert_eq!(cases, votes.len());
        for (case, (k, vote)) in votes.into_iter().enumerate() {
            let expected: Vec<u8> = expected.iter().skip(case).step_by(cases).map(|&class| class as u8).collect();
            let neighbours = knn(train, test, k, Metric::Cosine).unwrap();
            assert_eq!(classify(&neighbours, &labels[..320], vote).unwrap(), expected, "{k} {vote:?}");
        }
    }

    #[test]
    fn a_low_temperature_trusts_the_nearest() {
        // One neighbour of class 1 at 0.1, two of class 4 at 0.2: exp(0.1 / t) against 2.
        let reference = Matrix::new(&[0.1, 0.2, 0.2], 1).unwrap();
        let neighbours = knn(reference, Matrix::new(&[0.0], 1).unwrap(), 3, Metric::Euclidean).unwrap();
        let class = |vote| classify(&neighbours, &[1, 4, 4], vote).unwrap()[0];
        let turning = 0.1 / 2_f32.ln();
        assert_eq!(class(Vote::Majority), 4);
        assert_eq!(class(Vote::Weighted { temperature: 0.99 * turning }), 1);
        assert_eq!(class(Vote::Weighted { temperature: 1.01 * turning }), 4);
        assert_eq!(class(Vote::Weighted { temperature: 1e-30 }), 1);
    }

    #[test]
    fn equal_votes_go_to_the_lowest_class() {
        let reference = Matrix::new(&[1.0, 1.0], 1).unwrap();
        let neighbours = knn(reference, Matrix::new(&[0.0], 1).unwrap(), 2, Metric::Euclidean).unwrap();
        assert_eq!(classify(&neighbours, &[9, 3], Vote::Majority).unwrap(), [3]);
    }

    #[test]
    fn what_cannot_be_voted_on_is_refused() {
        let rows = Matrix::new(&[1.0, 2.0], 1).unwrap();
        let neighbours = knn(rows, rows, 2, Metric::Euclidean).unwrap();
        assert!(classify(&neighbours, &[0], Vote::Majority).unwrap_err().to_string().contains("reference 1"));
        for temperature in [0.0, -1.0, f32::NAN] {
            assert!(classify(&neighbours, &[0, 1], Vote::Weighted { temperature }).is_err());
        }
        let wrong = accuracy((rows, &[0]), (rows, &[0, 1]), 1, Metric::Cosine, Vote::Majority);
        assert!(wrong.unwrap_err().to_string().contains("2 rows of features came with 1 labels"));
    }
}
