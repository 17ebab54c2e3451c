//! Plain loops for the vectors that the processor has.

use fearless_simd::{Level, Simd, dispatch};

/// What `work` gives, compiled once for each instruction set that the kernels choose from when the program runs, so that the compiler
/// may make its loops as wide as that allows: those of `work` and of what is inlined in it. All of them round alike.
#[inline(always)]
pub fn vectorized<R>(work: impl FnOnce() -> R) -> R {
    dispatch!(Level::new(), simd => simd.vectorize(work))
}
