//! Learning from a classifier's own predictions on images without labels.

use burn::tensor::{Tensor, TensorData, activation};
use serde::{Deserialize, Serialize};

use super::fit::{Job, Outcome, fit, prefetched};
use super::supervised::{logits, to_tensor};
use super::{Context, Plan, RunDir, shown};
use crate::augment::{ViewBatch, ViewMaker};
use crate::backbone::{Mode, state_dict};
use crate::dataset::Images;
use crate::embedding::{Matrix, NeighbourGraph, Smoothing, extract};
use crate::evaluation::softmax;
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
    /// How what the teachers say is smoothed over images that look alike to the first of them, before it is taught; not at all
    /// where absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub smoothing: Option<Smoothing>,
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
        self.smoothing.as_ref().map_or(Ok(()), Smoothing::validate)?;
        self.plan.validate_for(images)
    }
}

/// Trains `student` on views of `images` with what `teachers` say of them, unchanged, as the truth: the mean of their
/// probabilities. Where `labelled` says of an image (by its place in `images`) what it is, that is the truth instead.
///
/// Teachers that err on different images correct one another (Dietterich, "Ensemble Methods in Machine Learning", 2000), and
/// the student learns what they say together (Hinton et al. 2015, arXiv 1503.02531). [`Smoothing`] lets each image take over what is
/// said of its neighbours, by the features of the first teacher; classes then become as frequent as they are among the labels.
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
    let targets = targets(teachers, images, labelled, settings, context)?;
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
fn targets(
    teachers: &[Classifier],
    images: &Images,
    labelled: &[(usize, u8)],
    settings: &SelfTraining,
    context: &mut Context<'_>,
) -> Result<Vec<f32>> {
    let classes = teachers[0].fc.classes();
    let mut targets = mean_probabilities(teachers, images)?;
    if let Some(smoothing) = &settings.smoothing {
        // Where neighbours count nothing, nobody needs to know them.
        let graph = (smoothing.weight > 0.0).then(|| alike(&teachers[0], images, smoothing, context)).transpose()?;
        targets = smoothed(targets, graph.as_ref(), smoothing, labelled, classes)?;
    }
    for row in targets.chunks_exact_mut(classes) {
        // The largest becomes 1, so no power makes nothing of all.
        let most = row.iter().copied().fold(0.0, f32::max);
        row.iter_mut().for_each(|share| *share = (*share / most).powf(1.0 / settings.temperature));
        to_shares(row);
    }
    set_labels(&mut targets, labelled, classes);
    Ok(targets)
}

/// Which of `images` look alike to `model`. Every image is compared with every other.
///
/// # Errors
/// When the images are not of the size that it was made for, or too few.
pub fn alike(
    model: &Classifier,
    images: &Images,
    smoothing: &Smoothing,
    context: &mut Context<'_>,
) -> Result<NeighbourGraph> {
    context.reporter.message(&format!("Comparing {0} images with one another, for their neighbours", images.len()));
    let features = extract(&model.backbone, images)?;
    smoothing.graph(Matrix::new(features.values(), features.dimensions())?)
}

/// `probabilities`, `[images, classes]`, smoothed over `graph`, if there is one, with the labels certain; then the classes are
/// brought to how frequent they are among the labels.
///
/// # Errors
/// When the graph is of other images.
pub fn smoothed(
    mut probabilities: Vec<f32>,
    graph: Option<&NeighbourGraph>,
    smoothing: &Smoothing,
    labelled: &[(usize, u8)],
    classes: usize,
) -> Result<Vec<f32>> {
    set_labels(&mut probabilities, labelled, classes);
    if let Some(graph) = graph {
        probabilities = graph.smooth(&probabilities, smoothing.weight, smoothing.steps)?;
    }
    balance(&mut probabilities, labelled, classes);
    Ok(probabilities)
}

/// The mean of what `teachers` say of each image: probabilities, `[images, classes]`.
///
/// # Errors
/// When there is no teacher, or the images are not of the size that it was made for.
pub fn mean_probabilities(teachers: &[Classifier], images: &Images) -> Result<Vec<f32>> {
    let first = teachers.first().ok_or_else(|| Error::Config("no teacher to ask; give at least one".into()))?;
    let classes = first.fc.classes();
    let mut mean = vec![0.0; images.len() * classes];
    for teacher in teachers {
        let mut probabilities = logits(teacher, images)?;
        probabilities.chunks_exact_mut(classes).for_each(softmax);
        mean.iter_mut().zip(&probabilities).for_each(|(sum, probability)| *sum += probability / teachers.len() as f32);
    }
    Ok(mean)
}

/// Makes the labels certain.
fn set_labels(targets: &mut [f32], labelled: &[(usize, u8)], classes: usize) {
    for &(index, label) in labelled {
        let row = &mut targets[index * classes..][..classes];
        row.fill(0.0);
        row[usize::from(label)] = 1.0;
    }
}

/// Makes the classes as frequent, in the mean over all images, as they are among the labels; of a class without a label there are
/// taken to be as many as one label stands for. Few labels let a teacher favour some classes, and smoothing spreads that.
fn balance(targets: &mut [f32], labelled: &[(usize, u8)], classes: usize) {
    let mut wanted = vec![0.0; classes];
    labelled.iter().for_each(|&(_, label)| wanted[usize::from(label)] += 1.0);
    wanted.iter_mut().for_each(|count| *count = f32::max(*count, 1.0));
    let mut found = vec![0.0; classes];
    for row in targets.chunks_exact(classes) {
        found.iter_mut().zip(row).for_each(|(sum, share)| *sum += f64::from(*share));
    }
    for row in targets.chunks_exact_mut(classes) {
        let factors = wanted.iter().zip(&found).map(|(wanted, &found)| wanted / found.max(1e-9) as f32);
        row.iter_mut().zip(factors).for_each(|(share, factor)| *share *= factor);
        to_shares(row);
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn classes_become_as_frequent_as_their_labels() {
        // Three images lean to the first class and one to the second; of the labels it is the other way round.
        let mut targets = [0.9, 0.1, 0.8, 0.2, 0.6, 0.4, 0.3, 0.7];
        balance(&mut targets, &[(0, 0), (1, 1), (2, 1), (3, 1)], 2);
        let share: f32 = targets.chunks(2).map(|row| row[0]).sum::<f32>() / 4.0;
        assert!(targets.chunks(2).all(|row| (row[0] + row[1] - 1.0).abs() < 1e-6));
        assert!((0.25..0.45).contains(&share), "{share}");
        assert!(targets[0] > targets[2] && targets[2] > targets[4] && targets[4] > targets[6], "{targets:?}");
    }

    #[test]
    fn labels_are_certain() {
        let mut targets = vec![0.5; 6];
        set_labels(&mut targets, &[(1, 0), (2, 1)], 2);
        assert_eq!(targets, [0.5, 0.5, 1.0, 0.0, 0.0, 1.0]);
    }
}
