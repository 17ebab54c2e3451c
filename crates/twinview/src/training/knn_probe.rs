//! Classification by the nearest training images.

use crate::backbone::Backbone;
use crate::dataset::{Images, Split};
use crate::embedding::{Matrix, Metric, Vote, classify, extract, knn};
use crate::{Error, Result};

/// A vote of the nearest labelled images in the features of a frozen encoder (Wu et al. 2018, arXiv 1805.01978, section
/// 3.4): nothing is trained, so it says what the encoder alone has learned.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct KnnProbe {
    /// Images that vote; fewer where fewer have labels.
    pub neighbours: usize,
    /// How much nearer ones count more: a vote weighs `exp(cosine similarity / temperature)`.
    pub temperature: f32,
}

impl Default for KnnProbe {
    /// 20 neighbours, which Caron et al. 2021 (arXiv 2104.14294, section 3.2) found best for most of their encoders, and Wu et al.'s
    /// temperature.
    fn default() -> Self {
        Self { neighbours: 20, temperature: 0.07 }
    }
}

impl KnnProbe {
    /// The class of each of `images`.
    ///
    /// # Errors
    /// When nothing has a label, no neighbour may vote, the temperature is not above 0, or the images do not fit the
    /// encoder.
    pub fn predict(&self, backbone: &Backbone, labelled: &Split, images: &Images) -> Result<Vec<u8>> {
        if self.neighbours == 0 {
            return Err(Error::Config("0 neighbours cannot vote; expected at least 1".into()));
        }
        let (train, test) = (extract(backbone, &labelled.images)?, extract(backbone, images)?);
        let train = Matrix::new(train.values(), train.dimensions())?;
        let test = Matrix::new(test.values(), test.dimensions())?;
        let neighbours = knn(train, test, self.neighbours.min(labelled.len()), Metric::Cosine)?;
        classify(&neighbours, &labelled.labels, Vote::Weighted { temperature: self.temperature })
    }
}
