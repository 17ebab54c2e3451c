//! Where a run is logged besides `metrics.jsonl`, and what the terminal is told.

use std::fs;

use crate::support::{Lab, files, outcome, viewers};

const TRAIN: &str = "train --data data --epochs 2 --batch-size 20 --learning-rate 0.05";
const KEY: &str = "0123456789abcdef0123456789abcdef01234567";

#[test]
fn a_run_is_logged_where_it_is_asked_for_and_stays_the_same() {
    let lab = Lab::new();
    lab.succeeds(&format!("{TRAIN} --run plain"));
    lab.succeeds(&format!("{TRAIN} --run run --track tensorboard,wandb,mlflow"));
    assert_eq!(lab.read("run/weights.safetensors"), lab.read("plain/weights.safetensors"));
    assert_eq!(lab.read("run/config.toml"), lab.read("plain/config.toml"));
    for folder in ["tensorboard", "wandb", "mlruns"] {
        assert!(lab.exists(&format!("run/{folder}")) && !lab.exists(&format!("plain/{folder}")), "{folder}");
    }
    let pictures = files(&lab.path("run")).into_iter().filter(|path| path.ends_with("artifacts/views.png")).count();
    assert_eq!(pictures, 1);
    // Where a run is logged is no setting of the run.
    assert_eq!(lab.succeeds(&format!("{TRAIN} --run run --resume --track mlflow --track-dir logs")), "run\n");
}

/// TensorBoard, W&B and MLflow themselves show what `metrics.jsonl` has. Needs `tests/viewers/venv` (see `read_run.py` there);
/// where it is missing, the test says so and does nothing.
#[test]
fn the_viewers_show_what_was_logged() {
    let Some(mut viewers) = viewers("read_run.py") else { return };
    let lab = Lab::new();
    let pretrain = "pretrain --data data --batch-size 50 --no-report --track tensorboard,wandb,mlflow";
    lab.succeeds(&format!("{pretrain} --epochs 3 --run run"));
    let read = outcome(viewers.arg(lab.path("run")).output().unwrap());
    assert_eq!(read.code, Some(0), "{}{}", read.stdout, read.stderr);
    for viewer in ["tensorboard", "tensorboard_server", "wandb", "mlflow"] {
        assert!(read.stdout.contains(&format!("{viewer}: {{")), "{}", read.stdout);
    }
}

#[test]
fn a_recipe_may_say_where() {
    let lab = Lab::new();
    lab.write("recipe.toml", "epochs = 1\n\n[tracking]\nsinks = [\"tensorboard\"]\nfolder = \"logs\"\n");
    lab.succeeds("train --data data --recipe recipe.toml --run some/run");
    assert!(lab.path("logs/tensorboard/some-run").is_dir() && !lab.exists("some/run/tensorboard"));
    assert!(!String::from_utf8(lab.read("some/run/config.toml")).unwrap().contains("tracking"));
    lab.write("recipe.toml", "[tracking]\nsinks = [\"paper\"]\n");
    lab.fails("train --data data --recipe recipe.toml --run other", &["recipe.toml: tracking: ", "paper"]);
}

#[test]
fn a_sink_that_cannot_be_written_stops_nothing() {
    let lab = Lab::new();
    lab.write("run/tensorboard", "a file");
    let outcome = lab.run(&format!("{TRAIN} --run run --track tensorboard,mlflow"));
    assert_eq!(outcome.code, Some(0), "{}", outcome.stderr);
    assert_eq!(outcome.stderr.matches("warning: tensorboard logs no more").count(), 1, "{}", outcome.stderr);
    assert!(lab.exists("run/weights.safetensors") && lab.exists("run/mlruns/1"));
}

#[test]
fn no_key_is_ever_logged() {
    let lab = Lab::new();
    lab.write("home/.netrc", "machine api.wandb.ai login user password another-secret-key\n");
    let arguments = format!("{TRAIN} --run run --track tensorboard,wandb,mlflow --data data/../data");
    let mut command = lab.command(&arguments.replace("--data data ", ""));
    // A folder named like the key puts it into the command line, too.
    command.args(["--track-dir", KEY]).env("WANDB_API_KEY", KEY).env_remove("NETRC");
    assert_eq!(outcome(command.output().unwrap()).code, Some(0));
    for file in files(&lab.path(KEY)).into_iter().chain(files(&lab.path("run"))) {
        let bytes = fs::read(&file).unwrap();
        for secret in [KEY, "another-secret-key"] {
            let is_there = bytes.windows(secret.len()).any(|part| part == secret.as_bytes());
            // MLflow's places of artifacts are the folder's own path.
            assert!(!is_there || file.ends_with("meta.yaml"), "{}", file.display());
        }
    }
}

#[test]
fn an_upload_that_cannot_be_leaves_the_run_and_says_so() {
    let lab = Lab::new();
    let asked = format!("{TRAIN} --track wandb --wandb-sync");
    let run = |name: &str, key: &str| {
        let mut command = lab.command(&format!("{asked} --run {name}"));
        // No program is found on an empty path.
        command.env("PATH", lab.path("nothing")).env("WANDB_API_KEY", key).env_remove("NETRC");
        let outcome = outcome(command.output().unwrap());
        assert_eq!(outcome.code, Some(0), "{}", outcome.stderr);
        assert!(lab.exists(&format!("{name}/weights.safetensors")));
        outcome.stderr
    };
    let message = run("anonymous", "");
    assert!(
        message.contains("not logged in to W&B") && message.contains("wandb sync anonymous/wandb/offline-run-"),
        "{message}"
    );
    let message = run("missing", KEY);
    assert!(message.contains("the program wandb is not installed") && !message.contains(KEY), "{message}");
}

#[cfg(unix)]
#[test]
fn a_finished_run_is_sent_by_the_program_wandb() {
    use std::os::unix::fs::PermissionsExt;
    let lab = Lab::new();
    lab.write("bin/wandb", "#!/bin/sh\necho \"$@\" > sent\necho \"refused for $WANDB_API_KEY\"\nexit ${REFUSE:-0}\n");
    fs::set_permissions(lab.path("bin/wandb"), fs::Permissions::from_mode(0o755)).unwrap();
    let run = |name: &str, refuse: &str| {
        let mut command = lab.command(&format!("{TRAIN} --track wandb --wandb-sync --run {name}"));
        let path = format!("{}:{}", lab.path("bin").display(), std::env::var("PATH").unwrap());
        let outcome =
            outcome(command.env("PATH", path).env("WANDB_API_KEY", KEY).env("REFUSE", refuse).output().unwrap());
        assert_eq!(outcome.code, Some(0), "{}", outcome.stderr);
        outcome.stderr
    };
    assert!(run("run", "0").contains("sent to W&B: run/wandb/offline-run-"));
    assert!(String::from_utf8(lab.read("sent")).unwrap().starts_with("sync run/wandb/offline-run-"));
    let message = run("other", "1");
    assert!(
        message.contains("wandb sync failed") && message.contains("refused for ***") && !message.contains(KEY),
        "{message}"
    );
}

#[test]
fn the_terminal_is_told_as_much_as_is_asked_for() {
    let lab = Lab::new();
    let verbose = lab.run("train --data data --epochs 3 --run verbose --verbose").stderr;
    assert_eq!(verbose.matches("images_per_second").count(), 3, "{verbose}");
    let mut coloured = lab.command("pretrain --data data --epochs 12 --batch-size 50 --run coloured -v");
    let coloured = outcome(coloured.env("CLICOLOR_FORCE", "1").env_remove("NO_COLOR").output().unwrap()).stderr;
    assert!(!coloured.contains('\r'), "{coloured:?}");
    let outcome = lab.run("train --data data --epochs 1 --run plain --tui");
    assert_eq!(outcome.code, Some(0));
    assert!(
        outcome.stderr.contains("--tui needs a terminal") && !outcome.stderr.contains('\u{1b}'),
        "{}",
        outcome.stderr
    );
    assert_eq!(lab.run("train --run x --quiet --tui").code, Some(2));
    assert_eq!(lab.run("train --run x --track paper").code, Some(2));
}
