//! How long the parts of a pretraining step take.

use std::time::Instant;

use serde::Serialize;

use super::Recipe;
use crate::augment::{Batch, Prefetch, ViewMaker, shuffled_epoch};
use crate::backbone::initialise;
use crate::dataset::Images;
use crate::embedding::extract;
use crate::method::{Method, SimSiam, SimSiamConfig, Step};
use crate::optim::Sgd;
use crate::training::{Device, to_tensor};
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
    /// Images a step; each has two views.
    pub batch: usize,
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

/// Times `steps` SimSiam steps on batches of `batch` of `images`, with the views and the optimiser of `recipe`.
///
/// # Errors
/// When there are no steps to time, or fewer images than a batch.
pub fn benchmark(recipe: &Recipe, images: &Images, batch: usize, steps: usize, device: &Device) -> Result<StepTimes> {
    if steps == 0 || steps > MOST_STEPS {
        return Err(Error::Config(format!(
            "--steps {steps} cannot be timed; it must be at least 1 and at most {MOST_STEPS}"
        )));
    }
    let plan = &recipe.pretraining;
    let per_epoch = shuffled_epoch(images.len(), batch, plan.seed, 0, true)?.len();
    let epochs = (WARMUP + steps).div_ceil(per_epoch) as u64;
    let schedule: Vec<Batch> = (0..epochs)
        .map(|epoch| shuffled_epoch(images.len(), batch, plan.seed, epoch, true))
        .collect::<Result<Vec<_>>>()?
        .concat();
    let schedule = &schedule[..WARMUP + steps];
    let maker = ViewMaker::new(&plan.augmentation, images, 2, plan.seed)?;
    let mut model: SimSiam = initialise(SimSiamConfig::for_images(images).init(device), plan.seed);
    let mut optimizer = Sgd::new(plan.optimizer);

    let mut times: [Vec<f64>; 4] = Default::default();
    let mut pixels = Vec::new();
    for (number, batch) in schedule.iter().enumerate() {
        let mut marks = [Instant::now(); 5];
        maker.make(images, batch, &mut pixels)?;
        let views = to_tensor(pixels.clone(), images, device);
        marks[1] = Instant::now();
        let Step { loss, .. } = model.step(views);
        loss.clone().into_scalar::<f32>();
        marks[2] = Instant::now();
        let gradients = loss.backward();
        marks[3] = Instant::now();
        model = optimizer.step(plan.learning_rate, model, gradients);
        marks[4] = Instant::now();
        if number >= WARMUP {
            let parts = times.iter_mut().zip(marks.windows(2));
            parts.for_each(|(times, pair)| times.push((pair[1] - pair[0]).as_secs_f64() * 1e3));
        }
    }

    let mut begun = Instant::now();
    for (number, views) in Prefetch::new(images, schedule.to_vec(), maker)?.enumerate() {
        if number == WARMUP {
            begun = Instant::now();
        }
        let loss = model.step(to_tensor(views?.pixels, images, device)).loss;
        model = optimizer.step(plan.learning_rate, model, loss.backward());
    }
    let training = begun.elapsed().as_secs_f64() / steps as f64;

    extract(&model.backbone, images)?;
    begun = Instant::now();
    extract(&model.backbone, images)?;
    let extraction = begun.elapsed().as_secs_f64();

    let whole: Vec<f64> = (0..steps).map(|step| times[1][step] + times[2][step] + times[3][step]).collect();
    let augment = times[0].iter().sum::<f64>() / steps as f64;
    let [_, forward, backward, update] = times.map(median);
    let step = median(whole);
    Ok(StepTimes {
        mode: "twinview",
        device: "cpu".to_owned(),
        threads: rayon::current_num_threads(),
        batch,
        augment_ms_mean: augment,
        step_ms_median: step,
        images_per_second: batch as f64 / (augment + step) * 1e3,
        forward_ms_median: forward,
        backward_ms_median: backward,
        update_ms_median: update,
        training_images_per_second: batch as f64 / training,
        extraction_images_per_second: images.len() as f64 / extraction,
        twinview: env!("CARGO_PKG_VERSION"),
    })
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    if values.len() % 2 == 1 { values[middle] } else { (values[middle - 1] + values[middle]) / 2.0 }
}
