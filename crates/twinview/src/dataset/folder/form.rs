//! The form that pictures are brought into, and the name by which it is asked for.

use std::fmt;

use crate::{Error, Result};

/// What a folder of pictures is asked for by.
pub(in crate::dataset) const NAME: &str = "folder";

/// Rows and columns, unless asked otherwise.
const SIDE: usize = 64;
/// Rows and columns that can be asked for.
const SIDES: std::ops::RangeInclusive<usize> = 8..=1024;

/// What every picture becomes: a square of `side` rows and columns, in colour or grey.
///
/// Written `folder:64` or `folder:64:grey`, so that the name of the dataset, which runs and weights keep, says it all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::dataset) struct Form {
    pub(in crate::dataset) side: usize,
    pub(super) is_grey: bool,
}

impl Form {
    /// The form that the dataset `name` asks for; `None` where it names another kind of dataset.
    pub(in crate::dataset) fn parse(name: &str) -> Result<Option<Self>> {
        let mut parts = name.split(':');
        if parts.next() != Some(NAME) {
            return Ok(None);
        }
        let wrong = || {
            let (least, most) = SIDES.into_inner();
            Error::Config(format!(
                "'{name}' is no form of pictures; expected {NAME}, {NAME}:SIDE or {NAME}:SIDE:grey with a SIDE of {least} to \
                 {most} pixels, such as {NAME}:64"
            ))
        };
        let side = match parts.next() {
            None => SIDE,
            Some(side) => side.parse().ok().filter(|side| SIDES.contains(side)).ok_or_else(wrong)?,
        };
        let is_grey = match parts.next() {
            None => false,
            Some("grey" | "gray") => true,
            Some(_) => return Err(wrong()),
        };
        if parts.next().is_some() { Err(wrong()) } else { Ok(Some(Self { side, is_grey })) }
    }

    /// Channels of each image.
    pub(super) fn channels(self) -> usize {
        if self.is_grey { 1 } else { 3 }
    }

    /// Bytes of each image.
    pub(super) fn image_len(self) -> usize {
        self.channels() * self.side * self.side
    }
}

impl fmt::Display for Form {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{NAME}:{}{}", self.side, if self.is_grey { ":grey" } else { "" })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_form_is_read_as_it_is_written() {
        for (name, written) in [
            ("folder", "folder:64"),
            ("folder:32", "folder:32"),
            ("folder:8:gray", "folder:8:grey"),
            ("folder:1024:grey", "folder:1024:grey"),
        ] {
            let form = Form::parse(name).unwrap().unwrap();
            assert_eq!(form.to_string(), written);
            assert_eq!(Form::parse(written).unwrap(), Some(form));
        }
        assert_eq!(Form::parse("shapes").unwrap(), None);
        assert_eq!(Form::parse("folders").unwrap(), None);
    }

    #[test]
    fn what_is_no_form_is_refused() {
        for name in ["folder:", "folder:7", "folder:1025", "folder:a", "folder:64:red", "folder:64:grey:", "folder:-8"]
        {
            let message = Form::parse(name).unwrap_err().to_string();
            assert!(message.starts_with(&format!("'{name}' is no form of pictures; expected folder, ")), "{message}");
        }
    }
}
