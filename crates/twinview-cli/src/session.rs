//! What surrounds long work: Ctrl-C, progress, and where it is logged.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use twinview::Result;
use twinview::experiment;
use twinview::tracking::{Detail, Reporter, Terminal, Tracking};
use twinview::training::{Context, Device, cpu, name_of};

use crate::args::ReportArgs;
use crate::tui::Tui;
use crate::{output, settings, stop};

/// Does `work`; `recipe` may say where to log, and `advice` how to go on after an interruption.
pub(crate) fn with_context<T>(
    args: &ReportArgs,
    device: &Device,
    recipe: Option<&Path>,
    advice: &str,
    work: impl FnOnce(&mut Context<'_>) -> Result<T>,
) -> Result<T> {
    let tracking = tracking(args, recipe)?;
    let interrupt = stop::on_request()?;
    let mut reporter = reporter(args, &interrupt);
    let mut context =
        Context { device: device.clone(), interrupt: &interrupt, reporter: &mut *reporter, tracking: &tracking };
    if *device != cpu() {
        context.reporter.message(&format!("on {}", name_of(device)));
    }
    work(&mut context).map_err(|error| stop::with_advice(error, advice))
    // The reporter ends here, and gives a screen back that it took, before the result is printed.
}

/// The recipe's wishes, changed by the flags.
fn tracking(args: &ReportArgs, recipe: Option<&Path>) -> Result<Tracking> {
    let mut tracking = experiment::tracking(recipe)?;
    if !args.track.is_empty() {
        tracking.sinks = args.track.iter().map(|sink| sink.0).collect();
    }
    tracking.sinks.sort();
    tracking.sinks.dedup();
    tracking.folder = args.track_dir.clone().or(tracking.folder);
    tracking.upload |= args.wandb_sync;
    tracking.command = settings::command_line();
    Ok(tracking)
}

fn reporter(args: &ReportArgs, interrupt: &Arc<AtomicBool>) -> Box<dyn Reporter> {
    if args.tui {
        match Tui::open(interrupt) {
            Some(tui) => return Box::new(tui),
            None => {
                output::note("--tui needs a terminal, and the output goes elsewhere; progress follows as plain lines")
            }
        }
    }
    let detail = match (args.quiet, args.verbose) {
        (true, _) => Detail::Quiet,
        (_, true) => Detail::Verbose,
        _ => Detail::Usual,
    };
    Box::new(Terminal::new(detail))
}
