//! What the live view shows, as lines of text.

use std::time::{Duration, Instant};

use twinview::evaluation::Verdict;
use twinview::tracking::EpochNews;

use super::chart;

/// Updates whose losses are drawn; older ones are thinned out, so that a long training takes no more room.
const LOSSES: usize = 4096;
/// Curves by epochs that are drawn where they were measured, with the digits they need.
const CURVES: [(&str, &str, usize); 6] = [
    ("output_std", "output std", 3),
    ("effective_rank", "effective rank", 1),
    ("knn_accuracy", "kNN accuracy", 3),
    ("linear_accuracy", "linear accuracy", 3),
    ("alignment", "alignment", 3),
    ("uniformity", "uniformity", 3),
];
/// Below this spread, the outputs have collapsed.
const COLLAPSED: f64 = 0.1;
/// Messages that are kept to be shown.
const MESSAGES: usize = 20;

/// A training as it is looked at.
pub(super) struct Dashboard {
    label: String,
    steps: u64,
    done: u64,
    begun: Instant,
    begun_at: u64,
    images: usize,
    losses: Vec<f64>,
    /// Updates that one of `losses` stands for, and those seen since the last one.
    stride: usize,
    skipped: usize,
    curves: Vec<Vec<f64>>,
    health: Verdict,
    epoch: String,
    messages: Vec<String>,
}

impl Dashboard {
    pub(super) fn new() -> Self {
        Self {
            label: "getting ready".into(),
            steps: 0,
            done: 0,
            begun: Instant::now(),
            begun_at: 0,
            images: 0,
            losses: Vec::new(),
            stride: 1,
            skipped: 0,
            curves: vec![Vec::new(); CURVES.len()],
            health: Verdict::Open,
            epoch: String::new(),
            messages: Vec::new(),
        }
    }

    pub(super) fn start(&mut self, label: &str, steps: u64, done: u64) {
        let messages = std::mem::take(&mut self.messages);
        *self = Self { label: label.to_owned(), steps, done, begun_at: done, messages, ..Self::new() };
    }

    pub(super) fn step(&mut self, images: usize, loss: f64) {
        self.done += 1;
        self.images += images;
        self.skipped += 1;
        if self.skipped >= self.stride {
            self.losses.push(loss);
            self.skipped = 0;
        }
        if self.losses.len() > LOSSES {
            let mut number = 0;
            self.losses.retain(|_| {
                number += 1;
                number % 2 == 0
            });
            self.stride *= 2;
        }
    }

    pub(super) fn epoch(&mut self, news: &EpochNews<'_>) {
        self.epoch = news.summary.to_owned();
        self.health = news.health.unwrap_or(self.health);
        for ((name, ..), curve) in CURVES.iter().zip(&mut self.curves) {
            curve.extend(news.values.iter().filter(|(known, _)| known == name).map(|(_, value)| *value));
        }
    }

    pub(super) fn message(&mut self, text: &str) {
        self.messages.push(text.to_owned());
        let old = self.messages.len().saturating_sub(MESSAGES);
        self.messages.drain(..old);
    }

    /// At most `height` lines of at most `width` characters each, colours not counted.
    pub(super) fn draw(&self, (width, height): (usize, usize), colours: bool) -> Vec<String> {
        if width == 0 {
            return Vec::new();
        }
        let mut lines = vec![self.title(width, colours), self.progress(width), fit(&self.epoch, width)];
        lines.extend(self.monitor(width, colours));
        let messages = self.messages(width, (height / 4).max(1));
        let footer = fit("Ctrl-C saves and stops; a second one ends at once", width);
        let left = height.saturating_sub(lines.len() + messages.len() + 1);
        lines.extend(self.charts(width, left));
        lines.extend(messages);
        lines.push(footer);
        lines.truncate(height);
        lines
    }

    fn title(&self, width: usize, colours: bool) -> String {
        let title = format!("twinview: {}", self.label);
        let (word, colour) = match self.health {
            Verdict::Open => return fit(&title, width),
            Verdict::Improving | Verdict::Done => (self.health.word(), "32"),
            Verdict::Declining => (self.health.word(), "33"),
            Verdict::Collapsing => (self.health.word(), "31"),
        };
        let room = width.saturating_sub(word.len() + 1);
        let painted = if colours { format!("\u{1b}[{colour}m{word}\u{1b}[0m") } else { word.to_owned() };
        if room == 0 { fit(word, width) } else { format!("{:<room$} {painted}", fit(&title, room)) }
    }

    fn progress(&self, width: usize) -> String {
        let seconds = self.begun.elapsed().as_secs_f64().max(1e-9);
        let made = (self.done - self.begun_at.min(self.done)).max(1) as f64;
        let left = Duration::from_secs_f64(seconds / made * self.steps.saturating_sub(self.done) as f64).as_secs();
        let figures = format!(
            " step {}/{}, {:.0} images/s, {}:{:02}:{:02} left",
            self.done,
            self.steps,
            self.images as f64 / seconds,
            left / 3600,
            left / 60 % 60,
            left % 60
        );
        let room = width.saturating_sub(figures.chars().count());
        fit(&(bar(self.done as f64 / self.steps.max(1) as f64, room) + &figures), width)
    }

    /// How far the outputs are from collapse.
    fn monitor(&self, width: usize, colours: bool) -> Option<String> {
        let spread = self.curves[0].last()?;
        let word = if *spread < COLLAPSED { "COLLAPSED" } else { "spread out" };
        let text = format!("collapse monitor: output std {spread:.3}, {word} ");
        let gauge = bar(*spread, width.saturating_sub(text.len()).min(30));
        let line = fit(&(text + &gauge), width);
        Some(if colours && *spread < COLLAPSED { format!("\u{1b}[31m{line}\u{1b}[0m") } else { line })
    }

    /// The loss and what was measured, beside each other where there is room.
    fn charts(&self, width: usize, height: usize) -> Vec<String> {
        const LEAST: usize = 4;
        let mut charts = vec![("loss", self.losses.as_slice(), 4)];
        let measured = CURVES.iter().zip(&self.curves).filter(|(_, curve)| curve.len() > 1);
        charts.extend(measured.map(|((_, title, digits), curve)| (*title, curve.as_slice(), *digits)));
        let columns = if width >= 80 && charts.len() > 1 { 2 } else { 1 };
        let shown = charts.len().min(columns * (height / LEAST));
        let rows = shown.div_ceil(columns);
        let Some(each) = height.checked_div(rows) else { return Vec::new() };
        let room = width / columns;
        let mut lines = Vec::new();
        for row in charts[..shown].chunks(columns) {
            let drawn: Vec<Vec<String>> =
                row.iter().map(|&(title, values, digits)| chart_of(title, values, digits, room, each)).collect();
            lines.extend((0..each).map(|line| drawn.iter().map(|chart| chart[line].as_str()).collect::<String>()));
        }
        lines
    }

    /// The newest messages, in at most `height` lines.
    fn messages(&self, width: usize, height: usize) -> Vec<String> {
        let wrap = |text: &String| -> Vec<String> {
            let characters: Vec<char> = text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
            characters.chunks(width.max(1)).map(|part| part.iter().collect()).collect()
        };
        let lines: Vec<String> = self.messages.iter().flat_map(wrap).collect();
        lines[lines.len().saturating_sub(height)..].to_vec()
    }
}

/// A curve under its title and last value, in exactly `height` lines of exactly `width` characters.
fn chart_of(title: &str, values: &[f64], digits: usize, width: usize, height: usize) -> Vec<String> {
    let (low, high) = chart::range(values);
    let last = values.last().map_or(String::new(), |last| format!(" {last:.digits$}"));
    let range = if low <= high { format!("  ({low:.digits$} to {high:.digits$})") } else { String::new() };
    let heading = fit(&format!("{title}{last}{range}"), width);
    let curve = chart::curve(values, width.saturating_sub(2), height.saturating_sub(1));
    let mut lines: Vec<String> = std::iter::once(heading).chain(curve).map(|line| format!("{line:<width$}")).collect();
    lines.resize(height, " ".repeat(width));
    lines
}

/// `share`, 0 to 1, of `width` characters filled.
fn bar(share: f64, width: usize) -> String {
    let full = ((share.clamp(0.0, 1.0) * width as f64).round() as usize).min(width);
    "█".repeat(full) + &"░".repeat(width - full)
}

/// The first `width` characters.
fn fit(text: &str, width: usize) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).take(width).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn busy() -> Dashboard {
        let mut dashboard = Dashboard::new();
        dashboard.start("SimSiam pretraining", 100, 0);
        for step in 0..50 {
            dashboard.step(256, 1.0 / f64::from(step + 1));
            if step % 10 == 9 {
                let values =
                    [("output_std", 0.9 - f64::from(step) / 100.0), ("effective_rank", 40.0), ("unknown", 1.0)];
                let news = EpochNews { summary: "epoch 5/10", values: &values, health: Some(Verdict::Improving) };
                dashboard.epoch(&news);
            }
        }
        dashboard.message("something to know");
        dashboard
    }

    #[test]
    fn shows_progress_curves_health_and_messages() {
        let lines = busy().draw((100, 30), false);
        let all = lines.join("\n");
        for expected in [
            "twinview: SimSiam pretraining",
            "improving",
            "step 50/100",
            "epoch 5/10",
            "collapse monitor: output std 0.410, spread out",
            "loss 0.0200  (0.0200 to 1.0000)",
            "effective rank 40.0",
            "something to know",
            "Ctrl-C saves and stops",
        ] {
            assert!(all.contains(expected), "{expected}\n{all}");
        }
        assert!(all.chars().any(|c| ('\u{2801}'..='\u{28ff}').contains(&c)) && !all.contains('\u{1b}'), "{all}");
        assert!(busy().draw((100, 30), true)[0].ends_with("\u{1b}[32mimproving\u{1b}[0m"));
    }

    #[test]
    fn a_collapse_is_shown() {
        let mut dashboard = busy();
        let news = EpochNews { summary: "", values: &[("output_std", 0.02)], health: Some(Verdict::Collapsing) };
        dashboard.epoch(&news);
        let all = dashboard.draw((80, 24), false).join("\n");
        assert!(all.contains("collapsing") && all.contains("output std 0.020, COLLAPSED"), "{all}");
    }

    #[test]
    fn fits_every_terminal() {
        for dashboard in [busy(), Dashboard::new()] {
            for width in [0, 1, 7, 20, 79, 80, 81, 300] {
                for height in [0, 1, 2, 5, 9, 24, 100] {
                    let lines = dashboard.draw((width, height), false);
                    assert!(
                        lines.len() <= height && lines.iter().all(|line| line.chars().count() <= width),
                        "{width} × {height}"
                    );
                }
            }
        }
    }

    #[test]
    fn a_long_training_takes_no_more_room() {
        let mut dashboard = Dashboard::new();
        dashboard.start("long", 1 << 20, 0);
        (0..100_000).for_each(|step| dashboard.step(1, f64::from(step)));
        assert!(dashboard.losses.len() <= LOSSES && dashboard.losses.is_sorted());
    }
}
