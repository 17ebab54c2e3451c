//! Arrays and pictures as text.

use std::io::Cursor;

use image::{ExtendedColorType, ImageEncoder, codecs::png};

use super::data::{Atlas, Map};
use crate::dataset::Images;
use crate::{Error, Result};

/// Pictures are made smaller until their longer side has at most this many pixels.
const LONGEST: usize = 48;

const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/// `bytes` in base64 with padding (RFC 4648, section 4).
pub fn base64(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for chunk in bytes.chunks(3) {
        let three = [chunk[0], chunk.get(1).copied().unwrap_or(0), chunk.get(2).copied().unwrap_or(0)];
        let bits = u32::from_be_bytes([0, three[0], three[1], three[2]]);
        for place in 0..4 {
            let letter = ALPHABET[(bits >> (18 - 6 * place)) as usize & 63];
            text.push(if place <= chunk.len() { char::from(letter) } else { '=' });
        }
    }
    text
}

impl Atlas {
    /// `images` in rows of `columns`, made smaller where they are large. Grey stays grey; of more channels than three, the
    /// first three are shown.
    ///
    /// # Errors
    /// When there are no images or no columns, or the picture cannot be encoded.
    pub fn new(images: &Images, columns: usize) -> Result<Self> {
        if images.is_empty() || columns == 0 {
            return Err(Error::Config("an atlas needs images".into()));
        }
        let shrink = images.height().max(images.width()).div_ceil(LONGEST);
        let (height, width) = (images.height() / shrink, images.width() / shrink);
        let (height, width) = (height.max(1), width.max(1));
        let channels = if images.channels() < 3 { 1 } else { 3 };
        let rows = images.len().div_ceil(columns);
        let mut canvas = vec![0_u8; rows * height * columns * width * channels];
        for number in 0..images.len() {
            let planes = images.image(number);
            for y in 0..height {
                let line = (number / columns * height + y) * columns + number % columns;
                for x in 0..width {
                    for channel in 0..channels {
                        let plane = &planes[channel * images.height() * images.width()..];
                        canvas[(line * width + x) * channels + channel] =
                            block_mean(plane, images.width(), images.height(), x, y, shrink);
                    }
                }
            }
        }
        let colour = if channels == 1 { ExtendedColorType::L8 } else { ExtendedColorType::Rgb8 };
        let mut file = Cursor::new(Vec::new());
        let encoder =
            png::PngEncoder::new_with_quality(&mut file, png::CompressionType::Default, png::FilterType::Adaptive);
        encoder
            .write_image(&canvas, (columns * width) as u32, (rows * height) as u32, colour)
            .map_err(|error| Error::Config(format!("the pictures of the report cannot be encoded: {error}")))?;
        Ok(Self { tile: (width, height), columns, png: base64(&file.into_inner()) })
    }
}

/// The mean of the pixels of `plane` that pixel `x`, `y` of the small picture stands for.
fn block_mean(plane: &[u8], width: usize, height: usize, x: usize, y: usize, shrink: usize) -> u8 {
    let columns = x * shrink..((x + 1) * shrink).min(width);
    let lines = y * shrink..((y + 1) * shrink).min(height);
    let count = columns.len() * lines.len();
    let sum: usize = lines
        .flat_map(|line| columns.clone().map(move |column| line * width + column))
        .map(|at| usize::from(plane[at]))
        .sum();
    sum.checked_div(count).unwrap_or(0) as u8
}

impl Map {
    /// The map `name` from coordinates, `[count, 2]` and `[count, 3]`, and `k` neighbours of each sample, `[count, k]`.
    pub fn new(name: &str, two: &[f32], three: &[f32], neighbours: &[u32], k: usize) -> Self {
        let neighbours: Vec<u8> = neighbours.iter().flat_map(|index| index.to_le_bytes()).collect();
        Self {
            name: name.to_owned(),
            two: quantised(two, 2),
            three: quantised(three, 3),
            k,
            neighbours: base64(&neighbours),
        }
    }
}

/// Coordinates as base64 of u16: all axes on the scale of the longest, each in the middle.
fn quantised(values: &[f32], dimensions: usize) -> String {
    let bounds: Vec<(f32, f32)> = (0..dimensions)
        .map(|axis| {
            let column = values.iter().skip(axis).step_by(dimensions);
            column.fold((f32::INFINITY, f32::NEG_INFINITY), |(low, high), &value| (low.min(value), high.max(value)))
        })
        .collect();
    let span = bounds.iter().map(|(low, high)| high - low).fold(0.0, f32::max);
    let scale = if span > 0.0 { 65535.0 / span } else { 0.0 };
    let bytes = values.iter().enumerate().flat_map(|(place, value)| {
        let (low, high) = bounds[place % dimensions];
        let middle = (low + high) / 2.0;
        (((value - middle) * scale + 32767.5).round().clamp(0.0, 65535.0) as u16).to_le_bytes()
    });
    base64(&bytes.collect::<Vec<_>>())
}
