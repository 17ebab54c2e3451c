use burn::tensor::{Tensor, activation::softmax};

use super::shared::{dots, exclude_self, log_sum_exp, normalise};

/// The decoupled contrastive loss of two views, each `[batch, dimensions]`: [`nt_xent`](super::nt_xent)
/// without the positive pair among what it is compared with, which lets small batches learn.
///
/// Gradients flow into both views. It may be negative. At least two images are needed, or there is nothing to
/// compare with. The temperature is above 0, commonly 0.1.
///
/// With `weights` it is DCLW: pairs that lie far apart count more, with von Mises-Fisher weights whose
/// concentration is the inverse of the number given, commonly 0.5. The weights have mean 1 and are constants.
///
/// Yeh et al., "Decoupled Contrastive Learning", 2021 (arXiv 2110.06848), equation 6.
pub fn dcl(first: Tensor<2>, second: Tensor<2>, temperature: f64, weights: Option<f64>) -> Tensor<1> {
    let (batch, device) = (first.dims()[0], first.device());
    let (first, second) = (normalise(first), normalise(second));
    let cosine = (first.clone() * second.clone()).sum_dim(1);
    let weighted = match weights {
        Some(sigma) => {
            let share = softmax(cosine.clone().detach().div_scalar(sigma), 0);
            cosine * share.mul_scalar(-(batch as f64)).add_scalar(2.0)
        }
        None => cosine,
    };
    let rows = Tensor::cat(vec![first, second], 0);
    // Neither a row itself nor its image's other view.
    let excluded = exclude_self(batch, &device).repeat(&[2, 2]);
    let negatives = log_sum_exp(dots(rows.clone(), rows, temperature) + excluded);
    negatives.mean() - weighted.mean().div_scalar(temperature)
}
