//! Grids of images with captions.

use image::imageops::{self, FilterType};
use image::{Rgb as Pixel, RgbImage};

use super::canvas::{Align, Figure, Rgb, SCALE};
use super::{FAINT, INK, RIGHT, RULE, WRONG, class_name, text};
use crate::dataset::{Images, Split};
use crate::{Error, Result};

/// The longer side of a shown image, in units.
const SIDE: f64 = 112.0;
const GAP: f64 = 12.0;
const MARGIN: f64 = 16.0;
const CAPTION: u32 = 11;
/// Captions may widen a cell to this much; longer ones are cut short.
const WIDEST_CELL: f64 = 190.0;

/// The first `rows * columns` images with the names of their classes.
///
/// Fails when there are no images, or when they have neither one channel nor three.
pub fn image_grid(split: &Split, class_names: &[String], rows: usize, columns: usize) -> Result<Figure> {
    let captions = split.labels.iter().map(|&label| (class_name(class_names, label.into()), INK));
    captioned(&split.images, captions.take(rows * columns).collect(), columns)
}

/// The first `rows * columns` images with what they were taken for and, in brackets, what they are; right
/// predictions are green with a tick, wrong ones red with a cross.
///
/// Fails as [`image_grid`] does, and when there is not one prediction for each image.
pub fn prediction_grid(
    split: &Split,
    predicted: &[u8],
    class_names: &[String],
    rows: usize,
    columns: usize,
) -> Result<Figure> {
    if predicted.len() != split.len() {
        return Err(Error::Config(format!(
            "{} predictions were given for {} images: give one for each",
            predicted.len(),
            split.len()
        )));
    }
    let captions = split.labels.iter().zip(predicted).map(|(&truth, &predicted)| {
        let (mark, colour) = if truth == predicted { ('✓', RIGHT) } else { ('✗', WRONG) };
        let [predicted, truth] = [predicted, truth].map(|label| class_name(class_names, label.into()));
        (format!("{mark} {predicted} ({truth})"), colour)
    });
    captioned(&split.images, captions.take(rows * columns).collect(), columns)
}

/// Each image above its two views: a column for each image, for up to twelve of them.
///
/// Fails as [`image_grid`] does, and when there is not one image of each view for each original.
pub fn view_pairs(originals: &Images, views: [&Images; 2]) -> Result<Figure> {
    if let Some(view) = views.iter().find(|view| view.len() != originals.len()) {
        return Err(Error::Config(format!(
            "{} views were given for {} images: give one of each view for each image",
            view.len(),
            originals.len()
        )));
    }
    let rows = [("original", originals), ("view 1", views[0]), ("view 2", views[1])];
    let columns = originals.len().min(12);
    check(originals, columns)?;
    let left = MARGIN + text::widest(rows.map(|row| row.0), 12) + GAP;
    let pitch = SIDE + GAP;
    let mut figure =
        Figure::new(left + columns as f64 * pitch - GAP + MARGIN, 2.0 * MARGIN + rows.len() as f64 * pitch - GAP);
    for (row, (name, images)) in rows.into_iter().enumerate() {
        check(images, columns)?;
        let y = MARGIN + row as f64 * pitch;
        figure.text_beside(left - GAP, y + SIDE / 2.0, name, 12, Align::Right, FAINT);
        for column in 0..columns {
            place(&mut figure, images, column, left + column as f64 * pitch + SIDE / 2.0, y + SIDE / 2.0);
        }
    }
    Ok(figure)
}

/// The images that have captions, in rows of `columns`.
fn captioned(images: &Images, captions: Vec<(String, Rgb)>, columns: usize) -> Result<Figure> {
    check(images, captions.len())?;
    let columns = columns.min(captions.len());
    let rows = captions.len().div_ceil(columns);
    let cell = text::widest(captions.iter().map(|caption| &caption.0), CAPTION).clamp(SIDE, WIDEST_CELL).ceil();
    let line = f64::from(CAPTION) * 1.6;
    let shown_height = f64::from(shown_size(images).1) / f64::from(SCALE);
    let (across, down) = (cell + GAP, shown_height + line + GAP);
    let mut figure = Figure::new(2.0 * MARGIN + columns as f64 * across - GAP, 2.0 * MARGIN + rows as f64 * down - GAP);
    for (index, (caption, colour)) in captions.iter().enumerate() {
        let x = MARGIN + (index % columns) as f64 * across;
        let y = MARGIN + (index / columns) as f64 * down;
        place(&mut figure, images, index, x + cell / 2.0, y + shown_height / 2.0);
        let caption = text::fit(caption, CAPTION, cell);
        figure.text(x + cell / 2.0, y + shown_height + line - 3.0, &caption, CAPTION, Align::Centre, *colour);
    }
    Ok(figure)
}

/// A figure needs at least one image, of a kind that can be shown.
fn check(images: &Images, shown: usize) -> Result<()> {
    if shown == 0 {
        return Err(Error::Config("there are no images to show".into()));
    }
    match images.channels() {
        1 | 3 => Ok(()),
        channels => Err(Error::Config(format!(
            "images of {channels} channels cannot be shown: they need one (grey) or three (red, green, blue)"
        ))),
    }
}

/// Draws an image about a point.
fn place(figure: &mut Figure, images: &Images, index: usize, middle_x: f64, middle_y: f64) {
    let (width, height) = shown_size(images);
    let filter = if width.is_multiple_of(images.width() as u32) { FilterType::Nearest } else { FilterType::CatmullRom };
    let picture = imageops::resize(&to_rgb(images, index), width, height, filter);
    let scale = f64::from(SCALE);
    let corner = |middle: f64, length: u32| (middle * scale - f64::from(length) / 2.0).round();
    let (x, y) = (corner(middle_x, width), corner(middle_y, height));
    // A hairline shows where an image with a white edge ends.
    let [frame_width, frame_height] = [width, height].map(|length| f64::from(length) / scale + 2.0);
    figure.frame(x / scale - 1.0, y / scale - 1.0, frame_width, frame_height, RULE);
    figure.picture(x as u32, y as u32, picture);
}

/// Width and height in pixels of each of the images as shown, the longer one close to [`SIDE`]: small images
/// by a whole factor, so that every pixel is seen as it is.
fn shown_size(images: &Images) -> (u32, u32) {
    let side = SIDE as usize * SCALE as usize;
    let longer = images.width().max(images.height());
    let scaled = |length: usize| if longer <= side / 2 { length * (side / longer) } else { length * side / longer };
    (scaled(images.width()).max(1) as u32, scaled(images.height()).max(1) as u32)
}

fn to_rgb(images: &Images, index: usize) -> RgbImage {
    let (width, area) = (images.width(), images.width() * images.height());
    let image = images.image(index);
    RgbImage::from_fn(width as u32, images.height() as u32, |x, y| {
        let place = y as usize * width + x as usize;
        Pixel([0, 1, 2].map(|channel| image[channel.min(images.channels() - 1) * area + place]))
    })
}
