//! The whole experiment, undisturbed and killed.

use std::path::PathBuf;
use std::process::Stdio;
use std::time::SystemTime;

use serde_json::Value;

use crate::interruption::{send, wait_until};
use crate::support::{Lab, files, outcome, png_size};

const ARMS: [&str; 5] = ["supervised", "scratch", "scratch-equal-updates", "random-frozen", "simsiam-frozen"];

fn command(run: &str) -> String {
    let settings = [
        "labels=40",
        "supervised.epochs=4",
        "scratch.epochs=4",
        "pretraining.epochs=6",
        "pretraining.batch_size=40",
        "pretraining.checkpoint_every=2",
        "head.plan.epochs=6",
    ]
    .map(|setting| format!(" --set {setting}"))
    .concat();
    format!("reproduce --data data --seeds 2 --run {run}{settings}")
}

/// The report without the command, which names the run directory.
fn report(lab: &Lab, run: &str) -> Value {
    let mut report: Value = serde_json::from_slice(&lab.read(&format!("{run}/report.json"))).unwrap();
    assert!(report.as_object_mut().unwrap().remove("command").is_some());
    report
}

fn figures(lab: &Lab, run: &str) -> Vec<(PathBuf, Vec<u8>)> {
    let folder = lab.path(run).join("figures");
    let relative = |path: &PathBuf| path.strip_prefix(&folder).unwrap().to_owned();
    files(&folder).iter().map(|path| (relative(path), std::fs::read(path).unwrap())).collect()
}

fn times(lab: &Lab, run: &str) -> Vec<(PathBuf, SystemTime)> {
    let paths = files(&lab.path(run)).into_iter();
    paths.map(|path| (path.clone(), path.metadata().unwrap().modified().unwrap())).collect()
}

#[test]
fn the_experiment_is_reported_in_full() {
    let lab = Lab::new();
    let text = lab.succeeds(&command("run"));
    for title in ["Supervised, all labels", "Scratch", "Scratch, equal updates", "Random frozen", "SimSiam frozen"] {
        assert!(text.lines().any(|line| line.starts_with(title) && line.contains('±')), "{title} in {text}");
    }
    assert!(text.contains("a head on the frozen SimSiam encoder reaches a macro F1 of"), "{text}");
    assert!(text.contains("Against the same head on an encoder of random weights"), "{text}");
    assert!(text.trim_end().ends_with("The report is run/report.md"), "{text}");

    let found = report(&lab, "run");
    let arms = found["arms"].as_array().unwrap();
    assert!(arms.iter().map(|arm| arm["arm"].as_str().unwrap()).eq(ARMS));
    for arm in arms {
        assert_eq!(arm["macro_f1"].as_array().unwrap().len(), 2);
        assert!(found["summary"][arm["arm"].as_str().unwrap()]["macro_f1"]["mean"].is_f64());
    }
    assert_eq!(arms[0]["labels"], 200);
    assert!(arms[1..].iter().all(|arm| arm["labels"] == 40));
    assert_eq!(arms[2]["updates"], arms[4]["updates"]);
    // The article's figures are for 1,000 labels of Fashion-MNIST.
    assert!(arms.iter().all(|arm| arm["published"].is_null()));
    assert_eq!(found["settings"]["pretraining"]["epochs"], 6);
    assert!(found["version"].is_string() && found["verdict"].as_str().unwrap().len() > 100);

    let markdown = String::from_utf8(lab.read("run/report.md")).unwrap();
    assert!(markdown.contains(found["verdict"].as_str().unwrap()));
    assert!(markdown.contains(&command("run")), "{markdown}");
    let figures = figures(&lab, "run");
    assert!(figures.len() >= 7);
    for (name, content) in figures {
        png_size(&content);
        assert!(markdown.contains(&format!("(figures/{})", name.display())), "{name:?}");
    }

    // Once more: nothing is trained, drawn or written again.
    let before = times(&lab, "run");
    let json: Value = serde_json::from_str(&lab.succeeds(&format!("{} --json", command("run")))).unwrap();
    assert_eq!(times(&lab, "run"), before);
    assert_eq!(json["arms"], found["arms"]);
}

#[test]
fn killed_and_run_again_it_ends_with_the_same_numbers() {
    let lab = Lab::new();
    lab.succeeds(&command("whole"));
    let mut killed = 0;
    for place in [
        "arms/supervised/seed-0/metrics.jsonl",
        "arms/supervised/seed-1/checkpoints",
        "arms/random-frozen/seed-0/config.toml",
        "pretraining/seed-0/checkpoints",
        "arms/simsiam-frozen/seed-1/weights.safetensors",
        "figures/confusion-simsiam.png",
    ] {
        let mut child = lab.command(&command("killed")).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        wait_until(&mut child, || lab.exists(&format!("killed/{place}")));
        child.kill().unwrap();
        killed += u32::from(child.wait().unwrap().code().is_none());
    }
    assert!(killed >= 4, "killed {killed} times only");
    assert!(!lab.exists("killed/report.json"));
    lab.succeeds(&command("killed"));
    assert_eq!(report(&lab, "killed"), report(&lab, "whole"));
    assert!(figures(&lab, "killed") == figures(&lab, "whole"));
}

#[test]
fn ctrl_c_says_to_run_the_same_command_again() {
    let lab = Lab::new();
    lab.succeeds(&command("whole"));
    let mut command = lab.command(&command("stopped"));
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    assert!(wait_until(&mut child, || lab.exists("stopped/pretraining/seed-0/checkpoints")));
    send(&child, "INT");
    let stopped = outcome(child.wait_with_output().unwrap());
    lab.assert_failed(&stopped, &["stopped after step", "To go on, run the same command again"]);
    assert_eq!(stopped.stdout, "");
    let again = outcome(command.output().unwrap());
    assert_eq!(again.code, Some(0), "{}", again.stderr);
    assert_eq!(report(&lab, "stopped"), report(&lab, "whole"));
}

#[test]
fn settings_are_judged_on_images_held_out() {
    let lab = Lab::new();
    let outcome = lab.run(&format!("{} --set holdout=60", command("run")));
    assert_eq!(outcome.code, Some(0), "{}", outcome.stderr);
    let found = report(&lab, "run");
    assert_eq!((&found["test_images"], &found["arms"][0]["labels"]), (&Value::from(60), &Value::from(140)));
    for (holdout, expected) in [(200, "1 to 199"), (180, "20 training images")] {
        lab.fails(&format!("{} --set holdout={holdout}", command("other")), &[expected]);
        assert!(!lab.exists("other"));
    }
}

#[test]
fn a_damaged_result_is_named_and_not_guessed() {
    let lab = Lab::new();
    lab.succeeds(&command("run"));
    lab.write("run/arms/scratch/seed-1/result.json", "{}");
    lab.fails(&command("run"), &["scratch/seed-1/result.json", "remove the file"]);
    std::fs::remove_file(lab.path("run/arms/scratch/seed-1/result.json")).unwrap();
    lab.succeeds(&command("run"));
}
