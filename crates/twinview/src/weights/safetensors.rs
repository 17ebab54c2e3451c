//! safetensors, the native format of weights: a JSON header and raw arrays, nothing that can run.
//!
//! <https://huggingface.co/docs/safetensors>. A written file loads in Python with `safetensors.torch.load_file`
//! and `load_state_dict(strict=True)`, and is byte for byte what `safetensors.torch.save_file` would write.
//!
//! ```
//! use std::collections::BTreeMap;
//!
//! use twinview::state::{Array, StateDict};
//! use twinview::weights::safetensors::to_bytes;
//!
//! let state = StateDict::from([("bias".to_owned(), Array::f32([1], vec![0.5]))]);
//! let bytes = to_bytes(&state, &BTreeMap::new())?;
//! assert!(bytes.ends_with(&0.5f32.to_le_bytes()));
//! # Ok::<(), twinview::Error>(())
//! ```

use std::collections::BTreeMap;
use std::path::Path;

use ::safetensors::tensor::{Dtype, SafeTensors};
use serde_json::{Map, Value, json};

use super::decode::{ElementType, SUPPORTED, decode};
use crate::state::{Array, StateDict, Values};
use crate::{Error, files};

/// Name the format reserves for the metadata inside the header.
const METADATA: &str = "__metadata__";

/// Writes `state` and `metadata` to `path`, replacing what is there in one step.
pub(super) fn write(path: &Path, state: &StateDict, metadata: &BTreeMap<String, String>) -> crate::Result<()> {
    files::write_atomic(path, &to_bytes(state, metadata)?)
}

/// The file's bytes, the same for the same content.
///
/// The header is written here because the `safetensors` crate keeps metadata in a hash map, whose order changes
/// from run to run. The order of arrays is that crate's: widest element type first, then by name.
///
/// # Errors
/// [`Error::Config`] when an array has not as many values as its shape says, or the format's reserved name.
pub fn to_bytes(state: &StateDict, metadata: &BTreeMap<String, String>) -> crate::Result<Vec<u8>> {
    for (name, array) in state {
        if name == METADATA || array.shape.iter().product::<usize>() != array.values.len() {
            return Err(Error::Config(format!(
                "the array {name:?} cannot be saved: it has {} values and shape {:?}",
                array.values.len(),
                array.shape
            )));
        }
    }
    let (counters, floats): (Vec<_>, Vec<_>) =
        state.iter().partition(|(_, array)| matches!(array.values, Values::I64(_)));
    let mut header = Map::new();
    if !metadata.is_empty() {
        header.insert(METADATA.into(), json!(metadata));
    }
    let mut data = Vec::new();
    for (name, array) in counters.into_iter().chain(floats) {
        let start = data.len();
        match &array.values {
            Values::F32(values) => values.iter().for_each(|value| data.extend(value.to_le_bytes())),
            Values::I64(values) => values.iter().for_each(|value| data.extend(value.to_le_bytes())),
        }
        let entry = json!({ "dtype": array.kind(), "shape": array.shape, "data_offsets": [start, data.len()] });
        header.insert(name.clone(), entry);
    }
    let mut header = Value::Object(header).to_string().into_bytes();
    header.resize(header.len().next_multiple_of(8), b' ');
    let mut bytes = Vec::with_capacity(8 + header.len() + data.len());
    bytes.extend((header.len() as u64).to_le_bytes());
    bytes.extend(header);
    bytes.extend(data);
    Ok(bytes)
}

/// Reads the arrays and the metadata; the message of an error lacks the path.
pub(super) fn from_bytes(bytes: &[u8]) -> Result<(StateDict, BTreeMap<String, String>), String> {
    let unreadable =
        |error| format!("a damaged safetensors file of {} bytes: {error}. Copy or download it again", bytes.len());
    let (_, header) = SafeTensors::read_metadata(bytes).map_err(unreadable)?;
    let file = SafeTensors::deserialize(bytes).map_err(unreadable)?;
    let mut state = StateDict::new();
    for (name, view) in file.iter() {
        let kind = match view.dtype() {
            Dtype::F16 => ElementType::F16,
            Dtype::BF16 => ElementType::BF16,
            Dtype::F32 => ElementType::F32,
            Dtype::F64 => ElementType::F64,
            Dtype::I32 => ElementType::I32,
            Dtype::I64 => ElementType::I64,
            other => return Err(format!("the array {name:?} has element type {other}; {SUPPORTED}")),
        };
        state.insert(name.to_string(), Array { shape: view.shape().to_vec(), values: decode(kind, view.data()) });
    }
    let metadata = header.metadata().iter().flatten().map(|(key, value)| (key.clone(), value.clone())).collect();
    Ok((state, metadata))
}
