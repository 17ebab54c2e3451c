//! SimSiam's predictor and loss as one Burn operation: fused on the CPU, composed elsewhere.

use std::sync::Arc;

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
use fearless_simd::Level;

use crate::network::{flat, fused, slice, tensor};
use crate::predictor::{self, Parameters, Tape};
use crate::rows_norm::{Layout, batch_norm, statistics};
use crate::statistics::BatchStatistics;
use crate::{linear, negative_cosine_similarity};

/// What guesses one view's features from the other's: linear, batch normalisation, ReLU, linear, with a bottleneck between.
#[derive(Clone, Debug)]
pub struct Predictor {
    /// Weights into the bottleneck, `[features, bottleneck]`.
    pub hidden_weight: Tensor<2>,
    /// Their biases, `[bottleneck]`.
    pub hidden_bias: Tensor<1>,
    /// Scale of the normalisation, `[bottleneck]`.
    pub gamma: Tensor<1>,
    /// Shift of the normalisation, `[bottleneck]`.
    pub beta: Tensor<1>,
    /// Added to the variance.
    pub epsilon: f32,
    /// Weights out of the bottleneck, `[bottleneck, features]`.
    pub output_weight: Tensor<2>,
    /// Their biases, `[features]`.
    pub output_bias: Tensor<1>,
}

/// [`Parameters`] in this order: hidden weight and bias, gamma, beta, output weight and bias.
type Six<T> = [T; 6];

fn parameters(tensors: &Six<FlexTensor>) -> Parameters<'_> {
    let [hidden_weight, hidden_bias, gamma, beta, output_weight, output_bias] = tensors.each_ref().map(slice);
    Parameters { hidden_weight, hidden_bias, gamma, beta, output_weight, output_bias }
}

#[backend_extension(Autodiff, Flex)]
trait SimSiamBackend: burn::backend::Backend {
    /// The second output holds the statistics, `[mean, variance][group][channel]`, flat.
    #[allow(
        clippy::too_many_arguments,
        reason = "one for each tensor; the macro copies this to where it is not needed"
    )]
    fn simsiam(
        features: FloatTensor<Self>,
        hidden_weight: FloatTensor<Self>,
        hidden_bias: FloatTensor<Self>,
        gamma: FloatTensor<Self>,
        beta: FloatTensor<Self>,
        output_weight: FloatTensor<Self>,
        output_bias: FloatTensor<Self>,
        layout: Layout,
    ) -> (FloatTensor<Self>, FloatTensor<Self>);
}

/// Runs the forward pass: loss, statistics, tape.
fn run(features: &FlexTensor, tensors: &Six<FlexTensor>, layout: Layout) -> (FlexTensor, FlexTensor, Tape) {
    let (loss, tape) = predictor::forward(Level::new(), slice(features), &parameters(tensors), layout);
    let statistics = statistics(&tape.normalisations);
    (tensor(vec![loss], [1]), flat(statistics), tape)
}

impl SimSiamBackend for Flex {
    fn simsiam(
        features: FloatTensor<Self>,
        hidden_weight: FloatTensor<Self>,
        hidden_bias: FloatTensor<Self>,
        gamma: FloatTensor<Self>,
        beta: FloatTensor<Self>,
        output_weight: FloatTensor<Self>,
        output_bias: FloatTensor<Self>,
        layout: Layout,
    ) -> (FloatTensor<Self>, FloatTensor<Self>) {
        let tensors = [hidden_weight, hidden_bias, gamma, beta, output_weight, output_bias];
        let (loss, statistics, _) = run(&features.to_contiguous(), &tensors.map(|t| t.to_contiguous()), layout);
        (loss, statistics)
    }
}

/// The hand-made backward pass.
#[derive(Debug)]
struct SimSiamBackward;

/// What it needs from the forward pass.
#[derive(Clone, Debug)]
struct Saved {
    features: FlexTensor,
    tensors: Six<FlexTensor>,
    layout: Layout,
    tape: Arc<Tape>,
}

impl Backward<Flex, 7> for SimSiamBackward {
    type State = Saved;

    fn backward(self, ops: Ops<Saved, 7>, grads: &mut Gradients, _checkpointer: &mut Checkpointer) {
        let Saved { features, tensors, layout, tape } = ops.state;
        let scale = slice(&grads.consume::<Flex>(&ops.node).to_contiguous())[0];
        let parameters = parameters(&tensors);
        let back = predictor::backward(Level::new(), slice(&features), &parameters, layout, &tape, scale);
        let (rows, channels, width) = (layout.rows, layout.channels, parameters.output_bias.len());
        let gradients = [
            tensor(back.features, [rows, width]),
            tensor(back.hidden_weight, [width, channels]),
            tensor(back.hidden_bias, [channels]),
            tensor(back.gamma, [channels]),
            tensor(back.beta, [channels]),
            tensor(back.output_weight, [channels, width]),
            tensor(back.output_bias, [width]),
        ];
        for (node, gradient) in ops.parents.into_iter().zip(gradients) {
            if let Some(node) = node {
                grads.register::<Flex>(node.id, gradient);
            }
        }
    }
}

impl<C: CheckpointStrategy> SimSiamBackend for Autodiff<Flex, C> {
    fn simsiam(
        features: FloatTensor<Self>,
        hidden_weight: FloatTensor<Self>,
        hidden_bias: FloatTensor<Self>,
        gamma: FloatTensor<Self>,
        beta: FloatTensor<Self>,
        output_weight: FloatTensor<Self>,
        output_bias: FloatTensor<Self>,
        layout: Layout,
    ) -> (FloatTensor<Self>, FloatTensor<Self>) {
        let tensors = [hidden_weight, hidden_bias, gamma, beta, output_weight, output_bias];
        let [a, b, c, d, e, f] = tensors.each_ref().map(|tensor| tensor.node());
        let prepared = SimSiamBackward.prepare::<C>([features.node(), a, b, c, d, e, f]).compute_bound().stateful();
        let features = features.into_primitive().to_contiguous();
        let tensors = tensors.map(|tensor| tensor.into_primitive().to_contiguous());
        let (loss, statistics, tape) = run(&features, &tensors, layout);
        let loss = match prepared {
            OpsKind::Tracked(prepared) => {
                prepared.finish(Saved { features, tensors, layout, tape: Arc::new(tape) }, loss)
            }
            OpsKind::UnTracked(prepared) => prepared.finish(loss),
        };
        (loss, FloatTensor::<Self>::new(statistics))
    }
}

/// SimSiam's loss of `features`, `[views × batch, features]`, view after view: the mean negative cosine similarity of each row's
/// prediction and the same image's features in the next view, through which no gradient flows (with two views
/// `D(p1, z2) / 2 + D(p2, z1) / 2`; Chen and He 2021, arXiv 2011.10566). Between -1 and 1, `[1]`.
///
/// Each view is normalised in the bottleneck by its own batch statistics, which are returned. Differentiable in the features and in
/// every parameter. Lengths count as at least 1e-6, as in [`negative_cosine_similarity`].
///
/// # Panics
/// Panics when the shapes do not fit one another, a size is 0, or the rows do not divide into the views.
pub fn simsiam_loss(features: Tensor<2>, predictor: Predictor, views: usize) -> (Tensor<1>, BatchStatistics) {
    let [rows, width] = features.dims();
    let [inputs, channels] = predictor.hidden_weight.dims();
    assert!(
        inputs == width
            && predictor.output_weight.dims() == [channels, width]
            && predictor.output_bias.dims() == [width]
            && [&predictor.hidden_bias, &predictor.gamma, &predictor.beta].map(|t| t.dims()) == [[channels]; 3],
        "a predictor {width} → {channels} → {width}"
    );
    assert!(width * channels > 0, "a predictor {width} → {channels} → {width}");
    assert!(views > 0 && rows > 0 && rows.is_multiple_of(views), "{rows} rows of {views} equal views");
    if !fused(&features) {
        return composed(features, predictor, views);
    }
    let layout = Layout { rows, channels, groups: views, epsilon: predictor.epsilon, with_relu: true };
    let (loss, statistics) = <Dispatch as SimSiamBackend>::simsiam(
        features.into_dispatch(),
        predictor.hidden_weight.into_dispatch(),
        predictor.hidden_bias.into_dispatch(),
        predictor.gamma.into_dispatch(),
        predictor.beta.into_dispatch(),
        predictor.output_weight.into_dispatch(),
        predictor.output_bias.into_dispatch(),
        layout,
    );
    let statistics = BatchStatistics::new(Tensor::from_dispatch(statistics), views, channels);
    (Tensor::from_dispatch(loss), statistics)
}

/// The same composed of the head's other operations.
pub(crate) fn composed(features: Tensor<2>, predictor: Predictor, views: usize) -> (Tensor<1>, BatchStatistics) {
    let hidden = linear(features.clone(), predictor.hidden_weight, predictor.hidden_bias);
    let (hidden, statistics) = batch_norm(hidden, predictor.gamma, predictor.beta, predictor.epsilon, views, true);
    let predictions = linear(hidden, predictor.output_weight, predictor.output_bias);
    (negative_cosine_similarity(predictions, features, views), statistics)
}
