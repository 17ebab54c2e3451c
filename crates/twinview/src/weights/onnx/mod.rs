//! Models as ONNX files, for runtimes that know nothing of this program.
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
//! let file = weights::onnx::to_bytes(&weights::load(&path)?)?;
//! assert!(file.windows(4).any(|word| word == b"Gemm"));
//! # Ok::<(), twinview::Error>(())
//! ```

mod graph;

use self::graph::{Attribute, Dimension, Graph};
use super::{Kind, Model, Weights, identify};
use crate::backbone::{Architecture, BatchNorm, LayerNorm, VitConfig, patch_positions};
use crate::dataset;
use crate::{Error, Result};

/// The model in `weights` as an ONNX file (operator set 17).
///
/// Its input `images` is `[batch, channels, height, width]`, f32 in 0..1. Its output is `logits`, `[batch, classes]`, for a
/// classifier, and `features`, `[batch, features]`, for all else, whose heads are left out. Batch normalisation uses its running
/// statistics. What the weights say of themselves, such as the names of their classes, is in the file's metadata.
///
/// # Errors
/// As [`identify()`]; and for a transformer's weights that do not say which dataset they were trained on, as positions depend on the
/// size of the images.
pub fn to_bytes(weights: &Weights) -> Result<Vec<u8>> {
    let Kind { model, backbone } = identify(weights)?;
    let mut graph = Graph::new(&weights.state);
    let [mut height, mut width] = [Dimension::Any("height"), Dimension::Any("width")];
    let features = match &backbone.architecture {
        Architecture::Conv(_) => conv_stack(&mut graph),
        Architecture::Resnet18(config) => resnet(&mut graph, config.blocks),
        Architecture::Vit(config) => {
            let side = weights.metadata.get("dataset").and_then(|name| dataset::side(name)).ok_or_else(|| {
                let message = "a transformer without the name of the dataset it was trained on, which tells the size of its images \
                               and so its positions; write it with twinview, whose files have the name";
                Error::format(&weights.path, message)
            })?;
            (height, width) = (Dimension::Of(side), Dimension::Of(side));
            vit(&mut graph, config, side)
        }
    };
    let (last, name, what, length) = match model {
        Model::Classifier { hidden, classes, .. } => {
            let logits = head(&mut graph, &features, hidden.is_some());
            (logits, "logits", "softmax makes probabilities of them", Dimension::Of(classes))
        }
        Model::SimSiam { .. } | Model::SelfSupervised | Model::BackboneOnly => {
            let length = match &backbone.architecture {
                // More for larger images.
                Architecture::Conv(_) => Dimension::Any("length"),
                Architecture::Resnet18(config) => Dimension::Of(config.features()),
                Architecture::Vit(config) => Dimension::Of(config.width),
            };
            (features, "features", "what the encoder makes of each image", length)
        }
    };
    graph.named("Identity", &[&last], &[], name);
    let images = [Dimension::Any("batch"), Dimension::Of(backbone.in_channels), height, width];
    let outputs = [Dimension::Any("batch"), length];
    let input = ("images", "pixels in 0..1, not normalised further", images.as_slice());
    Ok(graph.into_file(input, (name, what, &outputs), &weights.metadata))
}

/// The article's encoder.
fn conv_stack(graph: &mut Graph) -> String {
    let mut values = "images".to_owned();
    for block in 0..3 {
        values = convolution(graph, &values, &format!("backbone.{}", 3 * block), 2);
        values = graph.node("Relu", &[&values], &[]);
        values = batch_norm(graph, &values, &format!("backbone.{}", 3 * block + 2));
    }
    graph.node("Flatten", &[&values], &[("axis", Attribute::Int(1))])
}

/// A ResNet with so many blocks in its stages.
fn resnet(graph: &mut Graph, blocks: [usize; 4]) -> String {
    let mut values = convolution(graph, "images", "backbone.conv1", 1);
    values = batch_norm(graph, &values, "backbone.bn1");
    values = graph.node("Relu", &[&values], &[]);
    for (stage, count) in blocks.into_iter().enumerate() {
        for block in (0..count).map(|block| format!("backbone.layer{}.{block}", stage + 1)) {
            let halves = graph.has(&format!("{block}.downsample.0.weight"));
            let stride = if halves { 2 } else { 1 };
            let mut inner = convolution(graph, &values, &format!("{block}.conv1"), stride);
            inner = batch_norm(graph, &inner, &format!("{block}.bn1"));
            inner = graph.node("Relu", &[&inner], &[]);
            inner = convolution(graph, &inner, &format!("{block}.conv2"), 1);
            inner = batch_norm(graph, &inner, &format!("{block}.bn2"));
            if halves {
                values = convolution(graph, &values, &format!("{block}.downsample.0"), 2);
                values = batch_norm(graph, &values, &format!("{block}.downsample.1"));
            }
            values = graph.node("Add", &[&inner, &values], &[]);
            values = graph.node("Relu", &[&values], &[]);
        }
    }
    values = graph.node("GlobalAveragePool", &[&values], &[]);
    graph.node("Flatten", &[&values], &[("axis", Attribute::Int(1))])
}

/// A vision transformer on images of `side` rows and columns.
fn vit(graph: &mut Graph, config: &VitConfig, side: usize) -> String {
    let &VitConfig { patch, width, depth, .. } = config;
    let (across, heads) = (side / patch, width / VitConfig::HEAD);
    let steps = [patch as i64; 2];
    let attributes = [("kernel_shape", Attribute::Ints(&steps)), ("strides", Attribute::Ints(&steps))];
    let [weight, bias] = ["weight", "bias"].map(|part| graph.weight(&format!("backbone.patch_embed.proj.{part}")));
    let patches = graph.node("Conv", &["images", &weight, &bias], &attributes);
    let rows = graph.ints("rows", &[3], &[0, 0, -1]);
    let patches = graph.node("Reshape", &[&patches, &rows], &[]);
    let patches = graph.node("Transpose", &[&patches], &[("perm", Attribute::Ints(&[0, 2, 1]))]);
    let positions = patch_positions(across, across, width);
    let positions = graph.floats("positions", &[1, across * across, width], &positions);
    let patches = graph.node("Add", &[&patches, &positions], &[]);
    // The class token, once for each image.
    let images = graph.node("Shape", &[&patches], &[("end", Attribute::Int(1))]);
    let ones = graph.ints("ones", &[2], &[1, 1]);
    let images = graph.node("Concat", &[&images, &ones], &[("axis", Attribute::Int(0))]);
    let class = graph.weight("backbone.cls_token");
    let class = graph.node("Expand", &[&class, &images], &[]);
    let mut tokens = graph.node("Concat", &[&class, &patches], &[("axis", Attribute::Int(1))]);
    let apart = graph.ints("apart", &[5], &[0, 0, 3, heads as i64, VitConfig::HEAD as i64]);
    let together = graph.ints("together", &[3], &[0, 0, width as i64]);
    let scale = graph.floats("scale", &[], &[(VitConfig::HEAD as f32).powf(-0.5)]);
    for block in (0..depth).map(|block| format!("backbone.blocks.{block}")) {
        let normal = layer_norm(graph, &tokens, &format!("{block}.norm1"));
        let all = tokens_by(graph, &normal, &format!("{block}.attn.qkv"));
        let all = graph.node("Reshape", &[&all, &apart], &[]);
        let all = graph.node("Transpose", &[&all], &[("perm", Attribute::Ints(&[2, 0, 3, 1, 4]))]);
        let [queries, keys, values] = [0, 1, 2].map(|part| {
            let part = graph.ints(&format!("part_{part}"), &[], &[part]);
            graph.node("Gather", &[&all, &part], &[("axis", Attribute::Int(0))])
        });
        let queries = graph.node("Mul", &[&queries, &scale], &[]);
        let keys = graph.node("Transpose", &[&keys], &[("perm", Attribute::Ints(&[0, 1, 3, 2]))]);
        let scores = graph.node("MatMul", &[&queries, &keys], &[]);
        let shares = graph.node("Softmax", &[&scores], &[("axis", Attribute::Int(-1))]);
        let seen = graph.node("MatMul", &[&shares, &values], &[]);
        let seen = graph.node("Transpose", &[&seen], &[("perm", Attribute::Ints(&[0, 2, 1, 3]))]);
        let seen = graph.node("Reshape", &[&seen, &together], &[]);
        let seen = tokens_by(graph, &seen, &format!("{block}.attn.proj"));
        tokens = graph.node("Add", &[&tokens, &seen], &[]);
        let normal = layer_norm(graph, &tokens, &format!("{block}.norm2"));
        let hidden = tokens_by(graph, &normal, &format!("{block}.mlp.fc1"));
        let hidden = gelu(graph, &hidden);
        let hidden = tokens_by(graph, &hidden, &format!("{block}.mlp.fc2"));
        tokens = graph.node("Add", &[&tokens, &hidden], &[]);
    }
    let first = graph.ints("part_0", &[], &[0]);
    let class = graph.node("Gather", &[&tokens, &first], &[("axis", Attribute::Int(1))]);
    layer_norm(graph, &class, "backbone.norm")
}

/// A classifier's head.
fn head(graph: &mut Graph, features: &str, has_hidden: bool) -> String {
    if !has_hidden {
        return linear(graph, features, "fc");
    }
    let hidden = linear(graph, features, "fc.0");
    let hidden = graph.node("Relu", &[&hidden], &[]);
    linear(graph, &hidden, "fc.2")
}

/// A convolution that keeps the size but for its stride; with a bias where there is one.
fn convolution(graph: &mut Graph, values: &str, name: &str, stride: i64) -> String {
    let weight = graph.weight(&format!("{name}.weight"));
    let size = graph.shape(&weight)[2] as i64;
    let mut inputs = vec![values, &weight];
    let bias = format!("{name}.bias");
    if graph.has(&bias) {
        graph.weight(&bias);
        inputs.push(&bias);
    }
    let attributes = [
        ("kernel_shape", Attribute::Ints(&[size; 2])),
        ("strides", Attribute::Ints(&[stride; 2])),
        ("pads", Attribute::Ints(&[size / 2; 4])),
    ];
    graph.node("Conv", &inputs, &attributes)
}

fn batch_norm(graph: &mut Graph, values: &str, name: &str) -> String {
    let parts = ["weight", "bias", "running_mean", "running_var"].map(|part| graph.weight(&format!("{name}.{part}")));
    let [weight, bias, mean, variance] = &parts;
    let epsilon = Attribute::Float(BatchNorm::EPSILON as f32);
    graph.node("BatchNormalization", &[values, weight, bias, mean, variance], &[("epsilon", epsilon)])
}

fn layer_norm(graph: &mut Graph, tokens: &str, name: &str) -> String {
    let [weight, bias] = ["weight", "bias"].map(|part| graph.weight(&format!("{name}.{part}")));
    let attributes = [("axis", Attribute::Int(-1)), ("epsilon", Attribute::Float(LayerNorm::EPSILON))];
    graph.node("LayerNormalization", &[tokens, &weight, &bias], &attributes)
}

/// A linear layer on `[batch, features]`.
fn linear(graph: &mut Graph, features: &str, name: &str) -> String {
    let [weight, bias] = ["weight", "bias"].map(|part| graph.weight(&format!("{name}.{part}")));
    graph.node("Gemm", &[features, &weight, &bias], &[("transB", Attribute::Int(1))])
}

/// A linear layer on `[batch, tokens, width]`.
fn tokens_by(graph: &mut Graph, tokens: &str, name: &str) -> String {
    let (weight, bias) = (graph.transposed(&format!("{name}.weight")), graph.weight(&format!("{name}.bias")));
    let product = graph.node("MatMul", &[tokens, &weight], &[]);
    graph.node("Add", &[&product, &bias], &[])
}

/// `x Φ(x)`, by the error function; the operator of this name came with a later version.
fn gelu(graph: &mut Graph, values: &str) -> String {
    let [root, one, half] = [("root", std::f32::consts::FRAC_1_SQRT_2), ("one", 1.0), ("half", 0.5)]
        .map(|(name, value)| graph.floats(name, &[], &[value]));
    let scaled = graph.node("Mul", &[values, &root], &[]);
    let error = graph.node("Erf", &[&scaled], &[]);
    let share = graph.node("Add", &[&error, &one], &[]);
    let product = graph.node("Mul", &[values, &share], &[]);
    graph.node("Mul", &[&product, &half], &[])
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::backbone::{BackboneConfig, state_dict};
    use crate::protobuf::{Value, find};
    use crate::weights::Format;

    #[test]
    fn a_transformers_positions_need_the_size_of_its_images() {
        let architecture = Architecture::Vit(VitConfig { patch: 7, width: 32, depth: 1, frozen_patches: false });
        let model = BackboneConfig { in_channels: 3, architecture }.init(&crate::training::cpu());
        let state = state_dict(&model).into_iter().map(|(name, array)| (format!("backbone.{name}"), array)).collect();
        let file = |dataset: &str| {
            let metadata = BTreeMap::from([("dataset".to_owned(), dataset.to_owned())]);
            let (path, format, renamed) = ("vit.pt".into(), Format::Safetensors, Vec::new());
            to_bytes(&Weights { state: Clone::clone(&state), metadata, path, format, renamed })
        };
        for (dataset, side) in [("fashion-mnist", 28), ("shapes", 28), ("folder:63:grey", 63)] {
            let bytes = file(dataset).unwrap();
            let message = |bytes, field| find(bytes, field).and_then(Value::bytes).unwrap();
            // The last dimension of the graph's input.
            let shape = [7, 11, 2, 1, 2, 1].into_iter().fold(&bytes[..], message);
            assert_eq!(find(shape, 1).and_then(Value::varint), Some(side), "{dataset}");
        }
        let message = file("another").unwrap_err().to_string();
        assert!(message.contains("vit.pt") && message.contains("the name of the dataset"), "{message}");
    }
}
