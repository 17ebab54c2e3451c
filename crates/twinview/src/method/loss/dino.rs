use burn::tensor::{Tensor, activation::softmax};

use super::shared::cross_entropy_across_views;

/// DINO's loss: the student shall give each view what the teacher gives every other one.
///
/// Both give logits, `[batch, dimensions]` for each view; the teacher's views are the first of the student's.
/// The teacher's, and `center`, `[1, dimensions]`, taken from them, are targets. The loss is the mean over all
/// pairs of different views. The temperatures are above 0, commonly 0.04 to 0.07 for the teacher and 0.1 for
/// the student.
///
/// Caron et al., "Emerging Properties in Self-Supervised Vision Transformers", 2021 (arXiv 2104.14294),
/// equations 2 and 3, algorithm 1.
///
/// # Panics
/// Panics when the student has fewer than two views, or the teacher none or more than the student.
pub fn dino(
    teacher: &[Tensor<2>],
    student: &[Tensor<2>],
    center: Tensor<2>,
    teacher_temperature: f64,
    student_temperature: f64,
) -> Tensor<1> {
    let center = center.detach();
    let probabilities = teacher.iter().map(|logits| {
        let centred = logits.clone().detach() - center.clone();
        softmax(centred.div_scalar(teacher_temperature), 1)
    });
    let logits = student.iter().map(|logits| logits.clone().div_scalar(student_temperature));
    cross_entropy_across_views(probabilities.collect(), logits)
}

/// DINO's next center, `[1, dimensions]`: `momentum`, in 0..1 and commonly 0.9, times the last one, and the
/// rest times the mean of the teacher's logits over all views and images. All are targets.
///
/// Equation 4 of the paper.
///
/// # Panics
/// Panics when the teacher has no view.
pub fn dino_center(center: Tensor<2>, teacher: &[Tensor<2>], momentum: f64) -> Tensor<2> {
    let mean = Tensor::cat(teacher.to_vec(), 0).detach().mean_dim(0);
    center.detach().mul_scalar(momentum) + mean.mul_scalar(1.0 - momentum)
}
