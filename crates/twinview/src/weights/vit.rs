//! Telling a vision transformer by its names and shapes.

use super::identify::{require, shape};
use crate::backbone::{Architecture, BackboneConfig, VitConfig};
use crate::state::StateDict;

/// Whether the backbone has a transformer's names.
pub(super) fn is_vit(state: &StateDict) -> bool {
    state.contains_key("backbone.patch_embed.proj.weight")
}

/// The transformer.
pub(super) fn backbone(state: &StateDict) -> Result<BackboneConfig, String> {
    let (width, in_channels, patch) = match *shape(state, "backbone.patch_embed.proj.weight")? {
        [width, in_channels, rows, columns] if rows == columns => (width, in_channels, rows),
        _ => return Err("backbone.patch_embed.proj.weight is no convolution of square patches".into()),
    };
    if state.contains_key("backbone.pos_embed") {
        return Err(
            "backbone.pos_embed holds positions, and those of the transformer here are sines and cosines that are no weights; \
             leave it out if it holds those"
                .into(),
        );
    }
    let require = |name: &str, expected: &[usize]| require(state, &format!("backbone.{name}"), expected);
    require("patch_embed.proj.bias", &[width])?;
    require("cls_token", &[1, 1, width])?;
    let mut known = vec!["patch_embed.proj.".to_owned(), "cls_token".to_owned(), "norm.".to_owned()];
    let mut depth = 0;
    while state.contains_key(&format!("backbone.blocks.{depth}.norm1.weight")) {
        for (layer, outputs, inputs) in [
            ("attn.qkv", 3 * width, width),
            ("attn.proj", width, width),
            ("mlp.fc1", 4 * width, width),
            ("mlp.fc2", width, 4 * width),
        ] {
            require(&format!("blocks.{depth}.{layer}.weight"), &[outputs, inputs])?;
            require(&format!("blocks.{depth}.{layer}.bias"), &[outputs])?;
            known.push(format!("blocks.{depth}.{layer}."));
        }
        for norm in [format!("blocks.{depth}.norm1"), format!("blocks.{depth}.norm2")] {
            require(&format!("{norm}.weight"), &[width])?;
            require(&format!("{norm}.bias"), &[width])?;
            known.push(format!("{norm}."));
        }
        depth += 1;
    }
    require("norm.weight", &[width])?;
    require("norm.bias", &[width])?;
    let mut names = state.keys().filter_map(|name| name.strip_prefix("backbone."));
    if let Some(name) = names.find(|name| !known.iter().any(|known| name.starts_with(known))) {
        return Err(format!("backbone.{name} is no part of a vision transformer"));
    }
    if depth == 0 {
        return Err("its vision transformer has no backbone.blocks.0.norm1.weight".into());
    }
    let architecture = Architecture::Vit(VitConfig { patch, width, depth, frozen_patches: false });
    Ok(BackboneConfig { in_channels, architecture })
}
