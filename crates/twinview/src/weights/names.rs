//! One name for each array, whatever wrapper or spelling the file was saved with.
//!
//! | In the file | Here | Why |
//! | --- | --- | --- |
//! | `module.NAME` | `NAME` | saved inside `DataParallel` |
//! | `_orig_mod.NAME`, `backbone._orig_mod.NAME` | `NAME`, `backbone.NAME` | saved after `torch.compile` |
//! | `model.NAME` | `NAME` | saved inside a training module |
//! | `conv1.NAME`, `layer1.NAME`, ... | `backbone.conv1.NAME`, ... | a whole ResNet of torchvision, whose `fc` keeps its name |
//! | `projection_mlp.0`, `.2` | `fc.0`, `.2` | the article's published classifiers; its listing says `fc` |
//!
//! The canonical names are the listing's: `backbone.{0,3,6}` (convolutions), `backbone.{2,5,8}` (BatchNorm), the
//! classifier head `fc.{0,2}`, SimSiam's predictor `prediction_mlp.{0,1,3}`.
//!
//! ```
//! use twinview::state::{Array, StateDict};
//! use twinview::weights::names::canonical;
//!
//! let saved = StateDict::from([("module.fc.0.bias".to_owned(), Array::f32([1], vec![0.5]))]);
//! let (state, renamed) = canonical(saved).unwrap();
//! assert!(state.contains_key("fc.0.bias"));
//! assert_eq!(renamed[0].to_string(), "module.fc.0.bias → fc.0.bias");
//! ```

use std::collections::BTreeMap;
use std::fmt;

use super::resnet::PARTS as RESNET;
use crate::state::StateDict;

/// One array's name in the file and the name it goes by here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rename {
    /// The name in the file.
    pub from: String,
    /// The canonical name.
    pub to: String,
}

impl fmt::Display for Rename {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} → {}", self.from, self.to)
    }
}

/// Wrappers whose name stands before every other name.
const WRAPPERS: [&str; 2] = ["module.", "model."];

/// What `torch.compile` inserts, in front or in the middle.
const COMPILED: &str = "_orig_mod.";

/// The head in the published classifier files, and in the listing.
const PUBLISHED_HEAD: &str = "projection_mlp.";
const HEAD: &str = "fc.";
const BACKBONE: &str = "backbone.";

/// Whether all names are those of torchvision's ResNets, which know no backbone beside the head.
fn is_whole_resnet<'a>(names: impl Iterator<Item = &'a String> + Clone) -> bool {
    let is_part = |name: &String| RESNET.iter().chain([&HEAD]).any(|part| name.starts_with(part));
    let has = |first: &str| names.clone().any(|name| name.starts_with(first));
    has("conv1.") && has("layer1.0.conv1.") && names.clone().all(is_part)
}

/// Gives every array its canonical name; the renames are in the order of the names in the file.
///
/// # Errors
/// A message when two arrays would get one name.
pub fn canonical(state: StateDict) -> Result<(StateDict, Vec<Rename>), String> {
    let mut names: BTreeMap<String, String> = state.keys().map(|name| (name.clone(), uncompiled(name))).collect();
    while let Some(wrapper) = WRAPPERS.into_iter().find(|wrapper| wraps_all(wrapper, &names)) {
        names.values_mut().for_each(|name| *name = name.strip_prefix(wrapper).unwrap_or(name).to_string());
    }
    if is_whole_resnet(names.values()) {
        names.values_mut().filter(|name| !name.starts_with(HEAD)).for_each(|name| name.insert_str(0, BACKBONE));
    }
    // In other SimSiam code `projection_mlp` is a real projector, so only a file without a head or a predictor,
    // and with the two linear layers of the published head, is taken for a published classifier.
    let is_published_head = |name: &String| {
        let layer = name.strip_prefix(PUBLISHED_HEAD);
        layer.is_none_or(|layer| matches!(layer, "0.weight" | "0.bias" | "2.weight" | "2.bias"))
    };
    let has = |prefix: &str| names.values().any(|name| name.starts_with(prefix));
    let has_both_layers = ["projection_mlp.0.", "projection_mlp.2."].into_iter().all(has);
    if has_both_layers && names.values().all(is_published_head) && !has(HEAD) && !has("prediction_mlp.") {
        for name in names.values_mut() {
            if let Some(layer) = name.strip_prefix(PUBLISHED_HEAD) {
                *name = format!("{HEAD}{layer}");
            }
        }
    }
    let mut renamed = Vec::new();
    let mut result = StateDict::new();
    for (from, array) in state {
        let to = names.remove(&from).unwrap_or_else(|| from.clone());
        if result.insert(to.clone(), array).is_some() {
            return Err(format!("two arrays would both be {to:?} once wrappers are taken off, one of them {from:?}"));
        }
        if from != to {
            renamed.push(Rename { from, to });
        }
    }
    Ok((result, renamed))
}

fn uncompiled(name: &str) -> String {
    let name = name.strip_prefix(COMPILED).unwrap_or(name);
    name.replace(&format!(".{COMPILED}"), ".")
}

/// Whether every name has the prefix. Names without a dot are counters that wrappers add, such as the
/// `n_averaged` of `AveragedModel`, and do not count.
fn wraps_all(wrapper: &str, names: &BTreeMap<String, String>) -> bool {
    let mut dotted = names.values().filter(|name| name.contains('.')).peekable();
    dotted.peek().is_some() && dotted.all(|name| name.starts_with(wrapper))
}

/// Names in a few words: all of a handful, otherwise counted by their first part.
pub(super) fn grouped<'a>(names: impl IntoIterator<Item = &'a str>) -> String {
    const IN_FULL: usize = 4;
    const GROUPS: usize = 6;
    let names: Vec<&str> = names.into_iter().collect();
    if names.len() <= IN_FULL {
        return names.join(", ");
    }
    let mut groups: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for name in &names {
        groups.entry(name.split('.').next().unwrap_or(name)).or_default().push(name);
    }
    let mut shown: Vec<String> = groups
        .iter()
        .take(GROUPS)
        .map(|(group, names)| match names.as_slice() {
            [name] => name.to_string(),
            several => format!("{group}.* ({})", several.len()),
        })
        .collect();
    if groups.len() > GROUPS {
        shown.push(format!("and {} more groups", groups.len() - GROUPS));
    }
    shown.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::state::Array;

    fn renamed(names: &[&str]) -> Vec<String> {
        let state = names.iter().map(|name| (name.to_string(), Array::counter(0))).collect();
        let (state, renames) = canonical(state).unwrap();
        assert_eq!(state.len(), names.len());
        for rename in &renames {
            assert!(names.contains(&rename.from.as_str()) && state.contains_key(&rename.to), "{rename}");
        }
        state.into_keys().collect()
    }

    #[test]
    fn wrappers_come_off_in_any_order() {
        assert_eq!(renamed(&["module.fc.0.bias", "module.backbone.0.bias"]), ["backbone.0.bias", "fc.0.bias"]);
        assert_eq!(renamed(&["_orig_mod.module.model.a.x", "_orig_mod.module.model.b.x"]), ["a.x", "b.x"]);
        assert_eq!(renamed(&["model.backbone._orig_mod.0.bias"]), ["backbone.0.bias"]);
        assert_eq!(renamed(&["module.a.x", "n_averaged"]), ["a.x", "n_averaged"]);
    }

    #[test]
    fn a_resnet_of_torchvision_is_a_backbone_with_a_head() {
        let expected = ["backbone.bn1.bias", "backbone.conv1.weight", "backbone.layer1.0.conv1.weight", "fc.weight"];
        assert_eq!(renamed(&["conv1.weight", "bn1.bias", "layer1.0.conv1.weight", "fc.weight"]), expected);
        let expected = &expected[..3];
        assert_eq!(renamed(&["module.conv1.weight", "module.bn1.bias", "module.layer1.0.conv1.weight"]), expected);
        let other = ["conv1.weight", "head.x", "layer1.0.conv1.weight"];
        assert_eq!(renamed(&other), other);
    }

    #[test]
    fn a_part_named_like_a_wrapper_keeps_its_name() {
        assert_eq!(renamed(&["model.a.x", "head.x"]), ["head.x", "model.a.x"]);
    }

    #[test]
    fn the_published_head_is_the_listings() {
        let head =
            ["projection_mlp.0.weight", "projection_mlp.0.bias", "projection_mlp.2.weight", "projection_mlp.2.bias"];
        assert_eq!(renamed(&head), ["fc.0.bias", "fc.0.weight", "fc.2.bias", "fc.2.weight"]);
        // A projector: beside a predictor, or with other layers.
        assert_eq!(
            renamed(&["projection_mlp.0.bias", "prediction_mlp.0.bias"]),
            ["prediction_mlp.0.bias", "projection_mlp.0.bias"]
        );
        assert_eq!(
            renamed(&["projection_mlp.0.bias", "projection_mlp.1.running_mean"]),
            ["projection_mlp.0.bias", "projection_mlp.1.running_mean"]
        );
    }

    #[test]
    fn two_arrays_never_become_one() {
        let state = ["a._orig_mod.x", "a.x"].map(|name| (name.to_string(), Array::counter(0)));
        assert!(canonical(state.into()).unwrap_err().contains("\"a.x\""));
    }

    #[test]
    fn many_names_are_counted_by_their_first_part() {
        assert_eq!(grouped(["fc.0.bias", "fc.0.weight"]), "fc.0.bias, fc.0.weight");
        assert_eq!(grouped(["a.1", "a.2", "a.3", "b", "c.1.x"]), "a.* (3), b, c.1.x");
        assert!(grouped(["a", "b", "c", "d", "e", "f", "g", "h"]).ends_with("f, and 2 more groups"));
    }
}
