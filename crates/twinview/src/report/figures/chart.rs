//! Curves over epochs and bars for arms.

use kuva::render::render_utils::compute_tick_step;

use super::canvas::{Align, Figure, Rgb};
use super::{FAINT, INK, PALETTE, RULE, colour, text};
use crate::evaluation::Summary;
use crate::{Error, Result};

const MARGIN: f64 = 16.0;
const TOP: f64 = 52.0;
const SIZE: u32 = 12;
/// Names longer than this are cut short.
const WIDEST_NAME: f64 = 260.0;

/// A run's figure over time.
#[derive(Clone, Debug, PartialEq)]
pub struct Curve {
    /// What the legend calls it.
    pub name: String,
    /// Pairs such as (epoch, loss), with the first of each rising. Values that are not finite make a gap.
    pub points: Vec<(f64, f64)>,
}

/// One arm of a comparison.
#[derive(Clone, Debug, PartialEq)]
pub struct Arm {
    /// What stands beside its bar.
    pub name: String,
    /// Its result over the seeds.
    pub result: Summary,
    /// The figure the article gives for it, if any.
    pub published: Option<f64>,
}

/// One line for each run.
///
/// Fails when no point is finite.
pub fn learning_curves(title: &str, x_label: &str, y_label: &str, curves: &[Curve]) -> Result<Figure> {
    let finite = |point: &&(f64, f64)| point.0.is_finite() && point.1.is_finite();
    let points = || curves.iter().flat_map(|curve| curve.points.iter().filter(finite));
    if points().next().is_none() {
        return Err(Error::Config("there are no finite values to draw learning curves of".into()));
    }
    let across = Axis::through(points().map(|point| point.0));
    let up = Axis::around(points().map(|point| point.1));
    let names: Vec<String> = curves.iter().map(|curve| text::fit(&curve.name, SIZE, WIDEST_NAME)).collect();
    let tick_room = text::widest(&up.labels, SIZE);
    let (left, width, height) = (MARGIN + 24.0 + tick_room + 8.0, 560.0, 340.0);
    let legend = left + width + 20.0;
    let sheet_height = (TOP + height + 52.0).max(TOP + 22.0 * names.len() as f64) + MARGIN;
    let mut figure = Figure::new(legend + 26.0 + text::widest(&names, SIZE) + MARGIN, sheet_height);
    figure.title(left, title);
    for (&tick, label) in up.ticks.iter().zip(&up.labels) {
        let y = TOP + (1.0 - up.place(tick)) * height;
        figure.rectangle(left, y.round() - 0.5, width, 1.0, RULE);
        figure.text_beside(left - 8.0, y, label, SIZE, Align::Right, FAINT);
    }
    for (&tick, label) in across.ticks.iter().zip(&across.labels) {
        let x = left + across.place(tick) * width;
        figure.rectangle(x.round() - 0.5, TOP + height, 1.0, 5.0, FAINT);
        figure.text(x, TOP + height + 20.0, label, SIZE, Align::Centre, FAINT);
    }
    figure.rectangle(left, TOP + height - 0.5, width, 1.0, FAINT);
    figure.text(left + width / 2.0, TOP + height + 44.0, x_label, 13, Align::Centre, INK);
    figure.turned_text(MARGIN + 12.0, TOP + height / 2.0, y_label, 13, Align::Centre, INK, -90.0);
    for (index, (curve, name)) in curves.iter().zip(&names).enumerate() {
        for run in curve.points.split(|point| !finite(&point)) {
            let place = |&(x, y): &(f64, f64)| (left + across.place(x) * width, TOP + (1.0 - up.place(y)) * height);
            let run: Vec<(f64, f64)> = run.iter().map(place).collect();
            match run[..] {
                [] => {}
                [(x, y)] => figure.dot(x, y, 3.0, colour(index), 1.0),
                _ => figure.polyline(run, colour(index), 2.0),
            }
        }
        let y = TOP + 8.0 + 22.0 * index as f64;
        figure.rectangle(legend, y - 1.5, 18.0, 3.0, colour(index));
        figure.text_beside(legend + 26.0, y, name, SIZE, Align::Left, INK);
    }
    Ok(figure)
}

/// A bar for each arm with its mean and sample standard deviation, and a paler one for the published figure.
///
/// Bars start at 0. Fails when there are no arms or when a figure is not finite.
pub fn bar_with_error(title: &str, x_label: &str, arms: &[Arm]) -> Result<Figure> {
    const OURS: Rgb = PALETTE[0];
    const PUBLISHED: Rgb = Rgb(0xc4, 0xc9, 0xcf);
    const PITCH: f64 = 62.0;
    let figures = || arms.iter().flat_map(|arm| [Some(arm.result.mean), arm.result.sd, arm.published]).flatten();
    if arms.is_empty() || figures().any(|figure| !figure.is_finite()) {
        return Err(Error::Config("a bar chart needs at least one arm, and finite figures only".into()));
    }
    let ends = |arm: &Arm| {
        let sd = arm.result.sd.unwrap_or(0.0);
        [arm.result.mean - sd, arm.result.mean + sd, arm.published.unwrap_or(0.0), 0.0]
    };
    let across = Axis::around(arms.iter().flat_map(ends));
    let names: Vec<String> = arms.iter().map(|arm| text::fit(&arm.name, SIZE, WIDEST_NAME)).collect();
    let ours: Vec<String> = arms.iter().map(|arm| with_minus(&arm.result.to_string())).collect();
    let published = |value: f64| format!("published {value:.2}");
    let theirs = arms.iter().filter_map(|arm| arm.published).map(published);
    let value_room = text::widest(&ours, SIZE).max(text::widest(theirs, 11)) + 8.0;
    let (left, width, height) = (MARGIN + text::widest(&names, SIZE) + 12.0, 440.0, PITCH * arms.len() as f64);
    let mut figure = Figure::new(left + width + value_room + MARGIN, TOP + height + 52.0 + MARGIN);
    figure.title(MARGIN, title);
    for (&tick, label) in across.ticks.iter().zip(&across.labels) {
        let x = left + across.place(tick) * width;
        figure.rectangle(x.round() - 0.5, TOP, 1.0, height, RULE);
        figure.text(x, TOP + height + 18.0, label, SIZE, Align::Centre, FAINT);
    }
    figure.text(left + width / 2.0, TOP + height + 42.0, x_label, 13, Align::Centre, INK);
    let zero = left + across.place(0.0) * width;
    for (index, ((arm, name), value)) in arms.iter().zip(&names).zip(&ours).enumerate() {
        let Summary { mean, sd, .. } = arm.result;
        let place = |value: f64| left + across.place(value) * width;
        let top = TOP + index as f64 * PITCH + if arm.published.is_some() { 8.0 } else { 19.0 };
        figure.text_beside(left - 12.0, TOP + (index as f64 + 0.5) * PITCH, name, SIZE, Align::Right, INK);
        let mut bar = |to: f64, y: f64, height: f64, fill| {
            figure.rectangle(zero.min(place(to)), y, (place(to) - zero).abs(), height, fill);
        };
        bar(mean, top, 24.0, OURS);
        if let Some(value) = arm.published {
            bar(value, top + 27.0, 16.0, PUBLISHED);
            let end = zero.max(place(value)) + 8.0;
            beside(&mut figure, end, top + 35.0, &published(value), 11, FAINT);
        }
        let (low, high) = (place(mean - sd.unwrap_or(0.0)), place(mean + sd.unwrap_or(0.0)));
        if sd.is_some() {
            figure.rectangle(low, top + 11.25, high - low, 1.5, INK);
            figure.rectangle(low - 0.75, top + 6.0, 1.5, 12.0, INK);
            figure.rectangle(high - 0.75, top + 6.0, 1.5, 12.0, INK);
        }
        beside(&mut figure, zero.max(high) + 8.0, top + 12.0, value, SIZE, INK);
    }
    figure.rectangle(zero - 0.5, TOP, 1.0, height, FAINT);
    Ok(figure)
}

/// A number with a minus sign in place of the hyphen.
fn with_minus(number: &str) -> String {
    number.replace('-', "−")
}

/// Text on a white ground, so that no grid line runs through it.
fn beside(figure: &mut Figure, x: f64, y: f64, content: &str, size: u32, colour: Rgb) {
    let height = f64::from(size) + 4.0;
    figure.rectangle(x - 3.0, y - height / 2.0, text::width(content, size) + 6.0, height, Rgb(255, 255, 255));
    figure.text_beside(x, y, content, size, Align::Left, colour);
}

/// The range of a direction, with round numbers to mark.
struct Axis {
    low: f64,
    high: f64,
    ticks: Vec<f64>,
    labels: Vec<String>,
}

impl Axis {
    /// From the least to the greatest value, with marks at whole numbers where all values are whole.
    fn through(values: impl Iterator<Item = f64> + Clone) -> Self {
        let whole = values.clone().all(|value| value.fract() == 0.0);
        let (low, high) = range(values);
        let step = compute_tick_step(low, high, 6);
        Self::new(low, high, if whole { step.ceil() } else { step })
    }

    /// From a round number below the values to one above them.
    fn around(values: impl Iterator<Item = f64>) -> Self {
        let (low, high) = range(values);
        let step = compute_tick_step(low, high, 6);
        Self::new((low / step).floor() * step, (high / step).ceil() * step, step)
    }

    fn new(low: f64, high: f64, step: f64) -> Self {
        // Rounding may put an end just off its mark.
        let (first, last) = ((low / step - 1e-6).ceil(), (high / step + 1e-6).floor());
        let ticks: Vec<f64> = (0..=(last - first) as u32).map(|index| (first + f64::from(index)) * step).collect();
        let digits = (0..6).find(|&digits| {
            let scaled = step * 10f64.powi(digits);
            (scaled - scaled.round()).abs() < 1e-6 * scaled
        });
        let label = |tick: &f64| match digits {
            Some(digits) if tick.abs() < 1e6 => format!("{tick:.0$}", digits as usize),
            _ => format!("{tick:.2e}"),
        };
        Self { low, high, labels: ticks.iter().map(|tick| with_minus(&label(tick))).collect(), ticks }
    }

    /// Where `value` lies between the two ends, 0..=1.
    fn place(&self, value: f64) -> f64 {
        (value - self.low) / (self.high - self.low)
    }
}

/// The least and the greatest value, moved apart where they are the same.
fn range(values: impl Iterator<Item = f64>) -> (f64, f64) {
    let (low, high) =
        values.fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), value| (low.min(value), high.max(value)));
    if high > low {
        (low, high)
    } else {
        let room = (low.abs() * 0.1).max(0.5);
        (low - room, high + room)
    }
}
