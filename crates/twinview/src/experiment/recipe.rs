//! The settings of an experiment: a preset, a file, single changes.

use std::path::Path;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use toml::{Table, Value};

use crate::dataset::Dataset;
use crate::method::MethodConfig;
use crate::tracking::Tracking;
use crate::training::{HeadPlan, Plan, Pretraining};
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
    /// SimSiam's training on all images.
    pub pretraining: Pretraining,
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
        if !matches!(self.pretraining.method, MethodConfig::Simsiam(_)) {
            let title = self.pretraining.method.title();
            return wrong(format!(
                "pretraining.method is {title}, and this comparison is SimSiam's; compare others with twinview experiment labels"
            ));
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
        dataset.require_labels()?;
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
            ("pretraining", self.pretraining.validate_for(&dataset.pool, dataset.train.len())),
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
/// taken as text. A table that gets another `name`, such as an optimiser, starts from the defaults of that name. The table
/// [`tracking`] of the file is no such setting: where a run is logged is no part of what it is.
///
/// # Errors
/// When the file cannot be read or is no TOML, and for a key or value that the settings do not have.
pub fn merged<T: DeserializeOwned>(base: &str, recipe: Option<&Path>, changes: &[String]) -> Result<T> {
    let mut settings = base.parse::<Table>().map_err(|error| Error::Config(error.to_string()))?;
    if let Some(path) = recipe {
        let mut table = read(path)?;
        table.remove(TRACKING);
        merge(&mut settings, table);
        settings.clone().try_into::<T>().map_err(|error| Error::format(path, unknown(&error)))?;
    }
    // Names come first, because they decide which other settings there are.
    let is_name = |change: &&String| change.split_once('=').is_some_and(|(key, _)| key.trim().ends_with(".name"));
    let (names, others): (Vec<&String>, Vec<&String>) = changes.iter().partition(is_name);
    for change in names.into_iter().chain(others) {
        let (key, value) = change
            .split_once('=')
            .ok_or_else(|| Error::Config(format!("--set {change}: expected key=value, such as seeds=3")))?;
        merge(&mut settings, nested(key.trim(), parsed(value.trim())));
        let applied = settings.clone().try_into::<T>();
        applied.map_err(|error| {
            let message = unknown(&error);
            let advice = match key.trim().rsplit_once('.') {
                Some((table, _)) if message == "missing field `name`" => {
                    format!("; set {table}.name as well, which decides what other settings there are")
                }
                _ => String::new(),
            };
            Error::Config(format!("--set {change}: {message}{advice}"))
        })?;
    }
    settings.try_into().map_err(|error| Error::Config(unknown(&error)))
}

/// Where the file `recipe` wants runs to be logged: its table `tracking`.
///
/// # Errors
/// When the file cannot be read or is no TOML, and for a key or value that the table does not have.
pub fn tracking(recipe: Option<&Path>) -> Result<Tracking> {
    let Some(path) = recipe else { return Ok(Tracking::default()) };
    let table = read(path)?.remove(TRACKING).unwrap_or_else(|| Value::Table(Table::new()));
    table.try_into().map_err(|error| Error::format(path, format!("{TRACKING}: {}", unknown(&error))))
}

/// The table of a recipe that is about where runs are logged.
const TRACKING: &str = "tracking";

fn read(path: &Path) -> Result<Table> {
    let text = std::fs::read_to_string(path).map_err(|error| Error::io(path, "read the recipe", error))?;
    text.parse().map_err(|error| Error::format(path, format!("no valid TOML: {error}")))
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

/// Whether `changes` name something else than `base` holds, whose settings would mean nothing to it.
fn is_renamed(base: &Table, changes: &Table) -> bool {
    changes.get("name").is_some_and(|name| base.get("name") != Some(name))
}

fn merge(base: &mut Table, changes: Table) {
    for (key, value) in changes {
        match (base.get_mut(&key), value) {
            (Some(Value::Table(base)), Value::Table(changes)) if !is_renamed(base, &changes) => merge(base, changes),
            (_, value) => {
                base.insert(key, value);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::optim::{AdamWConfig, CosineConfig, OptimizerConfig, Schedule};

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
        assert_eq!(recipe.pretraining.plan.epochs, 7);
        assert!(recipe.pretraining.plan.augmentation.transforms.is_empty());
    }

    #[test]
    fn another_name_brings_its_own_defaults() {
        let read = |changes: &[&str]| {
            let changes: Vec<String> = changes.iter().map(|change| format!("scratch.{change}")).collect();
            merged::<Recipe>(Preset::Quick.toml(), None, &changes).map(|recipe| recipe.scratch)
        };
        let adamw = AdamWConfig { weight_decay: 0.5, ..AdamWConfig::default() };
        // SGD's settings are gone, and the order of the changes does not matter.
        let plan = read(&["optimizer.momentum=0.8", "optimizer.weight_decay=0.5"]).unwrap();
        let written = toml::to_string(&plan).unwrap();
        for changes in [
            ["optimizer.name=adamw", "optimizer.weight_decay=0.5"],
            ["optimizer.weight_decay=0.5", "optimizer.name=adamw"],
        ] {
            assert_eq!(read(&changes).unwrap().optimizer, OptimizerConfig::AdamW(adamw));
            let changes = changes.map(str::to_owned);
            assert_eq!(merged::<Plan>(&written, None, &changes).unwrap().optimizer, OptimizerConfig::AdamW(adamw));
        }
        let plan = read(&["schedule.warmup_epochs=0.5", "schedule.name=cosine"]).unwrap();
        assert_eq!(plan.schedule, Schedule::Cosine(CosineConfig { warmup_epochs: 0.5, ..CosineConfig::default() }));
        let message = read(&["optimizer.name=adamw", "optimizer.momentum=0.8"]).unwrap_err().to_string();
        assert!(message.contains("unknown field `momentum`"), "{message}");
    }

    #[test]
    fn what_no_setting_is_called_is_an_error() {
        for (change, expected) in [
            ("sedes=3", "unknown field `sedes`"),
            ("head.plan.epoch=3", "unknown field `epoch`"),
            ("head.epochs=3", "unknown field `epochs`"),
            ("seeds=many", "invalid type"),
            ("seeds", "expected key=value"),
            ("pretraining.backbone.width=32", "set pretraining.backbone.name as well"),
        ] {
            let message = merged::<Recipe>(Preset::Quick.toml(), None, &[change.to_owned()]).unwrap_err().to_string();
            assert!(message.contains(expected), "{change}: {message}");
        }
    }
}
