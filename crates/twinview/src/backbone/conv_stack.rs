//! The article's encoder: convolution, ReLU, batch normalisation, three times.

use burn::module::{Module, Param};
use burn::tensor::{Device, Tensor};
use serde::{Deserialize, Serialize};
use twinview_kernels::{
    BatchStatistics, Block, Predictor, RunningStatistics, StackSimSiam, conv_relu_bn_stack,
    conv_relu_bn_stack_inference, conv_relu_bn_stack_of_bytes, stack_simsiam_loss,
};

use super::{BatchNorm, Mode, TorchNames};

/// Shape of a [`ConvStack`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ConvStackConfig {
    /// Channels after each block.
    pub widths: Vec<usize>,
}

impl Default for ConvStackConfig {
    /// The article's 32, 64 and 128 channels.
    fn default() -> Self {
        Self { widths: vec![32, 64, 128] }
    }
}

impl ConvStackConfig {
    /// Features of an image of `height` × `width` pixels.
    pub fn features(&self, height: usize, width: usize) -> usize {
        let halved = |length: usize| self.widths.iter().fold(length, |length, _| length.div_ceil(2));
        self.widths.last().copied().unwrap_or(0) * halved(height) * halved(width)
    }

    /// A stack with zero weights for images of `in_channels`; see [`initialise`](super::initialise).
    pub fn init(&self, in_channels: usize, device: &Device) -> ConvStack {
        let inputs = std::iter::once(in_channels).chain(self.widths.iter().copied());
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
        let [count, _, height, width] = images.dims();
        let blocks = self.kernels();
        match mode {
            Mode::Train => {
                let (features, statistics) = conv_relu_bn_stack(images, &blocks, views);
                self.track(statistics, [count / views, height, width]);
                features
            }
            Mode::Eval => conv_relu_bn_stack_inference(images, &blocks, &self.running()),
        }
    }

    /// Features of images of bytes, `[count, channels, height, width]` in 0..=255, with the running statistics:
    /// `[count, features]`. The bytes are taken as 0..1. `size` is `[channels, height, width]`.
    ///
    /// # Panics
    /// When the images have another number of channels than the stack takes, or `pixels` are not whole images.
    pub fn encode(&self, pixels: &[u8], size: [usize; 3]) -> Vec<f32> {
        conv_relu_bn_stack_of_bytes(pixels, size, &self.kernels(), &self.running())
    }

    /// SimSiam's loss of what the stack makes of `images` in training, with the `predictor`'s statistics and the features for
    /// who asks for them: what [`forward`](Self::forward) and the loss behind it give, at a lower price.
    pub(crate) fn simsiam_loss(&self, images: Tensor<4>, predictor: Predictor, views: usize) -> StackSimSiam {
        let [count, _, height, width] = images.dims();
        let mut outcome = stack_simsiam_loss(images, &self.kernels(), predictor, views);
        self.track(std::mem::take(&mut outcome.blocks), [count / views, height, width]);
        outcome
    }

    /// Takes up the batch statistics of a pass of images of `[batch, height, width]` a view.
    fn track(&self, statistics: Vec<BatchStatistics>, [batch, mut height, mut width]: [usize; 3]) {
        for (block, statistics) in self.blocks.iter().zip(statistics) {
            (height, width) = (height.div_ceil(2), width.div_ceil(2));
            block.norm.track(statistics, batch * height * width);
        }
    }

    fn kernels(&self) -> Vec<Block> {
        self.blocks.iter().map(ConvBlock::kernel).collect()
    }

    fn running(&self) -> Vec<RunningStatistics> {
        self.blocks.iter().map(|block| block.norm.running()).collect()
    }

    /// Where its weights live.
    pub fn device(&self) -> Device {
        self.blocks.first().map(|block| block.weight.device()).unwrap_or_default()
    }

    /// Channels of the images it takes.
    pub fn in_channels(&self) -> usize {
        self.blocks.first().map_or(1, |block| block.weight.dims()[1])
    }

    /// The shape that makes this stack.
    pub fn config(&self) -> ConvStackConfig {
        ConvStackConfig { widths: self.blocks.iter().map(|block| block.weight.dims()[0]).collect() }
    }
}

impl TorchNames for ConvStack {
    /// `blocks.1.norm.weight` is `5.weight`.
    fn torch_name(path: &str) -> String {
        let mut parts = path.splitn(4, '.');
        match (parts.next(), parts.next().and_then(|block| block.parse::<usize>().ok()), parts.next(), parts.next()) {
            (Some("blocks"), Some(block), Some("norm"), Some(rest)) => format!("{}.{rest}", 3 * block + 2),
            (Some("blocks"), Some(block), Some(name), None) => format!("{}.{name}", 3 * block),
            _ => path.to_owned(),
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

    fn kernel(&self) -> Block {
        Block {
            weight: self.weight.val(),
            bias: self.bias.val(),
            gamma: self.norm.weight.val(),
            beta: self.norm.bias.val(),
            stride: 2,
            epsilon: BatchNorm::EPSILON as f32,
        }
    }
}
