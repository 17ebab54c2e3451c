//! Images, and what models make of them.

use std::path::PathBuf;

use crate::augment::Batch;
use crate::dataset::{Images, Split};
use crate::embedding::{Matrix, Umap, extract, knn_within};
use crate::method::{Classifier, ClassifierConfig};
use crate::report::page::{Atlas, Map, Predictions, Samples, Views, base64};
use crate::training::{Device, Pretraining, load_backbone, load_weights, open_weights, predict};
use crate::weights::{Model, Weights, identify};
use crate::{Error, Result};

/// Neighbours of each image.
const NEIGHBOURS: usize = 9;
/// Images a row of the atlas.
const COLUMNS: usize = 100;
/// Pictures take at most this many characters, so that the page stays small; of larger ones fewer are shown.
const ROOM: usize = 9_000_000;
/// Images in the grid of views.
const VIEWED: usize = 10;

/// Weights that a page shows something of.
pub(super) struct Shown {
    pub(super) name: String,
    /// A file or a run directory.
    pub(super) path: PathBuf,
    /// Whether its features are drawn as a map.
    pub(super) mapped: bool,
}

/// `count` of the images of `split`, evenly spread over it.
pub(super) fn spread(split: &Split, count: usize) -> Split {
    if split.len() <= count {
        return split.clone();
    }
    split.select(&(0..count).map(|place| place * split.len() / count).collect::<Vec<_>>())
}

/// A model at hand: the classifier, or the encoder with a head that means nothing.
pub(super) struct Opened {
    pub(super) model: Classifier,
    /// The classes that its head tells apart, where it has one.
    pub(super) classes: Option<usize>,
}

pub(super) fn open(weights: &Weights, device: &Device) -> Result<Opened> {
    let kind = identify(weights)?;
    let backbone = kind.backbone;
    if let Model::Classifier { features, hidden, classes } = kind.model {
        let config = ClassifierConfig { backbone, features, hidden, classes };
        return Ok(Opened { model: load_weights(config.init(device), weights)?.0, classes: Some(classes) });
    }
    let config = ClassifierConfig { backbone, ..ClassifierConfig::article() };
    Ok(Opened { model: load_backbone(config.init(device), weights)?.0, classes: None })
}

/// Small pictures of `split`, or of as many of its images as there is room for.
fn pictures(mut split: Split) -> Result<(Split, Atlas)> {
    loop {
        let atlas = Atlas::new(&split.images, COLUMNS)?;
        if atlas.png.len() <= ROOM || split.len() < 2 {
            return Ok((split, atlas));
        }
        split = spread(&split, split.len() / 2);
    }
}

/// The images of `split` with the predictions and maps of `shown`; a classifier of other than `classes` classes predicts
/// nothing.
pub(super) fn samples(split: Split, shown: &[Shown], classes: usize, device: &Device) -> Result<Samples> {
    let (split, atlas) = pictures(split)?;
    let (mut predictions, mut maps) = (Vec::new(), Vec::new());
    for Shown { name, path, mapped } in shown {
        let Opened { model, classes: told } = open(&open_weights(path)?, device)?;
        if told == Some(classes) {
            predictions.push(Predictions { name: name.clone(), labels: base64(&predict(&model, &split.images)?) });
        }
        if *mapped {
            maps.extend(map(name, &model, &split.images)?);
        }
    }
    Ok(Samples { count: split.len(), atlas, labels: base64(&split.labels), predictions, maps })
}

/// Where the encoder of `model` puts `images`, and the nearest ones of each; `None` where they are too few for a map.
fn map(name: &str, model: &Classifier, images: &Images) -> Result<Option<Map>> {
    let k = NEIGHBOURS.min(images.len().saturating_sub(2));
    if k == 0 {
        return Ok(None);
    }
    let features = extract(&model.backbone, images)?;
    let features = Matrix::new(features.values(), features.dimensions())?;
    let umap = Umap { n_neighbors: k + 1, ..Umap::default() };
    let neighbours = knn_within(features, k, umap.metric)?;
    let in_dimensions = |n_components| Umap { n_components, ..umap.clone() }.fit_neighbours(features, &neighbours);
    Ok(Some(Map::new(name, &in_dimensions(2)?, &in_dimensions(3)?, neighbours.indices(), k)))
}

/// The first of `images`, and the views that the first batch of a pretraining makes of them.
pub(super) fn views(settings: &Pretraining, images: &Images) -> Result<Views> {
    let batch = Batch { epoch: 0, number: 0, indices: (0..images.len().min(VIEWED)).collect() };
    let columns = batch.indices.len();
    let mut pixels = Vec::new();
    settings.view_maker(images)?.make(images, &batch, &mut pixels)?;
    let mut bytes = images.select(&batch.indices).pixels().to_vec();
    bytes.extend(pixels.iter().map(|value| (value * 255.0).round() as u8));
    if columns == 0 || !bytes.len().is_multiple_of(images.image_len()) {
        return Err(Error::Config("there are no views of these images to show".into()));
    }
    let grid = images.of_same_form(bytes);
    Ok(Views { rows: grid.len() / columns, atlas: Atlas::new(&grid, columns)? })
}
