//! Completions and manual pages, from the same description that reads the command line.

use clap::{Command, CommandFactory};
use clap_mangen::Man;
use twinview::files::write_atomic;
use twinview::{Error, Result};

use crate::args::{Cli, CompletionsArgs, ManArgs};
use crate::output;
use crate::settings::VERSION;

/// Prints a script that completes commands and flags.
pub(crate) fn completions(args: &CompletionsArgs) -> Result<()> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "twinview", &mut script);
    output::line(String::from_utf8_lossy(&script).trim_end())
}

/// Prints the program's manual page, or writes one for each command.
pub(crate) fn man(args: &ManArgs) -> Result<()> {
    let mut program = Cli::command().disable_help_subcommand(true);
    // Gives each command its full name.
    program.build();
    let Some(folder) = &args.out else { return output::line(String::from_utf8_lossy(&page(&program)?).trim_end()) };
    let mut waiting = vec![&program];
    while let Some(command) = waiting.pop() {
        let path = folder.join(manual(command).get_filename());
        write_atomic(&path, &page(command)?)?;
        output::note(path.display());
        waiting.extend(command.get_subcommands());
    }
    output::line(folder.display())
}

fn manual(command: &Command) -> Man {
    Man::new(command.clone()).source(format!("twinview {VERSION}"))
}

fn page(command: &Command) -> Result<Vec<u8>> {
    let mut page = Vec::new();
    let rendered = manual(command).render(&mut page);
    rendered.map_err(|error| Error::io("the manual page", "write it", error))?;
    Ok(page)
}
