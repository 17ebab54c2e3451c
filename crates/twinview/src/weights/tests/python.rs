//! What we write is what Python's safetensors writes, and loads in PyTorch.

use std::process::Command;

use super::*;

/// The classifier of `golden/weights/make.py`, strictly loaded; prints every value as a 32-bit pattern.
const LOAD_STRICTLY: &str = r#"
import sys
from safetensors.torch import load_file
from torch import nn, float32

class Classifier(nn.Module):
    def __init__(self):
        super().__init__()
        layers, channels = [], 1
        for width in (2, 3, 4):
            layers += [nn.Conv2d(channels, width, 3, stride=2, padding=1), nn.ReLU(), nn.BatchNorm2d(width)]
            channels = width
        self.backbone = nn.Sequential(*layers)
        self.fc = nn.Sequential(nn.Linear(4, 5), nn.ReLU(), nn.Linear(5, 3))

model = Classifier()
model.load_state_dict(load_file(sys.argv[1]), strict=True)
for name, tensor in sorted(model.state_dict().items()):
    flat = tensor.detach().reshape(-1).numpy()
    print(name, list(tensor.shape), (flat.view("uint32") if tensor.dtype == float32 else flat).tolist())
"#;

#[test]
fn the_bytes_are_those_of_pythons_safetensors() {
    let metadata = BTreeMap::from([("format".to_string(), "pt".to_string())]);
    let bytes = safetensors::to_bytes(&values("classifier"), &metadata).unwrap();
    assert_eq!(bytes, fs::read(golden("classifier.safetensors")).unwrap());
}

#[test]
fn metadata_and_names_of_any_text_come_back_in_the_same_bytes() {
    let metadata: BTreeMap<_, _> = (0..20).map(|i| (format!("key {i} \"→\""), format!("line\n{i}"))).collect();
    let state = StateDict::from([
        ("a \"quoted\" näme".to_string(), Array::f32([2, 0], vec![])),
        ("n".to_string(), Array::counter(i64::MIN)),
        ("nan".to_string(), Array::f32([2], vec![f32::INFINITY, -0.0])),
    ]);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("any.safetensors");
    save(&path, &state, &metadata).unwrap();
    let weights = load(&path).unwrap();
    assert_eq!((&weights.state, &weights.metadata), (&state, &metadata));
    assert_eq!(fs::read(&path).unwrap(), safetensors::to_bytes(&weights.state, &weights.metadata).unwrap());
}

#[test]
fn an_array_of_the_wrong_size_is_not_written() {
    let array = Array { shape: vec![3], values: Values::F32(vec![1.0]) };
    let error = safetensors::to_bytes(&StateDict::from([("a".into(), array)]), &BTreeMap::new()).unwrap_err();
    assert!(error.to_string().contains("1 values and shape [3]"), "{error}");
}

#[test]
fn pytorch_loads_what_is_written_with_strict_names() {
    let state = values("classifier");
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("classifier.safetensors");
    save(&path, &state, &BTreeMap::new()).unwrap();
    let python = std::env::var("TWINVIEW_PYTHON").unwrap_or_else(|_| "python3".into());
    let has_torch = Command::new(&python).args(["-c", "import torch, safetensors.torch"]).output();
    if !has_torch.is_ok_and(|output| output.status.success()) {
        println!("{python} has no torch and safetensors: only the golden bytes are compared");
        return the_bytes_are_those_of_pythons_safetensors();
    }
    let output = Command::new(&python).args(["-c", LOAD_STRICTLY]).arg(&path).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let expected: String = state
        .iter()
        .map(|(name, array)| match &array.values {
            Values::F32(values) => {
                let bits: Vec<u32> = values.iter().map(|value| value.to_bits()).collect();
                format!("{name} {:?} {bits:?}\n", array.shape)
            }
            Values::I64(values) => format!("{name} {:?} {values:?}\n", array.shape),
        })
        .collect();
    assert_eq!(String::from_utf8(output.stdout).unwrap(), expected);
}
