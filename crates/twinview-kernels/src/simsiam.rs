//! SimSiam's predictor and loss as one Burn operation, alone or with the stack of blocks below them: fused on the CPU, composed
//! elsewhere.

use std::sync::{Arc, OnceLock};

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

use crate::backward::{Above, NoLayer};
use crate::layout::{to_activations, to_images};
use crate::network::{InputAndParameters, flat, fused, slice, tensor};
use crate::normalise::Affine;
use crate::operation::{self, Block, conv_relu_bn_stack};
use crate::parameters::Parameters as Linked;
use crate::plan::{BlockShape, Chunk, chunks};
use crate::predictor::{self, AtFeatures, Features, Grid, Parameters, Prepared};
use crate::rows_norm::{self, batch_norm};
use crate::stack::{self, BlockParameters};
use crate::statistics::{self, BatchStatistics};
use crate::tile::Line;
use crate::workspace::Buffer;
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

/// What [`stack_simsiam_loss`] gives.
pub struct StackSimSiam {
    /// The loss, `[1]`.
    pub loss: Tensor<1>,
    /// Batch statistics of each block.
    pub blocks: Vec<BatchStatistics>,
    /// Batch statistics of the bottleneck.
    pub bottleneck: BatchStatistics,
    /// Makes the features, `[batch, channels × height × width]` of the last block, without a gradient. The loss needs them in
    /// no such order.
    pub features: Box<dyn FnOnce() -> Tensor<2>>,
}

/// [`Parameters`] in this order: hidden weight and bias, gamma, beta, output weight and bias.
type Six<T> = [T; 6];

/// All of the operation but its values.
#[derive(Debug)]
struct Plan {
    /// Of the bottleneck.
    layout: rows_norm::Layout,
    /// What makes features of the input; without, it is features.
    stack: Option<Stack>,
    /// Its forward pass.
    encoded: OnceLock<Arc<Encoded>>,
}

/// A stack of blocks.
#[derive(Clone, Debug)]
struct Stack {
    layout: operation::Layout,
    parameters: Linked,
}

impl Stack {
    fn blocks(&self) -> Vec<BlockParameters<'_>> {
        self.layout.parameters(&self.parameters.values())
    }
}

/// A stack's forward pass. It may outlive a step, so it holds no parameters: who updates them in place must be the only one.
#[derive(Debug)]
struct Encoded {
    tape: stack::Tape,
    /// The last block's normalisation.
    affines: Vec<Affine>,
}

impl Encoded {
    /// The features, `[batch, channels × positions]`.
    fn features(&self) -> Tensor<2> {
        let (values, rows) = (self.tape.features(&self.affines), self.tape.images());
        let width = values.len() / rows;
        Tensor::from_primitive::<Flex>(tensor(values, [rows, width]))
    }
}

/// What the features come from.
#[derive(Clone, Debug)]
enum Below {
    Rows { width: usize, lines: Arc<Buffer<Line>>, chunks: Vec<Chunk>, groups: usize },
    Stack(Stack, Arc<Encoded>),
}

impl Below {
    /// The features as a predictor reads them.
    fn to_predict(&self) -> Features<'_> {
        match self {
            Self::Rows { width, lines, chunks, groups } => {
                Features::plain(Level::new(), *width, lines, chunks, *groups)
            }
            Self::Stack(stack, encoded) => encoded.tape.to_predict(&stack.blocks()),
        }
    }

    /// Weights of the stack for the way back.
    fn packed(&self, with_input: bool) -> Vec<Buffer<Line>> {
        match self {
            Self::Rows { .. } => Vec::new(),
            Self::Stack(stack, encoded) => encoded.tape.packed(&stack.blocks(), with_input),
        }
    }

    /// Gradients of the input, if asked for, and of each of the stack's parameters.
    fn backward(&self, above: &AtFeatures, packed: &[Buffer<Line>], with_input: bool) -> InputAndParameters {
        match self {
            Self::Rows { width, chunks, groups, .. } => {
                let (lines, _) = above.onward(&NoLayer);
                let identities = Affine::identities(*width, *groups);
                (Some(to_images(Level::new(), *width, 1, &lines, chunks, &identities)), Vec::new())
            }
            Self::Stack(stack, encoded) => {
                let (gradients, input) =
                    stack::backward_from(&encoded.tape, &stack.blocks(), packed, above, with_input);
                (input, operation::gradients(gradients))
            }
        }
    }
}

impl Plan {
    /// Loss, statistics (of each block, and of the bottleneck), and what the way back needs.
    fn forward(&self, input: &FlexTensor, head: Six<FlexTensor>) -> (FlexTensor, FlexTensor, Saved) {
        let (level, layout) = (Level::new(), self.layout);
        let head = head.map(|tensor| tensor.to_contiguous());
        let [hidden_weight, hidden_bias, gamma, beta, output_weight, output_bias] = head.each_ref().map(slice);
        let parameters = Parameters { hidden_weight, hidden_bias, gamma, beta, output_weight, output_bias };
        let contiguous = input.to_contiguous();
        let (width, values) = (output_bias.len(), slice(&contiguous));
        let mut statistics = Vec::new();
        let prepare = |grid| Prepared::new(level, grid, &parameters);
        let (below, prepared) = match &self.stack {
            None => {
                let chunks = chunks(layout.rows, layout.groups);
                let lines = Arc::new(to_activations(level, width, 1, values, &chunks));
                (Below::Rows { width, lines, chunks, groups: layout.groups }, prepare(Grid::of_rows(width)))
            }
            Some(stack) => {
                let (shapes, blocks) = (&stack.layout.shapes, stack.blocks());
                let run = || stack::run(level, values, layout.groups, shapes, &blocks);
                let grid = Grid::of(shapes.last().expect("a stack has at least one block"));
                // Weights wait for memory while products are computed.
                let (tape, prepared) = rayon::join(run, || prepare(grid));
                statistics = statistics::flat(tape.moments().iter().map(Vec::as_slice));
                let encoded = Arc::new(Encoded { affines: tape.affines(&blocks), tape });
                (Below::Stack(stack.clone(), Arc::clone(self.encoded.get_or_init(|| encoded))), prepared)
            }
        };
        let (loss, tape) = predictor::forward(level, &below.to_predict(), &parameters, prepared, layout);
        statistics.extend(rows_norm::statistics(&tape.normalisations));
        let input_shape = input.layout().shape().to_vec();
        let saved = Saved { input_shape, width, layout, below, tape: Arc::new(tape) };
        (tensor(vec![loss], [1]), flat(statistics), saved)
    }
}

#[backend_extension(Autodiff, Flex)]
trait SimSiamBackend: burn::backend::Backend {
    /// `chain` ends that of the stack's parameters, and is nothing where there is none. The second output holds the statistics,
    /// `[layer][mean, variance][group][channel]`, flat.
    #[allow(
        clippy::too_many_arguments,
        reason = "one for each tensor; the macro copies this to where it is not needed"
    )]
    fn simsiam(
        input: FloatTensor<Self>,
        chain: FloatTensor<Self>,
        hidden_weight: FloatTensor<Self>,
        hidden_bias: FloatTensor<Self>,
        gamma: FloatTensor<Self>,
        beta: FloatTensor<Self>,
        output_weight: FloatTensor<Self>,
        output_bias: FloatTensor<Self>,
        plan: Arc<Plan>,
    ) -> (FloatTensor<Self>, FloatTensor<Self>);
}

impl SimSiamBackend for Flex {
    fn simsiam(
        input: FloatTensor<Self>,
        _chain: FloatTensor<Self>,
        hidden_weight: FloatTensor<Self>,
        hidden_bias: FloatTensor<Self>,
        gamma: FloatTensor<Self>,
        beta: FloatTensor<Self>,
        output_weight: FloatTensor<Self>,
        output_bias: FloatTensor<Self>,
        plan: Arc<Plan>,
    ) -> (FloatTensor<Self>, FloatTensor<Self>) {
        let head = [hidden_weight, hidden_bias, gamma, beta, output_weight, output_bias];
        let (loss, statistics, _) = plan.forward(&input, head);
        (loss, statistics)
    }
}

/// The hand-made backward pass.
#[derive(Debug)]
struct SimSiamBackward;

/// What it needs from the forward pass.
#[derive(Clone, Debug)]
struct Saved {
    input_shape: Vec<usize>,
    /// Features of a row.
    width: usize,
    layout: rows_norm::Layout,
    below: Below,
    tape: Arc<predictor::Tape>,
}

impl Backward<Flex, 8> for SimSiamBackward {
    type State = Saved;

    fn backward(self, ops: Ops<Saved, 8>, grads: &mut Gradients, _checkpointer: &mut Checkpointer) {
        let Saved { input_shape, width, layout, below, tape } = ops.state;
        let scale = slice(&grads.consume::<Flex>(&ops.node).to_contiguous())[0];
        let [input_node, chain_node, head_nodes @ ..] = ops.parents;
        let features = below.to_predict();
        let with_input = input_node.is_some();
        let above = || predictor::backward(Level::new(), &features, layout, &tape, scale);
        let (above, packed) = rayon::join(above, || below.packed(with_input));
        let (input, gradients) = below.backward(&above, &packed, with_input);
        let head = above.gradients();
        let channels = layout.channels;
        let head = [
            tensor(head.hidden_weight, [width, channels]),
            tensor(head.hidden_bias, [channels]),
            tensor(head.gamma, [channels]),
            tensor(head.beta, [channels]),
            tensor(head.output_weight, [channels, width]),
            tensor(head.output_bias, [width]),
        ];
        let signal = match &below {
            Below::Rows { .. } => None,
            Below::Stack(stack, _) => Some(stack.parameters.leave(gradients)),
        };
        let below = [(input_node, input.map(|input| tensor(input, input_shape))), (chain_node, signal)];
        for (node, gradient) in below.into_iter().chain(head_nodes.into_iter().zip(head.map(Some))) {
            if let (Some(node), Some(gradient)) = (node, gradient) {
                grads.register::<Flex>(node.id, gradient);
            }
        }
    }
}

impl<C: CheckpointStrategy> SimSiamBackend for Autodiff<Flex, C> {
    fn simsiam(
        input: FloatTensor<Self>,
        chain: FloatTensor<Self>,
        hidden_weight: FloatTensor<Self>,
        hidden_bias: FloatTensor<Self>,
        gamma: FloatTensor<Self>,
        beta: FloatTensor<Self>,
        output_weight: FloatTensor<Self>,
        output_bias: FloatTensor<Self>,
        plan: Arc<Plan>,
    ) -> (FloatTensor<Self>, FloatTensor<Self>) {
        let head = [hidden_weight, hidden_bias, gamma, beta, output_weight, output_bias];
        let [a, b, c, d, e, f] = head.each_ref().map(|tensor| tensor.node());
        let nodes = [input.node(), chain.node(), a, b, c, d, e, f];
        let prepared = SimSiamBackward.prepare::<C>(nodes).compute_bound().stateful();
        let head = head.map(|tensor| tensor.into_primitive());
        let (loss, statistics, saved) = plan.forward(&input.into_primitive(), head);
        let loss = match prepared {
            OpsKind::Tracked(prepared) => prepared.finish(saved, loss),
            OpsKind::UnTracked(prepared) => prepared.finish(loss),
        };
        (loss, FloatTensor::<Self>::new(statistics))
    }
}

impl Predictor {
    /// # Panics
    /// Panics when the shapes do not fit one another or a row of so many features.
    fn check(&self, width: usize) {
        let [inputs, channels] = self.hidden_weight.dims();
        assert!(
            inputs == width
                && self.output_weight.dims() == [channels, width]
                && self.output_bias.dims() == [width]
                && [&self.hidden_bias, &self.gamma, &self.beta].map(|t| t.dims()) == [[channels]; 3]
                && width * channels > 0,
            "a predictor {width} → {channels} → {width}"
        );
    }

    /// Runs the operation on `input`, of `views` views. Gives the loss, the statistics, flat, and the plan, which holds the stack's pass.
    fn run<const D: usize>(
        self,
        input: Tensor<D>,
        chain: Tensor<1>,
        stack: Option<Stack>,
        views: usize,
    ) -> (Tensor<1>, Tensor<1>, Arc<Plan>) {
        let (rows, channels) = (input.dims()[0], self.hidden_bias.dims()[0]);
        let layout = rows_norm::Layout { rows, channels, groups: views, epsilon: self.epsilon, with_relu: true };
        let plan = Arc::new(Plan { layout, stack, encoded: OnceLock::new() });
        let (loss, statistics) = <Dispatch as SimSiamBackend>::simsiam(
            input.into_dispatch(),
            chain.into_dispatch(),
            self.hidden_weight.into_dispatch(),
            self.hidden_bias.into_dispatch(),
            self.gamma.into_dispatch(),
            self.beta.into_dispatch(),
            self.output_weight.into_dispatch(),
            self.output_bias.into_dispatch(),
            Arc::clone(&plan),
        );
        (Tensor::from_dispatch(loss), Tensor::<1>::from_dispatch(statistics).inner(), plan)
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
    predictor.check(width);
    assert!(views > 0 && rows > 0 && rows.is_multiple_of(views), "{rows} rows of {views} equal views");
    if !fused(&features) {
        return composed(features, predictor, views);
    }
    let channels = predictor.hidden_bias.dims()[0];
    let nothing = Tensor::zeros([1], &features.device());
    let (loss, statistics, _) = predictor.run(features, nothing, None, views);
    (loss, BatchStatistics::new(statistics, views, channels))
}

/// SimSiam's loss of the features that `blocks` make of `input`, `[views × batch, channels, height, width]`: [`simsiam_loss`]
/// behind [`conv_relu_bn_stack`] as one operation. On the CPU the features stay where the last block leaves them, and their
/// gradient goes on from there. Differentiable in every parameter, and in the input if it requires a gradient.
///
/// # Panics
/// As those two.
pub fn stack_simsiam_loss(input: Tensor<4>, blocks: &[Block], predictor: Predictor, views: usize) -> StackSimSiam {
    if !fused(&input) {
        let (features, blocks) = conv_relu_bn_stack(input, blocks, views);
        let (loss, bottleneck) = simsiam_loss(features.clone(), predictor, views);
        return StackSimSiam { loss, blocks, bottleneck, features: Box::new(|| features.inner()) };
    }
    let layout = operation::Layout::new(input.dims(), blocks, views);
    predictor.check(layout.shapes.last().map_or(0, BlockShape::out_features));
    let bottleneck = predictor.hidden_bias.dims()[0];
    let channels: Vec<usize> = layout.shapes.iter().map(|shape| shape.out_channels).chain([bottleneck]).collect();
    let (parameters, chain) = Linked::linked(operation::tensors(blocks));
    let (loss, statistics, plan) = predictor.run(input, chain, Some(Stack { layout, parameters }), views);
    let mut statistics = BatchStatistics::by_layer(&statistics, views, channels);
    let bottleneck = statistics.pop().expect("those of the bottleneck");
    let encoded = Arc::clone(plan.encoded.get().expect("the pass of the stack"));
    StackSimSiam { loss, blocks: statistics, bottleneck, features: Box::new(move || encoded.features()) }
}

/// [`simsiam_loss`] composed of the head's other operations.
pub(crate) fn composed(features: Tensor<2>, predictor: Predictor, views: usize) -> (Tensor<1>, BatchStatistics) {
    let hidden = linear(features.clone(), predictor.hidden_weight, predictor.hidden_bias);
    let (hidden, statistics) = batch_norm(hidden, predictor.gamma, predictor.beta, predictor.epsilon, views, true);
    let predictions = linear(hidden, predictor.output_weight, predictor.output_bias);
    (negative_cosine_similarity(predictions, features, views), statistics)
}
