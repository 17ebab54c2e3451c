//! What several losses are made of.

use burn::tensor::{Device, Int, Tensor, activation::log_softmax};

use crate::method::cross_entropy;

/// Least square of a length that a row is divided by: PyTorch's choice, 1e-12, squared.
const LEAST_SQUARE: f64 = 1e-24;

/// Added to a logit that must not count: `exp` of it is 0, and it stays finite, so that 0 times it is 0.
const EXCLUDED: f64 = -1e9;

/// `rows` with unit length.
pub(in crate::method) fn normalise(rows: Tensor<2>) -> Tensor<2> {
    // The square is bounded, not the root, because the slope of a root at 0 is infinite.
    let lengths = rows.clone().square().sum_dim(1).clamp_min(LEAST_SQUARE).sqrt();
    rows / lengths
}

/// Cosine similarities of every row of `first`, `[n, dimensions]`, with every row of `second`,
/// `[m, dimensions]`, over the temperature; `[n, m]`.
pub(super) fn similarities(first: Tensor<2>, second: Tensor<2>, temperature: f64) -> Tensor<2> {
    dots(normalise(first), normalise(second), temperature)
}

/// The same of rows that have unit length.
pub(super) fn dots(first: Tensor<2>, second: Tensor<2>, temperature: f64) -> Tensor<2> {
    first.div_scalar(temperature).matmul(second.transpose())
}

/// What to add to logits, `[count, count]`, so that no row counts itself.
pub(super) fn exclude_self(count: usize, device: &Device) -> Tensor<2> {
    Tensor::eye(count, device).mul_scalar(EXCLUDED)
}

/// The numbers from `first` up to, without, `end`.
pub(super) fn numbers(first: usize, end: usize, device: &Device) -> Tensor<1, Int> {
    Tensor::arange(first as i64..end as i64, device)
}

/// Mean cross-entropy of square logits whose right answers are on the diagonal.
pub(super) fn cross_entropy_on_diagonal(logits: Tensor<2>) -> Tensor<1> {
    let labels = numbers(0, logits.dims()[0], &logits.device());
    cross_entropy(logits, labels)
}

/// Logarithm of the sum of exponentials of each row, `[n, m]`, as `[n, 1]`.
pub(super) fn log_sum_exp(logits: Tensor<2>) -> Tensor<2> {
    // The largest cancels out, in the gradient too; without it the exponential could overflow.
    let largest = logits.clone().detach().max_dim(1);
    (logits - largest.clone()).exp().sum_dim(1).log() + largest
}

/// `rows` less their mean over the batch.
pub(super) fn centred(rows: Tensor<2>) -> Tensor<2> {
    let mean = rows.clone().mean_dim(0);
    rows - mean
}

/// Mean cross-entropy of every view's logits against the probabilities of every *other* view.
///
/// `probabilities`, the targets, belong to the first of the views that `logits` are of.
///
/// # Panics
/// Panics when there are no probabilities, more of them than logits, or fewer than two views.
pub(super) fn cross_entropy_across_views(
    probabilities: Vec<Tensor<2>>,
    logits: impl ExactSizeIterator<Item = Tensor<2>>,
) -> Tensor<1> {
    let (targets, views) = (probabilities.len(), logits.len());
    assert!(targets > 0 && targets <= views && views > 1, "{targets} targets among {views} views");
    let mut batch = 0;
    let terms: Vec<_> = logits
        .enumerate()
        .filter_map(|(view, logits)| {
            batch = logits.dims()[0];
            // The cross-entropy is linear in the probabilities, so those of all other views are added first.
            let others = probabilities.iter().enumerate().filter(|(target, _)| *target != view);
            let target = others.map(|(_, target)| target.clone()).reduce(|sum, target| sum + target)?;
            Some((target * log_softmax(logits, 1)).sum())
        })
        .collect();
    Tensor::cat(terms, 0).sum().div_scalar(-((targets * (views - 1) * batch) as f64))
}
