//! Transforms of the values alone: posterize, solarize, auto-contrast and equalize, bit for bit as
//! `torchvision.transforms.functional` does them on u8 tensors.

use super::canvas::{Canvas, look_up, table, truncate};

/// Keeps the highest `bits` (at most 8) of each value: `posterize`.
pub(super) fn posterize_table(bits: u32) -> [u8; 256] {
    let mask = (0xFF00_u32 >> bits.min(8)) as u8;
    table(|value| value & mask)
}

/// Inverts the values from `threshold` on: `solarize`.
pub(super) fn solarize_table(threshold: f64) -> [u8; 256] {
    table(|value| if f64::from(value) >= threshold { 255 - value } else { value })
}

/// Keeps the highest `bits` (at most 8) of each value: `posterize`.
pub fn posterize(canvas: &mut Canvas, bits: u32) {
    canvas.look_up(&posterize_table(bits));
}

/// Inverts the values that are at least `threshold`: `solarize`.
pub fn solarize(canvas: &mut Canvas, threshold: f64) {
    canvas.look_up(&solarize_table(threshold));
}

/// Stretches each channel to 0..=255: `autocontrast`. A flat channel stays as it is.
pub fn auto_contrast(canvas: &mut Canvas) {
    for plane in canvas.planes_mut() {
        let (low, high) = plane.iter().fold((255, 0), |(low, high), &value| (value.min(low), value.max(high)));
        if low < high {
            let scale = 255.0 / f32::from(high - low);
            look_up(plane, &table(|value| truncate((f32::from(value) - f32::from(low)) * scale)));
        }
    }
}

/// Flattens each channel's histogram: `equalize`. A channel where fewer than 255 pixels are darker
/// than the brightest stays as it is.
pub fn equalize(canvas: &mut Canvas) {
    for plane in canvas.planes_mut() {
        let histogram = histogram(plane);
        let brightest = histogram.iter().rev().find(|&&count| count > 0).copied().unwrap_or(0);
        let step = (plane.len() as u32 - brightest) / 255;
        if step == 0 {
            continue;
        }
        let mut below = step / 2;
        let mut levels = [0; 256];
        for (level, count) in levels.iter_mut().zip(histogram) {
            *level = (below / step).min(255) as u8;
            below += count;
        }
        look_up(plane, &levels);
    }
}

/// How often each value occurs. Two counters a value, because neighbours are often equal and a counter that
/// was just written is slow to read.
fn histogram(plane: &[u8]) -> [u32; 256] {
    let mut counts = [[0_u32; 256]; 2];
    let mut pairs = plane.chunks_exact(2);
    for pair in &mut pairs {
        counts[0][usize::from(pair[0])] += 1;
        counts[1][usize::from(pair[1])] += 1;
    }
    pairs.remainder().iter().for_each(|&value| counts[0][usize::from(value)] += 1);
    std::array::from_fn(|value| counts[0][value] + counts[1][value])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn posterize_keeps_the_high_bits() {
        assert_eq!(posterize_table(8)[0xAB], 0xAB);
        assert_eq!(posterize_table(4)[0xAB], 0xA0);
        assert_eq!(posterize_table(0)[0xAB], 0);
    }

    #[test]
    fn histogram_counts_every_pixel() {
        let counts = histogram(&[5, 5, 5, 9, 255]);
        assert_eq!((counts[5], counts[9], counts[255], counts.iter().sum::<u32>()), (3, 1, 1, 5));
    }
}
