use burn::tensor::{Tensor, activation::relu};

use super::shared::centred;

/// Added to variances, so that the slope of their root stays finite.
const EPSILON: f64 = 1e-4;

/// What the terms of [`vicreg`] count.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct VicRegWeights {
    /// For the distance of the views, the paper's λ.
    pub invariance: f64,
    /// For the spread of each dimension, the paper's μ.
    pub variance: f64,
    /// For the correlation of dimensions, the paper's ν.
    pub covariance: f64,
}

impl Default for VicRegWeights {
    /// The paper's 25, 25 and 1.
    fn default() -> Self {
        Self { invariance: 25.0, variance: 25.0, covariance: 1.0 }
    }
}

/// VICReg's loss of two views, each `[batch, dimensions]`; at least 0.
///
/// Invariance: the mean squared difference of the views. Variance: how much each dimension's standard
/// deviation over the batch is below 1, a mean over the dimensions. Covariance: the squared covariances
/// of different dimensions, over the number of dimensions. The latter two are *added* over the views, as in
/// the paper; its authors' later code and lightly halve the variance, which a weight of 12.5 gives here.
/// Gradients flow into both views. At least two images are needed.
///
/// Bardes, Ponce and LeCun, "VICReg: Variance-Invariance-Covariance Regularization for Self-Supervised
/// Learning", 2021 (arXiv 2105.04906), equation 6 and algorithm 1.
pub fn vicreg(first: Tensor<2>, second: Tensor<2>, weights: VicRegWeights) -> Tensor<1> {
    let invariance = (first.clone() - second.clone()).square().mean();
    let (first_variance, first_covariance) = spread(first);
    let (second_variance, second_covariance) = spread(second);
    invariance.mul_scalar(weights.invariance)
        + (first_variance + second_variance).mul_scalar(weights.variance)
        + (first_covariance + second_covariance).mul_scalar(weights.covariance)
}

/// The variance and the covariance term of one view.
fn spread(rows: Tensor<2>) -> (Tensor<1>, Tensor<1>) {
    let [batch, dimensions] = rows.dims();
    let free = batch as f64 - 1.0;
    let rows = centred(rows);
    let variances = rows.clone().square().sum_dim(0).div_scalar(free);
    let covariances = rows.clone().transpose().matmul(rows).div_scalar(free);
    let off_diagonal = covariances.square().sum() - variances.clone().square().sum();
    let deviations = variances.add_scalar(EPSILON).sqrt();
    (relu(deviations.neg().add_scalar(1.0)).mean(), off_diagonal.div_scalar(dimensions as f64))
}
