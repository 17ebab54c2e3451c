//! Whole experiments, composed from everything else.

mod arm;
mod benchmark;
mod recipe;
mod reproduce;

pub use arm::Arm;
pub use benchmark::{StepTimes, benchmark};
pub use recipe::{Preset, Recipe, merged};
pub use reproduce::reproduce;
