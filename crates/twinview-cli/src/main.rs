//! The `twinview` program.
#![forbid(unsafe_code)]
fn main() {}
