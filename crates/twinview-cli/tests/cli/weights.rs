//! Weights in and out.

use crate::support::{Lab, golden};

#[test]
fn pytorch_files_of_every_form_become_the_same_safetensors() {
    let lab = Lab::new();
    let mut contents = Vec::new();
    for name in ["classifier.pt", "classifier-legacy.pt", "published.pt", "checkpoint.pt", "classifier.safetensors"] {
        let outcome = lab.run(&format!("import {} --out {name}.safetensors", golden(name)));
        assert_eq!(outcome.code, Some(0), "{}", outcome.stderr);
        assert_eq!(outcome.stdout, format!("{name}.safetensors\n"));
        assert!(outcome.stderr.contains("classifier of 3 classes"), "{}", outcome.stderr);
        contents.push(lab.read(&format!("{name}.safetensors")));
        if name == "published.pt" {
            assert!(outcome.stderr.contains("projection_mlp.0.bias → fc.0.bias"), "{}", outcome.stderr);
        }
    }
    assert!(contents.iter().all(|content| *content == contents[0]));
}

#[test]
fn an_exported_classifier_scores_as_the_run_does() {
    let lab = Lab::new();
    lab.classifier("run");
    let expected = lab.succeeds("evaluate --data data --weights run --json");
    lab.succeeds("export run --out classifier.safetensors");
    assert_eq!(lab.succeeds("evaluate --data data --weights classifier.safetensors --json"), expected);
    lab.succeeds("import classifier.safetensors --out again.safetensors");
    assert_eq!(lab.read("again.safetensors"), lab.read("classifier.safetensors"));
}

#[test]
fn the_backbone_alone_serves_a_probe_as_the_whole_does() {
    let lab = Lab::new();
    lab.simsiam("simsiam");
    lab.succeeds("export simsiam --out backbone.safetensors --backbone-only");
    let content = lab.read("backbone.safetensors");
    let length = u64::from_le_bytes(content[..8].try_into().unwrap()) as usize;
    let header: serde_json::Value = serde_json::from_slice(&content[8..8 + length]).unwrap();
    let names: Vec<&String> = header.as_object().unwrap().keys().filter(|name| *name != "__metadata__").collect();
    assert_eq!(names.len(), 21);
    assert!(names.iter().all(|name| name.starts_with("backbone.")), "{names:?}");

    for (weights, run) in [("simsiam", "whole"), ("backbone.safetensors", "alone")] {
        let outcome = lab.run(&format!("probe --data data --weights {weights} --run {run} --epochs 2"));
        assert_eq!(outcome.code, Some(0), "{}", outcome.stderr);
        assert!(outcome.stderr.contains("loaded 21 of 21 arrays of backbone.*"), "{}", outcome.stderr);
    }
    assert_eq!(lab.read("alone/weights.safetensors"), lab.read("whole/weights.safetensors"));
    // The control: an encoder that learned nothing is another one.
    lab.succeeds("probe --data data --run random --epochs 2");
    assert_ne!(lab.read("random/weights.safetensors"), lab.read("whole/weights.safetensors"));
}

#[test]
fn imported_weights_embed() {
    let lab = Lab::new();
    lab.succeeds(&format!("import {} --out simsiam.safetensors", golden("simsiam-protocol4.pt")));
    lab.succeeds("embed --data data --weights simsiam.safetensors --out map --components 2");
    assert!(lab.exists("map/features.npy") && lab.exists("map/umap.csv") && lab.exists("map/umap.png"));
}
