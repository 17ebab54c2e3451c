//! Statistics of batch normalisation, as tensors.

use burn::backend::Flex;
use burn::tensor::Tensor;

use crate::network::{fused, on_cpu, slice};
use crate::normalise::Moments;
use crate::weighted_sum::{add_weighted, owned, values_mut, weighted_sum};

/// Batch statistics of one layer, with which running statistics can be updated. No gradient flows through them.
#[derive(Clone, Debug)]
pub struct BatchStatistics {
    /// Mean over a group's images and positions, `[groups, channels]`.
    pub mean: Tensor<2>,
    /// Biased variance over a group's images and positions, `[groups, channels]`.
    pub variance: Tensor<2>,
}

impl BatchStatistics {
    /// From flat statistics, `[mean, variance][group][channel]`.
    pub(crate) fn new(statistics: Tensor<1>, groups: usize, channels: usize) -> Self {
        let [mean, variance] = [0, groups * channels]
            .map(|start| statistics.clone().inner().narrow(0, start, groups * channels).reshape([groups, channels]));
        Self { mean, variance }
    }

    /// What [`flat`] made, for layers of so many `channels`.
    pub(crate) fn by_layer(
        statistics: &Tensor<1>,
        groups: usize,
        channels: impl IntoIterator<Item = usize>,
    ) -> Vec<Self> {
        let mut start = 0;
        let take = |channels: usize| {
            let count = 2 * groups * channels;
            start += count;
            Self::new(statistics.clone().narrow(0, start - count, count), groups, channels)
        };
        channels.into_iter().map(take).collect()
    }
}

/// Each layer's statistics of the groups, flat: `[layer][mean, variance][group][channel]`.
pub(crate) fn flat<'a>(layers: impl Iterator<Item = &'a [Moments]>) -> Vec<f32> {
    let mut values = Vec::new();
    for groups in layers {
        values.extend(groups.iter().flat_map(|moments| &moments.mean));
        values.extend(groups.iter().flat_map(|moments| &moments.variance));
    }
    values
}

/// Statistics that a layer normalises with outside training.
#[derive(Clone, Debug)]
pub struct RunningStatistics {
    /// Running mean `[channels]`.
    pub mean: Tensor<1>,
    /// Running variance `[channels]`.
    pub variance: Tensor<1>,
}

impl RunningStatistics {
    /// They, after the statistics of each group of a batch have taken their share `momentum` of them in turn. `unbiased` times a
    /// biased variance is an unbiased one.
    ///
    /// # Panics
    /// When the channels differ.
    pub fn after(self, batch: BatchStatistics, momentum: f64, unbiased: f64) -> Self {
        let blend = |running: Tensor<1>, groups: Tensor<2>, factor: f64| {
            assert_eq!(running.dims()[0], groups.dims()[1], "as many channels");
            let weights = [1.0 - momentum, momentum * factor].map(|weight| weight as f32);
            if !fused(&running) {
                let groups = groups.iter_dim(0);
                return groups.fold(running, |value, group| weighted_sum(value, group.squeeze_dim::<1>(0), weights));
            }
            let (mut running, groups) = (owned(on_cpu(running)), on_cpu(groups));
            let values = values_mut(&mut running);
            for group in slice(&groups).chunks_exact(values.len()) {
                add_weighted(values, group, weights);
            }
            Tensor::from_primitive::<Flex>(running)
        };
        Self { mean: blend(self.mean, batch.mean, 1.0), variance: blend(self.variance, batch.variance, unbiased) }
    }

    /// As the slice functions take them.
    pub(crate) fn moments(running: &[Self]) -> Vec<Moments> {
        let values = |tensor: &Tensor<1>| slice(&on_cpu(tensor.clone())).to_vec();
        running.iter().map(|one| Moments { mean: values(&one.mean), variance: values(&one.variance) }).collect()
    }
}
