//! The MNIST-shaped datasets that are known by name.
//!
//! ```
//! use twinview::dataset::catalog;
//!
//! let entry = catalog::find("kmnist")?;
//! assert_eq!((entry.train_len, entry.class_names.len()), (60_000, 10));
//! assert!(catalog::find("imagenet").is_err());
//! # Ok::<(), twinview::Error>(())
//! ```

use super::idx::Kind;
use crate::{Error, Result};

/// A dataset of 28×28 grey images in four IDX files.
#[derive(Debug)]
pub struct Entry {
    /// The name it is asked for by: `fashion-mnist`.
    pub name: &'static str,
    /// The name it is printed by: `Fashion-MNIST`.
    pub title: &'static str,
    /// Class names, by label.
    pub class_names: &'static [&'static str],
    /// Its files.
    pub files: Files,
    /// Images to train on.
    pub train_len: usize,
    /// Images to test on.
    pub test_len: usize,
    /// Where its makers publish it, best first: file names plus `.gz` are appended. Plain http is no risk where
    /// the checksum is known.
    pub mirrors: &'static [&'static str],
    /// The Debian package that installs it under `/usr/share/datasets/<name>`.
    pub debian_package: Option<&'static str>,
}

/// The files of a dataset.
#[derive(Debug)]
pub struct Files {
    /// `[train_len, 28, 28]`
    pub train_images: File,
    /// `[train_len]`
    pub train_labels: File,
    /// `[test_len, 28, 28]`
    pub test_images: File,
    /// `[test_len]`
    pub test_labels: File,
}

/// One file, as published.
#[derive(Debug)]
pub struct File {
    /// Its name without `.gz`.
    pub name: &'static str,
    /// SHA-256 of the *decompressed* content, in hexadecimal: packagers compress anew. `None` where it is not
    /// known; then the sizes must do.
    pub sha256: Option<&'static str>,
}

/// Rows and columns of every image here.
pub(super) const SIDE: usize = 28;

impl Entry {
    /// Each file with the content and the shape it must have.
    pub(super) fn all_files(&self) -> [(&File, Kind, Vec<usize>); 4] {
        let Files { train_images, train_labels, test_images, test_labels } = &self.files;
        [
            (train_images, Kind::Images, vec![self.train_len, SIDE, SIDE]),
            (train_labels, Kind::Labels, vec![self.train_len]),
            (test_images, Kind::Images, vec![self.test_len, SIDE, SIDE]),
            (test_labels, Kind::Labels, vec![self.test_len]),
        ]
    }

    /// The names to look for, for people: `train-images-idx3-ubyte.gz, ...`.
    pub(super) fn file_names(&self) -> String {
        self.all_files().map(|(file, ..)| format!("{}.gz", file.name)).join(", ")
    }
}

/// The dataset called `name`.
///
/// # Errors
/// When there is none; the message lists those there are.
pub fn find(name: &str) -> Result<&'static Entry> {
    CATALOG.iter().find(|entry| entry.name == name).ok_or_else(|| {
        let names: Vec<&str> = CATALOG.iter().map(|entry| entry.name).chain(["shapes"]).collect();
        Error::Config(format!(
            "no dataset is called '{name}'; there are: {}, and folder for pictures of your own",
            names.join(", ")
        ))
    })
}

/// Four files under the names that MNIST gave them.
const fn files(sha256: [Option<&'static str>; 4]) -> Files {
    let [train_images, train_labels, test_images, test_labels] = sha256;
    Files {
        train_images: File { name: "train-images-idx3-ubyte", sha256: train_images },
        train_labels: File { name: "train-labels-idx1-ubyte", sha256: train_labels },
        test_images: File { name: "t10k-images-idx3-ubyte", sha256: test_images },
        test_labels: File { name: "t10k-labels-idx1-ubyte", sha256: test_labels },
    }
}

/// All datasets that are known by name.
pub const CATALOG: &[Entry] = &[
    // Xiao, Rasul, Vollgraf 2017, "Fashion-MNIST: a novel image dataset for benchmarking machine learning algorithms".
    Entry {
        name: "fashion-mnist",
        title: "Fashion-MNIST",
        class_names: &[
            "T-shirt/top",
            "Trouser",
            "Pullover",
            "Dress",
            "Coat",
            "Sandal",
            "Shirt",
            "Sneaker",
            "Bag",
            "Ankle boot",
        ],
        files: files([
            Some("c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888"),
            Some("bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9"),
            Some("5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b"),
            Some("0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34"),
        ]),
        train_len: 60_000,
        test_len: 10_000,
        mirrors: &[
            "https://raw.githubusercontent.com/zalandoresearch/fashion-mnist/master/data/fashion/",
            "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",
        ],
        debian_package: Some("dataset-fashion-mnist"),
    },
    // LeCun, Cortes, Burges 1998, "The MNIST database of handwritten digits".
    Entry {
        name: "mnist",
        title: "MNIST",
        class_names: &["0", "1", "2", "3", "4", "5", "6", "7", "8", "9"],
        files: files([
            Some("ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db"),
            Some("65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5"),
            Some("0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7"),
            Some("ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2"),
        ]),
        train_len: 60_000,
        test_len: 10_000,
        mirrors: &[
            "https://storage.googleapis.com/cvdf-datasets/mnist/",
            "https://ossci-datasets.s3.amazonaws.com/mnist/",
            "http://yann.lecun.com/exdb/mnist/",
        ],
        debian_package: None,
    },
    // Clanuwat et al. 2018, "Deep learning for classical Japanese literature".
    Entry {
        name: "kmnist",
        title: "Kuzushiji-MNIST",
        class_names: &["o", "ki", "su", "tsu", "na", "ha", "ma", "ya", "re", "wo"],
        files: files([None; 4]),
        train_len: 60_000,
        test_len: 10_000,
        mirrors: &["https://codh.rois.ac.jp/kmnist/dataset/kmnist/", "http://codh.rois.ac.jp/kmnist/dataset/kmnist/"],
        debian_package: None,
    },
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_name_lists_those_there_are() {
        let message = find("fashionmnist").unwrap_err().to_string();
        assert_eq!(
            message,
            "no dataset is called 'fashionmnist'; there are: fashion-mnist, mnist, kmnist, shapes, and folder for pictures of your own"
        );
    }

    #[test]
    fn every_entry_is_complete() {
        for entry in CATALOG {
            assert_eq!(find(entry.name).unwrap().title, entry.title);
            assert_eq!(entry.class_names.len(), 10);
            assert!(!entry.mirrors.is_empty() && entry.mirrors.iter().all(|mirror| mirror.ends_with('/')));
            for sha256 in entry.all_files().iter().filter_map(|(file, ..)| file.sha256) {
                assert!(sha256.len() == 64 && sha256.bytes().all(|c| matches!(c, b'0'..=b'9' | b'a'..=b'f')));
            }
        }
    }
}
