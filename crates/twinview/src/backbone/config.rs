//! Which encoder there is: a setting of trainings, and what a file of weights is told by.

use std::fmt;

use burn::tensor::Device;
use serde::{Deserialize, Serialize};

use super::{Backbone, ConvStackConfig, ResNetConfig, VitConfig};
use crate::{Error, Result};

/// The kind and size of an encoder: the setting `backbone`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "name", rename_all = "kebab-case")]
#[allow(missing_docs, reason = "each is described by the type it holds")]
pub enum Architecture {
    Conv(ConvStackConfig),
    Resnet18(ResNetConfig),
    Vit(VitConfig),
}

impl Default for Architecture {
    /// The article's three convolutions.
    fn default() -> Self {
        Self::Conv(ConvStackConfig::default())
    }
}

impl Architecture {
    /// The names that the setting may have.
    pub const NAMES: [&'static str; 3] = ["conv", "resnet18", "vit"];

    /// Its name among the settings.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Conv(_) => "conv",
            Self::Resnet18(_) => "resnet18",
            Self::Vit(_) => "vit",
        }
    }

    /// Refuses sizes that no encoder can have.
    ///
    /// # Errors
    /// Names the setting, its value and what it may be.
    pub fn validate(&self) -> Result<()> {
        match self {
            // Files of weights are recognised by their three convolutions.
            Self::Conv(config) if config.widths.len() != 3 => {
                let found = &config.widths;
                Err(Error::Config(format!("backbone.widths = {found:?} makes no encoder; expected three sizes")))
            }
            Self::Conv(config) => at_least_one("widths", &config.widths),
            Self::Resnet18(config) => {
                at_least_one("width", &[config.width])?;
                at_least_one("blocks", &config.blocks)
            }
            Self::Vit(config) => config.validate(),
        }
    }

    /// Refuses images of `height` × `width` pixels where it cannot take them.
    ///
    /// # Errors
    /// Names the setting, the size of the images and what would fit.
    pub fn validate_for(&self, height: usize, width: usize) -> Result<()> {
        self.validate()?;
        match self {
            Self::Vit(config) => config.validate_for(height, width),
            Self::Conv(_) | Self::Resnet18(_) => Ok(()),
        }
    }
}

fn at_least_one(name: &str, sizes: &[usize]) -> Result<()> {
    if sizes.contains(&0) {
        return Err(Error::Config(format!(
            "backbone.{name} = {sizes:?} makes no encoder; expected sizes of at least 1"
        )));
    }
    Ok(())
}

/// All that shapes a [`Backbone`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BackboneConfig {
    /// Channels of an image: 1 for grey, 3 for RGB.
    pub in_channels: usize,
    /// The rest.
    pub architecture: Architecture,
}

impl BackboneConfig {
    /// The article's encoder for grey images: of 28 × 28 pixels it makes 2,048 features.
    pub fn article() -> Self {
        Self { in_channels: 1, architecture: Architecture::default() }
    }

    /// Features of an image of `height` × `width` pixels.
    pub fn features(&self, height: usize, width: usize) -> usize {
        match &self.architecture {
            Architecture::Conv(config) => config.features(height, width),
            Architecture::Resnet18(config) => config.features(),
            Architecture::Vit(config) => config.width,
        }
    }

    /// An encoder with zero weights; see [`initialise`](super::initialise).
    pub fn init(&self, device: &Device) -> Backbone {
        match &self.architecture {
            Architecture::Conv(config) => Backbone::Conv(config.init(self.in_channels, device)),
            Architecture::Resnet18(config) => Backbone::Resnet(config.init(self.in_channels, device)),
            Architecture::Vit(config) => Backbone::Vit(config.init(self.in_channels, device)),
        }
    }
}

impl fmt::Display for BackboneConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let from = self.in_channels;
        match &self.architecture {
            Architecture::Conv(ConvStackConfig { widths }) => {
                let channels: Vec<String> = std::iter::once(&from).chain(widths).map(usize::to_string).collect();
                write!(f, "the article's backbone ({} channels)", channels.join(" → "))
            }
            Architecture::Resnet18(ResNetConfig { width, blocks }) => {
                let depth = 2 + 2 * blocks.iter().sum::<usize>();
                write!(f, "a ResNet-{depth} ({from} → {width} to {} channels, blocks {blocks:?})", 8 * width)
            }
            Architecture::Vit(VitConfig { patch, width, depth, .. }) => {
                write!(f, "a ViT ({from} → {width} channels, {depth} blocks, patches of {patch} × {patch})")
            }
        }
    }
}
