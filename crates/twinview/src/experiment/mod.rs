//! Whole experiments, composed from everything else.

mod arm;
mod benchmark;
mod labels;
mod method_table;
mod methods;
mod page;
mod recipe;
mod reproduce;
mod stored;

pub use arm::Arm;
pub use benchmark::{StepTimes, benchmark};
pub use labels::{Budgeted, Chosen, LabelRecipe, label_curve, label_recipe};
pub use method_table::{MethodsRecipe, method_table};
pub use methods::{METHODS, method_recipe};
pub use page::{PAGE, Part, compare, page, write_page};
pub use recipe::{Preset, Recipe, merged, tracking};
pub use reproduce::reproduce;
