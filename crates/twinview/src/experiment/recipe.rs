//! The settings of an experiment: a preset, a file, single changes.

use std::path::Path;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use toml::{Table, Value};

use crate::dataset::Dataset;
use crate::training::{HeadPlan, Plan};
use crate::{Error, Result};

/// The settings of [`reproduce`](super::reproduce).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Recipe {
    /// What the recipe is called in reports.
    pub name: String,
    /// The dataset.
    pub dataset: String,
    /// How many labels the arms with few labels see: the first ones of the training set.
    pub labels: usize,
    /// Training images to hold out and to score on in the place of the test images: for choosing settings.
    #[serde(default)]
    pub holdout: usize,
    /// Trainings of each arm.
    pub seeds: u64,
    /// Encoders to pretrain; training `i` of the frozen arm uses encoder `i` modulo this.
    pub pretraining_seeds: u64,
    /// Supervised training on all labels.
    pub supervised: Plan,
    /// Supervised training on few labels.
    pub scratch: Plan,
    /// Self-supervised training on all images.
    pub pretraining: Plan,
    /// Training of a head on a frozen encoder with few labels. The equal-updates control trains the whole
    /// network by the same plan.
    pub head: HeadPlan,
}

/// The recipes that come with the program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Preset {
    /// The settings of the article's listing.
    Article,
    /// The same story in minutes.
    Quick,
}

impl Preset {
    /// The recipe as TOML.
    pub fn toml(self) -> &'static str {
        match self {
            Self::Article => include_str!("../../../../recipes/article.toml"),
            Self::Quick => include_str!("../../../../recipes/quick.toml"),
        }
    }
}

impl Recipe {
    /// Refuses recipes that cannot run.
    ///
    /// # Errors
    /// Names the setting, its value and what it may be.
    pub fn validate(&self) -> Result<()> {
        let wrong = |text: String| Err(Error::Config(text));
        if self.seeds == 0 {
            return wrong("seeds = 0 trains nothing; it must be at least 1".into());
        }
        if self.pretraining_seeds == 0 || self.pretraining_seeds > self.seeds {
            let (found, most) = (self.pretraining_seeds, self.seeds);
            return wrong(format!("pretraining_seeds = {found} must be from 1 to seeds = {most}"));
        }
        if self.labels == 0 {
            return wrong("labels = 0 leaves nothing to learn from; it must be at least 1".into());
        }
        Ok(())
    }

    /// Refuses recipes that cannot run on `dataset`.
    ///
    /// # Errors
    /// As [`validate`](Self::validate), and for more labels than images and for a training whose settings cannot
    /// work.
    pub fn validate_for(&self, dataset: &Dataset) -> Result<()> {
        self.validate()?;
        let images = &dataset.train.images;
        if self.labels > images.len() {
            let (labels, count) = (self.labels, images.len());
            let message =
                format!("labels = {labels}, but {} has {count} training images; choose 1 to {count}", dataset.name);
            return Err(Error::Config(message));
        }
        for (name, valid) in [
            ("supervised", self.supervised.validate_for(images)),
            ("scratch", self.scratch.validate_for(images)),
            ("pretraining", self.pretraining.validate_for(images)),
            ("head", self.head.validate_for(images)),
        ] {
            valid.map_err(|error| Error::Config(format!("{name}: {error}")))?;
        }
        Ok(())
    }
}

/// Settings from `base`, changed by the file `recipe` and then by each `key=value` of `changes`.
///
/// Keys of nested settings are joined by dots: `pretraining.epochs=5`. A value is TOML; what is no TOML is
/// taken as text.
///
/// # Errors
/// When the file cannot be read or is no TOML, and for a key or value that the settings do not have.
pub fn merged<T: DeserializeOwned>(base: &str, recipe: Option<&Path>, changes: &[String]) -> Result<T> {
    let parse = |text: &str| text.parse::<Table>().map_err(|error| error.to_string());
    let mut settings = parse(base).map_err(Error::Config)?;
    if let Some(path) = recipe {
        let text = std::fs::read_to_string(path).map_err(|error| Error::io(path, "read the recipe", error))?;
        let table = parse(&text).map_err(|error| Error::format(path, format!("no valid TOML: {error}")))?;
        merge(&mut settings, table);
        settings.clone().try_into::<T>().map_err(|error| Error::format(path, unknown(&error)))?;
    }
    for change in changes {
        let (key, value) = change
            .split_once('=')
            .ok_or_else(|| Error::Config(format!("--set {change}: expected key=value, such as seeds=3")))?;
        merge(&mut settings, nested(key.trim(), parsed(value.trim())));
        let applied = settings.clone().try_into::<T>();
        applied.map_err(|error| Error::Config(format!("--set {change}: {}", unknown(&error))))?;
    }
    settings.try_into().map_err(|error| Error::Config(unknown(&error)))
}

/// The parser's message without its picture of the text, which the user did not write.
fn unknown(error: &toml::de::Error) -> String {
    error.message().trim().to_owned()
}

fn parsed(value: &str) -> Value {
    let table = format!("value = {value}").parse::<Table>();
    let value_of = table.ok().and_then(|mut table| table.remove("value"));
    value_of.unwrap_or_else(|| Value::String(value.to_owned()))
}

fn nested(key: &str, value: Value) -> Table {
    match key.split_once('.') {
        None => Table::from_iter([(key.to_owned(), value)]),
        Some((outer, inner)) => Table::from_iter([(outer.to_owned(), Value::Table(nested(inner, value)))]),
    }
}

fn merge(base: &mut Table, changes: Table) {
    for (key, value) in changes {
        match (base.get_mut(&key), value) {
            (Some(Value::Table(base)), Value::Table(changes)) => merge(base, changes),
            (_, value) => {
                base.insert(key, value);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn presets_are_valid() {
        for preset in [Preset::Article, Preset::Quick] {
            let recipe: Recipe = merged(preset.toml(), None, &[]).unwrap();
            recipe.validate().unwrap();
            let text = toml::to_string(&recipe).unwrap();
            assert_eq!(merged::<Recipe>(&text, None, &[]).unwrap(), recipe);
        }
    }

    #[test]
    fn changes_reach_nested_settings() {
        let changes = ["pretraining.epochs=7", "head.statistics=fixed", "pretraining.augmentation.transforms=[]"];
        let recipe: Recipe = merged(Preset::Article.toml(), None, &changes.map(str::to_owned)).unwrap();
        assert_eq!(recipe.pretraining.epochs, 7);
        assert!(recipe.pretraining.augmentation.transforms.is_empty());
    }

    #[test]
    fn what_no_setting_is_called_is_an_error() {
        for (change, expected) in [
            ("sedes=3", "unknown field `sedes`"),
            ("head.plan.epoch=3", "unknown field `epoch`"),
            ("head.epochs=3", "unknown field `epochs`"),
            ("seeds=many", "invalid type"),
            ("seeds", "expected key=value"),
        ] {
            let message = merged::<Recipe>(Preset::Quick.toml(), None, &[change.to_owned()]).unwrap_err().to_string();
            assert!(message.contains(expected), "{change}: {message}");
        }
    }
}
