//! Training without labels.

use serde::{Deserialize, Serialize};

use super::fit::{Epoch, Job, Outcome, Sight, Task, fit, prefetched};
use super::plan::is_default;
use super::supervised::{labels_of, to_tensor};
use super::watch::{Watch, Watcher};
use super::{Context, Device, Plan, RunDir, shown};
use crate::augment::{Augmentation, ViewBatch, ViewMaker};
use crate::backbone::{Architecture, BackboneConfig, state_dict};
use crate::dataset::Images;
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
    /// Refuses settings that cannot train on `images`, of which `labelled` have a label.
    ///
    /// # Errors
    /// Names the setting, its value and what it may be.
    pub fn validate_for(&self, images: &Images, labelled: usize) -> Result<()> {
        self.plan.validate(images.len())?;
        self.method.validate()?;
        self.backbone.validate_for(images.height(), images.width())?;
        self.watch.validate_for(labelled)?;
        if self.method.needs_labels() && labelled < images.len() {
            let (title, missing) = (self.method.title(), images.len() - labelled);
            return Err(Error::Config(format!(
                "{title} learns from the label of every image, and {missing} of these {} have none; choose another method",
                images.len()
            )));
        }
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

/// Trains a network on views of `images`: views, forward, loss, backward, update. The first images have the `labels`, the rest
/// have none. Methods that learn from labels ([`Method::needs_labels`](crate::method::Method::needs_labels)) read them, and no
/// other; where [`Watch::labels`] says so, the watch does.
///
/// # Errors
/// For settings that cannot train on these images, for a file that cannot be written, and for a loss that is no number.
pub fn pretrain(
    settings: &Pretraining,
    label: &str,
    images: &Images,
    labels: &[u8],
    run: &RunDir,
    context: &mut Context<'_>,
) -> Result<Network> {
    let plan = &settings.plan;
    settings.validate_for(images, labels.len())?;
    let maker = settings.view_maker(images)?;
    let count = maker.views();
    let device = context.device.clone();
    let network = settings.network(images, &device);
    let opening = shown::views(&maker, images, context)?;
    let open = |schedule| prefetched(images, maker, schedule);
    let watcher = Watcher::new(settings, images, labels)?;
    let task = Contrast { settings, images, labels, views: count, device, watcher };
    let job = Job { label, count: images.len(), plan, run, opening: &opening };
    let network = fit(network, job, context, open, task)?;
    run.finish(&state_dict(&network))?;
    Ok(network)
}

/// A method at work.
struct Contrast<'a> {
    settings: &'a Pretraining,
    images: &'a Images,
    labels: &'a [u8],
    views: usize,
    device: Device,
    watcher: Watcher,
}

impl Task<Network, ViewBatch> for Contrast<'_> {
    fn step(&self, network: &Network, views: ViewBatch, progress: Progress) -> Outcome {
        let Self { settings, device, .. } = self;
        let labels = settings.method.needs_labels().then(|| labels_of(self.labels, &views.batch.indices, device));
        let pixels = to_tensor(views.pixels, self.images, device);
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
