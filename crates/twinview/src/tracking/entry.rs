//! What a run tells its sinks.

use crate::dataset::Images;
use crate::{Error, Result};

/// One thing to log.
#[derive(Clone, Debug, PartialEq)]
pub enum Entry {
    /// An update was made.
    Update {
        /// The mean loss of its batches.
        loss: f64,
        /// The learning rate, without the factors of parameter groups.
        learning_rate: f64,
    },
    /// An epoch ended; what was measured, by name.
    Epoch(Vec<(&'static str, f64)>),
    /// A picture to look at.
    Picture {
        /// What it shows: `views`.
        name: String,
        /// The picture.
        picture: Picture,
    },
    /// How many values lie where.
    Histogram {
        /// What the values are: `weights/backbone.0.weight`.
        name: String,
        /// The distribution.
        histogram: Histogram,
    },
    /// Images as points in a space of features.
    Embedding {
        /// What the features are of: `backbone`.
        name: String,
        /// Row by row, a row an image.
        features: Vec<f32>,
        /// The class of each image.
        labels: Vec<u8>,
        /// The images.
        images: Images,
    },
}

/// A picture as a PNG file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Picture {
    /// Pixels from left to right.
    pub width: u32,
    /// Pixels from top to bottom.
    pub height: u32,
    /// The file.
    pub png: Vec<u8>,
}

impl Picture {
    /// `images` in rows of `columns`, without gaps: one channel is grey, the first three of more are red, green and blue.
    ///
    /// # Errors
    /// When there are no images or no columns, or the picture cannot be encoded.
    pub fn grid(images: &Images, columns: usize) -> Result<Self> {
        if images.is_empty() || columns == 0 {
            return Err(Error::Config("a picture needs images".into()));
        }
        let (height, width) = (images.height(), images.width());
        let rows = images.len().div_ceil(columns);
        let mut canvas = image::RgbImage::new((columns * width) as u32, (rows * height) as u32);
        for number in 0..images.len() {
            let (left, top) = (number % columns * width, number / columns * height);
            for (place, planes) in (0..height * width).map(|place| (place, images.image(number))) {
                let plane = |channel: usize| planes[channel.min(images.channels() - 1) * height * width + place];
                let colour = if images.channels() < 3 { [plane(0); 3] } else { [plane(0), plane(1), plane(2)] };
                let (x, y) = (left + place % width, top + place / width);
                canvas.put_pixel(x as u32, y as u32, image::Rgb(colour));
            }
        }
        let mut png = std::io::Cursor::new(Vec::new());
        let failed = |error| Error::Config(format!("a picture cannot be encoded: {error}"));
        canvas.write_to(&mut png, image::ImageFormat::Png).map_err(failed)?;
        Ok(Self { width: canvas.width(), height: canvas.height(), png: png.into_inner() })
    }
}

/// Bars of equal width from the smallest value to the largest.
#[derive(Clone, Debug, PartialEq)]
pub struct Histogram {
    /// Where bars begin and end: one more than there are bars, rising.
    pub edges: Vec<f64>,
    /// Values in each bar.
    pub counts: Vec<u64>,
    /// Sum of the values.
    pub sum: f64,
    /// Sum of their squares.
    pub sum_squares: f64,
}

impl Histogram {
    /// The histogram of the finite ones among `values` in 64 bars; `None` when there are none.
    pub fn of(values: &[f32]) -> Option<Self> {
        const BARS: usize = 64;
        let finite = || values.iter().map(|&value| f64::from(value)).filter(|value| value.is_finite());
        let (min, max) =
            finite().fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), value| (low.min(value), high.max(value)));
        if min > max {
            return None;
        }
        // Equal values get a bar around them.
        let (low, high) = if min < max { (min, max) } else { (min - 0.5, max + 0.5) };
        let width = (high - low) / BARS as f64;
        let mut counts = vec![0; BARS];
        finite().for_each(|value| counts[(((value - low) / width) as usize).min(BARS - 1)] += 1);
        let mut edges: Vec<f64> = (0..BARS).map(|edge| low + width * edge as f64).collect();
        edges.push(high);
        Some(Self { edges, counts, sum: finite().sum(), sum_squares: finite().map(|value| value * value).sum() })
    }

    /// How many values there are.
    pub fn count(&self) -> u64 {
        self.counts.iter().sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_finite_value_is_in_one_bar() {
        let values: Vec<f32> = (0..=640).map(|value| value as f32 / 10.0).chain([f32::NAN, f32::INFINITY]).collect();
        let histogram = Histogram::of(&values).unwrap();
        assert_eq!((histogram.edges[0], histogram.edges[64]), (0.0, 64.0));
        assert_eq!(histogram.count(), 641);
        assert!(histogram.counts[..63].iter().all(|count| (9..=11).contains(count)), "{:?}", histogram.counts);
        assert_eq!(Histogram::of(&[f32::NAN]), None);
        let constant = Histogram::of(&[3.0; 5]).unwrap();
        assert_eq!((constant.count(), constant.sum, constant.sum_squares), (5, 15.0, 45.0));
        assert!(constant.edges.is_sorted_by(|a, b| a < b));
    }

    #[test]
    fn a_grid_is_filled_row_by_row() {
        let images = Images::new(1, 1, 2, vec![1, 2, 3, 4, 5, 6]);
        let picture = Picture::grid(&images, 2).unwrap();
        assert_eq!((picture.width, picture.height), (4, 2));
        let pixels = image::load_from_memory(&picture.png).unwrap().into_luma8().into_raw();
        assert_eq!(pixels, [1, 2, 3, 4, 5, 6, 0, 0]);
        let colour = Picture::grid(&Images::new(3, 1, 1, vec![7, 8, 9]), 1).unwrap();
        assert_eq!(image::load_from_memory(&colour.png).unwrap().into_rgb8().into_raw(), [7, 8, 9]);
    }
}
