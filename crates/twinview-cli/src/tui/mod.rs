//! `--tui`: live curves and the collapse monitor on the whole terminal.
//!
//! Frames are plain text between the control sequences of the alternate screen, which every terminal of today has. The
//! terminal's mode stays as it is: Ctrl-C is still a signal, and what is typed is painted over.

mod chart;
mod dashboard;

use std::io::{IsTerminal, Write};
use std::panic;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use twinview::tracking::{EpochNews, Reporter, has_colours};

use self::dashboard::Dashboard;
use crate::output;

/// Time between two frames.
const FRAME: Duration = Duration::from_millis(100);
/// To the alternate screen, without a cursor and without wrapping.
const ENTER: &str = "\u{1b}[?1049h\u{1b}[?25l\u{1b}[?7l\u{1b}[2J";
const LEAVE: &str = "\u{1b}[?7h\u{1b}[?25h\u{1b}[?1049l";

/// Whether the screen is ours.
static ENTERED: AtomicBool = AtomicBool::new(false);

/// A view of the training on the whole terminal, until it ends or the user asks to stop.
pub(crate) struct Tui {
    dashboard: Arc<Mutex<Dashboard>>,
    is_over: Arc<AtomicBool>,
    painter: Option<JoinHandle<()>>,
    /// What must be read even by those who look after the end.
    messages: Vec<String>,
}

impl Tui {
    /// The view, and `None` where the program does not talk to a terminal. It ends when `interrupt` becomes true.
    pub(crate) fn open(interrupt: &Arc<AtomicBool>) -> Option<Self> {
        if !std::io::stderr().is_terminal() || !std::io::stdout().is_terminal() {
            return None;
        }
        let before = panic::take_hook();
        panic::set_hook(Box::new(move |news| {
            leave();
            before(news);
        }));
        ENTERED.store(true, Ordering::Relaxed);
        write(ENTER);
        let dashboard = Arc::new(Mutex::new(Dashboard::new()));
        let is_over = Arc::new(AtomicBool::new(false));
        let (shown, over, interrupt) = (Arc::clone(&dashboard), Arc::clone(&is_over), Arc::clone(interrupt));
        let painter = thread::spawn(move || {
            while !over.load(Ordering::Relaxed) {
                // A second Ctrl-C ends the program at once, so the screen is given back before it can come.
                if interrupt.load(Ordering::Relaxed) {
                    leave();
                    output::note("stopping after the step in hand");
                    return;
                }
                paint(&lock(&shown));
                thread::park_timeout(FRAME);
            }
        });
        Some(Self { dashboard, is_over, painter: Some(painter), messages: Vec::new() })
    }
}

impl Reporter for Tui {
    fn start(&mut self, label: &str, steps: u64, done: u64) {
        lock(&self.dashboard).start(label, steps, done);
    }

    fn step(&mut self, images: usize, loss: f64) {
        lock(&self.dashboard).step(images, loss);
    }

    fn epoch(&mut self, news: &EpochNews<'_>) {
        lock(&self.dashboard).epoch(news);
    }

    fn message(&mut self, text: &str) {
        lock(&self.dashboard).message(text);
        self.messages.push(text.to_owned());
    }

    fn finish(&mut self) {}
}

impl Drop for Tui {
    fn drop(&mut self) {
        self.is_over.store(true, Ordering::Relaxed);
        if let Some(painter) = self.painter.take() {
            painter.thread().unpark();
            let _ = painter.join();
        }
        leave();
        self.messages.iter().for_each(output::note);
    }
}

/// A panic elsewhere leaves the view as good as it was.
fn lock(dashboard: &Mutex<Dashboard>) -> MutexGuard<'_, Dashboard> {
    dashboard.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Draws a frame over the last one, in the size that the terminal has now.
fn paint(dashboard: &Dashboard) {
    let (height, width) = console::Term::stderr().size();
    let lines = dashboard.draw((width.into(), height.into()), has_colours());
    let frame: Vec<String> = lines.iter().map(|line| format!("{line}\u{1b}[K")).collect();
    // The screen may have been left by a panic since.
    if ENTERED.load(Ordering::Relaxed) {
        write(&format!("\u{1b}[H{}\u{1b}[J", frame.join("\r\n")));
    }
}

/// Gives the screen back, once.
fn leave() {
    if ENTERED.swap(false, Ordering::Relaxed) {
        write(LEAVE);
    }
}

/// A terminal that is gone is no error: the training is what counts.
fn write(text: &str) {
    let mut terminal = std::io::stderr().lock();
    let _ = terminal.write_all(text.as_bytes()).and_then(|()| terminal.flush());
}
