//! Embeddings as clouds of points.

use super::canvas::{Align, Figure};
use super::{FAINT, INK, RULE, class_name, colour, text};
use crate::{Error, Result};

const MARGIN: f64 = 16.0;
const GAP: f64 = 34.0;
const LEGEND_LINE: f64 = 22.0;
/// Names longer than this are cut short.
const WIDEST_NAME: f64 = 180.0;

/// Points coloured by class: one panel for two dimensions, three (1-2, 1-3, 2-3) for three or more, of which
/// the first three are shown.
///
/// `points` is `[count, dimension]`, row by row; points that are not finite are left out. `axis` names the
/// components: `UMAP` gives `UMAP 1`. Both axes of a panel have the same scale.
///
/// Fails when `dimension` is below 2, when there is not one label for each point, or when no point is finite.
pub fn scatter(
    title: &str,
    axis: &str,
    points: &[f32],
    dimension: usize,
    labels: &[u8],
    class_names: &[String],
) -> Result<Figure> {
    if dimension < 2 || points.len() != labels.len() * dimension {
        return Err(Error::Config(format!(
            "{} coordinates of dimension {dimension} and {} labels make no scatter plot: it needs at least two \
             dimensions and one label for each point",
            points.len(),
            labels.len()
        )));
    }
    let shown: Vec<(&[f32], usize)> = points
        .chunks_exact(dimension)
        .zip(labels)
        .filter(|(point, _)| point.iter().all(|value| value.is_finite()))
        .map(|(point, &label)| (point, usize::from(label)))
        .collect();
    if shown.is_empty() {
        return Err(Error::Config("there are no finite points to show".into()));
    }
    let planes: &[(usize, usize)] = if dimension == 2 { &[(0, 1)] } else { &[(0, 1), (0, 2), (1, 2)] };
    let side = if planes.len() == 1 { 560.0 } else { 400.0 };
    let mut present: Vec<usize> = shown.iter().map(|point| point.1).collect();
    present.sort_unstable();
    present.dedup();
    let lines_in_column = ((side / LEGEND_LINE) as usize).max(1);
    let legend: Vec<String> =
        present.iter().map(|&label| text::fit(&class_name(class_names, label), 12, WIDEST_NAME)).collect();
    let legend_column = 20.0 + text::widest(&legend, 12) + 14.0;
    let legend_room = legend_column * legend.len().div_ceil(lines_in_column) as f64;

    let (left, top) = (MARGIN + 22.0, 48.0);
    let legend_left = left + planes.len() as f64 * (side + GAP) - GAP + 20.0;
    let mut figure = Figure::new(legend_left + legend_room + MARGIN - 14.0, top + side + 24.0 + MARGIN);
    figure.title(left, title);
    let radius = (130.0 / (shown.len() as f64).sqrt()).clamp(1.25, 3.5);
    for (panel, &(across, up)) in planes.iter().enumerate() {
        let x = left + panel as f64 * (side + GAP);
        figure.frame(x, top, side, side, RULE);
        figure.text(x + side / 2.0, top + side + 20.0, &format!("{axis} {}", across + 1), 12, Align::Centre, FAINT);
        figure.turned_text(x - 10.0, top + side / 2.0, &format!("{axis} {}", up + 1), 12, Align::Centre, FAINT, -90.0);
        let [(mid_x, half_x), (mid_y, half_y)] = [across, up].map(|component| extent(&shown, component));
        // Room for half a point at the edge, and none of it lost to a cloud of equal points.
        let scale = (side / 2.0 - radius - 8.0) / half_x.max(half_y).max(1e-12);
        for &(point, label) in &shown {
            let cx = x + side / 2.0 + (f64::from(point[across]) - mid_x) * scale;
            let cy = top + side / 2.0 - (f64::from(point[up]) - mid_y) * scale;
            figure.dot(cx, cy, radius, colour(label), 0.75);
        }
    }
    for (index, (&label, name)) in present.iter().zip(&legend).enumerate() {
        let x = legend_left + (index / lines_in_column) as f64 * legend_column;
        let y = top + 10.0 + (index % lines_in_column) as f64 * LEGEND_LINE;
        figure.dot(x + 5.0, y, 5.0, colour(label), 1.0);
        figure.text_beside(x + 18.0, y, name, 12, Align::Left, INK);
    }
    Ok(figure)
}

/// The middle and half the width of one component.
fn extent(points: &[(&[f32], usize)], component: usize) -> (f64, f64) {
    let values = points.iter().map(|(point, _)| f64::from(point[component]));
    let (low, high) =
        values.fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), value| (low.min(value), high.max(value)));
    ((low + high) / 2.0, (high - low) / 2.0)
}
