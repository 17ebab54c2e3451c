//! Ctrl-C, a kill at any moment, and other numbers of threads: the weights are the same to the last bit.

use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::support::{Lab, Outcome, outcome};

/// Long enough that a machine of any speed is stopped before the end.
const EPOCHS: u64 = 12;

fn trainings() -> [(&'static str, String); 6] {
    let with = |command: &str| format!("{command} --data data --set checkpoint_every=3 --epochs {EPOCHS}");
    let head = |statistics: &str| {
        let settings = format!("--set plan.checkpoint_every=3 --set statistics={statistics}");
        format!("probe --data data --weights encoder {settings} --epochs {EPOCHS} --batch-size 5")
    };
    [
        ("train", with("train --batch-size 20")),
        ("pretrain", with("pretrain --batch-size 40")),
        // A queue and a momentum encoder; a teacher, its center, and local views.
        ("pretrain-moco", with("pretrain --method mocov2 --batch-size 40 --set method.memory=100")),
        ("pretrain-dino", with("pretrain --method dino --batch-size 40 --set local_views.count=1")),
        ("probe-fixed", head("fixed")),
        ("probe-updating", head("updating")),
    ]
}

fn start(lab: &Lab, arguments: &str) -> Child {
    lab.command(arguments).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
}

/// Waits until `run` has logged `lines` epochs; false when the program is over before.
fn wait_for_epochs(lab: &Lab, child: &mut Child, run: &str, lines: usize) -> bool {
    wait_until(child, || epochs(lab, run).len() >= lines)
}

pub(crate) fn wait_until(child: &mut Child, reached: impl Fn() -> bool) -> bool {
    let deadline = Instant::now() + Duration::from_secs(120);
    while !reached() {
        if child.try_wait().unwrap().is_some() {
            return false;
        }
        assert!(Instant::now() < deadline, "nothing happens");
        std::thread::sleep(Duration::from_millis(2));
    }
    true
}

pub(crate) fn send(child: &Child, signal: &str) {
    let command = format!("kill -{signal} {}", child.id());
    assert!(Command::new("sh").args(["-c", &command]).status().unwrap().success());
}

/// The epochs in the metrics of `run`, with their losses.
fn epochs(lab: &Lab, run: &str) -> Vec<(u64, f64)> {
    let text = std::fs::read_to_string(lab.path(run).join("metrics.jsonl")).unwrap_or_default();
    let point = |line: &str| {
        let value: Value = serde_json::from_str(line).ok()?;
        Some((value["epoch"].as_f64()? as u64, value["loss"].as_f64()?))
    };
    text.lines().filter_map(point).collect()
}

#[track_caller]
fn assert_same_run(lab: &Lab, expected: &str, found: &str) {
    assert!(lab.read(&format!("{found}/weights.safetensors")) == lab.read(&format!("{expected}/weights.safetensors")));
    assert_eq!(epochs(lab, found), epochs(lab, expected));
    assert!(epochs(lab, found).iter().map(|(epoch, _)| *epoch).eq(1..=EPOCHS));
}

#[test]
fn a_killed_run_resumes_to_the_same_bits() {
    let lab = Lab::new();
    lab.simsiam("encoder");
    for (name, training) in trainings() {
        lab.succeeds(&format!("{training} --run {name}"));
        let killed = format!("{name}-killed");
        let command = format!("{training} --run {killed} --resume");
        // Before the first epoch, between two checkpoints, and some time after one.
        let mut stopped = 0;
        for (lines, delay) in [(0, 15), (1, 0), (4, 1), (7, 5)] {
            let mut child = start(&lab, &command);
            if wait_for_epochs(&lab, &mut child, &killed, lines) {
                std::thread::sleep(Duration::from_millis(delay));
            }
            child.kill().unwrap();
            let over = lab.exists(&format!("{killed}/weights.safetensors"));
            stopped += u32::from(!over && child.wait().unwrap().code().is_none());
        }
        assert!(stopped >= 2, "{name} was hardly ever stopped");
        lab.succeeds(&command);
        assert_same_run(&lab, name, &killed);
    }
}

/// Ends `child` as Ctrl-C does.
fn interrupted(mut child: Child, wait: impl Fn(&mut Child) -> bool) -> Outcome {
    assert!(wait(&mut child), "the program was over too soon");
    send(&child, "INT");
    let begun = Instant::now();
    let outcome = outcome(child.wait_with_output().unwrap());
    assert!(begun.elapsed() < Duration::from_secs(30));
    outcome
}

#[test]
fn ctrl_c_saves_and_says_how_to_go_on() {
    let lab = Lab::new();
    lab.simsiam("encoder");
    for (name, training) in trainings() {
        lab.succeeds(&format!("{training} --run {name}"));
        let run = format!("{name}-stopped");
        let command = format!("{training} --run {run}");
        let outcome = interrupted(start(&lab, &command), |child| wait_for_epochs(&lab, child, &run, 1));
        let advice = format!("To go on, run: twinview {command} --resume");
        lab.assert_failed(&outcome, &["stopped after step", &format!("saved in {run}"), &advice]);
        assert_eq!(outcome.stdout, "");
        assert!(!lab.exists(&format!("{run}/weights.safetensors")));
        lab.succeeds(&format!("{command} --resume"));
        assert_same_run(&lab, name, &run);
    }
}

/// A training whose steps, of 6,000 images, last long enough for two signals.
const SLOW: &str = "pretrain --dataset shapes --batch-size 6000 --epochs 3 --run run";

fn slow_training(lab: &Lab) -> Child {
    let mut child = start(lab, SLOW);
    assert!(wait_until(&mut child, || lab.exists("run/metrics.jsonl")));
    child
}

#[test]
fn two_processes_cannot_share_a_run() {
    let lab = Lab::new();
    let mut child = slow_training(&lab);
    lab.fails(&format!("{SLOW} --resume"), &["run: another process is at work on this run", "--run"]);
    child.kill().unwrap();
    child.wait().unwrap();
}

#[test]
fn a_second_ctrl_c_ends_at_once() {
    let lab = Lab::new();
    let child = slow_training(&lab);
    send(&child, "INT");
    std::thread::sleep(Duration::from_millis(20));
    send(&child, "INT");
    let code = outcome(child.wait_with_output().unwrap()).code;
    assert_eq!(code, Some(130));
}

#[test]
fn a_second_sigterm_loses_nothing() {
    let lab = Lab::new();
    let child = slow_training(&lab);
    // As `timeout` does.
    send(&child, "TERM");
    send(&child, "TERM");
    let outcome = outcome(child.wait_with_output().unwrap());
    assert_eq!(outcome.code, Some(1));
    assert!(outcome.stderr.contains("all of it is saved in run"), "{}", outcome.stderr);
}

#[test]
fn an_unfinished_run_serves_where_its_checkpoint_is_whole() {
    let lab = Lab::new();
    lab.simsiam("encoder");
    for (name, training) in trainings() {
        let command = format!("{training} --run {name}");
        interrupted(start(&lab, &command), |child| wait_for_epochs(&lab, child, name, 1));
        let evaluate = format!("evaluate --data data --weights {name}");
        match name {
            "probe-fixed" => drop(lab.fails(&evaluate, &["training is not over", "--resume"])),
            _ if name.starts_with("pretrain") => {
                drop(lab.fails(&evaluate, &["checkpoints/", "no classifier head"]));
            }
            _ => assert!(lab.succeeds(&evaluate).contains("macro avg")),
        }
    }
}

#[test]
fn the_number_of_threads_changes_nothing() {
    let lab = Lab::new();
    lab.simsiam("encoder");
    for (name, training) in trainings() {
        for threads in [1, 2, 4] {
            let training = training.replace(&format!("--epochs {EPOCHS}"), "--epochs 2");
            let mut command = lab.command(&format!("{training} --run {name}-{threads}"));
            let outcome = outcome(command.env("RAYON_NUM_THREADS", threads.to_string()).output().unwrap());
            assert_eq!(outcome.code, Some(0), "{}", outcome.stderr);
        }
        let weights = [1, 2, 4].map(|threads| lab.read(&format!("{name}-{threads}/weights.safetensors")));
        assert!(weights[0] == weights[1] && weights[0] == weights[2], "{name}");
    }
}

#[test]
fn what_a_killed_process_left_half_written_is_removed() {
    let lab = Lab::new();
    let training = "train --data data --epochs 1 --run run --resume";
    lab.write("run/.partial-x1", "half");
    lab.write("run/checkpoints/.partial-x2", "half");
    lab.write("run/notes.txt", "mine");
    lab.succeeds(training);
    assert!(lab.exists("run/notes.txt"));
}
