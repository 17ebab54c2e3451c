use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;

use super::*;
use crate::state::{Array, Values};

mod damaged;
mod fitting;
mod python;

pub(super) fn golden(name: &str) -> PathBuf {
    let folder = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../../golden"));
    if name.contains('/') { folder.join(name) } else { folder.join("weights").join(name) }
}

/// The arrays PyTorch had when it wrote the files: `classifier`, `simsiam`, `kinds` or `views`.
pub(super) fn values(part: &str) -> StateDict {
    let all: Value = serde_json::from_slice(&fs::read(golden("values.json")).unwrap()).unwrap();
    let arrays = all[part].as_object().unwrap().iter();
    let numbers = |value: &Value| value.as_array().unwrap().clone();
    arrays
        .map(|(name, array)| {
            let shape = numbers(&array["shape"]).iter().map(|length| length.as_u64().unwrap() as usize).collect();
            let values = match array.get("f32") {
                Some(floats) => Values::F32(numbers(floats).iter().map(|x| x.as_f64().unwrap() as f32).collect()),
                None => Values::I64(numbers(&array["i64"]).iter().map(|x| x.as_i64().unwrap()).collect()),
            };
            (name.clone(), Array { shape, values })
        })
        .collect()
}

fn loaded(name: &str) -> Weights {
    load(golden(name)).unwrap_or_else(|error| panic!("{error}"))
}

fn refusal(name: &str) -> String {
    let message = load(golden(name)).unwrap_err().to_string();
    assert!(message.contains(name), "{message} does not name the file");
    message
}

fn pytorch(entry: &str) -> Format {
    Format::PyTorch { entry: entry.into() }
}

#[test]
fn every_container_gives_pytorchs_values() {
    for (name, part, format) in [
        ("classifier.pt", "classifier", pytorch("")),
        ("classifier-legacy.pt", "classifier", pytorch("")),
        ("classifier.safetensors", "classifier", Format::Safetensors),
        ("simsiam-protocol4.pt", "simsiam", pytorch("")),
    ] {
        let weights = loaded(name);
        assert_eq!(weights.state, values(part), "{name}");
        assert_eq!(weights.format, format, "{name}");
        assert_eq!(weights.renamed, [], "{name}");
    }
    assert_eq!(loaded("classifier.safetensors").metadata, BTreeMap::from([("format".into(), "pt".into())]));
}

#[test]
fn every_element_type_and_layout_gives_pytorchs_values() {
    let mut all = values("kinds");
    assert_eq!(loaded("kinds.safetensors").state, all);
    all.extend(values("views"));
    assert_eq!(loaded("kinds.pt").state, all);
}

#[test]
fn a_state_dict_inside_a_checkpoint_is_found_and_unwrapped() {
    let weights = loaded("checkpoint.pt");
    assert_eq!(weights.format, pytorch("state_dict"));
    assert_eq!(weights.state, values("classifier"));
    assert_eq!(weights.renamed.len(), weights.state.len());
    assert_eq!(weights.renamed[0].to_string(), "module.backbone.0.bias → backbone.0.bias");

    let deep = loaded("deep-legacy.pt");
    assert_eq!(deep.format, pytorch("run.model"));
    assert_eq!(deep.state, values("classifier"));
}

#[test]
fn the_published_head_gets_the_listings_name() {
    let weights = loaded("published.pt");
    assert_eq!(weights.state, values("classifier"));
    assert_eq!(weights.renamed[0].to_string(), "projection_mlp.0.bias → fc.0.bias");
    assert_eq!(weights.renamed.len(), 4);
}

#[test]
fn code_in_a_checkpoint_is_named_and_refused() {
    for (name, call) in [
        ("hostile-system.pt", "would call posix.system. Nothing of it was run"),
        ("hostile-legacy.pt", "would call posix.system. Nothing of it was run"),
        ("hostile-eval-protocol4.pt", "would call builtins.eval. Nothing of it was run"),
        ("numpy-scalar.pt", "numpy._core.multiarray.scalar"),
        ("module.pt", "a whole pickled model, not a state dict. Loading it in Python would call"),
        ("module.pt", "torch.nn.modules.container.Sequential"),
        ("torchscript.pt", "a TorchScript program"),
    ] {
        let message = refusal(name);
        assert!(message.contains(call), "{message}");
        assert!(message.contains("torch.save(model.state_dict()"), "{message}");
    }
}

#[test]
fn what_is_no_state_dict_is_described() {
    let list = refusal("list.pt");
    assert!(list.contains("no state dict but a list of 2, the first being a torch.Tensor"), "{list}");
    let settings = refusal("settings.pt");
    assert!(settings.contains("no state dict: found \"epoch\" (a number), \"name\" (a text)"), "{settings}");
    let two = refusal("two-models.pt");
    assert!(two.contains("several state dicts, under [\"critic\", \"generator\"]. In Python"), "{two}");
    assert!(two.contains("torch.save(checkpoint[\"critic\"]"), "{two}");
    let bools = refusal("bool.safetensors");
    assert!(bools.contains("the array \"mask\" has element type BOOL; F32, F16"), "{bools}");
}

#[test]
fn files_of_other_kinds_are_told_by_their_content() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("weights.pt");
    for (content, expected) in [
        (&b""[..], "neither a safetensors file nor a PyTorch checkpoint"),
        (b"\x89PNG\r\n\x1a\n and so on", "neither a safetensors file nor a PyTorch checkpoint"),
        (b"PK\x03\x04 and nothing more", "a damaged zip archive"),
        (b"\x80", "damaged"),
        (b"\x02\0\0\0\0\0\0\0{}", "no arrays in this file (safetensors)"),
    ] {
        fs::write(&path, content).unwrap();
        let message = load(&path).unwrap_err().to_string();
        assert!(message.contains(expected), "{message}");
    }
    assert!(load(folder.path()).unwrap_err().to_string().contains("not a file"));
    let missing = load(folder.path().join("none.pt")).unwrap_err().to_string();
    assert!(missing.contains("none.pt: cannot read the weights"), "{missing}");
    // safetensors under the ending of a checkpoint, and the other way round.
    fs::copy(golden("classifier.safetensors"), &path).unwrap();
    assert_eq!(load(&path).unwrap().format, Format::Safetensors);
    let path = folder.path().join("weights.safetensors");
    fs::copy(golden("classifier.pt"), &path).unwrap();
    assert_eq!(load(&path).unwrap().format, pytorch(""));
}
