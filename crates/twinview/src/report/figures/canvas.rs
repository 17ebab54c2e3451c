//! The sheet that figures are drawn on.

use std::io::Cursor;
use std::path::Path;

use image::codecs::png::{CompressionType, FilterType, PngEncoder};
use image::{ImageFormat, RgbImage, imageops};
use kuva::PngBackend;
use kuva::render::color::Color;
use kuva::render::render::{Primitive, Scene, TextAnchor};

use super::text;
use super::turned::TurnedText;
use crate::{Error, Result, files};

/// Pixels for each unit of length, so that figures are crisp on dense screens and in print.
pub(super) const SCALE: u32 = 2;

/// A colour.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Rgb(pub(super) u8, pub(super) u8, pub(super) u8);

impl From<Rgb> for Color {
    fn from(Rgb(red, green, blue): Rgb) -> Self {
        Color::Rgb(red, green, blue)
    }
}

/// Where text stands relative to its point.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Align {
    Left,
    Centre,
    Right,
}

/// A picture that can be written as a PNG file.
#[derive(Debug)]
pub struct Figure {
    scene: Scene,
    pictures: Vec<(i64, i64, RgbImage)>,
    turned: Vec<TurnedText>,
}

impl Figure {
    /// An empty white sheet. Lengths are in units of [`SCALE`] pixels, from the upper left corner.
    pub(super) fn new(width: f64, height: f64) -> Self {
        Self { scene: Scene::new(width.ceil(), height.ceil()), pictures: Vec::new(), turned: Vec::new() }
    }

    /// Pixels from left to right.
    pub fn width(&self) -> u32 {
        self.scene.width as u32 * SCALE
    }

    /// Pixels from top to bottom.
    pub fn height(&self) -> u32 {
        self.scene.height as u32 * SCALE
    }

    /// The content of the PNG file: 8-bit RGB, the same bytes each time.
    pub fn to_png(&self) -> Result<Vec<u8>> {
        let mut png = Cursor::new(Vec::new());
        let encoder = PngEncoder::new_with_quality(&mut png, CompressionType::Default, FilterType::Adaptive);
        self.to_rgb()?.write_with_encoder(encoder).map_err(failed)?;
        Ok(png.into_inner())
    }

    /// The pixels.
    pub(super) fn to_rgb(&self) -> Result<RgbImage> {
        let drawn = PngBackend::new().with_scale(SCALE as f32).render_scene(&self.scene).map_err(failed)?;
        let mut sheet = image::load_from_memory_with_format(&drawn, ImageFormat::Png).map_err(failed)?.to_rgb8();
        for (x, y, picture) in &self.pictures {
            imageops::replace(&mut sheet, picture, *x, *y);
        }
        for text in &self.turned {
            text.draw(&mut sheet)?;
        }
        Ok(sheet)
    }

    /// Writes the PNG file: whole, or not at all.
    pub fn save(&self, path: impl AsRef<Path>) -> Result<()> {
        files::write_atomic(path, &self.to_png()?)
    }

    /// A line of text with its baseline at `y`.
    pub(super) fn text(&mut self, x: f64, y: f64, content: &str, size: u32, align: Align, colour: Rgb) {
        let anchor = match align {
            Align::Left => TextAnchor::Start,
            Align::Centre => TextAnchor::Middle,
            Align::Right => TextAnchor::End,
        };
        // A dollar sign would start a formula.
        let content = content.replace('$', "\\$");
        self.scene.elements.push(Primitive::Text {
            x,
            y,
            content,
            size,
            anchor,
            rotate: None,
            bold: false,
            color: Some(colour.into()),
        });
    }

    /// A line of text whose capitals are centred about `y`.
    pub(super) fn text_beside(&mut self, x: f64, y: f64, content: &str, size: u32, align: Align, colour: Rgb) {
        self.text(x, y + 0.365 * f64::from(size), content, size, align, colour);
    }

    /// Text turned clockwise about its point by `degrees`.
    #[allow(clippy::too_many_arguments)]
    pub(super) fn turned_text(
        &mut self,
        x: f64,
        y: f64,
        content: &str,
        size: u32,
        align: Align,
        colour: Rgb,
        degrees: f64,
    ) {
        self.turned.push(TurnedText { x, y, content: content.to_owned(), size, align, degrees, colour });
    }

    /// A title in the upper left corner, cut short where the sheet ends.
    pub(super) fn title(&mut self, x: f64, title: &str) {
        let shown = text::fit(title, 16, self.scene.width - 2.0 * x);
        self.text(x, 30.0, &shown, 16, Align::Left, super::INK);
    }

    /// A filled rectangle.
    pub(super) fn rectangle(&mut self, x: f64, y: f64, width: f64, height: f64, fill: Rgb) {
        self.scene.elements.push(Primitive::Rect {
            x,
            y,
            width,
            height,
            fill: fill.into(),
            stroke: None,
            stroke_width: None,
            opacity: None,
        });
    }

    /// The four sides of a rectangle, inside it, one unit wide.
    pub(super) fn frame(&mut self, x: f64, y: f64, width: f64, height: f64, colour: Rgb) {
        self.rectangle(x, y, width, 1.0, colour);
        self.rectangle(x, y + height - 1.0, width, 1.0, colour);
        self.rectangle(x, y, 1.0, height, colour);
        self.rectangle(x + width - 1.0, y, 1.0, height, colour);
    }

    /// A filled circle.
    pub(super) fn dot(&mut self, cx: f64, cy: f64, r: f64, fill: Rgb, opacity: f64) {
        self.scene.elements.push(Primitive::Circle {
            cx,
            cy,
            r,
            fill: fill.into(),
            fill_opacity: Some(opacity),
            stroke: None,
            stroke_width: None,
        });
    }

    /// A line through `points`.
    pub(super) fn polyline(&mut self, points: Vec<(f64, f64)>, stroke: Rgb, stroke_width: f64) {
        self.scene.elements.push(Primitive::PolyLine {
            points,
            stroke: stroke.into(),
            stroke_width,
            stroke_dasharray: None,
        });
    }

    /// A picture, pixel by pixel, with its upper left corner at a place in pixels.
    pub(super) fn picture(&mut self, x: u32, y: u32, picture: RgbImage) {
        self.pictures.push((x.into(), y.into(), picture));
    }
}

fn failed(error: impl std::fmt::Display) -> Error {
    Error::Config(format!("the figure cannot be drawn: {error}"))
}
