//! x
mod features;
pub use features::{Features, extract, in_batches};
