//! Learning from images nobody labelled.
//!
//! Data flows one way, and a module may use only those before it in this list:
//!
//! dataset → augment → backbone → optim → method → weights → embedding → evaluation → tracking → training →
//! report → experiment
//!
//! [`error`], [`random`], [`files`], `protobuf` and [`state`] are the ground they all stand on.
#![forbid(unsafe_code)]

pub mod error;
pub mod files;
mod pool;
mod protobuf;
pub mod random;
pub mod state;

pub mod dataset;

pub mod augment;

pub mod backbone;

pub mod optim;

pub mod method;

pub mod weights;

pub mod embedding;

pub mod evaluation;

pub mod tracking;

pub mod training;

pub mod report;

pub mod experiment;

pub use error::{Error, Result};

/// Compiles the example of the README, and that of the manual.
#[cfg(doctest)]
#[doc = include_str!("../../../README.md")]
#[doc = include_str!("../../../docs/howto/library.md")]
struct Examples;
