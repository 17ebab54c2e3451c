//! Places that cannot be written to, and run directories that hold something already.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use crate::support::{Lab, files, outcome};

#[test]
fn a_path_under_a_file() {
    let lab = Lab::new();
    lab.write("file", "x");
    lab.classifier("run");
    for command in [
        "train --run file/run",
        "probe --run file/run",
        "reproduce --set labels=20 --run file/run",
        "data show --out file/a.png",
    ] {
        let outcome = lab.run(&format!("{command} --data data"));
        lab.assert_failed(&outcome, &["file", "choose another folder"]);
    }
    lab.fails("export run --out file/weights", &["file", "choose another folder"]);
    let outcome = lab.run("evaluate --data data --weights run --figures file/figures");
    lab.assert_failed(&outcome, &["file", "choose another folder"]);
    assert_eq!(lab.read("file"), b"x");
}

#[test]
fn a_read_only_folder() {
    let lab = Lab::new();
    fs::create_dir(lab.path("locked")).unwrap();
    let lock = |mode| fs::set_permissions(lab.path("locked"), fs::Permissions::from_mode(mode)).unwrap();
    lock(0o555);
    // Permissions do not bind the superuser; there is nothing to try then.
    if fs::write(lab.path("locked/probe"), "x").is_err() {
        lab.fails("train --data data --run locked --epochs 1", &["locked", "Check the permissions"]);
        lab.fails("pretrain --data data --run locked/run --epochs 1", &["locked", "Check the permissions"]);
        assert!(files(&lab.path("locked")).is_empty());
    }
    lock(0o755);
}

/// A file system that is full refuses in the same place where the shell's limit on file sizes does.
#[test]
fn a_file_that_cannot_grow() {
    let lab = Lab::new();
    // 100 blocks of 512 or 1,024 bytes: enough for the settings, too little for a checkpoint.
    let limited = |arguments: &str| outcome(lab.shell("ulimit -f 100", arguments).output().unwrap());
    let training = "train --data data --run run --epochs 2 --batch-size 20 --learning-rate 0.05";
    let stopped = limited(training);
    lab.assert_failed(&stopped, &["run/checkpoints/step-", "cannot write the file: File too large", "--run"]);
    assert!(!lab.exists("run/weights.safetensors"));
    // With room again, the run is gone on with, and ends as one that was never in need.
    lab.succeeds(&format!("{training} --resume"));
    lab.classifier("other");
    assert_eq!(lab.read("run/weights.safetensors"), lab.read("other/weights.safetensors"));

    fs::write(lab.path("old.safetensors"), "old").unwrap();
    lab.assert_failed(&limited("export run --out old.safetensors"), &["old.safetensors", "File too large"]);
    assert_eq!(lab.read("old.safetensors"), b"old");
}

#[test]
fn a_run_directory_holds_one_run() {
    let lab = Lab::new();
    let training = "train --data data --batch-size 20 --run run";
    lab.succeeds(&format!("{training} --epochs 1"));
    let before = lab.read("run/weights.safetensors");
    lab.fails(&format!("{training} --epochs 1"), &["run: holds this run already", "--resume", "--run"]);
    for resume in ["", " --resume"] {
        let expected = ["run: holds a run with other settings", "epochs = 1 there, epochs = 2 here", "--run"];
        lab.fails(&format!("{training} --epochs 2{resume}"), &expected);
        lab.fails(&format!("pretrain --data data --run run{resume}"), &["run: holds a run with other settings"]);
        let reproduce = "reproduce --data data --set labels=20 --run run";
        lab.fails(reproduce, &["run: holds a run with other settings"]);
    }
    // A run that is over has nothing to go on with.
    assert_eq!(lab.succeeds(&format!("{training} --epochs 1 --resume")), "run\n");
    assert_eq!(lab.read("run/weights.safetensors"), before);
}

#[test]
fn a_checkpoint_that_was_tampered_with_is_named() {
    let lab = Lab::new();
    lab.write("run/checkpoints/step-00000004.safetensors", "no weights");
    let training = "train --data data --epochs 2 --run run --resume";
    lab.fails(training, &["run/checkpoints/step-00000004.safetensors", "neither a safetensors file"]);
    lab.simsiam("other");
    lab.succeeds("export other --out run/checkpoints/step-00000004.safetensors");
    lab.fails(training, &["run/checkpoints/step-00000004.safetensors", "not a checkpoint"]);
}
