//! `twinview data`.

use std::io::{IsTerminal, Write};
use std::path::Path;

use twinview::Result;
use twinview::dataset::{self, Dataset, Part, Progress, Request};
use twinview::report::figures;
use twinview::weights::Weights;

use crate::args::{DataArgs, ShowArgs};
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
    let images = &dataset.pool;
    let unlabelled = dataset.pool.len() - dataset.train.len();
    output::line(format_args!(
        "{}: {} training and {} test images{}, {} × {} pixels, {} channel{}",
        dataset.name,
        dataset.train.len(),
        dataset.test.len(),
        if unlabelled == 0 { String::new() } else { format!(", {unlabelled} without a label") },
        images.height(),
        images.width(),
        images.channels(),
        if images.channels() == 1 { "" } else { "s" },
    ))?;
    let classes = dataset.class_names.len();
    let counts = [&dataset.train, &dataset.test].map(|split| split.class_counts(classes));
    let width = dataset.class_names.iter().map(|name| name.chars().count()).max().unwrap_or(0).max(5);
    if classes > 0 {
        output::line(format_args!("\n{:>5}  {:<width$}  {:>6}  {:>6}", "label", "class", "train", "test"))?;
    }
    for (label, name) in dataset.class_names.iter().enumerate() {
        output::line(format_args!("{label:>5}  {name:<width$}  {:>6}  {:>6}", counts[0][label], counts[1][label]))?;
    }
    let (split, class_names) = dataset.part(args.split.map_or(Part::Pool, Part::from))?;
    figures::image_grid(&split, &class_names, 4, 4)?.save(&args.out)?;
    output::line(format_args!("\n{}", args.out.display()))
}

/// Loads a dataset, downloading it if need be.
pub(crate) fn open(args: &DataArgs) -> Result<Dataset> {
    dataset::open(&request(args), &mut Printer::default().listener())
}

/// Loads the dataset that is asked for, or else the one that `weights` were trained on.
pub(crate) fn open_for(args: &DataArgs, weights: &Weights) -> Result<Dataset> {
    let trained_on = weights.metadata.get("dataset");
    // Without a size, pictures get that of the weights.
    let asked = args.dataset.as_ref().filter(|asked| {
        let of_any_size = trained_on.and_then(|trained_on| trained_on.strip_prefix(asked.as_str()));
        !of_any_size.is_some_and(|size| size.starts_with(':'))
    });
    if let (Some(asked), Some(trained_on)) = (asked, trained_on)
        && asked != trained_on
    {
        let path = weights.path.display();
        output::note(format_args!("{path} was trained on {trained_on}; using it on {asked}, as asked"));
    }
    let dataset = asked.or(trained_on).cloned();
    open(&DataArgs { dataset, data: args.data.clone() })
}

fn request(args: &DataArgs) -> Request {
    Request { data: args.data.clone(), ..Request::new(name(args)) }
}

fn name(args: &DataArgs) -> &str {
    let guessed = || args.data.as_deref().and_then(dataset::guess);
    args.dataset.as_deref().or_else(guessed).unwrap_or("fashion-mnist")
}

/// The dataset that the flags of an experiment ask for, the `recipe` aside: a folder of pictures asks by what it is.
pub(crate) fn asked(dataset: Option<String>, data: Option<&Path>, recipe: Option<&Path>) -> Option<String> {
    let guessed = || data.filter(|_| recipe.is_none()).and_then(dataset::guess).map(str::to_owned);
    dataset.or_else(guessed)
}

/// Prints how a download or the decoding of pictures goes.
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
            Progress::Bytes { file, done, total } => {
                if let Some(total) = total {
                    self.percent(done, total, || format!("{file}: of {:.1} MB", total as f64 / 1e6));
                }
            }
            Progress::Pictures { done, total } => {
                self.percent(done as u64, total as u64, || format!("decoding {total} pictures"));
            }
        }
    }

    /// On a terminal one line that changes; in a log nothing, because messages say what is done.
    fn percent(&mut self, done: u64, total: u64, what: impl FnOnce() -> String) {
        let percent = (done * 100).checked_div(total).unwrap_or(100);
        if !std::io::stderr().is_terminal() || self.percent == Some(percent) {
            return;
        }
        self.percent = Some(percent);
        let mut log = std::io::stderr();
        let _ = write!(log, "\r{percent:>3} % {}", what()).and_then(|()| log.flush());
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
