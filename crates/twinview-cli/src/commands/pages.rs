//! `twinview report`, `compare` and `watch`, and the page at the end of a training.

use std::path::Path;
use std::time::SystemTime;

use twinview::dataset::{Dataset, Part};
use twinview::experiment::{self, PAGE};
use twinview::training::{Device, open_weights};
use twinview::{Error, Result, files};

use super::data;
use crate::args::{CompareArgs, DataArgs, PageArgs, ReportArgs, WatchArgs};
use crate::{output, watch};

/// Makes the page of a run.
pub(crate) fn report(args: &PageArgs) -> Result<()> {
    let device = args.device.open()?;
    // Before the dataset is loaded: a folder that is no run is an error of its own.
    let known = experiment::page(&args.run)?;
    let dataset = match open_weights(&args.run) {
        Ok(weights) => data::open_for(&args.data, &weights)?,
        Err(_) => {
            let recorded = known.facts.iter().find(|(name, _)| name == "Dataset").map(|(_, dataset)| dataset.clone());
            data::open(&DataArgs { dataset: args.data.dataset.clone().or(recorded), data: args.data.data.clone() })?
        }
    };
    let part = args.split.map(Part::from);
    let file = experiment::write_page(&args.run, &dataset, part, &args.controls, &device)?;
    output::line(file.display())
}

/// Puts runs side by side.
pub(crate) fn compare(args: &CompareArgs) -> Result<()> {
    let page = experiment::compare(&args.runs)?;
    files::write_atomic(&args.out, page.to_html().as_bytes())?;
    output::line(args.out.display())
}

/// Serves the page of a run.
pub(crate) fn serve(args: &WatchArgs) -> Result<()> {
    let server = watch::Server::open(&args.run, (args.bind, args.port).into())?;
    if !args.bind.is_loopback() {
        output::note(format_args!(
            "warning: anyone who reaches {} can read the settings, curves and images of this run",
            server.address()
        ));
    }
    output::line(format_args!("http://{}/", server.address()))?;
    output::note("Ctrl-C ends it");
    server.serve()
}

/// Writes the page of what is in `root`, unless it is there and newer. A page that cannot be made is a warning: the
/// training is over and its weights are safe.
pub(super) fn at_the_end(root: &Path, dataset: &Dataset, device: &Device, args: &ReportArgs) {
    if args.no_report || is_fresh(root) {
        return;
    }
    match experiment::write_page(root, dataset, None, &[], device) {
        Ok(file) if !args.quiet => output::note(format_args!("The page of the run is {}", file.display())),
        Ok(_) => {}
        Err(error) => {
            output::note(format_args!(
                "warning: no report.html was written: {error}. The run itself is whole; try twinview report {}",
                root.display()
            ));
        }
    }
}

/// Whether the page was written after what it is about.
fn is_fresh(root: &Path) -> bool {
    let written = |name: &str| -> Option<SystemTime> { root.join(name).metadata().ok()?.modified().ok() };
    let results = ["weights.safetensors", "report.json"].iter().filter_map(|name| written(name)).max();
    matches!((written(PAGE), results), (Some(page), Some(results)) if page >= results)
}

/// What cannot be listened on.
pub(crate) fn refused(address: std::net::SocketAddr, error: &std::io::Error) -> Error {
    Error::Config(format!("cannot listen on {address}: {error}. Choose another --port, or 0 for any that is free"))
}
