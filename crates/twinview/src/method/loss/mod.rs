//! What self-supervised methods minimise, as functions of what the networks give.
//!
//! Rows belong to images: row `i` of one view and row `i` of another come from the same image. Rows need not
//! be of unit length, unless said. Every loss is a mean over the batch, of shape `[1]`.
//!
//! What a function calls a target is a constant to it: no gradient flows there, whatever the caller passes.
//!
//! SimSiam's and BYOL's loss is [`negative_cosine_similarity`](super::negative_cosine_similarity).
//!
//! ```
//! use burn::tensor::{Device, Tensor};
//! use twinview::method::loss::nt_xent;
//!
//! let device = Device::flex();
//! let loss = |second: [[f32; 2]; 2]| {
//!     let first = Tensor::<2>::from_floats([[1.0, 0.0], [0.0, 1.0]], &device);
//!     nt_xent(first, Tensor::from_floats(second, &device), 0.2).into_scalar::<f32>()
//! };
//! // Views of one image that agree, and views that look like the other image's.
//! assert!(loss([[1.0, 0.0], [0.0, 1.0]]) < loss([[0.0, 1.0], [1.0, 0.0]]));
//! ```

mod barlow_twins;
mod dcl;
mod dino;
mod info_nce;
mod nnclr;
mod nt_xent;
pub(super) mod shared;
mod sup_con;
mod swav;
mod vicreg;

#[cfg(test)]
mod golden_tests;
#[cfg(test)]
mod tests;

pub use barlow_twins::barlow_twins;
pub use dcl::dcl;
pub use dino::{dino, dino_center};
pub use info_nce::{contrast, info_nce};
pub use nnclr::{nearest_neighbours, nnclr};
pub use nt_xent::nt_xent;
pub use sup_con::sup_con;
pub use swav::{sinkhorn, swapped_prediction};
pub use vicreg::{VicRegWeights, vicreg};
