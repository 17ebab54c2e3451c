//! Vision transformers for small images.

use burn::module::{Module, Param};
use burn::tensor::{Device, Tensor, TensorData};
use serde::{Deserialize, Serialize};
use twinview_kernels::{TokenLinear, Transformer, linear, transformer_first_token};

use super::{Linear, Start, TorchNames};
use crate::{Error, Result};

/// Shape of a [`VisionTransformer`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct VitConfig {
    /// Side of a patch in pixels; images are whole numbers of patches high and wide.
    pub patch: usize,
    /// Length of a token, which is the number of features: a multiple of [`VitConfig::HEAD`].
    pub width: usize,
    /// Blocks.
    pub depth: usize,
    /// Whether the projection of the patches keeps the weights it began with. MoCo v3 found that it trains more steadily so.
    pub frozen_patches: bool,
}

impl Default for VitConfig {
    /// The width of the smallest that papers use (DeiT-Ti) and half of its blocks, patches for images of 28 × 28, and their
    /// projection frozen.
    fn default() -> Self {
        Self { patch: 4, width: 192, depth: 6, frozen_patches: true }
    }
}

impl VitConfig {
    /// Length of what one head of the attention sees of a token, as in MoCo v3's ViT-S. Files of weights do not tell it, so
    /// it is no setting.
    pub const HEAD: usize = 32;

    /// As [`Architecture::validate`](super::Architecture::validate).
    pub(super) fn validate(&self) -> Result<()> {
        let Self { patch, width, depth, .. } = self;
        let sizes = [("patch", patch), ("width", width), ("depth", depth)];
        let problem = if let Some((name, _)) = sizes.into_iter().find(|(_, size)| **size == 0) {
            format!("backbone.{name} = 0 makes no encoder; expected at least 1")
        } else if !width.is_multiple_of(Self::HEAD) {
            format!("backbone.width = {width} makes no encoder; expected a multiple of {}", Self::HEAD)
        } else {
            return Ok(());
        };
        Err(Error::Config(problem))
    }

    /// As [`Architecture::validate_for`](super::Architecture::validate_for), of sizes that are valid.
    pub(super) fn validate_for(&self, height: usize, width: usize) -> Result<()> {
        let patch = self.patch;
        if height.is_multiple_of(patch) && width.is_multiple_of(patch) {
            return Ok(());
        }
        Err(Error::Config(format!(
            "backbone.patch = {patch} cuts no images of {height} × {width} pixels; expected a number that divides both"
        )))
    }

    /// A transformer with zero weights for images of `in_channels`; see [`initialise`](super::initialise).
    pub fn init(&self, in_channels: usize, device: &Device) -> VisionTransformer {
        let Self { patch, width, depth, frozen_patches } = *self;
        let block = |_| TransformerBlock {
            norm1: LayerNorm::new(width, device),
            attn: Attention { qkv: Linear::new(width, 3 * width, device), proj: Linear::new(width, width, device) },
            norm2: LayerNorm::new(width, device),
            mlp: TransformerMlp {
                fc1: Linear::new(width, 4 * width, device),
                fc2: Linear::new(4 * width, width, device),
            },
        };
        let weight = Param::from_tensor(Tensor::zeros([width, in_channels, patch, patch], device));
        let bias = Param::from_tensor(Tensor::zeros([width], device));
        let proj = PatchProjection {
            weight: weight.set_require_grad(!frozen_patches),
            bias: bias.set_require_grad(!frozen_patches),
        };
        VisionTransformer {
            cls_token: Param::from_tensor(Tensor::zeros([1, 1, width], device)),
            patch_embed: PatchEmbedding { proj },
            blocks: (0..depth).map(block).collect(),
            norm: LayerNorm::new(width, device),
        }
    }
}

/// A vision transformer (Dosovitskiy et al. 2020, arXiv 2010.11929) as in MoCo v3 (Chen, Xie and He 2021, arXiv 2104.02057):
/// positions are sines and cosines that are not learnt, and the projection of the patches may be frozen.
///
/// Names are those of the library timm, which MoCo v3's own weights have. Positions are no weights, so images of any number of patches
/// fit. The features are the class token after the last normalisation.
#[derive(Module, Debug)]
pub struct VisionTransformer {
    /// The class token, `[1, 1, width]`.
    pub cls_token: Param<Tensor<3>>,
    /// Makes tokens of patches.
    pub patch_embed: PatchEmbedding,
    /// First to last.
    pub blocks: Vec<TransformerBlock>,
    /// Normalises what comes out.
    pub norm: LayerNorm,
}

impl VisionTransformer {
    /// Features of `images`, `[batch, channels, height, width]` in 0..1, as `[batch, features]`. Height and width are multiples of
    /// the patch. Every image is seen by itself, in training and outside.
    pub fn forward(&self, images: Tensor<4>) -> Tensor<2> {
        let [count, _, height, width] = images.dims();
        let (device, patch) = (images.device(), self.patch_embed.patch());
        let tokens = self.patch_embed.forward(images);
        let length = self.cls_token.dims()[2];
        let (rows, columns) = (height / patch, width / patch);
        let positions = TensorData::new(patch_positions(rows, columns, length), [1, rows * columns, length]);
        let positions = Tensor::from_data(positions, &device);
        let class = self.cls_token.val().expand([count, 1, length]);
        let tokens = Tensor::cat(vec![class, tokens + positions], 1);
        self.norm.forward(transformer_first_token(tokens, &self.transformer()))
    }

    /// The blocks as the kernels take them.
    fn transformer(&self) -> Transformer {
        let norm = |norm: &LayerNorm| twinview_kernels::LayerNorm { gamma: norm.weight.val(), beta: norm.bias.val() };
        let linear = |layer: &Linear| TokenLinear { weight: layer.weight.val(), bias: layer.bias.val() };
        let block = |block: &TransformerBlock| twinview_kernels::TransformerBlock {
            norm1: norm(&block.norm1),
            qkv: linear(&block.attn.qkv),
            proj: linear(&block.attn.proj),
            norm2: norm(&block.norm2),
            fc1: linear(&block.mlp.fc1),
            fc2: linear(&block.mlp.fc2),
        };
        let blocks = self.blocks.iter().map(block).collect();
        Transformer { blocks, head: VitConfig::HEAD, epsilon: LayerNorm::EPSILON }
    }

    /// Features of images of bytes; as [`Backbone::encode`](super::Backbone::encode).
    pub(super) fn encode(&self, pixels: &[u8], [channels, height, width]: [usize; 3]) -> Vec<f32> {
        /// Images at a time, which bounds the memory.
        const CHUNK: usize = 256;
        let (device, image) = (self.device(), channels * height * width);
        let model = self.clone().no_grad();
        let features = |pixels: &[u8]| {
            let floats: Vec<f32> = pixels.iter().map(|&byte| f32::from(byte) / 255.0).collect();
            let images = TensorData::new(floats, [pixels.len() / image, channels, height, width]);
            model.forward(Tensor::from_data(images, &device)).into_data_as::<f32>().iter::<f32>().collect::<Vec<_>>()
        };
        pixels.chunks(CHUNK * image.max(1)).flat_map(features).collect()
    }

    /// Where its weights live.
    pub fn device(&self) -> Device {
        self.cls_token.device()
    }

    /// Channels of the images it takes.
    pub fn in_channels(&self) -> usize {
        self.patch_embed.proj.weight.dims()[1]
    }

    /// The shape that makes this transformer.
    pub fn config(&self) -> VitConfig {
        let weight = self.patch_embed.proj.weight.val();
        VitConfig {
            patch: weight.dims()[2],
            width: weight.dims()[0],
            depth: self.blocks.len(),
            frozen_patches: !weight.is_require_grad(),
        }
    }
}

impl TorchNames for VisionTransformer {
    /// As MoCo v3's code: linear layers are uniform in ±√(6 / (inputs + outputs)) (Glorot and Bengio 2010), where queries,
    /// keys and values count as three layers and the projection of patches as a linear one; biases are 0 and the class token nearly.
    fn start(path: &str) -> Start {
        match path {
            "cls_token" => Start::Normal { deviation: 1e-6 },
            _ if path.ends_with("qkv.weight") => Start::Glorot { layers: 3 },
            _ if path.ends_with(".weight") => Start::Glorot { layers: 1 },
            _ => Start::AsItIs,
        }
    }
}

/// Sines and cosines that tell where each patch is: `[1, rows * columns, length]`. A quarter each is for sine and cosine of the
/// row and of the column, with wavelengths from 2π to 20,000π patches (MoCo v3).
pub(crate) fn patch_positions(rows: usize, columns: usize, length: usize) -> Vec<f32> {
    let quarter = length / 4;
    let angle = |place: usize, index: usize| place as f64 / 10_000_f64.powf(index as f64 / quarter as f64);
    let of_patch = |row: usize, column: usize| {
        [(row, f64::sin as fn(f64) -> f64), (row, f64::cos), (column, f64::sin), (column, f64::cos)]
            .into_iter()
            .flat_map(move |(place, wave)| (0..quarter).map(move |index| wave(angle(place, index)) as f32))
    };
    (0..rows).flat_map(|row| (0..columns).flat_map(move |column| of_patch(row, column))).collect()
}

/// Cuts images into patches and makes a token of each.
#[derive(Module, Debug)]
pub struct PatchEmbedding {
    /// Every patch's product with the same weights.
    pub proj: PatchProjection,
}

/// The weights of a convolution whose stride is its size.
#[derive(Module, Debug)]
pub struct PatchProjection {
    /// `[width, channels, patch, patch]`.
    pub weight: Param<Tensor<4>>,
    /// `[width]`.
    pub bias: Param<Tensor<1>>,
}

impl PatchEmbedding {
    fn patch(&self) -> usize {
        self.proj.weight.dims()[2]
    }

    /// `[batch, channels, height, width]` as `[batch, patches, width of a token]`, patches by rows.
    fn forward(&self, images: Tensor<4>) -> Tensor<3> {
        let ([count, channels, height, width], patch) = (images.dims(), self.patch());
        let (rows, columns, length) = (height / patch, width / patch, self.proj.weight.dims()[0]);
        let patches = images
            .reshape([count, channels, rows, patch, columns, patch])
            .permute([0, 2, 4, 1, 3, 5])
            .reshape([count * rows * columns, channels * patch * patch]);
        let weight = self.proj.weight.val().reshape([length, channels * patch * patch]).transpose();
        linear(patches, weight, self.proj.bias.val()).reshape([count, rows * columns, length])
    }
}

/// Attention and a network of two layers, each on normalised tokens and added to them.
#[derive(Module, Debug)]
pub struct TransformerBlock {
    /// Before the attention.
    pub norm1: LayerNorm,
    /// Tokens look at one another.
    pub attn: Attention,
    /// Before the layers.
    pub norm2: LayerNorm,
    /// Each token by itself.
    pub mlp: TransformerMlp,
}

/// Attention with several heads (Vaswani et al. 2017, arXiv 1706.03762).
#[derive(Module, Debug)]
pub struct Attention {
    /// Queries, keys and values of all heads.
    pub qkv: Linear,
    /// Brings the heads together.
    pub proj: Linear,
}

/// Linear, GELU, linear.
#[derive(Module, Debug)]
pub struct TransformerMlp {
    /// To four times the width.
    pub fc1: Linear,
    /// And back.
    pub fc2: Linear,
}

/// Normalises every token by itself (Ba et al. 2016, arXiv 1607.06450).
#[derive(Module, Debug)]
pub struct LayerNorm {
    /// Scale, `[width]`.
    pub weight: Param<Tensor<1>>,
    /// Shift, `[width]`.
    pub bias: Param<Tensor<1>>,
}

impl LayerNorm {
    /// What is added to a variance before its root is taken: that of vision transformers.
    pub const EPSILON: f32 = 1e-6;

    fn new(width: usize, device: &Device) -> Self {
        Self {
            weight: Param::from_tensor(Tensor::ones([width], device)),
            bias: Param::from_tensor(Tensor::zeros([width], device)),
        }
    }

    fn forward(&self, tokens: Tensor<2>) -> Tensor<2> {
        let centred = tokens.clone() - tokens.mean_dim(1);
        let variance = centred.clone().square().mean_dim(1);
        let normal = centred / (variance + Self::EPSILON).sqrt();
        normal * self.weight.val().unsqueeze::<2>() + self.bias.val().unsqueeze::<2>()
    }
}
