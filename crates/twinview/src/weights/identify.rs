//! Which model a file of weights is for, told from the names and shapes in it.
//!
//! ```
//! use std::collections::BTreeMap;
//!
//! use twinview::backbone::state_dict;
//! use twinview::method::ClassifierConfig;
//! use twinview::{training, weights};
//!
//! # let folder = tempfile::tempdir().unwrap();
//! # let path = folder.path().join("classifier.safetensors");
//! let model = ClassifierConfig::article().init(&training::cpu());
//! weights::save(&path, &state_dict(&model), &BTreeMap::new())?;
//! let kind = weights::identify(&weights::load(&path)?)?;
//! assert!(kind.to_string().starts_with("classifier of 10 classes"));
//! # Ok::<(), twinview::Error>(())
//! ```

use std::fmt;

use super::Weights;
use super::resnet::{self, is_resnet};
use super::vit::{self, is_vit};
use crate::Error;
use crate::backbone::{Architecture, BackboneConfig, ConvStackConfig};
use crate::state::{Array, StateDict};

/// What a file's weights are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kind {
    /// What stands on the backbone.
    pub model: Model,
    /// The encoder.
    pub backbone: BackboneConfig,
}

/// A model, by what stands on its backbone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Model {
    /// `fc`: linear, ReLU, linear; or one linear layer.
    Classifier {
        /// Length of the flattened backbone output.
        features: usize,
        /// Units of the hidden layer, where there is one.
        hidden: Option<usize>,
        /// Outputs.
        classes: usize,
    },
    /// `prediction_mlp`: linear, BatchNorm, ReLU, linear.
    SimSiam {
        /// Length of the flattened backbone output, which is the predictor's output too.
        features: usize,
        /// Units of the predictor's hidden layer.
        hidden: usize,
    },
    /// The heads of another self-supervised method: projector, predictor, prototypes, what is remembered, momentum copy.
    SelfSupervised,
    /// Nothing.
    BackboneOnly,
}

/// What stands on the encoder of a self-supervised method: heads, prototypes, what is remembered, and the momentum copy.
const SELF_SUPERVISED: [&str; 6] =
    ["prediction_mlp.", "projection_mlp.", "prototypes", "memory", "center", "momentum."];

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.model {
            Model::Classifier { features, hidden, classes } => {
                write!(f, "classifier of {classes} classes ({features} features, ")?;
                match hidden {
                    Some(hidden) => write!(f, "{hidden} hidden units)")?,
                    None => write!(f, "a linear head)")?,
                }
            }
            Model::SimSiam { features, hidden } => {
                write!(f, "SimSiam ({features} features, predictor of {hidden} hidden units)")?;
            }
            Model::SelfSupervised => write!(f, "network of a self-supervised method")?,
            Model::BackboneOnly => write!(f, "backbone without a head")?,
        }
        write!(f, " on {}", self.backbone)
    }
}

/// Tells what the weights are.
///
/// # Errors
/// [`Error::Format`], naming the file and listing what is in it, when they are of no model known here.
pub fn identify(weights: &Weights) -> crate::Result<Kind> {
    let state = &weights.state;
    let backbone = match () {
        () if is_resnet(state) => resnet::backbone(state),
        () if is_vit(state) => vit::backbone(state),
        () => article_backbone(state),
    };
    let found = backbone.and_then(|backbone| Ok(Kind { model: model(state, &backbone)?, backbone }));
    found.map_err(|reason| {
        let listed: Vec<String> =
            state.iter().take(5).map(|(name, array)| format!("{name} {:?}", array.shape)).collect();
        let more = if state.len() > listed.len() { " and more" } else { "" };
        Error::format(
            &weights.path,
            format!(
                "weights of an unknown model: {reason}. The file has {} arrays: {}{more}. Known are the article's \
                 backbone (backbone.0, 2, 3, 5, 6, 8), ResNets of basic blocks (backbone.conv1, bn1, layer1 to layer4) and vision \
                 transformers (backbone.patch_embed, cls_token, blocks, norm), alone, with a classifier head (fc.0, fc.2, or fc), with SimSiam's predictor (prediction_mlp.0, 1, 3) or \
                 with what other methods add (projection_mlp, prediction_mlp, prototypes, memory, center, momentum)",
                state.len(),
                listed.join(", ")
            ),
        )
    })
}

fn article_backbone(state: &StateDict) -> Result<BackboneConfig, String> {
    let mut channels = Vec::new();
    for (convolution, norm) in [(0, 2), (3, 5), (6, 8)] {
        let [outputs, inputs, 3, 3] = shape(state, &format!("backbone.{convolution}.weight"))? else {
            return Err(format!("backbone.{convolution}.weight is no 3 × 3 convolution"));
        };
        if channels.last().is_some_and(|last| last != inputs) {
            return Err(format!(
                "backbone.{convolution}.weight takes {inputs} channels, the layer before gives another number"
            ));
        }
        for (layer, name) in
            [(convolution, "bias"), (norm, "weight"), (norm, "bias"), (norm, "running_mean"), (norm, "running_var")]
        {
            require(state, &format!("backbone.{layer}.{name}"), &[*outputs])?;
        }
        if channels.is_empty() {
            channels.push(*inputs);
        }
        channels.push(*outputs);
    }
    let deeper = |name: &&String| layer_of(name).is_some_and(|layer| layer > 8);
    match (channels.as_slice(), state.keys().find(deeper)) {
        (_, Some(name)) => Err(format!("{name} is past the article's backbone")),
        (&[in_channels, first, second, third], None) => {
            let architecture = Architecture::Conv(ConvStackConfig { widths: vec![first, second, third] });
            Ok(BackboneConfig { in_channels, architecture })
        }
        _ => Err("the backbone has not three stages".into()),
    }
}

fn layer_of(name: &str) -> Option<usize> {
    name.strip_prefix("backbone.")?.split('.').next()?.parse().ok()
}

/// What stands on `backbone`.
fn model(state: &StateDict, backbone: &BackboneConfig) -> Result<Model, String> {
    let has = |prefix: &str| state.keys().any(|name| name.starts_with(prefix));
    let is_known =
        |name: &&String| ["backbone.", "fc."].iter().chain(&SELF_SUPERVISED).any(|part| name.starts_with(part));
    if let Some(name) = state.keys().find(|name| !is_known(name)) {
        return Err(format!("{name} belongs to none of its parts"));
    }
    let others = SELF_SUPERVISED.iter().filter(|part| has(part)).count();
    match (has("fc."), others) {
        (true, 1..) => Err("it has both a classifier head and a method's heads".into()),
        (false, 0) => Ok(Model::BackboneOnly),
        (true, 0) if state.contains_key("fc.weight") => {
            let (features, classes) = linear(state, "fc")?;
            check_features(features, backbone)?;
            Ok(Model::Classifier { features, hidden: None, classes })
        }
        (true, 0) => {
            let (features, hidden) = linear(state, "fc.0")?;
            let (inputs, classes) = linear(state, "fc.2")?;
            check_features(features, backbone)?;
            if inputs != hidden {
                return Err(format!("fc.0 gives {hidden} values and fc.2 takes {inputs}"));
            }
            Ok(Model::Classifier { features, hidden: Some(hidden), classes })
        }
        (false, 1) if has("prediction_mlp.") => {
            let (features, hidden) = linear(state, "prediction_mlp.0")?;
            let (inputs, outputs) = linear(state, "prediction_mlp.3")?;
            check_features(features, backbone)?;
            if (inputs, outputs) != (hidden, features) {
                return Err(format!(
                    "prediction_mlp.0 maps {features} values to {hidden} and prediction_mlp.3 {inputs} to {outputs}"
                ));
            }
            for name in ["weight", "bias", "running_mean", "running_var"] {
                require(state, &format!("prediction_mlp.1.{name}"), &[hidden])?;
            }
            Ok(Model::SimSiam { features, hidden })
        }
        (false, _) => Ok(Model::SelfSupervised),
    }
}

/// Inputs and outputs of a linear layer.
fn linear(state: &StateDict, layer: &str) -> Result<(usize, usize), String> {
    let &[outputs, inputs] = shape(state, &format!("{layer}.weight"))? else {
        return Err(format!("{layer}.weight is no matrix"));
    };
    require(state, &format!("{layer}.bias"), &[outputs])?;
    Ok((inputs, outputs))
}

/// What a head takes must be what the backbone gives for images of some size.
fn check_features(features: usize, backbone: &BackboneConfig) -> Result<(), String> {
    match &backbone.architecture {
        Architecture::Conv(config) => {
            let width = config.widths.last().copied().unwrap_or(0);
            if features == 0 || features.checked_rem(width) != Some(0) {
                return Err(format!("its head takes {features} values, which are no {width} maps of one size"));
            }
        }
        Architecture::Resnet18(config) => {
            if features != config.features() {
                return Err(format!("its head takes {features} values, and its ResNet gives {}", config.features()));
            }
        }
        Architecture::Vit(config) => {
            if features != config.width {
                return Err(format!(
                    "its head takes {features} values, and its vision transformer gives {}",
                    config.width
                ));
            }
        }
    }
    Ok(())
}

pub(super) fn shape<'a>(state: &'a StateDict, name: &str) -> Result<&'a [usize], String> {
    let array: &Array = state.get(name).ok_or_else(|| format!("it has no {name}"))?;
    Ok(&array.shape)
}

pub(super) fn require(state: &StateDict, name: &str, expected: &[usize]) -> Result<(), String> {
    match shape(state, name)? {
        found if found == expected => Ok(()),
        found => Err(format!("{name} has shape {found:?} where {expected:?} would fit")),
    }
}
