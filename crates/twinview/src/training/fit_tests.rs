//! The loop itself, on a head so small that a training takes no time.

use std::cell::RefCell;
use std::sync::atomic::{AtomicBool, Ordering};

use burn::tensor::{Tensor, TensorData};

use super::fit::{Job, Outcome, Task, fit};
use super::{Context, Origin, Plan, RunDir, cpu};
use crate::augment::Batch;
use crate::backbone::{initialise, state_dict};
use crate::method::{ClassifierConfig, Head, cross_entropy};
use crate::optim::{AdamWConfig, CosineConfig, OptimizerConfig, ParameterGroup, Progress, Schedule};
use crate::state::StateDict;
use crate::tracking::{Quiet, Tracking};
use crate::{Error, Result};

const IMAGES: usize = 11;

/// A task of two closures.
struct Hooked<S, A> {
    step: S,
    after: A,
}

impl<S: Fn(&Head, Batch, Progress) -> Outcome, A: Fn(Head, Progress) -> Head> Task<Head, Batch> for Hooked<S, A> {
    fn step(&self, head: &Head, batch: Batch, progress: Progress) -> Outcome {
        (self.step)(head, batch, progress)
    }

    fn after(&self, head: Head, progress: Progress) -> Head {
        (self.after)(head, progress)
    }
}

/// What one start of the program does.
#[derive(Default)]
struct Start {
    /// The update that Ctrl-C is pressed in.
    interrupted: Option<u64>,
    /// The batch, of those since the start, that the program crashes at.
    crashed: Option<usize>,
    /// Where it is logged.
    tracking: Tracking,
    /// The updates that were seen, in the step and after it.
    seen: RefCell<(Vec<Progress>, Vec<Progress>)>,
}

impl Start {
    fn train(&self, plan: &Plan, folder: &std::path::Path) -> Result<StateDict> {
        self.train_with(plan, folder, |head, _| head)
    }

    fn train_with(
        &self,
        plan: &Plan,
        folder: &std::path::Path,
        after: impl Fn(Head, Progress) -> Head,
    ) -> Result<StateDict> {
        let device = cpu();
        let origin = Origin { version: "1".into(), dataset: "none".into(), classes: Vec::new() };
        let run = RunDir::open(folder, plan, true, &origin)?;
        let interrupt = AtomicBool::new(false);
        let mut context =
            Context { device: device.clone(), interrupt: &interrupt, reporter: &mut Quiet, tracking: &self.tracking };
        let head = initial();
        let job = Job { label: "test", count: IMAGES, plan, run: &run, opening: &[] };
        let open = |schedule| {
            let batches = Iterator::enumerate(schedule);
            Ok(batches.map(|(number, batch): (usize, Batch)| match self.crashed == Some(number) {
                true => Err(Error::Data("crash".into())),
                false => Ok((batch.indices.len(), batch)),
            }))
        };
        let step = |head: &Head, batch: Batch, progress: Progress| {
            interrupt.fetch_or(self.interrupted == Some(progress.step), Ordering::Relaxed);
            self.seen.borrow_mut().0.push(progress);
            let features = batch.indices.iter().flat_map(|&image| (0..4).map(move |at| (image * at % 5) as f32 / 4.0));
            let features = TensorData::new(features.collect::<Vec<f32>>(), [batch.indices.len(), 4]);
            let labels: Vec<i32> = batch.indices.iter().map(|&image| (image % 3) as i32).collect();
            let logits = head.forward(Tensor::from_data(features, &device));
            Outcome { loss: cross_entropy(logits, Tensor::from_ints(labels.as_slice(), &device)), watched: None }
        };
        let after = |head, progress| {
            self.seen.borrow_mut().1.push(progress);
            after(head, progress)
        };
        fit(head, job, &mut context, open, Hooked { step, after }).map(|head| state_dict(&head))
    }
}

fn initial() -> Head {
    let config = ClassifierConfig { features: 4, hidden: Some(5), classes: 3, ..ClassifierConfig::article() };
    initialise(config.init_head(&cpu()), 1)
}

/// Settings with a bit of everything; 11 images are 4 batches, 2 updates an epoch.
fn everything() -> Plan {
    Plan {
        accumulate: 3,
        checkpoint_every: 2,
        optimizer: OptimizerConfig::AdamW(AdamWConfig::default()),
        schedule: Schedule::Cosine(CosineConfig { warmup_epochs: 0.5, start_factor: 0.0, final_factor: 0.1 }),
        groups: vec![ParameterGroup { prefix: "0".into(), learning_rate_scale: 0.5, constant: true }],
        ..Plan::new(3, 3, 0.05)
    }
}

/// `step` and `loss` of every line of the metrics; the speed is another every time.
fn losses(folder: &std::path::Path) -> Vec<(u64, f64)> {
    let text = std::fs::read_to_string(folder.join("metrics.jsonl")).unwrap();
    let line = |line: &str| {
        let value: serde_json::Value = serde_json::from_str(line).unwrap();
        (value["step"].as_u64().unwrap(), value["loss"].as_f64().unwrap())
    };
    text.lines().map(line).collect()
}

#[test]
fn a_stopped_training_goes_on_bit_for_bit() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    let expected = Start::default().train(&everything(), &path("whole")).unwrap();
    assert_eq!(losses(&path("whole")).iter().map(|(step, _)| *step).collect::<Vec<_>>(), [2, 4, 6]);
    for update in 0..5 {
        let run = path(&format!("interrupted-{update}"));
        let start = Start { interrupted: Some(update), ..Start::default() };
        let message = start.train(&everything(), &run).unwrap_err().to_string();
        assert!(message.contains(&format!("stopped after step {} of 6", update + 1)), "{message}");
        assert_eq!(Start::default().train(&everything(), &run).unwrap(), expected);
        assert_eq!(losses(&run), losses(&path("whole")));
    }
    // Within a group of batches too, whose gradients are then lost and made again.
    for batch in 0..12 {
        let run = path(&format!("crashed-{batch}"));
        let start = Start { crashed: Some(batch), ..Start::default() };
        assert_eq!(start.train(&everything(), &run).unwrap_err().to_string(), "crash");
        assert_eq!(Start::default().train(&everything(), &run).unwrap(), expected);
        assert_eq!(losses(&run), losses(&path("whole")));
    }
}

#[test]
fn small_batches_add_up_to_a_large_one() {
    let folder = tempfile::tempdir().unwrap();
    let trained = |name: &str, batch_size, accumulate| {
        let plan = Plan { accumulate, ..Plan::new(4, batch_size, 0.5) };
        Start::default().train(&plan, &folder.path().join(name)).unwrap()
    };
    // One update an epoch, from 11 batches of one image and from a single one.
    let [small, large, alone] = [trained("small", 1, 11), trained("large", 11, 1), trained("alone", 1, 1)];
    let distance = |one: &StateDict, other: &StateDict| {
        let floats = |state: &StateDict| -> Vec<f32> {
            let array = |array: &crate::state::Array| match &array.values {
                crate::state::Values::F32(values) => values.clone(),
                crate::state::Values::I64(_) => Vec::new(),
            };
            state.values().flat_map(array).collect()
        };
        floats(one).iter().zip(floats(other)).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max)
    };
    assert!(distance(&small, &large) < 1e-6, "{}", distance(&small, &large));
    assert!(distance(&small, &alone) > 1e-2);
}

#[test]
fn the_step_and_what_comes_after_know_the_update() {
    let folder = tempfile::tempdir().unwrap();
    let start = Start::default();
    let replaced = |head, progress: Progress| if progress.step == 5 { initialise(head, 99) } else { head };
    let state = start.train_with(&everything(), folder.path(), replaced).unwrap();
    let progress = |step| Progress { step, steps: 6, steps_per_epoch: 2 };
    let (steps, updates) = start.seen.into_inner();
    assert_eq!(steps, [0, 0, 0, 1, 2, 2, 2, 3, 4, 4, 4, 5].map(progress));
    assert_eq!(updates, [0, 1, 2, 3, 4, 5].map(progress));
    assert_eq!(state, state_dict(&initialise(initial(), 99)));
}

#[test]
fn the_schedule_and_the_groups_set_the_learning_rate() {
    let folder = tempfile::tempdir().unwrap();
    let before = state_dict(&initial());
    // The last update of a cosine, here the only one, has its final factor.
    let schedule = Schedule::Cosine(CosineConfig::default());
    let groups = vec![ParameterGroup { prefix: "2".into(), learning_rate_scale: 1.0, constant: true }];
    let plan = Plan { schedule, groups, ..Plan::new(1, IMAGES, 0.5) };
    let after = Start::default().train(&plan, &folder.path().join("run")).unwrap();
    assert_eq!(after["0.weight"], before["0.weight"]);
    assert_ne!(after["2.weight"], before["2.weight"]);

    let groups = vec![ParameterGroup { prefix: "fc".into(), learning_rate_scale: 1.0, constant: true }];
    let plan = Plan { groups, ..Plan::new(1, IMAGES, 0.5) };
    let message = Start::default().train(&plan, &folder.path().join("other")).unwrap_err().to_string();
    assert!(message.contains("below \"fc\"; the outermost names here are 0, 2"), "{message}");
}
