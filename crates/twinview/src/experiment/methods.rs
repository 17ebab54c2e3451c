//! The recipes of the methods.

use std::borrow::Cow;

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
    find(&METHODS, name)
}

/// The recipes of the methods that have settings of their own for a ResNet-18.
const RESNET18: [(&str, &str); 4] = [
    ("simsiam", include_str!("../../../../recipes/methods/resnet18/simsiam.toml")),
    ("simclr", include_str!("../../../../recipes/methods/resnet18/simclr.toml")),
    ("mocov2", include_str!("../../../../recipes/methods/resnet18/mocov2.toml")),
    ("byol", include_str!("../../../../recipes/methods/resnet18/byol.toml")),
];

/// Those for a vision transformer.
const VIT: [(&str, &str); 1] = [("mocov3", include_str!("../../../../recipes/methods/vit/mocov3.toml"))];

/// The recipe of the method `name` with an encoder named `backbone`, one of [`Architecture::NAMES`]. Where there is none for
/// that encoder, it is the recipe for the article's with the encoder changed.
///
/// [`Architecture::NAMES`]: crate::backbone::Architecture::NAMES
pub fn method_recipe_on(name: &str, backbone: &str) -> Option<Cow<'static, str>> {
    let own = match backbone {
        "resnet18" => find(&RESNET18, name),
        "vit" => find(&VIT, name),
        _ => None,
    };
    let general = || match backbone {
        "conv" => method_recipe(name).map(Cow::from),
        _ => method_recipe(name).map(|recipe| format!("{recipe}\n[backbone]\nname = {backbone:?}\n").into()),
    };
    own.map(Cow::from).or_else(general)
}

fn find(recipes: &[(&str, &'static str)], name: &str) -> Option<&'static str> {
    recipes.iter().find(|(known, _)| *known == name).map(|(_, recipe)| *recipe)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backbone::Architecture;
    use crate::dataset::Images;
    use crate::experiment::merged;
    use crate::training::Pretraining;

    #[test]
    fn recipes_are_valid_and_survive_toml() {
        let images = Images::new(1, 28, 28, vec![0; 512 * 784]);
        for backbone in Architecture::NAMES {
            for (name, _) in METHODS {
                let recipe = method_recipe_on(name, backbone).unwrap();
                let settings: Pretraining = merged(&recipe, None, &[]).unwrap();
                settings.validate_for(&images, images.len()).unwrap();
                assert_eq!(settings.backbone.name(), backbone, "{name}");
                let text = toml::to_string(&settings).unwrap();
                // Runs from before there was a choice have no such key, and are gone on with.
                assert_eq!(text.contains("backbone"), backbone != "conv", "{text}");
                assert_eq!(merged::<Pretraining>(&text, None, &[]).unwrap(), settings, "{name}");
            }
        }
        assert_eq!(method_recipe_on("guess", "resnet18"), None);
    }

    #[test]
    fn what_no_setting_is_called_is_an_error() {
        let recipe = method_recipe("simclr").unwrap();
        for (change, expected) in [
            ("epoch=3", "unknown field `epoch`"),
            ("method.temprature=3", "unknown field `temprature`"),
            ("method.name=guess", "unknown variant `guess`"),
            ("local_views.number=3", "unknown field `number`"),
            ("backbone.name=resnet17", "unknown variant `resnet17`"),
            ("backbone={ name = 'resnet18', depth = 3 }", "unknown field `depth`"),
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
            ("simclr", "backbone={ name = 'resnet18', width = 0 }", "backbone.width = [0]"),
            ("simclr", "backbone={ name = 'conv', widths = [] }", "backbone.widths = []"),
            ("mocov3", "backbone={ name = 'vit', patch = 5 }", "backbone.patch = 5 cuts no images of 28 × 28"),
            ("mocov3", "backbone={ name = 'vit', width = 100 }", "backbone.width = 100"),
            ("mocov3", "backbone={ name = 'vit', depth = 0 }", "backbone.depth = 0"),
            ("simclr", "local_views={ count = 2, augmentation = { transforms = [] } }", "SimCLR has no use"),
        ] {
            let settings: Pretraining = merged(method_recipe(method).unwrap(), None, &[change.to_owned()]).unwrap();
            let message = settings.validate_for(&images, images.len()).unwrap_err().to_string();
            assert!(message.contains(expected), "{change}: {message}");
        }
    }
}
