//! What can be seen of a pretraining while it runs.

use burn::tensor::Tensor;
use serde::{Deserialize, Serialize};

use super::Pretraining;
use super::fit::{Epoch, Sight};
use crate::backbone::Backbone;
use crate::dataset::{Images, Portion, Split, split_validation, stratified};
use crate::embedding::{Features, Matrix, Metric, Vote, accuracy, extract};
use crate::evaluation::{
    Advisor, LogisticRegression, Observation, alignment, effective_rank, output_spread, uniformity,
};
use crate::tracking::{Entry, Histogram};
use crate::{Error, Result};

/// Images whose features are looked at without labels.
const SAMPLE: usize = 1024;
/// Neighbours that vote, and how much nearer ones count more.
const NEIGHBOURS: usize = 20;
const TEMPERATURE: f32 = 0.07;
/// Penalty of the online linear probe: strong, since there are more features than labels.
const C: f64 = 0.01;

/// How a pretraining is watched. Nothing of it touches the encoder.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Watch {
    /// Epochs between two looks.
    pub every: u64,
    /// Labelled training images for an online kNN and an online linear probe, drawn as equally many of each class; 0 to
    /// do without labels.
    pub labels: usize,
    /// Other training images that these two are scored on. The test images are never looked at.
    pub validation: usize,
}

impl Default for Watch {
    fn default() -> Self {
        Self { every: 1, labels: 0, validation: 2000 }
    }
}

impl Watch {
    pub(super) fn validate_for(&self, count: usize) -> Result<()> {
        let Self { every, labels, validation } = *self;
        if every == 0 {
            return Err(Error::Config("watch.every = 0 never looks; it must be at least 1".into()));
        }
        if labels > 0 && (validation == 0 || labels + validation > count) {
            return Err(Error::Config(format!(
                "watch.labels = {labels} and watch.validation = {validation} must be at least 1 and together at most the {count} \
                 labelled training images"
            )));
        }
        Ok(())
    }
}

/// Looks at a pretraining at the end of its epochs.
pub(super) struct Watcher {
    watch: Watch,
    advisor: Advisor,
    sample: Split,
    /// What votes, what is scored, and the number of classes.
    judged: Option<(Split, Split, usize)>,
}

impl Watcher {
    pub(super) fn new(settings: &Pretraining, images: &Images, labels: &[u8]) -> Result<Self> {
        let watch = settings.watch;
        let classes = labels.iter().max().map_or(0, |&most| usize::from(most) + 1);
        let step = images.len().div_ceil(SAMPLE).max(1);
        let places: Vec<usize> = (0..images.len()).step_by(step).collect();
        // Images without a label are shown as one class more.
        let shown = places.iter().map(|&place| labels.get(place).copied().unwrap_or(classes as u8)).collect();
        let sample = Split { images: images.select(&places), labels: shown };
        let judged = if watch.labels == 0 {
            None
        } else {
            let split = &Split { images: images.first(labels.len()), labels: labels.to_vec() };
            let (rest, validation) = split_validation(split, Portion::Count(watch.validation), settings.plan.seed)?;
            let rest = split.select(&rest);
            let labelled = rest.select(&stratified(&rest, watch.labels, settings.plan.seed)?);
            Some((labelled, split.select(&validation), classes))
        };
        Ok(Self { watch, advisor: Advisor::new(), sample, judged })
    }

    /// Measures after `epoch` what there is to measure.
    pub(super) fn look(&mut self, backbone: &Backbone, epoch: Epoch) -> Result<Sight> {
        let Epoch { number, of, loss, watched, shown } = epoch;
        let mut seen = Sight::default();
        let Some((width, output)) = watched.map(rows) else { return Ok(seen) };
        let (first, second) = output.split_at(output.len() / 2 / width * width);
        let mut observation = Observation { epoch: number, epochs: of, loss, ..Observation::default() };
        observation.output_std = output_spread(first, width);
        // A loss that is a number can come with outputs that are none; the spread says so.
        let is_finite = output.iter().all(|value| value.is_finite());
        if is_finite && (number.is_multiple_of(self.watch.every) || number == of) {
            let first = Matrix::new(first, width)?;
            if second.len() == first.values().len() {
                observation.alignment = Some(alignment(first, Matrix::new(second, width)?)?);
            }
            if first.rows() > 1 {
                observation.uniformity = Some(uniformity(first)?);
            }
            let features = extract(backbone, &self.sample.images)?;
            observation.effective_rank = Some(effective_rank(matrix(&features)?));
            if shown {
                seen.entries.extend(self.show(features, number == of));
            }
            if let Some((labelled, validation, classes)) = &self.judged {
                let [train, test] = [labelled, validation].map(|split| extract(backbone, &split.images));
                let (train, test) = (train?, test?);
                let (train, test) = (matrix(&train)?, matrix(&test)?);
                let vote = Vote::Weighted { temperature: TEMPERATURE };
                let k = NEIGHBOURS.min(labelled.len());
                let sides = ((train, labelled.labels.as_slice()), (test, validation.labels.as_slice()));
                observation.knn_accuracy = Some(accuracy(sides.0, sides.1, k, Metric::Cosine, vote)?);
                let regression = LogisticRegression { c: C, ..LogisticRegression::default() };
                let predicted = regression.fit(train, &labelled.labels, *classes)?.predict(test)?;
                let right = predicted.iter().zip(&validation.labels).filter(|(one, other)| one == other).count();
                seen.values.push(("linear_accuracy", right as f64 / validation.len() as f64));
            }
        }
        let measured = [
            ("output_std", observation.output_std),
            ("alignment", observation.alignment),
            ("uniformity", observation.uniformity),
            ("effective_rank", observation.effective_rank),
            ("knn_accuracy", observation.knn_accuracy),
        ];
        seen.values.splice(0..0, measured.into_iter().filter_map(|(name, value)| Some((name, value?))));
        for (name, value, digits) in [
            ("output std", observation.output_std, 2),
            ("effective rank", observation.effective_rank, 0),
            ("kNN", observation.knn_accuracy, 3),
        ] {
            value.into_iter().for_each(|value| seen.summary.push_str(&format!(", {name} {value:.digits$}")));
        }
        seen.messages.extend(self.advisor.observe(observation));
        seen.health = Some(self.advisor.verdict());
        if number == of {
            seen.messages.extend(self.advisor.summary());
        }
        Ok(seen)
    }

    /// The features of the sample to look at: how they are spread, and at the end where each image lies.
    fn show(&self, features: Features, is_end: bool) -> Vec<Entry> {
        let name = "backbone".to_owned();
        let histogram = Histogram::of(features.values());
        let histogram = histogram.map(|histogram| Entry::Histogram { name: format!("features/{name}"), histogram });
        let Split { images, labels } = self.sample.clone();
        let embedding = is_end.then(|| Entry::Embedding { name, features: features.into_values(), labels, images });
        histogram.into_iter().chain(embedding).collect()
    }
}

fn matrix(features: &Features) -> Result<Matrix<'_>> {
    Matrix::new(features.values(), features.dimensions())
}

/// Width and values.
fn rows(output: Tensor<2>) -> (usize, Vec<f32>) {
    (output.dims()[1], output.into_data_as::<f32>().iter::<f32>().collect())
}
