use burn::tensor::{Int, Tensor, activation::log_softmax};

use super::shared::{dots, exclude_self, normalise};

/// The supervised contrastive loss: each row shall find all rows of its class, by cosine similarity.
///
/// `rows`, `[views * batch, dimensions]`, holds all first views, then all second ones and so on; `labels`,
/// `[batch]`, the classes. Gradients flow into all rows. It is the paper's L_out, as a mean over the rows; a
/// row alone in its class adds nothing. At least 0. The temperature is above 0, commonly 0.1.
///
/// Khosla et al., "Supervised Contrastive Learning", 2020 (arXiv 2004.11362), equation 2.
pub fn sup_con(rows: Tensor<2>, labels: Tensor<1, Int>, views: usize, temperature: f64) -> Tensor<1> {
    let ([count, _], device) = (rows.dims(), rows.device());
    let labels: Tensor<2, Int> = labels.repeat(&[views]).unsqueeze_dim(1);
    let same = labels.clone().equal(labels.transpose()).float() - Tensor::eye(count, &device);
    let same = same.clone() / same.sum_dim(1).clamp_min(1.0);
    let rows = normalise(rows);
    let logits = dots(rows.clone(), rows, temperature) + exclude_self(count, &device);
    (same * log_softmax(logits, 1)).sum().div_scalar(-(count as f64))
}
