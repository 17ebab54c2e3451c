//! MLflow: its file store, a folder a run and a file a metric.

use std::collections::BTreeMap;
use std::fs::{self, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};

use serde_json::json;

use super::tracker::now;
use super::{Ending, Entry, Sink, TrackedRun};
use crate::{Error, Result, files};

/// The experiment that runs are found under. The store knows it by its folder, whose name must be a number.
const EXPERIMENT: &str = "twinview";
const EXPERIMENT_ID: &str = "1";
/// MLflow refuses longer settings.
const LONGEST: usize = 6000;

/// A run in a file store: `mlflow server --backend-store-uri FOLDER`.
pub struct MlFlow {
    folder: PathBuf,
    id: String,
    name: String,
    started: f64,
}

/// How a run stands, in MLflow's numbers.
const RUNNING: u8 = 1;
const FINISHED: u8 = 3;
const FAILED: u8 = 4;
const KILLED: u8 = 5;

impl MlFlow {
    /// Opens the run's folder in the file store `store`, for a run that goes on after `step`.
    ///
    /// # Errors
    /// When the folder cannot be read or written.
    pub fn open(store: &Path, run: &TrackedRun, step: u64) -> Result<Self> {
        fs::create_dir_all(store).map_err(|error| Error::io(store, "make the folder", error))?;
        // Artifacts are found by absolute paths.
        let store = store.canonicalize().map_err(|error| Error::io(store, "find the folder", error))?;
        let experiment = store.join(EXPERIMENT_ID);
        if !experiment.join("meta.yaml").is_file() {
            let time = milliseconds(run.started);
            let meta = BTreeMap::from([
                ("artifact_location", json!(experiment.display().to_string())),
                ("creation_time", json!(time)),
                ("experiment_id", json!(EXPERIMENT_ID)),
                ("last_update_time", json!(time)),
                ("lifecycle_stage", json!("active")),
                ("name", json!(EXPERIMENT)),
            ]);
            write_yaml(&experiment, &meta)?;
        }
        let folder = experiment.join(&run.id);
        let sink = Self { folder, id: run.id.clone(), name: run.name.clone(), started: run.started };
        let is_new = !sink.folder.join("meta.yaml").is_file();
        for name in ["metrics", "params", "tags", "artifacts"] {
            let part = sink.folder.join(name);
            fs::create_dir_all(&part).map_err(|error| Error::io(&part, "make the folder", error))?;
        }
        sink.meta(RUNNING, None)?;
        cut(&sink.folder.join("metrics"), step)?;
        if is_new {
            sink.describe(run)?;
        }
        Ok(sink)
    }

    fn describe(&self, run: &TrackedRun) -> Result<()> {
        let settings = toml::from_str::<toml::Table>(&run.settings).unwrap_or_default();
        let mut flat = Vec::new();
        flatten("", &toml::Value::Table(settings), &mut flat);
        for (key, value) in flat {
            let mut value = value;
            while value.len() > LONGEST {
                value.pop();
            }
            self.write("params", &key, &value)?;
        }
        let mut tags = vec![("training", run.label.clone()), ("command", run.command.clone())];
        tags.extend(run.environment.entries());
        tags.extend([("mlflow.runName", run.name.clone()), ("mlflow.source.name", "twinview".into())]);
        tags.extend([("mlflow.source.type", "LOCAL".into())]);
        tags.extend(run.environment.commit.clone().map(|commit| ("mlflow.source.git.commit", commit)));
        for (key, value) in tags {
            self.write("tags", key, &value)?;
        }
        self.write("artifacts", "settings.toml", &run.settings)
    }

    fn write(&self, kind: &str, key: &str, value: impl AsRef<[u8]>) -> Result<()> {
        files::write_atomic(self.folder.join(kind).join(key), value.as_ref())
    }

    fn meta(&self, status: u8, ended: Option<f64>) -> Result<()> {
        let meta = BTreeMap::from([
            ("artifact_uri", json!(self.folder.join("artifacts").display().to_string())),
            ("end_time", json!(ended.map(milliseconds))),
            ("entry_point_name", json!("")),
            ("experiment_id", json!(EXPERIMENT_ID)),
            ("lifecycle_stage", json!("active")),
            ("run_id", json!(self.id)),
            ("run_name", json!(self.name)),
            ("run_uuid", json!(self.id)),
            ("source_name", json!("")),
            ("source_type", json!(4)),
            ("source_version", json!("")),
            ("start_time", json!(milliseconds(self.started))),
            ("status", json!(status)),
            ("tags", json!([])),
            ("user_id", json!("")),
        ]);
        write_yaml(&self.folder, &meta)
    }

    fn metric(&self, key: &str, value: f64, step: u64) -> Result<()> {
        let path = self.folder.join("metrics").join(key);
        let failed = |error| Error::io(&path, "append to the metric", error);
        let mut options = OpenOptions::new();
        options.append(true).create(true);
        let file = options.open(&path).or_else(|_| {
            path.parent().map_or(Ok(()), fs::create_dir_all)?;
            options.open(&path)
        });
        // Python reads `NaN` and `inf`, as Rust writes them.
        let line = format!("{} {value} {step}\n", milliseconds(now()));
        file.and_then(|mut file| file.write_all(line.as_bytes())).map_err(failed)
    }
}

impl Sink for MlFlow {
    fn log(&mut self, step: u64, entries: &[Entry]) -> Result<()> {
        for entry in entries {
            match entry {
                Entry::Update { loss, learning_rate } => {
                    self.metric("update/loss", *loss, step)?;
                    self.metric("update/learning_rate", *learning_rate, step)?;
                }
                Entry::Epoch(measured) => {
                    let mut measured = measured.iter();
                    measured.try_for_each(|&(name, value)| self.metric(&format!("epoch/{name}"), value, step))?;
                }
                Entry::Picture { name, picture } => self.write("artifacts", &format!("{name}.png"), &picture.png)?,
                // MLflow has no place for these.
                Entry::Histogram { .. } | Entry::Embedding { .. } => {}
            }
        }
        Ok(())
    }

    fn finish(&mut self, ending: Ending) -> Result<Option<String>> {
        let status = match ending {
            Ending::Finished => FINISHED,
            Ending::Stopped => KILLED,
            Ending::Failed => FAILED,
        };
        self.meta(status, Some(now())).map(|()| None)
    }
}

fn milliseconds(seconds: f64) -> u64 {
    (seconds * 1e3) as u64
}

/// Writes `meta.yaml`: JSON is YAML too, for whatever a string may hold.
fn write_yaml(folder: &Path, meta: &BTreeMap<&str, serde_json::Value>) -> Result<()> {
    let text: String = meta.iter().map(|(key, value)| format!("{key}: {value}\n")).collect();
    files::write_atomic(folder.join("meta.yaml"), text.as_bytes())
}

/// `value` as keys with dots, each with what is no table.
fn flatten(prefix: &str, value: &toml::Value, flat: &mut Vec<(String, String)>) {
    match value {
        toml::Value::Table(table) => {
            for (key, value) in table {
                let key = if prefix.is_empty() { key.clone() } else { format!("{prefix}.{key}") };
                flatten(&key, value, flat);
            }
        }
        toml::Value::String(text) => flat.push((prefix.to_owned(), text.clone())),
        value => flat.push((prefix.to_owned(), value.to_string())),
    }
}

/// Takes out of the metrics in `folder` and below what is behind `step`, and a line that a crash cut short.
fn cut(folder: &Path, step: u64) -> Result<()> {
    let failed = |path: &Path, error| Error::io(path, "shorten the metric", error);
    for entry in fs::read_dir(folder).map_err(|error| failed(folder, error))? {
        let path = entry.map_err(|error| failed(folder, error))?.path();
        if path.is_dir() {
            cut(&path, step)?;
            continue;
        }
        let text = fs::read_to_string(&path).map_err(|error| failed(&path, error))?;
        let step_of = |line: &str| line.strip_suffix('\n')?.rsplit(' ').next()?.parse::<u64>().ok();
        // A training that begins anew says everything again.
        let is_kept = |line: &&str| step_of(line).is_some_and(|at| at <= step && step > 0);
        let kept: String = text.split_inclusive('\n').filter(is_kept).collect();
        if kept.is_empty() {
            fs::remove_file(&path).map_err(|error| failed(&path, error))?;
        } else if kept.len() < text.len() {
            files::write_atomic(&path, kept.as_bytes())?;
        }
    }
    Ok(())
}
