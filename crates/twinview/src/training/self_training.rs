//! Learning from a classifier's own predictions on images without labels.

use burn::tensor::{Tensor, TensorData, activation};
use serde::{Deserialize, Serialize};

use super::fit::{Job, Outcome, fit, prefetched};
use super::supervised::{logits, to_tensor};
use super::{Context, Plan, RunDir, shown};
use crate::augment::{ViewBatch, ViewMaker};
use crate::backbone::{Mode, state_dict};
use crate::dataset::Images;
use crate::method::Classifier;
use crate::{Error, Result};

/// How a student learns from a teacher (Chen et al., "Big Self-Supervised Models are Strong Semi-Supervised Learners",
/// 2020, arXiv 2006.10029, section 2; there with temperatures from 0.1 to 1).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SelfTraining {
    /// The training, on all images.
    #[serde(flatten)]
    pub plan: Plan,
    /// What the logarithms of the teachers' probabilities are divided by: below 1 they sound surer than they are.
    #[serde(default = "one")]
    pub temperature: f32,
}

fn one() -> f32 {
    1.0
}

impl SelfTraining {
    /// Refuses settings that cannot train on `images`.
    ///
    /// # Errors
    /// Names the setting, its value and what it may be.
    pub fn validate_for(&self, images: &Images) -> Result<()> {
        if !(self.temperature > 0.0 && self.temperature.is_finite()) {
            let found = self.temperature;
            return Err(Error::Config(format!("temperature = {found} cannot train; it must be a positive number")));
        }
        self.plan.validate_for(images)
    }
}

/// Trains `student` on views of `images` with what `teachers` say of them, unchanged, as the truth: the mean of their
/// probabilities. Where `labelled` says of an image (by its place in `images`) what it is, that is the truth instead.
///
/// Teachers that err on different images correct one another (Dietterich, "Ensemble Methods in Machine Learning", 2000), and
/// the student learns what they say together (Hinton et al. 2015, arXiv 1503.02531).
///
/// # Errors
/// When there is no teacher; when teachers, student and images do not fit one another; and as any training.
pub fn self_train(
    student: Classifier,
    teachers: &[Classifier],
    images: &Images,
    labelled: &[(usize, u8)],
    settings: &SelfTraining,
    run: &RunDir,
    context: &mut Context<'_>,
) -> Result<Classifier> {
    settings.validate_for(images)?;
    let (plan, classes) = (&settings.plan, student.fc.classes());
    if teachers.is_empty() {
        return Err(Error::Config("self-training without a teacher; give at least one".into()));
    }
    if let Some(other) = teachers.iter().map(|teacher| teacher.fc.classes()).find(|&found| found != classes) {
        return Err(Error::Config(format!("a teacher tells {other} classes apart and the student {classes}")));
    }
    let targets = targets(teachers, images, labelled, settings.temperature)?;
    let maker = ViewMaker::new(&plan.augmentation, images, 1, plan.seed)?;
    let device = context.device.clone();
    let opening = shown::views(&maker, images, context)?;
    let open = |schedule| prefetched(images, maker, schedule);
    let job = Job { label: "Self-training", count: images.len(), plan, run, opening: &opening };
    let step = |model: &Classifier, views: ViewBatch, _| {
        let truth: Vec<f32> =
            views.batch.indices.iter().flat_map(|&index| &targets[index * classes..][..classes]).copied().collect();
        let truth = Tensor::<2>::from_data(TensorData::new(truth, [views.batch.indices.len(), classes]), &device);
        let logits = model.forward(to_tensor(views.pixels, images, &device), Mode::Train);
        Outcome { loss: soft_cross_entropy(logits, truth), watched: None }
    };
    let model = fit(student, job, context, open, step)?;
    run.finish(&state_dict(&model))?;
    Ok(model)
}

/// What the student shall say of each image: probabilities, `[images, classes]`.
fn targets(teachers: &[Classifier], images: &Images, labelled: &[(usize, u8)], temperature: f32) -> Result<Vec<f32>> {
    let classes = teachers[0].fc.classes();
    let mut targets = vec![0.0; images.len() * classes];
    for teacher in teachers {
        let mut probabilities = logits(teacher, images)?;
        for row in probabilities.chunks_exact_mut(classes) {
            let most = row.iter().copied().fold(f32::NEG_INFINITY, f32::max);
            row.iter_mut().for_each(|logit| *logit = (*logit - most).exp());
            to_shares(row);
        }
        targets.iter_mut().zip(&probabilities).for_each(|(target, probability)| *target += probability);
    }
    for row in targets.chunks_exact_mut(classes) {
        // The largest becomes 1, so no power makes nothing of all.
        let most = row.iter().copied().fold(0.0, f32::max);
        row.iter_mut().for_each(|share| *share = (*share / most).powf(1.0 / temperature));
        to_shares(row);
    }
    for &(index, label) in labelled {
        let row = &mut targets[index * classes..][..classes];
        row.fill(0.0);
        row[usize::from(label)] = 1.0;
    }
    Ok(targets)
}

fn to_shares(row: &mut [f32]) {
    let sum: f32 = row.iter().sum();
    row.iter_mut().for_each(|value| *value /= sum);
}

/// Mean cross-entropy of `logits` against the probabilities `truth`, both `[batch, classes]`, as `[1]`.
fn soft_cross_entropy(logits: Tensor<2>, truth: Tensor<2>) -> Tensor<1> {
    let rows = logits.dims()[0] as f32;
    (activation::log_softmax(logits, 1) * truth).sum().neg() / rows
}
