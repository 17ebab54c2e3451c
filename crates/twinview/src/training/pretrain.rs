//! Training without labels.

use serde::{Deserialize, Serialize};

use super::fit::{Epoch, Job, Outcome, Sight, Task, fit, prefetched};
use super::plan::is_default;
use super::supervised::{labels_of, to_tensor};
use super::watch::{Watch, Watcher};
use super::{Context, Device, Plan, RunDir, shown};
use crate::augment::{Augmentation, ViewBatch, ViewMaker};
use crate::backbone::{Architecture, BackboneConfig, state_dict};
use crate::dataset::{Images, Split};
use crate::method::{MethodConfig, Network, Step, Views};
use crate::optim::Progress;
use crate::{Error, Result};

/// How an encoder is trained without labels. Equal settings on equal images give bit-identical weights on a CPU.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Pretraining {
    /// The training itself; its settings stand beside `method`, not in a table of their own.
    #[serde(flatten)]
    pub plan: Plan,
    /// The method; SimSiam in the article's form where absent.
    #[serde(default)]
    pub method: MethodConfig,
    /// The encoder; the article's where absent.
    #[serde(default, skip_serializing_if = "is_default")]
    pub backbone: Architecture,
    /// How the training is watched.
    #[serde(default, skip_serializing_if = "is_default")]
    pub watch: Watch,
    /// More views of each image, made another way, for methods that learn from small crops too.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub local_views: Option<LocalViews>,
}

/// Views besides the ones that are contrasted at full strength.
///
/// Papers make them smaller, to save time. Here they have the size of the others, because the article's encoder gives as
/// many features as the image has places.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LocalViews {
    /// How many of each image.
    pub count: usize,
    /// How they are made.
    pub augmentation: Augmentation,
}

impl Pretraining {
    /// Refuses settings that cannot train on `images`.
    ///
    /// # Errors
    /// Names the setting, its value and what it may be.
    pub fn validate_for(&self, images: &Images) -> Result<()> {
        self.plan.validate(images.len())?;
        self.method.validate()?;
        self.backbone.validate_for(images.height(), images.width())?;
        self.watch.validate_for(images.len())?;
        if self.local_views.is_some() && !matches!(self.method, MethodConfig::Swav(_) | MethodConfig::Dino(_)) {
            let title = self.method.title();
            return Err(Error::Config(format!("local_views: {title} has no use for them; swav and dino do")));
        }
        self.view_maker(images).map(drop)
    }

    /// What makes the views of `images`.
    ///
    /// # Errors
    /// As [`ViewMaker::new`].
    pub fn view_maker(&self, images: &Images) -> Result<ViewMaker> {
        let Plan { augmentation, seed, .. } = &self.plan;
        let maker = ViewMaker::new(augmentation, images, self.method.views(), *seed)?;
        match &self.local_views {
            Some(local) => maker.and(&local.augmentation, local.count),
            None => Ok(maker),
        }
    }

    /// The same settings under another seed.
    pub fn with_seed(self, seed: u64) -> Self {
        Self { plan: self.plan.with_seed(seed), ..self }
    }

    /// A network of random weights for `images`.
    pub fn network(&self, images: &Images, device: &Device) -> Network {
        let backbone = BackboneConfig { in_channels: images.channels(), architecture: self.backbone.clone() };
        let features = backbone.features(images.height(), images.width());
        Network::new(&backbone, features, &self.method.heads(), self.plan.seed, device)
    }
}

/// Trains a network on views of the images of `split`: views, forward, loss, backward, update. Labels are read by methods
/// that learn from them ([`Method::needs_labels`](crate::method::Method::needs_labels)), and by no other.
///
/// # Errors
/// For settings that cannot train on these images, for a file that cannot be written, and for a loss that is no number.
pub fn pretrain(
    settings: &Pretraining,
    label: &str,
    split: &Split,
    run: &RunDir,
    context: &mut Context<'_>,
) -> Result<Network> {
    let (plan, images) = (&settings.plan, &split.images);
    settings.validate_for(images)?;
    let maker = settings.view_maker(images)?;
    let count = maker.views();
    let device = context.device.clone();
    let network = settings.network(images, &device);
    let opening = shown::views(&maker, images, context)?;
    let open = |schedule| prefetched(images, maker, schedule);
    let task = Contrast { settings, split, views: count, device, watcher: Watcher::new(settings, split)? };
    let job = Job { label, count: images.len(), plan, run, opening: &opening };
    let network = fit(network, job, context, open, task)?;
    run.finish(&state_dict(&network))?;
    Ok(network)
}

/// A method at work.
struct Contrast<'a> {
    settings: &'a Pretraining,
    split: &'a Split,
    views: usize,
    device: Device,
    watcher: Watcher,
}

impl Task<Network, ViewBatch> for Contrast<'_> {
    fn step(&self, network: &Network, views: ViewBatch, progress: Progress) -> Outcome {
        let Self { settings, split, device, .. } = self;
        let labels = settings.method.needs_labels().then(|| labels_of(&split.labels, &views.batch.indices, device));
        let pixels = to_tensor(views.pixels, &split.images, device);
        let Step { loss, output } =
            settings.method.step(network, Views { pixels, count: self.views, labels }, progress);
        Outcome { loss, watched: Some(output) }
    }

    fn after(&self, network: Network, progress: Progress) -> Network {
        self.settings.method.after_update(network, progress)
    }

    fn watch(&mut self, network: &Network, epoch: Epoch) -> Result<Sight> {
        self.watcher.look(&network.online.backbone, epoch)
    }
}
