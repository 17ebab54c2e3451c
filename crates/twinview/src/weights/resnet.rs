//! Telling a ResNet by its names and shapes.

use super::identify::{require, shape};
use crate::backbone::{Architecture, BackboneConfig, ResNetConfig};
use crate::state::StateDict;

/// What a ResNet's names begin with, in torchvision, before or after `backbone.`.
pub(super) const PARTS: [&str; 6] = ["conv1.", "bn1.", "layer1.", "layer2.", "layer3.", "layer4."];

/// Whether the backbone has a ResNet's names.
pub(super) fn is_resnet(state: &StateDict) -> bool {
    state.contains_key("backbone.conv1.weight") && state.keys().any(|name| name.starts_with("backbone.layer1."))
}

/// The ResNet.
pub(super) fn backbone(state: &StateDict) -> Result<BackboneConfig, String> {
    let (width, in_channels) = match *shape(state, "backbone.conv1.weight")? {
        [width, in_channels, 3, 3] => (width, in_channels),
        [_, _, rows, columns] => {
            return Err(format!(
                "backbone.conv1.weight is a stem of {rows} × {columns}, as ResNets for large images have it, and a stem of \
                 3 × 3 is expected. Such weights do not fit the small images here"
            ));
        }
        _ => return Err("backbone.conv1.weight is no convolution".into()),
    };
    norm(state, "bn1", width)?;
    let mut blocks = [0; 4];
    let mut inputs = width;
    for (index, blocks) in blocks.iter_mut().enumerate() {
        let outputs = width << index;
        while state.contains_key(&format!("backbone.layer{}.{blocks}.conv1.weight", index + 1)) {
            block(state, &format!("layer{}.{blocks}", index + 1), inputs, outputs)?;
            inputs = outputs;
            *blocks += 1;
        }
        if *blocks == 0 {
            return Err(format!("its ResNet has no backbone.layer{}.0.conv1.weight", index + 1));
        }
    }
    let is_known = |name: &str| {
        let stage = PARTS[2..].iter().zip(blocks).find_map(|(part, blocks)| Some((name.strip_prefix(part)?, blocks)));
        match stage {
            Some((rest, blocks)) => {
                let (block, rest) = rest.split_once('.').unwrap_or((rest, ""));
                let layers = ["conv1.", "bn1.", "conv2.", "bn2.", "downsample."];
                block.parse().is_ok_and(|block: usize| block < blocks)
                    && layers.iter().any(|part| rest.starts_with(part))
            }
            None => PARTS[..2].iter().any(|part| name.starts_with(part)),
        }
    };
    let mut names = state.keys().filter_map(|name| name.strip_prefix("backbone."));
    if let Some(name) = names.find(|name| !is_known(name)) {
        return Err(format!("backbone.{name} is no part of a ResNet of basic blocks"));
    }
    let architecture = Architecture::Resnet18(ResNetConfig { width, blocks });
    Ok(BackboneConfig { in_channels, architecture })
}

fn block(state: &StateDict, name: &str, inputs: usize, outputs: usize) -> Result<(), String> {
    if state.contains_key(&format!("backbone.{name}.conv3.weight")) {
        return Err(format!(
            "backbone.{name} is a bottleneck of three convolutions, as in ResNet-50; known are blocks of two, as in ResNet-18 and 34"
        ));
    }
    require(state, &format!("backbone.{name}.conv1.weight"), &[outputs, inputs, 3, 3])?;
    norm(state, &format!("{name}.bn1"), outputs)?;
    require(state, &format!("backbone.{name}.conv2.weight"), &[outputs, outputs, 3, 3])?;
    norm(state, &format!("{name}.bn2"), outputs)?;
    if inputs != outputs {
        require(state, &format!("backbone.{name}.downsample.0.weight"), &[outputs, inputs, 1, 1])?;
        norm(state, &format!("{name}.downsample.1"), outputs)?;
    }
    Ok(())
}

fn norm(state: &StateDict, name: &str, channels: usize) -> Result<(), String> {
    ["weight", "bias", "running_mean", "running_var"]
        .into_iter()
        .try_for_each(|part| require(state, &format!("backbone.{name}.{part}"), &[channels]))
}
