//! Optimisers with PyTorch's arithmetic and state that can be saved by name.

mod sgd;

pub use sgd::{Sgd, SgdConfig};
