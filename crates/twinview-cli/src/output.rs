//! Results go to standard output; everything else, progress and warnings, to standard error.

use std::fmt::Display;
use std::io::{ErrorKind, Write};

use twinview::{Error, Result};

/// Prints a result and a line end.
///
/// Whoever reads it may stop early, as `head` does; that is no error.
pub(crate) fn line(text: impl Display) -> Result<()> {
    let mut output = std::io::stdout().lock();
    match writeln!(output, "{text}").and_then(|()| output.flush()) {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => {
            Err(Error::io("standard output", "write the result", error))
        }
        _ => Ok(()),
    }
}

/// Tells the user something beside the result. A closed log is no error.
pub(crate) fn note(text: impl Display) {
    let _ = writeln!(std::io::stderr(), "{text}");
}
