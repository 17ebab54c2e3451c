//! Importing a state dict from a PyTorch checkpoint (`.pt`, `.pth`), without PyTorch and without running it.
//!
//! Both containers that `torch.save` has written since 2017 are read: the zip archive (since PyTorch 1.6) and the
//! older stream of pickles. The pickles are first [scanned](scan) and refused when they are more than data; only
//! then does the `pytorch-reader` crate read them.

use std::collections::{BTreeSet, HashMap};
use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::Path;

use pytorch_reader::{DType, PickleValue, PytorchReader};
use zip::ZipArchive;

use super::decode::{ElementType, SUPPORTED, decode};
use super::pickle::{ENDS_TOO_EARLY, LONGEST, Scan, scan};
use crate::state::{Array, StateDict};

/// Entries under which training scripts keep the state dict, the usual one first.
const USUAL_KEYS: [&str; 9] =
    ["state_dict", "model_state_dict", "model_state", "model", "net", "network", "weights", "params", "module"];

/// How deep a state dict may lie inside a checkpoint.
const DEEPEST: usize = 4;

const SAVE_A_STATE_DICT: &str = "in Python, save a state dict: torch.save(model.state_dict(), \"weights.pt\")";

/// A state dict, and the entry of the checkpoint where it was (empty when it is the whole file).
pub(super) struct Found {
    pub state: StateDict,
    pub entry: String,
}

/// Whether a file that starts with `head` could be a PyTorch checkpoint: a zip archive or a pickle.
pub(super) fn looks_like_one(head: &[u8]) -> bool {
    head.starts_with(b"PK\x03\x04") || head.first() == Some(&0x80)
}

/// Reads the file at `path`; the message of an error lacks the path.
pub(super) fn read(path: &Path) -> Result<Found, String> {
    refuse_code(path)?;
    let damaged = |error| format!("a damaged or unsupported PyTorch checkpoint: {error}");
    let root = PytorchReader::read_pickle_data(path, None).map_err(damaged)?;
    let (trail, entries) = locate(&root)?;
    let reader = match trail.first() {
        Some(key) => PytorchReader::with_top_level_key(path, key),
        None => PytorchReader::new(path),
    }
    .map_err(damaged)?;
    let file_length = path.metadata().map_err(|error| error.to_string())?.len();
    // An expanded view or many views of one storage say more bytes than the file has; a real model, hardly.
    let mut allowance = file_length.saturating_mul(4).saturating_add(1 << 20);
    let prefix: String = trail.iter().skip(1).map(|key| format!("{key}.")).collect();
    let mut state = StateDict::new();
    for name in entries {
        let full = format!("{prefix}{name}");
        let tensor = reader.get(&full).ok_or_else(|| format!("the tensor {full:?} cannot be read"))?;
        allowance = allowance.checked_sub(tensor.byte_len() as u64).ok_or_else(|| {
            let shape = tensor.shape();
            format!("the tensors are far larger than the file's {file_length} bytes: {name:?} has shape {shape:?}. The file is damaged or made up")
        })?;
        let kind = kind(tensor.dtype())
            .ok_or_else(|| format!("the tensor {name:?} has element type {:?}; {SUPPORTED}", tensor.dtype()))?;
        let mut bytes = tensor.read().map_err(|error| format!("a damaged PyTorch checkpoint: {error}"))?;
        if cfg!(target_endian = "big") {
            bytes.chunks_exact_mut(tensor.dtype().size()).for_each(<[u8]>::reverse);
        }
        let array = Array { shape: tensor.shape().to_vec(), values: decode(kind, &bytes) };
        state.insert(name, array);
    }
    Ok(Found { state, entry: trail.join(".") })
}

fn kind(dtype: DType) -> Option<ElementType> {
    match dtype {
        DType::F16 => Some(ElementType::F16),
        DType::BF16 => Some(ElementType::BF16),
        DType::F32 => Some(ElementType::F32),
        DType::F64 => Some(ElementType::F64),
        DType::I32 => Some(ElementType::I32),
        DType::I64 => Some(ElementType::I64),
        _ => None,
    }
}

/// Refuses a checkpoint whose pickles refer to anything that is not data.
///
/// `pytorch-reader` runs no code either, but it skips over what it does not know; a file that would run a command
/// in Python must not pass for weights here.
fn refuse_code(path: &Path) -> Result<(), String> {
    let mut reader = BufReader::new(File::open(path).map_err(|error| error.to_string())?);
    let is_archive = reader.fill_buf().map_err(|error| error.to_string())?.starts_with(b"PK");
    let refused = if is_archive { scan_archive(reader)? } else { scan_stream(reader)? };
    if refused.is_empty() {
        return Ok(());
    }
    // The classes of a whole model are many and all alike, so what else is called stands first.
    let (layers, others): (Vec<_>, Vec<_>) = refused.iter().partition(|name| name.starts_with("torch.nn."));
    let shown: Vec<&str> = others.iter().chain(&layers).take(4).map(|name| name.as_str()).collect();
    let more = if refused.len() > shown.len() { ", ..." } else { "" };
    let what = if layers.is_empty() {
        "refused, because this checkpoint is not only data. Loading it in Python would call"
    } else {
        "refused, because this checkpoint is a whole pickled model, not a state dict. Loading it in Python would call"
    };
    Err(format!(
        "{what} {}{more}. Nothing of it was run. If you trust its source: {SAVE_A_STATE_DICT}",
        shown.join(", ")
    ))
}

fn scan_archive(reader: BufReader<File>) -> Result<BTreeSet<String>, String> {
    let damaged = |error: &dyn std::fmt::Display| {
        format!("a damaged zip archive: {error}. If this is a PyTorch checkpoint, copy or download it again")
    };
    let mut archive = ZipArchive::new(reader).map_err(|error| damaged(&error))?;
    let mut refused = BTreeSet::new();
    let mut found = false;
    // Shared by all pickles of the archive, so that many tiny entries cannot unpack to endless work.
    let mut allowance = LONGEST + 1;
    for index in 0..archive.len() {
        let entry = archive.by_index(index).map_err(|error| damaged(&error))?;
        let name = String::from_utf8_lossy(entry.name_raw()).into_owned();
        if name.contains("/code/") || name.ends_with("/constants.pkl") {
            return Err(format!(
                "refused, because this is a TorchScript program, not a state dict; {SAVE_A_STATE_DICT}"
            ));
        }
        if name.ends_with(".pkl") {
            let mut pickle = Vec::new();
            entry.take(allowance).read_to_end(&mut pickle).map_err(|error| damaged(&error))?;
            allowance -= pickle.len() as u64;
            refused.extend(scan_within_limit(&pickle, allowance == 0)?.refused);
            found |= name.ends_with("data.pkl");
        }
    }
    if !found {
        return Err(format!("a zip archive, but no PyTorch checkpoint: it has no data.pkl; {SAVE_A_STATE_DICT}"));
    }
    Ok(refused)
}

/// The stream starts with five pickles: magic number, protocol, system, the saved object and its storage keys.
fn scan_stream(reader: impl Read) -> Result<BTreeSet<String>, String> {
    let mut bytes = Vec::new();
    reader.take(LONGEST + 1).read_to_end(&mut bytes).map_err(|error| error.to_string())?;
    let mut refused = BTreeSet::new();
    let mut start = 0;
    for _ in 0..5 {
        let pickle = scan_within_limit(&bytes[start..], bytes.len() as u64 > LONGEST)?;
        refused.extend(pickle.refused);
        start += pickle.length;
        // A plain pickle, such as one of `pickle.dump`, is alone in its file.
        if start == bytes.len() {
            break;
        }
    }
    Ok(refused)
}

/// Scans a pickle, of which only the start is at hand when it `is_cut`.
fn scan_within_limit(bytes: &[u8], is_cut: bool) -> Result<Scan, String> {
    scan(bytes).map_err(|error| match error.as_str() {
        ENDS_TOO_EARLY if is_cut => {
            format!("its pickle is longer than {} MiB, too long for a state dict; {SAVE_A_STATE_DICT}", LONGEST >> 20)
        }
        _ => format!("a damaged PyTorch checkpoint: {error}. Copy or download it again"),
    })
}

/// Where the state dict is: the keys that lead to it, and the names of its tensors.
fn locate(root: &PickleValue) -> Result<(Vec<String>, Vec<String>), String> {
    let PickleValue::Dict(entries) = root else {
        return Err(format!("no state dict but {}; {SAVE_A_STATE_DICT}", describe(root)));
    };
    let mut trail = Vec::new();
    let tensors = descend(entries, &mut trail)?;
    Ok((trail, tensors))
}

type Entries = HashMap<String, PickleValue>;

fn descend(entries: &Entries, trail: &mut Vec<String>) -> Result<Vec<String>, String> {
    let usual = USUAL_KEYS.into_iter().find_map(|key| inner(entries, key, trail.len()).map(|inner| (key, inner)));
    if let Some((key, inner)) = usual {
        trail.push(key.to_string());
        return descend(inner, trail);
    }
    let mut tensors: Vec<String> =
        entries.iter().filter(|(_, value)| is_tensor(value)).map(|(name, _)| name.clone()).collect();
    if !tensors.is_empty() {
        tensors.sort();
        return Ok(tensors);
    }
    let mut candidates: Vec<(&String, &Entries)> = entries
        .keys()
        .filter(|key| !key.contains("optim"))
        .filter_map(|key| Some((key, inner(entries, key, trail.len())?)))
        .collect();
    candidates.sort_by_key(|(key, _)| *key);
    match candidates.as_slice() {
        [(key, inner)] => {
            trail.push(key.to_string());
            descend(inner, trail)
        }
        [] => Err(format!("no state dict: found {}; {SAVE_A_STATE_DICT}", describe_entries(entries))),
        several => {
            let keys: Vec<_> = several.iter().map(|(key, _)| key).collect();
            Err(format!(
                "several state dicts, under {keys:?}. In Python, save the one you want: \
                 torch.save(checkpoint[{:?}], \"weights.pt\")",
                keys[0]
            ))
        }
    }
}

/// The dictionary under `key`, when it holds tensors itself or further inside.
fn inner<'a>(entries: &'a Entries, key: &str, depth: usize) -> Option<&'a Entries> {
    match entries.get(key) {
        Some(PickleValue::Dict(inner)) if depth < DEEPEST && holds_tensors(inner, depth + 1) => Some(inner),
        _ => None,
    }
}

fn holds_tensors(entries: &Entries, depth: usize) -> bool {
    entries.iter().any(|(key, value)| is_tensor(value) || inner(entries, key, depth).is_some())
}

fn is_tensor(value: &PickleValue) -> bool {
    matches!(value, PickleValue::Unsupported(kind) if kind == "torch.Tensor")
}

fn describe_entries(entries: &Entries) -> String {
    let mut found: Vec<String> =
        entries.iter().map(|(name, value)| format!("{name:?} ({})", describe(value))).collect();
    found.sort();
    let more = if found.len() > 6 { ", ..." } else { "" };
    found.truncate(6);
    if found.is_empty() { "an empty dictionary".into() } else { found.join(", ") + more }
}

fn describe(value: &PickleValue) -> String {
    match value {
        PickleValue::None => "nothing".into(),
        PickleValue::Bool(_) => "a truth value".into(),
        PickleValue::Int(_) | PickleValue::Float(_) => "a number".into(),
        PickleValue::String(_) => "a text".into(),
        PickleValue::Bytes(_) => "bytes".into(),
        PickleValue::List(items) => match items.first() {
            Some(first) => format!("a list of {}, the first being {}", items.len(), describe(first)),
            None => "an empty list".into(),
        },
        PickleValue::Dict(entries) => format!("a dictionary of {}", entries.len()),
        PickleValue::Unsupported(kind) => format!("a {kind}"),
    }
}
