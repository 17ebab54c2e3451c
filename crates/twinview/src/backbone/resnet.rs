//! ResNets of basic blocks for small images.

use burn::module::{Module, Param};
use burn::tensor::{Device, Tensor};
use serde::{Deserialize, Serialize};
use twinview_kernels::{
    ConvNorm, ResidualBlock, ResidualNetwork, RunningStatistics, residual_network, residual_network_inference,
    residual_network_of_bytes,
};

use super::{BatchNorm, Mode, Start, TorchNames};

/// Shape of a [`ResNet`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ResNetConfig {
    /// Channels of the stem and the first stage; every later stage has twice as many.
    pub width: usize,
    /// Blocks of each stage.
    pub blocks: [usize; 4],
}

impl Default for ResNetConfig {
    /// The paper's ResNet-18.
    fn default() -> Self {
        Self { width: 64, blocks: [2, 2, 2, 2] }
    }
}

impl ResNetConfig {
    /// Features of an image of any size.
    pub fn features(&self) -> usize {
        8 * self.width
    }

    /// A network with zero weights for images of `in_channels`; see [`initialise`](super::initialise).
    pub fn init(&self, in_channels: usize, device: &Device) -> ResNet {
        let stage = |index: usize| {
            let width = self.width << index;
            let block = |number| {
                // The first block of every stage but the first halves the image and doubles the channels.
                let changes = number == 0 && index > 0;
                BasicBlock::new(if changes { width / 2 } else { width }, width, device)
            };
            (0..self.blocks[index]).map(block).collect::<Vec<_>>()
        };
        ResNet {
            conv1: Conv::new(in_channels, self.width, 3, device),
            bn1: BatchNorm::new(self.width, device),
            layer1: stage(0),
            layer2: stage(1),
            layer3: stage(2),
            layer4: stage(3),
        }
    }
}

/// A ResNet of basic blocks (He et al. 2015, arXiv 1512.03385, table 1: 18 or 34 layers), with torchvision's names.
///
/// As in SimCLR's appendix B.9 (arXiv 2002.05709) for small images, the stem is a 3 × 3 convolution with stride 1 in the place of the
/// 7 × 7 one with stride 2, and there is no max-pooling. The features are the means over all positions.
#[derive(Module, Debug)]
pub struct ResNet {
    /// The stem.
    pub conv1: Conv,
    /// Normalises the stem.
    pub bn1: BatchNorm,
    /// The first stage.
    pub layer1: Vec<BasicBlock>,
    /// The second: half the size, twice the channels.
    pub layer2: Vec<BasicBlock>,
    /// The third.
    pub layer3: Vec<BasicBlock>,
    /// The fourth.
    pub layer4: Vec<BasicBlock>,
}

impl ResNet {
    /// Features of `images`, `[views * batch, channels, height, width]` in 0..1, as `[views * batch, features]`. Each of the
    /// `views` groups of the batch is normalised with its own statistics.
    pub fn forward(&self, images: Tensor<4>, views: usize, mode: Mode) -> Tensor<2> {
        match mode {
            Mode::Train => {
                let (features, statistics) = residual_network(images, &self.kernel(), views);
                for (norm, layer) in self.norms().into_iter().zip(statistics) {
                    norm.track(layer.batch, layer.count);
                }
                features
            }
            Mode::Eval => residual_network_inference(images, &self.kernel(), &self.running()),
        }
    }

    /// Features of images of bytes, with the running statistics; as [`Backbone::encode`](super::Backbone::encode).
    pub(super) fn encode(&self, pixels: &[u8], size: [usize; 3]) -> Vec<f32> {
        residual_network_of_bytes(pixels, size, &self.kernel(), &self.running())
    }

    /// Where its weights live.
    pub fn device(&self) -> Device {
        self.conv1.weight.device()
    }

    /// Channels of the images it takes.
    pub fn in_channels(&self) -> usize {
        self.conv1.weight.dims()[1]
    }

    /// The shape that makes this network.
    pub fn config(&self) -> ResNetConfig {
        ResNetConfig { width: self.conv1.weight.dims()[0], blocks: self.stages().map(Vec::len) }
    }

    fn stages(&self) -> [&Vec<BasicBlock>; 4] {
        [&self.layer1, &self.layer2, &self.layer3, &self.layer4]
    }

    fn blocks(&self) -> impl Iterator<Item = &BasicBlock> {
        self.stages().into_iter().flatten()
    }

    fn kernel(&self) -> ResidualNetwork {
        ResidualNetwork {
            stem: self.conv1.with(&self.bn1),
            blocks: self.blocks().map(BasicBlock::kernel).collect(),
            epsilon: BatchNorm::EPSILON as f32,
        }
    }

    /// In the order of the kernel's statistics.
    fn norms(&self) -> Vec<&BatchNorm> {
        let blocks = self.blocks().flat_map(|block| {
            [&block.bn1, &block.bn2].into_iter().chain(block.downsample.as_ref().map(|shortcut| &shortcut.norm))
        });
        std::iter::once(&self.bn1).chain(blocks).collect()
    }

    fn running(&self) -> Vec<RunningStatistics> {
        self.norms().into_iter().map(BatchNorm::running).collect()
    }
}

impl TorchNames for ResNet {
    fn torch_name(path: &str) -> String {
        path.replace("downsample.conv.", "downsample.0.").replace("downsample.norm.", "downsample.1.")
    }

    /// As in torchvision; normalisation, whose parameters have one dimension, keeps what it has.
    fn start(_path: &str) -> Start {
        Start::FanOut
    }
}

/// A convolution without bias; the normalisation behind it has a shift.
#[derive(Module, Debug)]
pub struct Conv {
    /// Filters, `[out, in, size, size]`.
    pub weight: Param<Tensor<4>>,
}

impl Conv {
    fn new(inputs: usize, outputs: usize, size: usize, device: &Device) -> Self {
        Self { weight: Param::from_tensor(Tensor::zeros([outputs, inputs, size, size], device)) }
    }

    fn with(&self, norm: &BatchNorm) -> ConvNorm {
        ConvNorm { weight: self.weight.val(), gamma: norm.weight.val(), beta: norm.bias.val() }
    }
}

/// Two 3 × 3 convolutions and a shortcut around them.
#[derive(Module, Debug)]
pub struct BasicBlock {
    /// The first convolution, which halves the image where the channels double.
    pub conv1: Conv,
    /// Normalises it.
    pub bn1: BatchNorm,
    /// The second convolution.
    pub conv2: Conv,
    /// Normalises it.
    pub bn2: BatchNorm,
    /// The shortcut where the shape changes.
    pub downsample: Option<Downsample>,
}

impl BasicBlock {
    fn new(inputs: usize, outputs: usize, device: &Device) -> Self {
        let downsample = (inputs != outputs)
            .then(|| Downsample { conv: Conv::new(inputs, outputs, 1, device), norm: BatchNorm::new(outputs, device) });
        Self {
            conv1: Conv::new(inputs, outputs, 3, device),
            bn1: BatchNorm::new(outputs, device),
            conv2: Conv::new(outputs, outputs, 3, device),
            bn2: BatchNorm::new(outputs, device),
            downsample,
        }
    }

    fn kernel(&self) -> ResidualBlock {
        ResidualBlock {
            first: self.conv1.with(&self.bn1),
            second: self.conv2.with(&self.bn2),
            shortcut: self.downsample.as_ref().map(|shortcut| shortcut.conv.with(&shortcut.norm)),
            stride: if self.downsample.is_some() { 2 } else { 1 },
        }
    }
}

/// A 1 × 1 convolution with stride 2 and its normalisation: `downsample.0` and `.1` in PyTorch.
#[derive(Module, Debug)]
pub struct Downsample {
    /// The convolution.
    pub conv: Conv,
    /// Normalises it.
    pub norm: BatchNorm,
}
