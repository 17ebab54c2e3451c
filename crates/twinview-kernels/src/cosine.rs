//! Negative cosine similarity with stopped targets, as one operation: SimSiam's and BYOL's loss
//! (Chen and He, "Exploring Simple Siamese Representation Learning", equation 1).

use burn::backend::{
    Autodiff, Dispatch, Flex,
    autodiff::{
        checkpoint::{base::Checkpointer, strategy::CheckpointStrategy},
        grads::Gradients,
        ops::{Backward, Ops, OpsKind},
    },
    backend_extension,
    tensor::FloatTensor,
};
use burn::tensor::Tensor;
use burn_flex::FlexTensor;
use fearless_simd::{Level, Simd, dispatch, f32x16, prelude::*};
use rayon::prelude::*;

use crate::network::{fused, slice, tensor};
use crate::tile::{LANES, Line};

/// Least length a vector is taken to have, PyTorch's choice.
const EPSILON: f32 = 1e-6;

/// Dot product and lengths of one pair of rows.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pair {
    pub(crate) cosine: f32,
    pub(crate) prediction: f32,
    pub(crate) target: f32,
}

impl Pair {
    #[inline(always)]
    pub(crate) fn new<S: Simd>(simd: S, prediction: &[f32], target: &[f32]) -> Self {
        let [dot, prediction, target] = dot_and_squares(simd, prediction, target);
        Self::of(dot, prediction.sqrt(), target.sqrt())
    }

    /// Of a dot product and the lengths of both sides.
    pub(crate) fn of(dot: f32, prediction: f32, target: f32) -> Self {
        Self { cosine: dot / (prediction.max(EPSILON) * target.max(EPSILON)), prediction, target }
    }

    /// `α` and `β` of `factor` times the gradient of the cosine with respect to the prediction, `α target − β prediction`.
    pub(crate) fn slopes(&self, factor: f32) -> (f32, f32) {
        let length = self.prediction.max(EPSILON);
        // At the least length the denominator is a constant.
        let along = if self.prediction > EPSILON { factor * self.cosine / (length * length) } else { 0.0 };
        (factor / (length * self.target.max(EPSILON)), along)
    }

    /// Writes `factor` times the gradient of the cosine with respect to the prediction.
    fn gradient(&self, factor: f32, prediction: &[f32], target: &[f32], out: &mut [f32]) {
        let (along_target, along) = self.slopes(factor);
        for ((out, p), t) in out.iter_mut().zip(prediction).zip(target) {
            *out = along_target * t - along * p;
        }
    }
}

/// The row that holds the target of `row`: the same image's in the next group.
pub(crate) fn target_row(row: usize, rows: usize, groups: usize) -> usize {
    (row + rows / groups) % rows
}

/// Dot product, and both sides' with themselves.
#[inline(always)]
pub(crate) fn dot_and_squares<S: Simd>(simd: S, a: &[f32], b: &[f32]) -> [f32; 3] {
    let mut sums = [f32x16::splat(simd, 0.0); 3];
    let (lines, rest) = a.as_chunks::<LANES>();
    let (others, other_rest) = b.as_chunks::<LANES>();
    for (a, b) in lines.iter().zip(others) {
        let (a, b) = (f32x16::load_array_ref(simd, a), f32x16::load_array_ref(simd, b));
        sums = [a.mul_add(b, sums[0]), a.mul_add(a, sums[1]), b.mul_add(b, sums[2])];
    }
    let rests =
        rest.iter().zip(other_rest).fold([0.0; 3], |[dot, a2, b2], (a, b)| [dot + a * b, a2 + a * a, b2 + b * b]);
    std::array::from_fn(|i| Line(sums[i].to_array()).sum() + rests[i])
}

/// The target of row `row`.
fn opposite(target: &[f32], width: usize, row: usize, groups: usize) -> &[f32] {
    &target[target_row(row, target.len() / width, groups) * width..][..width]
}

fn forward(prediction: &FlexTensor, target: &FlexTensor, width: usize, groups: usize) -> (FlexTensor, Vec<Pair>) {
    let target = slice(target);
    let pairs: Vec<Pair> = slice(prediction)
        .par_chunks_exact(width)
        .enumerate()
        .map(|(row, prediction)| {
            let target = opposite(target, width, row, groups);
            dispatch!(Level::new(), simd => Pair::new(simd, prediction, target))
        })
        .collect();
    let sum: f64 = pairs.iter().map(|pair| f64::from(pair.cosine)).sum();
    (tensor(vec![(-sum / pairs.len() as f64) as f32], [1]), pairs)
}

#[backend_extension(Autodiff, Flex)]
trait CosineBackend: burn::backend::Backend {
    fn negative_cosine(
        prediction: FloatTensor<Self>,
        target: FloatTensor<Self>,
        width: usize,
        groups: usize,
    ) -> FloatTensor<Self>;
}

impl CosineBackend for Flex {
    fn negative_cosine(
        prediction: FloatTensor<Self>,
        target: FloatTensor<Self>,
        width: usize,
        groups: usize,
    ) -> FloatTensor<Self> {
        forward(&prediction.to_contiguous(), &target.to_contiguous(), width, groups).0
    }
}

#[derive(Debug)]
struct CosineBackward;

/// What the backward pass needs.
#[derive(Clone, Debug)]
struct Saved {
    prediction: FlexTensor,
    target: FlexTensor,
    pairs: Vec<Pair>,
    width: usize,
    groups: usize,
}

impl Backward<Flex, 1> for CosineBackward {
    type State = Saved;

    fn backward(self, ops: Ops<Saved, 1>, grads: &mut Gradients, _checkpointer: &mut Checkpointer) {
        let Saved { prediction, target, pairs, width, groups } = ops.state;
        let gradient = grads.consume::<Flex>(&ops.node).to_contiguous();
        let [Some(node)] = ops.parents else { return };
        let factor = -slice(&gradient)[0] / pairs.len() as f32;
        let target = slice(&target);
        let mut out = vec![0.0; pairs.len() * width];
        out.par_chunks_exact_mut(width)
            .zip(slice(&prediction).par_chunks_exact(width))
            .zip(&pairs)
            .enumerate()
            .for_each(|(row, ((out, prediction), pair))| {
                pair.gradient(factor, prediction, opposite(target, width, row, groups), out);
            });
        grads.register::<Flex>(node.id, tensor(out, [pairs.len(), width]));
    }
}

impl<C: CheckpointStrategy> CosineBackend for Autodiff<Flex, C> {
    fn negative_cosine(
        prediction: FloatTensor<Self>,
        target: FloatTensor<Self>,
        width: usize,
        groups: usize,
    ) -> FloatTensor<Self> {
        let prepared = CosineBackward.prepare::<C>([prediction.node()]).compute_bound().stateful();
        let prediction = prediction.into_primitive().to_contiguous();
        let target = target.into_primitive().to_contiguous();
        let (loss, pairs) = forward(&prediction, &target, width, groups);
        match prepared {
            OpsKind::Tracked(prepared) => prepared.finish(Saved { prediction, target, pairs, width, groups }, loss),
            OpsKind::UnTracked(prepared) => prepared.finish(loss),
        }
    }
}

/// Mean negative cosine similarity of predictions and targets, both `[rows, features]`; between -1 and 1, `[1]`.
///
/// With `groups` = 1 row `i` meets row `i`. With `groups` = 2 the rows are two views one after the other and
/// each prediction meets the *other* view's target, which is SimSiam's symmetrised loss: `D(p1, z2) / 2 + D(p2, z1) / 2`.
/// No gradient flows into the targets. Lengths count as at least 1e-6, as with
/// `torch.nn.CosineSimilarity(dim=1, eps=1e-6)`.
///
/// # Panics
/// Panics when the shapes differ or the rows do not divide into the groups.
pub fn negative_cosine_similarity(prediction: Tensor<2>, target: Tensor<2>, groups: usize) -> Tensor<1> {
    let [rows, width] = prediction.dims();
    assert_eq!(target.dims(), [rows, width], "a target for each prediction");
    assert!(groups > 0 && rows > 0 && rows.is_multiple_of(groups), "{rows} rows in {groups} equal groups");
    let target = target.detach();
    if fused(&prediction) {
        let loss = <Dispatch as CosineBackend>::negative_cosine(
            prediction.into_dispatch(),
            target.into_dispatch(),
            width,
            groups,
        );
        Tensor::from_dispatch(loss)
    } else {
        composed(prediction, target, groups)
    }
}

/// The same composed of Burn's operations.
pub(crate) fn composed(prediction: Tensor<2>, target: Tensor<2>, groups: usize) -> Tensor<1> {
    let rows = prediction.dims()[0];
    let shift = rows / groups % rows;
    let target = if shift == 0 {
        target
    } else {
        let tail = target.clone().narrow(0, shift, rows - shift);
        Tensor::cat(vec![tail, target.narrow(0, 0, shift)], 0)
    };
    let length = |rows: Tensor<2>| rows.square().sum_dim(1).sqrt().clamp_min(EPSILON);
    let dot = (prediction.clone() * target.clone()).sum_dim(1);
    -(dot / (length(prediction) * length(target))).mean()
}
