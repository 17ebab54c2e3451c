//! What commands share.

use twinview::training::{Device, cpu};

/// Where tensors live, with automatic differentiation.
pub(crate) fn device() -> Device {
    cpu()
}

/// The command as it was typed, for reports.
pub(crate) fn command_line() -> String {
    let words = std::env::args().skip(1).map(|word| if word.contains(' ') { format!("'{word}'") } else { word });
    std::iter::once("twinview".to_owned()).chain(words).collect::<Vec<_>>().join(" ")
}
