//! Where images come from.
//!
//! [`open`] gives a [`Dataset`] by name: from a folder the user named, the system's folder, the user's cache, or
//! the network, in this order. Pictures of one's own are the dataset `folder`. [`first_k`], [`stratified`] and [`split_validation`] choose samples from it.
//!
//! ```
//! use twinview::dataset::{self, Request};
//!
//! let request = Request { shapes: (100, 20), ..Request::new("shapes") };
//! let data = dataset::open(&request, &mut |_| {})?;
//! let few = data.train.select(&dataset::stratified(&data.train, 30, 0)?);
//! assert_eq!(few.class_counts(10), [3; 10]);
//! # Ok::<(), twinview::Error>(())
//! ```

use std::path::PathBuf;
use std::sync::Arc;

use crate::{Error, Result};

mod apt;
pub mod catalog;
mod download;
#[cfg(test)]
mod fixture;
mod folder;
mod idx;
mod load;
mod locate;
mod shapes;
mod subset;

pub use folder::read_picture;
pub use idx::{read_images, read_labels};
pub use locate::{Found, Request, Source, Sources, fetch, guess, open, side};
pub use shapes::shapes;
pub use subset::{Portion, first_k, split_validation, stratified};

/// News from a dataset that is being fetched, for whoever shows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress<'a> {
    /// Something a user should read: what was thrown away, which source is tried.
    Message(&'a str),
    /// How far a download is.
    Bytes {
        /// The file's name.
        file: &'a str,
        /// Bytes that are here, those of an earlier try included.
        done: u64,
        /// Bytes of the whole file, where the server tells.
        total: Option<u64>,
    },
    /// How many pictures of a folder are decoded.
    Pictures {
        /// So many are.
        done: usize,
        /// So many there are.
        total: usize,
    },
}

/// Images of one size, in memory as bytes: `[count, channels, height, width]`, u8 in 0..=255.
///
/// A clone shares the pixels.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Images {
    channels: usize,
    height: usize,
    width: usize,
    pixels: Arc<Vec<u8>>,
}

impl Images {
    /// Wraps `pixels`, whose length must be a multiple of `channels * height * width`.
    ///
    /// # Panics
    /// When it is not, or when one of the three is 0.
    pub fn new(channels: usize, height: usize, width: usize, pixels: Vec<u8>) -> Self {
        let size = channels * height * width;
        assert!(size > 0 && pixels.len().is_multiple_of(size), "{} bytes are no images of {size}", pixels.len());
        Self { channels, height, width, pixels: Arc::new(pixels) }
    }

    /// How many images there are.
    pub fn len(&self) -> usize {
        self.pixels.len() / self.image_len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.pixels.is_empty()
    }

    /// Channels of each image: 1 for grey, 3 for RGB.
    pub fn channels(&self) -> usize {
        self.channels
    }

    /// Rows of each image.
    pub fn height(&self) -> usize {
        self.height
    }

    /// Columns of each image.
    pub fn width(&self) -> usize {
        self.width
    }

    /// Bytes of one image.
    pub fn image_len(&self) -> usize {
        self.channels * self.height * self.width
    }

    /// The image at `index`: `[channels, height, width]`.
    pub fn image(&self, index: usize) -> &[u8] {
        &self.pixels[index * self.image_len()..][..self.image_len()]
    }

    /// All images behind one another.
    pub fn pixels(&self) -> &[u8] {
        &self.pixels
    }

    /// The first `count` images; all of them share the pixels.
    ///
    /// # Panics
    /// When there are fewer.
    pub fn first(&self, count: usize) -> Self {
        if count == self.len() {
            return self.clone();
        }
        Self { pixels: Arc::new(self.pixels[..count * self.image_len()].to_vec()), ..*self }
    }

    /// Other images with as many channels, rows and columns.
    ///
    /// # Panics
    /// When `pixels` do not divide into such.
    pub fn of_same_form(&self, pixels: Vec<u8>) -> Self {
        Self::new(self.channels, self.height, self.width, pixels)
    }

    /// A copy of the images at `indices`, in that order.
    pub fn select(&self, indices: &[usize]) -> Self {
        let mut pixels = Vec::with_capacity(indices.len() * self.image_len());
        indices.iter().for_each(|&index| pixels.extend_from_slice(self.image(index)));
        Self { pixels: Arc::new(pixels), ..*self }
    }
}

/// Images and their labels.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Split {
    /// The images.
    pub images: Images,
    /// The class of each image, an index into [`Dataset::class_names`].
    pub labels: Vec<u8>,
}

impl Split {
    /// How many images there are.
    pub fn len(&self) -> usize {
        self.labels.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.labels.is_empty()
    }

    /// How many samples each of the classes `0..n_classes` has.
    ///
    /// # Panics
    /// When a label is outside of them.
    pub fn class_counts(&self, n_classes: usize) -> Vec<usize> {
        let mut counts = vec![0; n_classes];
        self.labels.iter().for_each(|&label| counts[usize::from(label)] += 1);
        counts
    }

    /// A copy of the samples at `indices`, in that order.
    pub fn select(&self, indices: &[usize]) -> Self {
        Self { images: self.images.select(indices), labels: indices.iter().map(|&index| self.labels[index]).collect() }
    }
}

/// A dataset in memory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dataset {
    /// The name it is asked for by: `fashion-mnist`.
    pub name: String,
    /// Class names, by label.
    pub class_names: Vec<String>,
    /// What may be trained on.
    pub train: Split,
    /// What is read once, at the end.
    pub test: Split,
    /// All that an encoder may learn from: the images of `train`, in their order, and behind them those without a label.
    pub pool: Images,
    /// Which files the images were read from, where each has one.
    pub files: Option<Files>,
}

/// A part of a dataset.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// Labelled images to train on.
    Train,
    /// What is read once, at the end.
    Test,
    /// Images without a label.
    Unlabelled,
    /// All that an encoder may learn from: those of `Train`, then those of `Unlabelled`.
    Pool,
}

/// Where images come from: paths below the dataset's folder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Files {
    /// The files of [`Dataset::pool`].
    pub pool: Vec<PathBuf>,
    /// The files of [`Dataset::test`].
    pub test: Vec<PathBuf>,
}

impl Dataset {
    /// A dataset in which every image has a label.
    pub fn new(name: impl Into<String>, class_names: Vec<String>, train: Split, test: Split) -> Self {
        let pool = train.images.clone();
        Self { name: name.into(), class_names, train, test, pool, files: None }
    }

    /// The images of `part`, with the names of their classes. Those without a label are of one class more, `unlabelled`.
    ///
    /// # Errors
    /// When there are none.
    pub fn part(&self, part: Part) -> Result<(Split, Vec<String>)> {
        let mut class_names = self.class_names.clone();
        let labelled = self.train.len();
        let split = match part {
            Part::Train => self.train.clone(),
            Part::Test => self.test.clone(),
            Part::Pool | Part::Unlabelled => {
                let mut labels = self.train.labels.clone();
                if self.pool.len() > labelled {
                    labels.resize(self.pool.len(), class_names.len() as u8);
                    class_names.push("unlabelled".to_owned());
                }
                let pool = Split { images: self.pool.clone(), labels };
                if part == Part::Pool { pool } else { pool.select(&(labelled..pool.len()).collect::<Vec<_>>()) }
            }
        };
        if split.is_empty() {
            let kind = match part {
                Part::Train => "labelled training",
                Part::Test => "test",
                Part::Unlabelled => "unlabelled",
                Part::Pool => "training",
            };
            return Err(Error::Data(format!("{} has no {kind} images; choose another --split", self.name)));
        }
        Ok((split, class_names))
    }

    /// The file of each image of `part`, where they have any.
    pub fn files_of(&self, part: Part) -> Option<&[PathBuf]> {
        let Files { pool, test } = self.files.as_ref()?;
        Some(match part {
            Part::Train => &pool[..self.train.len()],
            Part::Test => test,
            Part::Unlabelled => &pool[self.train.len()..],
            Part::Pool => pool,
        })
    }

    /// The dataset with the training images at `held_out` in the place of the test images, and only those at `kept` left to
    /// train on. Images without a label stay.
    pub fn hold_out(&self, kept: &[usize], held_out: &[usize]) -> Self {
        let [train, test] = [kept, held_out].map(|indices| self.train.select(indices));
        let unlabelled = self.train.len()..self.pool.len();
        let pool: Vec<usize> = kept.iter().copied().chain(unlabelled).collect();
        let files = self.files.as_ref().map(|files| {
            let [pool, test] =
                [&pool[..], held_out].map(|places| places.iter().map(|&at| files.pool[at].clone()).collect());
            Files { pool, test }
        });
        let pool = if pool.len() == kept.len() { train.images.clone() } else { self.pool.select(&pool) };
        Self { name: self.name.clone(), class_names: self.class_names.clone(), train, test, pool, files }
    }

    /// Refuses a dataset without labelled images to learn from.
    ///
    /// # Errors
    /// Says where labels are looked for.
    pub fn require_labels(&self) -> Result<()> {
        if self.train.is_empty() {
            return Err(Error::Data(format!(
                "{}: none of its {} images for training has a label. Put pictures of each class into a folder of its name, or \
                 name them in a file labels.csv",
                self.name,
                self.pool.len()
            )));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn select_keeps_the_order_asked_for() {
        let split = Split { images: Images::new(2, 1, 2, (0..12).collect()), labels: vec![5, 6, 7] };
        let chosen = split.select(&[2, 0, 2]);
        assert_eq!(chosen.images.pixels(), [8, 9, 10, 11, 0, 1, 2, 3, 8, 9, 10, 11]);
        assert_eq!(chosen.labels, [7, 5, 7]);
        assert_eq!(chosen.class_counts(8), [0, 0, 0, 0, 0, 1, 0, 2]);
    }
}
