//! Taking the colour away, as torchvision's `RandomGrayscale`.

use serde::{Deserialize, Serialize};

use super::canvas::Canvas;
use super::{blend, check};
use crate::Result;
use crate::random::Random;

/// Makes all channels of a colour image its luma, sometimes. Grey images stay as they are, and draw nothing.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RandomGrayscale {
    /// How often: 0..=1.
    pub probability: f32,
}

/// SimCLR's.
impl Default for RandomGrayscale {
    fn default() -> Self {
        Self { probability: 0.2 }
    }
}

impl RandomGrayscale {
    pub(super) fn validate(&self) -> Result<()> {
        check::probability("random-grayscale", self.probability)
    }

    pub(super) fn apply(&self, canvas: &mut Canvas, random: &mut Random) {
        if canvas.channels() == 3 && random.chance(self.probability) {
            grayscale(canvas);
        }
    }
}

/// Makes all channels of a colour image its luma: `rgb_to_grayscale` with three output channels.
pub fn grayscale(canvas: &mut Canvas) {
    blend::color(canvas, 0.0);
}
