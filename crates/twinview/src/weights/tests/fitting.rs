//! Fitting weights to models, and telling what they are.

use super::*;
use crate::backbone::{Architecture, BackboneConfig, ConvStackConfig, ResNetConfig, VitConfig, state_dict};

fn article(in_channels: usize, widths: [usize; 3]) -> BackboneConfig {
    BackboneConfig { in_channels, architecture: Architecture::Conv(ConvStackConfig { widths: widths.to_vec() }) }
}

/// An array that replaces one of its name or joins the others, its shape, and what the refusal says.
type Change = (&'static str, &'static [usize], &'static str);

#[track_caller]
fn assert_each_is_refused(given: &Weights, changes: &[Change]) {
    for (name, shape, expected) in changes {
        let mut changed = given.clone();
        changed.state.insert((*name).into(), Array::f32(*shape, vec![0.0; shape.iter().product()]));
        let message = identify(&changed).unwrap_err().to_string();
        assert!(message.contains(expected), "{message}");
    }
}

/// The arrays of a model of the same shapes as the golden files', with other values.
fn model(part: &str) -> StateDict {
    let mut state = values(part);
    for array in state.values_mut() {
        match &mut array.values {
            Values::F32(values) => values.fill(0.25),
            Values::I64(values) => values.fill(0),
        }
    }
    state
}

fn failure(expected: &StateDict, given: &Weights, scope: &Scope) -> String {
    let message = match_into(expected, given, scope).unwrap_err().to_string();
    assert!(message.contains(given.path.to_str().unwrap()), "{message}");
    message
}

#[test]
fn a_whole_model_gets_every_value_of_the_file() {
    let given = loaded("published.pt");
    let (state, report) = match_into(&model("classifier"), &given, &Scope::whole()).unwrap();
    assert_eq!(state, values("classifier"));
    assert_eq!(report.matched.len(), state.len());
    let text = report.to_string();
    assert!(text.contains("loaded 25 of 25 arrays of the model"), "{text}");
    assert!(text.ends_with("renamed: 4 arrays, such as projection_mlp.0.bias → fc.0.bias"), "{text}");
}

#[test]
fn a_pretrained_backbone_reaches_a_classifier() {
    let given = loaded("simsiam-protocol4.pt");
    let scope = Scope::prefixes(["backbone."]);
    let (state, report) = match_into(&model("classifier"), &given, &scope).unwrap();
    let mut expected = values("simsiam");
    expected.retain(|name, _| name.starts_with("backbone."));
    assert_eq!(state, expected);
    let lines: Vec<String> = report.to_string().lines().map(str::to_string).collect();
    assert!(lines[0].ends_with("loaded 21 of 21 arrays of backbone.*"), "{report}");
    assert_eq!(
        lines[1..],
        [
            "  unused from the file: prediction_mlp.* (9)",
            "  left as they are: fc.0.bias, fc.0.weight, fc.2.bias, fc.2.weight"
        ]
    );
}

#[test]
fn nothing_matched_is_always_a_failure() {
    // The article's mistake: the names of the file and of the model never meet.
    let mut given = loaded("simsiam-protocol4.pt");
    given.state = given.state.into_iter().map(|(name, array)| (format!("encoder.{name}"), array)).collect();
    for scope in [Scope::whole(), Scope::prefixes(["backbone."]), Scope::whole().partial(true)] {
        let message = failure(&model("classifier"), &given, &scope);
        assert!(message.contains("nothing would be loaded. The file has encoder.* (30); wanted"), "{message}");
    }
    let message = failure(&model("classifier"), &given, &Scope::prefixes(["encoder."]).partial(true));
    assert!(message.contains("nothing of that name in the model"), "{message}");
}

#[test]
fn another_shape_or_type_is_always_a_failure() {
    let mut wide = model("classifier");
    wide.insert("fc.2.bias".into(), Array::f32([10], vec![0.0; 10]));
    for partial in [false, true] {
        let message = failure(&wide, &loaded("classifier.pt"), &Scope::whole().partial(partial));
        assert!(
            message.contains("another model: fc.2.bias is F32 [3] in the file and F32 [10] in the model"),
            "{message}"
        );
    }
    wide.insert("fc.0.bias".into(), Array { shape: vec![5], values: Values::I64(vec![0; 5]) });
    let message = failure(&wide, &loaded("classifier.pt"), &Scope::whole());
    assert!(
        message.contains("fc.0.bias is F32 [5] in the file and I64 [5] in the model (2 arrays differ)"),
        "{message}"
    );
}

#[test]
fn a_part_is_a_failure_unless_it_was_asked_for() {
    let given = loaded("simsiam-protocol4.pt");
    let message = failure(&model("classifier"), &given, &Scope::whole());
    assert!(
        message.contains("only a part of the model is in this file: 4 of 25 arrays are missing: fc.0.bias"),
        "{message}"
    );
    let (state, report) = match_into(&model("classifier"), &given, &Scope::whole().partial(true)).unwrap();
    assert_eq!(state.len(), 21);
    assert_eq!(report.missing, ["fc.0.bias", "fc.0.weight", "fc.2.bias", "fc.2.weight"]);
    assert!(
        report.to_string().contains("loaded 21 of 25 arrays of the model\n  missing in the file: fc.0.bias"),
        "{report}"
    );

    // The file of a deeper model.
    let mut deeper = loaded("classifier.pt");
    deeper.state.insert("backbone.9.bias".into(), Array::f32([1], vec![1.0]));
    let scope = Scope::prefixes(["backbone.", "fc."]);
    let message = failure(&model("classifier"), &deeper, &scope);
    assert!(message.contains("more than backbone.*, fc.* takes: backbone.9.bias"), "{message}");
    let (_, report) = match_into(&model("classifier"), &deeper, &scope.partial(true)).unwrap();
    assert_eq!(report.unused, ["backbone.9.bias"]);
}

#[test]
fn batch_counters_may_be_missing() {
    let mut old = loaded("classifier.pt");
    old.state.retain(|name, _| !name.ends_with("num_batches_tracked"));
    let (state, report) = match_into(&model("classifier"), &old, &Scope::whole()).unwrap();
    assert_eq!(state.len(), 22);
    assert_eq!(report.missing.len(), 3);
}

#[test]
fn the_kind_is_told_from_names_and_shapes() {
    let backbone = article(1, [2, 3, 4]);
    let classifier = Model::Classifier { features: 4, hidden: Some(5), classes: 3 };
    assert_eq!(identify(&loaded("published.pt")).unwrap(), Kind { model: classifier, backbone: backbone.clone() });
    let simsiam = identify(&loaded("simsiam-protocol4.pt")).unwrap();
    assert_eq!(simsiam, Kind { model: Model::SimSiam { features: 4, hidden: 2 }, backbone: backbone.clone() });
    assert_eq!(
        simsiam.to_string(),
        "SimSiam (4 features, predictor of 2 hidden units) on the article's backbone (1 → 2 → 3 → 4 channels)"
    );
    let mut alone = loaded("classifier.pt");
    alone.state.retain(|name, _| name.starts_with("backbone."));
    assert_eq!(identify(&alone).unwrap(), Kind { model: Model::BackboneOnly, backbone: backbone.clone() });
    for part in ["projection_mlp.0.weight", "momentum.backbone.0.weight", "memory", "center", "prototypes"] {
        let mut network = alone.clone();
        network.state.insert(part.into(), Array::f32([1], vec![0.0]));
        assert_eq!(
            identify(&network).unwrap(),
            Kind { model: Model::SelfSupervised, backbone: backbone.clone() },
            "{part}"
        );
        network.state.insert("fc.weight".into(), Array::f32([1], vec![0.0]));
        assert!(identify(&network).unwrap_err().to_string().contains("both a classifier head"), "{part}");
    }
}

#[test]
fn an_unknown_kind_says_what_the_file_has_and_what_is_known() {
    let message = identify(&loaded("kinds.pt")).unwrap_err().to_string();
    assert!(
        message.contains("unknown model: it has no backbone.0.weight. The file has 12 arrays: bfloat16 [4, 6], "),
        "{message}"
    );
    assert!(message.contains("SimSiam's predictor"), "{message}");

    let classifier = loaded("classifier.pt");
    let changes: [Change; 7] = [
        ("backbone.0.weight", &[2, 1, 5, 5], "no 3 × 3 convolution"),
        ("backbone.3.weight", &[3, 7, 3, 3], "takes 7 channels"),
        ("backbone.5.running_var", &[4], "backbone.5.running_var has shape [4] where [3] would fit"),
        ("backbone.9.weight", &[1], "past the article's backbone"),
        ("fc.0.weight", &[5, 6], "takes 6 values, which are no 4 maps"),
        ("fc.2.weight", &[3, 6], "fc.0 gives 5 values and fc.2 takes 6"),
        ("layer4.weight", &[1], "layer4.weight belongs to none of its parts"),
    ];
    assert_each_is_refused(&classifier, &changes);
}

#[test]
fn a_resnet_of_torchvision_is_told_from_names_and_shapes() {
    let given = loaded("backbone/torchvision.pt");
    let architecture = Architecture::Resnet18(ResNetConfig { width: 2, blocks: [1; 4] });
    let backbone = BackboneConfig { in_channels: 1, architecture };
    let model = Model::Classifier { features: 16, hidden: None, classes: 10 };
    let kind = identify(&given).unwrap();
    assert_eq!(kind, Kind { model, backbone });
    assert_eq!(
        kind.to_string(),
        "classifier of 10 classes (16 features, a linear head) on a ResNet-10 (1 → 2 to 16 channels, blocks [1, 1, 1, 1])"
    );

    let changes: [Change; 8] = [
        (
            "backbone.conv1.weight",
            &[2, 1, 7, 7],
            "a stem of 7 × 7, as ResNets for large images have it, and a stem of 3 × 3",
        ),
        ("backbone.layer1.0.conv3.weight", &[8, 2, 1, 1], "layer1.0 is a bottleneck"),
        (
            "backbone.layer2.0.conv1.weight",
            &[4, 3, 3, 3],
            "layer2.0.conv1.weight has shape [4, 3, 3, 3] where [4, 2, 3, 3]",
        ),
        ("backbone.layer3.0.downsample.0.weight", &[8, 4, 3, 3], "downsample.0.weight has shape"),
        ("backbone.layer4.0.bn2.running_var", &[3], "layer4.0.bn2.running_var has shape [3] where [16] would fit"),
        ("backbone.layer4.2.conv1.weight", &[16, 16, 3, 3], "layer4.2.conv1.weight is no part of a ResNet"),
        ("backbone.layer5.0.conv1.weight", &[1], "layer5.0.conv1.weight is no part of a ResNet"),
        ("fc.weight", &[10, 32], "its head takes 32 values, and its ResNet gives 16"),
    ];
    assert_each_is_refused(&given, &changes);
    let mut shallow = given.clone();
    shallow.state.retain(|name, _| !name.contains("layer3"));
    assert!(identify(&shallow).unwrap_err().to_string().contains("no backbone.layer3.0.conv1.weight"));
}

#[test]
fn a_vision_transformer_is_told_from_names_and_shapes() {
    let architecture = Architecture::Vit(VitConfig { patch: 4, width: 32, depth: 2, frozen_patches: false });
    let backbone = BackboneConfig { in_channels: 1, architecture };
    let encoder = state_dict(&backbone.init(&crate::training::cpu()));
    let mut given = loaded("backbone/torchvision.pt");
    given.state = encoder.into_iter().map(|(name, array)| (format!("backbone.{name}"), array)).collect();
    given.state.insert("fc.weight".into(), Array::f32([10, 32], vec![0.0; 320]));
    given.state.insert("fc.bias".into(), Array::f32([10], vec![0.0; 10]));
    let kind = identify(&given).unwrap();
    assert_eq!(kind, Kind { model: Model::Classifier { features: 32, hidden: None, classes: 10 }, backbone });
    let expected = "(32 features, a linear head) on a ViT (1 → 32 channels, 2 blocks, patches of 4 × 4)";
    assert!(kind.to_string().ends_with(expected), "{kind}");
    let changes: [Change; 6] = [
        ("backbone.patch_embed.proj.weight", &[32, 1, 4, 2], "no convolution of square patches"),
        ("backbone.pos_embed", &[1, 50, 32], "pos_embed holds positions"),
        ("backbone.blocks.1.mlp.fc1.weight", &[64, 32], "fc1.weight has shape [64, 32] where [128, 32] would fit"),
        ("backbone.blocks.2.mlp.fc1.bias", &[128], "blocks.2.mlp.fc1.bias is no part of a vision transformer"),
        ("backbone.fc_norm.weight", &[32], "fc_norm.weight is no part of a vision transformer"),
        ("fc.weight", &[10, 64], "its head takes 64 values, and its vision transformer gives 32"),
    ];
    assert_each_is_refused(&given, &changes);
    let mut empty = given.clone();
    empty.state.retain(|name, _| !name.contains("blocks"));
    assert!(identify(&empty).unwrap_err().to_string().contains("no backbone.blocks.0.norm1.weight"));
}
