//! `metrics.jsonl`: one JSON object a line, for whatever reads it later.

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};

use serde_json::{Map, Value};

use super::{Entry, Sink};
use crate::{Error, Result, files};

/// The metrics of one training, a line an epoch.
#[derive(Debug)]
pub struct MetricsLog {
    path: PathBuf,
}

impl MetricsLog {
    /// Opens the log at `path` for a training that goes on after `step`: later lines, and one that a crash
    /// cut short, are taken out, because those steps are made again.
    pub fn resume(path: impl AsRef<Path>, step: u64) -> Result<Self> {
        let path = path.as_ref().to_path_buf();
        let text = match fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => String::new(),
            Err(error) => return Err(Error::io(&path, "read the metrics", error)),
        };
        let is_kept = |line: &str| {
            let value: Option<Value> = serde_json::from_str(line).ok();
            value.and_then(|value| value.get("step")?.as_u64()).is_some_and(|at| at <= step)
        };
        let kept: String = text.lines().filter(|line| is_kept(line)).flat_map(|line| [line, "\n"]).collect();
        files::write_atomic(&path, kept.as_bytes())?;
        Ok(Self { path })
    }
}

impl Sink for MetricsLog {
    /// Appends a line for an epoch; values that are no numbers become `null`.
    fn log(&mut self, step: u64, entries: &[Entry]) -> Result<()> {
        let failed = |error| Error::io(&self.path, "append to the metrics", error);
        for entry in entries {
            let Entry::Epoch(values) = entry else { continue };
            let mut line = Map::from_iter([("step".to_owned(), Value::from(step))]);
            line.extend(values.iter().map(|&(name, value)| (name.to_owned(), Value::from(value))));
            let mut file = OpenOptions::new().append(true).create(true).open(&self.path).map_err(failed)?;
            file.write_all(format!("{}\n", Value::Object(line)).as_bytes()).map_err(failed)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn resuming_forgets_what_is_made_again() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("metrics.jsonl");
        let mut log = MetricsLog::resume(&path, 0).unwrap();
        for step in [10, 20, 30] {
            let update = Entry::Update { loss: 0.5, learning_rate: 0.1 };
            log.log(step, &[update, Entry::Epoch(vec![("loss", 0.5), ("odd", f64::NAN)])]).unwrap();
        }
        fs::OpenOptions::new().append(true).open(&path).unwrap().write_all(b"{\"step\":3").unwrap();
        let mut log = MetricsLog::resume(&path, 20).unwrap();
        log.log(25, &[Entry::Epoch(Vec::new())]).unwrap();
        let expected =
            "{\"step\":10,\"loss\":0.5,\"odd\":null}\n{\"step\":20,\"loss\":0.5,\"odd\":null}\n{\"step\":25}\n";
        assert_eq!(fs::read_to_string(&path).unwrap(), expected);
    }
}
