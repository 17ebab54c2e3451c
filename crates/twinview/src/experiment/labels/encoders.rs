//! Encoders that were pretrained before the experiment.

use std::fs;
use std::path::{Path, PathBuf};

use crate::experiment::stored::plan_of;
use crate::files;
use crate::training::{Origin, Pretraining, RunDir, open_weights};
use crate::{Error, Result};

/// A finished pretraining.
struct Finished<'a> {
    run: &'a Path,
    /// The version of the program that made it.
    version: String,
    settings: Pretraining,
}

impl<'a> Finished<'a> {
    fn read(run: &'a Path) -> Result<Self> {
        let (maker, settings) = RunDir::settings(run)?;
        let table = plan_of(&settings);
        if !table.contains_key("method") {
            return Err(Error::format(run, "no pretraining. Name the folder that was given to pretrain as --run"));
        }
        if !RunDir::is_finished_at(run) {
            return Err(Error::format(run, "a pretraining that is not over. Finish it with --resume"));
        }
        let unknown = |error: toml::de::Error| {
            Error::format(run, format!("settings that this version does not know: {}", error.message()))
        };
        let version = maker.strip_prefix("twinview ").unwrap_or(&maker).to_owned();
        Ok(Self { run, version, settings: table.clone().try_into().map_err(unknown)? })
    }
}

/// The pretrainings in the run directories `runs`, by their seeds.
fn finished(runs: &[PathBuf]) -> Result<Vec<Finished<'_>>> {
    let mut found = runs.iter().map(|run| Finished::read(run)).collect::<Result<Vec<_>>>()?;
    found.sort_by_key(|one| one.settings.plan.seed);
    for pair in found.windows(2) {
        let [one, next] = [&pair[0], &pair[1]];
        let (seed, other) = (one.settings.plan.seed, next.settings.plan.seed);
        if next.settings.clone().with_seed(seed) != one.settings {
            let other = one.run.display();
            let message =
                format!("was not pretrained as {other} was: more than the seed differs. Give runs that are alike");
            return Err(Error::format(next.run, message));
        }
        if other != seed + 1 {
            let message = format!(
                "pretrained with seed {other}, and {} with seed {seed}: give runs whose seeds follow one another",
                one.run.display()
            );
            return Err(Error::format(next.run, message));
        }
    }
    Ok(found)
}

/// How the encoders in the run directories `runs` were pretrained: the settings that they share, with the least of their seeds.
///
/// # Errors
/// When one of them is no finished pretraining, when more than their seeds differ, and when those do not follow one another.
pub fn pretraining_of(runs: &[PathBuf]) -> Result<Pretraining> {
    let first = finished(runs)?.into_iter().next();
    first.map(|first| first.settings).ok_or_else(|| Error::Config("no run of an encoder; name at least one".into()))
}

/// The dataset that the encoder in `run` was trained on, where its weights say so.
///
/// # Errors
/// When there are no weights.
pub fn trained_on(run: &Path) -> Result<Option<String>> {
    Ok(open_weights(run)?.metadata.remove("dataset"))
}

/// Copies the pretrainings in `runs` to where an experiment in `root` would have made them, so that it needs `runs` no more.
///
/// # Errors
/// As [`pretraining_of`], and for files that cannot be read or written.
pub(super) fn take_over(runs: &[PathBuf], root: &RunDir, origin: &Origin) -> Result<()> {
    for (index, one) in finished(runs)?.into_iter().enumerate() {
        let origin = Origin { version: one.version, ..origin.clone() };
        let copy = RunDir::open(root.join(format!("pretraining/seed-{index}")), &one.settings, true, &origin)?;
        if !copy.is_finished() {
            // The weights come last: with them the run is over.
            for name in ["metrics.jsonl", "weights.safetensors"] {
                let file = one.run.join(name);
                let bytes = fs::read(&file).map_err(|error| Error::io(&file, "read the encoder's run", error))?;
                files::write_atomic(copy.join(name), &bytes)?;
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::training::Plan;

    fn origin() -> Origin {
        Origin { version: "1".into(), dataset: "shapes".into(), classes: Vec::new() }
    }

    fn run(folder: PathBuf, settings: &impl serde::Serialize, finished: bool) -> PathBuf {
        let run = RunDir::open(&folder, settings, false, &origin()).unwrap();
        fs::write(run.join("metrics.jsonl"), "{}\n").unwrap();
        if finished {
            run.finish(&Default::default()).unwrap();
        }
        folder
    }

    fn pretraining(epochs: u64, seed: u64) -> Pretraining {
        let text = format!("epochs = {epochs}\nbatch_size = 8\nlearning_rate = 0.1\nseed = {seed}");
        toml::from_str(&text).unwrap()
    }

    #[test]
    fn encoders_are_alike_and_their_seeds_follow_one_another() {
        #[derive(serde::Serialize)]
        struct Alone {
            command: &'static str,
            plan: Pretraining,
        }
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        let below_an_experiment = run(path("six"), &pretraining(2, 6), true);
        let alone = run(path("five"), &Alone { command: "pretrain simsiam", plan: pretraining(2, 5) }, true);
        let both = [below_an_experiment.clone(), alone.clone()];
        assert_eq!(pretraining_of(&both).unwrap(), pretraining(2, 5));

        let root = RunDir::open(path("root"), &Plan::new(2, 8, 0.1), false, &origin()).unwrap();
        take_over(&both, &root, &Origin { version: "2".into(), ..origin() }).unwrap();
        for (index, run) in [alone, below_an_experiment.clone()].iter().enumerate() {
            let copy = root.join(format!("pretraining/seed-{index}"));
            for file in ["weights.safetensors", "metrics.jsonl"] {
                assert!(fs::read(copy.join(file)).unwrap() == fs::read(run.join(file)).unwrap());
            }
            let (maker, settings) = RunDir::settings(&copy).unwrap();
            assert_eq!((maker.as_str(), settings["seed"].as_integer()), ("twinview 1", Some(5 + index as i64)));
        }

        for (other, expected) in [
            (run(path("longer"), &pretraining(3, 7), true), "more than the seed differs"),
            (run(path("eight"), &pretraining(2, 8), true), "follow one another"),
            (run(path("again"), &pretraining(2, 6), true), "follow one another"),
            (run(path("supervised"), &Plan::new(2, 8, 0.1), true), "no pretraining"),
            (run(path("under way"), &pretraining(2, 7), false), "not over"),
            (path("missing"), "no run directory"),
        ] {
            let message = pretraining_of(&[below_an_experiment.clone(), other]).unwrap_err().to_string();
            assert!(message.contains(expected), "{message}");
        }
    }
}
