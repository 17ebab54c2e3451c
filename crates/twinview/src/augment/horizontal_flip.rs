//! Mirroring left and right.

use serde::{Deserialize, Serialize};

use super::canvas::Canvas;
use super::check;
use crate::Result;
use crate::random::Random;

/// Swaps left and right, sometimes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct HorizontalFlip {
    /// How often: 0..=1.
    pub probability: f32,
}

impl Default for HorizontalFlip {
    fn default() -> Self {
        Self { probability: 0.5 }
    }
}

impl HorizontalFlip {
    pub(super) fn validate(&self) -> Result<()> {
        check::probability("horizontal-flip", self.probability)
    }

    pub(super) fn apply(&self, canvas: &mut Canvas, random: &mut Random) {
        if random.chance(self.probability) {
            horizontal_flip(canvas);
        }
    }
}

/// Swaps left and right.
pub fn horizontal_flip(canvas: &mut Canvas) {
    let width = canvas.width();
    canvas.planes_mut().flat_map(|plane| plane.chunks_exact_mut(width)).for_each(<[u8]>::reverse);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_reversed() {
        let mut canvas = Canvas::new(1, 2, 3);
        canvas.load(&[1, 2, 3, 4, 5, 6]);
        horizontal_flip(&mut canvas);
        assert_eq!(canvas.pixels(), [3, 2, 1, 6, 5, 4]);
    }
}
