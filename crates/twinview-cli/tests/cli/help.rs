//! What the program says of itself, and wrong usage.

use crate::support::Lab;

const COMMANDS: [&str; 18] = [
    "reproduce",
    "data",
    "data fetch",
    "data show",
    "train",
    "pretrain",
    "probe",
    "finetune",
    "selftrain",
    "experiment labels",
    "experiment methods",
    "evaluate",
    "embed",
    "import",
    "export",
    "bench",
    "completions",
    "man",
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
        ("train --run run --device cuda", "expected cpu, gpu, or gpu:1"),
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

#[test]
fn shells_and_man_know_every_command() {
    let lab = Lab::new();
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let script = lab.succeeds(&format!("completions {shell}"));
        let words = COMMANDS.iter().flat_map(|command| command.split(' '));
        words.for_each(|word| assert!(script.contains(word), "{shell}: {word}"));
        assert!(script.contains("stratified"), "{shell}");
    }
    assert!(lab.succeeds("man").contains(".TH twinview 1"));
    assert_eq!(lab.succeeds("man --out pages"), "pages\n");
    for command in COMMANDS {
        let page = String::from_utf8(lab.read(&format!("pages/twinview-{}.1", command.replace(' ', "-")))).unwrap();
        assert!(page.contains(".SH SYNOPSIS") && page.contains(&format!("twinview {command}")), "{page}");
    }
    lab.write("file", "");
    lab.fails("man --out file/pages", &["file/pages"]);
}

#[cfg(unix)]
#[test]
fn bash_reads_its_completions() {
    let lab = Lab::new();
    lab.write("completions.bash", lab.succeeds("completions bash"));
    // What bash offers for `twinview data sh`.
    let asked = "source completions.bash; COMP_WORDS=(twinview data sh); COMP_CWORD=2; _twinview twinview sh data; \
                 echo \"${COMPREPLY[@]}\"";
    let answer = std::process::Command::new("bash").args(["-c", asked]).current_dir(lab.path("")).output();
    // A system without bash needs no completions for it.
    let Ok(answer) = answer else { return };
    assert_eq!(String::from_utf8_lossy(&answer.stdout), "show\n", "{}", String::from_utf8_lossy(&answer.stderr));
}
