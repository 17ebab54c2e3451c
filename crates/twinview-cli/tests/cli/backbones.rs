//! Encoders other than the article's, from pretraining to a report.

use std::process::Stdio;

use twinview::weights;

use crate::interruption::{send, wait_until};
use crate::support::{Lab, golden};

/// A ResNet as small as can be.
const SMALL: &str = "--backbone resnet18 --set backbone.width=2 --set backbone.blocks=[1,1,1,1]";

fn text(lab: &Lab, name: &str) -> String {
    String::from_utf8(lab.read(name)).unwrap()
}

#[test]
fn every_resnet_recipe_is_stopped_gone_on_with_and_probed() {
    let lab = Lab::new();
    let heads = [
        ("simsiam", "--set method.projector=[32,32]", "weight_decay = 0.0005"),
        ("simclr", "", "name = \"lars\""),
        ("mocov2", "--set method.memory=100", "temperature = 0.1"),
        ("byol", "--set method.projector=[32,16] --set method.predictor=32", "name = \"lars\""),
    ];
    for (method, head, own) in heads {
        let command = format!("pretrain --method {method} {SMALL} {head} --data data --epochs 3 --batch-size 50");
        lab.succeeds(&format!("{command} --run {method}"));
        let config = text(&lab, &format!("{method}/config.toml"));
        assert!(config.contains("name = \"resnet18\"") && config.contains(own), "{method}: {config}");

        let run = format!("{method}-stopped");
        let command = format!("{command} --run {run}");
        let mut child = lab.command(&command).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        let metrics = lab.path(&run).join("metrics.jsonl");
        assert!(wait_until(&mut child, || std::fs::read_to_string(&metrics).is_ok_and(|text| text.lines().count() > 0)));
        send(&child, "INT");
        assert_eq!(child.wait().unwrap().code(), Some(1), "{method} was over too soon");
        lab.succeeds(&format!("{command} --resume"));
        let [whole, stopped] = [method, &run].map(|run| lab.read(&format!("{run}/weights.safetensors")));
        assert!(whole == stopped, "{method}");

        lab.succeeds(&format!("probe --head linear --weights {method} --data data --run {method}-linear"));
        lab.succeeds(&format!("evaluate --weights {method}-linear --data data"));
        lab.succeeds(&format!("evaluate --knn 5 --weights {method} --data data"));
    }
}

#[test]
fn a_resnet_goes_wherever_an_encoder_goes() {
    let lab = Lab::new();
    let quick = "--data data --epochs 1 --batch-size 50";
    lab.succeeds(&format!("train {SMALL} {quick} --run trained"));
    lab.succeeds("evaluate --weights trained --data data");
    lab.succeeds("export trained --out backbone.safetensors --backbone-only");
    lab.succeeds(&format!("probe --weights backbone.safetensors {quick} --run probed"));
    lab.succeeds(&format!("probe {SMALL} {quick} --run random"));
    lab.succeeds(&format!("probe {SMALL} --head linear --data data --run random-linear"));
    lab.succeeds(&format!("finetune --weights backbone.safetensors {quick} --run finetuned"));
    lab.succeeds(&format!("selftrain --weights finetuned {quick} --run student"));
    lab.succeeds("embed --weights student --data data --out map");
    let table = format!("experiment methods --methods simclr {SMALL} --epochs 1 --first-k 60 --set batch_size=50");
    assert!(lab.succeeds(&format!("{table} --data data --run table")).contains("| simclr | 1 |"));

    // What nobody chose is not written, so that runs from before there was a choice are gone on with.
    lab.succeeds(&format!("train {quick} --run conv"));
    assert!(!text(&lab, "conv/config.toml").contains("backbone"));
}

#[test]
fn a_vision_transformer_learns_with_frozen_patches_and_goes_wherever_an_encoder_goes() {
    let lab = Lab::new();
    let small = "--backbone vit --set backbone.patch=7 --set backbone.width=32 --set backbone.depth=1";
    let quick = "--data data --batch-size 50";
    let pretrain =
        format!("pretrain --method mocov3 {small} --set method.projector=[32,16] --set method.predictor=32 {quick}");
    lab.succeeds(&format!("{pretrain} --epochs 1 --run vit"));
    assert!(text(&lab, "vit/config.toml").contains("name = \"adamw\""), "the recipe for it was not taken");
    lab.succeeds(&format!("{pretrain} --epochs 3 --run longer"));
    lab.succeeds(&format!("{pretrain} --epochs 3 --run thawed --set backbone.frozen_patches=false"));
    let states = ["vit", "longer", "thawed"]
        .map(|run| (run, weights::load(lab.path(run).join("weights.safetensors")).unwrap().state));
    let array = |run: &str, name: &str| &states.iter().find(|(known, _)| *known == run).unwrap().1[name];
    for name in ["patch_embed.proj.weight", "patch_embed.proj.bias"].map(|name| format!("backbone.{name}")) {
        assert!(array("vit", &name) == array("longer", &name), "{name} moved");
        assert!(array("vit", &name) != array("thawed", &name), "{name} did not move");
    }
    let moving = "backbone.blocks.0.attn.qkv.weight";
    assert!(array("vit", moving) != array("longer", moving));
    lab.succeeds("probe --head linear --weights longer --data data --run linear");
    lab.succeeds(&format!("finetune --weights linear {quick} --epochs 1 --run finetuned"));
    lab.succeeds("evaluate --weights finetuned --data data");
    lab.succeeds("export longer --out backbone.safetensors --backbone-only");
    lab.succeeds("embed --weights backbone.safetensors --data data --out map");
    lab.succeeds(&format!("train {small} {quick} --epochs 1 --run trained"));
}

#[test]
fn weights_of_torchvision_are_a_classifier() {
    let lab = Lab::new();
    let file = golden("backbone/torchvision.pt");
    let outcome = lab.run(&format!("import {file} --out imported.safetensors"));
    assert_eq!(outcome.code, Some(0), "{}", outcome.stderr);
    for expected in ["classifier of 10 classes", "ResNet-10", "  conv1.weight → backbone.conv1.weight"] {
        assert!(outcome.stderr.contains(expected), "{}", outcome.stderr);
    }
    let scores = lab.succeeds(&format!("evaluate --weights {file} --data data --json"));
    assert_eq!(scores, lab.succeeds("evaluate --weights imported.safetensors --data data --json"));
    lab.succeeds(&format!("finetune --weights {file} --data data --epochs 1 --run finetuned"));
}

#[test]
fn encoders_that_do_not_fit_are_refused() {
    let lab = Lab::new();
    lab.simsiam("conv");
    let refused = |arguments: &str, expected: &[&str]| {
        lab.fails(&format!("{arguments} --data data --run run"), expected);
        assert!(!lab.exists("run"), "{arguments}");
    };
    refused("probe --weights conv --set backbone.name=resnet18", &["the article's backbone", "asks for another"]);
    refused("pretrain --set backbone.name=resnet17", &["unknown variant `resnet17`", "`resnet18`"]);
    refused("pretrain --backbone resnet18 --set backbone.depth=3", &["unknown field `depth`"]);
    refused("train --backbone resnet18 --set backbone.width=0", &["backbone.width = [0]", "at least 1"]);
    for command in ["pretrain", "train", "probe"] {
        let expected = ["backbone.patch = 5", "28 × 28", "divides both"];
        refused(&format!("{command} --backbone vit --set backbone.patch=5"), &expected);
    }
    lab.succeeds(&format!("pretrain {SMALL} --data data --epochs 1 --run resnet --set method.projector=[8,8]"));
    let other =
        "pretrain --data data --epochs 1 --run resnet --resume --backbone resnet18 --set method.projector=[8,8]";
    lab.fails(other, &["holds a run with other settings"]);
}

/// What is trained on another device than it is used on. Apart, so that they can run beside each other: it takes minutes
/// to try kernels.
#[cfg(feature = "wgpu")]
mod graphics {
    use super::*;

    #[test]
    #[ignore = "needs a graphics processor"]
    fn conv_gives_the_probabilities_of_the_processor() {
        check("--set epochs=1");
    }

    #[test]
    #[ignore = "needs a graphics processor"]
    fn resnet_gives_the_probabilities_of_the_processor() {
        check(SMALL);
    }

    #[test]
    #[ignore = "needs a graphics processor"]
    fn vit_gives_the_probabilities_of_the_processor() {
        check("--backbone vit --set backbone.depth=1");
    }

    fn check(encoder: &str) {
        let lab = Lab::new();
        let quick = "--data data --epochs 1 --batch-size 50";
        lab.succeeds(&format!("pretrain {encoder} {quick} --device gpu --run trained"));
        lab.succeeds(&format!("finetune --weights trained {quick} --device gpu --run tuned"));
        let [expected, found] = ["cpu", "gpu"].map(|device| {
            let out = format!("{device}.csv");
            let options = "--data data --split test --probabilities";
            lab.succeeds(&format!("predict --weights tuned {options} --device {device} --out {out}"));
            numbers(&text(&lab, &out))
        });
        assert!(expected.len() > 100 && expected.len() == found.len());
        let off = expected.iter().zip(&found).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max);
        assert!(off < 1e-3, "probabilities {off} apart");
    }

    /// All fields of a table that are fractions.
    fn numbers(table: &str) -> Vec<f64> {
        table.split([',', '\n']).filter(|field| field.contains('.')).filter_map(|field| field.parse().ok()).collect()
    }
}
