//! Fused CPU training kernels.
