//! The manual's page of all commands, `docs/cli.md`, written from the description that reads the command line.
//!
//! `UPDATE_DOCS=1 cargo test --release --bin twinview` writes it anew; without the variable a page that differs fails.

use std::fmt::Write;

use clap::{Arg, Command, CommandFactory};

use crate::args::Cli;

const PAGE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/cli.md");

const INTRODUCTION: &str = "# Commands

<!-- Written by `UPDATE_DOCS=1 cargo test --release --bin twinview`. Change the program's help, not this page. -->

What `--help` says after each command. Results go to standard output, progress and warnings to standard error. The
status is 0 when all is done, 1 when something failed or was interrupted, 2 for wrong usage.

";

fn reference() -> String {
    let mut program = Cli::command().disable_help_subcommand(true);
    program.build();
    let mut commands = Vec::new();
    collect(&mut program, &mut commands);
    let lines = commands.iter().map(|(name, about, _)| {
        let anchor = name.replace(' ', "-");
        format!("- [`{name}`](#{anchor}): {about}\n")
    });
    let sections = commands.iter().map(|(.., section)| section.as_str());
    format!("{INTRODUCTION}{}\n{}", lines.collect::<String>(), sections.collect::<Vec<_>>().join("\n"))
}

/// Every command that does something: its name, what it does in a line, its section.
fn collect(command: &mut Command, found: &mut Vec<(String, String, String)>) {
    if command.has_subcommands() {
        let inner = command.get_subcommands_mut().filter(|inner| inner.get_name() != "help");
        return inner.for_each(|inner| collect(inner, found));
    }
    let name = command.get_bin_name().unwrap_or_default().to_owned();
    let about = command.get_about().map(ToString::to_string).unwrap_or_default();
    let section = section(&name, command);
    found.push((name, about, section));
}

fn section(name: &str, command: &mut Command) -> String {
    let usage = command.render_usage().to_string();
    let usage = usage.trim_start_matches("Usage: ").split_whitespace().collect::<Vec<_>>().join(" ");
    let about = command.get_long_about().or(command.get_about()).map(ToString::to_string).unwrap_or_default();
    let mut section = format!("## {name}\n\n{about}\n\n```text\n{usage}\n```\n\n");
    section.push_str("| Argument | Meaning | Values | Default |\n| --- | --- | --- | --- |\n");
    for argument in command.get_arguments().filter(|argument| argument.get_id() != "help") {
        let [meaning, values, default] = cells(argument).map(|cell| cell.replace('|', r"\|"));
        let form = form(argument).replace('|', r"\|");
        writeln!(section, "| `{form}` | {meaning} | {values} | {default} |").unwrap();
    }
    section
}

/// How an argument is written: `-q`, `--quiet`; `--run <DIR>`; `<FILE>`.
fn form(argument: &Arg) -> String {
    let names = argument.get_value_names().unwrap_or_default();
    let value = names.iter().map(|name| format!("<{name}>")).collect::<Vec<_>>().join(" ");
    let value = if argument.get_action().takes_values() { value } else { String::new() };
    let short = argument.get_short().map(|short| format!("-{short}, ")).unwrap_or_default();
    let long = argument.get_long().map(|long| format!("{short}--{long} ")).unwrap_or_default();
    format!("{long}{value}").trim_end().to_owned()
}

/// What an argument means, what it may be and what it is when absent.
fn cells(argument: &Arg) -> [String; 3] {
    let help = argument.get_help().map(ToString::to_string).unwrap_or_default();
    // Where the program works the default out, its help tells it.
    let (meaning, told) = match help.split_once(" [default: ") {
        Some((meaning, told)) => (meaning.to_owned(), told.trim_end_matches(']').to_owned()),
        None => (help, String::new()),
    };
    if !argument.get_action().takes_values() {
        return [meaning, String::new(), String::new()];
    }
    let listed = |words: Vec<String>| words.iter().map(|word| format!("`{word}`")).collect::<Vec<_>>().join(", ");
    let values = argument.get_possible_values().iter().map(|value| value.get_name().to_owned()).collect();
    let defaults: Vec<String> =
        argument.get_default_values().iter().map(|value| value.to_string_lossy().into_owned()).collect();
    let default = match argument.is_required_set() {
        true => "**required**".to_owned(),
        false if defaults.is_empty() => told,
        false => listed(defaults),
    };
    [meaning, listed(values), default]
}

#[test]
fn the_page_of_commands_is_what_the_program_says() {
    let expected = reference();
    if std::env::var_os("UPDATE_DOCS").is_some() {
        std::fs::write(PAGE, &expected).unwrap();
    }
    let found = std::fs::read_to_string(PAGE).unwrap_or_default();
    let message = "docs/cli.md is old; write it with: UPDATE_DOCS=1 cargo test --release --bin twinview";
    assert!(found == expected, "{message}");
}
