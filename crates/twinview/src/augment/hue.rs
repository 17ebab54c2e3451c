//! Turning colours around the colour circle, as `torchvision.transforms.functional.adjust_hue` does on u8 tensors.

use super::canvas::Canvas;

/// Turns the hue by `turn` of the whole circle: -0.5..=0.5. A grey image stays as it is.
///
/// Agreement is to one level in places: the steps are torchvision's, in f32, but its sums may round otherwise.
pub fn hue(canvas: &mut Canvas, turn: f64) {
    let Some([red, green, blue]) = canvas.rgb_mut() else { return };
    let turn = turn as f32;
    for ((red, green), blue) in red.iter_mut().zip(green).zip(blue) {
        [*red, *green, *blue] = turned([*red, *green, *blue], turn);
    }
}

/// One colour: to hue, saturation and value, turned, and back.
fn turned(colour: [u8; 3], turn: f32) -> [u8; 3] {
    let [red, green, blue] = colour.map(|level| f32::from(level) / 255.0);
    let value = red.max(green).max(blue);
    let spread = value - red.min(green).min(blue);
    if spread == 0.0 {
        return colour.map(|level| to_level(f32::from(level) / 255.0));
    }
    let saturation = spread / value;
    let [from_red, from_green, from_blue] = [red, green, blue].map(|level| (value - level) / spread);
    let sector = if value == red {
        from_blue - from_green
    } else if value == green {
        2.0 + from_red - from_blue
    } else {
        4.0 + from_green - from_red
    };
    let hue = ((sector / 6.0 + 1.0) % 1.0 + turn).rem_euclid(1.0) * 6.0;
    let (sector, part) = (hue.floor(), hue - hue.floor());
    let low = (value * (1.0 - saturation)).clamp(0.0, 1.0);
    let falling = (value * (1.0 - saturation * part)).clamp(0.0, 1.0);
    let rising = (value * (1.0 - saturation * (1.0 - part))).clamp(0.0, 1.0);
    let turned = match sector as u8 % 6 {
        0 => [value, rising, low],
        1 => [falling, value, low],
        2 => [low, value, rising],
        3 => [low, falling, value],
        4 => [rising, low, value],
        _ => [value, low, falling],
    };
    turned.map(to_level)
}

/// How torchvision makes bytes of 0..=1: nearly 256 equal steps.
fn to_level(value: f32) -> u8 {
    (value * 255.999) as u8
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_third_of_the_circle_leads_from_one_channel_to_the_next() {
        assert_eq!(turned([200, 0, 0], 1.0 / 3.0), [0, 200, 0]);
        assert_eq!(turned([0, 200, 0], -1.0 / 3.0), [200, 0, 0]);
        assert_eq!(turned([10, 10, 10], 0.4), [10, 10, 10]);
    }

    #[test]
    fn no_turn_and_a_grey_image_change_nothing() {
        let image: Vec<u8> = (0..3 * 6 * 7).map(|i| (i * 37 % 256) as u8).collect();
        let mut canvas = Canvas::new(3, 6, 7);
        canvas.load(&image);
        hue(&mut canvas, 0.0);
        assert!(canvas.pixels().iter().zip(&image).all(|(one, other)| one.abs_diff(*other) <= 1));
        let mut canvas = Canvas::new(1, 6, 21);
        canvas.load(&image);
        hue(&mut canvas, 0.3);
        assert_eq!(canvas.pixels(), image);
    }
}
