//! Weights in files: safetensors in and out, PyTorch checkpoints in, ONNX out.
//!
//! A file is told by its content, not by its ending. Array names are made [canonical](names) on the way in;
//! [`match_into`] fits what was loaded to a model and reports what went where; [`identify()`] tells which model a
//! file is for.
//!
//! ```
//! use std::collections::BTreeMap;
//! use twinview::state::{Array, StateDict};
//! use twinview::weights;
//!
//! # let folder = tempfile::tempdir().unwrap();
//! # let path = folder.path().join("head.safetensors");
//! let state = StateDict::from([("fc.0.bias".to_string(), Array::f32([2], vec![0.5, -1.0]))]);
//! weights::save(&path, &state, &BTreeMap::new())?;
//! assert_eq!(weights::load(&path)?.state, state);
//! # Ok::<(), twinview::Error>(())
//! ```

use std::collections::BTreeMap;
use std::fmt;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use crate::state::StateDict;
use crate::{Error, Result};

mod decode;
pub mod identify;
pub mod matching;
pub mod names;
pub mod onnx;
mod pickle;
mod pytorch;
mod resnet;
pub mod safetensors;
mod vit;

pub use identify::{Kind, Model, identify};
pub use matching::{LoadReport, Scope, match_into};
pub use names::Rename;

/// The entry of a file's metadata that names the classes of a classifier, as a list in JSON.
pub const CLASSES: &str = "classes";

/// What [`load`] found in a file.
#[derive(Clone, Debug, PartialEq)]
pub struct Weights {
    /// The arrays, by their canonical names.
    pub state: StateDict,
    /// What the file says about itself; empty for a PyTorch checkpoint.
    pub metadata: BTreeMap<String, String>,
    /// Where it was read from.
    pub path: PathBuf,
    /// How it was stored.
    pub format: Format,
    /// Arrays whose name in the file is another than in `state`.
    pub renamed: Vec<Rename>,
}

impl Weights {
    /// The names of the classes that the network was trained to tell apart, where the file has them.
    pub fn class_names(&self) -> Option<Vec<String>> {
        serde_json::from_str(self.metadata.get(CLASSES)?).ok()
    }
}

/// How a file stores weights.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Format {
    /// safetensors.
    Safetensors,
    /// What `torch.save` writes.
    PyTorch {
        /// The entry of the checkpoint that held the state dict, such as `state_dict`; empty for the whole file.
        entry: String,
    },
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Safetensors => write!(f, "safetensors"),
            Self::PyTorch { entry } if entry.is_empty() => write!(f, "PyTorch state dict"),
            Self::PyTorch { entry } => write!(f, "PyTorch checkpoint, entry {entry:?}"),
        }
    }
}

/// Reads the weights in a safetensors file or a PyTorch checkpoint.
///
/// Floats of any width become f32, integers i64. Code in a checkpoint is never run.
///
/// # Errors
/// [`Error::Io`] when the file cannot be read. [`Error::Format`] when it is neither format, is damaged, holds
/// element types that are not read or no arrays at all, or is a checkpoint that is no state dict or has code in it.
pub fn load(path: impl AsRef<Path>) -> Result<Weights> {
    let path = path.as_ref();
    let unreadable = |source| Error::io(path, "read the weights", source);
    let wrong = |message: String| Error::format(path, message);
    let mut file = File::open(path).map_err(unreadable)?;
    if !file.metadata().map_err(unreadable)?.is_file() {
        return Err(wrong("not a file. Name a .safetensors or .pt file".into()));
    }
    let mut head = Vec::new();
    file.by_ref().take(9).read_to_end(&mut head).map_err(unreadable)?;
    let (state, metadata, format) = if is_safetensors(&head) {
        let mut bytes = head;
        file.read_to_end(&mut bytes).map_err(unreadable)?;
        let (state, metadata) = safetensors::from_bytes(&bytes).map_err(wrong)?;
        (state, metadata, Format::Safetensors)
    } else if pytorch::looks_like_one(&head) {
        let found = pytorch::read(path).map_err(wrong)?;
        (found.state, BTreeMap::new(), Format::PyTorch { entry: found.entry })
    } else {
        let message = "neither a safetensors file nor a PyTorch checkpoint. Weights are read from these two formats";
        return Err(wrong(message.into()));
    };
    if state.is_empty() {
        return Err(wrong(format!("no arrays in this file ({format}); it holds no weights")));
    }
    let (state, renamed) = names::canonical(state).map_err(wrong)?;
    Ok(Weights { state, metadata, path: path.to_path_buf(), format, renamed })
}

/// Writes a safetensors file, replacing what is at `path` in one step; equal content gives equal bytes.
///
/// # Errors
/// [`Error::Io`] when the file cannot be written; [`Error::Config`] as in [`safetensors::to_bytes`].
pub fn save(path: impl AsRef<Path>, state: &StateDict, metadata: &BTreeMap<String, String>) -> Result<()> {
    safetensors::write(path.as_ref(), state, metadata)
}

/// The length of a JSON header, then its opening brace. A length of 128 bytes starts as a pickle does, so this is
/// asked first; no pickle or zip archive has eight such bytes before a brace.
fn is_safetensors(head: &[u8]) -> bool {
    let length = head.first_chunk::<8>().map(|bytes| u64::from_le_bytes(*bytes));
    length.is_some_and(|length| length < 1 << 32) && head.get(8) == Some(&b'{')
}

#[cfg(test)]
mod tests;
