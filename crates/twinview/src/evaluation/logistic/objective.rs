//! The loss of a logistic regression and its gradient.

use rayon::prelude::*;

use super::products::Layout;
use crate::embedding::Matrix;

/// Rows that are summed on their own, at least, and the most such parts: whatever the number of threads.
const PART: usize = 128;
const PARTS: usize = 64;

/// What is done to a feature before it meets its weights: the mean is taken away, the rest multiplied.
#[derive(Clone, Debug)]
pub(super) struct Scaling {
    pub(super) mean: Vec<f32>,
    pub(super) factor: Vec<f32>,
}

impl Scaling {
    /// To mean 0 over `rows`, and to standard deviation 1 if `standardize`; features that are the same in all rows
    /// become 0.
    ///
    /// Since intercepts have no penalty, the mean changes nothing but how exactly and how fast weights are found.
    pub(super) fn of(features: Matrix<'_>, rows: &[u32], standardize: bool) -> Self {
        let count = rows.len() as f64;
        let mean = sum_of_rows(rows, features.columns(), |row, sums| {
            sums.iter_mut().zip(features.row(row)).for_each(|(sum, &value)| *sum += f64::from(value));
        });
        let mean: Vec<f64> = mean.iter().map(|sum| sum / count).collect();
        let rounded = mean.iter().map(|&mean| mean as f32).collect();
        if !standardize {
            return Self { mean: rounded, factor: vec![1.0; mean.len()] };
        }
        let squares = sum_of_rows(rows, features.columns(), |row, sums| {
            let centred = features.row(row).iter().zip(&mean).map(|(&value, mean)| f64::from(value) - mean);
            sums.iter_mut().zip(centred).for_each(|(sum, centred)| *sum += centred * centred);
        });
        let factor = |(square, mean): (&f64, &f64)| {
            let variance = square / count;
            // scikit-learn's bound: a variance that rounding of equal values can make.
            let rounding = count * f64::EPSILON * variance + (count * mean * f64::EPSILON).powi(2);
            let factor = (1.0 / variance.sqrt()) as f32;
            if variance <= rounding || !factor.is_finite() { 1.0 } else { factor }
        };
        let factor = squares.iter().zip(&mean).map(factor).collect();
        Self { mean: rounded, factor }
    }

    pub(super) fn place(&self, row: &[f32], target: &mut [f32]) {
        for (((target, value), mean), factor) in target.iter_mut().zip(row).zip(&self.mean).zip(&self.factor) {
            *target = (value - mean) * factor;
        }
    }
}

/// How many of `count` rows make a part.
fn part(count: usize) -> usize {
    PART.max(count.div_ceil(PARTS))
}

/// What `add` sums up over `rows`, part by part and then in order of the parts.
fn sum_of_rows(rows: &[u32], columns: usize, add: impl Fn(usize, &mut [f64]) + Sync) -> Vec<f64> {
    let parts = rows.par_chunks(part(rows.len())).map(|rows| {
        let mut sums = vec![0.0; columns];
        rows.iter().for_each(|&row| add(row as usize, &mut sums));
        sums
    });
    in_order(parts.collect())
}

fn in_order(parts: Vec<Vec<f64>>) -> Vec<f64> {
    let mut parts = parts.into_iter();
    let mut sums = parts.next().unwrap_or_default();
    for part in parts {
        sums.iter_mut().zip(part).for_each(|(sum, part)| *sum += part);
    }
    sums
}

/// A block of scaled rows and their scores.
pub(super) struct Block {
    layout: Layout,
    rows: Vec<f32>,
    pub(super) scores: Vec<f32>,
}

impl Block {
    pub(super) fn new(layout: Layout) -> Self {
        Self { layout, rows: vec![0.0; layout.rows() * layout.stride()], scores: vec![0.0; layout.scores()] }
    }

    /// Takes up `rows` of the features, at most [`Layout::rows`], and scores them.
    pub(super) fn score(&mut self, features: Matrix<'_>, rows: &[u32], scaling: &Scaling, weights: &[f32]) {
        let stride = self.layout.stride();
        for (&row, target) in rows.iter().zip(self.rows.chunks_exact_mut(stride)) {
            scaling.place(features.row(row as usize), target);
        }
        let used = rows.len().next_multiple_of(2) * stride;
        self.layout.multiply(&self.rows[..used], weights, &mut self.scores);
    }
}

/// Writes the probabilities of the classes that `scores` and intercepts give to `target`; returns the logarithm of
/// the sum that they were divided by.
pub(super) fn softmax(target: &mut [f64], score: impl Fn(usize) -> f32, intercepts: &[f64]) -> f64 {
    for (class, (target, intercept)) in target.iter_mut().zip(intercepts).enumerate() {
        *target = f64::from(score(class)) + intercept;
    }
    let largest = target.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let mut sum = 0.0;
    for value in &mut *target {
        *value = (*value - largest).exp();
        sum += *value;
    }
    target.iter_mut().for_each(|value| *value /= sum);
    largest + sum.ln()
}

/// The mean cross-entropy over some rows plus `penalty / 2` times the sum of the squared weights.
pub(super) struct Objective<'a> {
    pub(super) features: Matrix<'a>,
    /// The rows to learn from, and the class of each: below `layout.classes`.
    pub(super) rows: &'a [u32],
    pub(super) targets: &'a [usize],
    pub(super) scaling: &'a Scaling,
    pub(super) layout: Layout,
    pub(super) penalty: f64,
}

impl Objective<'_> {
    /// The loss at `parameters`, weights and then an intercept for each class, and its gradient.
    pub(super) fn evaluate(&self, parameters: &[f64], gradient: &mut [f64]) -> f64 {
        let (weights, intercepts) = parameters.split_at(self.layout.weights());
        let rounded: Vec<f32> = weights.iter().map(|&weight| weight as f32).collect();
        let part = part(self.rows.len());
        let parts: Vec<Vec<f64>> = self
            .rows
            .par_chunks(part)
            .zip(self.targets.par_chunks(part))
            .map(|(rows, targets)| self.sum(rows, targets, &rounded, intercepts))
            .collect();
        let sums = in_order(parts);
        let count = self.rows.len() as f64;
        gradient.iter_mut().zip(&sums).for_each(|(entry, sum)| *entry = sum / count);
        let mut squares = 0.0;
        for (entry, weight) in gradient.iter_mut().zip(weights) {
            *entry += self.penalty * weight;
            squares += weight * weight;
        }
        sums[parameters.len()] / count + self.penalty / 2.0 * squares
    }

    /// The gradient of the cross-entropy summed over `rows`, and behind it the sum itself.
    fn sum(&self, rows: &[u32], targets: &[usize], weights: &[f32], intercepts: &[f64]) -> Vec<f64> {
        let layout = self.layout;
        let mut sums = vec![0.0; layout.weights() + layout.classes + 1];
        let (weight_sums, rest) = sums.split_at_mut(layout.weights());
        let (intercept_sums, loss) = rest.split_at_mut(layout.classes);
        let mut block = Block::new(layout);
        let mut shares = vec![0.0; layout.classes];
        for (rows, targets) in rows.chunks(layout.rows()).zip(targets.chunks(layout.rows())) {
            block.score(self.features, rows, self.scaling, weights);
            for (row, &target) in targets.iter().enumerate() {
                let own = f64::from(block.scores[layout.score(row, target)]) + intercepts[target];
                loss[0] += softmax(&mut shares, |class| block.scores[layout.score(row, class)], intercepts) - own;
                shares[target] -= 1.0;
                for (class, (share, sum)) in shares.iter().zip(&mut *intercept_sums).enumerate() {
                    *sum += share;
                    block.scores[layout.score(row, class)] = *share as f32;
                }
            }
            let used = rows.len() * layout.stride();
            layout.accumulate(&block.rows[..used], &block.scores, weight_sums);
        }
        sums
    }
}
