//! What the program says of itself, and wrong usage.

use crate::support::Lab;

const COMMANDS: [&str; 12] = [
    "reproduce",
    "data",
    "data fetch",
    "data show",
    "train",
    "pretrain",
    "probe",
    "evaluate",
    "embed",
    "import",
    "export",
    "bench",
];

#[test]
fn every_command_has_help() {
    let lab = Lab::new();
    let top = lab.succeeds("--help");
    for command in COMMANDS {
        let help = lab.succeeds(&format!("{command} --help"));
        assert!(help.contains(&format!("Usage: twinview {command}")), "{help}");
        assert!(top.contains(command.split(' ').next().unwrap()), "{top}");
        // Options without an explanation help nobody.
        let silent: Vec<&str> = help
            .lines()
            .filter(|line| line.trim_start().starts_with("--") && !line.trim().contains("  "))
            .filter(|line| !help.contains(&format!("{line}\n          ")))
            .collect();
        assert!(silent.is_empty(), "{command}: {silent:?}");
    }
    assert!(lab.succeeds("--version").starts_with("twinview "));
}

#[test]
fn no_arguments_print_the_help() {
    let outcome = Lab::new().run("");
    assert_eq!(outcome.code, Some(2));
    assert!(outcome.stderr.contains("Usage: twinview <COMMAND>") && outcome.stderr.contains("reproduce"));
}

#[test]
fn wrong_usage_exits_with_2() {
    let lab = Lab::new();
    for (arguments, expected) in [
        ("fly", "unrecognized subcommand 'fly'"),
        ("train", "--run <DIR>"),
        ("train --run run --fast", "unexpected argument '--fast'"),
        ("train --run run --epochs many", "invalid value 'many'"),
        ("train --run run --seed 18446744073709551615", "invalid value '18446744073709551615'"),
        ("train --run run --first-k 5 --stratified 5", "cannot be used with"),
        ("pretrain --run run --method guess", "possible values: simsiam"),
        ("evaluate", "--weights <FILE|RUN>"),
        ("reproduce --preset slow", "possible values: article, quick"),
        ("embed --weights w --out o --metric manhattan", "possible values: cosine, euclidean"),
        ("import", "--out <FILE>"),
        ("data", "Usage: twinview data"),
    ] {
        let outcome = lab.run(arguments);
        assert_eq!(outcome.code, Some(2), "{arguments}: {}", outcome.stderr);
        assert!(outcome.stderr.contains(expected), "{arguments}: {}", outcome.stderr);
        assert_eq!(outcome.stdout, "", "{arguments}");
    }
    assert!(!lab.exists("run"));
}
