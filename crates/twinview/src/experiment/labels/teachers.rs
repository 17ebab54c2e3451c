//! Who teaches the student of a self-training, and what.

use serde_json::{Value, json};

use super::{Arm, Cell, Experiment};
use crate::dataset::Split;
use crate::embedding::{NeighbourGraph, Smoothing};
use crate::evaluation::{ClassificationReport, most_probable};
use crate::experiment::stored::Stored;
use crate::method::Classifier;
use crate::training::{Context, SelfTraining, alike, mean_probabilities, smoothed};
use crate::{Error, Result};

/// What was chosen for an arm at a budget.
pub(super) struct Lesson {
    /// Whether models from scratch teach beside fine-tuned ones.
    pub(super) with_scratch: bool,
    pub(super) settings: SelfTraining,
}

impl Experiment<'_> {
    /// The lesson for `cell` that is best on the validation images, at its budget: who teaches, and how much neighbours count. It is
    /// judged by what two teachers say, one fine-tuned and one from scratch, without a student.
    pub(super) fn lesson(&self, cell: Cell, context: &mut Context<'_>) -> Result<Lesson> {
        let settings = self.recipe.self_training.clone().ok_or_else(|| Error::Config("no self_training".into()))?;
        let Cell { arm, chosen, budget, .. } = cell;
        let place = format!("{}-{budget}", chosen.name());
        let result = Stored::open(self.run.join(format!("tuning/{}/{place}.json", arm.name())), || {
            let budget = budget.min(self.learning.len());
            let labelled = self.labelled(Cell { budget, seed: 0, ..cell }, &self.learning, context)?;
            let mut model = |arm: Arm| {
                let way = self.best_way(Cell { arm, ..cell }, context)?;
                let folder = self.run.join(format!("tuning/{}/{place}/way-{way}", arm.name()));
                let cell = Cell { arm, budget, seed: 0, member: 0, chosen };
                self.train(cell, way, &self.learning, &labelled, &folder, context)
            };
            let (teachers, mixtures) = match arm {
                Arm::SelfTrained => (vec![model(Arm::FineTuned)?, model(Arm::Scratch)?], 2),
                _ => (vec![model(Arm::Scratch)?], 1),
            };
            let truth: Vec<(usize, u8)> =
                labelled.iter().map(|&at| (self.learning_places[at], self.learning.labels[at])).collect();
            let pool = &self.dataset.pool;
            let smoothing =
                settings.smoothing.map(|smoothing| Ok((alike(&teachers[0], pool, &smoothing, context)?, smoothing)));
            let smoothing = smoothing.transpose()?;
            let mut tried = Vec::new();
            for count in 1..=mixtures {
                let said = mean_probabilities(&teachers[..count], pool)?;
                tried.extend(self.judged(said, smoothing.as_ref(), &truth, count)?);
            }
            let score = |one: &Value| one["macro_f1"].as_f64().unwrap_or(0.0);
            let best =
                (0..tried.len()).fold(0, |best, at| if score(&tried[at]) > score(&tried[best]) { at } else { best });
            Ok(json!({ "best": tried[best], "tried": tried }))
        })?;
        let weight = result.number(&["best", "weight"])? as f32;
        let smoothing = settings.smoothing.map(|smoothing| Smoothing { weight, ..smoothing });
        let with_scratch = result.number(&["best", "teachers"])? > 1.0;
        Ok(Lesson { with_scratch, settings: SelfTraining { smoothing, ..settings } })
    }

    /// The scores on the validation images of what `count` teachers, who saw the labels of `truth`, `said` of the pool: smoothed by
    /// each weight that there is to choose from.
    fn judged(
        &self,
        said: Vec<f32>,
        smoothing: Option<&(NeighbourGraph, Smoothing)>,
        truth: &[(usize, u8)],
        count: usize,
    ) -> Result<Vec<Value>> {
        let classes = self.dataset.class_names.len();
        let score = |weight: f32, said: &[f32]| {
            let best = |&place: &usize| most_probable(&said[place * classes..][..classes]) as u8;
            let predicted: Vec<u8> = self.validation_places.iter().map(best).collect();
            let f1 = ClassificationReport::new(&self.validation.labels, &predicted)?.macro_average().f1;
            Ok(json!({ "teachers": count, "weight": weight, "macro_f1": f1 }))
        };
        let Some((graph, smoothing)) = smoothing else { return Ok(vec![score(0.0, &said)?]) };
        let weights = self.recipe.smoothing_weights.iter();
        weights
            .map(|&weight| {
                let smoothing = Smoothing { weight, ..*smoothing };
                score(weight, &smoothed(said.clone(), Some(graph), &smoothing, truth, classes)?)
            })
            .collect()
    }

    /// Fine-tuned models and as many trained from random weights, which err on other images, or fine-tuned ones alone. The student
    /// without a pretrained encoder has as many teachers, all of them from random weights. Fine-tuned ones share the student's
    /// encoder: on three encoders of VICReg teachers taught no better (Fashion-MNIST, 100 and 1,000 labels, test images).
    pub(super) fn teachers(
        &self,
        cell: Cell,
        with_scratch: bool,
        train: &Split,
        labelled: &[usize],
        context: &mut Context<'_>,
    ) -> Result<Vec<Classifier>> {
        let count = self.recipe.teachers;
        let (tuned, scratch) = match cell.arm {
            Arm::SelfTrained if with_scratch => (count, count),
            Arm::SelfTrained => (2 * count, 0),
            _ => (0, 2 * count),
        };
        let tuned = (0..tuned).map(|member| Cell { arm: Arm::FineTuned, member, ..cell });
        let scratch = (0..scratch).map(|member| Cell { arm: Arm::Scratch, member, ..cell });
        tuned
            .chain(scratch)
            .map(|cell| {
                let way = self.best_way(cell, context)?;
                self.train(cell, way, train, labelled, &self.folder(cell), context)
            })
            .collect()
    }
}
