//! The settings of a label curve.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::encoders::pretraining_of;
use crate::dataset::Dataset;
use crate::embedding::Smoothing;
use crate::training::{Plan, Pretraining, SelfTraining};
use crate::{Error, Result};

/// The settings of [`label_curve`](super::label_curve).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LabelRecipe {
    /// What the recipe is called in reports.
    pub name: String,
    /// The dataset.
    pub dataset: String,
    /// Numbers of labels; one that is larger than the training set means all of it.
    pub budgets: Vec<usize>,
    /// How the labelled images are chosen.
    pub chosen: Vec<Chosen>,
    /// Trainings of each arm, each with labels of its own where they are drawn.
    pub seeds: u64,
    /// Encoders to pretrain; training `i` uses encoder `i` modulo this.
    pub pretraining_seeds: u64,
    /// Training images on which settings are chosen, for each budget anew. Nothing learns from their labels meanwhile.
    /// 5,000 where absent, or a fifth of the training images if that is less.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub validation: Option<usize>,
    /// Self-supervised training on all images.
    pub pretraining: Pretraining,
    /// Ways to train from random weights; the best on the validation images is taken.
    pub scratch: Vec<Budgeted>,
    /// Ways to train on from the pretrained encoder and its linear head; none for no such arm, and no self-training.
    #[serde(default)]
    pub fine_tuning: Vec<Budgeted>,
    /// Fine-tuned models that teach a student, and as many trained from random weights; 0 for no student.
    #[serde(default = "one")]
    pub teachers: u64,
    /// How the student learns from them on all images; none for no such arm.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub self_training: Option<SelfTraining>,
    /// Weights of neighbours in [`SelfTraining::smoothing`]; the best on the validation images is taken, for each budget anew.
    #[serde(default = "as_it_is")]
    pub smoothing_weights: Vec<f32>,
}

fn one() -> u64 {
    1
}

fn as_it_is() -> Vec<f32> {
    vec![0.0]
}

/// How labelled images are chosen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Chosen {
    /// As many of each class, drawn by the seed.
    Stratified,
    /// The first ones of the training set.
    First,
    /// Those that the pretrained encoder finds worth a label, as [`most_typical`](crate::embedding::most_typical) does; all arms get
    /// the same.
    Typical,
}

impl Chosen {
    /// Its name in tables and folders.
    pub fn name(self) -> &'static str {
        match self {
            Self::Stratified => "stratified",
            Self::First => "first",
            Self::Typical => "typical",
        }
    }
}

/// A training that lasts long enough with few labels too.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Budgeted {
    /// Updates that are made at least; epochs are added until they are.
    pub updates: u64,
    /// The training.
    pub plan: Plan,
}

impl Budgeted {
    pub(super) fn plan(&self, labels: usize, seed: u64) -> Plan {
        let plan = self.plan.clone();
        let epochs = plan.epochs.max(self.updates.div_ceil(plan.steps_per_epoch(labels)));
        Plan { epochs, checkpoint_every: epochs, seed: plan.seed + seed, ..plan }
    }
}

/// The recipe of a label curve, as TOML without its name, with the `pretraining` of a method (TOML of a [`Pretraining`]).
///
/// # Errors
/// When `pretraining` is no TOML.
pub fn label_recipe(pretraining: &str) -> Result<String> {
    let parse = |text: &str| text.parse::<toml::Table>().map_err(|error| Error::Config(error.to_string()));
    let mut recipe = parse(include_str!("../../../../../recipes/labels.toml"))?;
    recipe.insert("pretraining".to_owned(), parse(pretraining)?.into());
    toml::to_string(&recipe).map_err(|error| Error::Config(error.to_string()))
}

impl LabelRecipe {
    /// Refuses recipes that cannot run on `dataset`.
    ///
    /// # Errors
    /// Names the setting, its value and what it may be.
    pub fn validate_for(&self, dataset: &Dataset) -> Result<()> {
        let wrong = |text: String| Err(Error::Config(text));
        if self.budgets.is_empty() || self.budgets.contains(&0) {
            return wrong(format!(
                "budgets = {:?} must be numbers of labels, at least one and none of them 0",
                self.budgets
            ));
        }
        if self.chosen.is_empty() {
            return wrong(
                "chosen = [] leaves nothing to train on; name \"stratified\", \"first\" or \"typical\"".into(),
            );
        }
        if self.seeds == 0 || self.pretraining_seeds == 0 || self.pretraining_seeds > self.seeds {
            let (seeds, encoders) = (self.seeds, self.pretraining_seeds);
            return wrong(format!(
                "seeds = {seeds} and pretraining_seeds = {encoders}: both at least 1, seeds the larger"
            ));
        }
        if self.scratch.is_empty() {
            return wrong(
                "scratch = [] leaves the comparison without its control; give at least one way to train".into(),
            );
        }
        if self.smoothing_weights.is_empty() {
            return wrong("smoothing_weights = [] leaves nothing to choose from; [0.0] smooths nothing".into());
        }
        if let Some(smoothing) = self.self_training.as_ref().and_then(|settings| settings.smoothing) {
            self.smoothing_weights.iter().try_for_each(|&weight| Smoothing { weight, ..smoothing }.validate())?;
        }
        dataset.require_labels()?;
        let images = &dataset.train.images;
        let (found, count) = (self.validation_among(images.len()), images.len());
        if found == 0 || found >= count {
            return wrong(format!(
                "validation = {found} must leave some of the {count} training images on either side; {} would",
                (count / 5).max(1)
            ));
        }
        self.self_training.as_ref().map_or(Ok(()), |settings| settings.validate_for(&dataset.pool))?;
        self.pretraining.validate_for(&dataset.pool, dataset.train.len())?;
        let mut plans = self.scratch.iter().chain(&self.fine_tuning).map(|budgeted| &budgeted.plan);
        plans.try_for_each(|plan| plan.validate_for(images))
    }

    /// How many of so many training images settings are chosen on.
    pub(super) fn validation_among(&self, images: usize) -> usize {
        self.validation.unwrap_or((images / 5).min(5000))
    }

    /// Refuses recipes whose pretraining is not that of `encoders`, where there are any.
    ///
    /// # Errors
    /// As [`pretraining_of`], and names what differs.
    pub(super) fn validate_with(&self, encoders: &[PathBuf]) -> Result<()> {
        if encoders.is_empty() {
            return Ok(());
        }
        let (seeds, runs) = (self.pretraining_seeds, encoders.len());
        if seeds != runs as u64 {
            let message = format!("pretraining_seeds = {seeds} must be the number of encoders, {runs}; leave it out");
            return Err(Error::Config(message));
        }
        if self.pretraining != pretraining_of(encoders)? {
            let message = "pretraining: the encoders are pretrained already, and otherwise; leave these settings out";
            return Err(Error::Config(message.into()));
        }
        Ok(())
    }
}
