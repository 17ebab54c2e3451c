//! The settings of a training.

use serde::{Deserialize, Serialize};

use crate::augment::{Augmentation, Batch, ViewMaker, shuffled_epoch};
use crate::dataset::Images;
use crate::optim::{OptimizerConfig, ParameterGroup, Schedule, check};
use crate::{Error, Result};

/// How a model is trained. Equal plans on equal data give bit-identical weights on a CPU.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Plan {
    /// Passes over the images.
    pub epochs: u64,
    /// Images a batch; the last one of an epoch may have fewer.
    pub batch_size: usize,
    /// Step size; the schedule and the groups may change it.
    pub learning_rate: f32,
    /// Epochs between two checkpoints; the end of the training is always one.
    #[serde(default = "one")]
    pub checkpoint_every: u64,
    /// Batches an update, which follows the mean of their gradients; the last one of an epoch may have fewer.
    #[serde(default = "one", skip_serializing_if = "is_one")]
    pub accumulate: u64,
    /// The optimiser.
    #[serde(default)]
    pub optimizer: OptimizerConfig,
    /// How the learning rate changes over the training.
    #[serde(default, skip_serializing_if = "is_default")]
    pub schedule: Schedule,
    /// Parameters with a learning rate of their own.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub groups: Vec<ParameterGroup>,
    /// How views are made; the images as they are where absent.
    #[serde(default = "Augmentation::identity")]
    pub augmentation: Augmentation,
    /// What all randomness of this training comes from.
    #[serde(default)]
    pub seed: u64,
}

fn one() -> u64 {
    1
}

// Settings that came later stay unwritten where they have their default, so that older runs can be gone on with.

fn is_one(value: &u64) -> bool {
    *value == 1
}

pub(super) fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

impl Plan {
    /// A plan with the default optimiser, a constant learning rate, no augmentation, seed 0, an update a batch and a
    /// checkpoint an epoch.
    pub fn new(epochs: u64, batch_size: usize, learning_rate: f32) -> Self {
        Self {
            epochs,
            batch_size,
            learning_rate,
            checkpoint_every: 1,
            accumulate: 1,
            optimizer: OptimizerConfig::default(),
            schedule: Schedule::default(),
            groups: Vec::new(),
            augmentation: Augmentation::identity(),
            seed: 0,
        }
    }

    /// The same plan under another seed.
    pub fn with_seed(self, seed: u64) -> Self {
        Self { seed, ..self }
    }

    /// Updates of one epoch over `count` images.
    pub fn steps_per_epoch(&self, count: usize) -> u64 {
        self.batches_per_epoch(count).div_ceil(self.accumulate.max(1))
    }

    /// Batches of one epoch over `count` images.
    pub(super) fn batches_per_epoch(&self, count: usize) -> u64 {
        count.div_ceil(self.batch_size.max(1)) as u64
    }

    /// Batches of the update number `step`.
    pub(super) fn batches_of(&self, step: u64, count: usize) -> u64 {
        let before = step % self.steps_per_epoch(count) * self.accumulate;
        self.accumulate.min(self.batches_per_epoch(count) - before)
    }

    /// Refuses settings that cannot train.
    ///
    /// # Errors
    /// Names the setting, its value and what it may be.
    pub fn validate(&self, count: usize) -> Result<()> {
        if count == 0 {
            return Err(Error::Config("there are no images to train on".into()));
        }
        check("epochs", self.epochs, |epochs| (1..1 << 20).contains(epochs), "from 1 to 1048575")?;
        check("batch_size", self.batch_size, |&size| size >= 1, "at least 1")?;
        check("checkpoint_every", self.checkpoint_every, |&every| every >= 1, "at least 1")?;
        check("accumulate", self.accumulate, |&batches| batches >= 1, "at least 1")?;
        check("learning_rate", self.learning_rate, |&rate| rate > 0.0 && rate.is_finite(), "a positive number")?;
        self.optimizer.validate()?;
        self.schedule.validate(self.epochs)?;
        ParameterGroup::validate(&self.groups)
    }

    /// Refuses settings that cannot train on `images`, views included.
    ///
    /// # Errors
    /// As [`validate`](Self::validate), and for an augmentation that does not work on such images.
    pub fn validate_for(&self, images: &Images) -> Result<()> {
        self.validate(images.len())?;
        ViewMaker::new(&self.augmentation, images, 1, self.seed).map(drop)
    }

    /// The batches of the whole training over `count` images, after those of the first `done` updates.
    pub(super) fn batches(&self, count: usize, done: u64) -> impl Iterator<Item = Batch> + Send + use<> {
        let (size, seed, epochs) = (self.batch_size, self.seed, self.epochs);
        let per_epoch = self.steps_per_epoch(count);
        let first = done / per_epoch;
        // A validated plan has batches in every epoch, so no error is lost here.
        (first..epochs)
            .flat_map(move |epoch| shuffled_epoch(count, size, seed, epoch, false).unwrap_or_default())
            .skip(((done - first * per_epoch) * self.accumulate) as usize)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_from_before_the_later_ones_stay_as_they_are() {
        // As the program wrote it before there were optimisers to choose from.
        let text = r#"{"epochs":2,"batch_size":8,"learning_rate":0.5,"checkpoint_every":1,"#.to_owned()
            + r#""optimizer":{"momentum":0.9,"weight_decay":0.00001},"#
            + r#""augmentation":{"draw":"per-image","transforms":[]},"seed":0}"#;
        let plan = Plan::new(2, 8, 0.5);
        assert_eq!(serde_json::to_string(&plan).unwrap(), text);
        assert_eq!(serde_json::from_str::<Plan>(&text).unwrap(), plan);
    }

    #[test]
    fn all_settings_read_back_from_toml() {
        let text = "epochs = 2\nbatch_size = 8\nlearning_rate = 0.5\naccumulate = 4\n\
                    optimizer = { name = 'adamw', weight_decay = 0.05, decay_bias_and_norm = false }\n\
                    schedule = { name = 'cosine', warmup_epochs = 0.5 }\n\
                    groups = [{ prefix = 'prediction_mlp', constant = true }, { prefix = 'a', learning_rate_scale = 0 }]";
        let plan: Plan = toml::from_str(text).unwrap();
        plan.validate(16).unwrap();
        assert!(plan.groups[0].constant && plan.groups[0].learning_rate_scale == 1.0);
        assert_eq!(toml::from_str::<Plan>(&toml::to_string(&plan).unwrap()).unwrap(), plan);
    }

    #[test]
    fn settings_that_cannot_train_are_errors() {
        let plan = Plan::new(2, 8, 0.5);
        let group = ParameterGroup { prefix: String::new(), learning_rate_scale: 1.0, constant: false };
        for (plan, expected) in [
            (Plan { accumulate: 0, ..plan.clone() }, "accumulate = 0 cannot train; it must be at least 1"),
            (Plan { groups: vec![group], ..plan.clone() }, "groups[0].prefix"),
            (Plan { epochs: 0, ..plan.clone() }, "epochs = 0 cannot train; it must be from 1 to 1048575"),
        ] {
            let message = plan.validate(16).unwrap_err().to_string();
            assert!(message.contains(expected), "{message}");
        }
    }

    #[test]
    fn an_epoch_ends_with_the_batches_that_are_left() {
        let plan = Plan { accumulate: 3, ..Plan::new(2, 4, 0.1) };
        // 27 images are 7 batches.
        assert_eq!(plan.steps_per_epoch(27), 3);
        assert_eq!([0, 1, 2, 3, 4, 5].map(|step| plan.batches_of(step, 27)), [3, 3, 1, 3, 3, 1]);
        let all: Vec<Batch> = plan.batches(27, 0).collect();
        assert_eq!(all.len(), 14);
        for (done, batches) in [(1, 3), (2, 6), (3, 7), (5, 13), (6, 14)] {
            assert_eq!(plan.batches(27, done).collect::<Vec<_>>(), all[batches..], "{done}");
        }
    }
}
