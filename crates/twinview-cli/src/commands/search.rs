//! `twinview search`: which images of a dataset an encoder finds most like others.

use std::path::Path;

use twinview::dataset::{Part, Split, read_picture};
use twinview::embedding::{Matrix, extract, knn};
use twinview::report::{csv_table, figures};
use twinview::training::open_weights;
use twinview::{Error, Result};

use super::{data, encoder, print_or_write, select};
use crate::args::SearchArgs;
use crate::output;

/// Prints the images nearest to those asked for, nearest first.
pub(crate) fn search(args: &SearchArgs) -> Result<()> {
    let weights = open_weights(&args.weights)?;
    let (model, _) = encoder(&weights, &args.device.open()?)?;
    let dataset = data::open_for(&args.data, &weights)?;
    let part = args.split.map_or(Part::Pool, Part::from);
    let (split, mut classes) = dataset.part(part)?;
    let name = select::names(&dataset, part);
    let names: Vec<String> = (0..split.len()).map(name).collect();
    let folder = args.data.data.as_deref().unwrap_or(Path::new(""));
    let places: Vec<Option<usize>> = args.images.iter().map(|image| place(image, &names, folder)).collect();

    let available = split.len() - usize::from(places.iter().any(Option::is_some));
    if args.count == 0 || args.count > available {
        return Err(Error::Config(format!(
            "--count {}: expected 1 to {available}, the images to choose from",
            args.count
        )));
    }
    let mut pixels = Vec::new();
    for (image, place) in args.images.iter().zip(&places) {
        match place {
            Some(place) => pixels.extend_from_slice(split.images.image(*place)),
            None if Path::new(image).is_file() => {
                pixels.extend(read_picture(Path::new(image), &split.images)?.pixels());
            }
            None => {
                let (first, last) = (&names[0], &names[names.len() - 1]);
                let message = format!(
                    "--image {image}: neither an image of the split, such as {first} or {last}, nor the file of a picture"
                );
                return Err(Error::Config(message));
            }
        }
    }
    let asked = split.images.of_same_form(pixels);
    let [features, asked_features] = [&split.images, &asked].map(|images| extract(&model.backbone, images));
    let (features, asked_features) = (features?, asked_features?);
    let [features, asked_features] = [&features, &asked_features].map(|of| Matrix::new(of.values(), of.dimensions()));
    // One more, as an image of the split finds itself.
    let nearest = knn(features?, asked_features?, (args.count + 1).min(split.len()), args.metric.into())?;

    let label = |at: usize| dataset.class_names.get(usize::from(split.labels[at])).cloned().unwrap_or_default();
    let (mut rows, mut shown, mut labels) = (Vec::new(), Vec::new(), Vec::new());
    for (at, ((image, place), (found, distances))) in args.images.iter().zip(&places).zip(nearest.rows()).enumerate() {
        shown.extend_from_slice(asked.image(at));
        labels.push(classes.len() as u8);
        let others =
            found.iter().map(|&found| found as usize).zip(distances).filter(|(found, _)| Some(*found) != *place);
        for (rank, (found, distance)) in others.take(args.count).enumerate() {
            rows.push([
                image.clone(),
                (rank + 1).to_string(),
                names[found].clone(),
                label(found),
                format!("{distance:.4}"),
            ]);
            shown.extend_from_slice(split.images.image(found));
            labels.push(split.labels[found]);
        }
    }
    if let Some(file) = &args.figure {
        classes.push("asked for".to_owned());
        let shown = Split { images: split.images.of_same_form(shown), labels };
        figures::image_grid(&shown, &classes, args.images.len(), args.count + 1)?.save(file)?;
        output::note(file.display());
    }
    print_or_write(&csv_table(&["image", "rank", "file", "label", "distance"], rows)?, args.out.as_deref())
}

/// Which of the images called `names` is meant by `image`, if any: by its name, or by its file below `folder`.
fn place(image: &str, names: &[String], folder: &Path) -> Option<usize> {
    let below = Path::new(image).strip_prefix(folder).ok();
    names.iter().position(|name| name == image || below == Some(Path::new(name)))
}
