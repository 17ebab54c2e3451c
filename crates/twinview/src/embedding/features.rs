//! What a frozen encoder makes of images.

use crate::backbone::Backbone;
use crate::dataset::Images;
use crate::{Error, Result};

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
/// When there are no images, or they have another number of channels, or a size, that `backbone` does not take.
pub fn extract(backbone: &Backbone, images: &Images) -> Result<Features> {
    let config = backbone.config();
    if images.is_empty() || images.channels() != config.in_channels {
        return Err(Error::Config(format!(
            "{} images of {} channels cannot be encoded: the weights expect images of {} channels",
            images.len(),
            images.channels(),
            config.in_channels
        )));
    }
    config.architecture.validate_for(images.height(), images.width())?;
    let values = backbone.encode(images.pixels(), [images.channels(), images.height(), images.width()]);
    Ok(Features { values, dimensions: config.features(images.height(), images.width()) })
}

#[cfg(test)]
mod tests {
    use burn::tensor::{Tensor, TensorData};

    use super::*;
    use crate::backbone::{Architecture, BackboneConfig, ConvStackConfig, Mode, ResNetConfig, VitConfig, initialise};
    use crate::training::cpu;

    #[test]
    fn features_are_what_the_encoder_makes_of_the_pixels_from_0_to_1() {
        let conv = Architecture::Conv(ConvStackConfig { widths: vec![5, 7, 18] });
        let resnet = Architecture::Resnet18(ResNetConfig { width: 2, ..ResNetConfig::default() });
        let vit = Architecture::Vit(VitConfig { patch: 1, width: 32, depth: 1, ..VitConfig::default() });
        for (architecture, dimensions) in [(conv, 18), (resnet, 16), (vit, 32)] {
            let backbone = initialise(BackboneConfig { in_channels: 2, architecture }.init(&cpu()), 3);
            let bytes: Vec<u8> = (0..131 * 2 * 7 * 6).map(|i| (i * i % 256) as u8).collect();
            let pixels: Vec<f32> = bytes.iter().map(|&byte| f32::from(byte) / 255.0).collect();
            let pixels = Tensor::from_data(TensorData::new(pixels, [131, 2, 7, 6]), &cpu());
            // So that the running statistics are not those of a fresh encoder.
            backbone.forward(pixels.clone(), 1, Mode::Train);
            let features = extract(&backbone, &Images::new(2, 7, 6, bytes)).unwrap();
            assert_eq!((features.rows(), features.dimensions()), (131, dimensions));
            let expected = backbone.forward(pixels, 1, Mode::Eval).into_data_as::<f32>();
            assert_eq!(features.values(), expected.iter::<f32>().collect::<Vec<_>>());
            assert!(features.values().iter().any(|&value| value != features.values()[0]));
        }
    }

    #[test]
    fn images_that_do_not_fit_are_refused() {
        let backbone = BackboneConfig::article().init(&cpu());
        for (images, expected) in [
            (Images::new(1, 28, 28, Vec::new()), "0 images of 1 channels"),
            (Images::new(3, 4, 4, vec![0; 48]), "1 images of 3 channels cannot be encoded"),
        ] {
            let message = extract(&backbone, &images).unwrap_err().to_string();
            assert!(message.contains(expected), "{message}");
        }
    }
}
