//! What a run shows of itself.

mod comparison;
pub mod figures;
mod label_curve;
mod method_table;
pub mod page;

pub use comparison::{ArmResult, Comparison, Role};
pub use label_curve::{LabelCurve, LabelPoint};
pub use method_table::{MethodRow, MethodTable};
