//! Transforms that mix an image with another one, as `torchvision.transforms.functional` does on u8 tensors:
//! `ratio * image + (1 - ratio) * other` in f32, held to 0..=255, the fraction cut off.
//!
//! Agreement is bit for bit, so the two products are rounded before they are added.

use super::canvas::{Canvas, table, truncate};

/// The two weights of a blend. The second is rounded after the subtraction, not before.
#[derive(Clone, Copy, Debug)]
struct Blend {
    image: f32,
    other: f32,
}

impl Blend {
    fn new(ratio: f64) -> Self {
        Self { image: ratio as f32, other: (1.0 - ratio) as f32 }
    }

    #[inline(always)]
    fn of(self, image: u8, other: f32) -> u8 {
        truncate(self.image * f32::from(image) + self.other * other)
    }
}

/// What [`brightness`] does to each value.
pub(super) fn brightness_table(factor: f64) -> [u8; 256] {
    let blend = Blend::new(factor);
    table(|value| blend.of(value, 0.0))
}

/// Blends with black: `adjust_brightness`. A factor of 0 gives black, 1 the image; at least 0.
pub fn brightness(canvas: &mut Canvas, factor: f64) {
    canvas.look_up(&brightness_table(factor));
}

/// Blends with the image's mean grey: `adjust_contrast`. A factor of 0 gives that grey, 1 the image; at least 0.
pub fn contrast(canvas: &mut Canvas, factor: f64) {
    let count = (canvas.height() * canvas.width()) as f32;
    let sum: u64 = match canvas.rgb_mut() {
        Some(planes) => grey(&planes).map(u64::from).sum(),
        None => canvas.pixels().iter().map(|&value| u64::from(value)).sum(),
    };
    let mean = sum as f32 / count;
    let blend = Blend::new(factor);
    canvas.look_up(&table(|value| blend.of(value, mean)));
}

/// Blends with the grey image: `adjust_saturation`. A factor of 0 gives grey, 1 the image; at least 0. A grey
/// image stays as it is.
pub fn color(canvas: &mut Canvas, factor: f64) {
    let Some(mut planes) = canvas.rgb_mut() else { return };
    let blend = Blend::new(factor);
    let greys: Vec<u8> = grey(&planes).collect();
    for plane in &mut planes {
        plane.iter_mut().zip(&greys).for_each(|(value, &grey)| *value = blend.of(*value, f32::from(grey)));
    }
}

/// Blends with a smoothed image: `adjust_sharpness`. A factor of 0 gives the smoothed image, 1 the image, more
/// sharpens; at least 0. Images of fewer than 3 rows or columns stay as they are.
///
/// Smoothing weighs the 3 x 3 neighbours by 1 and the pixel itself by 5, and leaves the border alone.
pub fn sharpness(canvas: &mut Canvas, factor: f64) {
    let (height, width) = (canvas.height(), canvas.width());
    if height < 3 || width < 3 {
        return;
    }
    let blend = Blend::new(factor);
    canvas.repaint(|image, smoothed, _| {
        smoothed.copy_from_slice(image);
        for y in 1..height - 1 {
            // The nine neighbours as slices of one length: the compiler then needs no bounds checks and vectorises.
            let shifted = |row: usize, by: usize| &image[row * width + by..][..width - 2];
            let three = |row: usize| [shifted(row, 0), shifted(row, 1), shifted(row, 2)];
            let [above, here, below] = [three(y - 1), three(y), three(y + 1)];
            let inner = &mut smoothed[y * width + 1..][..width - 2];
            for x in 0..width - 2 {
                let sum = |row: &[&[u8]; 3]| u16::from(row[0][x]) + u16::from(row[1][x]) + u16::from(row[2][x]);
                inner[x] = rounded_thirteenth(sum(&above) + sum(&here) + sum(&below) + 4 * u16::from(here[1][x]));
            }
        }
        smoothed.iter_mut().zip(image).for_each(|(other, &value)| *other = blend.of(value, f32::from(*other)));
    });
}

/// `sum / 13` to the nearest whole number; ties cannot occur, so any correctly rounding convolution agrees.
#[inline(always)]
fn rounded_thirteenth(sum: u16) -> u8 {
    ((u32::from(sum + 6) * 5042) >> 16) as u8
}

/// The luma of each pixel, with the fraction cut off: `rgb_to_grayscale`.
fn grey(planes: &[&mut [u8]; 3]) -> impl Iterator<Item = u8> {
    let [red, green, blue] = planes;
    red.iter().zip(green.iter()).zip(blue.iter()).map(|((&red, &green), &blue)| {
        truncate(0.2989 * f32::from(red) + 0.587 * f32::from(green) + 0.114 * f32::from(blue))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thirteenths_are_rounded_exactly() {
        for sum in 0..=13 * 255 {
            assert_eq!(rounded_thirteenth(sum), (f64::from(sum) / 13.0).round() as u8, "{sum}");
        }
    }

    #[test]
    fn a_factor_of_one_changes_nothing() {
        let image: Vec<u8> = (0..3 * 6 * 7).map(|i| (i * 37 % 256) as u8).collect();
        for transform in [brightness, contrast, color, sharpness] {
            let mut canvas = Canvas::new(3, 6, 7);
            canvas.load(&image);
            transform(&mut canvas, 1.0);
            assert_eq!(canvas.pixels(), image);
        }
    }
}
