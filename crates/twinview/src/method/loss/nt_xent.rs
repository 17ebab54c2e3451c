use burn::tensor::Tensor;

use super::shared::{dots, exclude_self, normalise, numbers};
use crate::method::cross_entropy;

/// SimCLR's normalised, temperature-scaled cross-entropy of two views, each `[batch, dimensions]`.
///
/// Each row shall find its image's other view among the `2 * batch - 1` other rows by cosine similarity.
/// Gradients flow into both views. At least 0; `ln(2 * batch - 1)` when all rows are alike. The temperature
/// is above 0, commonly 0.1 to 0.5.
///
/// Chen et al., "A Simple Framework for Contrastive Learning of Visual Representations", 2020
/// (arXiv 2002.05709), equation 1 and algorithm 1.
pub fn nt_xent(first: Tensor<2>, second: Tensor<2>, temperature: f64) -> Tensor<1> {
    let (batch, device) = (first.dims()[0], first.device());
    let rows = normalise(Tensor::cat(vec![first, second], 0));
    let logits = dots(rows.clone(), rows, temperature) + exclude_self(2 * batch, &device);
    let partners = Tensor::cat(vec![numbers(batch, 2 * batch, &device), numbers(0, batch, &device)], 0);
    cross_entropy(logits, partners)
}
