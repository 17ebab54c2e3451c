//! The recipes of the methods.

/// Name and recipe (TOML of a [`Pretraining`](crate::training::Pretraining)) of each method that comes with the
/// program.
pub const METHODS: [(&str, &str); 14] = [
    ("simsiam", include_str!("../../../../recipes/methods/simsiam.toml")),
    ("fastsiam", include_str!("../../../../recipes/methods/fastsiam.toml")),
    ("simclr", include_str!("../../../../recipes/methods/simclr.toml")),
    ("dcl", include_str!("../../../../recipes/methods/dcl.toml")),
    ("mocov1", include_str!("../../../../recipes/methods/mocov1.toml")),
    ("mocov2", include_str!("../../../../recipes/methods/mocov2.toml")),
    ("mocov3", include_str!("../../../../recipes/methods/mocov3.toml")),
    ("byol", include_str!("../../../../recipes/methods/byol.toml")),
    ("barlow-twins", include_str!("../../../../recipes/methods/barlow-twins.toml")),
    ("vicreg", include_str!("../../../../recipes/methods/vicreg.toml")),
    ("nnclr", include_str!("../../../../recipes/methods/nnclr.toml")),
    ("swav", include_str!("../../../../recipes/methods/swav.toml")),
    ("dino", include_str!("../../../../recipes/methods/dino.toml")),
    ("supcon", include_str!("../../../../recipes/methods/supcon.toml")),
];

/// The recipe of the method `name`.
pub fn method_recipe(name: &str) -> Option<&'static str> {
    METHODS.iter().find(|(known, _)| *known == name).map(|(_, recipe)| *recipe)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dataset::Images;
    use crate::experiment::merged;
    use crate::training::Pretraining;

    #[test]
    fn recipes_are_valid_and_survive_toml() {
        let images = Images::new(1, 28, 28, vec![0; 512 * 784]);
        for (name, recipe) in METHODS {
            let settings: Pretraining = merged(recipe, None, &[]).unwrap();
            settings.validate_for(&images).unwrap();
            let text = toml::to_string(&settings).unwrap();
            assert_eq!(merged::<Pretraining>(&text, None, &[]).unwrap(), settings, "{name}");
        }
    }

    #[test]
    fn what_no_setting_is_called_is_an_error() {
        let recipe = method_recipe("simclr").unwrap();
        for (change, expected) in [
            ("epoch=3", "unknown field `epoch`"),
            ("method.temprature=3", "unknown field `temprature`"),
            ("method.name=guess", "unknown variant `guess`"),
            ("local_views.number=3", "unknown field `number`"),
        ] {
            let message = merged::<Pretraining>(recipe, None, &[change.to_owned()]).unwrap_err().to_string();
            assert!(message.contains(expected), "{change}: {message}");
        }
    }

    #[test]
    fn settings_that_cannot_train_are_refused_by_name() {
        let images = Images::new(1, 28, 28, vec![0; 512 * 784]);
        for (method, change, expected) in [
            ("simclr", "method.temperature=0", "method.temperature = 0"),
            ("simclr", "method.projector=[]", "method.projector = []"),
            ("byol", "method.momentum=1.5", "method.momentum = 1.5"),
            ("fastsiam", "method.views=1", "method.views = 1"),
            ("mocov2", "method.memory=0", "method.memory = [0]"),
            ("simclr", "local_views={ count = 2, augmentation = { transforms = [] } }", "SimCLR has no use"),
        ] {
            let settings: Pretraining = merged(method_recipe(method).unwrap(), None, &[change.to_owned()]).unwrap();
            let message = settings.validate_for(&images).unwrap_err().to_string();
            assert!(message.contains(expected), "{change}: {message}");
        }
    }
}
