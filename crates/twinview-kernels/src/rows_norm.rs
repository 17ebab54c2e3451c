//! Batch normalisation of rows, with or without a ReLU behind it, as one operation: what lies between the
//! linear layers of a head.

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
use burn::tensor::{Tensor, activation};
use burn_flex::FlexTensor;
use fearless_simd::{Level, dispatch};
use rayon::prelude::*;

use crate::composed::normalise_by_batch;
use crate::network::{flat, fused, slice, tensor};
use crate::normalise::{Affine, MOMENTS, Moments, add_brick, add_gradient_brick};
use crate::product::block_of;
use crate::statistics::BatchStatistics;
use crate::tile::LANES;

/// Most rows whose sums are taken in f32; theirs are put together in f64.
const BRICK: usize = 48;

/// Rows of a task that maps values.
const TASK_ROWS: usize = 64;

#[derive(Clone, Copy, Debug)]
pub(crate) struct Layout {
    pub(crate) rows: usize,
    pub(crate) channels: usize,
    pub(crate) groups: usize,
    pub(crate) epsilon: f32,
    pub(crate) with_relu: bool,
}

/// The forward pass of one group, as far as the way back needs it.
#[derive(Clone, Debug)]
pub(crate) struct Normalisation {
    moments: Moments,
    affine: Affine,
}

impl Layout {
    /// Values of a group.
    fn group(&self) -> usize {
        self.rows / self.groups * self.channels
    }

    /// Runs `sum` on every channel block of every group, `[group][block]`, and returns the results by group.
    fn sums<T: Send>(&self, sum: impl Fn(usize, usize) -> T + Sync) -> Vec<Vec<T>> {
        let blocks = self.channels.div_ceil(LANES);
        let tasks = (0..self.groups * blocks).into_par_iter().map(|task| sum(task / blocks, task % blocks));
        let mut sums: Vec<T> = tasks.collect();
        (0..self.groups).map(|_| sums.drain(..blocks).collect()).collect()
    }

    /// Each group's statistics and what they make of its values.
    pub(crate) fn normalisations(
        &self,
        level: Level,
        input: &[f32],
        gamma: &[f32],
        beta: &[f32],
    ) -> Vec<Normalisation> {
        let count = self.rows / self.groups;
        let of_block = |group: usize, block: usize| {
            let values = &input[group * self.group()..][..self.group()];
            let mut moments = [0.0; MOMENTS * LANES];
            let mut brick = Vec::with_capacity(BRICK);
            for rows in values.chunks(BRICK * self.channels) {
                brick.clear();
                brick.extend(rows.chunks_exact(self.channels).map(|row| block_of(row, block)));
                dispatch!(level, simd => add_brick(simd, &brick, &mut moments, 0));
            }
            Moments::new(&moments, count, LANES.min(self.channels - block * LANES))
        };
        let join = |moments: Vec<Moments>| {
            let mean: Vec<f32> = moments.iter().flat_map(|m| m.mean.clone()).collect();
            let variance: Vec<f32> = moments.into_iter().flat_map(|m| m.variance).collect();
            let affine = Affine::new(&mean, &variance, gamma, beta, self.epsilon);
            Normalisation { moments: Moments { mean, variance }, affine }
        };
        self.sums(of_block).into_iter().map(join).collect()
    }

    pub(crate) fn forward(&self, input: &[f32], normalisations: &[Normalisation]) -> Vec<f32> {
        let mut out = vec![0.0; input.len()];
        let rows = out.par_chunks_mut(self.channels).zip(input.par_chunks(self.channels)).enumerate();
        rows.with_min_len(TASK_ROWS).for_each(|(row, (out, input))| {
            let Affine { scale, shift } = &normalisations[row * self.groups / self.rows].affine;
            for (((out, value), scale), shift) in out.iter_mut().zip(input).zip(scale).zip(shift) {
                let normalised = scale * value + shift;
                // Written so that a NaN comes through.
                *out = if self.with_relu && normalised < 0.0 { 0.0 } else { normalised };
            }
        });
        out
    }

    /// Gradients of the input, the scale and the shift.
    pub(crate) fn backward(
        &self,
        level: Level,
        input: &[f32],
        gradient: &[f32],
        normalisations: &[Normalisation],
    ) -> (Vec<f32>, Vec<f32>, Vec<f32>) {
        let count = (self.rows / self.groups) as f64;
        // What lies above passes.
        let floor = if self.with_relu { 0.0 } else { f32::NEG_INFINITY };
        let of_block = |group: usize, block: usize| {
            let range = group * self.group()..(group + 1) * self.group();
            let Normalisation { moments, affine } = &normalisations[group];
            let [mean, scale, shift] = [&moments.mean, &affine.scale, &affine.shift].map(|v| block_of(v, block));
            let mut sums = [0.0; 2 * LANES];
            let (mut values, mut gradients) = (Vec::with_capacity(BRICK), Vec::with_capacity(BRICK));
            let pieces = BRICK * self.channels;
            for (input, gradient) in input[range.clone()].chunks(pieces).zip(gradient[range].chunks(pieces)) {
                values.clear();
                gradients.clear();
                for (input, gradient) in input.chunks_exact(self.channels).zip(gradient.chunks_exact(self.channels)) {
                    let (value, mut gradient) = (block_of(input, block), block_of(gradient, block));
                    for lane in 0..LANES {
                        if scale.0[lane] * value.0[lane] + shift.0[lane] <= floor {
                            gradient.0[lane] = 0.0;
                        }
                    }
                    values.push(value);
                    gradients.push(gradient);
                }
                dispatch!(level, simd => add_gradient_brick(simd, &gradients, &values, &mean, &mut sums, 0));
            }
            sums
        };
        let sums = self.sums(of_block);

        let (mut gamma, mut beta) = (vec![0.0; self.channels], vec![0.0; self.channels]);
        // Of each group and channel: the gradient's average, and its slope against the value.
        let mut along = Vec::with_capacity(self.groups);
        for (sums, Normalisation { moments, .. }) in sums.iter().zip(normalisations) {
            let (mut averages, mut slopes) = (Vec::with_capacity(self.channels), Vec::with_capacity(self.channels));
            for channel in 0..self.channels {
                let [plain, weighted] = [0, LANES].map(|part| sums[channel / LANES][part + channel % LANES]);
                let variance = f64::from(moments.variance[channel]) + f64::from(self.epsilon);
                gamma[channel] += weighted / variance.sqrt();
                beta[channel] += plain;
                averages.push((plain / count) as f32);
                slopes.push((weighted / (count * variance)) as f32);
            }
            along.push((averages, slopes));
        }

        let mut out = vec![0.0; input.len()];
        let values = input.par_chunks(self.channels).zip(gradient.par_chunks(self.channels));
        let rows = out.par_chunks_mut(self.channels).zip(values).enumerate();
        rows.with_min_len(TASK_ROWS).for_each(|(row, (out, (input, gradient)))| {
            let group = row * self.groups / self.rows;
            let Normalisation { moments, affine } = &normalisations[group];
            let (averages, slopes) = &along[group];
            let of_channel = moments.mean.iter().zip(&affine.scale).zip(&affine.shift).zip(averages.iter().zip(slopes));
            let values = out.iter_mut().zip(input.iter().zip(gradient));
            dispatch!(level, _simd => {
                for ((out, (value, gradient)), (((mean, scale), shift), (average, slope))) in values.zip(of_channel) {
                    let gradient = if scale * value + shift <= floor { 0.0 } else { *gradient };
                    *out = scale * (gradient - average - slope * (value - mean));
                }
            });
        });
        let narrow = |values: Vec<f64>| values.into_iter().map(|value| value as f32).collect();
        (out, narrow(gamma), narrow(beta))
    }
}

#[backend_extension(Autodiff, Flex)]
trait BatchNormBackend: burn::backend::Backend {
    /// The second output holds the statistics, `[mean, variance][group][channel]`, flat.
    fn batch_norm_rows(
        input: FloatTensor<Self>,
        gamma: FloatTensor<Self>,
        beta: FloatTensor<Self>,
        layout: Layout,
    ) -> (FloatTensor<Self>, FloatTensor<Self>);
}

/// The statistics, `[mean, variance][group][channel]`.
pub(crate) fn statistics(normalisations: &[Normalisation]) -> Vec<f32> {
    let means = normalisations.iter().flat_map(|n| &n.moments.mean);
    means.chain(normalisations.iter().flat_map(|n| &n.moments.variance)).copied().collect()
}

/// Runs the forward pass: output, statistics, and what the way back needs.
fn run(
    input: &FlexTensor,
    gamma: &FlexTensor,
    beta: &FlexTensor,
    layout: Layout,
) -> (FlexTensor, FlexTensor, Vec<Normalisation>) {
    let normalisations = layout.normalisations(Level::new(), slice(input), slice(gamma), slice(beta));
    let output = layout.forward(slice(input), &normalisations);
    let statistics = flat(statistics(&normalisations));
    (tensor(output, [layout.rows, layout.channels]), statistics, normalisations)
}

impl BatchNormBackend for Flex {
    fn batch_norm_rows(
        input: FloatTensor<Self>,
        gamma: FloatTensor<Self>,
        beta: FloatTensor<Self>,
        layout: Layout,
    ) -> (FloatTensor<Self>, FloatTensor<Self>) {
        let (output, statistics, _) =
            run(&input.to_contiguous(), &gamma.to_contiguous(), &beta.to_contiguous(), layout);
        (output, statistics)
    }
}

#[derive(Debug)]
struct BatchNormBackward;

/// What the backward pass needs.
#[derive(Clone, Debug)]
struct Saved {
    input: FlexTensor,
    normalisations: Vec<Normalisation>,
    layout: Layout,
}

impl Backward<Flex, 3> for BatchNormBackward {
    type State = Saved;

    fn backward(self, ops: Ops<Saved, 3>, grads: &mut Gradients, _checkpointer: &mut Checkpointer) {
        let Saved { input, normalisations, layout } = ops.state;
        let gradient = grads.consume::<Flex>(&ops.node).to_contiguous();
        let (input, gamma, beta) = layout.backward(Level::new(), slice(&input), slice(&gradient), &normalisations);
        let [input_node, gamma_node, beta_node] = ops.parents;
        if let Some(node) = input_node {
            grads.register::<Flex>(node.id, tensor(input, [layout.rows, layout.channels]));
        }
        for (node, values) in [(gamma_node, gamma), (beta_node, beta)] {
            if let Some(node) = node {
                grads.register::<Flex>(node.id, tensor(values, [layout.channels]));
            }
        }
    }
}

impl<C: CheckpointStrategy> BatchNormBackend for Autodiff<Flex, C> {
    fn batch_norm_rows(
        input: FloatTensor<Self>,
        gamma: FloatTensor<Self>,
        beta: FloatTensor<Self>,
        layout: Layout,
    ) -> (FloatTensor<Self>, FloatTensor<Self>) {
        let nodes = [input.node(), gamma.node(), beta.node()];
        let prepared = BatchNormBackward.prepare::<C>(nodes).compute_bound().stateful();
        let input = input.into_primitive().to_contiguous();
        let gamma = gamma.into_primitive().to_contiguous();
        let (output, statistics, normalisations) = run(&input, &gamma, &beta.into_primitive().to_contiguous(), layout);
        let output = match prepared {
            OpsKind::Tracked(prepared) => prepared.finish(Saved { input, normalisations, layout }, output),
            OpsKind::UnTracked(prepared) => prepared.finish(output),
        };
        (output, FloatTensor::<Self>::new(statistics))
    }
}

/// Normalises `input`, `[rows, channels]`, in training mode: `γ · (x − mean) / √(variance + epsilon) + β`, and
/// `with_relu` lets only what is above 0 through.
///
/// Each of the `groups` equal runs of rows has its own batch statistics, as by one pass a group. Returns
/// `[rows, channels]` and the statistics. Differentiable in `input`, `gamma` and `beta`, both `[channels]`.
///
/// # Panics
/// Panics when the shapes do not fit one another, or the rows do not divide into the groups.
pub fn batch_norm(
    input: Tensor<2>,
    gamma: Tensor<1>,
    beta: Tensor<1>,
    epsilon: f32,
    groups: usize,
    with_relu: bool,
) -> (Tensor<2>, BatchStatistics) {
    let [rows, channels] = input.dims();
    assert!(gamma.dims() == [channels] && beta.dims() == [channels], "a scale and a shift for {channels} channels");
    assert!(groups > 0 && rows > 0 && rows.is_multiple_of(groups), "{rows} rows in {groups} equal groups");
    let layout = Layout { rows, channels, groups, epsilon, with_relu };
    if !fused(&input) {
        return composed(input, gamma, beta, layout);
    }
    let (output, statistics) = <Dispatch as BatchNormBackend>::batch_norm_rows(
        input.into_dispatch(),
        gamma.into_dispatch(),
        beta.into_dispatch(),
        layout,
    );
    (Tensor::from_dispatch(output), BatchStatistics::new(Tensor::from_dispatch(statistics), groups, channels))
}

/// The same composed of Burn's operations.
pub(crate) fn composed(
    input: Tensor<2>,
    gamma: Tensor<1>,
    beta: Tensor<1>,
    layout: Layout,
) -> (Tensor<2>, BatchStatistics) {
    let Layout { rows, channels, groups, epsilon, with_relu } = layout;
    let values = input.reshape([rows, channels, 1, 1]);
    let (output, statistics) = normalise_by_batch(values, &gamma, &beta, epsilon, groups);
    let output = output.flatten(1, 3);
    (if with_relu { activation::relu(output) } else { output }, statistics)
}
