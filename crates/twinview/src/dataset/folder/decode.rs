//! From a picture file to bytes of the form asked for.

use std::path::Path;

use image::imageops::{self, FilterType};
use image::{DynamicImage, GrayImage, ImageBuffer, ImageDecoder, ImageReader, Pixel, RgbImage};

use super::form::Form;
use crate::{Error, Result};

/// Endings of the names of files that are taken for pictures.
const EXTENSIONS: [&str; 7] = ["png", "jpg", "jpeg", "webp", "bmp", "tif", "tiff"];

/// Pictures of more bytes than this are refused: a few damaged ones say that they are so large.
const MOST_BYTES: u64 = 1 << 30;

/// Whether the name of a file is that of a picture.
pub(super) fn is_picture(path: &Path) -> bool {
    let extension = path.extension().map(|extension| extension.to_string_lossy().to_ascii_lowercase());
    extension.is_some_and(|extension| EXTENSIONS.contains(&extension.as_str()))
}

/// The picture in `path`, turned as its camera says, its shorter side brought to `form.side` pixels and the middle cut out:
/// `[channels, side, side]`, u8. As torchvision's `Resize` and `CenterCrop` do with pictures that Pillow read, within two
/// levels; transparency is dropped, as Pillow's `convert` drops it.
///
/// # Errors
/// When the file cannot be read or is no picture.
pub(super) fn decode(path: &Path, form: Form) -> Result<Vec<u8>> {
    let damaged = |error: image::ImageError| Error::format(path, format!("cannot be read as a picture: {error}"));
    let reader = ImageReader::open(path).map_err(|source| Error::io(path, "read the picture", source))?;
    let reader = reader.with_guessed_format().map_err(|source| Error::io(path, "read the picture", source))?;
    let mut decoder = reader.into_decoder().map_err(damaged)?;
    if decoder.total_bytes() > MOST_BYTES {
        let (width, height) = decoder.dimensions();
        let message = format!("a picture of {width} × {height} pixels does not fit in memory; make it smaller");
        return Err(Error::format(path, message));
    }
    let orientation = decoder.orientation().map_err(damaged)?;
    let mut picture = DynamicImage::from_decoder(decoder).map_err(damaged)?;
    picture.apply_orientation(orientation);
    let colours = picture.into_rgb8();
    let pixels = if form.is_grey { square(&grey(&colours), form.side) } else { square(&colours, form.side) };
    let (channels, area) = (form.channels(), form.side * form.side);
    Ok((0..channels * area).map(|at| pixels[at % area * channels + at / area]).collect())
}

/// Pillow's "L": the luma of ITU-R 601, in 16 bits of fraction, rounded.
fn grey(colours: &RgbImage) -> GrayImage {
    let luma = |pixel: &image::Rgb<u8>| {
        let [red, green, blue] = pixel.0.map(u32::from);
        ((19595 * red + 38470 * green + 7471 * blue + 0x8000) >> 16) as u8
    };
    let mut pixels = colours.pixels().map(luma);
    GrayImage::from_fn(colours.width(), colours.height(), |_, _| image::Luma([pixels.next().unwrap_or(0)]))
}

/// `[side, side, channels]`: the middle of `picture` when its shorter side is `side` long.
fn square<P: Pixel<Subpixel = u8> + 'static>(picture: &ImageBuffer<P, Vec<u8>>, side: usize) -> Vec<u8> {
    let (width, height) = picture.dimensions();
    let shorter = u64::from(width.min(height)).max(1);
    // The longer side is cut to whole pixels, the rest on both sides of the middle halved; ties go to the even one.
    let scaled = |length: u32| ((side as u64 * u64::from(length) / shorter) as u32).max(side as u32);
    let (new_width, new_height) = (scaled(width), scaled(height));
    let resized = if (new_width, new_height) == (width, height) {
        picture.clone()
    } else {
        imageops::resize(picture, new_width, new_height, FilterType::Triangle)
    };
    let start = |length: u32| (f64::from(length - side as u32) / 2.0).round_ties_even() as u32;
    let middle = imageops::crop_imm(&resized, start(new_width), start(new_height), side as u32, side as u32).to_image();
    middle.into_raw()
}

#[cfg(test)]
mod tests {
    use super::super::fixture::golden;
    use super::*;

    /// `golden/dataset/make.py` made the pictures with Pillow and the squares with torchvision.
    #[test]
    fn squares_are_torchvisions() {
        let (folder, squares) = golden();
        assert!(squares.len() >= 12, "{} squares", squares.len());
        for (name, expected) in squares {
            let (file, form) = name.split_once('@').unwrap();
            let found = decode(&folder.join(file), Form::parse(form).unwrap().unwrap()).unwrap();
            assert_eq!(found.len(), expected.len(), "{name}");
            let off = found.iter().zip(&expected).map(|(one, other)| one.abs_diff(*other));
            let (most, sum) = off.fold((0, 0), |(most, sum), by| (by.max(most), sum + u32::from(by)));
            assert!(most <= 2, "{name}: {most} levels off");
            assert!(f64::from(sum) / (found.len() as f64) < 0.3, "{name}: {sum} levels over {} bytes", found.len());
        }
    }

    #[test]
    fn what_is_no_picture_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let form = Form::parse("folder:8").unwrap().unwrap();
        let (golden, _) = golden();
        let whole = std::fs::read(golden.join("wide.png")).unwrap();
        for (name, content) in [("text.png", &b"no picture"[..]), ("empty.jpg", &[]), ("cut.png", &whole[..200])] {
            let path = folder.path().join(name);
            std::fs::write(&path, content).unwrap();
            let message = decode(&path, form).unwrap_err().to_string();
            assert!(message.contains(name) && message.contains("cannot be read as a picture"), "{message}");
        }
        let message = decode(&folder.path().join("none.png"), form).unwrap_err().to_string();
        assert!(message.contains("none.png: cannot read the picture"), "{message}");
    }

    #[test]
    fn names_tell_pictures() {
        for name in ["a.png", "b.JPG", "c.jpeg", "d.tiff", "e.WebP"] {
            assert!(is_picture(Path::new(name)), "{name}");
        }
        for name in ["png", "a.txt", "a", "a.gif", ".png"] {
            assert!(!is_picture(Path::new(name)), "{name}");
        }
    }
}
