//! Where images come from.
//!
//! [`open`] gives a [`Dataset`] by name: from a folder the user named, the system's folder, the user's cache, or
//! the network, in this order. [`first_k`], [`stratified`] and [`split_validation`] choose samples from it.
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

use std::sync::Arc;

mod apt;
pub mod catalog;
mod download;
#[cfg(test)]
mod fixture;
mod idx;
mod load;
mod locate;
mod shapes;
mod subset;

pub use idx::{read_images, read_labels};
pub use locate::{Found, Request, Source, Sources, fetch, open};
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

/// A labelled dataset in memory.
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
