//! Training without labels.

use super::fit::{Job, Outcome, fit, prefetched};
use super::supervised::to_tensor;
use super::{Context, Plan, RunDir};
use crate::Result;
use crate::augment::ViewMaker;
use crate::backbone::state_dict;
use crate::dataset::Images;
use crate::method::{Method, Step};

/// Trains `model` on two views of each image: views, forward, loss, backward, update.
pub fn pretrain<M: Method>(
    model: M,
    label: &str,
    images: &Images,
    plan: &Plan,
    run: &RunDir,
    context: &mut Context<'_>,
) -> Result<M> {
    let maker = ViewMaker::new(&plan.augmentation, images, 2, plan.seed)?;
    let device = context.device.clone();
    let open = |schedule| prefetched(images, maker, schedule);
    let model = fit(model, Job { label, count: images.len(), plan, run }, context, open, |model: &M, views| {
        let Step { loss, output } = model.step(to_tensor(views.pixels, images, &device));
        Outcome { loss, watched: Some(output) }
    })?;
    run.finish(&state_dict(&model))?;
    Ok(model)
}
