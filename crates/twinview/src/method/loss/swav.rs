use burn::tensor::{Tensor, activation::log_softmax};

use super::shared::cross_entropy_across_views;

/// The soft codes of a batch: each image is shared out among the prototypes, so that every prototype gets
/// about as much as another.
///
/// `scores`, `[batch, prototypes]`, are the similarities of images and prototypes, targets. The codes have the
/// same shape, and their rows sum to 1. `epsilon`, above 0 and commonly 0.05, is how soft they are;
/// `iterations`, at least 1 and commonly 3, how even. It is the algorithm of Sinkhorn and Knopp in logarithms:
/// no score is too large or too small for it.
pub fn sinkhorn(scores: Tensor<2>, epsilon: f64, iterations: usize) -> Tensor<2> {
    let mut codes = scores.detach().div_scalar(epsilon);
    for _ in 0..iterations {
        codes = log_softmax(log_softmax(codes, 0), 1);
    }
    codes.exp()
}

/// SwAV's loss: each view shall predict the code of every other one.
///
/// `scores` has, for each view, the similarities with the prototypes, `[batch, prototypes]`. The first
/// `assigned` views get codes, from [`sinkhorn`] with `epsilon` and `iterations`; codes are targets. The loss is
/// the mean over all pairs of a view with a code and another view. The temperature is above 0, commonly 0.1.
///
/// Caron et al., "Unsupervised Learning of Visual Features by Contrasting Cluster Assignments", 2020
/// (arXiv 2006.09882), equations 1 and 2.
///
/// # Panics
/// Panics when there are fewer than two views, or when none or more than there are shall get codes.
pub fn swapped_prediction(
    scores: &[Tensor<2>],
    assigned: usize,
    temperature: f64,
    epsilon: f64,
    iterations: usize,
) -> Tensor<1> {
    let codes = scores[..assigned].iter().map(|scores| sinkhorn(scores.clone(), epsilon, iterations));
    let logits = scores.iter().map(|scores| scores.clone().div_scalar(temperature));
    cross_entropy_across_views(codes.collect(), logits)
}
