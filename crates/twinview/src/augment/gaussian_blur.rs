//! Gaussian blur with mirrored borders, as torchvision's `GaussianBlur`.

use serde::{Deserialize, Serialize};

use super::canvas::{Canvas, round};
use super::check;
use crate::Result;
use crate::random::Random;

/// Blur by a random amount, sometimes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct GaussianBlur {
    /// How often: 0..=1.
    pub probability: f32,
    /// Pixels the kernel spans; odd. SimCLR takes a tenth of the image.
    pub kernel_size: usize,
    /// The standard deviation is uniform in this range, in pixels.
    pub sigma: [f32; 2],
}

/// SimCLR's settings for images of about 28 pixels.
impl Default for GaussianBlur {
    fn default() -> Self {
        Self { probability: 0.5, kernel_size: 3, sigma: [0.1, 2.0] }
    }
}

impl GaussianBlur {
    pub(super) fn validate(&self, height: usize, width: usize) -> Result<()> {
        check::probability("gaussian-blur", self.probability)?;
        check::positive_range("gaussian-blur", "sigma", self.sigma)?;
        let size = self.kernel_size;
        check::require(size % 2 == 1 && size / 2 < height.min(width), || {
            format!(
                "gaussian-blur: kernel_size {size} on images of {height} x {width}; expected an odd number whose half \
                 is less than the shorter side, because the border is mirrored"
            )
        })
    }

    pub(super) fn apply(&self, canvas: &mut Canvas, random: &mut Random) {
        if random.chance(self.probability) {
            gaussian_blur(canvas, self.kernel_size, random.uniform_in(self.sigma[0], self.sigma[1]));
        }
    }
}

/// Blurs with a kernel of `kernel_size` (odd) and standard deviation `sigma`, both in pixels.
///
/// Rows and columns are filtered one after the other, where torchvision applies the product of both kernels at
/// once: results differ by at most one level.
///
/// # Panics
/// When half of the kernel is not less than both sides of the image.
pub fn gaussian_blur(canvas: &mut Canvas, kernel_size: usize, sigma: f32) {
    let (height, width, half) = (canvas.height(), canvas.width(), kernel_size / 2);
    assert!(half < height.min(width), "a kernel of {kernel_size} is too large to mirror {height} x {width}");
    let kernel = kernel(half, sigma);
    let mut padded = vec![0.0; width + 2 * half];
    canvas.repaint(|before, after, rows| {
        rows.clear();
        rows.resize(height * width, 0.0);
        for (source, target) in before.chunks_exact(width).zip(rows.chunks_exact_mut(width)) {
            for (position, value) in padded.iter_mut().enumerate() {
                *value = f32::from(source[mirror(position, half, width)]);
            }
            for (offset, &weight) in kernel.iter().enumerate() {
                add_scaled(target, weight, &padded[offset..]);
            }
        }
        let mut sums = vec![0.0; width];
        for (y, target) in after.chunks_exact_mut(width).enumerate() {
            sums.fill(0.0);
            for (offset, &weight) in kernel.iter().enumerate() {
                add_scaled(&mut sums, weight, &rows[mirror(y + offset, half, height) * width..]);
            }
            target.iter_mut().zip(&sums).for_each(|(target, &sum)| *target = round(sum));
        }
    });
}

/// The bell curve at `-half..=half`, summing to 1.
fn kernel(half: usize, sigma: f32) -> Vec<f32> {
    let bell = |i: usize| (-0.5 * ((i as f32 - half as f32) / sigma).powi(2)).exp();
    let sum: f32 = (0..=2 * half).map(bell).sum();
    (0..=2 * half).map(|i| bell(i) / sum).collect()
}

/// The pixel behind `position` of a line padded by `half` on both sides; the edge itself is not repeated.
fn mirror(position: usize, half: usize, size: usize) -> usize {
    let distance = position.abs_diff(half);
    if distance < size { distance } else { 2 * (size - 1) - distance }
}

/// `sums += weight * values`, over the length of `sums`.
fn add_scaled(sums: &mut [f32], weight: f32, values: &[f32]) {
    sums.iter_mut().zip(values).for_each(|(sum, &value)| *sum += weight * value);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mirroring_does_not_repeat_the_edge() {
        let line: Vec<usize> = (0..8).map(|position| mirror(position, 2, 4)).collect();
        assert_eq!(line, [2, 1, 0, 1, 2, 3, 2, 1]);
    }

    #[test]
    fn an_even_or_oversized_kernel_is_refused() {
        let blur = |kernel_size| GaussianBlur { kernel_size, ..Default::default() };
        assert!(blur(3).validate(28, 28).is_ok());
        let message = blur(4).validate(28, 28).unwrap_err().to_string();
        assert!(message.contains("kernel_size 4"), "{message}");
        assert!(blur(9).validate(4, 28).is_err());
    }
}
