//! Slanted and upright text. The drawing library thickens it, so level text is drawn and then turned here.

use image::{Pixel, Rgb as Rgb8, RgbImage, imageops};

use super::canvas::{Align, Figure, Rgb, SCALE};
use super::text;
use crate::Result;

/// Text turned about a point.
#[derive(Debug)]
pub(super) struct TurnedText {
    pub(super) x: f64,
    pub(super) y: f64,
    pub(super) content: String,
    pub(super) size: u32,
    pub(super) align: Align,
    pub(super) degrees: f64,
    pub(super) colour: Rgb,
}

impl TurnedText {
    /// Draws the text onto `sheet`.
    pub(super) fn draw(&self, sheet: &mut RgbImage) -> Result<()> {
        let (width, height) = (text::width(&self.content, self.size).ceil() + 16.0, f64::from(self.size) * 2.0);
        let anchor_x = match self.align {
            Align::Left => 8.0,
            Align::Centre => (width / 2.0).round(),
            Align::Right => width - 8.0,
        };
        let anchor_y = (height * 0.75).round();
        let mut level = Figure::new(width, height);
        level.text(anchor_x, anchor_y, &self.content, self.size, self.align, Rgb(0, 0, 0));
        let level = imageops::grayscale(&level.to_rgb()?);

        let scale = f64::from(SCALE);
        let (sin, cos) = self.degrees.to_radians().sin_cos();
        let (sheet_x, sheet_y) = ((self.x * scale).round(), (self.y * scale).round());
        let reach = (width + height) * scale;
        let span =
            |middle: f64, end: u32| (middle - reach).max(0.0) as u32..((middle + reach).max(0.0) as u32).min(end);
        for y in span(sheet_y, sheet.height()) {
            for x in span(sheet_x, sheet.width()) {
                let (across, down) = (f64::from(x) + 0.5 - sheet_x, f64::from(y) + 0.5 - sheet_y);
                let from_x = anchor_x * scale + cos * across + sin * down - 0.5;
                let from_y = anchor_y * scale - sin * across + cos * down - 0.5;
                let Some(paper) = imageops::interpolate_bilinear(&level, from_x as f32, from_y as f32) else {
                    continue;
                };
                let Rgb(red, green, blue) = self.colour;
                let pixel = sheet.get_pixel_mut(x, y);
                *pixel = pixel.map2(&Rgb8([red, green, blue]), |under, ink| {
                    let mixed = u32::from(under) * u32::from(paper[0]) + u32::from(ink) * u32::from(255 - paper[0]);
                    ((mixed + 127) / 255) as u8
                });
            }
        }
        Ok(())
    }
}
