//! Curves of Braille dots, two by four in a character.

/// `values` from left to right as `height` lines of `width` characters; the highest value touches the top, the lowest the
/// bottom. Values that are no numbers leave a gap.
pub(super) fn curve(values: &[f64], width: usize, height: usize) -> Vec<String> {
    let (columns, rows) = (2 * width, 4 * height);
    if columns == 0 || rows == 0 {
        return Vec::new();
    }
    let mut cells = vec![0u8; width * height];
    let (low, high) = range(values);
    let row_of = |value: f64| {
        let share = if high > low { (high - value) / (high - low) } else { 0.5 };
        ((share * (rows - 1) as f64).round() as usize).min(rows - 1)
    };
    let mut before: Option<usize> = None;
    for column in 0..columns {
        let row = mean_at(values, column, columns).map(row_of);
        if let Some(row) = row {
            // Down or up to the neighbour, so that a steep curve stays in one piece.
            let from = before.map_or(row, |before| {
                if before < row {
                    before + 1
                } else if before > row {
                    before - 1
                } else {
                    row
                }
            });
            for row in from.min(row)..=from.max(row) {
                cells[row / 4 * width + column / 2] |= DOTS[row % 4][column % 2];
            }
        }
        before = row;
    }
    let line =
        |cells: &[u8]| cells.iter().map(|&dots| char::from_u32(0x2800 + u32::from(dots)).unwrap_or(' ')).collect();
    cells.chunks(width).map(line).collect()
}

/// The lowest and the highest number among `values`.
pub(super) fn range(values: &[f64]) -> (f64, f64) {
    let finite = values.iter().copied().filter(|value| value.is_finite());
    finite.fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), value| (low.min(value), high.max(value)))
}

/// The bit of each dot of a character, by row and column: Unicode, chapter 21.1.
const DOTS: [[u8; 2]; 4] = [[0x01, 0x08], [0x02, 0x10], [0x04, 0x20], [0x40, 0x80]];

/// The mean of the values that fall into a column, or the value that lies there where there are fewer values than columns.
fn mean_at(values: &[f64], column: usize, columns: usize) -> Option<f64> {
    let place = |column: usize| column * values.len() / columns;
    let end = place(column + 1).max(place(column) + 1).min(values.len());
    let part = values.get(place(column)..end)?;
    let finite: Vec<f64> = part.iter().copied().filter(|value| value.is_finite()).collect();
    (!finite.is_empty()).then(|| finite.iter().sum::<f64>() / finite.len() as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_falling_line_falls() {
        assert_eq!(curve(&[3.0, 2.0, 1.0, 0.0], 2, 1), ["⠑⢄"]);
        assert_eq!(curve(&[0.0, 1.0], 1, 2), ["⢸", "⡸"].map(str::to_owned).to_vec());
    }

    #[test]
    fn anything_can_be_drawn() {
        for values in [&[][..], &[1.0], &[f64::NAN, 1.0, f64::INFINITY], &[2.0; 300]] {
            for (width, height) in [(0, 0), (1, 1), (7, 3), (0, 2), (2, 0)] {
                let lines = curve(values, width, height);
                assert!(lines.iter().all(|line| line.chars().count() == width), "{lines:?}");
            }
        }
    }
}
