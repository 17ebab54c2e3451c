//! Training with labels, and predicting them.

use burn::module::Module;
use burn::tensor::{Device, Int, Tensor, TensorData};

use super::fit::{Job, Outcome, fit, prefetched};
use super::{Context, Plan, RunDir, shown};
use crate::augment::{ViewBatch, ViewMaker};
use crate::backbone::{Mode, state_dict};
use crate::dataset::{Images, Split};
use crate::evaluation::most_probable;
use crate::method::{Classifier, cross_entropy};
use crate::{Error, Result};

/// Images whose features are held at a time while their classes are predicted.
const PREDICTED: usize = 1024;

/// Trains all of `model` on `split`: views, forward, cross-entropy, backward, update.
pub fn train_classifier(
    model: Classifier,
    label: &str,
    split: &Split,
    plan: &Plan,
    run: &RunDir,
    context: &mut Context<'_>,
) -> Result<Classifier> {
    let images = &split.images;
    let maker = ViewMaker::new(&plan.augmentation, images, 1, plan.seed)?;
    let device = context.device.clone();
    let opening = shown::views(&maker, images, context)?;
    let open = |schedule| prefetched(images, maker, schedule);
    let job = Job { label, count: split.len(), plan, run, opening: &opening };
    let step = |model: &Classifier, views: ViewBatch, _| {
        let labels = labels_of(&split.labels, &views.batch.indices, &device);
        let pixels = to_tensor(views.pixels, images, &device);
        Outcome { loss: cross_entropy(model.forward(pixels, Mode::Train), labels), watched: None }
    };
    let model = fit(model, job, context, open, step)?;
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
pub fn labels_of(labels: &[u8], indices: &[usize], device: &Device) -> Tensor<1, Int> {
    let labels: Vec<i32> = indices.iter().map(|&index| i32::from(labels[index])).collect();
    Tensor::from_ints(labels.as_slice(), device)
}

/// The most probable class of each image; of equals the first.
///
/// # Errors
/// When the images are not of the size that `model` was made for.
pub fn predict(model: &Classifier, images: &Images) -> Result<Vec<u8>> {
    let logits = logits(model, images)?;
    Ok(logits.chunks_exact(model.fc.classes()).map(|row| most_probable(row) as u8).collect())
}

/// What `model` says of each image, with the running statistics: `[images, classes]`.
///
/// # Errors
/// When the images are not of the size that `model` was made for.
pub fn logits(model: &Classifier, images: &Images) -> Result<Vec<f32>> {
    check_fits(model, images)?;
    let model = model.valid();
    let size = [images.channels(), images.height(), images.width()];
    let mut logits = Vec::with_capacity(images.len() * model.fc.classes());
    for pixels in images.pixels().chunks(PREDICTED * images.image_len()) {
        let features = model.backbone.encode(pixels, size);
        let features = TensorData::new(features, [pixels.len() / images.image_len(), model.fc.features()]);
        let rows = model.fc.forward(Tensor::from_data(features, &model.fc.device())).into_data_as::<f32>();
        logits.extend(rows.iter::<f32>());
    }
    Ok(logits)
}

/// Refuses images of another size than `model` was made for.
pub(super) fn check_fits(model: &Classifier, images: &Images) -> Result<()> {
    let (config, expected) = (model.backbone.config(), model.fc.features());
    config.architecture.validate_for(images.height(), images.width())?;
    let found = config.features(images.height(), images.width());
    if config.in_channels == images.channels() && found == expected {
        return Ok(());
    }
    Err(Error::Config(format!(
        "images of {} × {} pixels and {} channels give {found} features; these weights expect {} channels and \
         {expected} features",
        images.height(),
        images.width(),
        images.channels(),
        config.in_channels,
    )))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backbone::{Architecture, initialise};
    use crate::method::ClassifierConfig;
    use crate::training::{calibrate, cpu};

    #[test]
    fn predicts_the_class_with_the_largest_logit_of_every_image() {
        let count = PREDICTED + 37;
        let bytes: Vec<u8> = (0..count * 64).map(|i| (i / 64 * 37 % 200 + i * i % 50) as u8).collect();
        let images = Images::new(1, 8, 8, bytes);
        let model = initialise(ClassifierConfig::for_images(&images, 4, &Architecture::default()).init(&cpu()), 1);
        let pixels = images.pixels().iter().map(|&byte| f32::from(byte) / 255.0).collect();
        let pixels = to_tensor(pixels, &images, &cpu());
        // With the statistics of these images, features differ enough for the classes to differ.
        calibrate(&model.backbone, &images, 0).unwrap();
        let logits = model.forward(pixels, Mode::Eval).into_data_as::<f32>();
        let logits: Vec<f32> = logits.iter::<f32>().collect();
        let classes = predict(&model, &images).unwrap();
        assert_eq!(classes.len(), count);
        for (row, &class) in logits.chunks_exact(4).zip(&classes) {
            assert!(row.iter().all(|&logit| logit <= row[usize::from(class)] + 1e-5));
        }
        assert!(classes.iter().any(|&class| class != classes[0]), "one class for all proves little");
    }
}
