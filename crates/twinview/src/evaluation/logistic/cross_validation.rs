//! How strong the penalty should be, judged on the labelled images alone.

use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use super::super::ClassificationReport;
use super::{LogisticRegression, likeliest};
use crate::embedding::Matrix;
use crate::random::{Purpose, Stream};
use crate::{Error, Result};

/// What a [`CrossValidation`] judges by.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Score {
    /// The mean logarithm of the probability that the true class got, at most 0: scikit-learn's `neg_log_loss`. With few
    /// images it tells values of `c` apart that predict as many of them right.
    #[default]
    LogLikelihood,
    /// The share of images predicted right, as scikit-learn's `LogisticRegressionCV`.
    Accuracy,
    /// The mean of the classes' F1.
    MacroF1,
}

/// Chooses `c` by stratified cross-validation.
///
/// Each image is predicted once, by a model that was fitted without its fold, and all predictions are scored
/// together: folds of few images have no macro F1 worth a mean.
#[derive(Clone, Debug, PartialEq)]
pub struct CrossValidation {
    /// How many folds: at least 2. With fewer images there are as many folds as images.
    pub folds: usize,
    /// The values of `c` to try.
    pub grid: Vec<f64>,
    /// What they are judged by.
    pub score: Score,
    /// Draws the folds.
    pub seed: u64,
}

impl Default for CrossValidation {
    /// Five folds, `c` from 1e-4 to 1e2 in factors of √10, log-likelihood.
    fn default() -> Self {
        let grid = (-8..=4).map(|power| 10_f64.powf(f64::from(power) / 2.0)).collect();
        Self { folds: 5, grid, score: Score::default(), seed: 0 }
    }
}

/// What a [`CrossValidation`] found.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Choice {
    /// The chosen `c`: of the best scores the one with the strongest penalty, the smallest `c`.
    pub c: f64,
    /// Each `c` that was tried and its score, by rising `c`. Empty where no image could be left out, because no class
    /// has two; then `c` is that of the regression given.
    pub scores: Vec<(f64, f64)>,
    /// The share of the left-out images that `c` predicted right, 0..=1. `None` where there are no scores.
    pub accuracy: Option<f64>,
    /// How many of the fits ended before they converged.
    pub unconverged: usize,
}

impl CrossValidation {
    /// Tries `regression` with each `c` of the grid on `features` and their `labels`, which count below `classes`.
    ///
    /// An image that is the only one of its class is always learnt from and never predicted.
    ///
    /// # Errors
    /// As [`LogisticRegression::fit`]; also when there are fewer than two folds, or nothing or something impossible
    /// in the grid.
    pub fn choose(
        &self,
        regression: &LogisticRegression,
        features: Matrix<'_>,
        labels: &[u8],
        classes: usize,
    ) -> Result<Choice> {
        if self.folds < 2 || self.grid.is_empty() {
            return Err(Error::Config(format!(
                "a cross-validation of {} folds over {} values of c chooses nothing: give at least 2 folds and one c",
                self.folds,
                self.grid.len()
            )));
        }
        let mut grid = self.grid.clone();
        grid.sort_unstable_by(f64::total_cmp);
        for &c in &grid {
            LogisticRegression { c, ..*regression }.check(features, labels, classes)?;
        }
        let folds = self.folds(labels);
        let judged: Vec<usize> = (0..labels.len()).filter(|&row| folds[row].is_some()).collect();
        if judged.is_empty() {
            return Ok(Choice { c: regression.c, scores: Vec::new(), accuracy: None, unconverged: 0 });
        }
        let (shares, unconverged) = predict_folds(regression, &grid, features, labels, classes, &folds)?;
        let truth: Vec<u8> = judged.iter().map(|&row| labels[row]).collect();
        let mut choice = Choice { c: grid[0], scores: Vec::new(), accuracy: None, unconverged };
        let mut best = f64::NEG_INFINITY;
        for (&c, shares) in grid.iter().zip(shares) {
            let shares: Vec<&[f32]> = judged.iter().map(|&row| &shares[row * classes..][..classes]).collect();
            let predicted: Vec<u8> = shares.iter().map(|shares| likeliest(shares) as u8).collect();
            let right = truth.iter().zip(&predicted).filter(|(truth, predicted)| truth == predicted).count();
            let accuracy = right as f64 / truth.len() as f64;
            let score = match self.score {
                Score::LogLikelihood => log_likelihood(&truth, &shares),
                Score::Accuracy => accuracy,
                Score::MacroF1 => ClassificationReport::new(&truth, &predicted)?.macro_average().f1,
            };
            if score > best {
                (best, choice.c, choice.accuracy) = (score, c, Some(accuracy));
            }
            choice.scores.push((c, score));
        }
        Ok(choice)
    }

    /// The fold of each image: those of a class are dealt out in random order, one class where the last one ended.
    /// `None` for the only one of its class.
    fn folds(&self, labels: &[u8]) -> Vec<Option<usize>> {
        let mut folds = vec![None; labels.len()];
        let mut next = 0;
        for class in 0..=u8::MAX {
            let mut rows: Vec<usize> = (0..labels.len()).filter(|&row| labels[row] == class).collect();
            if rows.len() < 2 {
                continue;
            }
            Stream::new(self.seed, Purpose::Resample).at(0, u64::from(class), 0).shuffle(&mut rows);
            for row in rows {
                folds[row] = Some(next % self.folds);
                next += 1;
            }
        }
        folds
    }
}

/// The mean logarithm of what the `truth` of each row got of its `shares`; less than `f64::EPSILON`
/// counts as that, as in scikit-learn.
pub(super) fn log_likelihood(truth: &[u8], shares: &[&[f32]]) -> f64 {
    let logarithm = |(&truth, shares): (&u8, &&[f32])| f64::from(shares[usize::from(truth)]).max(f64::EPSILON).ln();
    truth.iter().zip(shares).map(logarithm).sum::<f64>() / truth.len() as f64
}

/// The probabilities that models fitted without a row's fold give it, `[grid, rows * classes]`, and how many fits did not
/// converge. They are 0 for rows without a fold.
///
/// `grid` ascends, so that each fit begins where one with a stronger penalty has ended.
pub(super) fn predict_folds(
    regression: &LogisticRegression,
    grid: &[f64],
    features: Matrix<'_>,
    labels: &[u8],
    classes: usize,
    folds: &[Option<usize>],
) -> Result<(Vec<Vec<f32>>, usize)> {
    let last = folds.iter().flatten().max().map_or(0, |&last| last + 1);
    let of_folds: Vec<(Vec<u32>, Vec<Vec<f32>>, usize)> = (0..last)
        .into_par_iter()
        .map(|fold| {
            let rows = 0..labels.len() as u32;
            let (out, rows): (Vec<u32>, Vec<u32>) = rows.partition(|&row| folds[row as usize] == Some(fold));
            let mut model = None;
            let mut unconverged = 0;
            let mut predict = |&c: &f64| {
                let regression = LogisticRegression { c, ..*regression };
                let fitted = regression.fit_rows(features, labels, classes, &rows, model.as_ref());
                unconverged += usize::from(!fitted.converged());
                model.insert(fitted).probabilities_of(features, &out)
            };
            let shares = grid.iter().map(&mut predict).collect::<Result<_>>()?;
            Ok((out, shares, unconverged))
        })
        .collect::<Result<_>>()?;
    let mut shares = vec![vec![0.0; labels.len() * classes]; grid.len()];
    for (out, of_grid, _) in &of_folds {
        for (shares, of_fold) in shares.iter_mut().zip(of_grid) {
            for (&row, of_row) in out.iter().zip(of_fold.chunks_exact(classes)) {
                shares[row as usize * classes..][..classes].copy_from_slice(of_row);
            }
        }
    }
    Ok((shares, of_folds.iter().map(|fold| fold.2).sum()))
}
