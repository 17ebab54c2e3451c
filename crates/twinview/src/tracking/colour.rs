//! Whether to write colours: no-color.org and bixense.com/clicolors.

use std::ffi::OsString;
use std::io::IsTerminal;

/// Whether standard error may have colours: `NO_COLOR` forbids them, `CLICOLOR_FORCE` demands them, and else a terminal has
/// them unless `CLICOLOR` is 0.
pub fn has_colours() -> bool {
    decide(|name| std::env::var_os(name), std::io::stderr().is_terminal())
}

fn decide(variable: impl Fn(&str) -> Option<OsString>, is_terminal: bool) -> bool {
    let is_set = |name| variable(name).is_some_and(|value| !value.is_empty());
    let is_on = |name| is_set(name) && variable(name).is_some_and(|value| value != "0");
    let is_off = |name| variable(name).is_some_and(|value| value == "0");
    let is_dumb = variable("TERM").is_some_and(|value| value == "dumb");
    !is_set("NO_COLOR") && (is_on("CLICOLOR_FORCE") || is_terminal && !is_off("CLICOLOR") && !is_dumb)
}

/// Colours that say something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Colour {
    Red = 31,
    Green = 32,
    Yellow = 33,
}

impl Colour {
    /// `text` in this colour, where there are colours.
    pub(super) fn paint(self, text: &str, has_colours: bool) -> String {
        if has_colours { format!("\u{1b}[{}m{text}\u{1b}[0m", self as u8) } else { text.to_owned() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_user_decides_about_colours() {
        for (variables, is_terminal, expected) in [
            (&[][..], true, true),
            (&[], false, false),
            (&[("NO_COLOR", "1")], true, false),
            (&[("NO_COLOR", "")], true, true),
            (&[("CLICOLOR_FORCE", "1")], false, true),
            (&[("CLICOLOR_FORCE", "0")], false, false),
            (&[("CLICOLOR_FORCE", "1"), ("NO_COLOR", "1")], true, false),
            (&[("CLICOLOR", "0")], true, false),
            (&[("TERM", "dumb")], true, false),
        ] {
            let variable = |name: &str| variables.iter().find(|(key, _)| *key == name).map(|(_, value)| value.into());
            assert_eq!(decide(variable, is_terminal), expected, "{variables:?}");
        }
    }
}
