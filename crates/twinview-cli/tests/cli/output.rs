//! Results go to standard output, everything else to standard error, and either may be closed.

use crate::support::{Lab, outcome};

#[test]
fn progress_is_not_mixed_with_results() {
    let lab = Lab::new();
    let loud = lab.run("train --data data --run loud --epochs 1");
    assert_eq!(loud.stdout, "loud\n");
    assert!(
        loud.stderr.contains("Supervised training: ") && loud.stderr.contains("epoch 1/1, loss "),
        "{}",
        loud.stderr
    );
    // A log is no place for a bar's control characters.
    assert!(!loud.stderr.contains('\r') && !loud.stderr.contains('\u{1b}'), "{:?}", loud.stderr);
    let quiet = lab.run("train --data data --run quiet --epochs 1 --quiet");
    assert_eq!(quiet.stdout, "quiet\n");
    assert!(!quiet.stderr.contains("loss"), "{}", quiet.stderr);
    assert_eq!(lab.read("loud/weights.safetensors"), lab.read("quiet/weights.safetensors"));
}

/// As under `twinview ... | head -1`.
#[test]
fn a_reader_that_stops_early_is_no_error() {
    let lab = Lab::new();
    lab.classifier("run");
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let outcome = outcome(lab.command("evaluate --data data --weights run").stdout(writer).output().unwrap());
    assert_eq!(outcome.code, Some(0), "{}", outcome.stderr);
    assert!(!outcome.stderr.contains("panicked"), "{}", outcome.stderr);
}

/// As under `twinview ... 2>&1 | head -1`: the training is what counts.
#[test]
fn training_goes_on_when_nobody_reads_the_log() {
    let lab = Lab::new();
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let output = lab.command("train --data data --run run --epochs 1").stderr(writer).output().unwrap();
    assert_eq!(outcome(output).code, Some(0));
    assert!(lab.exists("run/weights.safetensors"));
}

#[cfg(target_os = "linux")]
#[test]
fn results_that_cannot_be_written_are_an_error() {
    let lab = Lab::new();
    lab.classifier("run");
    let full = std::fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
    let outcome = outcome(lab.command("evaluate --data data --weights run --json").stdout(full).output().unwrap());
    lab.assert_failed(&outcome, &["standard output: cannot write the result: No space left on device"]);
}
