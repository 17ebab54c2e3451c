//! The confusion matrix as a picture.

use super::canvas::{Align, Figure, Rgb};
use super::{FAINT, INK, RULE, class_name, text};
use crate::evaluation::ConfusionMatrix;

/// Names longer than this are cut short.
const WIDEST_NAME: f64 = 150.0;
const SIZE: u32 = 12;
const MARGIN: f64 = 16.0;

/// Counts of (truth, prediction) pairs, coloured by their share of the true class; a row for each true class.
///
/// With more than 30 classes the cells get small and lose their numbers, with more than 60 their names.
pub fn confusion_matrix(matrix: &ConfusionMatrix, class_names: &[String]) -> Figure {
    let classes = matrix.classes();
    let cell: f64 = match classes {
        0..=30 => 46.0,
        31..=60 => 16.0,
        _ => 4.0,
    };
    let named = if classes <= 60 { classes } else { 0 };
    let names: Vec<String> =
        (0..named).map(|label| text::fit(&class_name(class_names, label), SIZE, WIDEST_NAME)).collect();
    let side = cell * classes as f64;
    let name_room = text::widest(&names, SIZE);
    let left = MARGIN + 24.0 + name_room + 8.0;
    let top = MARGIN;
    // Names below stand on a slant of 45 degrees and end at their column.
    let slanted = (name_room + f64::from(SIZE)) * std::f64::consts::FRAC_1_SQRT_2;
    let scale_room = 24.0 + 14.0 + 8.0 + text::width("100 %", 11);
    let mut figure = Figure::new(left + side + scale_room + MARGIN, top + side + 10.0 + slanted + 24.0 + MARGIN);

    let longest = matrix.rows().flatten().max().map_or(0, |count| count.to_string().len());
    let digits = (1..=13).rev().find(|&size| text::width(&"0".repeat(longest), size) <= cell - 6.0).unwrap_or(1);
    for (truth, shares) in matrix.normalised().iter().enumerate() {
        for (predicted, &share) in shares.iter().enumerate() {
            let (x, y) = (left + predicted as f64 * cell, top + truth as f64 * cell);
            figure.rectangle(x, y, cell, cell, shade(share));
            let count = matrix.count(truth, predicted);
            if classes <= 30 {
                let ink = match (count, share > 0.5) {
                    (0, _) => Rgb(0xa9, 0xb0, 0xb8),
                    (_, true) => Rgb(0xff, 0xff, 0xff),
                    (_, false) => INK,
                };
                figure.text_beside(x + cell / 2.0, y + cell / 2.0, &count.to_string(), digits, Align::Centre, ink);
            }
        }
    }
    for line in (0..=classes).filter(|&line| named > 0 || line % classes == 0) {
        let at = line as f64 * cell;
        figure.rectangle(left + at - 0.5, top, 1.0, side, RULE);
        figure.rectangle(left, top + at - 0.5, side, 1.0, RULE);
    }
    for (label, name) in names.iter().enumerate() {
        let middle = (label as f64 + 0.5) * cell;
        figure.text_beside(left - 8.0, top + middle, name, SIZE.min(cell as u32), Align::Right, INK);
        figure.turned_text(
            left + middle + 4.0,
            top + side + 14.0,
            name,
            SIZE.min(cell as u32),
            Align::Right,
            INK,
            -45.0,
        );
    }
    figure.turned_text(MARGIN + 12.0, top + side / 2.0, "true class", 13, Align::Centre, INK, -90.0);
    let bottom = top + side + 10.0 + slanted + 20.0;
    figure.text(left + side / 2.0, bottom, "predicted class", 13, Align::Centre, INK);
    colour_scale(&mut figure, left + side + 24.0, top, side.min(460.0));
    figure
}

fn colour_scale(figure: &mut Figure, x: f64, top: f64, height: f64) {
    let steps = 115;
    let step = height / f64::from(steps);
    for index in 0..steps {
        let share = 1.0 - (f64::from(index) + 0.5) / f64::from(steps);
        figure.rectangle(x, top + f64::from(index) * step, 14.0, step.ceil(), shade(share));
    }
    figure.frame(x, top, 14.0, height, RULE);
    for percent in [0, 50, 100] {
        let y = top + (1.0 - f64::from(percent) / 100.0) * (height - 10.0) + 5.0;
        figure.text_beside(x + 22.0, y, &format!("{percent} %"), 11, Align::Left, FAINT);
    }
}

/// White to dark blue for 0 to 1, with lightness falling evenly.
fn shade(share: f64) -> Rgb {
    const STOPS: [Rgb; 5] = [
        Rgb(0xff, 0xff, 0xff),
        Rgb(0xc9, 0xdd, 0xf0),
        Rgb(0x75, 0xb1, 0xd9),
        Rgb(0x2c, 0x79, 0xb8),
        Rgb(0x0a, 0x36, 0x70),
    ];
    // The square root lets the few mistakes of a good classifier be seen.
    let place = share.clamp(0.0, 1.0).sqrt() * (STOPS.len() - 1) as f64;
    let index = (place as usize).min(STOPS.len() - 2);
    let (Rgb(r0, g0, b0), Rgb(r1, g1, b1)) = (STOPS[index], STOPS[index + 1]);
    let mix =
        |from: u8, to: u8| (f64::from(from) + (f64::from(to) - f64::from(from)) * (place - index as f64)).round() as u8;
    Rgb(mix(r0, r1), mix(g0, g1), mix(b0, b1))
}
