//! Random brightness, contrast, saturation and hue, as torchvision's `ColorJitter` draws and applies them.

use serde::{Deserialize, Serialize};

use super::canvas::Canvas;
use super::hue::hue;
use super::{blend, check};
use crate::Result;
use crate::random::Random;

/// Brightness, contrast, saturation and hue by random factors, in random order, sometimes.
///
/// A grey image has no saturation and no hue, and nothing is drawn for them.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ColorJitter {
    /// How often: 0..=1.
    pub probability: f32,
    /// The brightness factor is uniform in `1 - brightness` (at least 0) to `1 + brightness`.
    pub brightness: f32,
    /// The contrast factor is uniform in `1 - contrast` (at least 0) to `1 + contrast`.
    pub contrast: f32,
    /// The saturation factor is uniform in `1 - saturation` (at least 0) to `1 + saturation`.
    pub saturation: f32,
    /// The part of the colour circle that hue is turned by is uniform in `-hue` to `hue`: 0..=0.5.
    pub hue: f32,
}

/// The strength SimCLR uses on small images, at its probability of 0.8.
impl Default for ColorJitter {
    fn default() -> Self {
        Self { probability: 0.8, brightness: 0.4, contrast: 0.4, saturation: 0.4, hue: 0.1 }
    }
}

impl ColorJitter {
    pub(super) fn validate(&self) -> Result<()> {
        check::probability("color-jitter", self.probability)?;
        let factors = [("brightness", self.brightness), ("contrast", self.contrast), ("saturation", self.saturation)];
        for (setting, value) in factors {
            check::require(value >= 0.0 && value.is_finite(), || {
                format!("color-jitter: {setting} {value}; expected a number from 0 up")
            })?;
        }
        check::require((0.0..=0.5).contains(&self.hue), || {
            format!("color-jitter: hue {}; expected a number from 0 to 0.5", self.hue)
        })
    }

    pub(super) fn apply(&self, canvas: &mut Canvas, random: &mut Random) {
        if !random.chance(self.probability) {
            return;
        }
        if canvas.channels() != 3 {
            let brightness_first = random.chance(0.5);
            let (brightness, contrast) = (factor(random, self.brightness), factor(random, self.contrast));
            if brightness_first {
                blend::brightness(canvas, brightness);
                blend::contrast(canvas, contrast);
            } else {
                blend::contrast(canvas, contrast);
                blend::brightness(canvas, brightness);
            }
            return;
        }
        let mut order: [fn(&mut Canvas, [f64; 4]); 4] = [
            |canvas, [factor, ..]| blend::brightness(canvas, factor),
            |canvas, [_, factor, ..]| blend::contrast(canvas, factor),
            |canvas, [_, _, factor, _]| blend::color(canvas, factor),
            |canvas, [.., turn]| hue(canvas, turn),
        ];
        random.shuffle(&mut order);
        let [brightness, contrast, saturation] =
            [self.brightness, self.contrast, self.saturation].map(|range| factor(random, range));
        let turn = f64::from(random.uniform_in(-self.hue, self.hue));
        order.iter().for_each(|change| change(canvas, [brightness, contrast, saturation, turn]));
    }
}

/// A factor at most `range` from 1, and not below 0.
fn factor(random: &mut Random, range: f32) -> f64 {
    f64::from(random.uniform_in((1.0 - range).max(0.0), 1.0 + range))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::{Purpose, Stream};

    #[test]
    fn factors_fill_their_range() {
        let jitter = ColorJitter { probability: 1.0, brightness: 0.4, contrast: 0.0, saturation: 0.0, hue: 0.0 };
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

    #[test]
    fn each_setting_reaches_colours() {
        let image = [200, 100, 180, 90, 20, 60];
        let jittered = |jitter: ColorJitter| {
            let mut canvas = Canvas::new(3, 1, 2);
            canvas.load(&image);
            jitter.apply(&mut canvas, &mut Stream::new(0, Purpose::View).at(0, 1, 0));
            canvas.pixels().to_vec()
        };
        let still = ColorJitter { probability: 1.0, brightness: 0.0, contrast: 0.0, saturation: 0.0, hue: 0.0 };
        assert_eq!(jittered(still.clone()), image);
        let one_each = [
            ColorJitter { brightness: 0.4, ..still.clone() },
            ColorJitter { contrast: 0.4, ..still.clone() },
            ColorJitter { saturation: 0.4, ..still.clone() },
            ColorJitter { hue: 0.1, ..still },
        ];
        let found: std::collections::BTreeSet<Vec<u8>> = one_each.into_iter().map(jittered).collect();
        assert_eq!(found.len(), 4);
        assert!(!found.contains(image.as_slice()));
    }
}
