//! Files that hold no weights, weights of other models, or code.

use crate::support::{Lab, golden};

#[track_caller]
fn refused(lab: &Lab, weights: &str, expected: &[&str]) {
    let name = weights.rsplit('/').next().unwrap();
    for command in
        ["import --out out.safetensors", "evaluate --data data --weights", "embed --data data --out out --weights"]
    {
        lab.fails(&format!("{command} {weights}"), &[&[name], expected].concat());
    }
    lab.fails(&format!("probe --data data --run run --weights {weights}"), &[&[name], expected].concat());
    assert!(!lab.exists("out.safetensors") && !lab.exists("out") && !lab.exists("run"));
}

#[test]
fn checkpoints_that_are_no_state_dict() {
    let lab = Lab::new();
    refused(&lab, &golden("list.pt"), &["no state dict but a list", "torch.save(model.state_dict()"]);
    refused(&lab, &golden("settings.pt"), &["no state dict", "\"epoch\" (a number)"]);
    refused(&lab, &golden("two-models.pt"), &["several state dicts", "critic"]);
    refused(&lab, &golden("torchscript.pt"), &["TorchScript"]);
    refused(&lab, &golden("module.pt"), &["whole pickled model", "Nothing of it was run"]);
}

/// A checkpoint in PyTorch's old form whose loading in Python makes a file.
fn checkpoint_that_runs(command: &str) -> Vec<u8> {
    let mut bytes = b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19.\x80\x02M\xe9\x03.\x80\x02}.".to_vec();
    bytes.extend(format!("cposix\nsystem\n(V{command}\ntR.").bytes());
    bytes.extend(b"\x80\x02].");
    bytes
}

#[test]
fn code_in_a_checkpoint_is_refused_and_never_run() {
    let lab = Lab::new();
    let proof = lab.path("it-was-run");
    lab.write("hostile.pt", checkpoint_that_runs(&format!("touch {}", proof.display())));
    refused(&lab, "hostile.pt", &["refused", "posix.system", "Nothing of it was run", "state_dict()"]);
    assert!(!proof.exists());
    refused(&lab, &golden("hostile-system.pt"), &["refused", "posix.system"]);
    refused(&lab, &golden("hostile-legacy.pt"), &["refused", "posix.system"]);
    refused(&lab, &golden("hostile-eval-protocol4.pt"), &["refused", "builtins.eval"]);
}

#[test]
fn files_that_are_damaged_or_something_else() {
    let lab = Lab::new();
    lab.write("notes.txt", "weights of great value");
    lab.write("none.pt", "");
    let whole = std::fs::read(golden("classifier.safetensors")).unwrap();
    lab.write("cut.safetensors", &whole[..whole.len() - 10]);
    let whole = std::fs::read(golden("classifier.pt")).unwrap();
    lab.write("cut.pt", &whole[..whole.len() / 2]);
    refused(&lab, "notes.txt", &["neither a safetensors file nor a PyTorch checkpoint"]);
    refused(&lab, "none.pt", &["neither a safetensors file nor a PyTorch checkpoint"]);
    refused(&lab, "cut.safetensors", &["damaged"]);
    refused(&lab, "cut.pt", &["damaged"]);
    refused(&lab, "missing.pt", &["cannot read the weights", "No such file"]);
    refused(&lab, "data", &["a folder without weights", "run directory"]);
}

#[test]
fn weights_of_another_model() {
    let lab = Lab::new();
    let unknown = golden("kinds.safetensors");
    let expected = ["kinds.safetensors", "weights of an unknown model", "no backbone.0.weight", "fc.0, fc.2"];
    lab.fails(&format!("evaluate --data data --weights {unknown}"), &expected);
    lab.fails(&format!("probe --data data --run run --weights {unknown}"), &expected);
    lab.simsiam("simsiam");
    lab.fails(
        "evaluate --data data --weights simsiam",
        &["simsiam/weights.safetensors", "SimSiam", "no classifier head", "twinview probe"],
    );
    lab.fails(
        &format!("evaluate --data data --weights {}", golden("classifier.pt")),
        &["classifier.pt", "3 classes", "fashion-mnist has 10"],
    );
    assert!(!lab.exists("run"));
}
