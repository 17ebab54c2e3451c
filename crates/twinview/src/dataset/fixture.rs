//! Small IDX files for the tests of this room.

use std::io::Write;
use std::path::Path;

use flate2::Compression;
use flate2::write::GzEncoder;

use super::catalog::{Entry, File, Files};
use super::idx::{Kind, header};

pub(super) fn gzip(content: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(content).unwrap();
    encoder.finish().unwrap()
}

pub(super) fn images_file(shape: [usize; 3], pixels: &[u8]) -> Vec<u8> {
    [&header(Kind::Images, &shape)[..], pixels].concat()
}

pub(super) fn labels_file(labels: &[u8]) -> Vec<u8> {
    [&header(Kind::Labels, &[labels.len()])[..], labels].concat()
}

/// A published set of three training and two test images, with its checksums.
pub(super) static TINY: Entry = Entry {
    name: "tiny",
    title: "Tiny",
    class_names: &["even", "odd"],
    files: Files {
        train_images: File {
            name: "train-images-idx3-ubyte",
            sha256: Some("26c0cd51008537a514ab60e859f05acb7243b57bb3c24711b9e7dd6c0f8713d7"),
        },
        train_labels: File {
            name: "train-labels-idx1-ubyte",
            sha256: Some("8ad4cb4b89c2e01d004acf8ba0b69ab9d4ecf3dacb9762a1f59c02fd9c733173"),
        },
        test_images: File {
            name: "t10k-images-idx3-ubyte",
            sha256: Some("e2b174c138fbaa146b4a1de8fcc5bf30595d21a2d5fc8b7e06c7e45c4bc83cc9"),
        },
        test_labels: File { name: "t10k-labels-idx1-ubyte", sha256: None },
    },
    train_len: 3,
    test_len: 2,
    mirrors: &[],
    debian_package: None,
};

/// The decompressed files of [`TINY`], by name.
pub(super) fn tiny_files() -> [(&'static str, Vec<u8>); 4] {
    let pixels = |count: usize, step: usize| -> Vec<u8> { (0..count * 784).map(|i| (i * step) as u8).collect() };
    [
        (TINY.files.train_images.name, images_file([3, 28, 28], &pixels(3, 7))),
        (TINY.files.train_labels.name, labels_file(&[0, 1, 0])),
        (TINY.files.test_images.name, images_file([2, 28, 28], &pixels(2, 5))),
        (TINY.files.test_labels.name, labels_file(&[1, 0])),
    ]
}

/// Puts the files of [`TINY`], gzipped, into `folder`.
pub(super) fn write_tiny(folder: &Path) {
    std::fs::create_dir_all(folder).unwrap();
    for (name, content) in tiny_files() {
        std::fs::write(folder.join(format!("{name}.gz")), gzip(&content)).unwrap();
    }
}
