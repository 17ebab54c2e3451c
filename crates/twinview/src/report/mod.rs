//! What a run shows of itself.
//!
//! ```
//! use twinview::report::{ArmResult, Comparison, Role};
//!
//! let arm = |role, title: &str, macro_f1: [f64; 3]| ArmResult {
//!     arm: title.to_lowercase(),
//!     title: title.to_owned(),
//!     role,
//!     labels: 1000,
//!     updates: 3200,
//!     macro_f1: macro_f1.to_vec(),
//!     accuracy: macro_f1.to_vec(),
//!     published: None,
//!     reports: Vec::new(),
//! };
//! let comparison = Comparison {
//!     recipe: "mine".to_owned(),
//!     command: "my program".to_owned(),
//!     version: "1.0".to_owned(),
//!     dataset: "shapes".to_owned(),
//!     test_images: 1000,
//!     validation: false,
//!     encoders: 3,
//!     arms: vec![
//!         arm(Role::Random, "Random", [0.78, 0.79, 0.80]),
//!         arm(Role::Pretrained, "SimSiam", [0.83, 0.85, 0.84]),
//!     ],
//! };
//! assert!(comparison.verdict().contains("+0.050 (95 % interval"));
//! ```

mod comparison;
pub mod figures;
mod label_curve;
mod method_table;
pub mod page;
mod predictions;

pub use comparison::{ArmResult, Comparison, Role};
pub use label_curve::{LabelCurve, LabelPoint};
pub use method_table::{MethodRow, MethodTable};
pub use predictions::{Prediction, csv_table};
