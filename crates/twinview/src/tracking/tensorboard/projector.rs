//! The embedding projector: a table of features, one of labels, and all images in one picture.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::{Path, PathBuf};

use crate::dataset::Images;
use crate::tracking::Picture;
use crate::{Result, files};

/// The files of the projector in a folder of event files.
pub(super) struct Projector {
    folder: PathBuf,
    /// The configuration of each embedding, by its name.
    embeddings: BTreeMap<String, String>,
}

impl Projector {
    pub(super) fn new(folder: &Path) -> Self {
        Self { folder: folder.to_path_buf(), embeddings: BTreeMap::new() }
    }

    /// Writes the embedding `name`, in the place of one of the same name.
    pub(super) fn write(&mut self, name: &str, features: &[f32], labels: &[u8], images: &Images) -> Result<()> {
        let dimensions = features.len() / images.len().max(1);
        let mut table = String::with_capacity(features.len() * 10);
        for row in features.chunks_exact(dimensions.max(1)) {
            for (column, value) in row.iter().enumerate() {
                let _ = write!(table, "{}{value}", if column > 0 { "\t" } else { "" });
            }
            table.push('\n');
        }
        let classes: String = labels.iter().map(|label| format!("{label}\n")).collect();
        // The projector wants as many rows as columns.
        let sprite =
            Picture::grid(images, images.len().isqrt() + usize::from(images.len().isqrt().pow(2) < images.len()))?;
        let file = |kind: &str| format!("{name}-{kind}");
        files::write_atomic(self.folder.join(file("features.tsv")), table.as_bytes())?;
        files::write_atomic(self.folder.join(file("classes.tsv")), classes.as_bytes())?;
        files::write_atomic(self.folder.join(file("sprite.png")), &sprite.png)?;
        let configuration = format!(
            "embeddings {{\n  tensor_name: {name:?}\n  tensor_path: {:?}\n  metadata_path: {:?}\n  tensor_shape: {}\n  \
             tensor_shape: {dimensions}\n  sprite {{\n    image_path: {:?}\n    single_image_dim: {}\n    \
             single_image_dim: {}\n  }}\n}}\n",
            file("features.tsv"),
            file("classes.tsv"),
            images.len(),
            file("sprite.png"),
            images.width(),
            images.height(),
        );
        self.embeddings.insert(name.to_owned(), configuration);
        let all: String = self.embeddings.values().map(String::as_str).collect();
        files::write_atomic(self.folder.join("projector_config.pbtxt"), all.as_bytes())
    }
}
