//! Ctrl-C: the first asks the training to save and stop, the second stops at once.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::flag;
use twinview::{Error, Result};

/// Makes a file that grows past the user's limit an error of the write, where the system would end the program.
pub(crate) fn survive_file_size_limit() {
    // A handler that does nothing of note is enough; without one, such a write just ends the program as before.
    #[cfg(unix)]
    let _ = flag::register(signal_hook::consts::SIGXFSZ, Arc::default());
}

/// A flag that becomes true when the user asks to stop.
///
/// Installed when training begins, so that before it, while data is fetched, Ctrl-C simply ends the program.
pub(crate) fn on_request() -> Result<Arc<AtomicBool>> {
    let requested = Arc::new(AtomicBool::new(false));
    let refused = |error| Error::Config(format!("cannot watch for Ctrl-C: {error}"));
    // The order matters: a second Ctrl-C finds the flag set and ends the program. A second SIGTERM does not: `timeout` sends
    // it to the program and to its group, and who means it sends SIGKILL next.
    flag::register_conditional_shutdown(SIGINT, 130, Arc::clone(&requested)).map_err(refused)?;
    for signal in [SIGINT, SIGTERM] {
        flag::register(signal, Arc::clone(&requested)).map_err(refused)?;
    }
    Ok(requested)
}

/// Adds to the news of an interruption how to go on.
pub(crate) fn with_advice(error: Error, advice: &str) -> Error {
    match error {
        Error::Interrupted(message) => Error::Interrupted(format!("{message}. To go on, {advice}")),
        other => other,
    }
}
