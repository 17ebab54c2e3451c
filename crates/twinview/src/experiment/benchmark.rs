//! How long the parts of a pretraining step take.

use std::time::Instant;

use serde::Serialize;

use crate::augment::{Batch, Prefetch, shuffled_epoch};
use crate::dataset::Images;
use crate::embedding::extract;
use crate::method::{Network, Views};
use crate::optim::{LearningRate, Optimizer, Progress};
use crate::training::{Device, Pretraining, awake, labels_of, name_of, to_tensor};
use crate::{Error, Result};

/// Steps before the clock counts: memory is mapped and caches are warm after them.
const WARMUP: usize = 8;

/// Hours of steps; beyond it the schedule would fill the memory.
const MOST_STEPS: usize = 100_000;

/// Times of the parts of a step, in milliseconds, with the keys of PyTorch's script where it measures the same.
#[derive(Clone, Debug, Serialize)]
pub struct StepTimes {
    /// Which program.
    pub mode: &'static str,
    /// Where it ran.
    pub device: String,
    /// Threads of the pool that trains.
    pub threads: usize,
    /// Images a step.
    pub batch: usize,
    /// Views of each image.
    pub views: usize,
    /// Making the views, when nothing else runs. The mean, because the draws differ in cost.
    pub augment_ms_mean: f64,
    /// Forward, backward and update.
    pub step_ms_median: f64,
    /// `batch` over the two together.
    pub images_per_second: f64,
    /// Forward, with the loss.
    pub forward_ms_median: f64,
    /// Backward.
    pub backward_ms_median: f64,
    /// Optimiser.
    pub update_ms_median: f64,
    /// `batch` over the mean time of a step as training makes it, its views made meanwhile.
    pub training_images_per_second: f64,
    /// Features of images per second, all at once.
    pub extraction_images_per_second: f64,
    /// twinview's version.
    pub twinview: &'static str,
}

/// How much is timed.
#[derive(Clone, Copy, Debug)]
pub struct Lengths {
    /// Images a step.
    pub batch: usize,
    /// Steps, after some to warm up.
    pub steps: usize,
    /// Images that features are extracted from; all where absent.
    pub extract: Option<usize>,
}

/// Times steps of `settings` on batches of `images`, of which the first have the `labels`.
///
/// # Errors
/// When there are no steps to time or no images to extract features from, or fewer images than are asked for.
pub fn benchmark(
    settings: &Pretraining,
    images: &Images,
    labels: &[u8],
    Lengths { batch, steps, extract: to_extract }: Lengths,
    device: &Device,
) -> Result<StepTimes> {
    if steps == 0 || steps > MOST_STEPS {
        return Err(Error::Config(format!(
            "--steps {steps} cannot be timed; it must be at least 1 and at most {MOST_STEPS}"
        )));
    }
    let to_extract = to_extract.unwrap_or(images.len());
    if to_extract == 0 || to_extract > images.len() {
        return Err(Error::Config(format!(
            "--extract {to_extract} is not possible; it must be at least 1 and at most {}, the training images",
            images.len()
        )));
    }
    let Pretraining { plan, method, .. } = settings;
    let per_epoch = shuffled_epoch(images.len(), batch, plan.seed, 0, true)?.len();
    let epochs = (WARMUP + steps).div_ceil(per_epoch) as u64;
    let schedule: Vec<Batch> = (0..epochs)
        .map(|epoch| shuffled_epoch(images.len(), batch, plan.seed, epoch, true))
        .collect::<Result<Vec<_>>>()?
        .concat();
    let schedule = &schedule[..WARMUP + steps];
    let maker = settings.view_maker(images)?;
    let mut model = settings.network(images, device);
    let progress = Progress { step: 0, steps: schedule.len() as u64, steps_per_epoch: per_epoch as u64 };
    let step = |model: &Network, pixels: Vec<f32>, batch: &Batch| {
        let labels = method.needs_labels().then(|| labels_of(labels, &batch.indices, device));
        let views = Views { pixels: to_tensor(pixels, images, device), count: maker.views(), labels };
        method.step(model, views, progress).loss
    };
    let mut optimizer = Optimizer::new(plan.optimizer).with_groups(&plan.groups, &model)?;
    let rate = LearningRate::constant(plan.learning_rate);

    let mut times: [Vec<f64>; 4] = Default::default();
    for (number, batch) in schedule.iter().enumerate() {
        let mut marks = [Instant::now(); 5];
        let mut pixels = Vec::new();
        maker.make(images, batch, &mut pixels)?;
        marks[1] = Instant::now();
        model = awake(device, || {
            let loss = step(&model, pixels, batch);
            loss.clone().into_scalar::<f32>();
            marks[2] = Instant::now();
            let gradients = loss.backward();
            finish(device)?;
            marks[3] = Instant::now();
            let model = method.after_update(optimizer.step(rate, model, gradients), progress);
            finish(device)?;
            Ok::<_, Error>(model)
        })?;
        marks[4] = Instant::now();
        if number >= WARMUP {
            let parts = times.iter_mut().zip(marks.windows(2));
            parts.for_each(|(times, pair)| times.push((pair[1] - pair[0]).as_secs_f64() * 1e3));
        }
    }

    let mut begun = Instant::now();
    for (number, views) in Prefetch::new(images, schedule.to_vec(), maker.clone())?.enumerate() {
        if number == WARMUP {
            begun = Instant::now();
        }
        let views = views?;
        model = awake(device, || {
            let loss = step(&model, views.pixels, &views.batch);
            // Training looks at it, and so waits for the device.
            loss.clone().into_scalar::<f32>();
            let gradients = loss.backward();
            method.after_update(optimizer.step(rate, model, gradients), progress)
        });
    }
    finish(device)?;
    let training = begun.elapsed().as_secs_f64() / steps as f64;

    let some = images.select(&(0..to_extract).collect::<Vec<_>>());
    extract(&model.online.backbone, &some)?;
    begun = Instant::now();
    extract(&model.online.backbone, &some)?;
    let extraction = begun.elapsed().as_secs_f64();

    let whole: Vec<f64> = (0..steps).map(|step| times[1][step] + times[2][step] + times[3][step]).collect();
    let augment = times[0].iter().sum::<f64>() / steps as f64;
    let [_, forward, backward, update] = times.map(median);
    let step = median(whole);
    Ok(StepTimes {
        mode: "twinview",
        device: name_of(device),
        threads: rayon::current_num_threads(),
        batch,
        views: maker.views(),
        augment_ms_mean: augment,
        step_ms_median: step,
        images_per_second: batch as f64 / (augment + step) * 1e3,
        forward_ms_median: forward,
        backward_ms_median: backward,
        update_ms_median: update,
        training_images_per_second: batch as f64 / training,
        extraction_images_per_second: to_extract as f64 / extraction,
        twinview: env!("CARGO_PKG_VERSION"),
    })
}

/// Waits for what `device` still has to do.
fn finish(device: &Device) -> Result<()> {
    device.sync().map_err(|error| Error::Config(format!("{} failed: {error}", name_of(device))))
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    if values.len() % 2 == 1 { values[middle] } else { (values[middle - 1] + values[middle]) / 2.0 }
}
