//! No link is dead, in the folder and in the book.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Component, Path, PathBuf};

use crate::pages::{Page, pages, root, text_and_code};

/// Targets of links and pictures in a line: `[text](target)`, `<a href="target">`.
fn targets(line: &str) -> Vec<String> {
    // Code is no link, but a link's text may be code.
    let text = text_and_code(line).0.join("");
    let mut found = Vec::new();
    for (opening, closing) in [("](", ')'), ("href=\"", '"'), ("src=\"", '"')] {
        let pieces = text.split(opening).skip(1);
        found.extend(pieces.map(|piece| piece.split(closing).next().unwrap_or_default().to_owned()));
    }
    found
}

/// The names that headings can be linked by, as GitHub and mdBook make them.
fn anchors(page: &Page) -> BTreeSet<String> {
    let mut seen = BTreeMap::new();
    let mut anchors = BTreeSet::new();
    for (_, line) in page.prose() {
        let Some(heading) = line.starts_with('#').then(|| line.trim_start_matches('#').trim()) else { continue };
        let is_kept = |c: &char| c.is_alphanumeric() || "-_ ".contains(*c);
        let name: String = heading.to_lowercase().chars().filter(is_kept).collect();
        let name = name.replace(' ', "-");
        let count: &mut usize = seen.entry(name.clone()).or_default();
        anchors.insert(if *count == 0 { name } else { format!("{name}-{count}") });
        *count += 1;
    }
    anchors
}

/// `docs/methods` and `../data.md` make `docs/data.md`; nothing where that leaves the folder.
fn joined(folder: &Path, path: &str) -> Option<String> {
    let mut parts = Vec::new();
    for part in folder.join(path).components() {
        match part {
            Component::ParentDir => drop(parts.pop()?),
            Component::Normal(part) => parts.push(part.to_str()?.to_owned()),
            _ => {}
        }
    }
    Some(parts.join("/"))
}

/// What is wrong with a link of `page`, if anything is.
fn fault(page: &Page, target: &str, known: &BTreeMap<String, BTreeSet<String>>) -> Option<&'static str> {
    if let Some(address) = target.strip_prefix("https://") {
        let host = address.split(['/', '#', '?']).next().unwrap_or_default();
        let is_fine = host.contains('.') && !address.contains(|c: char| c.is_whitespace() || "<>\"{}|\\^".contains(c));
        return (!is_fine).then_some("no address");
    }
    if target.contains(':') {
        return Some("neither https nor a path");
    }
    let (path, anchor) = target.split_once('#').map_or((target, None), |(path, anchor)| (path, Some(anchor)));
    let folder = PathBuf::from(&page.name).parent().unwrap().to_owned();
    let name = if path.is_empty() { Some(page.name.clone()) } else { joined(&folder, path) };
    let Some(name) = name.filter(|name| root().join(name).exists()) else { return Some("no such file") };
    if page.name.starts_with("docs/") && name.ends_with(".md") && !name.starts_with("docs/") {
        return Some("a page outside of docs, which is not in the book");
    }
    match (anchor, known.get(&name)) {
        (None, _) => None,
        (Some(anchor), Some(anchors)) if anchors.contains(anchor) => None,
        (Some(_), Some(_)) => Some("no such heading"),
        (Some(_), None) => Some("only pages have headings"),
    }
}

#[test]
fn no_link_is_dead() {
    let pages = pages();
    let known = pages.iter().map(|page| (page.name.clone(), anchors(page))).collect();
    let (mut dead, mut count) = (Vec::new(), 0);
    for page in &pages {
        for (number, line) in page.prose() {
            for target in targets(line) {
                count += 1;
                if let Some(fault) = fault(page, &target, &known) {
                    dead.push(format!("{}:{number}: {target}: {fault}", page.name));
                }
            }
        }
    }
    assert!(count > 100, "{count} links");
    assert!(dead.is_empty(), "dead links:\n{}", dead.join("\n"));
}

#[test]
fn every_page_is_in_the_summary() {
    let pages = pages();
    let summary = pages.iter().find(|page| page.name == "docs/SUMMARY.md").expect("docs/SUMMARY.md");
    let mut listed: Vec<String> =
        summary.prose().iter().flat_map(|(_, line)| targets(line)).map(|target| format!("docs/{target}")).collect();
    listed.sort();
    let mut expected: Vec<String> = pages.iter().map(|page| page.name.clone()).collect();
    expected.retain(|name| name.starts_with("docs/") && name != "docs/SUMMARY.md");
    expected.sort();
    assert_eq!(listed, expected);
}

#[test]
fn faults_are_found() {
    let page = Page {
        name: "docs/methods/simsiam.md".into(),
        text: "# One `b` & two\n## Again\n## Again\n```sh\n# no heading\n```\n".into(),
    };
    let anchors = anchors(&page);
    assert!(anchors.iter().eq(["again", "again-1", "one-b--two"]));
    let known = BTreeMap::from([("docs/methods/simsiam.md".to_owned(), anchors)]);
    for (target, expected) in [
        ("#again-1", None),
        ("#no-heading", Some("no such heading")),
        ("../article.md", None),
        ("../../recipes/quick.toml", None),
        ("../../recipes/quick.toml#a", Some("only pages have headings")),
        ("../../README.md", Some("a page outside of docs, which is not in the book")),
        ("missing.md", Some("no such file")),
        ("../../../x", Some("no such file")),
        ("https://arxiv.org/abs/1", None),
        ("https://arxiv", Some("no address")),
        ("http://arxiv.org", Some("neither https nor a path")),
    ] {
        assert_eq!(fault(&page, target, &known), expected, "{target}");
    }
    assert_eq!(targets("[`a`](b.md) `[c](d)` ![e](f.png)"), ["b.md", "f.png"]);
}
