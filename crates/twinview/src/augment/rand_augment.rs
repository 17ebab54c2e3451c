//! RandAugment (Cubuk et al. 2019, "RandAugment: Practical automated data augmentation with a reduced search
//! space", arXiv:1909.13719) with the operations, magnitudes and u8 semantics of torchvision 0.29.

use serde::{Deserialize, Serialize};

use super::affine::{Affine, SourceMap};
use super::canvas::Canvas;
use super::{blend, tone};
use crate::random::Random;
use crate::{Error, Result};

/// `num_ops` operations, each drawn from torchvision's fourteen, at one magnitude and a random sign.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RandAugment {
    /// How many operations follow one another.
    pub num_ops: usize,
    /// How strong they are: `0..num_magnitude_bins`.
    pub magnitude: usize,
    /// How many steps the magnitudes have; at least 2.
    pub num_magnitude_bins: usize,
}

/// torchvision's defaults.
impl Default for RandAugment {
    fn default() -> Self {
        Self { num_ops: 2, magnitude: 9, num_magnitude_bins: 31 }
    }
}

/// What RandAugment chooses from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Operation {
    Identity,
    ShearX,
    ShearY,
    TranslateX,
    TranslateY,
    Rotate,
    Brightness,
    Color,
    Contrast,
    Sharpness,
    Posterize,
    Solarize,
    AutoContrast,
    Equalize,
}

impl Operation {
    /// All of them, in torchvision's order.
    pub(super) const ALL: [Self; 14] = [
        Self::Identity,
        Self::ShearX,
        Self::ShearY,
        Self::TranslateX,
        Self::TranslateY,
        Self::Rotate,
        Self::Brightness,
        Self::Color,
        Self::Contrast,
        Self::Sharpness,
        Self::Posterize,
        Self::Solarize,
        Self::AutoContrast,
        Self::Equalize,
    ];

    /// Whether half of the draws turn the magnitude negative.
    pub(super) fn is_signed(self) -> bool {
        use Operation::*;
        !matches!(self, Identity | Posterize | Solarize | AutoContrast | Equalize)
    }

    /// The magnitude at step `bin` of `bins`, for images of this size: a slope, pixels, degrees, a change of a
    /// blending factor, bits or a threshold; 0 where the operation takes none.
    pub(super) fn magnitude(self, bin: usize, bins: usize, height: usize, width: usize) -> f64 {
        // The farthest an image of the paper's size, 331 pixels, is moved.
        let farthest = |size: usize| 150.0 / 331.0 * size as f64;
        match self {
            Self::Identity | Self::AutoContrast | Self::Equalize => 0.0,
            Self::ShearX | Self::ShearY => linspace(0.0, 0.3, bin, bins),
            Self::TranslateX => linspace(0.0, farthest(width), bin, bins),
            Self::TranslateY => linspace(0.0, farthest(height), bin, bins),
            Self::Rotate => linspace(0.0, 30.0, bin, bins),
            Self::Brightness | Self::Color | Self::Contrast | Self::Sharpness => linspace(0.0, 0.9, bin, bins),
            Self::Posterize => 8.0 - f64::from((bin as f32 / ((bins - 1) as f64 / 4.0) as f32).round_ties_even()),
            Self::Solarize => linspace(255.0, 0.0, bin, bins),
        }
    }

    /// The operation at this magnitude, sign included, ready for images of this size.
    pub(super) fn prepare(self, magnitude: f64, height: usize, width: usize) -> PreparedOperation {
        let warp = |affine: Affine| PreparedOperation::Warp(affine.source_map(height, width));
        match self {
            Self::Identity => PreparedOperation::Identity,
            Self::ShearX => warp(Affine::ShearX(magnitude)),
            Self::ShearY => warp(Affine::ShearY(magnitude)),
            Self::TranslateX => warp(Affine::TranslateX(magnitude)),
            Self::TranslateY => warp(Affine::TranslateY(magnitude)),
            Self::Rotate => warp(Affine::Rotate(magnitude)),
            Self::Brightness => PreparedOperation::LookUp(Box::new(blend::brightness_table(1.0 + magnitude))),
            Self::Color => PreparedOperation::Blend(blend::color, 1.0 + magnitude),
            Self::Contrast => PreparedOperation::Blend(blend::contrast, 1.0 + magnitude),
            Self::Sharpness => PreparedOperation::Blend(blend::sharpness, 1.0 + magnitude),
            Self::Posterize => PreparedOperation::LookUp(Box::new(tone::posterize_table(magnitude as u32))),
            Self::Solarize => PreparedOperation::LookUp(Box::new(tone::solarize_table(magnitude))),
            Self::AutoContrast => PreparedOperation::Tone(tone::auto_contrast),
            Self::Equalize => PreparedOperation::Tone(tone::equalize),
        }
    }
}

/// One step of `torch.linspace` in f32, which counts from the nearer end and rounds once. The product of an f32
/// and a small whole number is exact in f64.
fn linspace(start: f64, end: f64, index: usize, steps: usize) -> f64 {
    let (start, end) = (start as f32, end as f32);
    let step = f64::from((end - start) / (steps - 1) as f32);
    let (from, count) = if index < steps / 2 { (start, index as f64) } else { (end, -((steps - 1 - index) as f64)) };
    f64::from((f64::from(from) + step * count) as f32)
}

/// An operation with all that does not depend on the image worked out.
#[derive(Clone, Debug)]
pub(super) enum PreparedOperation {
    /// Leaves the image.
    Identity,
    /// Moves pixels.
    Warp(SourceMap),
    /// Replaces each value.
    LookUp(Box<[u8; 256]>),
    /// Mixes with an image made from this one, by a factor.
    Blend(fn(&mut Canvas, f64), f64),
    /// Replaces each value as the image's own values say.
    Tone(fn(&mut Canvas)),
}

impl PreparedOperation {
    /// Changes the image.
    pub(super) fn apply(&self, canvas: &mut Canvas) {
        match self {
            Self::Identity => {}
            Self::Warp(map) => map.apply(canvas),
            Self::LookUp(table) => canvas.look_up(table),
            Self::Blend(blend, factor) => blend(canvas, *factor),
            Self::Tone(tone) => tone(canvas),
        }
    }
}

/// RandAugment for images of one size.
#[derive(Clone, Debug)]
pub(super) struct PreparedRandAugment {
    num_ops: usize,
    /// By [`Operation::ALL`], with positive and negative magnitude.
    operations: Vec<[PreparedOperation; 2]>,
}

impl RandAugment {
    /// Works out all operations for images of this size.
    ///
    /// # Errors
    /// When the magnitude is not one of the steps.
    pub(super) fn prepare(&self, height: usize, width: usize) -> Result<PreparedRandAugment> {
        let Self { num_ops, magnitude, num_magnitude_bins: bins } = *self;
        if bins < 2 || magnitude >= bins {
            return Err(Error::Config(format!(
                "rand-augment: magnitude {magnitude} with num_magnitude_bins {bins}; expected at least 2 bins and \
                 a magnitude from 0 to one less than their number"
            )));
        }
        let prepare = |operation: Operation| {
            let magnitude = operation.magnitude(magnitude, bins, height, width);
            let negative = if operation.is_signed() { -magnitude } else { magnitude };
            [magnitude, negative].map(|magnitude| operation.prepare(magnitude, height, width))
        };
        Ok(PreparedRandAugment { num_ops, operations: Operation::ALL.map(prepare).into() })
    }
}

impl PreparedRandAugment {
    /// Draws the operations and applies them.
    pub(super) fn apply(&self, canvas: &mut Canvas, random: &mut Random) {
        for _ in 0..self.num_ops {
            let index = random.below(Operation::ALL.len() as u32) as usize;
            let negative = Operation::ALL[index].is_signed() && random.below(2) == 1;
            self.operations[index][usize::from(negative)].apply(canvas);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_magnitude_past_the_last_bin_is_refused() {
        let message = RandAugment { magnitude: 31, ..Default::default() }.prepare(28, 28).unwrap_err().to_string();
        assert!(message.contains("magnitude 31") && message.contains("num_magnitude_bins 31"), "{message}");
        assert!(RandAugment { magnitude: 0, num_magnitude_bins: 1, num_ops: 1 }.prepare(28, 28).is_err());
    }

    #[test]
    fn every_operation_is_drawn() {
        // Marks stand in for the operations: operation `i` adds to the value, so each draw leaves a trace.
        let seen: std::collections::BTreeSet<u8> = (0..200)
            .map(|sample| {
                let mark = |i: u8| PreparedOperation::LookUp(Box::new([i; 256]));
                let operations = (0..14).map(|i| [mark(2 * i), mark(2 * i + 1)]).collect();
                let mut canvas = Canvas::new(1, 1, 1);
                let mut random = crate::random::Stream::new(0, crate::random::Purpose::View).at(0, sample, 0);
                PreparedRandAugment { num_ops: 1, operations }.apply(&mut canvas, &mut random);
                canvas.pixels()[0]
            })
            .collect();
        // Five operations have no sign.
        assert_eq!(seen.len(), 28 - 5, "{seen:?}");
        assert!(!seen.contains(&1), "the identity has no sign");
    }
}
