//! Random crops, resized back to the image's size by bilinear interpolation with antialiasing, as torchvision's
//! `RandomResizedCrop`.

use serde::{Deserialize, Serialize};

use super::canvas::{Canvas, round};
use super::check;
use crate::Result;
use crate::random::Random;

/// Cuts out a part of random area and shape, and stretches it over the image.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RandomResizedCrop {
    /// The crop's area is uniform in this range, as a part of the image's.
    pub scale: [f32; 2],
    /// The crop's width over its height is in this range, uniform on a logarithmic scale.
    pub ratio: [f32; 2],
}

/// torchvision's defaults.
impl Default for RandomResizedCrop {
    fn default() -> Self {
        Self { scale: [0.08, 1.0], ratio: [3.0 / 4.0, 4.0 / 3.0] }
    }
}

/// A part of an image, in pixels; it holds at least one and lies inside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "four edges of a rectangle")]
pub struct Rectangle {
    pub top: usize,
    pub left: usize,
    pub height: usize,
    pub width: usize,
}

impl RandomResizedCrop {
    pub(super) fn validate(&self) -> Result<()> {
        check::positive_range("random-resized-crop", "scale", self.scale)?;
        check::positive_range("random-resized-crop", "ratio", self.ratio)?;
        check::require(self.scale[1] <= 1.0, || {
            format!("random-resized-crop: scale up to {}; expected at most 1, the whole image", self.scale[1])
        })
    }

    pub(super) fn apply(&self, canvas: &mut Canvas, random: &mut Random) {
        let crop = self.draw(canvas.height(), canvas.width(), random);
        resized_crop(canvas, crop);
    }

    /// The part to cut out of an image of this size.
    ///
    /// After ten draws that do not fit, it is the largest centred part whose shape is in range.
    pub fn draw(&self, height: usize, width: usize, random: &mut Random) -> Rectangle {
        let area = (height * width) as f64;
        let log_ratio = self.ratio.map(f32::ln);
        for _ in 0..10 {
            let crop_area = area * f64::from(random.uniform_in(self.scale[0], self.scale[1]));
            let ratio = f64::from(random.uniform_in(log_ratio[0], log_ratio[1]).exp());
            let crop_width = (crop_area * ratio).sqrt().round_ties_even() as usize;
            let crop_height = (crop_area / ratio).sqrt().round_ties_even() as usize;
            if (1..=width).contains(&crop_width) && (1..=height).contains(&crop_height) {
                let top = random.below((height - crop_height) as u32 + 1) as usize;
                let left = random.below((width - crop_width) as u32 + 1) as usize;
                return Rectangle { top, left, height: crop_height, width: crop_width };
            }
        }
        let [narrowest, widest] = self.ratio.map(f64::from);
        let (rows, columns) = (height as f64, width as f64);
        let crop_height = ((columns / narrowest).round_ties_even() as usize).clamp(1, height);
        let crop_width = ((rows * widest).round_ties_even() as usize).clamp(1, width);
        let (top, left) = ((height - crop_height) / 2, (width - crop_width) / 2);
        Rectangle { top, left, height: crop_height, width: crop_width }
    }
}

/// Stretches a part of the image over all of it: `resized_crop` with `antialias=True`, within one level.
///
/// # Panics
/// When the part is empty or reaches outside.
pub fn resized_crop(canvas: &mut Canvas, crop: Rectangle) {
    let (height, width) = (canvas.height(), canvas.width());
    assert!(
        crop.height > 0 && crop.width > 0 && crop.top + crop.height <= height && crop.left + crop.width <= width,
        "{crop:?} is no part of an image of {height} x {width}"
    );
    let (across, down) = (taps(crop.width, width), taps(crop.height, height));
    canvas.repaint(|before, after, rows| {
        rows.clear();
        for row in before.chunks_exact(width).skip(crop.top).take(crop.height) {
            let row = &row[crop.left..][..crop.width];
            rows.extend(across.iter().map(|tap| tap.mix(f32::from(row[tap.lower]), f32::from(row[tap.upper]))));
        }
        for (target, tap) in after.chunks_exact_mut(width).zip(&down) {
            let lower = &rows[tap.lower * width..][..width];
            let upper = &rows[tap.upper * width..][..width];
            for ((value, &lower), &upper) in target.iter_mut().zip(lower).zip(upper) {
                *value = round(tap.mix(lower, upper));
            }
        }
    });
}

/// The two source pixels that a target pixel lies between, along one axis.
struct Tap {
    lower: usize,
    upper: usize,
    /// How far it is from the lower to the upper one: 0..=1.
    fraction: f32,
}

impl Tap {
    fn mix(&self, lower: f32, upper: f32) -> f32 {
        lower + self.fraction * (upper - lower)
    }
}

/// The sources of each target pixel. A crop never has more pixels than the image it is stretched to, so
/// antialiasing, which widens the filter when an image shrinks, has nothing to do.
fn taps(source: usize, target: usize) -> Vec<Tap> {
    let scale = source as f32 / target as f32;
    let tap = |position: usize| {
        let centre = ((position as f32 + 0.5) * scale - 0.5).clamp(0.0, (source - 1) as f32);
        let lower = centre as usize;
        Tap { lower, upper: (lower + 1).min(source - 1), fraction: centre - lower as f32 }
    };
    (0..target).map(tap).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::random::{Purpose, Stream};

    #[test]
    fn the_whole_image_stays() {
        let image: Vec<u8> = (0..20).map(|i| i * 12).collect();
        let mut canvas = Canvas::new(1, 4, 5);
        canvas.load(&image);
        resized_crop(&mut canvas, Rectangle { top: 0, left: 0, height: 4, width: 5 });
        assert_eq!(canvas.pixels(), image);
    }

    #[test]
    fn impossible_shapes_fall_back_to_the_largest_centred_part() {
        let crop = RandomResizedCrop { scale: [1.0, 1.0], ratio: [2.0, 2.0] };
        let drawn = crop.draw(20, 20, &mut Stream::new(0, Purpose::View).at(0, 0, 0));
        assert_eq!(drawn, Rectangle { top: 5, left: 0, height: 10, width: 20 });
    }

    proptest! {
        #[test]
        fn crops_lie_inside_and_have_the_asked_area(
            height in 1_usize..60, width in 1_usize..60, low in 0.05_f32..1.0, part in 0.0_f32..1.0, seed: u64,
        ) {
            let crop = RandomResizedCrop { scale: [low, low + part * (1.0 - low)], ..Default::default() };
            let drawn = crop.draw(height, width, &mut Stream::new(seed, Purpose::View).at(0, 0, 0));
            prop_assert!(drawn.height > 0 && drawn.top + drawn.height <= height);
            prop_assert!(drawn.width > 0 && drawn.left + drawn.width <= width);
            if height == width && height >= 20 {
                let scale = (drawn.height * drawn.width) as f32 / (height * width) as f32;
                let slack = 2.0 / height as f32;
                prop_assert!(scale > crop.scale[0] - slack && scale < crop.scale[1] + slack, "{}", scale);
            }
        }
    }
}
