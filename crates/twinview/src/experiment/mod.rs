//! Whole experiments, composed from everything else.

mod arm;
mod recipe;
mod reproduce;

pub use arm::Arm;
pub use recipe::{Preset, Recipe, merged};
pub use reproduce::reproduce;
