//! The arms of the comparison: one way each to come by a classifier.

use std::path::Path;

use burn::tensor::Device;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::Recipe;
use super::stored::{Stored, encoder};
use crate::Result;
use crate::backbone::initialise;
use crate::dataset::{Dataset, Split, first_k};
use crate::evaluation::ClassificationReport;
use crate::method::{Classifier, ClassifierConfig};
use crate::training::{
    Context, HeadPlan, Origin, Plan, RunDir, Statistics, calibrate, load_backbone, load_weights, open_weights, predict,
    train_classifier, train_head,
};
use crate::weights::Weights;

/// One way to come by a classifier.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Arm {
    /// All labels, from random weights.
    Supervised,
    /// Few labels, from random weights.
    Scratch,
    /// Few labels, from random weights, by as many updates as the frozen arms' heads get.
    ScratchEqualUpdates,
    /// Few labels for a head on a frozen encoder of random weights.
    RandomFrozen,
    /// Few labels for a head on a frozen encoder that SimSiam trained on all images.
    SimSiamFrozen,
}

impl Arm {
    /// Every arm, in the order of reports.
    pub const ALL: [Self; 5] =
        [Self::Supervised, Self::Scratch, Self::ScratchEqualUpdates, Self::RandomFrozen, Self::SimSiamFrozen];

    /// Its folder.
    pub fn name(self) -> &'static str {
        match self {
            Self::Supervised => "supervised",
            Self::Scratch => "scratch",
            Self::ScratchEqualUpdates => "scratch-equal-updates",
            Self::RandomFrozen => "random-frozen",
            Self::SimSiamFrozen => "simsiam-frozen",
        }
    }

    /// What it is called in tables.
    pub fn title(self) -> &'static str {
        match self {
            Self::Supervised => "Supervised, all labels",
            Self::Scratch => "Scratch",
            Self::ScratchEqualUpdates => "Scratch, equal updates",
            Self::RandomFrozen => "Random frozen encoder + head",
            Self::SimSiamFrozen => "SimSiam frozen encoder + head",
        }
    }

    /// The macro F1 that the article gives for it: for Fashion-MNIST, with 1,000 labels where they are few.
    pub fn published(self, recipe: &Recipe) -> Option<f64> {
        let is_articles = recipe.dataset == "fashion-mnist" && recipe.labels == 1000 && recipe.holdout == 0;
        match self {
            _ if !is_articles => None,
            Self::Supervised => Some(0.90),
            Self::Scratch => Some(0.64),
            Self::SimSiamFrozen => Some(0.79),
            Self::ScratchEqualUpdates | Self::RandomFrozen => None,
        }
    }

    /// How its classifier is trained.
    fn plan(self, recipe: &Recipe) -> &Plan {
        match self {
            Self::Supervised => &recipe.supervised,
            Self::Scratch => &recipe.scratch,
            Self::ScratchEqualUpdates | Self::RandomFrozen | Self::SimSiamFrozen => &recipe.head.plan,
        }
    }

    /// Labels it learns from.
    pub fn labels(self, recipe: &Recipe, dataset: &Dataset) -> usize {
        if self == Self::Supervised { dataset.train.len() } else { recipe.labels }
    }

    /// Updates of its classifier.
    pub fn updates(self, recipe: &Recipe, dataset: &Dataset) -> u64 {
        let plan = self.plan(recipe);
        plan.epochs * plan.steps_per_epoch(self.labels(recipe, dataset))
    }

    /// The folder of its training `index` in the experiment at `root`.
    pub(super) fn folder(self, root: &Path, index: u64) -> std::path::PathBuf {
        root.join("arms").join(self.name()).join(format!("seed-{index}"))
    }
}

/// What one training of one arm scored on the test images.
#[derive(Clone, Debug)]
pub(super) struct Score {
    /// As scikit-learn's `classification_report(output_dict=True)`.
    pub(super) report: Value,
    /// Unweighted mean of the classes' F1.
    pub(super) macro_f1: f64,
    /// Share of right predictions.
    pub(super) accuracy: f64,
}

/// An experiment under way.
pub(super) struct Experiment<'a> {
    pub(super) root: &'a Path,
    pub(super) recipe: &'a Recipe,
    pub(super) dataset: &'a Dataset,
    pub(super) origin: &'a Origin,
    pub(super) few: Split,
}

impl<'a> Experiment<'a> {
    pub(super) fn new(root: &'a Path, recipe: &'a Recipe, dataset: &'a Dataset, origin: &'a Origin) -> Result<Self> {
        let few = dataset.train.select(&first_k(&dataset.train, recipe.labels)?);
        Ok(Self { root, recipe, dataset, origin, few })
    }

    /// The sizes of a classifier for this dataset.
    pub(super) fn classifier(&self) -> ClassifierConfig {
        ClassifierConfig::for_images(
            &self.dataset.train.images,
            self.dataset.class_names.len(),
            &self.recipe.pretraining.backbone,
        )
    }

    /// SimSiam's encoder number `index`, trained if it is not yet.
    pub(super) fn encoder(&self, index: u64, context: &mut Context<'_>) -> Result<Weights> {
        let settings = self.recipe.pretraining.clone();
        let seed = settings.plan.seed + index;
        let folder = self.root.join("pretraining").join(format!("seed-{index}"));
        encoder(&folder, &settings.with_seed(seed), self.dataset, self.origin, context)
    }

    /// The score of training `index` of `arm`, trained if it is not yet.
    pub(super) fn score(&self, arm: Arm, index: u64, context: &mut Context<'_>) -> Result<Score> {
        let file = arm.folder(self.root, index).join("result.json");
        let result = Stored::open(file, || {
            let model = self.train(arm, index, context)?;
            let test = &self.dataset.test;
            let report = ClassificationReport::new(&test.labels, &predict(&model, &test.images)?)?.to_json();
            Ok(json!({ "arm": arm, "seed": index, "report": report }))
        })?;
        Ok(Score {
            macro_f1: result.number(&["report", "macro avg", "f1-score"])?,
            accuracy: result.number(&["report", "accuracy"])?,
            report: result.value["report"].clone(),
        })
    }

    fn train(&self, arm: Arm, index: u64, context: &mut Context<'_>) -> Result<Classifier> {
        let plan = arm.plan(self.recipe).clone();
        let seed = plan.seed + index;
        let plan = plan.with_seed(seed);
        let statistics = self.recipe.head.statistics;
        let frozen = HeadPlan { statistics, plan: plan.clone() };
        let model = initialise(self.classifier().init(&context.device), plan.seed);
        let (run, split) = match arm {
            Arm::RandomFrozen | Arm::SimSiamFrozen => {
                (RunDir::open(arm.folder(self.root, index), &frozen, true, self.origin)?, &self.few)
            }
            Arm::Supervised => {
                (RunDir::open(arm.folder(self.root, index), &plan, true, self.origin)?, &self.dataset.train)
            }
            Arm::Scratch | Arm::ScratchEqualUpdates => {
                (RunDir::open(arm.folder(self.root, index), &plan, true, self.origin)?, &self.few)
            }
        };
        let label = format!("{}, seed {index}", arm.title());
        if run.is_finished() {
            return Ok(load_weights(model, &run.weights()?)?.0);
        }
        match arm {
            Arm::Supervised | Arm::Scratch | Arm::ScratchEqualUpdates => {
                train_classifier(model, &label, split, &plan, &run, context)
            }
            Arm::RandomFrozen => {
                // A fair control: what stands still must have seen the images, as a pretrained encoder has.
                if statistics == Statistics::Fixed {
                    calibrate(&model.backbone, &self.dataset.pool, plan.seed)?;
                }
                train_head(model, &label, split, &frozen, &run, context)
            }
            Arm::SimSiamFrozen => {
                let encoder = self.encoder(index % self.recipe.pretraining_seeds, context)?;
                let model = load_backbone(model, &encoder)?.0;
                train_head(model, &label, split, &frozen, &run, context)
            }
        }
    }

    /// The classifier that training `index` of `arm` ended with.
    pub(super) fn trained(&self, arm: Arm, index: u64, device: &Device) -> Result<Classifier> {
        let weights = open_weights(arm.folder(self.root, index))?;
        Ok(load_weights(self.classifier().init(device), &weights)?.0)
    }
}
