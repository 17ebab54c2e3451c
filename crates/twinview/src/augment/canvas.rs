//! The image that a chain of transforms works on.

use twinview_kernels::vectorized;

/// One image being transformed: `[channels, height, width]`, u8, with the room its next version needs.
///
/// It is loaded again for every view, so a thread allocates once.
#[derive(Clone, Debug)]
pub struct Canvas {
    channels: usize,
    height: usize,
    width: usize,
    pixels: Vec<u8>,
    /// Where a transform that cannot work in place writes; as long as `pixels`.
    spare: Vec<u8>,
    /// Rows between the two passes of a separable filter.
    floats: Vec<f32>,
}

impl Canvas {
    /// A black image.
    ///
    /// # Panics
    /// When a dimension is 0.
    pub fn new(channels: usize, height: usize, width: usize) -> Self {
        let size = channels * height * width;
        assert!(size > 0, "an image of {channels} x {height} x {width} has no pixels");
        Self { channels, height, width, pixels: vec![0; size], spare: vec![0; size], floats: Vec::new() }
    }

    /// Puts `image` in place of what was there: `[channels, height, width]`.
    ///
    /// # Panics
    /// When it has another length.
    pub fn load(&mut self, image: &[u8]) {
        self.pixels.copy_from_slice(image);
    }

    /// The image as it stands: `[channels, height, width]`.
    pub fn pixels(&self) -> &[u8] {
        &self.pixels
    }

    /// Channels: 1 for grey, 3 for RGB.
    pub fn channels(&self) -> usize {
        self.channels
    }

    /// Rows.
    pub fn height(&self) -> usize {
        self.height
    }

    /// Columns.
    pub fn width(&self) -> usize {
        self.width
    }

    /// The channels to change in place, each `[height, width]`.
    pub(super) fn planes_mut(&mut self) -> impl Iterator<Item = &mut [u8]> {
        self.pixels.chunks_exact_mut(self.height * self.width)
    }

    /// The three channels of an RGB image, `None` of a grey one.
    pub(super) fn rgb_mut(&mut self) -> Option<[&mut [u8]; 3]> {
        let mut planes = self.pixels.chunks_exact_mut(self.height * self.width);
        match (planes.next(), planes.next(), planes.next()) {
            (Some(red), Some(green), Some(blue)) => Some([red, green, blue]),
            _ => None,
        }
    }

    /// Replaces every value by the table's entry for it.
    pub(super) fn look_up(&mut self, table: &[u8; 256]) {
        look_up(&mut self.pixels, table);
    }

    /// Makes each channel anew: `paint(before, after, floats)`, where `floats` holds anything.
    pub(super) fn repaint(&mut self, mut paint: impl FnMut(&[u8], &mut [u8], &mut Vec<f32>)) {
        let plane = self.height * self.width;
        vectorized(
            #[inline(always)]
            || {
                for (before, after) in self.pixels.chunks_exact(plane).zip(self.spare.chunks_exact_mut(plane)) {
                    paint(before, after, &mut self.floats);
                }
            },
        );
        std::mem::swap(&mut self.pixels, &mut self.spare);
    }
}

/// Replaces every value by the table's entry for it.
pub(super) fn look_up(pixels: &mut [u8], table: &[u8; 256]) {
    pixels.iter_mut().for_each(|pixel| *pixel = table[usize::from(*pixel)]);
}

/// A table of `function` over all pixel values.
pub(super) fn table(function: impl Fn(u8) -> u8) -> [u8; 256] {
    vectorized(
        #[inline(always)]
        || std::array::from_fn(|value| function(value as u8)),
    )
}

/// Cuts off the fraction of a value, held to 0..=255. Through `i32`, which the compiler vectorises.
#[inline(always)]
pub(super) fn truncate(value: f32) -> u8 {
    value.clamp(0.0, 255.0) as i32 as u8
}

/// The nearest whole number of a value in 0..=255, ties to even.
///
/// Adding 1.5 * 2^23 leaves no bits for the fraction, so the processor rounds; the whole number is then in
/// the lowest bits. Rounding by name is a function call where the target has no instruction for it.
#[inline(always)]
pub(super) fn round(value: f32) -> u8 {
    (value + 12_582_912.0).to_bits() as u8
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rounding_is_to_nearest_ties_to_even() {
        for step in 0..=255 * 8 {
            let value = step as f32 / 8.0;
            assert_eq!(round(value), value.round_ties_even() as u8, "{value}");
            assert_eq!(truncate(value), value as u8, "{value}");
        }
        assert_eq!((truncate(-0.5), truncate(255.9), truncate(1e9)), (0, 255, 255));
    }
}
