//! What a training shows to those who look on, besides numbers.

use super::Context;
use crate::augment::{Batch, ViewMaker};
use crate::backbone::{TorchNames, state_dict};
use crate::dataset::Images;
use crate::state::Values;
use crate::tracking::{Entry, Histogram, Picture};
use crate::{Error, Result};

/// Images in the grid of views.
const SHOWN: usize = 8;

/// The first images, and below each the views that the first batch would have of it; nothing where nobody looks.
pub(super) fn views(maker: &ViewMaker, images: &Images, context: &Context<'_>) -> Result<Vec<Entry>> {
    if context.tracking.sinks.is_empty() {
        return Ok(Vec::new());
    }
    let batch = Batch { epoch: 0, number: 0, indices: (0..images.len().min(SHOWN)).collect() };
    let columns = batch.indices.len();
    let mut pixels = Vec::new();
    maker.make(images, &batch, &mut pixels)?;
    let mut bytes = images.select(&batch.indices).pixels().to_vec();
    bytes.extend(pixels.iter().map(|value| (value * 255.0).round() as u8));
    if columns == 0 || !bytes.len().is_multiple_of(images.image_len()) {
        return Err(Error::Config("there are no views of these images to show".into()));
    }
    let grid = images.of_same_form(bytes);
    Ok(vec![Entry::Picture { name: "views".into(), picture: Picture::grid(&grid, columns)? }])
}

/// A histogram of every parameter and statistic of `model`.
pub(super) fn weights<M: TorchNames>(model: &M) -> Vec<Entry> {
    let histogram = |(name, array): (String, crate::state::Array)| {
        let Values::F32(values) = array.values else { return None };
        Some(Entry::Histogram { name: format!("weights/{name}"), histogram: Histogram::of(&values)? })
    };
    state_dict(model).into_iter().filter_map(histogram).collect()
}
