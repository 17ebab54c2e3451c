//! `twinview data`.

use std::io::{IsTerminal, Write};

use twinview::Result;
use twinview::dataset::{self, Dataset, Progress, Request};
use twinview::report::figures;
use twinview::weights::Weights;

use crate::args::{DataArgs, ShowArgs, SplitName};
use crate::output;

/// Says where a dataset lies, downloading it if need be.
pub(crate) fn fetch(args: &DataArgs) -> Result<()> {
    let found = dataset::fetch(&request(args), &mut Printer::default().listener())?;
    output::note(format_args!("{} found in {}", name(args), found.source));
    output::line(found.folder.display())
}

/// Class counts, and a grid of images.
pub(crate) fn show(args: &ShowArgs) -> Result<()> {
    let dataset = open(&args.data)?;
    let classes = dataset.class_names.len();
    let counts = [&dataset.train, &dataset.test].map(|split| split.class_counts(classes));
    let images = &dataset.train.images;
    output::line(format_args!(
        "{}: {} training and {} test images, {} × {} pixels, {} channel{}",
        dataset.name,
        dataset.train.len(),
        dataset.test.len(),
        images.height(),
        images.width(),
        images.channels(),
        if images.channels() == 1 { "" } else { "s" },
    ))?;
    let width = dataset.class_names.iter().map(|name| name.chars().count()).max().unwrap_or(0).max(5);
    output::line(format_args!("\n{:>5}  {:<width$}  {:>6}  {:>6}", "label", "class", "train", "test"))?;
    for (label, name) in dataset.class_names.iter().enumerate() {
        output::line(format_args!("{label:>5}  {name:<width$}  {:>6}  {:>6}", counts[0][label], counts[1][label]))?;
    }
    let split = match args.split {
        SplitName::Train => &dataset.train,
        SplitName::Test => &dataset.test,
    };
    figures::image_grid(split, &dataset.class_names, 4, 4)?.save(&args.out)?;
    output::line(format_args!("\n{}", args.out.display()))
}

/// Loads a dataset, downloading it if need be.
pub(crate) fn open(args: &DataArgs) -> Result<Dataset> {
    dataset::open(&request(args), &mut Printer::default().listener())
}

/// Loads the dataset that is asked for, or else the one that `weights` were trained on.
pub(crate) fn open_for(args: &DataArgs, weights: &Weights) -> Result<Dataset> {
    let trained_on = weights.metadata.get("dataset");
    if let (Some(asked), Some(trained_on)) = (&args.dataset, trained_on)
        && asked != trained_on
    {
        let path = weights.path.display();
        output::note(format_args!("{path} was trained on {trained_on}; using it on {asked}, as asked"));
    }
    let dataset = args.dataset.as_ref().or(trained_on).cloned();
    open(&DataArgs { dataset, data: args.data.clone() })
}

fn request(args: &DataArgs) -> Request {
    Request { data: args.data.clone(), ..Request::new(name(args)) }
}

fn name(args: &DataArgs) -> &str {
    args.dataset.as_deref().unwrap_or("fashion-mnist")
}

/// Prints how a download goes.
#[derive(Default)]
struct Printer {
    percent: Option<u64>,
}

impl Printer {
    fn listener(&mut self) -> impl FnMut(Progress<'_>) {
        |progress| match progress {
            Progress::Message(text) => {
                self.end_line();
                output::note(text);
            }
            Progress::Bytes { file, done, total } => self.bytes(file, done, total),
        }
    }

    /// On a terminal one line that changes; in a log nothing, because the message before says what is fetched.
    fn bytes(&mut self, file: &str, done: u64, total: Option<u64>) {
        let Some(total) = total.filter(|&total| total > 0) else { return };
        let percent = done * 100 / total;
        if !std::io::stderr().is_terminal() || self.percent == Some(percent) {
            return;
        }
        self.percent = Some(percent);
        let mut log = std::io::stderr();
        let _ = write!(log, "\r{file}: {percent:>3} % of {:.1} MB", total as f64 / 1e6).and_then(|()| log.flush());
        if done >= total {
            self.end_line();
        }
    }

    fn end_line(&mut self) {
        if self.percent.take().is_some() {
            output::note("");
        }
    }
}
