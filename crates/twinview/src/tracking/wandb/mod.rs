//! Weights & Biases: the folder of an offline run, which `wandb sync` sends.
//!
//! The records are those of W&B's `wandb_internal.proto`, as written by its own package, version 0.31.

mod log;
mod upload;

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};

use serde_json::{Value as Json, json};
use sha2::{Digest, Sha256};

use super::tracker::now;
use super::{Ending, Entry, Sink, TrackedRun};
use crate::protobuf::{Message, Value, find};
use crate::{Error, Result, files};

/// Fields of `Record`.
const HISTORY: u32 = 2;
const SUMMARY: u32 = 3;
const FILES: u32 = 6;
const RUN: u32 = 17;
const EXIT: u32 = 18;
const VERSION: u32 = 21;
const ENVIRONMENT: u32 = 26;

/// What runs are found under.
const PROJECT: &str = "twinview";

/// The folder of an offline run.
pub struct WandB {
    folder: PathBuf,
    path: PathBuf,
    file: File,
    /// Bytes and records in the file.
    length: usize,
    records: u64,
    started: f64,
    /// The last value of every curve.
    summary: BTreeMap<String, Json>,
    upload: bool,
}

impl WandB {
    /// Opens the run's folder in `parent`, for a run that goes on after `step`. With `upload`, it is sent when the training
    /// is over.
    ///
    /// # Errors
    /// When the folder cannot be read or written.
    pub fn open(parent: &Path, run: &TrackedRun, step: u64, upload: bool) -> Result<Self> {
        let id = run.id.get(..12).unwrap_or(&run.id);
        let folder = parent.join(format!("offline-run-{}-{id}", timestamp(run.started as u64)));
        let path = folder.join(format!("run-{id}.wandb"));
        fs::create_dir_all(folder.join("files")).map_err(|error| Error::io(&folder, "make the folder", error))?;
        let failed = |error| Error::io(&path, "write the run file", error);
        let kept = if step == 0 { (0, 0) } else { kept(&fs::read(&path).unwrap_or_default(), step) };
        let file = OpenOptions::new().append(true).create(true).open(&path).map_err(failed)?;
        file.set_len(kept.0 as u64).map_err(failed)?;
        // What was sent already is sent again, or the rest would be passed over.
        let _ = fs::remove_file(path.with_added_extension("synced"));
        let (length, records) = kept;
        let mut sink =
            Self { folder, path, file, length, records, started: run.started, summary: BTreeMap::new(), upload };
        if length == 0 {
            sink.begin(run, id)?;
        }
        Ok(sink)
    }

    fn begin(&mut self, run: &TrackedRun, id: &str) -> Result<()> {
        self.append(&log::HEADER)?;
        let producer = format!("twinview {}", run.environment.version);
        self.record(VERSION, Message::new().message(1, Message::new().bytes(1, producer).bytes(2, "0.70.0")))?;
        let mut config: Vec<(String, Json)> = vec![("_wandb".into(), json!({})), ("training".into(), json!(run.label))];
        let settings = toml::from_str::<toml::Table>(&run.settings).unwrap_or_default();
        config.extend(settings.into_iter().map(|(key, value)| (key, json!(value))));
        config.push(("environment".into(), json!(BTreeMap::from_iter(run.environment.entries()))));
        let config = config.into_iter().fold(Message::new(), |message, (key, value)| {
            message.message(1, Message::new().bytes(1, key).bytes(16, value.to_string()))
        });
        let commit = run.environment.commit.as_ref().map(|commit| Message::new().bytes(2, commit));
        let time = || Message::new().varint(1, run.started as u64).varint(2, (run.started.fract() * 1e9) as u64);
        let message = Message::new().bytes(1, id).bytes(3, PROJECT).message(4, config).bytes(8, &run.name);
        let message = message.message(17, time());
        self.record(RUN, commit.clone().into_iter().fold(message, |message, commit| message.message(21, commit)))?;
        let threads = run.environment.threads as u64;
        let message = Message::new().bytes(1, &run.environment.os).message(3, time());
        let words = run.command.split_whitespace().skip(1);
        let message = words.fold(message, |message, word| message.bytes(5, word)).bytes(6, "twinview");
        let message = commit.into_iter().fold(message, |message, commit| message.message(9, commit));
        let cpu = Message::new().varint(2, threads).bytes(3, run.environment.cpu.as_deref().unwrap_or_default());
        // Environments of one writer are parts of one.
        self.record(ENVIRONMENT, message.varint(17, threads).message(22, cpu).bytes(199, &run.id))
    }

    fn record(&mut self, field: u32, content: Message) -> Result<()> {
        self.records += 1;
        let record = Message::new().varint(1, self.records).message(field, content).into_bytes();
        self.append(&log::frame(&record, self.length))
    }

    fn append(&mut self, bytes: &[u8]) -> Result<()> {
        self.file.write_all(bytes).map_err(|error| Error::io(&self.path, "write the run file", error))?;
        self.length += bytes.len();
        Ok(())
    }

    /// Puts a picture beside the run file; gives what stands for it in the history.
    fn picture(&mut self, step: u64, name: &str, png: &[u8], size: (u32, u32)) -> Result<Json> {
        let digest: String = Sha256::digest(png).iter().map(|byte| format!("{byte:02x}")).collect();
        let path = format!("media/images/{name}_{step}_{}.png", &digest[..20]);
        files::write_atomic(self.folder.join("files").join(&path), png)?;
        self.record(FILES, Message::new().message(1, Message::new().bytes(1, &path)))?;
        Ok(json!({ "_type": "image-file", "format": "png", "path": path, "sha256": digest, "size": png.len(),
                   "width": size.0, "height": size.1 }))
    }
}

impl Sink for WandB {
    fn log(&mut self, step: u64, entries: &[Entry]) -> Result<()> {
        let mut row: Vec<(String, Json)> = Vec::new();
        for entry in entries {
            match entry {
                Entry::Update { loss, learning_rate } => {
                    row.push(("update/loss".into(), number(*loss)));
                    row.push(("update/learning_rate".into(), number(*learning_rate)));
                }
                Entry::Epoch(measured) => {
                    row.extend(measured.iter().map(|&(name, value)| (format!("epoch/{name}"), number(value))));
                }
                Entry::Picture { name, picture } => {
                    let size = (picture.width, picture.height);
                    row.push((name.clone(), self.picture(step, name, &picture.png, size)?));
                }
                Entry::Histogram { name, histogram } => {
                    let bars = json!({ "_type": "histogram", "values": histogram.counts, "bins": histogram.edges });
                    row.push((name.clone(), bars));
                }
                Entry::Embedding { .. } => {}
            }
        }
        if row.is_empty() {
            return Ok(());
        }
        let curves = row.iter().filter(|(_, value)| !value.is_object());
        self.summary.extend(curves.map(|(name, value)| (name.clone(), value.clone())));
        let time = now();
        row.push(("_step".into(), json!(step)));
        row.push(("_timestamp".into(), number(time)));
        row.push(("_runtime".into(), number(time - self.started)));
        let row =
            row.into_iter().fold(Message::new(), |message, (name, value)| message.message(1, item(&name, &value)));
        self.record(HISTORY, row.message(2, Message::new().varint(1, step)))
    }

    fn finish(&mut self, ending: Ending) -> Result<Option<String>> {
        let runtime = (now() - self.started).max(0.0) as u64;
        let mut summary = std::mem::take(&mut self.summary);
        summary.insert("_runtime".into(), json!(runtime));
        let summary =
            summary.iter().fold(Message::new(), |message, (name, value)| message.message(1, item(name, value)));
        self.record(SUMMARY, summary)?;
        self.record(EXIT, Message::new().varint(1, u64::from(ending != Ending::Finished)).varint(2, runtime))?;
        if self.upload && ending == Ending::Finished { upload::send(&self.folder).map(Some) } else { Ok(None) }
    }
}

/// A value under a name that is one key, whatever is in it.
fn item(name: &str, value: &Json) -> Message {
    Message::new().bytes(2, name).bytes(16, value.to_string())
}

/// JSON has no word for what is no number; W&B's package writes these.
fn number(value: f64) -> Json {
    match value {
        _ if value.is_nan() => json!("NaN"),
        f64::INFINITY => json!("Infinity"),
        f64::NEG_INFINITY => json!("-Infinity"),
        _ => json!(value),
    }
}

/// How many bytes and records of a run file are about `step` and those before it, without the end of the run.
fn kept(file: &[u8], step: u64) -> (usize, u64) {
    let is_kept = |record: &[u8]| {
        let row = find(record, HISTORY).and_then(Value::bytes);
        let at = row.map(|row| find(row, 2).and_then(Value::bytes).and_then(|at| find(at, 1)?.varint()).unwrap_or(0));
        at.is_none_or(|at| at <= step) && find(record, SUMMARY).or(find(record, EXIT)).is_none()
    };
    let kept = log::records(file).take_while(|(record, _)| is_kept(record)).enumerate().last();
    kept.map_or((0, 0), |(number, (_, end))| (end, number as u64 + 1))
}

/// `seconds` since 1970 as `20261125_042639`, in universal time.
fn timestamp(seconds: u64) -> String {
    let (mut days, second) = (seconds / 86400, seconds % 86400);
    let is_leap = |year: u64| year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400));
    let mut year = 1970;
    while days >= 365 + u64::from(is_leap(year)) {
        days -= 365 + u64::from(is_leap(year));
        year += 1;
    }
    let mut month = 1;
    for length in [31, 28 + u64::from(is_leap(year)), 31, 30, 31, 30, 31, 31, 30, 31, 30, 31] {
        if days < length {
            break;
        }
        days -= length;
        month += 1;
    }
    format!("{year}{month:02}{:02}_{:02}{:02}{:02}", days + 1, second / 3600, second / 60 % 60, second % 60)
}

/// Every row of the history in a run file, with its step.
#[cfg(test)]
pub(super) fn steps_and_rows(file: &[u8]) -> impl Iterator<Item = (u64, Vec<u8>)> {
    log::records(file).filter_map(|(record, _)| {
        let row = find(&record, HISTORY)?.bytes()?;
        Some((find(row, 2)?.bytes().and_then(|at| find(at, 1)?.varint()).unwrap_or(0), row.to_vec()))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_dates() {
        for (seconds, expected) in [
            (0, "19700101_000000"),
            (951_782_399, "20000228_235959"),
            (951_868_799, "20000229_235959"),
            (1_798_761_599, "20261231_235959"),
            (1_795_580_799, "20261125_042639"),
        ] {
            assert_eq!(timestamp(seconds), expected);
        }
    }

    #[test]
    fn what_is_no_number_has_words() {
        assert_eq!([f64::NAN, f64::INFINITY, 1.5].map(number), [json!("NaN"), json!("Infinity"), json!(1.5)]);
    }
}
