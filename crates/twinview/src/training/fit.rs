//! The loop that every training is.

use std::time::Instant;

use burn::tensor::Tensor;

use super::{Checkpoint, Context, Plan, Position, RunDir};
use crate::augment::{Batch, Prefetch, ViewBatch, ViewMaker};
use crate::backbone::{TorchNames, load_state_dict, state_dict};
use crate::dataset::Images;
use crate::evaluation::{CollapseMonitor, output_spread};
use crate::optim::Sgd;
use crate::tracking::MetricsLog;
use crate::{Error, Result};

/// What a training does with one batch.
pub(super) struct Outcome {
    /// The loss to go down, `[1]`.
    pub(super) loss: Tensor<1>,
    /// What is watched for collapse, `[batch, dimensions]`.
    pub(super) watched: Option<Tensor<2>>,
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
/// `open` turns the batches that are left into whatever `step` takes, with the number of images in it.
pub(super) fn fit<M: TorchNames, B, I: Iterator<Item = Result<(usize, B)>>>(
    mut model: M,
    job: Job<'_>,
    context: &mut Context<'_>,
    open: impl FnOnce(Box<dyn Iterator<Item = Batch> + Send>) -> Result<I>,
    step: impl Fn(&M, B) -> Outcome,
) -> Result<M> {
    let Job { label, count, plan, run } = job;
    plan.validate(count)?;
    let per_epoch = plan.steps_per_epoch(count);
    let steps = plan.epochs * per_epoch;
    let mut optimizer = Sgd::new(plan.optimizer);
    let mut position = Position::default();
    if let Some(checkpoint) = Checkpoint::last(run, plan)? {
        model = load_state_dict(model, &checkpoint.model)?;
        optimizer.load(&checkpoint.optimizer, &context.device);
        position = checkpoint.position;
    }
    let mut metrics = MetricsLog::resume(run.join("metrics.jsonl"), position.step)?;
    let mut monitor = CollapseMonitor::new();
    let save = |position, model: &M, optimizer: &Sgd| {
        Checkpoint { position, model: state_dict(model), optimizer: optimizer.state() }.save(run, plan)
    };

    if let Some(notice) = run.notice().filter(|_| position.step > 0) {
        context.reporter.message(&notice);
    }
    context.reporter.start(label, steps, position.step);
    let mut epoch_begun = (Instant::now(), 0);
    for batch in open(Box::new(plan.schedule(count, position.step)))? {
        let (images, batch) = batch?;
        let Outcome { loss, watched } = step(&model, batch);
        let value = f64::from(loss.clone().into_scalar::<f32>());
        model = optimizer.step(plan.learning_rate, model, loss.backward());

        position.step += 1;
        position.loss_sum += value;
        epoch_begun.1 += images;
        context.reporter.step(images, value);
        if !value.is_finite() {
            let message = format!("the loss became {value} at step {}; try a lower learning rate", position.step);
            return Err(Error::Config(message));
        }
        if position.step.is_multiple_of(per_epoch) {
            let epoch = position.step / per_epoch;
            let loss = position.loss_sum / per_epoch as f64;
            let rate = epoch_begun.1 as f64 / epoch_begun.0.elapsed().as_secs_f64();
            let mut values = vec![("epoch", epoch as f64), ("loss", loss), ("images_per_second", rate.round())];
            let mut summary = format!("epoch {epoch}/{}, loss {loss:.4}", plan.epochs);
            let spread = watched.and_then(|output| {
                let dimensions = output.dims()[1];
                output_spread(&output.into_data_as::<f32>().iter::<f32>().collect::<Vec<_>>(), dimensions)
            });
            if let Some(spread) = spread {
                values.push(("output_std", spread));
                summary.push_str(&format!(", output std {spread:.2}"));
                monitor.observe(epoch, spread).into_iter().for_each(|warning| context.reporter.message(&warning));
            }
            metrics.log(position.step, &values)?;
            context.reporter.epoch(&summary);
            position.loss_sum = 0.0;
            epoch_begun = (Instant::now(), 0);
            if epoch.is_multiple_of(plan.checkpoint_every) || epoch == plan.epochs {
                save(position, &model, &optimizer)?;
            }
        }
        if context.is_interrupted() && position.step < steps {
            save(position, &model, &optimizer)?;
            context.reporter.finish();
            return Err(Error::Interrupted(format!(
                "stopped after step {} of {steps} of \"{label}\"; all of it is saved in {}",
                position.step,
                run.path().display()
            )));
        }
    }
    context.reporter.finish();
    Ok(model)
}
