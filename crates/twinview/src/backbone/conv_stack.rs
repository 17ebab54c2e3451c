//! The article's encoder: convolution, ReLU, batch normalisation, three times.

use burn::module::{Module, Param};
use burn::tensor::ops::ConvOptions;
use burn::tensor::{Device, Tensor, activation, module};

use super::{BatchNorm, Mode};

/// Shape of a [`ConvStack`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConvStackConfig {
    /// Channels of an image: 1 for grey, 3 for RGB.
    pub in_channels: usize,
    /// Channels after each block.
    pub widths: Vec<usize>,
}

impl ConvStackConfig {
    /// The article's encoder for 28 × 28 grey images: 32, 64 and 128 channels, 2,048 features.
    pub fn article() -> Self {
        Self { in_channels: 1, widths: vec![32, 64, 128] }
    }

    /// Features of an image of `height` × `width` pixels.
    pub fn features(&self, height: usize, width: usize) -> usize {
        let halved = |length: usize| self.widths.iter().fold(length, |length, _| length.div_ceil(2));
        self.widths.last().map_or(self.in_channels, |&channels| channels) * halved(height) * halved(width)
    }

    /// A stack with zero weights; see [`initialise`](super::initialise).
    pub fn init(&self, device: &Device) -> ConvStack {
        let inputs = std::iter::once(self.in_channels).chain(self.widths.iter().copied());
        let blocks = inputs.zip(&self.widths).map(|(from, &to)| ConvBlock::new(from, to, device)).collect();
        ConvStack { blocks }
    }
}

/// Blocks behind one another, flattened at the end.
///
/// In PyTorch: `nn.Sequential` of `Conv2d(3, stride=2, padding=1)`, `ReLU`, `BatchNorm2d`, repeated, so that
/// block `i` holds the parameters `3 i` and `3 i + 2`.
#[derive(Module, Debug)]
pub struct ConvStack {
    /// The blocks, first to last.
    pub blocks: Vec<ConvBlock>,
}

impl ConvStack {
    /// Features of `images`, `[views * batch, channels, height, width]` in 0..1, as `[views * batch, features]`.
    ///
    /// Each of the `views` groups of the batch is normalised with its own statistics, as if the views had
    /// passed one after the other.
    pub fn forward(&self, images: Tensor<4>, views: usize, mode: Mode) -> Tensor<2> {
        let outputs = images.chunk(views, 0).into_iter().map(|view| {
            let output = self.blocks.iter().fold(view, |input, block| block.forward(input, mode));
            output.flatten::<2>(1, 3)
        });
        Tensor::cat(outputs.collect(), 0)
    }

    /// The shape that makes this stack.
    pub fn config(&self) -> ConvStackConfig {
        ConvStackConfig {
            in_channels: self.blocks.first().map_or(1, |block| block.weight.dims()[1]),
            widths: self.blocks.iter().map(|block| block.weight.dims()[0]).collect(),
        }
    }
}

/// Convolution 3 × 3 with stride 2 and padding 1, ReLU, batch normalisation.
#[derive(Module, Debug)]
pub struct ConvBlock {
    /// Filters, `[out, in, 3, 3]`.
    pub weight: Param<Tensor<4>>,
    /// Bias of each filter, `[out]`.
    pub bias: Param<Tensor<1>>,
    /// Normalises what the ReLU lets through.
    pub norm: BatchNorm,
}

impl ConvBlock {
    fn new(in_channels: usize, out_channels: usize, device: &Device) -> Self {
        Self {
            weight: Param::from_tensor(Tensor::zeros([out_channels, in_channels, 3, 3], device)),
            bias: Param::from_tensor(Tensor::zeros([out_channels], device)),
            norm: BatchNorm::new(out_channels, device),
        }
    }

    fn forward(&self, input: Tensor<4>, mode: Mode) -> Tensor<4> {
        let options = ConvOptions::new([2, 2], [1, 1], [1, 1], 1);
        let output = module::conv2d(input, self.weight.val(), Some(self.bias.val()), options);
        self.norm.forward(activation::relu(output), mode)
    }
}
