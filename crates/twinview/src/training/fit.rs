//! The loop that every training is.

use std::time::Instant;

use burn::tensor::Tensor;

use super::{Checkpoint, Context, Plan, Position, RunDir, awake, shown};
use crate::augment::{Batch, Prefetch, ViewBatch, ViewMaker};
use crate::backbone::{TorchNames, load_state_dict, state_dict};
use crate::dataset::Images;
use crate::evaluation::Verdict;
use crate::method::Watched;
use crate::optim::{Accumulator, LearningRate, Optimizer, Progress};
use crate::tracking::{Ending, Entry, EpochNews, Tracker};
use crate::{Error, Result};

/// What a training does with one batch.
pub(super) struct Outcome {
    /// The loss to go down, `[1]`.
    pub(super) loss: Tensor<1>,
    /// What is watched for collapse.
    pub(super) watched: Option<Watched>,
}

/// What is particular to a training of `M` by batches `B`. A closure that gives an [`Outcome`] is one.
pub(super) trait Task<M, B> {
    /// Makes a loss of a batch.
    fn step(&self, model: &M, batch: B, progress: Progress) -> Outcome;

    /// What becomes of the model after each update.
    fn after(&self, model: M, _progress: Progress) -> M {
        model
    }

    /// Looks at the model at the end of an epoch.
    fn watch(&mut self, _model: &M, _epoch: Epoch) -> Result<Sight> {
        Ok(Sight::default())
    }
}

impl<M, B, F: Fn(&M, B, Progress) -> Outcome> Task<M, B> for F {
    fn step(&self, model: &M, batch: B, progress: Progress) -> Outcome {
        self(model, batch, progress)
    }
}

/// An epoch that is over.
pub(super) struct Epoch {
    /// Its number, from 1.
    pub(super) number: u64,
    /// Epochs of the training.
    pub(super) of: u64,
    /// The mean loss.
    pub(super) loss: f64,
    /// What the last batch left to be watched, `[2 * batch, dimensions]`.
    pub(super) watched: Option<Tensor<2>>,
    /// Whether somebody looks at pictures, histograms and embeddings.
    pub(super) shown: bool,
}

/// What was seen at the end of an epoch.
#[derive(Default)]
pub(super) struct Sight {
    /// For the metrics, by name.
    pub(super) values: Vec<(&'static str, f64)>,
    /// For the line of the epoch.
    pub(super) summary: String,
    /// For the user, in words.
    pub(super) messages: Vec<String>,
    /// How the run stands, where that is watched.
    pub(super) health: Option<Verdict>,
    /// To be looked at.
    pub(super) entries: Vec<Entry>,
}

/// A training to be done.
#[derive(Clone, Copy)]
pub(super) struct Job<'a> {
    /// What it is called in progress.
    pub(super) label: &'a str,
    /// Images of an epoch.
    pub(super) count: usize,
    /// The settings.
    pub(super) plan: &'a Plan,
    /// Where checkpoints and metrics go.
    pub(super) run: &'a RunDir,
    /// To be looked at before the first step.
    pub(super) opening: &'a [Entry],
}

/// The views of `schedule`, made ahead, with the number of images in each batch: what `open` is for images.
pub(super) fn prefetched(
    images: &Images,
    maker: ViewMaker,
    schedule: Box<dyn Iterator<Item = Batch> + Send>,
) -> Result<impl Iterator<Item = Result<(usize, ViewBatch)>> + use<>> {
    let views = Prefetch::new(images, schedule, maker)?;
    Ok(views.map(|views| views.map(|views| (views.batch.indices.len(), views))))
}

/// Trains `model`, going on from the last checkpoint there is.
///
/// `open` turns the batches that are left into whatever `task` takes, with the number of images in it.
pub(super) fn fit<M: TorchNames, B, I: Iterator<Item = Result<(usize, B)>>>(
    mut model: M,
    job: Job<'_>,
    context: &mut Context<'_>,
    open: impl FnOnce(Box<dyn Iterator<Item = Batch> + Send>) -> Result<I>,
    mut task: impl Task<M, B>,
) -> Result<M> {
    let Job { label, count, plan, run, opening } = job;
    plan.validate(count)?;
    let per_epoch = plan.steps_per_epoch(count);
    let steps = plan.epochs * per_epoch;
    let mut optimizer = Optimizer::new(plan.optimizer).with_groups(&plan.groups, &model)?;
    let mut position = Position::default();
    if let Some(checkpoint) = Checkpoint::last(run, plan)? {
        model = load_state_dict(model, &checkpoint.model)?;
        optimizer.load(&checkpoint.optimizer, &context.device)?;
        position = checkpoint.position;
    }
    let Context { tracking, .. } = *context;
    let describe = || run.tracked(label, &tracking.command);
    let mut tracker = Tracker::open(tracking, run.path(), (position.step, steps), describe, context.reporter);
    let save = |position, model: &M, optimizer: &Optimizer| {
        Checkpoint { position, model: state_dict(model), optimizer: optimizer.state() }.save(run, plan)
    };

    if let Some(notice) = run.notice().filter(|_| position.step > 0) {
        context.reporter.message(&notice);
    }
    context.reporter.start(label, steps, position.step);
    if position.step == 0 {
        tracker.log(0, opening.to_vec(), context.reporter);
    }
    let mut epoch_begun = (Instant::now(), 0);
    let mut batches = open(Box::new(plan.batches(count, position.step)))?;
    while position.step < steps {
        let progress = Progress { step: position.step, steps, steps_per_epoch: per_epoch };
        let mut gradients = Accumulator::default();
        let (mut images, mut loss_sum, mut watched) = (0, 0.0, None);
        let share = plan.batches_of(position.step, count);
        let rate = LearningRate { base: plan.learning_rate, factor: plan.schedule.factor(progress) };
        model = awake(&context.device, || {
            for batch in batches.by_ref().take(share as usize) {
                let (size, batch) = batch?;
                // It may hold all that lay between the batch before and its loss.
                drop(watched.take());
                let outcome = task.step(&model, batch, progress);
                let value = f64::from(outcome.loss.clone().into_scalar::<f32>());
                if !value.is_finite() {
                    let step = position.step + 1;
                    let message = format!("the loss became {value} at step {step}; try a lower learning rate");
                    return Err(Error::Config(message));
                }
                gradients.add(&model, outcome.loss.div_scalar(share as f32).backward());
                watched = outcome.watched;
                images += size;
                loss_sum += value;
            }
            Ok(match gradients.take() {
                Some(gradients) => task.after(optimizer.step(rate, model, gradients), progress),
                None => model,
            })
        })?;
        if images == 0 {
            break;
        }
        position.loss_sum += loss_sum;

        // Checkpoints come after updates only, so that no gradient has to be kept in them.
        position.step += 1;
        epoch_begun.1 += images;
        let loss = loss_sum / share as f64;
        context.reporter.step(images, loss);
        let mut entries = vec![Entry::Update { loss, learning_rate: (rate.base * rate.factor).into() }];
        let epoch = position.step / per_epoch;
        let is_end = position.step.is_multiple_of(per_epoch);
        if is_end {
            let loss = position.loss_sum / plan.batches_per_epoch(count) as f64;
            let speed = epoch_begun.1 as f64 / epoch_begun.0.elapsed().as_secs_f64();
            let mut values = vec![("epoch", epoch as f64), ("loss", loss), ("images_per_second", speed.round())];
            let shown = tracker.shows();
            let watched = watched.map(|watched| watched());
            let seen = task.watch(&model, Epoch { number: epoch, of: plan.epochs, loss, watched, shown })?;
            values.extend(seen.values);
            seen.messages.iter().for_each(|message| context.reporter.message(message));
            let summary = format!("epoch {epoch}/{}, loss {loss:.4}{}", plan.epochs, seen.summary);
            context.reporter.epoch(&EpochNews { summary: &summary, values: &values, health: seen.health });
            entries.push(Entry::Epoch(values));
            entries.extend(seen.entries);
            entries.extend(if shown { shown::weights(&model) } else { Vec::new() });
            position.loss_sum = 0.0;
            epoch_begun = (Instant::now(), 0);
        }
        tracker.log(position.step, entries, context.reporter);
        if is_end && (epoch.is_multiple_of(plan.checkpoint_every) || epoch == plan.epochs) {
            save(position, &model, &optimizer)?;
        }
        if context.is_interrupted() && position.step < steps {
            save(position, &model, &optimizer)?;
            context.reporter.finish();
            tracker.finish(Ending::Stopped, context.reporter);
            return Err(Error::Interrupted(format!(
                "stopped after step {} of {steps} of \"{label}\"; all of it is saved in {}",
                position.step,
                run.path().display()
            )));
        }
    }
    context.reporter.finish();
    tracker.finish(Ending::Finished, context.reporter);
    Ok(model)
}
