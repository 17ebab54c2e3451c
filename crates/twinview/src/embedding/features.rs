//! What a frozen encoder makes of images.

use burn::module::Module;
use burn::tensor::{Device, Tensor, TensorData};

use crate::backbone::{ConvStack, Mode};
use crate::dataset::Images;
use crate::{Error, Result};

/// Images a pass: enough to keep every core busy, few enough to stay in the cache.
const BATCH: usize = 512;

/// Feature vectors, row by row.
#[derive(Clone, Debug, PartialEq)]
pub struct Features {
    values: Vec<f32>,
    dimensions: usize,
}

impl Features {
    /// How many vectors there are.
    pub fn rows(&self) -> usize {
        self.values.len() / self.dimensions
    }

    /// Length of each vector.
    pub fn dimensions(&self) -> usize {
        self.dimensions
    }

    /// All values, `[rows, dimensions]`.
    pub fn values(&self) -> &[f32] {
        &self.values
    }

    /// All values, `[rows, dimensions]`.
    pub fn into_values(self) -> Vec<f32> {
        self.values
    }
}

/// The features of `images` under `backbone` with its running statistics.
///
/// # Errors
/// When there are no images, or they have another number of channels than `backbone` takes.
pub fn extract(backbone: &ConvStack, images: &Images) -> Result<Features> {
    let config = backbone.config();
    if images.is_empty() || images.channels() != config.in_channels {
        return Err(Error::Config(format!(
            "{} images of {} channels cannot be encoded: the weights expect images of {} channels",
            images.len(),
            images.channels(),
            config.in_channels
        )));
    }
    let backbone = backbone.valid();
    let values = in_batches(images, &backbone.device(), |pixels| backbone.forward(pixels, 1, Mode::Eval));
    Ok(Features { values, dimensions: config.features(images.height(), images.width()) })
}

/// What `forward` makes of all images, a batch at a time: the rows of its outputs behind one another.
pub fn in_batches(images: &Images, device: &Device, forward: impl Fn(Tensor<4>) -> Tensor<2>) -> Vec<f32> {
    let [channels, height, width] = [images.channels(), images.height(), images.width()];
    let mut rows = Vec::new();
    for bytes in images.pixels().chunks(BATCH * images.image_len()) {
        let pixels: Vec<f32> = bytes.iter().map(|&byte| f32::from(byte) / 255.0).collect();
        let shape = [bytes.len() / images.image_len(), channels, height, width];
        let output = forward(Tensor::from_data(TensorData::new(pixels, shape), device));
        rows.extend(output.into_data_as::<f32>().iter::<f32>());
    }
    rows
}
