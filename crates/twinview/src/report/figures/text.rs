//! How wide text is, before it is drawn.

/// Advance widths of DejaVu Sans, the built-in font, for U+0020 to U+007E, in 2048ths of the font size.
#[rustfmt::skip]
const ADVANCES: [u16; 95] = [
    651, 821, 942, 1716, 1303, 1946, 1597, 563, 799, 799, 1024, 1716, 651, 739, 651, 690, 1303, 1303, 1303, 1303,
    1303, 1303, 1303, 1303, 1303, 1303, 690, 690, 1716, 1716, 1716, 1087, 2048, 1401, 1405, 1430, 1577, 1294, 1178,
    1587, 1540, 604, 604, 1343, 1141, 1767, 1532, 1612, 1235, 1612, 1423, 1300, 1251, 1499, 1401, 2025, 1403, 1251,
    1403, 799, 690, 799, 1716, 1024, 1024, 1255, 1300, 1126, 1300, 1260, 721, 1300, 1298, 569, 569, 1186, 569, 1995,
    1298, 1253, 1300, 1300, 842, 1067, 803, 1298, 1212, 1675, 1212, 1212, 1075, 1303, 690, 1303, 1716,
];

/// The width of `text` at `size`: exact for ASCII, minus and plus-minus, and not too small for nearly all else.
pub(super) fn width(text: &str, size: u32) -> f64 {
    let units: u32 = text
        .chars()
        .map(|letter| {
            // The minus and the plus-minus are as wide as the plus.
            let letter = if matches!(letter, '−' | '±') { '+' } else { letter };
            let index = (letter as usize).wrapping_sub(0x20);
            u32::from(ADVANCES.get(index).copied().unwrap_or(2048))
        })
        .sum();
    f64::from(units) / 2048.0 * f64::from(size)
}

/// The width of the widest of `texts`.
pub(super) fn widest<S: AsRef<str>>(texts: impl IntoIterator<Item = S>, size: u32) -> f64 {
    texts.into_iter().map(|text| width(text.as_ref(), size)).fold(0.0, f64::max)
}

/// `text`, cut short with an ellipsis when it is wider than `room`.
pub(super) fn fit(text: &str, size: u32, room: f64) -> String {
    if width(text, size) <= room {
        return text.to_owned();
    }
    let mut short = text.to_owned();
    while short.pop().is_some() {
        let cut = format!("{}…", short.trim_end());
        if width(&cut, size) <= room {
            return cut;
        }
    }
    String::new()
}
