//! `labels.csv`: what is known of pictures, in one file.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use super::listing::{Listing, check_count, label_of, sorted_classes};
use crate::{Error, Result};

/// Its name.
pub(super) const NAME: &str = "labels.csv";

/// One line: which file, what it shows, and whether it is kept for the end.
struct Line {
    number: u64,
    file: PathBuf,
    label: String,
    is_test: bool,
}

/// The listing of the `pictures` beside the labels in `path`: a comma-separated file whose first line names its columns, `file`
/// (below the folder of `path`), `label` (empty where it is not known) and, if it likes, `split` (`train`, `test` or `val`; empty
/// for `train`). Pictures that it does not name have no label.
///
/// # Errors
/// Names the line that is not sound.
pub(super) fn read(path: &Path, pictures: Vec<PathBuf>) -> Result<Listing> {
    let lines = lines(path)?;
    let mut left: BTreeSet<PathBuf> = pictures.into_iter().collect();
    let mut first_seen = BTreeMap::new();
    for Line { number, file, .. } in &lines {
        if let Some(first) = first_seen.insert(file.clone(), number) {
            return Err(at(path, *number, format!("{} stands in line {first} too", file.display())));
        }
        if !left.remove(file) {
            let message =
                format!("there is no picture {} beside {NAME}; remove the line, or add the file", file.display());
            return Err(at(path, *number, message));
        }
    }
    let names = lines.iter().map(|line| line.label.clone()).filter(|label| !label.is_empty());
    let class_names = sorted_classes(names.collect());
    check_count(path, &class_names)?;
    let mut listing = Listing { unlabelled: left.into_iter().collect(), ..Listing::default() };
    for Line { number, file, label, is_test } in lines {
        match label_of(&label, &class_names) {
            Some(label) if is_test => listing.test.push((file, label)),
            Some(label) => listing.train.push((file, label)),
            None if is_test => return Err(at(path, number, "a test picture without a label".into())),
            None => listing.unlabelled.push(file),
        }
    }
    listing.unlabelled.sort();
    Ok(Listing { class_names, ..listing })
}

fn lines(path: &Path) -> Result<Vec<Line>> {
    let wrong = |error: csv::Error| Error::format(path, format!("{error}; expected lines such as photo-1.jpg,cat"));
    let mut reader = csv::ReaderBuilder::new().trim(csv::Trim::All).from_path(path).map_err(wrong)?;
    let header = reader.headers().map_err(wrong)?.clone();
    // Spreadsheets begin a file with a byte order mark.
    let column = |name: &str| header.iter().position(|found| found.trim_start_matches('\u{feff}') == name);
    let (Some(file), Some(label)) = (column("file"), column("label")) else {
        let found: Vec<&str> = header.iter().collect();
        let message = format!(
            "its first line is {}; expected the names of its columns: file,label and perhaps split",
            found.join(",")
        );
        return Err(Error::format(path, message));
    };
    let split = column("split");
    let mut lines = Vec::new();
    for record in reader.records() {
        let record = record.map_err(wrong)?;
        let number = record.position().map_or(0, csv::Position::line);
        let text = |column: usize| record.get(column).unwrap_or_default();
        let is_test = match split.map(text) {
            None | Some("" | "train") => false,
            Some("test" | "val") => true,
            Some(other) => {
                return Err(at(path, number, format!("the split '{other}'; expected train, test or val, or nothing")));
            }
        };
        // `./a.png` and `a.png` are one file.
        let file = Path::new(text(file)).components().filter(|part| *part != std::path::Component::CurDir).collect();
        lines.push(Line { number, file, label: text(label).to_owned(), is_test });
    }
    Ok(lines)
}

fn at(path: &Path, line: u64, message: String) -> Error {
    Error::format(path, format!("line {line}: {message}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn listing(text: &str, pictures: &[&str]) -> Result<Listing> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(NAME);
        std::fs::write(&path, text).unwrap();
        read(&path, pictures.iter().map(PathBuf::from).collect())
    }

    #[test]
    fn lines_say_what_pictures_show() {
        let text =
            "\u{feff}split,file,label\n,b/1.png,\"dog, small\"\ntest, 2.png ,cat\nval,3.png,cat\ntrain,./4.png,\n";
        let found = listing(text, &["2.png", "3.png", "4.png", "5.png", "b/1.png"]).unwrap();
        assert_eq!(found.class_names, ["cat", "dog, small"]);
        assert_eq!(found.train, [(PathBuf::from("b/1.png"), 1)]);
        assert_eq!(found.test, [(PathBuf::from("2.png"), 0), (PathBuf::from("3.png"), 0)]);
        assert_eq!(found.unlabelled, [PathBuf::from("4.png"), PathBuf::from("5.png")]);
    }

    #[test]
    fn unsound_lines_are_named() {
        for (text, message) in [
            ("name,class\na.png,cat\n", "its first line is name,class; expected the names of its columns: file,label"),
            ("", "its first line is ; expected"),
            ("file,label\na.png,cat\nb.png,cat\n", "line 3: there is no picture b.png beside labels.csv"),
            ("file,label\na.png,cat\n./a.png,dog\n", "line 3: a.png stands in line 2 too"),
            ("file,label\na.png\n", "expected lines such as photo-1.jpg,cat"),
            ("file,label,split\na.png,cat,dev\n", "line 2: the split 'dev'; expected train, test or val"),
            ("file,label,split\na.png,,test\n", "line 2: a test picture without a label"),
        ] {
            let found = listing(text, &["a.png"]).unwrap_err().to_string();
            assert!(found.contains(message), "{text:?}: {found}");
        }
    }
}
