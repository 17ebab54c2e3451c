//! All sinks together: what they hold after a crash, what they never hold, and that none stops a training.

use std::fs;
use std::path::Path;

use super::*;
use crate::dataset::Images;
use crate::{Error, Result};

/// Remembers what it is told.
#[derive(Default)]
struct Listener(Vec<String>);

impl Reporter for Listener {
    fn start(&mut self, _label: &str, _steps: u64, _done: u64) {}
    fn step(&mut self, _images: usize, _loss: f64) {}
    fn epoch(&mut self, _news: &EpochNews<'_>) {}
    fn message(&mut self, text: &str) {
        self.0.push(text.to_owned());
    }
    fn finish(&mut self) {}
}

fn everywhere() -> Tracking {
    Tracking { sinks: SinkKind::ALL.to_vec(), command: "twinview train --run run".into(), ..Tracking::default() }
}

fn describe(folder: &Path) -> Result<TrackedRun> {
    let settings = "command = \"train\"\n\n[plan]\nepochs = 3\nnames = [\"a\"]\n";
    let run = TrackedRun::open(folder, "Training", settings, "1.2.3 (abc)", "twinview train --run run")?;
    // What differs from machine to machine and from run to run has no place in golden files.
    let environment = Environment { os: "an os".into(), cpu: Some("a cpu".into()), threads: 2, ..run.environment };
    Ok(TrackedRun { id: "0123456789abcdef0123456789abcdef".into(), started: 1_795_580_799.25, environment, ..run })
}

fn open(tracking: &Tracking, folder: &Path, step: u64, listener: &mut Listener) -> Tracker {
    Tracker::open(tracking, folder, (step, 6), || describe(folder), listener)
}

/// What a training tells at the end of each of its epochs, of two updates.
fn entries(step: u64) -> Vec<Entry> {
    let mut entries = vec![Entry::Update { loss: 1.0 / step as f64, learning_rate: 0.5 }];
    if step.is_multiple_of(2) {
        entries.push(Entry::Epoch(vec![("epoch", (step / 2) as f64), ("loss", 2.0 / step as f64)]));
        let histogram = Histogram::of(&[0.0, 1.0, 1.0, 4.0]).unwrap();
        entries.push(Entry::Histogram { name: "weights/a".into(), histogram });
    }
    if step == 6 {
        let images = Images::new(1, 2, 2, (0..12).collect());
        let (features, labels) = (vec![0.5, 1.0, 1.5, 2.0, 2.5, 3.0], vec![7, 8, 9]);
        entries.push(Entry::Embedding { name: "backbone".into(), features, labels, images });
    }
    entries
}

fn train(folder: &Path, steps: std::ops::RangeInclusive<u64>, ending: Option<Ending>) {
    let mut listener = Listener::default();
    let mut tracker = open(&everywhere(), folder, steps.start() - 1, &mut listener);
    assert!(tracker.shows());
    if *steps.start() == 1 {
        let picture = Picture::grid(&Images::new(1, 2, 2, vec![9; 8]), 2).unwrap();
        tracker.log(0, vec![Entry::Picture { name: "views".into(), picture }], &mut listener);
    }
    steps.for_each(|step| tracker.log(step, entries(step), &mut listener));
    match ending {
        Some(ending) => tracker.finish(ending, &mut listener),
        // As a killed process.
        None => std::mem::forget(tracker),
    }
    assert_eq!(listener.0, Vec::<String>::new());
}

/// Every file under `folder`, by its path, in order.
fn files_of(folder: &Path) -> Vec<(String, Vec<u8>)> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
        match entry.is_dir() {
            true => found.extend(files_of(&entry)),
            false => found.push((entry.display().to_string(), fs::read(&entry).unwrap())),
        }
    }
    found.sort();
    found
}

/// Steps of the curve `epoch/loss`, in every sink.
fn steps(folder: &Path) -> [Vec<u64>; 3] {
    let files = files_of(folder);
    let of = |part: &'static str| {
        files.iter().filter(move |(path, _)| path.contains(part)).map(|(_, bytes)| bytes.as_slice())
    };
    let holds = |bytes: &[u8]| bytes.windows(10).any(|part| part == b"epoch/loss");
    let board = of("tfevents").flat_map(tensorboard::steps_and_events).filter(|(_, event)| holds(event));
    let rows = of(".wandb").flat_map(wandb::steps_and_rows).filter(|(_, row)| holds(row));
    let lines = of("metrics/epoch/loss").flat_map(|bytes| {
        let step = |line: &str| line.rsplit(' ').next().unwrap().parse().unwrap();
        std::str::from_utf8(bytes).unwrap().lines().map(step).collect::<Vec<u64>>()
    });
    [board.map(|(step, _)| step).collect(), rows.map(|(step, _)| step).collect(), lines.collect()]
}

#[test]
fn a_resumed_run_has_every_step_once() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    let expected: [Vec<u64>; 3] = [vec![2, 4, 6], vec![2, 4, 6], vec![2, 4, 6]];
    train(&path("whole"), 1..=6, Some(Ending::Finished));
    assert_eq!(steps(&path("whole")), expected);
    for ending in [None, Some(Ending::Stopped), Some(Ending::Failed)] {
        for (reached, checkpoint) in [(5, 2), (4, 4), (3, 0), (5, 3)] {
            let run = path(&format!("{ending:?}-{reached}-{checkpoint}"));
            train(&run, 1..=reached, ending);
            // A crash may cut the last record short, which is about a step after the checkpoint.
            let is_cut = ending.is_none() && reached > checkpoint;
            for (file, bytes) in files_of(&run).iter().filter(|(file, _)| is_cut && file.contains(".wandb")) {
                fs::write(file, &bytes[..bytes.len() - 3]).unwrap();
            }
            train(&run, checkpoint + 1..=6, Some(Ending::Finished));
            assert_eq!(steps(&run), expected, "{ending:?}, step {checkpoint} after step {reached}");
            // One run, not two.
            assert_eq!(files_of(&run).iter().filter(|(file, _)| file.ends_with(".wandb")).count(), 1);
        }
    }
}

#[test]
fn a_sink_that_fails_is_reported_once_and_the_others_go_on() {
    let folder = tempfile::tempdir().unwrap();
    // A file in the place of a folder is an obstacle for the superuser too.
    fs::write(folder.path().join("wandb"), "").unwrap();
    let mut listener = Listener::default();
    let mut tracker = open(&everywhere(), folder.path(), 0, &mut listener);
    assert_eq!(listener.0.len(), 1, "{:?}", listener.0);
    assert!(listener.0[0].contains("warning: wandb logs no more of this run, which goes on"), "{:?}", listener.0);
    tracker.log(1, entries(1), &mut listener);
    let metrics = files_of(folder.path()).into_iter().find(|(file, _)| file.contains("metrics/update/loss")).unwrap();
    fs::remove_file(&metrics.0).unwrap();
    fs::create_dir(&metrics.0).unwrap();
    (2..=6).for_each(|step| tracker.log(step, entries(step), &mut listener));
    tracker.finish(Ending::Finished, &mut listener);
    assert_eq!(listener.0.len(), 2, "{:?}", listener.0);
    assert!(listener.0[1].contains("warning: mlflow"), "{:?}", listener.0);
    assert_eq!(steps(folder.path())[0], [2, 4, 6]);
    assert_eq!(fs::read_to_string(folder.path().join("metrics.jsonl")).unwrap().lines().count(), 3);
}

#[test]
fn a_run_that_cannot_be_described_goes_on() {
    let folder = tempfile::tempdir().unwrap();
    let mut listener = Listener::default();
    let fails = || Err(Error::Config("no identity".into()));
    let mut tracker = Tracker::open(&everywhere(), folder.path(), (0, 6), fails, &mut listener);
    assert!(!tracker.shows());
    tracker.log(2, entries(2), &mut listener);
    assert_eq!(listener.0.iter().filter(|text| text.contains("no identity")).count(), 3);
}

/// The bytes that `golden/tracking/read_golden.py` has read with the viewers' own packages, apart from times.
#[test]
fn the_files_are_those_that_the_viewers_read() {
    let folder = tempfile::tempdir().unwrap();
    train(folder.path(), 1..=6, Some(Ending::Finished));
    let golden = concat!(env!("CARGO_MANIFEST_DIR"), "/../../golden/tracking");
    let board = files_of(folder.path()).into_iter().find(|(file, _)| file.contains("tfevents")).unwrap().1;
    let run = files_of(folder.path()).into_iter().find(|(file, _)| file.ends_with(".wandb")).unwrap().1;
    if std::env::var_os("TWINVIEW_GOLDEN").is_some() {
        fs::write(format!("{golden}/events.out.tfevents.golden"), &board).unwrap();
        fs::write(format!("{golden}/run.wandb"), &run).unwrap();
    }
    let read = |name: &str| fs::read(format!("{golden}/{name}")).unwrap();
    // The name of the run is its folder, and every record has its time.
    let events = |bytes: &[u8]| {
        tensorboard::steps_and_events(bytes)
            .map(|(step, event)| (step, event[9..].to_vec()))
            .skip(2)
            .collect::<Vec<_>>()
    };
    assert_eq!(events(&board), events(&read("events.out.tfevents.golden")));
    let rows = |bytes: &[u8]| {
        let without_time = |row: Vec<u8>| {
            let text = String::from_utf8_lossy(&row).into_owned();
            let before: Vec<char> = text.split("_timestamp").next().unwrap().chars().collect();
            // Neither the lengths before the row nor that of the time, which has more or fewer digits.
            before[8..before.len() - 4].iter().collect::<String>()
        };
        wandb::steps_and_rows(bytes).map(|(step, row)| (step, without_time(row))).collect::<Vec<_>>()
    };
    assert_eq!(rows(&run), rows(&read("run.wandb")));
}
