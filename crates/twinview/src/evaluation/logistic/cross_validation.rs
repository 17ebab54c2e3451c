//! How strong the penalty should be, judged on the labelled images alone.

use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use super::super::ClassificationReport;
use super::LogisticRegression;
use crate::embedding::Matrix;
use crate::random::{Purpose, Stream};
use crate::{Error, Result};

/// What a [`CrossValidation`] judges by.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Score {
    /// The share of images predicted right, as scikit-learn's `LogisticRegressionCV`.
    #[default]
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
    /// Five folds, `c` from 1e-4 to 1e2 in factors of ten, accuracy.
    fn default() -> Self {
        Self { folds: 5, grid: (-4..=2).map(|power| 10_f64.powi(power)).collect(), score: Score::default(), seed: 0 }
    }
}

/// What a [`CrossValidation`] found.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Choice {
    /// The chosen `c`: of the best scores the one with the strongest penalty, the smallest `c`.
    pub c: f64,
    /// Each `c` that was tried and its score, 0..=1, by rising `c`. Empty where no image could be left out, because
    /// no class has two; then `c` is that of the regression given.
    pub scores: Vec<(f64, f64)>,
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
            return Ok(Choice { c: regression.c, scores: Vec::new(), unconverged: 0 });
        }
        let (predicted, unconverged) = predict_folds(regression, &grid, features, labels, classes, &folds)?;
        let truth: Vec<u8> = judged.iter().map(|&row| labels[row]).collect();
        let mut choice = Choice { c: grid[0], scores: Vec::new(), unconverged };
        let mut best = f64::NEG_INFINITY;
        for (&c, predicted) in grid.iter().zip(predicted) {
            let predicted: Vec<u8> = judged.iter().map(|&row| predicted[row]).collect();
            let score = match self.score {
                Score::Accuracy => {
                    let right = truth.iter().zip(&predicted).filter(|(truth, predicted)| truth == predicted).count();
                    right as f64 / truth.len() as f64
                }
                Score::MacroF1 => ClassificationReport::new(&truth, &predicted)?.macro_average().f1,
            };
            if score > best {
                (best, choice.c) = (score, c);
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

/// What models fitted without a row's fold predict for it, `[grid, rows]`, and how many fits did not converge.
///
/// `grid` ascends, so that each fit begins where one with a stronger penalty has ended.
pub(super) fn predict_folds(
    regression: &LogisticRegression,
    grid: &[f64],
    features: Matrix<'_>,
    labels: &[u8],
    classes: usize,
    folds: &[Option<usize>],
) -> Result<(Vec<Vec<u8>>, usize)> {
    let last = folds.iter().flatten().max().map_or(0, |&last| last + 1);
    let of_folds: Vec<(Vec<u32>, Vec<Vec<u8>>, usize)> = (0..last)
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
                model.insert(fitted).predict_rows(features, &out)
            };
            let predicted = grid.iter().map(&mut predict).collect::<Result<_>>()?;
            Ok((out, predicted, unconverged))
        })
        .collect::<Result<_>>()?;
    let mut predicted = vec![vec![0; labels.len()]; grid.len()];
    for (out, of_grid, _) in &of_folds {
        for (predicted, of_fold) in predicted.iter_mut().zip(of_grid) {
            out.iter().zip(of_fold).for_each(|(&row, &class)| predicted[row as usize] = class);
        }
    }
    Ok((predicted, of_folds.iter().map(|fold| fold.2).sum()))
}
