use burn::tensor::{Int, Tensor};

use super::shared::{cross_entropy_on_diagonal, dots, normalise, similarities};
use crate::method::cross_entropy;

/// MoCo's loss: each query shall find its key among its key and all negatives, by cosine similarity.
///
/// `queries` and `keys` are `[batch, dimensions]`; `negatives`, `[memory, dimensions]`, are keys of earlier
/// batches. Keys and negatives are targets. At least 0. The temperature is above 0, commonly 0.07 or 0.2.
///
/// He et al., "Momentum Contrast for Unsupervised Visual Representation Learning", 2019 (arXiv 1911.05722),
/// equation 1.
pub fn info_nce(queries: Tensor<2>, keys: Tensor<2>, negatives: Tensor<2>, temperature: f64) -> Tensor<1> {
    let ([batch, _], device) = (queries.dims(), queries.device());
    let queries = normalise(queries);
    let positive = (queries.clone() * normalise(keys.detach())).sum_dim(1).div_scalar(temperature);
    let negative = dots(queries, normalise(negatives.detach()), temperature);
    let logits = Tensor::cat(vec![positive, negative], 1);
    cross_entropy(logits, Tensor::<1, Int>::zeros([batch], &device))
}

/// MoCo v3's loss: each query shall find its key among the keys of the batch, by cosine similarity.
///
/// Both are `[batch, dimensions]`; the keys are targets. This is one direction: the method adds that of the
/// views swapped. At least 0. As in the paper's code the cross-entropy is taken `2 * temperature` times, so
/// that the size of the gradient hardly depends on the temperature, which is above 0, commonly 0.2.
///
/// Chen, Xie and He, "An Empirical Study of Training Self-Supervised Vision Transformers", 2021
/// (arXiv 2104.02057), algorithm 1.
pub fn contrast(queries: Tensor<2>, keys: Tensor<2>, temperature: f64) -> Tensor<1> {
    let logits = similarities(queries, keys.detach(), temperature);
    cross_entropy_on_diagonal(logits).mul_scalar(2.0 * temperature)
}
