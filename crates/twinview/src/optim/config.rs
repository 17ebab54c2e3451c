//! Which optimiser, and its settings.

use std::fmt::Display;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::{AdamWConfig, LarsConfig, SgdConfig};
use crate::{Error, Result};

/// An optimiser and its settings.
///
/// In a recipe it is a table with a `name`: `sgd`, `lars` or `adamw`. SGD needs no name and is written without one,
/// because settings from before there was a choice have none.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "name", rename_all = "lowercase", try_from = "Named")]
#[allow(missing_docs, reason = "each is described by the type it holds")]
pub enum OptimizerConfig {
    Lars(LarsConfig),
    AdamW(AdamWConfig),
    #[serde(untagged)]
    Sgd(SgdConfig),
}

impl Default for OptimizerConfig {
    /// SGD with its defaults.
    fn default() -> Self {
        Self::Sgd(SgdConfig::default())
    }
}

impl OptimizerConfig {
    /// Refuses settings that cannot train.
    ///
    /// # Errors
    /// Names the setting, its value and what it may be.
    pub fn validate(&self) -> Result<()> {
        match self {
            Self::Sgd(config) => config.validate(),
            Self::Lars(config) => config.validate(),
            Self::AdamW(config) => config.validate(),
        }
    }
}

#[derive(Deserialize)]
struct Named {
    #[serde(default)]
    name: Name,
    #[serde(flatten)]
    settings: toml::Table,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Name {
    #[default]
    Sgd,
    Lars,
    AdamW,
}

impl TryFrom<Named> for OptimizerConfig {
    type Error = String;

    fn try_from(Named { name, settings }: Named) -> std::result::Result<Self, String> {
        fn read<T: DeserializeOwned>(settings: toml::Table) -> std::result::Result<T, String> {
            settings.try_into().map_err(|error| error.message().to_owned())
        }
        Ok(match name {
            Name::Sgd => Self::Sgd(read(settings)?),
            Name::Lars => Self::Lars(read(settings)?),
            Name::AdamW => Self::AdamW(read(settings)?),
        })
    }
}

/// Passes where `value` is one that `valid` takes.
///
/// # Errors
/// Names the setting, its value and what it may be.
pub(crate) fn check<T: Display>(
    name: &str,
    value: T,
    valid: impl FnOnce(&T) -> bool,
    expected: impl Display,
) -> Result<()> {
    if valid(&value) {
        return Ok(());
    }
    Err(Error::Config(format!("{name} = {value} cannot train; it must be {expected}")))
}

/// Checks a share of the past that is kept.
pub(super) fn check_share(name: &str, value: f32) -> Result<()> {
    check(name, value, |value| (0.0..1.0).contains(value), "at least 0 and below 1")
}

/// Checks a number that may not be 0.
pub(super) fn check_positive(name: &str, value: f32) -> Result<()> {
    check(name, value, |&value| value > 0.0 && value.is_finite(), "a positive number")
}

/// Checks a number that may be 0.
pub(super) fn check_not_negative(name: &str, value: f32) -> Result<()> {
    check(name, value, |&value| value >= 0.0 && value.is_finite(), "0 or a positive number")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> std::result::Result<OptimizerConfig, String> {
        toml::from_str(text).map_err(|error: toml::de::Error| error.message().to_owned())
    }

    #[test]
    fn what_has_no_name_is_sgd() {
        let expected = SgdConfig { momentum: 0.8, weight_decay: 0.0, ..SgdConfig::default() };
        assert_eq!(read("momentum = 0.8\nweight_decay = 0").unwrap(), OptimizerConfig::Sgd(expected));
        assert_eq!(read("name = 'sgd'\nmomentum = 0.8\nweight_decay = 0").unwrap(), OptimizerConfig::Sgd(expected));
        assert_eq!(read("").unwrap(), OptimizerConfig::default());
        assert_eq!(toml::to_string(&OptimizerConfig::Sgd(expected)).unwrap(), "momentum = 0.8\nweight_decay = 0.0\n");
    }

    #[test]
    fn settings_read_back_as_they_were_written() {
        let sgd = SgdConfig { decay_bias_and_norm: false, ..SgdConfig::default() };
        let lars = LarsConfig { trust_coefficient: 0.02, ..LarsConfig::default() };
        let adamw = AdamWConfig { betas: [0.8, 0.99], ..AdamWConfig::default() };
        for config in [OptimizerConfig::Sgd(sgd), OptimizerConfig::Lars(lars), OptimizerConfig::AdamW(adamw)] {
            assert_eq!(read(&toml::to_string(&config).unwrap()).unwrap(), config);
            let json = serde_json::to_string(&config).unwrap();
            assert_eq!(serde_json::from_str::<OptimizerConfig>(&json).unwrap(), config, "{json}");
        }
    }

    #[test]
    fn what_an_optimiser_does_not_have_is_an_error() {
        for (text, expected) in [
            ("lr = 3", "unknown field `lr`, expected one of `momentum`, `weight_decay`"),
            ("name = 'adamw'\nmomentum = 0.9", "unknown field `momentum`, expected one of `betas`"),
            ("name = 'lars'\nbetas = [0.9, 0.99]", "unknown field `betas`, expected one of `momentum`"),
            ("name = 'adam'", "unknown variant `adam`, expected one of `sgd`, `lars`, `adamw`"),
        ] {
            let message = read(text).unwrap_err();
            assert!(message.contains(expected), "{text}: {message}");
        }
    }

    #[test]
    fn settings_that_cannot_train_are_errors() {
        for (text, expected) in [
            ("momentum = 1", "optimizer.momentum = 1 cannot train; it must be at least 0 and below 1"),
            ("weight_decay = -1", "optimizer.weight_decay = -1 cannot train; it must be 0 or a positive number"),
            ("name = 'lars'\nmomentum = nan", "optimizer.momentum = NaN"),
            ("name = 'lars'\nweight_decay = inf", "optimizer.weight_decay = inf"),
            ("name = 'lars'\ntrust_coefficient = 0", "optimizer.trust_coefficient = 0"),
            ("name = 'adamw'\nbetas = [1, 0.9]", "optimizer.betas[0] = 1"),
            ("name = 'adamw'\nbetas = [0.9, -0.1]", "optimizer.betas[1] = -0.1"),
            ("name = 'adamw'\nepsilon = 0", "optimizer.epsilon = 0 cannot train; it must be a positive number"),
            ("name = 'adamw'\nweight_decay = -1", "optimizer.weight_decay = -1"),
        ] {
            let message = read(text).unwrap().validate().unwrap_err().to_string();
            assert!(message.contains(expected), "{text}: {message}");
        }
    }
}
