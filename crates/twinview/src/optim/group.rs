//! Parameters that learn otherwise than the rest.

use std::collections::BTreeSet;

use burn::module::{ModuleVisitor, Param};
use burn::tensor::Tensor;
use serde::{Deserialize, Serialize};

use super::LearningRate;
use super::config::check_not_negative;
use crate::backbone::TorchNames;
use crate::{Error, Result};

/// The learning rate of the parameters below one name.
///
/// Of two groups that hold a parameter, the one with the longer prefix counts.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ParameterGroup {
    /// What their PyTorch names begin with, in whole parts: `backbone.0` holds `backbone.0.weight`, but not
    /// `backbone.01.weight`.
    pub prefix: String,
    /// Factor on the learning rate; 0 freezes them.
    #[serde(default = "one")]
    pub learning_rate_scale: f32,
    /// Whether the schedule passes them by.
    #[serde(default)]
    pub constant: bool,
}

fn one() -> f32 {
    1.0
}

impl ParameterGroup {
    /// Refuses groups that cannot train.
    ///
    /// # Errors
    /// Names the setting, its value and what it may be; also when two have the same prefix.
    pub fn validate(groups: &[Self]) -> Result<()> {
        for (number, group) in groups.iter().enumerate() {
            let Self { prefix, learning_rate_scale, .. } = group;
            if prefix.is_empty() {
                return Err(Error::Config(format!(
                    "groups[{number}].prefix is empty; it must be what the names of some parameters begin with"
                )));
            }
            if groups[..number].iter().any(|other| other.prefix == *prefix) {
                return Err(Error::Config(format!("two groups have the prefix {prefix}; leave one of them out")));
            }
            check_not_negative(&format!("groups[{number}].learning_rate_scale"), *learning_rate_scale)?;
        }
        Ok(())
    }

    /// Refuses prefixes that no parameter of `model` has.
    pub(super) fn check_names<M: TorchNames>(groups: &[Self], model: &M) -> Result<()> {
        let names = learned(model);
        for group in groups {
            if !names.iter().any(|name| group.holds(name)) {
                let outermost: BTreeSet<&str> = names.iter().filter_map(|name| name.split('.').next()).collect();
                let outermost = outermost.into_iter().collect::<Vec<_>>().join(", ");
                return Err(Error::Config(format!(
                    "groups: no parameter that learns has a name below {:?}; the outermost names here are {outermost}",
                    group.prefix
                )));
            }
        }
        Ok(())
    }

    fn holds(&self, name: &str) -> bool {
        name.strip_prefix(&self.prefix).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
    }

    /// The learning rate of the parameter `name`, none where it is frozen.
    pub(super) fn rate(groups: &[Self], name: &str, rate: LearningRate) -> Option<f32> {
        let group = groups.iter().filter(|group| group.holds(name)).max_by_key(|group| group.prefix.len());
        match group {
            None => Some(rate.base * rate.factor),
            Some(Self { learning_rate_scale: 0.0, .. }) => None,
            Some(Self { learning_rate_scale, constant: true, .. }) => Some(rate.base * learning_rate_scale),
            Some(Self { learning_rate_scale, .. }) => Some(rate.base * rate.factor * learning_rate_scale),
        }
    }
}

/// PyTorch's names of the parameters of `model` that learn.
fn learned<M: TorchNames>(model: &M) -> Vec<String> {
    let mut names = Names { path: Vec::new(), torch_name: M::torch_name, found: Vec::new() };
    model.visit(&mut names);
    names.found
}

struct Names {
    path: Vec<String>,
    torch_name: fn(&str) -> String,
    found: Vec<String>,
}

impl ModuleVisitor for Names {
    fn enter_module(&mut self, name: &str, _container: &str) {
        self.path.push(name.to_owned());
    }

    fn exit_module(&mut self, _name: &str, _container: &str) {
        self.path.pop();
    }

    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        if param.val().is_require_grad() {
            self.found.push((self.torch_name)(&self.path.join(".")));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dataset::Images;
    use crate::training::{Pretraining, cpu};

    fn group(prefix: &str, learning_rate_scale: f32, constant: bool) -> ParameterGroup {
        ParameterGroup { prefix: prefix.into(), learning_rate_scale, constant }
    }

    #[test]
    fn the_longest_prefix_says_the_rate() {
        let rate = LearningRate { base: 2.0, factor: 0.5 };
        let groups = [group("a.1", 0.0, false), group("a", 0.25, false), group("b", 3.0, true)];
        for (name, expected) in [
            ("a.0.weight", Some(0.25)),
            ("a.1.weight", None),
            ("a.10.weight", Some(0.25)),
            ("ab.weight", Some(1.0)),
            ("b.bias", Some(6.0)),
            ("c.b", Some(1.0)),
        ] {
            assert_eq!(ParameterGroup::rate(&groups, name, rate), expected, "{name}");
        }
    }

    #[test]
    fn a_prefix_without_parameters_is_an_error() {
        let simsiam: Pretraining = toml::from_str("epochs = 1\nbatch_size = 1\nlearning_rate = 1").unwrap();
        let model = simsiam.network(&Images::new(1, 28, 28, vec![0; 784]), &cpu());
        let check = |prefix| ParameterGroup::check_names(&[group(prefix, 1.0, true)], &model);
        for prefix in ["backbone", "backbone.2", "prediction_mlp.1.bias"] {
            check(prefix).unwrap();
        }
        // A part of a name, a layer without weights, a statistic, and one that is not there.
        for prefix in ["prediction", "backbone.1", "backbone.2.running_mean", "projector"] {
            let message = check(prefix).unwrap_err().to_string();
            let expected = format!("below {prefix:?}; the outermost names here are backbone, prediction_mlp");
            assert!(message.contains(&expected), "{message}");
        }
    }

    #[test]
    fn groups_that_cannot_train_are_errors() {
        for (groups, expected) in [
            (vec![group("", 1.0, false)], "groups[0].prefix is empty"),
            (vec![group("a", 1.0, false), group("b", -1.0, false)], "groups[1].learning_rate_scale = -1"),
            (vec![group("a", 1.0, false), group("a", 0.0, false)], "two groups have the prefix a"),
        ] {
            let message = ParameterGroup::validate(&groups).unwrap_err().to_string();
            assert!(message.contains(expected), "{message}");
        }
    }
}
