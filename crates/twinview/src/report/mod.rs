//! What a run shows of itself.

mod comparison;
pub mod figures;

pub use comparison::{ArmResult, Comparison, Role};
