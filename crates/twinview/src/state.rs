//! Weights outside any framework: named arrays in PyTorch's names and layouts.
//!
//! This is what files hold and what models read and write; how the files are laid out is the business of
//! `weights`.
//!
//! ```
//! use twinview::state::{Array, StateDict};
//!
//! let state = StateDict::from([
//!     ("backbone.2.num_batches_tracked".to_owned(), Array::counter(200)),
//!     ("fc.0.bias".to_owned(), Array::f32([2], vec![0.5, -1.0])),
//! ]);
//! assert_eq!(state["fc.0.bias"].kind(), "F32");
//! assert_eq!(state["backbone.2.num_batches_tracked"].kind(), "I64");
//! ```

use std::collections::BTreeMap;

/// Named arrays, by PyTorch's parameter names: `backbone.0.weight`.
pub type StateDict = BTreeMap<String, Array>;

/// An array of any rank in row-major order.
#[derive(Clone, Debug, PartialEq)]
pub struct Array {
    /// Length of each dimension; empty for a scalar.
    pub shape: Vec<usize>,
    /// The values, `shape`'s product of them.
    pub values: Values,
}

/// The values of an [`Array`].
#[derive(Clone, Debug, PartialEq)]
pub enum Values {
    /// Weights and statistics.
    F32(Vec<f32>),
    /// Counters, such as BatchNorm's `num_batches_tracked`.
    I64(Vec<i64>),
}

impl Array {
    /// An array of 32-bit floats.
    ///
    /// # Panics
    /// When the number of values is not the product of `shape`.
    pub fn f32(shape: impl Into<Vec<usize>>, values: Vec<f32>) -> Self {
        let shape = shape.into();
        assert_eq!(shape.iter().product::<usize>(), values.len());
        Self { shape, values: Values::F32(values) }
    }

    /// A whole number without dimensions, as PyTorch stores counters.
    pub fn counter(value: i64) -> Self {
        Self { shape: Vec::new(), values: Values::I64(vec![value]) }
    }

    /// The element type, as files name it: `F32` or `I64`.
    pub fn kind(&self) -> &'static str {
        match self.values {
            Values::F32(_) => "F32",
            Values::I64(_) => "I64",
        }
    }
}

impl Values {
    /// How many values there are.
    pub fn len(&self) -> usize {
        match self {
            Self::F32(values) => values.len(),
            Self::I64(values) => values.len(),
        }
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}
