//! `twinview select`: which images to label first, and the use of what it chose.

use std::collections::{BTreeSet, HashMap};
use std::path::Path;

use twinview::dataset::{Dataset, Part};
use twinview::embedding::{Matrix, extract, most_typical};
use twinview::report::csv_table;
use twinview::training::open_weights;
use twinview::{Error, Result};

use super::{data, encoder, print_or_write};
use crate::args::SelectArgs;
use crate::output;

/// Prints the images to label first, as a table whose column for labels is empty.
pub(crate) fn select(args: &SelectArgs) -> Result<()> {
    let weights = open_weights(&args.weights)?;
    let (model, _) = encoder(&weights, &args.device.open()?)?;
    let dataset = data::open_for(&args.data, &weights)?;
    let unlabelled = dataset.pool.len() - dataset.train.len();
    let labelled: Vec<usize> = match unlabelled {
        0 => Vec::new(),
        _ => (0..dataset.train.len()).collect(),
    };
    let features = extract(&model.backbone, &dataset.pool)?;
    output::note(match unlabelled {
        0 => format!("Choosing {} of {} images as if none had a label, since all have", args.count, dataset.pool.len()),
        _ => format!("Choosing {} of {unlabelled} images without a label", args.count),
    });
    let features = Matrix::new(features.values(), features.dimensions())?;
    let chosen = most_typical(features, &labelled, args.count, args.seed)?;
    let name = names(&dataset, Part::Pool);
    let rows = chosen
        .iter()
        .map(|one| [name(one.index), String::new(), one.stands_for.to_string(), format!("{:.4}", one.typicality)]);
    print_or_write(&csv_table(&["file", "label", "stands_for", "typicality"], rows)?, args.out.as_deref())
}

/// What tables call the images of `part`: by their files, or else by their numbers.
pub(super) fn names(dataset: &Dataset, part: Part) -> impl Fn(usize) -> String {
    let files = dataset.files_of(part);
    move |index| files.map_or_else(|| index.to_string(), |files| files[index].display().to_string())
}

/// The places of the training images that the column `file` of the table `path` names.
///
/// # Errors
/// Names the line of an image that has no label, or stands there twice.
pub(super) fn chosen_in(path: &Path, dataset: &Dataset) -> Result<Vec<usize>> {
    let wrong = |error: csv::Error| Error::format(path, format!("{error}; expected a table of twinview select"));
    let mut reader = csv::ReaderBuilder::new().trim(csv::Trim::All).from_path(path).map_err(wrong)?;
    let header = reader.headers().map_err(wrong)?.clone();
    let Some(column) = header.iter().position(|name| name.trim_start_matches('\u{feff}') == "file") else {
        let found = header.iter().collect::<Vec<_>>().join(",");
        return Err(Error::format(path, format!("its first line is {found}; expected a column called file")));
    };
    let name = names(dataset, Part::Train);
    let places: HashMap<String, usize> = (0..dataset.train.len()).map(|index| (name(index), index)).collect();
    let (mut chosen, mut seen) = (Vec::new(), BTreeSet::new());
    for record in reader.records() {
        let record = record.map_err(wrong)?;
        let line = record.position().map_or(0, csv::Position::line);
        let file = record.get(column).unwrap_or_default();
        let place = places.get(file).copied().ok_or_else(|| {
            let message =
                format!("line {line}: {file} is no training image with a label; label it, or remove the line");
            Error::format(path, message)
        })?;
        if !seen.insert(place) {
            return Err(Error::format(path, format!("line {line}: {file} stands there twice; remove one")));
        }
        chosen.push(place);
    }
    match chosen.is_empty() {
        true => Err(Error::format(path, "names no image; choose some with twinview select")),
        false => Ok(chosen),
    }
}
