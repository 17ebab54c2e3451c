//! Random brightness and contrast, as torchvision's `ColorJitter` draws and applies them.

use serde::{Deserialize, Serialize};

use super::canvas::Canvas;
use super::{blend, check};
use crate::Result;
use crate::random::Random;

/// Brightness and contrast by random factors, in random order, sometimes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ColorJitter {
    /// How often: 0..=1.
    pub probability: f32,
    /// The brightness factor is uniform in `1 - brightness` (at least 0) to `1 + brightness`.
    pub brightness: f32,
    /// The contrast factor is uniform in `1 - contrast` (at least 0) to `1 + contrast`.
    pub contrast: f32,
}

/// The strength SimCLR uses on small images, at its probability of 0.8.
impl Default for ColorJitter {
    fn default() -> Self {
        Self { probability: 0.8, brightness: 0.4, contrast: 0.4 }
    }
}

impl ColorJitter {
    pub(super) fn validate(&self) -> Result<()> {
        check::probability("color-jitter", self.probability)?;
        for (setting, value) in [("brightness", self.brightness), ("contrast", self.contrast)] {
            check::require(value >= 0.0 && value.is_finite(), || {
                format!("color-jitter: {setting} {value}; expected a number from 0 up")
            })?;
        }
        Ok(())
    }

    pub(super) fn apply(&self, canvas: &mut Canvas, random: &mut Random) {
        if !random.chance(self.probability) {
            return;
        }
        let brightness_first = random.chance(0.5);
        let mut factor = |range: f32| f64::from(random.uniform_in((1.0 - range).max(0.0), 1.0 + range));
        let (brightness, contrast) = (factor(self.brightness), factor(self.contrast));
        if brightness_first {
            blend::brightness(canvas, brightness);
            blend::contrast(canvas, contrast);
        } else {
            blend::contrast(canvas, contrast);
            blend::brightness(canvas, brightness);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::{Purpose, Stream};

    #[test]
    fn factors_fill_their_range() {
        let jitter = ColorJitter { probability: 1.0, brightness: 0.4, contrast: 0.0 };
        let values: Vec<u8> = (0..300)
            .map(|sample| {
                let mut canvas = Canvas::new(1, 1, 1);
                canvas.load(&[100]);
                jitter.apply(&mut canvas, &mut Stream::new(0, Purpose::View).at(0, sample, 0));
                canvas.pixels()[0]
            })
            .collect();
        let (low, high) = (values.iter().min().unwrap(), values.iter().max().unwrap());
        assert!((60..65).contains(low) && (135..=140).contains(high), "{low} to {high}");
    }
}
