//! A head on a frozen backbone.

use burn::module::Module;
use burn::tensor::{Tensor, TensorData};
use serde::{Deserialize, Serialize};

use super::fit::{Job, Outcome, fit, prefetched};
use super::supervised::{labels_of, to_tensor};
use super::{Context, Plan, RunDir, shown};
use crate::augment::{Augmentation, Batch, ViewBatch, ViewMaker, shuffled_epoch};
use crate::backbone::{Backbone, Mode, state_dict};
use crate::dataset::{Images, Split};
use crate::embedding::extract;
use crate::method::{Classifier, Head, cross_entropy};
use crate::{Error, Result};

/// What the frozen backbone's BatchNorm does while the head learns.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Statistics {
    /// It normalises with the running statistics and leaves them as they are: nothing of the backbone moves,
    /// and its features are computed once.
    #[default]
    Fixed,
    /// It normalises with each batch's own and updates the running ones, as the article's listing does.
    Updating,
}

/// How a head is trained.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HeadPlan {
    /// What BatchNorm does meanwhile.
    #[serde(default)]
    pub statistics: Statistics,
    /// The training itself.
    pub plan: Plan,
}

/// Lets `images`, as they are, enter the running statistics of `backbone`, until nothing is left of those before.
///
/// An encoder of random weights whose BatchNorm still has mean 0 and variance 1 is a control made weak. A pretrained one has
/// the statistics of its views, crops and blurs; the images that it is to be used on have others (Wu and Johnson, "Rethinking
/// 'Batch' in BatchNorm", 2021, arXiv 2105.07576, section 3). Uses no labels and moves no weight.
pub fn calibrate(backbone: &Backbone, images: &Images, seed: u64) -> Result<()> {
    const BATCH: usize = 256;
    // With a momentum of 0.1, 64 batches leave a thousandth of the initial statistics.
    const BATCHES: usize = 64;
    if !backbone.has_running_statistics() {
        return Ok(());
    }
    let device = backbone.device();
    let per_pass = images.len().div_ceil(BATCH).max(1);
    for pass in 0..BATCHES.div_ceil(per_pass) as u64 {
        for batch in shuffled_epoch(images.len(), BATCH, seed, pass, false)?.iter().take(BATCHES) {
            let chosen = images.select(&batch.indices);
            let pixels = chosen.pixels().iter().map(|&byte| f32::from(byte) / 255.0).collect();
            backbone.forward(to_tensor(pixels, images, &device), 1, Mode::Train);
        }
    }
    Ok(())
}

impl HeadPlan {
    /// Refuses settings that cannot train a head on `images`.
    ///
    /// # Errors
    /// As [`Plan::validate_for`], and for an augmentation that nothing would read.
    pub fn validate_for(&self, images: &Images) -> Result<()> {
        if self.statistics == Statistics::Fixed && self.plan.augmentation != Augmentation::identity() {
            return Err(Error::Config(
                "plan.augmentation has no effect on a head with statistics = \"fixed\", whose features are computed \
                 once; leave it out or set statistics = \"updating\""
                    .into(),
            ));
        }
        self.plan.validate_for(images)
    }
}

/// Trains the head of `model` on `split`; no weight of its backbone moves.
pub fn train_head(
    model: Classifier,
    label: &str,
    split: &Split,
    head_plan: &HeadPlan,
    run: &RunDir,
    context: &mut Context<'_>,
) -> Result<Classifier> {
    let Classifier { backbone, fc } = model;
    let device = context.device.clone();
    let backbone = backbone.freeze();
    let plan = &head_plan.plan;
    let job = Job { label, count: split.len(), plan, run, opening: &[] };
    let whole = match head_plan.statistics {
        Statistics::Fixed => {
            let features = extract(&backbone, &split.images)?;
            let (count, width) = (features.rows(), features.dimensions());
            let features = Tensor::<2>::from_data(TensorData::new(features.into_values(), [count, width]), &device);
            let open = |schedule| Ok(Iterator::map(schedule, |batch: Batch| Ok((batch.indices.len(), batch))));
            let step = |fc: &Head, batch: Batch, _| {
                let rows: Vec<i32> = batch.indices.iter().map(|&index| index as i32).collect();
                let rows = Tensor::from_ints(rows.as_slice(), &device);
                let logits = fc.forward(features.clone().select(0, rows));
                Outcome {
                    loss: cross_entropy(logits, labels_of(&split.labels, &batch.indices, &device)),
                    watched: None,
                }
            };
            let fc = fit(fc, job, context, open, step)?;
            Classifier { backbone, fc }
        }
        Statistics::Updating => {
            let images = &split.images;
            let maker = ViewMaker::new(&plan.augmentation, images, 1, plan.seed)?;
            let opening = shown::views(&maker, images, context)?;
            let job = Job { opening: &opening, ..job };
            let open = |schedule| prefetched(images, maker, schedule);
            // The whole classifier goes through the loop, so that its statistics are in the checkpoints.
            let whole = Classifier { backbone, fc };
            let step = |model: &Classifier, views: ViewBatch, _| {
                let labels = labels_of(&split.labels, &views.batch.indices, &device);
                let features =
                    model.backbone.forward(to_tensor(views.pixels, images, &device), 1, Mode::Train).detach();
                Outcome { loss: cross_entropy(model.fc.forward(features), labels), watched: None }
            };
            fit(whole, job, context, open, step)?
        }
    };
    run.finish(&state_dict(&whole))?;
    Ok(whole)
}
