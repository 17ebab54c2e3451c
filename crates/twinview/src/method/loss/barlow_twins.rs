use burn::tensor::Tensor;

use super::shared::centred;

/// Added to variances, as by the batch normalisation in the paper's code.
const EPSILON: f64 = 1e-5;

/// Barlow Twins' loss of two views, each `[batch, dimensions]`: their dimensions' correlations over the batch
/// shall be 1 of each with itself and 0 of each with another.
///
/// The sum over `(1 - C_ii)²` and `lambda`, commonly 0.005, times that over `C_ij²`; not divided by the
/// dimensions. Gradients flow into both views. At least two images are needed.
///
/// Zbontar et al., "Barlow Twins: Self-Supervised Learning via Redundancy Reduction", 2021 (arXiv 2103.03230),
/// equations 1 and 2.
pub fn barlow_twins(first: Tensor<2>, second: Tensor<2>, lambda: f64) -> Tensor<1> {
    let batch = first.dims()[0] as f64;
    let (first, second) = (standardised(first), standardised(second));
    let diagonal = (first.clone() * second.clone()).mean_dim(0);
    let correlations = first.transpose().matmul(second).div_scalar(batch);
    let redundancy = correlations.square().sum() - diagonal.clone().square().sum();
    diagonal.sub_scalar(1.0).square().sum() + redundancy.mul_scalar(lambda)
}

/// `rows` with mean 0 and variance 1 over the batch.
fn standardised(rows: Tensor<2>) -> Tensor<2> {
    let rows = centred(rows);
    let variance = rows.clone().square().mean_dim(0);
    rows / variance.add_scalar(EPSILON).sqrt()
}
