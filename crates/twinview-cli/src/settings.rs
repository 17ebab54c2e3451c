//! What commands share.

use twinview::dataset::Dataset;
use twinview::training::Origin;

/// The program's version, with the commit it was built from where that is known.
pub(crate) const VERSION: &str = env!("TWINVIEW_VERSION");

/// What runs on `dataset` note of where they come from.
pub(crate) fn origin(dataset: &Dataset) -> Origin {
    Origin::new(VERSION, dataset)
}

/// The command as it was typed, for reports.
pub(crate) fn command_line() -> String {
    let words = std::env::args_os().skip(1).map(|word| quoted(&word.to_string_lossy()));
    std::iter::once("twinview".to_owned()).chain(words).collect::<Vec<_>>().join(" ")
}

/// A word as a shell reads it back.
fn quoted(word: &str) -> String {
    let is_plain = |c: char| c.is_alphanumeric() || "-_=./,:+@%".contains(c);
    if !word.is_empty() && word.chars().all(is_plain) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', r"'\''"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_quoted_where_a_shell_needs_it() {
        for (word, expected) in [
            ("head.plan.epochs=3", "head.plan.epochs=3"),
            ("my runs/1", "'my runs/1'"),
            ("scale=[0.2]", "'scale=[0.2]'"),
            ("it's", r"'it'\''s'"),
            ("", "''"),
        ] {
            assert_eq!(quoted(word), expected);
        }
    }
}
