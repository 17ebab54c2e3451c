//! Holds the README and the manual in `docs` to what the program does: commands, numbers, links.
//!
//! Parts that are written from the program or from results are rewritten with
//! `UPDATE_DOCS=1 cargo test --release -p twinview-cli`.

mod api;
#[cfg(unix)]
mod commands;
mod flags;
mod links;
mod pages;
mod results;
