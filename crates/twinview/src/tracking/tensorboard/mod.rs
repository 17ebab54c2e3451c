//! TensorBoard: event files, and the embedding projector.
//!
//! The messages are those of TensorFlow's `event.proto`, `summary.proto`, `tensor.proto` and `projector_config.proto`.

mod projector;
mod record;

use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};

use self::projector::Projector;
use super::tracker::now;
use super::{Entry, Histogram, Picture, Sink, TrackedRun};
use crate::protobuf::Message;
use crate::{Error, Result};

/// What event files have in their names.
const EVENTS: &str = "events.out.tfevents.";

/// A folder for TensorBoard: `tensorboard --logdir FOLDER`.
pub struct TensorBoard {
    path: PathBuf,
    file: File,
    projector: Projector,
}

impl TensorBoard {
    /// Opens `folder` for `run`, which goes on after `step`.
    ///
    /// # Errors
    /// When the folder cannot be read or written.
    pub fn open(folder: &Path, run: &TrackedRun, step: u64) -> Result<Self> {
        fs::create_dir_all(folder).map_err(|error| Error::io(folder, "make the folder", error))?;
        let before = cut(folder, step)?;
        // Readers go through the files in the order of their names; the count keeps it when two share a second.
        let path = folder.join(format!("{EVENTS}{:010}.twinview.{before:04}", now() as u64));
        let failed = |error| Error::io(&path, "write the event file", error);
        let file = OpenOptions::new().append(true).create(true).open(&path).map_err(failed)?;
        let mut board = Self { path, file, projector: Projector::new(folder) };
        board.write(0, |event| event.bytes(3, "brain.Event:2"))?;
        if before > 0 {
            // Tells a TensorBoard that has been looking on to forget what is made again.
            board.write(step + 1, |event| event.message(7, Message::new().varint(1, 1)))?;
            return Ok(board);
        }
        let table = |rows: Vec<(&str, String)>| {
            rows.iter().fold("| | |\n| --- | --- |\n".to_owned(), |table, (name, text)| {
                table + &format!("| {name} | {text} |\n")
            })
        };
        let run_rows =
            vec![("run", run.name.clone()), ("training", run.label.clone()), ("command", format!("`{}`", run.command))];
        let settings = format!("```toml\n{}\n```", run.settings.trim_end());
        let values = Message::new();
        let values = values.message(1, text("run", &table(run_rows)));
        let values = values.message(1, text("settings", &settings));
        let values = values.message(1, text("environment", &table(run.environment.entries())));
        board.write(0, |event| event.message(5, values))?;
        Ok(board)
    }

    fn write(&mut self, step: u64, content: impl FnOnce(Message) -> Message) -> Result<()> {
        let event = content(Message::new().double(1, now()).varint(2, step));
        let written = self.file.write_all(&record::frame(&event.into_bytes()));
        written.map_err(|error| Error::io(&self.path, "write the event file", error))
    }
}

impl Sink for TensorBoard {
    fn log(&mut self, step: u64, entries: &[Entry]) -> Result<()> {
        let mut values = Message::new();
        for entry in entries {
            match entry {
                Entry::Update { loss, learning_rate } => {
                    values = values.message(1, scalar("update/loss", *loss));
                    values = values.message(1, scalar("update/learning_rate", *learning_rate));
                }
                Entry::Epoch(measured) => {
                    let measured = measured.iter().map(|&(name, value)| scalar(&format!("epoch/{name}"), value));
                    values = measured.fold(values, |values, value| values.message(1, value));
                }
                Entry::Picture { name, picture } => values = values.message(1, image(name, picture)),
                Entry::Histogram { name, histogram } => values = values.message(1, bars(name, histogram)),
                Entry::Embedding { name, features, labels, images } => {
                    self.projector.write(name, features, labels, images)?;
                }
            }
        }
        self.write(step, |event| event.message(5, values))
    }
}

fn scalar(tag: &str, value: f64) -> Message {
    Message::new().bytes(1, tag).float(2, value as f32)
}

fn image(tag: &str, picture: &Picture) -> Message {
    const RGB: u64 = 3;
    let image = Message::new().varint(1, picture.height.into()).varint(2, picture.width.into()).varint(3, RGB);
    Message::new().bytes(1, tag).message(4, image.bytes(4, &picture.png))
}

fn bars(tag: &str, histogram: &Histogram) -> Message {
    let Histogram { edges, counts, sum, sum_squares } = histogram;
    let (min, max) = (edges[0], edges[counts.len()]);
    let message = Message::new().double(1, min).double(2, max).double(3, histogram.count() as f64);
    let message = message.double(4, *sum).double(5, *sum_squares).doubles(6, edges[1..].iter().copied());
    Message::new().bytes(1, tag).message(5, message.doubles(7, counts.iter().map(|&count| count as f64)))
}

/// Text in Markdown: a tensor of one string, for the plugin `text`.
fn text(tag: &str, text: &str) -> Message {
    const STRING: u64 = 7;
    let metadata = Message::new().message(1, Message::new().bytes(1, "text"));
    let shape = Message::new().message(2, Message::new().varint(1, 1));
    let tensor = Message::new().varint(1, STRING).message(2, shape).bytes(8, text);
    Message::new().bytes(1, tag).message(9, metadata).message(8, tensor)
}

/// Takes out of the event files in `folder` what is behind `step`; gives how many files are left.
fn cut(folder: &Path, step: u64) -> Result<usize> {
    let failed = |path: &Path, error| Error::io(path, "shorten the event file", error);
    let mut left = 0;
    for entry in fs::read_dir(folder).map_err(|error| failed(folder, error))? {
        let path = entry.map_err(|error| failed(folder, error))?.path();
        if !path.file_name().is_some_and(|name| name.to_string_lossy().starts_with(EVENTS)) {
            continue;
        }
        // A training that begins anew says everything again.
        if step == 0 {
            fs::remove_file(&path).map_err(|error| failed(&path, error))?;
            continue;
        }
        let bytes = fs::read(&path).map_err(|error| failed(&path, error))?;
        let length = record::length_until(&bytes, step);
        if length < bytes.len() {
            let file = OpenOptions::new().write(true).open(&path).map_err(|error| failed(&path, error))?;
            file.set_len(length as u64).map_err(|error| failed(&path, error))?;
        }
        left += 1;
    }
    Ok(left)
}

/// Every event in an event file, with its step.
#[cfg(test)]
pub(super) fn steps_and_events(file: &[u8]) -> impl Iterator<Item = (u64, &[u8])> {
    use crate::protobuf::{Value, find};

    let step = |event| find(event, 2).and_then(Value::varint).unwrap_or(0);
    record::records(file).map(move |(event, _)| (step(event), event))
}
