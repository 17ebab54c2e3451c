//! Runs side by side on one page.

use std::path::{Path, PathBuf};

use super::page;
use super::run::RunFiles;
use crate::Result;
use crate::report::page::Page;

/// Runs side by side: their curves over one another, settings that differ, their scores.
///
/// # Errors
/// When one of `roots` is no run.
pub fn compare(roots: &[PathBuf]) -> Result<Page> {
    let names = distinct_names(roots);
    let mut all = Page { title: format!("{} runs side by side", roots.len()), ..Page::default() };
    let mut datasets: Vec<String> = Vec::new();
    for (root, name) in roots.iter().zip(&names) {
        let files = RunFiles::read(root)?;
        datasets.extend(files.text("dataset").map(str::to_owned));
        let one = page(root)?;
        let trainings = one.runs.len();
        for mut run in one.runs {
            run.name = if trainings > 1 { format!("{name}: {}", run.name) } else { name.clone() };
            all.runs.push(run);
        }
        for mut table in one.scores {
            table.rows.iter_mut().for_each(|row| row.name = format!("{name}: {}", row.name));
            match all.scores.iter_mut().find(|known| known.title == table.title) {
                Some(known) => known.rows.extend(table.rows),
                None => all.scores.push(table),
            }
        }
        for mut curve in one.label_curves {
            curve.arms.iter_mut().for_each(|arm| arm.name = format!("{name}: {}", arm.name));
            match all.label_curves.iter_mut().find(|known| known.chosen == curve.chosen) {
                Some(known) => known.arms.extend(curve.arms),
                None => all.label_curves.push(curve),
            }
        }
        for mut report in one.reports {
            report.name = if trainings > 1 { format!("{name}: {}", report.name) } else { name.clone() };
            all.reports.push(report);
        }
    }
    datasets.dedup();
    all.subtitle = datasets.join(", ");
    all.verdict = side_by_side(&all);
    Ok(all)
}

/// What runs side by side show, in words.
pub(super) fn side_by_side(page: &Page) -> String {
    let mut sentences = Vec::new();
    let best = page.reports.iter().max_by(|one, other| one.macro_f1.total_cmp(&other.macro_f1));
    if let (Some(best), true) = (best, page.reports.len() > 1) {
        let others = page.reports.iter().filter(|report| report.name != best.name);
        let others: Vec<String> = others.map(|report| format!("{} {:.3}", report.name, report.macro_f1)).collect();
        sentences.push(format!("{} has the highest macro F1, {:.3}; {}.", best.name, best.macro_f1, others.join(", ")));
        if page.reports.iter().any(|report| report.seeds < 2) {
            sentences.push("One training of each cannot tell a small difference from chance.".to_owned());
        }
    }
    let with_settings: Vec<_> = page.runs.iter().filter(|run| !run.settings.is_empty()).collect();
    let mut differing: Vec<&str> = Vec::new();
    for (key, value) in with_settings.iter().flat_map(|run| &run.settings) {
        let differs =
            with_settings.iter().any(|run| !run.settings.iter().any(|found| (&found.0, &found.1) == (key, value)));
        if differs && !differing.contains(&key.as_str()) {
            differing.push(key);
        }
    }
    sentences.push(match differing.as_slice() {
        [] => "All settings are the same.".to_owned(),
        few if few.len() <= 4 => format!("The runs differ in {}.", few.join(", ")),
        many => format!("The runs differ in {}, and {} more settings.", many[..3].join(", "), many.len() - 3),
    });
    sentences.join(" ")
}

/// The shortest ends of the paths that tell them apart.
pub(super) fn distinct_names(roots: &[PathBuf]) -> Vec<String> {
    let whole: Vec<PathBuf> = roots.iter().map(|root| root.canonicalize().unwrap_or_else(|_| root.clone())).collect();
    let end = |path: &Path, parts: usize| {
        let names: Vec<_> = path.iter().collect();
        names[names.len().saturating_sub(parts)..].iter().collect::<PathBuf>().display().to_string()
    };
    let ends = |parts: usize| whole.iter().map(|path| end(path, parts)).collect::<Vec<_>>();
    let most = whole.iter().map(|path| path.iter().count()).max().unwrap_or(1);
    let is_distinct = |names: &[String]| names.iter().enumerate().all(|(place, name)| !names[..place].contains(name));
    (1..=most).map(ends).find(|names| is_distinct(names)).unwrap_or_else(|| ends(1))
}
