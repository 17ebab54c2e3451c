//! The settings of a training.

use serde::{Deserialize, Serialize};

use crate::augment::{Augmentation, Batch, ViewMaker, shuffled_epoch};
use crate::dataset::Images;
use crate::optim::SgdConfig;
use crate::{Error, Result};

/// How a model is trained. Equal plans on equal data give bit-identical weights on a CPU.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Plan {
    /// Passes over the images.
    pub epochs: u64,
    /// Images a step; the last step of an epoch may have fewer.
    pub batch_size: usize,
    /// Step size, constant.
    pub learning_rate: f32,
    /// Epochs between two checkpoints; the end of the training is always one.
    #[serde(default = "one")]
    pub checkpoint_every: u64,
    /// The optimiser.
    #[serde(default)]
    pub optimizer: SgdConfig,
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

impl Plan {
    /// A plan with the default optimiser, no augmentation, seed 0 and a checkpoint an epoch.
    pub fn new(epochs: u64, batch_size: usize, learning_rate: f32) -> Self {
        Self {
            epochs,
            batch_size,
            learning_rate,
            checkpoint_every: 1,
            optimizer: SgdConfig::default(),
            augmentation: Augmentation::identity(),
            seed: 0,
        }
    }

    /// The same plan under another seed.
    pub fn with_seed(self, seed: u64) -> Self {
        Self { seed, ..self }
    }

    /// Steps of one epoch over `count` images.
    pub fn steps_per_epoch(&self, count: usize) -> u64 {
        count.div_ceil(self.batch_size.max(1)) as u64
    }

    /// Refuses settings that cannot train.
    ///
    /// # Errors
    /// Names the setting, its value and what it may be.
    pub fn validate(&self, count: usize) -> Result<()> {
        let wrong = |name: &str, value: &dyn std::fmt::Display, expected: &str| {
            Err(Error::Config(format!("{name} = {value} cannot train; it must be {expected}")))
        };
        if count == 0 {
            return Err(Error::Config("there are no images to train on".into()));
        }
        if self.epochs == 0 || self.epochs >= 1 << 20 {
            return wrong("epochs", &self.epochs, "from 1 to 1048575");
        }
        if self.batch_size == 0 {
            return wrong("batch_size", &self.batch_size, "at least 1");
        }
        if self.checkpoint_every == 0 {
            return wrong("checkpoint_every", &self.checkpoint_every, "at least 1");
        }
        if !(self.learning_rate > 0.0 && self.learning_rate.is_finite()) {
            return wrong("learning_rate", &self.learning_rate, "a positive number");
        }
        if !(0.0..1.0).contains(&self.optimizer.momentum) {
            return wrong("optimizer.momentum", &self.optimizer.momentum, "at least 0 and below 1");
        }
        if !(self.optimizer.weight_decay >= 0.0 && self.optimizer.weight_decay.is_finite()) {
            return wrong("optimizer.weight_decay", &self.optimizer.weight_decay, "0 or a positive number");
        }
        Ok(())
    }

    /// Refuses settings that cannot train on `images`, views included.
    ///
    /// # Errors
    /// As [`validate`](Self::validate), and for an augmentation that does not work on such images.
    pub fn validate_for(&self, images: &Images) -> Result<()> {
        self.validate(images.len())?;
        ViewMaker::new(&self.augmentation, images, 1, self.seed).map(drop)
    }

    /// The batches of the whole training over `count` images, after the first `done` ones.
    pub(super) fn schedule(&self, count: usize, done: u64) -> impl Iterator<Item = Batch> + Send + use<> {
        let (size, seed, epochs) = (self.batch_size, self.seed, self.epochs);
        let per_epoch = self.steps_per_epoch(count);
        let first = done / per_epoch;
        // A validated plan has batches in every epoch, so no error is lost here.
        (first..epochs)
            .flat_map(move |epoch| shuffled_epoch(count, size, seed, epoch, false).unwrap_or_default())
            .skip((done - first * per_epoch) as usize)
    }
}
