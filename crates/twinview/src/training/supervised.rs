//! Training with labels, and predicting them.

use std::sync::Arc;

use burn::module::Module;
use burn::tensor::{Device, Int, Tensor, TensorData};

use super::fit::{Job, Outcome, fit, prefetched};
use super::{Context, Plan, RunDir};
use crate::augment::ViewMaker;
use crate::backbone::{Mode, state_dict};
use crate::dataset::{Images, Split};
use crate::embedding::in_batches;
use crate::method::{Classifier, cross_entropy};
use crate::{Error, Result};

/// Trains all of `model` on `split`: views, forward, cross-entropy, backward, update.
pub fn train_classifier(
    model: Classifier,
    label: &str,
    split: &Split,
    plan: &Plan,
    run: &RunDir,
    context: &mut Context<'_>,
) -> Result<Classifier> {
    let images = Arc::new(split.images.clone());
    let maker = ViewMaker::new(&plan.augmentation, &images, 1, plan.seed)?;
    let device = context.device.clone();
    let open = |schedule| prefetched(&images, maker, schedule);
    let model =
        fit(model, Job { label, count: split.len(), plan, run }, context, open, |model: &Classifier, views| {
            let labels = labels_of(&split.labels, &views.batch.indices, &device);
            let pixels = to_tensor(views.pixels, &images, &device);
            Outcome { loss: cross_entropy(model.forward(pixels, Mode::Train), labels), watched: None }
        })?;
    run.finish(&state_dict(&model))?;
    Ok(model)
}

/// `pixels` of images of the size of `images` as a tensor: `[count, channels, height, width]`.
pub fn to_tensor(pixels: Vec<f32>, images: &Images, device: &Device) -> Tensor<4> {
    let count = pixels.len() / images.image_len();
    let shape = [count, images.channels(), images.height(), images.width()];
    Tensor::from_data(TensorData::new(pixels, shape), device)
}

/// The labels at `indices`, `[batch]`.
pub(super) fn labels_of(labels: &[u8], indices: &[usize], device: &Device) -> Tensor<1, Int> {
    let labels: Vec<i32> = indices.iter().map(|&index| i32::from(labels[index])).collect();
    Tensor::from_ints(labels.as_slice(), device)
}

/// The most probable class of each image.
///
/// # Errors
/// When the images are not of the size that `model` was made for.
pub fn predict(model: &Classifier, images: &Images) -> Result<Vec<u8>> {
    let model = model.valid();
    let expected = model.fc.features();
    let config = model.backbone.config();
    let found = config.features(images.height(), images.width());
    if config.in_channels != images.channels() || found != expected {
        return Err(Error::Config(format!(
            "images of {} × {} pixels and {} channels give {found} features; these weights expect {} channels and \
             {expected} features",
            images.height(),
            images.width(),
            images.channels(),
            config.in_channels,
        )));
    }
    let logits = in_batches(images, &model.fc.device(), |pixels| model.forward(pixels, Mode::Eval));
    let classes = model.fc.classes();
    let best = |row: &[f32]| {
        row.iter().enumerate().fold(0, |best, (class, logit)| if *logit > row[best] { class } else { best })
    };
    Ok(logits.chunks_exact(classes).map(|row| best(row) as u8).collect())
}
