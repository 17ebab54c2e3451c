use burn::tensor::Tensor;

use super::shared::{cross_entropy_on_diagonal, normalise, similarities};

/// For each of `queries`, `[batch, dimensions]`, the row of `memory`, `[memory, dimensions]`, with the largest
/// cosine similarity, made of unit length: `[batch, dimensions]`. Both are targets.
pub fn nearest_neighbours(queries: Tensor<2>, memory: Tensor<2>) -> Tensor<2> {
    let memory = normalise(memory.detach());
    // A query's length changes nothing in which row is nearest.
    let nearest = queries.detach().matmul(memory.clone().transpose()).argmax(1);
    memory.select(0, nearest.squeeze_dim(1))
}

/// NNCLR's loss: the neighbour of each image's first view shall find the prediction from its second view
/// among the predictions of the batch, by cosine similarity.
///
/// Both are `[batch, dimensions]`; `neighbours`, from [`nearest_neighbours`], are targets. This is one
/// direction: the method takes the mean with that of the views swapped. At least 0. The temperature is above
/// 0, commonly 0.1.
///
/// Dwibedi et al., "With a Little Help from My Friends: Nearest-Neighbor Contrastive Learning of Visual
/// Representations", 2021 (arXiv 2104.14548).
pub fn nnclr(neighbours: Tensor<2>, predictions: Tensor<2>, temperature: f64) -> Tensor<1> {
    cross_entropy_on_diagonal(similarities(neighbours.detach(), predictions, temperature))
}
