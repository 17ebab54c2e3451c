//! Commands and flags that stand in a sentence exist.

use std::collections::BTreeMap;

use crate::pages::{pages, root, text_and_code};

/// Flags of other programs.
const OTHERS: [&str; 5] = ["--logdir", "--project", "--live", "--release", "--doc"];

/// The flags of each command, from the page that is written from the parser.
fn known() -> BTreeMap<String, Vec<String>> {
    let text = std::fs::read_to_string(root().join("docs/cli.md")).unwrap();
    let mut known: BTreeMap<String, Vec<String>> = BTreeMap::new();
    let mut command = String::new();
    for line in text.lines() {
        if let Some(name) = line.strip_prefix("## ") {
            command = name.to_owned();
            known.insert(command.clone(), vec!["--help".to_owned()]);
        } else if let Some(form) = line.strip_prefix("| `").and_then(|row| row.split('`').next()) {
            let flags = form.split([' ', ',']).filter(|word| word.starts_with('-')).map(str::to_owned);
            known.get_mut(&command).unwrap().extend(flags);
        }
    }
    assert!(known.len() > 10);
    known
}

/// The flags in a piece of code: `--run` of `--run=DIR`.
fn flags(code: &str) -> impl Iterator<Item = &str> {
    code.split_whitespace().filter(|word| word.starts_with("--") && word.len() > 2).map(|word| {
        let end = word.find(|c: char| !c.is_ascii_alphanumeric() && c != '-').unwrap_or(word.len());
        &word[..end]
    })
}

#[test]
fn commands_and_flags_in_sentences_exist() {
    let known = known();
    let mut wrong = Vec::new();
    for page in pages() {
        for (number, line) in page.prose() {
            for code in text_and_code(line).1 {
                let says = code.strip_prefix("twinview ").or_else(|| code.strip_prefix("cargo run --release -- "));
                let said = says.map(|says| format!("twinview {says}"));
                // The longest command that the words begin with; a group such as `twinview data` has no flags.
                let command = said.as_deref().map(|said| {
                    let begins = |name: &&String| format!("{said} ").starts_with(&format!("{name} "));
                    let of_group = |name: &&String| name.starts_with(&format!("{said} "));
                    known.keys().find(begins).or_else(|| known.keys().find(of_group))
                });
                let fine = match command {
                    Some(None) => said.is_some_and(|said| said.starts_with("twinview --")),
                    Some(Some(command)) => {
                        flags(code).all(|flag| flag == "--release" || known[command].iter().any(|known| known == flag))
                    }
                    None if code.starts_with("--") => flags(code)
                        .all(|flag| OTHERS.contains(&flag) || known.values().flatten().any(|known| known == flag)),
                    None => true,
                };
                if !fine {
                    wrong.push(format!("{}:{number}: `{code}`", page.name));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "no such command, or it has no such flag:\n{}", wrong.join("\n"));
}
