//! The `twinview` program: arguments in, results out; everything else is the library's.
#![forbid(unsafe_code)]

mod args;
mod commands;
mod fault;
mod output;
#[cfg(test)]
mod reference;
mod session;
mod settings;
mod stop;
mod tui;
mod watch;

use std::process::ExitCode;

use clap::Parser;
use mimalloc::MiMalloc;

use args::{Cli, Command, DataCommand, ExperimentCommand};

/// Keeps what a step frees for the next, and asks the system for large pages, which the C library's allocator does not.
#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

fn run(command: Command) -> twinview::Result<()> {
    match command {
        Command::Reproduce(args) => commands::experiment::reproduce(args),
        Command::Experiment { command: ExperimentCommand::Labels(args) } => commands::experiment::labels(args),
        Command::Experiment { command: ExperimentCommand::Methods(args) } => commands::experiment::methods(args),
        Command::Data { command: DataCommand::Fetch(args) } => commands::data::fetch(&args),
        Command::Data { command: DataCommand::Show(args) } => commands::data::show(&args),
        Command::Train(args) => commands::train::train(args),
        Command::Pretrain(args) => commands::train::pretrain(args),
        Command::Probe(args) => commands::heads::probe(args),
        Command::Finetune(args) => commands::heads::finetune(args),
        Command::Selftrain(args) => commands::heads::selftrain(args),
        Command::Evaluate(args) => commands::evaluate(&args),
        Command::Predict(args) => commands::predictions(&args),
        Command::Select(args) => commands::select::select(&args),
        Command::Search(args) => commands::search::search(&args),
        Command::Embed(args) => commands::embed(&args),
        Command::Report(args) => commands::pages::report(&args),
        Command::Compare(args) => commands::pages::compare(&args),
        Command::Watch(args) => commands::pages::serve(&args),
        Command::Import(args) => commands::convert(&args),
        Command::Export(args) => commands::convert(&args),
        Command::Bench(args) => commands::experiment::bench(&args),
        Command::Completions(args) => commands::program::completions(&args),
        Command::Man(args) => commands::program::man(&args),
    }
}

fn main() -> ExitCode {
    stop::survive_file_size_limit();
    let cli = Cli::parse();
    // On a thread of the pool, so that parallel work begins without waking another thread for its beginning.
    let error = match fault::caught(|| rayon::scope(|_| run(cli.command))) {
        Ok(Ok(())) => return ExitCode::SUCCESS,
        Ok(Err(error)) => error.to_string(),
        Err(fault) => fault,
    };
    output::note(format_args!("twinview: {error}"));
    ExitCode::FAILURE
}
