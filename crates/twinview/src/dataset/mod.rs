//! Where images come from.

/// Images of one size, in memory as bytes: `[count, channels, height, width]`, u8 in 0..=255.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Images {
    channels: usize,
    height: usize,
    width: usize,
    pixels: Vec<u8>,
}

impl Images {
    /// Wraps `pixels`, whose length must be a multiple of `channels * height * width`.
    ///
    /// # Panics
    /// When it is not, or when one of the three is 0.
    pub fn new(channels: usize, height: usize, width: usize, pixels: Vec<u8>) -> Self {
        let size = channels * height * width;
        assert!(size > 0 && pixels.len().is_multiple_of(size), "{} bytes are no images of {size}", pixels.len());
        Self { channels, height, width, pixels }
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
        let pixels = indices.iter().flat_map(|&index| self.image(index)).copied().collect();
        Self { pixels, ..*self }
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
