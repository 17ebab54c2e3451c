//! Ways to learn: with labels ([`Classifier`]), and from views of each image, one [`Method`] a file.
//!
//! A method says which heads it wants around an encoder ([`Heads`]) and turns views into a loss; the [`Network`] with
//! those heads is the same type for all, so that training, checkpoints and weights know no method by name.
//!
//! ```
//! use burn::tensor::{Distribution, Tensor};
//! use twinview::dataset::Images;
//! use twinview::experiment::{merged, method_recipe};
//! use twinview::method::Views;
//! use twinview::optim::Progress;
//! use twinview::training::{Pretraining, cpu};
//!
//! let images = Images::new(1, 28, 28, vec![0; 4 * 28 * 28]);
//! let settings: Pretraining = merged(method_recipe("simclr").unwrap_or_default(), None, &[])?;
//! let network = settings.network(&images, &cpu());
//! // Two views of each of the four images.
//! let pixels = Tensor::random([2 * 4, 1, 28, 28], Distribution::Uniform(0.0, 1.0), &cpu());
//! let views = Views { pixels, count: 2, labels: None };
//! let step = settings.method.step(&network, views, Progress { step: 0, steps: 1, steps_per_epoch: 1 });
//! assert!(step.loss.into_scalar::<f32>() > 0.0);
//! # Ok::<(), twinview::Error>(())
//! ```

mod barlow_twins;
mod byol;
mod classifier;
mod dcl;
mod dino;
mod fastsiam;
pub mod loss;
mod mlp;
mod moco;
mod network;
mod nnclr;
mod simclr;
mod simsiam;
mod supcon;
mod swav;
#[cfg(test)]
mod tests;
mod vicreg;

pub use barlow_twins::BarlowTwins;
pub use byol::Byol;
pub use classifier::{Classifier, ClassifierConfig, Head, MlpHead, cross_entropy};
pub use dcl::Dcl;
pub use dino::Dino;
pub use fastsiam::FastSiam;
pub use mlp::{Activation, Mlp, MlpConfig, MlpLayer};
pub use moco::{Moco, MocoV3};
pub use network::{Branch, Heads, Network};
pub use nnclr::Nnclr;
pub use simclr::SimClr;
pub use simsiam::SimSiam;
pub use supcon::SupCon;
pub use swav::Swav;
pub use twinview_kernels::negative_cosine_similarity;
pub use vicreg::VicReg;

use burn::tensor::{Int, Tensor};
use serde::{Deserialize, Serialize};

use crate::optim::Progress;
use crate::{Error, Result};

/// A self-supervised method: the heads it wants, and how it turns views into a loss.
pub trait Method {
    /// What it is called.
    fn title(&self) -> &'static str;

    /// Refuses settings that cannot train.
    ///
    /// # Errors
    /// Names the setting, its value and what it may be.
    fn validate(&self) -> Result<()> {
        Ok(())
    }

    /// What it puts around the encoder.
    fn heads(&self) -> Heads;

    /// Views of an image that it contrasts at full strength; local ones may come in addition.
    fn views(&self) -> usize {
        2
    }

    /// Whether it learns from labels too.
    fn needs_labels(&self) -> bool {
        false
    }

    /// The loss of one batch.
    fn step(&self, network: &Network, views: Views, progress: Progress) -> Step;

    /// What share of itself the target keeps when it moves after an update; used where [`Heads::target`] is set.
    fn momentum(&self, _progress: Progress) -> f64 {
        1.0
    }

    /// What becomes of the network after the optimiser has moved it.
    fn after_update(&self, network: Network, progress: Progress) -> Network {
        let momentum = self.momentum(progress);
        if network.target.is_some() { network.with_target_moved(momentum) } else { network }
    }
}

/// The views of one batch.
#[derive(Clone, Debug)]
pub struct Views {
    /// `[count * batch, channels, height, width]` in 0..1: all first views, then all second views in the same
    /// order, and so on.
    pub pixels: Tensor<4>,
    /// Views of each image.
    pub count: usize,
    /// Classes of the images, `[batch]`, where the method needs them.
    pub labels: Option<Tensor<1, Int>>,
}

impl Views {
    /// Images.
    fn batch(&self) -> usize {
        self.pixels.dims()[0] / self.count
    }

    /// The views from number `start` on, `count` of them.
    fn range(&self, start: usize, count: usize) -> Tensor<4> {
        let batch = self.batch();
        self.pixels.clone().narrow(0, start * batch, count * batch)
    }
}

/// What a method makes of one batch.
pub struct Step {
    /// The loss to go down, `[1]`.
    pub loss: Tensor<1>,
    /// What is watched for collapse.
    pub output: Watched,
}

/// Gives, when somebody looks, the representation of the first two views, `[2 * batch, dimensions]`, detached.
pub type Watched = Box<dyn FnOnce() -> Tensor<2>>;

/// A method and its settings.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "name", rename_all = "kebab-case")]
#[allow(missing_docs, reason = "each is described by the type it holds")]
pub enum MethodConfig {
    Simsiam(SimSiam),
    Fastsiam(FastSiam),
    Simclr(SimClr),
    Dcl(Dcl),
    Moco(Moco),
    Mocov3(MocoV3),
    Byol(Byol),
    BarlowTwins(BarlowTwins),
    Vicreg(VicReg),
    Nnclr(Nnclr),
    Swav(Swav),
    Dino(Dino),
    Supcon(SupCon),
}

impl MethodConfig {
    /// Its name in recipes.
    pub fn name(&self) -> String {
        let settings = toml::Table::try_from(self).unwrap_or_default();
        settings.get("name").and_then(toml::Value::as_str).unwrap_or_default().to_owned()
    }
}

impl std::ops::Deref for MethodConfig {
    type Target = dyn Method;

    fn deref(&self) -> &Self::Target {
        match self {
            Self::Simsiam(method) => method,
            Self::Fastsiam(method) => method,
            Self::Simclr(method) => method,
            Self::Dcl(method) => method,
            Self::Moco(method) => method,
            Self::Mocov3(method) => method,
            Self::Byol(method) => method,
            Self::BarlowTwins(method) => method,
            Self::Vicreg(method) => method,
            Self::Nnclr(method) => method,
            Self::Swav(method) => method,
            Self::Dino(method) => method,
            Self::Supcon(method) => method,
        }
    }
}

impl Default for MethodConfig {
    /// SimSiam in the article's form.
    fn default() -> Self {
        Self::Simsiam(SimSiam::default())
    }
}

/// The views of `rows`, `[views * batch, dimensions]`, one by one.
fn each_view(rows: Tensor<2>, views: usize) -> Vec<Tensor<2>> {
    rows.chunk(views, 0)
}

/// The two views of `rows`, `[2 * batch, dimensions]`.
fn pair(rows: Tensor<2>) -> [Tensor<2>; 2] {
    let batch = rows.dims()[0] / 2;
    [0, batch].map(|start| rows.clone().narrow(0, start, batch))
}

/// The first two views of `rows`, watched for collapse.
fn watched(rows: &Tensor<2>, views: usize) -> Watched {
    let rows = rows.clone().detach();
    Box::new(move || first_two(rows, views))
}

/// The first two of the `views` of `rows`.
fn first_two(rows: Tensor<2>, views: usize) -> Tensor<2> {
    let batch = rows.dims()[0] / views;
    rows.narrow(0, 0, views.min(2) * batch)
}

/// Settings that must be above 0, by name.
fn positive<const N: usize>(settings: [(&str, f64); N]) -> Result<()> {
    match settings.into_iter().find(|(_, value)| !(*value > 0.0 && value.is_finite())) {
        Some((name, value)) => {
            Err(Error::Config(format!("method.{name} = {value} cannot train; it must be a positive number")))
        }
        None => Ok(()),
    }
}

/// Sizes that must be at least 1, by name.
fn at_least_one<const N: usize>(sizes: [(&str, &[usize]); N]) -> Result<()> {
    match sizes.into_iter().find(|(_, sizes)| sizes.is_empty() || sizes.contains(&0)) {
        Some((name, sizes)) => {
            Err(Error::Config(format!("method.{name} = {sizes:?} cannot train; expected sizes of at least 1")))
        }
        None => Ok(()),
    }
}

/// A share that a target keeps of itself, from 0 to 1.
fn share(name: &str, value: f64) -> Result<()> {
    if (0.0..=1.0).contains(&value) {
        return Ok(());
    }
    Err(Error::Config(format!("method.{name} = {value} is no share; it must be from 0 to 1")))
}
