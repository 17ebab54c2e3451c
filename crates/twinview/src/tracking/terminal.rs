//! Progress for a person: a bar on a terminal, plain lines in a log.

use std::io::{IsTerminal, Write};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};

use super::colour::{Colour, has_colours};
use super::{EpochNews, Reporter};
use crate::evaluation::Verdict;

/// Time between two lines in a log, so that long epochs are seen to live.
const LINE_EVERY: Duration = Duration::from_secs(30);

/// How much is told.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Detail {
    /// Nothing but warnings.
    Quiet,
    /// How it goes: a line every few seconds at most.
    #[default]
    Usual,
    /// A line for every epoch, with all that was measured.
    Verbose,
}

/// Writes to standard error: a bar with loss, health, images per second and time left where that is a terminal, and
/// a line an epoch (or every half minute) where it is not, or where the variable `CI` says that nobody looks on.
#[derive(Debug)]
pub struct Terminal {
    detail: Detail,
    colours: bool,
    work: Option<Work>,
}

#[derive(Debug)]
struct Work {
    label: String,
    steps: u64,
    done: u64,
    images: usize,
    loss: f64,
    health: Option<Verdict>,
    begun: Instant,
    begun_at: u64,
    last_line: Instant,
    bar: Option<ProgressBar>,
}

impl Terminal {
    /// A reporter without work yet.
    pub fn new(detail: Detail) -> Self {
        Self { detail, colours: has_colours(), work: None }
    }
}

impl Default for Terminal {
    fn default() -> Self {
        Self::new(Detail::default())
    }
}

impl Work {
    fn rate(&self) -> f64 {
        self.images as f64 / self.begun.elapsed().as_secs_f64().max(1e-9)
    }

    /// Time left at the pace so far.
    fn left(&self) -> Duration {
        let made = (self.done - self.begun_at).max(1) as f64;
        Duration::from_secs_f64(self.begun.elapsed().as_secs_f64() / made * (self.steps - self.done) as f64)
    }

    fn figures(&self, colours: bool) -> String {
        let health = self.health.and_then(|verdict| health(verdict, colours)).map_or(String::new(), |word| word + ", ");
        format!("loss {:.4}, {health}{:.0} images/s", self.loss, self.rate())
    }
}

impl Reporter for Terminal {
    fn start(&mut self, label: &str, steps: u64, done: u64) {
        // Without work, steps and epochs are nothing to tell of.
        if self.detail == Detail::Quiet {
            return;
        }
        let is_watched = std::io::stderr().is_terminal() && std::env::var_os("CI").is_none_or(|value| value.is_empty());
        let bar = is_watched.then(|| {
            let bar = ProgressBar::new(steps).with_position(done);
            let style = if self.colours { ":.cyan/dim" } else { "" };
            // The template is ours and fixed, so a default style stands in for an error that cannot come.
            let style =
                ProgressStyle::with_template(&format!("{{prefix}} {{wide_bar{style}}} {{pos}}/{{len}} {{msg}}"));
            bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
            bar.set_prefix(label.to_owned());
            bar
        });
        if bar.is_none() {
            let done = if done > 0 { format!(", {done} done") } else { String::new() };
            line(format_args!("{label}: {steps} step{}{done}", if steps == 1 { "" } else { "s" }));
        }
        let now = Instant::now();
        let label = label.to_owned();
        self.work = Some(Work {
            label,
            steps,
            done,
            images: 0,
            loss: f64::NAN,
            health: None,
            begun: now,
            begun_at: done,
            last_line: now,
            bar,
        });
    }

    fn step(&mut self, images: usize, loss: f64) {
        let Some(work) = &mut self.work else { return };
        work.done += 1;
        work.images += images;
        // The mean over about 20 steps is easier to read than one batch's loss.
        work.loss = if work.loss.is_nan() { loss } else { 0.95 * work.loss + 0.05 * loss };
        if let Some(bar) = &work.bar {
            bar.set_message(format!("{}, {} left", work.figures(self.colours), minutes(work.left())));
            bar.set_position(work.done);
        } else if work.last_line.elapsed() >= LINE_EVERY {
            work.last_line = Instant::now();
            let (label, done, steps) = (&work.label, work.done, work.steps);
            line(format_args!(
                "{label}: step {done}/{steps}, {}, {} left",
                work.figures(self.colours),
                minutes(work.left())
            ));
        }
    }

    fn epoch(&mut self, news: &EpochNews<'_>) {
        let Some(work) = &mut self.work else { return };
        work.health = news.health.or(work.health);
        let is_due = work.last_line.elapsed() >= LINE_EVERY / 10 || work.done == work.steps;
        // Short epochs would fill the log; a bar has no room for them at all.
        let text = match self.detail {
            Detail::Quiet => return,
            Detail::Usual if work.bar.is_some() || !is_due => return,
            Detail::Usual => {
                let (rate, left) = (work.rate(), minutes(work.left()));
                let health = work.health.and_then(|verdict| health(verdict, self.colours));
                let health = health.map_or(String::new(), |word| format!(", {word}"));
                format!("{}{health}, {rate:.0} images/s, {left} left", news.summary)
            }
            Detail::Verbose => {
                let values: Vec<String> =
                    news.values
                        .iter()
                        .map(|(name, value)| {
                            if value.fract() == 0.0 { format!("{name} {value}") } else { format!("{name} {value:.4}") }
                        })
                        .collect();
                format!("step {}/{}: {}, {} left", work.done, work.steps, values.join(", "), minutes(work.left()))
            }
        };
        work.last_line = Instant::now();
        let text = format!("{}: {text}", work.label);
        self.message(&text);
    }

    fn message(&mut self, text: &str) {
        let warning = text.strip_prefix("warning:");
        if self.detail == Detail::Quiet && warning.is_none() {
            return;
        }
        let painted = warning.map(|rest| Colour::Yellow.paint("warning:", self.colours) + rest);
        let text = painted.as_deref().unwrap_or(text);
        match self.work.as_ref().and_then(|work| work.bar.as_ref()) {
            Some(bar) => bar.println(text),
            None => line(format_args!("{text}")),
        }
    }

    fn finish(&mut self) {
        if let Some(Work { bar: Some(bar), .. }) = self.work.take() {
            bar.finish();
        }
    }
}

/// A line for the log. Training goes on when nobody can read it any more, so a closed log is no error.
fn line(text: std::fmt::Arguments<'_>) {
    let _ = writeln!(std::io::stderr(), "{text}");
}

/// How a run stands, in a word; `None` while that is open.
fn health(verdict: Verdict, colours: bool) -> Option<String> {
    let colour = match verdict {
        Verdict::Open => return None,
        Verdict::Improving | Verdict::Done => Colour::Green,
        Verdict::Declining => Colour::Yellow,
        Verdict::Collapsing => Colour::Red,
    };
    Some(colour.paint(verdict.word(), colours))
}

/// `1:05` or `2:01:05`.
fn minutes(time: Duration) -> String {
    let seconds = time.as_secs();
    match seconds / 3600 {
        0 => format!("{}:{:02}", seconds / 60, seconds % 60),
        hours => format!("{hours}:{:02}:{:02}", seconds / 60 % 60, seconds % 60),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_read_as_on_a_clock() {
        assert_eq!(minutes(Duration::from_secs(65)), "1:05");
        assert_eq!(minutes(Duration::from_secs(7265)), "2:01:05");
    }
}
