//! Numbers in the pages are those of `docs/results`.
//!
//! Between `<!-- table: NAME -->` or `<!-- verdict: NAME -->` and `<!-- end -->` stands what the JSON file
//! `docs/results/NAME/report.json` says, and behind `<!-- method: METHOD -->` its row of the table of methods.
//! `UPDATE_DOCS=1` writes it.

use std::fs;

use serde_json::Value;
use twinview::report::{LabelCurve, MethodTable};

use crate::pages::{pages, root};

fn report(name: &str) -> Value {
    let path = root().join(format!("docs/results/{name}/report.json"));
    let text = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    serde_json::from_str(&text).unwrap()
}

/// The table of methods.
fn methods(report: &Value) -> MethodTable {
    serde_json::from_value(report["table"].clone()).unwrap()
}

/// The random encoders and `method`.
fn method(name: &str) -> String {
    let mut table = methods(&report("methods"));
    assert!(table.rows.iter().any(|row| row.name == name), "{name} is in no table");
    table.rows = table
        .rows
        .into_iter()
        .enumerate()
        .filter(|(at, row)| *at == 0 || row.name == name)
        .map(|(_, row)| row)
        .collect();
    table.markdown_table()
}

/// The table of arms, of methods, or of scores by number of labels.
fn table(report: &Value) -> String {
    if let Some(curve) = report.get("curve") {
        return serde_json::from_value::<LabelCurve>(curve.clone()).unwrap().markdown_tables() + "\n";
    }
    if report.get("table").is_some() {
        return methods(report).markdown_table() + "\n";
    }
    let mut table = "| Arm | Labels | Updates | Macro F1 | Accuracy | Article |\n\
                     | --- | ---: | ---: | ---: | ---: | ---: |\n"
        .to_owned();
    for arm in report["arms"].as_array().unwrap() {
        let summary = &report["summary"][arm["arm"].as_str().unwrap()];
        let score = |name: &str| {
            let [mean, sd] = ["mean", "sd"].map(|part| summary[name][part].as_f64().unwrap());
            format!("{mean:.3} ± {sd:.3}")
        };
        let (title, labels, updates) = (arm["title"].as_str().unwrap(), &arm["labels"], &arm["updates"]);
        let published = arm["published"].as_f64().map_or("–".to_owned(), |published| format!("{published:.2}"));
        let (macro_f1, accuracy) = (score("macro_f1"), score("accuracy"));
        table.push_str(&format!("| {title} | {labels} | {updates} | {macro_f1} | {accuracy} | {published} |\n"));
    }
    table
}

const TABLE: &str = "\n<!-- table: ";
const VERDICT: &str = "\n<!-- verdict: ";
const METHOD: &str = "\n<!-- method: ";

/// `text` with everything between markers as the results have it, and how many markers there are.
fn written(text: &str) -> (String, usize) {
    let (mut written, mut rest, mut count) = (String::new(), text, 0);
    while let Some((start, marker)) =
        [TABLE, VERDICT, METHOD].into_iter().filter_map(|marker| Some((rest.find(marker)?, marker))).min()
    {
        let body = start + rest[start..].find("-->\n").expect("-->") + 4;
        let end = body + rest[body..].find("<!-- end -->").expect("<!-- end -->");
        let name = rest[start + marker.len()..body - 5].trim();
        written.push_str(&rest[..body]);
        // On lines of their own, a blank one between, so that Markdown does not read the markers into it.
        written.push_str(&match marker {
            METHOD => format!("\n{}\n\n", method(name)),
            VERDICT => format!("\n{}\n\n", report(name)["verdict"].as_str().unwrap()),
            _ => table(&report(name)),
        });
        rest = &rest[end..];
        count += 1;
    }
    (written + rest, count)
}

#[test]
fn numbers_are_those_of_the_results() {
    let mut markers = 0;
    for page in pages() {
        let (expected, count) = written(&page.text);
        markers += count;
        if std::env::var_os("UPDATE_DOCS").is_some() && page.text != expected {
            fs::write(root().join(&page.name), &expected).unwrap();
            continue;
        }
        let message = "holds other numbers than docs/results; write them with: \
                       UPDATE_DOCS=1 cargo test --release -p twinview-cli --test manual";
        assert!(page.text == expected, "{}: {message}", page.name);
    }
    assert!(markers >= 3, "{markers} markers");
}

#[test]
fn reports_say_the_same_in_markdown_and_json() {
    for folder in fs::read_dir(root().join("docs/results")).unwrap() {
        let name = &folder.unwrap().file_name().into_string().unwrap();
        let text = fs::read_to_string(root().join(format!("docs/results/{name}/report.md"))).unwrap();
        let report = report(name);
        assert!(text.contains(&table(&report)), "{name}: {}", table(&report));
        // Of a curve, Markdown has a list of all budgets where JSON has a paragraph.
        let verdict = report["verdict"].as_str().unwrap();
        assert!(text.contains(verdict) || report.get("curve").is_some(), "{name}: {verdict}");
    }
}

/// A score in a sentence, such as 0.832 ± 0.001, stands in a report too.
#[test]
fn scores_in_sentences_are_measured() {
    let reports = ["article", "quick", "labels-vicreg-1000"].map(|name| table(&report(name)));
    for page in pages().iter().filter(|page| ["README.md", "docs/article.md"].contains(&page.name.as_str())) {
        for (place, _) in page
            .text
            .match_indices(" ± ")
            .filter(|(place, _)| page.text[..*place].ends_with(|c: char| c.is_ascii_digit()))
        {
            let score: String = page.text[place - 5..].chars().take(13).collect();
            assert!(reports.iter().any(|report| report.contains(&score)), "{}: {score}", page.name);
        }
    }
}
