//! Checks that several transforms make of their settings.

use crate::{Error, Result};

/// A probability must lie in 0..=1.
pub(super) fn probability(transform: &str, value: f32) -> Result<()> {
    require((0.0..=1.0).contains(&value), || format!("{transform}: probability {value}; expected a number from 0 to 1"))
}

/// A range must be two finite numbers, the smaller first and above 0.
pub(super) fn positive_range(transform: &str, setting: &str, [low, high]: [f32; 2]) -> Result<()> {
    require(low > 0.0 && low <= high && high.is_finite(), || {
        format!("{transform}: {setting} [{low}, {high}]; expected [low, high] with 0 < low <= high")
    })
}

/// A config error with `message` where the condition does not hold.
pub(super) fn require(holds: bool, message: impl FnOnce() -> String) -> Result<()> {
    if holds { Ok(()) } else { Err(Error::Config(message())) }
}
