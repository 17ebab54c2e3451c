//! Agreement with torchvision, on `golden/augment/augment.safetensors.gz`; `make.py` beside it says what is in it.

use std::io::Read;

use safetensors::SafeTensors;

use super::rand_augment::{Operation, PreparedOperation};
use super::*;
use crate::dataset::Images;

struct Golden {
    bytes: Vec<u8>,
}

impl Golden {
    fn open() -> Self {
        let packed =
            include_bytes!(concat!(env!("CARGO_MANIFEST_DIR"), "/../../golden/augment/augment.safetensors.gz"));
        let mut bytes = Vec::new();
        flate2::read::GzDecoder::new(packed.as_slice()).read_to_end(&mut bytes).unwrap();
        Self { bytes }
    }

    fn tensors(&self) -> SafeTensors<'_> {
        SafeTensors::deserialize(&self.bytes).unwrap()
    }

    fn images(&self, name: &str) -> Images {
        let tensors = self.tensors();
        let tensor = tensors.tensor(name).unwrap();
        let [_, channels, height, width] = *tensor.shape() else { panic!("{name} holds no images") };
        Images::new(channels, height, width, tensor.data().to_vec())
    }

    /// The entries below `prefix`: what follows it, split at the slashes, and the images.
    fn below(&self, prefix: &str) -> Vec<(Vec<String>, Images)> {
        let names: Vec<String> = self.tensors().names().into_iter().map(str::to_owned).collect();
        let mut entries = Vec::new();
        for name in names.iter().filter(|name| name.starts_with(prefix)) {
            let path = name[prefix.len()..].split('/').map(str::to_owned).collect();
            entries.push((path, self.images(name)));
        }
        assert!(!entries.is_empty(), "nothing below {prefix}");
        entries
    }
}

fn operation(name: &str) -> Operation {
    Operation::ALL.into_iter().find(|operation| format!("{operation:?}") == name).unwrap()
}

fn prepared(name: &str, bin: usize, sign: &str, images: &Images) -> PreparedOperation {
    let (height, width) = (images.height(), images.width());
    let magnitude = operation(name).magnitude(bin, 31, height, width);
    let negative = sign == "1" && operation(name).is_signed();
    operation(name).prepare(if negative { -magnitude } else { magnitude }, height, width)
}

/// Transforms each image and gives the share of pixels that agree, and the largest difference.
fn compare(images: &Images, expected: &Images, transform: impl Fn(&mut Canvas)) -> (f64, u8) {
    let mut canvas = Canvas::new(images.channels(), images.height(), images.width());
    let mut differences = Vec::new();
    for index in 0..images.len() {
        canvas.load(images.image(index));
        transform(&mut canvas);
        differences.extend(canvas.pixels().iter().zip(expected.image(index)).map(|(&a, &b)| a.abs_diff(b)));
    }
    assert_eq!(differences.len(), expected.pixels().len());
    let equal = differences.iter().filter(|&&difference| difference == 0).count();
    (equal as f64 / differences.len() as f64, differences.into_iter().max().unwrap_or(0))
}

fn is_geometric(name: &str) -> bool {
    name.starts_with("Shear") || name.starts_with("Translate") || name == "Rotate"
}

#[test]
fn magnitudes_are_torchvisions() {
    let golden = Golden::open();
    for bins in [31, 11] {
        let tensors = golden.tensors();
        let tensor = tensors.tensor(&format!("magnitudes/{bins}")).unwrap();
        let expected = tensor.data().chunks_exact(8).map(|bytes| f64::from_le_bytes(bytes.try_into().unwrap()));
        let places = Operation::ALL.into_iter().flat_map(|operation| (0..bins).map(move |bin| (operation, bin)));
        for ((operation, bin), expected) in places.zip(expected) {
            assert_eq!(operation.magnitude(bin, bins, 28, 28), expected, "{operation:?} {bin} of {bins}");
        }
    }
}

#[test]
fn source_maps_agree_at_every_magnitude_and_sign() {
    let golden = Golden::open();
    let tensors = golden.tensors();
    for operation in Operation::ALL.into_iter().filter(|operation| is_geometric(&format!("{operation:?}"))) {
        let tensor = tensors.tensor(&format!("source/{operation:?}")).unwrap();
        let maps = tensor.data().chunks_exact(2 * 28 * 28).enumerate();
        assert_eq!(maps.len(), 31 * 2);
        for (i, expected) in maps {
            let magnitude = operation.magnitude(i / 2, 31, 28, 28) * if i % 2 == 1 { -1.0 } else { 1.0 };
            let PreparedOperation::Warp(map) = operation.prepare(magnitude, 28, 28) else {
                panic!("{operation:?} moves no pixels")
            };
            let expected = expected.chunks_exact(2).map(|bytes| i16::from_le_bytes([bytes[0], bytes[1]]));
            let ours = map.sources().map(|source| source.map_or(-1, |source| source as i16));
            let equal = ours.zip(expected).filter(|(ours, expected)| ours == expected).count();
            // On the machine that made them all 784 agree; another library's tangent may turn a tie.
            assert!(equal as f64 / 784.0 >= 0.995, "{operation:?} at {magnitude}: {equal} of 784");
        }
    }
}

#[test]
fn operations_agree_on_grey_and_rgb_images() {
    let golden = Golden::open();
    for (inputs, prefix) in [("images", "grey/"), ("rgb", "color/")] {
        let images = golden.images(inputs);
        for (path, expected) in golden.below(prefix) {
            let [name, bin, sign] = path.as_slice() else { panic!("{path:?}") };
            let prepared = prepared(name, bin.parse().unwrap(), sign, &images);
            let (share, _) = compare(&images, &expected, |canvas| prepared.apply(canvas));
            let bar = if is_geometric(name) { 0.995 } else { 1.0 };
            assert!(share >= bar, "{prefix}{path:?}: {share}");
        }
    }
}

#[test]
fn chains_agree() {
    let golden = Golden::open();
    let images = golden.images("images");
    let (_, metadata) = SafeTensors::read_metadata(&golden.bytes).unwrap();
    let metadata = metadata.metadata().clone().unwrap();
    for (path, expected) in golden.below("chain/") {
        let chain: Vec<PreparedOperation> = metadata[&format!("chain/{}", path[0])]
            .split(' ')
            .map(|step| step.split_once('/').unwrap())
            .map(|(name, sign)| prepared(name, 9, sign, &images))
            .collect();
        let (share, _) = compare(&images, &expected, |canvas| chain.iter().for_each(|step| step.apply(canvas)));
        assert!(share >= 0.995, "{path:?}: {share}");
    }
}

#[test]
fn brightness_and_contrast_agree_at_any_factor() {
    let golden = Golden::open();
    let images = golden.images("images");
    for (prefix, transform) in [("brightness/", brightness as fn(&mut Canvas, f64)), ("contrast/", contrast)] {
        for (path, expected) in golden.below(prefix) {
            let factor = path[0].parse().unwrap();
            let agreement = compare(&images, &expected, |canvas| transform(canvas, factor));
            assert_eq!(agreement, (1.0, 0), "{prefix}{factor}");
        }
    }
}

#[test]
fn colours_agree() {
    let golden = Golden::open();
    let images = golden.images("rgb");
    for (path, expected) in golden.below("rgb-saturation/") {
        let factor = path[0].parse().unwrap();
        let agreement = compare(&images, &expected, |canvas| color(canvas, factor));
        assert_eq!(agreement, (1.0, 0), "saturation {factor}");
    }
    for (path, expected) in golden.below("rgb-hue/") {
        let turn = path[0].parse().unwrap();
        let (share, largest) = compare(&images, &expected, |canvas| hue(canvas, turn));
        assert!(largest <= 1 && share > 0.995, "hue {turn}: {share} equal, off by {largest}");
    }
    for (_, expected) in golden.below("rgb-grayscale/") {
        assert_eq!(compare(&images, &expected, grayscale), (1.0, 0));
    }
}

#[test]
fn blurs_agree_within_a_level() {
    let golden = Golden::open();
    for (inputs, prefix) in [("images", "blur/"), ("rgb", "rgb-blur/")] {
        for (path, expected) in golden.below(prefix) {
            let (kernel, sigma) = (path[0].parse().unwrap(), path[1].parse().unwrap());
            let blur = |canvas: &mut Canvas| gaussian_blur(canvas, kernel, sigma);
            let (share, largest) = compare(&golden.images(inputs), &expected, blur);
            assert!(largest <= 1 && share > 0.99, "{prefix}{path:?}: {share} equal, off by {largest}");
        }
    }
}

#[test]
fn crops_agree_within_a_level() {
    let golden = Golden::open();
    for (inputs, prefix) in [("images", "crop/"), ("rgb", "rgb-crop/")] {
        for (path, expected) in golden.below(prefix) {
            let edges: Vec<usize> = path.iter().map(|edge| edge.parse().unwrap()).collect();
            let [top, left, height, width] = *edges else { panic!("{path:?}") };
            let crop = |canvas: &mut Canvas| resized_crop(canvas, Rectangle { top, left, height, width });
            let (share, largest) = compare(&golden.images(inputs), &expected, crop);
            assert!(largest <= 1 && share > 0.99, "{prefix}{path:?}: {share} equal, off by {largest}");
        }
    }
}
