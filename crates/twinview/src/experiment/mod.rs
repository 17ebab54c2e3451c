//! Whole experiments, composed from everything else.
//!
//! ```
//! use twinview::experiment::{merged, method_recipe};
//! use twinview::training::Pretraining;
//!
//! let recipe = method_recipe("simclr").unwrap_or_default();
//! let settings: Pretraining = merged(recipe, None, &["epochs=5".to_owned()])?;
//! assert_eq!(settings.plan.epochs, 5);
//! // A name that no setting has is refused.
//! assert!(merged::<Pretraining>(recipe, None, &["epoch=5".to_owned()]).is_err());
//! # Ok::<(), twinview::Error>(())
//! ```

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
pub use benchmark::{Lengths, StepTimes, benchmark};
pub use labels::{Budgeted, Chosen, LabelRecipe, label_curve, label_recipe, pretraining_of, trained_on};
pub use method_table::{MethodsRecipe, method_table};
pub use methods::{METHODS, method_recipe, method_recipe_on};
pub use page::{PAGE, compare, page, write_page};
pub use recipe::{Preset, Recipe, merged, tracking};
pub use reproduce::reproduce;
