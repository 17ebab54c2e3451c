//! Weights in and out.

use crate::support::{Lab, golden, outcome, viewers};

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

/// ONNX Runtime computes what the program computes, of every encoder and with every head. Needs `tests/viewers/venv`.
#[test]
fn onnx_files_run_elsewhere() {
    let lab = Lab::new();
    lab.classifier("conv");
    lab.simsiam("simsiam");
    lab.succeeds("probe --head linear --weights simsiam --data data --run linear");
    let quick = "--data data --epochs 2 --batch-size 50";
    lab.succeeds(&format!(
        "train --backbone resnet18 --set backbone.width=4 --set backbone.blocks=[1,2,1,1] {quick} --run resnet"
    ));
    let small = "--set backbone.patch=7 --set backbone.width=64 --set backbone.depth=2";
    lab.succeeds(&format!("train --backbone vit {small} {quick} --run vit"));
    let mut files = Vec::new();
    for run in ["conv", "linear", "resnet", "vit"] {
        lab.succeeds(&format!("export {run} --out {run}.onnx"));
        lab.succeeds(&format!("predict --weights {run} --data data --split test --probabilities --out {run}.csv"));
        files.extend([format!("{run}.onnx"), format!("{run}.csv")]);
    }
    for run in ["simsiam", "resnet", "vit"] {
        lab.succeeds(&format!("export {run} --out {run}-alone.onnx --backbone-only"));
        lab.succeeds(&format!("embed --weights {run} --data data --split test --out {run}-map"));
        files.extend([format!("{run}-alone.onnx"), format!("{run}-map/features.npy")]);
    }
    let onnx = lab.read("conv.onnx");
    lab.succeeds("export conv --out conv.onnx");
    assert!(lab.read("conv.onnx") == onnx, "equal weights gave different files");

    let Some(mut runtime) = viewers("run_onnx.py") else { return };
    let files = files.iter().map(|file| lab.path(file));
    let ran = outcome(runtime.arg(lab.path("data/t10k-images-idx3-ubyte")).args(files).output().unwrap());
    assert_eq!((ran.code, ran.stdout.lines().count()), (Some(0), 7), "{}{}", ran.stdout, ran.stderr);
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
