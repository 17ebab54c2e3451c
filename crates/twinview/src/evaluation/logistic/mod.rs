//! Multinomial logistic regression: the linear probe of frozen features.

mod cross_validation;
mod lbfgs;
mod objective;
mod products;

use rayon::prelude::*;

pub use cross_validation::{Choice, CrossValidation, Score};

use self::lbfgs::minimise;
use self::objective::{Block, Objective, Scaling, softmax};
use self::products::Layout;
use crate::embedding::Matrix;
use crate::{Error, Result};

/// Logistic regression with an l2 penalty, solved by L-BFGS.
///
/// As scikit-learn's `LogisticRegression` it minimises `c` times the sum of the cross-entropies plus half of the sum
/// of the squared weights, without a penalty on the intercepts. With two classes the penalty is doubled, which makes
/// it scikit-learn's single weight vector. Equal input gives equal bits for any number of threads.
///
/// ```
/// use twinview::embedding::Matrix;
/// use twinview::evaluation::LogisticRegression;
///
/// let features = [0.0, 0.1, 1.0, 1.1, 2.0, 2.1];
/// let features = Matrix::new(&features, 1)?;
/// let model = LogisticRegression { c: 100.0, ..Default::default() }.fit(features, &[0, 0, 1, 1, 2, 2], 3)?;
/// assert!(model.converged());
/// assert_eq!(model.predict(features)?, [0, 0, 1, 1, 2, 2]);
/// # Ok::<(), twinview::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct LogisticRegression {
    /// The inverse of the strength of the penalty: above 0.
    pub c: f64,
    /// Whether features are first brought to mean 0 and standard deviation 1 over the training rows.
    pub standardize: bool,
    /// The search ends where no entry of the gradient of the mean loss is larger: above 0.
    pub tolerance: f64,
    /// Steps after which the search ends anyway.
    pub max_iterations: usize,
}

impl Default for LogisticRegression {
    fn default() -> Self {
        Self { c: 1.0, standardize: true, tolerance: 1e-4, max_iterations: 1000 }
    }
}

impl LogisticRegression {
    /// Learns to tell `labels`, each below `classes`, from `features`, a row for each label.
    ///
    /// A class without a label is never predicted; a single class with labels always is.
    ///
    /// # Errors
    /// When rows and labels differ in number, there are none, a label is not below `classes`, or a setting is out of
    /// its range.
    pub fn fit(&self, features: Matrix<'_>, labels: &[u8], classes: usize) -> Result<LinearModel> {
        self.check(features, labels, classes)?;
        let rows: Vec<u32> = (0..labels.len() as u32).collect();
        Ok(self.fit_rows(features, labels, classes, &rows, None))
    }

    fn check(&self, features: Matrix<'_>, labels: &[u8], classes: usize) -> Result<()> {
        if features.rows() != labels.len() || labels.is_empty() {
            let rows = features.rows();
            return Err(Error::Config(format!(
                "{rows} rows of features came with {} labels: a logistic regression needs one label for each row, \
                 and at least one",
                labels.len()
            )));
        }
        if let Some(label) = labels.iter().find(|&&label| usize::from(label) >= classes) {
            return Err(Error::Config(format!("label {label} is none of {classes} classes: labels count from 0")));
        }
        for (name, value) in [("c", self.c), ("tolerance", self.tolerance)] {
            if !value.is_finite() || value <= 0.0 {
                return Err(Error::Config(format!("{name} is {value}: a logistic regression needs a number above 0")));
            }
        }
        Ok(())
    }

    /// Learns from `rows` of what [`check`](Self::check) has passed, beginning at the weights of `start`, which was
    /// fitted to the same rows.
    fn fit_rows(
        &self,
        features: Matrix<'_>,
        labels: &[u8],
        classes: usize,
        rows: &[u32],
        start: Option<&LinearModel>,
    ) -> LinearModel {
        let label = |row: u32| labels[row as usize];
        let mut present: Vec<u8> = rows.iter().map(|&row| label(row)).collect();
        present.sort_unstable();
        present.dedup();
        let mut places = [0; 256];
        present.iter().enumerate().for_each(|(place, &label)| places[usize::from(label)] = place);
        let targets: Vec<usize> = rows.iter().map(|&row| places[usize::from(label(row))]).collect();
        let layout = Layout { classes: present.len(), columns: features.columns() };
        let scaling = match start {
            Some(start) => start.scaling.clone(),
            None => Scaling::of(features, rows, self.standardize),
        };
        let penalty = if present.len() == 2 { 2.0 } else { 1.0 } / (self.c * rows.len() as f64);
        let objective = Objective { features, rows, targets: &targets, scaling: &scaling, layout, penalty };
        let point = start.map_or_else(|| vec![0.0; layout.weights() + layout.classes], |start| start.point.clone());
        let evaluate = |point: &[f64], gradient: &mut [f64]| objective.evaluate(point, gradient);
        let minimum = minimise(evaluate, point, self.tolerance, self.max_iterations);
        LinearModel {
            classes,
            labels: present,
            layout,
            scaling,
            point: minimum.point,
            loss: minimum.value,
            iterations: minimum.iterations,
            converged: minimum.converged,
        }
    }
}

/// What a [`LogisticRegression`] has learnt.
#[derive(Clone, Debug)]
pub struct LinearModel {
    classes: usize,
    /// The label of each class of the layout, ascending.
    labels: Vec<u8>,
    layout: Layout,
    scaling: Scaling,
    /// Weights as the layout has them, and then the intercepts.
    point: Vec<f64>,
    loss: f64,
    iterations: usize,
    converged: bool,
}

impl LinearModel {
    /// The most probable class of each row; of equals the lowest.
    ///
    /// # Errors
    /// When the rows have another number of columns than those it was fitted to.
    pub fn predict(&self, features: Matrix<'_>) -> Result<Vec<u8>> {
        let best = |shares: &[f64], target: &mut [u8]| target[0] = self.labels[likeliest(shares)];
        self.for_each_row(features, &every_row(features), 1, best)
    }

    /// The probability of each class for each row: `[rows, classes]`, 0 for classes it has seen no label of.
    ///
    /// # Errors
    /// When the rows have another number of columns than those it was fitted to.
    pub fn probabilities(&self, features: Matrix<'_>) -> Result<Vec<f32>> {
        self.probabilities_of(features, &every_row(features))
    }

    fn probabilities_of(&self, features: Matrix<'_>, rows: &[u32]) -> Result<Vec<f32>> {
        let write = |shares: &[f64], target: &mut [f32]| {
            self.labels.iter().zip(shares).for_each(|(&label, &share)| target[usize::from(label)] = share as f32);
        };
        self.for_each_row(features, rows, self.classes, write)
    }

    /// The weights, `[classes, columns]`, and intercepts, `[classes]`, of a linear layer that gives the logits of
    /// unscaled features. Classes without a label have weights of 0 and an intercept of -1e9.
    pub fn linear_layer(&self) -> (Vec<f32>, Vec<f32>) {
        let columns = self.layout.columns;
        let (packed, intercepts) = self.point.split_at(self.layout.weights());
        let mut weights = vec![0.0; self.classes * columns];
        let mut biases = vec![-1e9; self.classes];
        for (class, (&label, &intercept)) in self.labels.iter().zip(intercepts).enumerate() {
            let mut bias = intercept;
            for column in 0..columns {
                let weight = packed[self.layout.weight(class, column)] * f64::from(self.scaling.factor[column]);
                bias -= weight * f64::from(self.scaling.mean[column]);
                weights[usize::from(label) * columns + column] = weight as f32;
            }
            biases[usize::from(label)] = bias as f32;
        }
        (weights, biases)
    }

    /// Steps of the search.
    pub fn iterations(&self) -> usize {
        self.iterations
    }

    /// Whether the search came to an end by itself, at a small gradient or where the loss did not fall any more;
    /// otherwise more iterations, standardised features or a smaller `c` may help.
    pub fn converged(&self) -> bool {
        self.converged
    }

    /// The mean cross-entropy of the training rows plus their share of the penalty: scikit-learn's objective divided
    /// by `c` and the number of rows.
    pub fn loss(&self) -> f64 {
        self.loss
    }

    /// Writes `width` values for each of `rows`, from the probabilities of the classes that have labels.
    fn for_each_row<T: Clone + Default + Send>(
        &self,
        features: Matrix<'_>,
        rows: &[u32],
        width: usize,
        write: impl Fn(&[f64], &mut [T]) + Sync,
    ) -> Result<Vec<T>> {
        let layout = self.layout;
        if features.columns() != layout.columns {
            return Err(Error::Config(format!(
                "the features have {} columns, but the model was fitted to {}: make both with the same encoder",
                features.columns(),
                layout.columns
            )));
        }
        let (weights, intercepts) = self.point.split_at(layout.weights());
        let weights: Vec<f32> = weights.iter().map(|&weight| weight as f32).collect();
        let mut values = vec![T::default(); rows.len() * width];
        values.par_chunks_mut(layout.rows() * width).zip(rows.par_chunks(layout.rows())).for_each_init(
            || (Block::new(layout), vec![0.0; layout.classes]),
            |(block, shares), (values, rows)| {
                block.score(features, rows, &self.scaling, &weights);
                for (row, values) in values.chunks_exact_mut(width).enumerate() {
                    softmax(shares, |class| block.scores[layout.score(row, class)], intercepts);
                    write(shares, values);
                }
            },
        );
        Ok(values)
    }
}

fn every_row(features: Matrix<'_>) -> Vec<u32> {
    (0..features.rows() as u32).collect()
}

/// The place of the largest of `shares`; of equals the first.
fn likeliest<T: PartialOrd>(shares: &[T]) -> usize {
    (1..shares.len()).fold(0, |best, class| if shares[class] > shares[best] { class } else { best })
}

#[cfg(test)]
mod tests;
