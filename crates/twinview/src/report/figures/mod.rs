//! Pictures of data and results, as PNG files.
//!
//! Every function gives a [`Figure`]; [`Figure::save`] writes it. Text is drawn with a font that is built
//! in, sizes are measured before they are drawn, and the same input gives the same bytes. Colours can be
//! told apart with the common kinds of colour blindness.
//!
//! ```
//! use twinview::evaluation::ConfusionMatrix;
//! use twinview::report::figures;
//!
//! # let folder = tempfile::tempdir().unwrap();
//! # let path = folder.path().join("confusion.png");
//! let matrix = ConfusionMatrix::new(&[0, 1, 1], &[0, 1, 0], 2)?;
//! figures::confusion_matrix(&matrix, &["cat".to_owned(), "dog".to_owned()]).save(&path)?;
//! assert!(std::fs::read(&path).unwrap().starts_with(b"\x89PNG"));
//! # Ok::<(), twinview::Error>(())
//! ```

mod canvas;
mod chart;
mod heat_map;
mod images;
mod scatter;
mod text;
mod turned;

pub use canvas::Figure;
pub use chart::{Arm, Curve, bar_with_error, learning_curves};
pub use heat_map::confusion_matrix;
pub use images::{image_grid, prediction_grid, view_pairs};
pub use scatter::scatter;

use canvas::Rgb;

/// Text and axes.
const INK: Rgb = Rgb(0x22, 0x26, 0x2b);
/// Text that stands back.
const FAINT: Rgb = Rgb(0x6b, 0x72, 0x7b);
/// Grid lines and frames.
const RULE: Rgb = Rgb(0xdf, 0xe2, 0xe6);
/// Right predictions: a bluish green, dark enough for text.
const RIGHT: Rgb = Rgb(0x00, 0x7a, 0x5a);
/// Wrong predictions: a vermilion, dark enough for text.
const WRONG: Rgb = Rgb(0xb8, 0x3f, 0x00);

/// The colours of classes and curves: Petroff 2021, "Accessible color sequences for data visualization",
/// arXiv:2107.02270, its sequence of ten.
const PALETTE: [Rgb; 10] = [
    Rgb(0x3f, 0x90, 0xda),
    Rgb(0xff, 0xa9, 0x0e),
    Rgb(0xbd, 0x1f, 0x01),
    Rgb(0x94, 0xa4, 0xa2),
    Rgb(0x83, 0x2d, 0xb6),
    Rgb(0xa9, 0x6b, 0x59),
    Rgb(0xe7, 0x63, 0x00),
    Rgb(0xb9, 0xac, 0x70),
    Rgb(0x71, 0x75, 0x81),
    Rgb(0x92, 0xda, 0xdd),
];

/// The colour of the class or curve at `index`; each further ten are darker.
fn colour(index: usize) -> Rgb {
    let Rgb(red, green, blue) = PALETTE[index % PALETTE.len()];
    let shade = |value: u8| (f64::from(value) * 0.65f64.powi((index / PALETTE.len()).min(8) as i32)) as u8;
    Rgb(shade(red), shade(green), shade(blue))
}

/// The name of a class, or its number where it has none.
fn class_name(names: &[String], label: usize) -> String {
    names.get(label).cloned().unwrap_or_else(|| label.to_string())
}

#[cfg(test)]
mod tests;
