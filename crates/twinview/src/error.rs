//! The one error type of the library.
//!
//! Every message says what was read, what was found, what was expected and what to do next, because it
//! is shown to the user as it stands.
//!
//! ```
//! use twinview::Error;
//!
//! let error = Error::format("weights.pt", "is empty, expected a state dict; copy the file again");
//! assert_eq!(error.to_string(), "weights.pt: is empty, expected a state dict; copy the file again");
//! ```

use std::path::{Path, PathBuf};

/// The library's result type.
pub type Result<T> = std::result::Result<T, Error>;

/// What can go wrong, by whose turn it is to act.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The operating system refused to read or write a file.
    #[error("{}: cannot {action}: {source}{}", path.display(), hint(source))]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// What was being done, as a verb phrase: `read the labels`.
        action: &'static str,
        /// The system's answer.
        source: std::io::Error,
    },
    /// A file was read but does not hold what it should.
    #[error("{}: {message}", path.display())]
    Format {
        /// The file.
        path: PathBuf,
        /// What was found, what was expected, what to do.
        message: String,
    },
    /// A setting, name or combination that cannot work.
    #[error("{0}")]
    Config(String),
    /// A dataset could not be had from any source.
    #[error("{0}")]
    Data(String),
    /// The user asked to stop; what was done so far is saved.
    #[error("{0}")]
    Interrupted(String),
}

impl Error {
    /// Wraps a system error with the path and the action it interrupted.
    pub fn io(path: impl AsRef<Path>, action: &'static str, source: std::io::Error) -> Self {
        Self::Io { path: path.as_ref().to_path_buf(), action, source }
    }

    /// A file whose content is not what it should be.
    pub fn format(path: impl AsRef<Path>, message: impl Into<String>) -> Self {
        Self::Format { path: path.as_ref().to_path_buf(), message: message.into() }
    }
}

/// The next step for the system errors that users meet most.
fn hint(source: &std::io::Error) -> &'static str {
    match source.kind() {
        std::io::ErrorKind::StorageFull => ". Free some space or choose another folder with --run",
        std::io::ErrorKind::ReadOnlyFilesystem | std::io::ErrorKind::PermissionDenied => {
            ". Check the permissions, or choose another folder"
        }
        std::io::ErrorKind::NotADirectory | std::io::ErrorKind::AlreadyExists => {
            ". A part of this path is a file; choose another folder"
        }
        std::io::ErrorKind::FileTooLarge => ". Raise the limit on file sizes or choose another folder with --run",
        _ => "",
    }
}
