//! The pages, and what stands in them.

use std::fs;
use std::path::{Path, PathBuf};

/// The folder that everything is told relative to.
pub(crate) fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().unwrap()
}

/// A Markdown file.
pub(crate) struct Page {
    /// Relative to the root: `docs/article.md`.
    pub(crate) name: String,
    pub(crate) text: String,
}

/// A fenced block of code.
pub(crate) struct Block {
    /// The number of its first line in the page, from 1.
    pub(crate) line: usize,
    pub(crate) language: String,
    pub(crate) content: String,
    /// The line of text before it.
    pub(crate) before: String,
}

/// The README and every page of the manual, in order.
pub(crate) fn pages() -> Vec<Page> {
    let root = root();
    let mut names = vec![PathBuf::from("README.md")];
    let mut folders = vec![PathBuf::from("docs")];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(root.join(&folder)).unwrap().map(Result::unwrap) {
            let name = folder.join(entry.file_name());
            match entry.file_type().unwrap().is_dir() {
                true => folders.push(name),
                false if name.extension().is_some_and(|ending| ending == "md") => names.push(name),
                false => {}
            }
        }
    }
    names.sort();
    let page = |name: PathBuf| {
        let text = fs::read_to_string(root.join(&name)).unwrap();
        Page { name: name.to_str().unwrap().replace('\\', "/"), text }
    };
    names.into_iter().map(page).collect()
}

impl Page {
    pub(crate) fn blocks(&self) -> Vec<Block> {
        let mut blocks: Vec<Block> = Vec::new();
        let (mut open, mut before) = (false, "");
        for (number, line) in self.text.lines().enumerate() {
            match (line.strip_prefix("```"), open) {
                (Some(language), false) => {
                    let (language, before) = (language.trim().to_owned(), before.to_owned());
                    blocks.push(Block { line: number + 2, language, content: String::new(), before });
                    open = true;
                }
                (Some(_), true) => open = false,
                (None, true) => blocks.last_mut().unwrap().content.push_str(&format!("{line}\n")),
                (None, false) if !line.trim().is_empty() => before = line,
                (None, false) => {}
            }
        }
        assert!(!open, "{}: a block of code has no end", self.name);
        blocks
    }

    /// The lines outside of blocks, with their numbers.
    pub(crate) fn prose(&self) -> Vec<(usize, &str)> {
        let (mut prose, mut inside) = (Vec::new(), false);
        for (number, line) in self.text.lines().enumerate() {
            if line.starts_with("```") {
                inside = !inside;
            } else if !inside {
                prose.push((number + 1, line));
            }
        }
        prose
    }
}

/// Splits a line at its back quotes: pieces of text and of code in turns, text first.
pub(crate) fn text_and_code(line: &str) -> (Vec<&str>, Vec<&str>) {
    let pieces: Vec<&str> = line.split('`').collect();
    let every_second = |first: usize| pieces.iter().skip(first).step_by(2).copied().collect();
    (every_second(0), every_second(1))
}
