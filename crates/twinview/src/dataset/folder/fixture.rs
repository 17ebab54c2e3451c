//! Pictures for tests.

use std::path::{Path, PathBuf};

use image::{Rgb, RgbImage};

/// The folder of golden pictures, and the squares that torchvision makes of them: `[channels, side, side]`, by
/// `FILE@FORM`.
pub(super) fn golden() -> (PathBuf, Vec<(String, Vec<u8>)>) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../golden/dataset");
    let bytes = std::fs::read(folder.join("squares.safetensors")).unwrap();
    let squares = safetensors::SafeTensors::deserialize(&bytes).unwrap();
    let squares = squares.tensors().into_iter().map(|(name, tensor)| (name, tensor.data().to_vec())).collect();
    (folder.join("pictures"), squares)
}

/// A picture of one colour with a brighter middle, in `path` below `root`.
pub(super) fn paint(root: &Path, path: &str, colour: [u8; 3]) {
    let path = root.join(path);
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    let brighter = colour.map(|value| value.saturating_add(40));
    RgbImage::from_fn(12, 10, |x, y| Rgb(if (4..8).contains(&x) && (3..7).contains(&y) { brighter } else { colour }))
        .save(path)
        .unwrap();
}
