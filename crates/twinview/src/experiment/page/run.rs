//! What lies in a run directory.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use serde_json::Value;

use crate::Result;
use crate::evaluation::{Advisor, Observation, Verdict};
use crate::experiment::stored::plan_of;
use crate::report::page::{Progress, Run, Series};
use crate::training::{Pretraining, RunDir};

/// Folders below a run directory that may hold trainings: `arms/ARM/LABELS/seed-I` is the deepest.
const DEEPEST: usize = 5;

/// A run directory, read.
pub(super) struct RunFiles {
    pub(super) path: PathBuf,
    /// The name of its folder.
    pub(super) name: String,
    /// The program that made it: `twinview 0.1.0`.
    pub(super) maker: String,
    pub(super) config: toml::Table,
    pub(super) run: Run,
    pub(super) progress: Progress,
}

impl RunFiles {
    /// Reads the settings and the metrics in `path`.
    ///
    /// # Errors
    /// When there is no run, or its settings cannot be read.
    pub(super) fn read(path: &Path) -> Result<Self> {
        let (maker, config) = RunDir::settings(path)?;
        let mut settings = Vec::new();
        flatten("", &toml::Value::Table(config.clone()), &mut settings);

        let log = path.join("metrics.jsonl");
        let (series, epoch) = series(&fs::read_to_string(&log).unwrap_or_default());
        let finished = ["weights.safetensors", "report.json"].iter().any(|file| path.join(file).is_file());
        let heard = fs::metadata(&log)
            .or_else(|_| fs::metadata(path.join("config.toml")))
            .and_then(|found| found.modified())
            .ok();
        let silent =
            heard.and_then(|heard| SystemTime::now().duration_since(heard).ok()).map(|silent| silent.as_secs());
        let progress =
            Progress { finished, epoch, epochs: epochs(&config), silent_seconds: silent.filter(|_| !finished) };
        let name = name_of(path);
        let run = Run { name: name.clone(), settings, series };
        Ok(Self { path: path.to_path_buf(), name, maker, config, run, progress })
    }

    /// A setting of text at the top of the settings.
    pub(super) fn text(&self, key: &str) -> Option<&str> {
        self.config.get(key)?.as_str()
    }

    /// The settings of its pretraining, if it is one.
    pub(super) fn pretraining(&self) -> Option<Pretraining> {
        plan_of(&self.config)
            .clone()
            .try_into()
            .ok()
            .filter(|_| self.run.series.iter().any(|series| series.name == "output_std"))
    }

    /// How a pretraining stands, and what the advisor says of it; `None` for other trainings.
    pub(super) fn health(&self) -> Option<(Verdict, String)> {
        let at = |name: &str, epoch: f64| {
            let series = self.run.series.iter().find(|series| series.name == name)?;
            series.points.iter().find(|point| point.0 == epoch).map(|point| point.1)
        };
        let spread = self.run.series.iter().find(|series| series.name == "output_std")?;
        let mut advisor = Advisor::new();
        for &(epoch, spread) in &spread.points {
            advisor.observe(Observation {
                epoch: epoch as u64,
                epochs: self.progress.epochs.unwrap_or(epoch as u64),
                loss: at("loss", epoch).unwrap_or(f64::NAN),
                output_std: Some(spread),
                effective_rank: at("effective_rank", epoch),
                alignment: at("alignment", epoch),
                uniformity: at("uniformity", epoch),
                knn_accuracy: at("knn_accuracy", epoch),
            });
        }
        let summary = advisor.summary()?;
        let mut letters = summary.chars();
        let first = letters.next()?.to_uppercase();
        Some((advisor.verdict(), format!("{first}{}.", letters.as_str())))
    }
}

/// What a folder is called: its last part, or all of a path that ends in dots.
pub(super) fn name_of(path: &Path) -> String {
    let whole = path.canonicalize().unwrap_or_else(|_| path.to_path_buf());
    whole.file_name().map_or_else(|| path.display().to_string(), |name| name.to_string_lossy().into_owned())
}

/// Settings as dotted keys.
fn flatten(prefix: &str, value: &toml::Value, into: &mut Vec<(String, String)>) {
    match value {
        toml::Value::Table(table) => {
            for (key, value) in table {
                let key = if prefix.is_empty() { key.clone() } else { format!("{prefix}.{key}") };
                flatten(&key, value, into);
            }
        }
        toml::Value::String(text) => into.push((prefix.to_owned(), text.clone())),
        other => into.push((prefix.to_owned(), other.to_string())),
    }
}

/// The epochs of a plan, where it stands in the settings of a training.
fn epochs(config: &toml::Table) -> Option<u64> {
    let epochs = |table: &toml::Table| table.get("epochs")?.as_integer()?.try_into().ok();
    let plan = |table: &toml::Table| table.get("plan")?.as_table().cloned();
    epochs(config).or_else(|| epochs(&plan(config)?)).or_else(|| epochs(&plan(&plan(config)?)?))
}

/// The measures of `metrics.jsonl`, in the order in which they appear, and the last epoch. A line that is not whole,
/// because it is just being written, is passed by.
fn series(text: &str) -> (Vec<Series>, u64) {
    let mut found: Vec<Series> = Vec::new();
    let mut last = 0.0;
    for line in text.lines() {
        let Ok(Value::Object(values)) = serde_json::from_str(line) else { continue };
        let number = |name: &str| values.get(name).and_then(Value::as_f64);
        let Some(epoch) = number("epoch").or_else(|| number("step")) else { continue };
        last = epoch;
        for (name, value) in &values {
            let Some(value) = value.as_f64().filter(|_| name != "step" && name != "epoch") else { continue };
            match found.iter_mut().find(|series| series.name == *name) {
                Some(series) => series.points.push((epoch, value)),
                None => found.push(Series { name: name.clone(), points: vec![(epoch, value)] }),
            }
        }
    }
    (found, last as u64)
}

/// The trainings below `root`, those that wrote last first, by their path below it.
pub(super) fn trainings(root: &Path) -> Vec<(String, PathBuf)> {
    fn walk(folder: &Path, depth: usize, into: &mut Vec<(SystemTime, PathBuf)>) {
        let entries = fs::read_dir(folder).into_iter().flatten().flatten();
        for entry in entries.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir())) {
            let folder = entry.path();
            let written = fs::metadata(folder.join("metrics.jsonl")).and_then(|found| found.modified());
            into.extend(written.ok().map(|written| (written, folder.clone())));
            if depth < DEEPEST {
                walk(&folder, depth + 1, into);
            }
        }
    }
    let mut found = Vec::new();
    walk(root, 1, &mut found);
    found.sort_by(|one, other| other.cmp(one));
    let name = |path: &Path| path.strip_prefix(root).unwrap_or(path).display().to_string();
    found.into_iter().map(|(_, path)| (name(&path), path)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn metrics_become_series_and_half_a_line_is_passed_by() {
        let text = "{\"step\":2,\"epoch\":1,\"loss\":0.5}\n{\"step\":4,\"epoch\":2,\"loss\":null,\"knn_accuracy\":0.7}\n{\"step\":6,\"epo";
        let (found, last) = series(text);
        assert_eq!(last, 2);
        let expected = [("loss", vec![(1.0, 0.5)]), ("knn_accuracy", vec![(2.0, 0.7)])];
        assert_eq!(found, expected.map(|(name, points)| Series { name: name.into(), points }));
    }

    #[test]
    fn settings_are_dotted_and_epochs_are_found_at_any_depth() {
        for (text, expected) in
            [("epochs = 3", 3), ("[plan]\nepochs = 4", 4), ("[plan.plan]\nepochs = 5\nname = \"a\"", 5)]
        {
            let config: toml::Table = toml::from_str(text).unwrap();
            assert_eq!(epochs(&config), Some(expected), "{text}");
            let mut settings = Vec::new();
            flatten("", &toml::Value::Table(config), &mut settings);
            assert!(settings.iter().any(|(key, value)| key.ends_with("epochs") && *value == expected.to_string()));
        }
    }

    #[test]
    fn what_is_no_run_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let message = RunFiles::read(folder.path()).err().unwrap().to_string();
        assert!(message.contains("no run directory") && message.contains("--run"), "{message}");
        fs::write(folder.path().join("config.toml"), "a = ").unwrap();
        let message = RunFiles::read(folder.path()).err().unwrap().to_string();
        assert!(message.contains("config.toml") && message.contains("not the settings"), "{message}");
    }
}
