//! Shear, translate and rotate with nearest-neighbour sampling and black outside, as torchvision's `affine` and
//! `rotate` do on tensors.
//!
//! A map from target to source pixel depends on the size and the parameters alone, so it is made once and applied
//! to any number of images. Its arithmetic follows torchvision's f32 steps one by one: sources that fall half-way
//! between two pixels are common under shear, and only the same roundings choose the same neighbour.

use super::canvas::Canvas;

/// A warp of the plane about a fixed point; lengths in pixels, x to the right and y down.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Affine {
    /// Rows move by this many pixels for each row below the top edge, to the left where positive.
    ShearX(f64),
    /// Columns move by this many pixels for each column right of the left edge, up where positive.
    ShearY(f64),
    /// Everything moves to the right; a fraction is cut off.
    TranslateX(f64),
    /// Everything moves down; a fraction is cut off.
    TranslateY(f64),
    /// Degrees about the image's centre, counter-clockwise.
    Rotate(f64),
}

/// Stands for a source outside the image.
const OUTSIDE: u32 = u32::MAX;

/// For each target pixel the index of its source pixel, if it has one: `[height, width]`.
#[derive(Clone, Debug)]
pub struct SourceMap(Vec<u32>);

impl Affine {
    /// The map for images of this size.
    pub fn source_map(self, height: usize, width: usize) -> SourceMap {
        let [to_x, to_y] = self.inverse(height, width);
        let sources = (0..height).flat_map(|y| {
            (0..width).map(move |x| {
                let (x, y) = (centred(x, width), centred(y, height));
                match (sample(to_x, x, y, width), sample(to_y, x, y, height)) {
                    (Some(x), Some(y)) => (y * width + x) as u32,
                    _ => OUTSIDE,
                }
            })
        });
        SourceMap(sources.collect())
    }

    /// The rows of the matrix that takes a target position to its source; the origin is the image's centre.
    ///
    /// This is the inverse of translate * rotate * shear-y * shear-x about a centre, worked out for the one
    /// parameter that differs from none.
    fn inverse(self, height: usize, width: usize) -> [[f64; 3]; 2] {
        let (middle_x, middle_y) = (width as f64 * 0.5, height as f64 * 0.5);
        match self {
            // The way through degrees and the detour over the centre cost digits that decide ties, so both are kept.
            Self::ShearX(level) => {
                let slope = through_degrees(level.atan()).tan();
                [[1.0, slope, slope * middle_y + middle_x - middle_x], [0.0, 1.0, 0.0]]
            }
            Self::ShearY(level) => {
                let (sine, cosine) = through_degrees(level.atan()).sin_cos();
                let slope = sine / cosine;
                [[1.0, 0.0, 0.0], [slope, 1.0, slope * middle_x + middle_y - middle_y]]
            }
            Self::TranslateX(pixels) => [[1.0, 0.0, -pixels.trunc()], [0.0, 1.0, 0.0]],
            Self::TranslateY(pixels) => [[1.0, 0.0, 0.0], [0.0, 1.0, -pixels.trunc()]],
            Self::Rotate(degrees) => {
                let (sine, cosine) = (-degrees).to_radians().sin_cos();
                [[cosine, sine, 0.0], [-sine, cosine, 0.0]]
            }
        }
    }
}

fn through_degrees(angle: f64) -> f64 {
    angle.to_degrees().to_radians()
}

/// The middle of a pixel, measured from the middle of the image.
fn centred(position: usize, size: usize) -> f32 {
    position as f32 + 0.5 - size as f32 * 0.5
}

/// The source position along one axis: to -1..1 and back to pixels, each step rounded to f32.
fn sample(row: [f64; 3], x: f32, y: f32, size: usize) -> Option<usize> {
    let half = size as f32 * 0.5;
    let [along_x, along_y, shift] = row.map(|weight| weight as f32 / half);
    let normalised = x * along_x + y * along_y + shift;
    let position = ((normalised + 1.0) * half - 0.5).round_ties_even();
    (position >= 0.0 && position < size as f32).then_some(position as usize)
}

impl SourceMap {
    /// Moves the pixels of every channel.
    ///
    /// # Panics
    /// When the map was made for another size.
    pub fn apply(&self, canvas: &mut Canvas) {
        assert_eq!(self.0.len(), canvas.height() * canvas.width(), "the map is for another image size");
        canvas.repaint(|before, after, _| {
            for (target, &source) in after.iter_mut().zip(&self.0) {
                *target = before.get(source as usize).copied().unwrap_or(0);
            }
        });
    }

    /// The source of each target pixel, row by row; `None` is outside the image.
    pub fn sources(&self) -> impl Iterator<Item = Option<usize>> {
        self.0.iter().map(|&source| (source != OUTSIDE).then_some(source as usize))
    }
}
