//! Random views of images.
//!
//! An [`Augmentation`] says which transforms make a view; it is what a recipe holds. A [`ViewMaker`] makes the
//! views of whole batches on all cores, and [`Prefetch`] makes them while the batch before is trained on.
//!
//! All transforms work on u8 images as they lie in memory and agree with torchvision 0.29 on u8 tensors: those that
//! change values alone bit for bit, those that move pixels on nearly every pixel, blurs and crops within one level.
//!
//! ```
//! use twinview::augment::{Augmentation, Batch, ViewMaker};
//! use twinview::dataset::Images;
//!
//! let images = Images::new(1, 28, 28, vec![100; 2 * 28 * 28]);
//! let maker = ViewMaker::new(&Augmentation::article(), &images, 2, 42)?;
//! let mut pixels = Vec::new();
//! maker.make(&images, &Batch { epoch: 0, number: 0, indices: vec![1, 0] }, &mut pixels)?;
//! assert_eq!(pixels.len(), 2 * 2 * 28 * 28); // [views * batch, channels, height, width]
//! # Ok::<(), twinview::Error>(())
//! ```

mod affine;
mod batch;
mod blend;
mod canvas;
mod check;
mod color_jitter;
mod gaussian_blur;
#[cfg(test)]
mod golden_tests;
mod horizontal_flip;
mod hue;
mod prefetch;
mod rand_augment;
mod random_grayscale;
mod random_resized_crop;
mod tone;
mod view_maker;

use serde::{Deserialize, Serialize};

pub use affine::{Affine, SourceMap};
pub use batch::{Batch, shuffled_epoch};
pub use blend::{brightness, color, contrast, sharpness};
pub use canvas::Canvas;
pub use color_jitter::ColorJitter;
pub use gaussian_blur::{GaussianBlur, gaussian_blur};
pub use horizontal_flip::{HorizontalFlip, horizontal_flip};
pub use hue::hue;
pub use prefetch::{Prefetch, ViewBatch};
pub use rand_augment::RandAugment;
pub use random_grayscale::{RandomGrayscale, grayscale};
pub use random_resized_crop::{RandomResizedCrop, Rectangle, resized_crop};
pub use tone::{auto_contrast, equalize, posterize, solarize};
pub use view_maker::ViewMaker;

use crate::Result;
use crate::random::Random;
use rand_augment::PreparedRandAugment;

/// How a view is made: transforms, one after the other.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Augmentation {
    /// Which images share their random choices.
    #[serde(default)]
    pub draw: Draw,
    /// What is done to each image; nothing where empty.
    pub transforms: Vec<Transform>,
}

/// Which images share their random choices.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Draw {
    /// Every image has its own.
    #[default]
    PerImage,
    /// All images of a batch have the same, and its views differ. This is what a torchvision transform does when
    /// it is called with a batch. Means and histograms are still each image's own.
    PerBatch,
}

/// One transform and its settings.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "name", rename_all = "kebab-case")]
#[allow(missing_docs, reason = "each is described by the type it holds")]
pub enum Transform {
    RandAugment(RandAugment),
    RandomResizedCrop(RandomResizedCrop),
    HorizontalFlip(HorizontalFlip),
    ColorJitter(ColorJitter),
    RandomGrayscale(RandomGrayscale),
    GaussianBlur(GaussianBlur),
}

impl Augmentation {
    /// What the article does: RandAugment with 5 operations, drawn once for a batch.
    pub fn article() -> Self {
        let transforms = vec![Transform::RandAugment(RandAugment { num_ops: 5, ..Default::default() })];
        Self { draw: Draw::PerBatch, transforms }
    }

    /// SimCLR's views (Chen et al. 2020, arXiv:2002.05709, appendix A) for small images: crops of at least a fifth of the
    /// area, where the paper takes 8 % of much larger images, and the paper's colour distortion at half its strength, as it
    /// has it for CIFAR-10 (appendix B.9). Of a grey image it leaves brightness and contrast.
    pub fn simclr() -> Self {
        let transforms = vec![
            Transform::RandomResizedCrop(RandomResizedCrop { scale: [0.2, 1.0], ..Default::default() }),
            Transform::HorizontalFlip(HorizontalFlip::default()),
            Transform::ColorJitter(ColorJitter::default()),
            Transform::RandomGrayscale(RandomGrayscale::default()),
            Transform::GaussianBlur(GaussianBlur::default()),
        ];
        Self { draw: Draw::PerImage, transforms }
    }

    /// The images as they are.
    pub fn identity() -> Self {
        Self { draw: Draw::PerImage, transforms: Vec::new() }
    }

    /// Checks the settings and works out all that depends only on the images' size.
    fn prepare(&self, height: usize, width: usize) -> Result<Vec<Step>> {
        let step = |transform: &Transform| {
            Ok(match transform {
                Transform::RandAugment(settings) => Step::RandAugment(settings.prepare(height, width)?),
                Transform::RandomResizedCrop(crop) => {
                    crop.validate().map(|()| Step::RandomResizedCrop(crop.clone()))?
                }
                Transform::HorizontalFlip(flip) => flip.validate().map(|()| Step::HorizontalFlip(flip.clone()))?,
                Transform::ColorJitter(jitter) => jitter.validate().map(|()| Step::ColorJitter(jitter.clone()))?,
                Transform::RandomGrayscale(grey) => grey.validate().map(|()| Step::RandomGrayscale(grey.clone()))?,
                Transform::GaussianBlur(blur) => {
                    blur.validate(height, width).map(|()| Step::GaussianBlur(blur.clone()))?
                }
            })
        };
        self.transforms.iter().map(step).collect()
    }
}

/// A transform that was checked for one image size.
#[derive(Clone, Debug)]
enum Step {
    RandAugment(PreparedRandAugment),
    RandomResizedCrop(RandomResizedCrop),
    HorizontalFlip(HorizontalFlip),
    ColorJitter(ColorJitter),
    RandomGrayscale(RandomGrayscale),
    GaussianBlur(GaussianBlur),
}

impl Step {
    fn apply(&self, canvas: &mut Canvas, random: &mut Random) {
        match self {
            Self::RandAugment(transform) => transform.apply(canvas, random),
            Self::RandomResizedCrop(transform) => transform.apply(canvas, random),
            Self::HorizontalFlip(transform) => transform.apply(canvas, random),
            Self::ColorJitter(transform) => transform.apply(canvas, random),
            Self::RandomGrayscale(transform) => transform.apply(canvas, random),
            Self::GaussianBlur(transform) => transform.apply(canvas, random),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn presets_survive_toml() {
        for preset in [Augmentation::article(), Augmentation::simclr(), Augmentation::identity()] {
            let text = toml::to_string(&preset).unwrap();
            assert_eq!(toml::from_str::<Augmentation>(&text).unwrap(), preset, "{text}");
        }
    }

    #[test]
    fn settings_left_out_have_their_defaults() {
        let text = "transforms = [{ name = 'rand-augment', num_ops = 5 }, { name = 'horizontal-flip' }]";
        let read: Augmentation = toml::from_str(text).unwrap();
        let expected = [
            Transform::RandAugment(RandAugment { num_ops: 5, magnitude: 9, num_magnitude_bins: 31 }),
            Transform::HorizontalFlip(HorizontalFlip { probability: 0.5 }),
        ];
        assert_eq!((read.draw, read.transforms.as_slice()), (Draw::PerImage, expected.as_slice()));
    }

    #[test]
    fn unknown_settings_are_refused_by_name() {
        for (text, name) in [
            ("transforms = []\nmagnitude = 3", "magnitude"),
            ("transforms = [{ name = 'rand-augment', strength = 3 }]", "strength"),
            ("transforms = [{ name = 'horizontal-flip', p = 0.3 }]", "`p`"),
            ("transforms = [{ name = 'vertical-flip' }]", "vertical-flip"),
            ("transforms = []\ndraw = 'per-pixel'", "per-pixel"),
        ] {
            let message = toml::from_str::<Augmentation>(text).unwrap_err().to_string();
            assert!(message.contains(name), "{message}");
        }
    }

    #[test]
    fn settings_out_of_range_are_refused() {
        for text in [
            "{ name = 'horizontal-flip', probability = 1.5 }",
            "{ name = 'horizontal-flip', probability = nan }",
            "{ name = 'random-resized-crop', scale = [0.5, 0.2] }",
            "{ name = 'random-resized-crop', scale = [0.5, 1.2] }",
            "{ name = 'random-resized-crop', ratio = [0.0, 1.2] }",
            "{ name = 'color-jitter', contrast = -0.1 }",
            "{ name = 'color-jitter', hue = 0.6 }",
            "{ name = 'random-grayscale', probability = -0.1 }",
            "{ name = 'gaussian-blur', sigma = [0.0, 1.0] }",
            "{ name = 'gaussian-blur', kernel_size = 2 }",
            "{ name = 'rand-augment', magnitude = 31 }",
        ] {
            let augmentation: Augmentation = toml::from_str(&format!("transforms = [{text}]")).unwrap();
            let message = augmentation.prepare(28, 28).unwrap_err().to_string();
            let name = text.split('\'').nth(1).unwrap();
            assert!(message.starts_with(name) && message.contains("expected"), "{message}");
        }
    }
}
