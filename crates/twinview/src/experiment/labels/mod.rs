//! How many labels an encoder saves: every way to a classifier at every budget of labels.

mod encoders;
mod recipe;
mod teachers;

pub use encoders::{pretraining_of, trained_on};
pub use recipe::{Budgeted, Chosen, LabelRecipe, label_recipe};

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::Serialize;
use serde_json::json;

use self::encoders::take_over;
use super::stored::{Stored, encoder};

use crate::Result;
use crate::backbone::{initialise, load_state_dict, state_dict};
use crate::dataset::{Dataset, Portion, Split, first_k, split_validation, stratified};
use crate::embedding::{Matrix, extract, most_typical};
use crate::evaluation::{ClassificationReport, Summary};
use crate::files;
use crate::method::{Classifier, ClassifierConfig};
use crate::report::figures;
use crate::report::{LabelCurve, LabelPoint};
use crate::state::StateDict;
use crate::training::{
    Context, Origin, RunDir, SelfTraining, fit_linear_head, load_backbone, load_weights, predict, self_train,
    train_classifier,
};
use crate::weights::Weights;

/// One way to come by a classifier.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Arm {
    Scratch,
    Random,
    Pretrained,
    FineTuned,
    ScratchSelfTrained,
    SelfTrained,
}

impl Arm {
    /// Those that `recipe` has.
    fn of(recipe: &LabelRecipe) -> Vec<Self> {
        let mut arms = vec![Self::Scratch, Self::Random, Self::Pretrained];
        if !recipe.fine_tuning.is_empty() {
            arms.push(Self::FineTuned);
            if recipe.self_training.is_some() && recipe.teachers > 0 {
                arms.extend([Self::ScratchSelfTrained, Self::SelfTrained]);
            }
        }
        arms
    }

    fn name(self) -> &'static str {
        match self {
            Self::Scratch => "scratch",
            Self::Random => "random",
            Self::Pretrained => "pretrained",
            Self::FineTuned => "fine-tuned",
            Self::ScratchSelfTrained => "scratch-self-trained",
            Self::SelfTrained => "self-trained",
        }
    }

    fn title(self, method: &str) -> String {
        match self {
            Self::Scratch => "Scratch, tuned".to_owned(),
            Self::Random => "Random encoder + linear".to_owned(),
            Self::Pretrained => format!("{method} + linear"),
            Self::FineTuned => format!("{method}, fine-tuned"),
            Self::ScratchSelfTrained => "Scratch, self-trained".to_owned(),
            Self::SelfTrained => format!("{method}, self-trained"),
        }
    }

    /// Units in the hidden layer of its head; on what is pretrained the head is linear.
    fn hidden(self) -> Option<usize> {
        matches!(self, Self::Scratch | Self::ScratchSelfTrained).then_some(ClassifierConfig::ARTICLE_HIDDEN)
    }
}

/// A training of an arm: which labels, which seed.
#[derive(Clone, Copy)]
struct Cell {
    arm: Arm,
    chosen: Chosen,
    budget: usize,
    seed: u64,
    /// Tells trainings with the same labels and seed apart: 0, and for further teachers 1, 2, ...
    member: u64,
}

impl Cell {
    /// What its weights and updates are drawn by.
    fn draw(self) -> u64 {
        self.seed + 1000 * self.member
    }
}

/// Runs every arm of `recipe` at every budget in the run directory `root`, and writes `report.md`, `report.json` and a
/// figure there. What an earlier, interrupted call has done is not done again. Where there are `encoders`, the run directories of
/// finished pretrainings, they are copied there, and none is pretrained.
///
/// # Errors
/// As the trainings, for a recipe that cannot run on `dataset`, and for encoders that were not pretrained as it says.
pub fn label_curve(
    recipe: &LabelRecipe,
    encoders: &[PathBuf],
    dataset: &Dataset,
    root: &Path,
    command: &str,
    version: &str,
    context: &mut Context<'_>,
) -> Result<LabelCurve> {
    recipe.validate_for(dataset)?;
    recipe.validate_with(encoders)?;
    let validation = recipe.validation_among(dataset.train.len());
    let recipe = &LabelRecipe { validation: Some(validation), ..recipe.clone() };
    let origin = Origin::new(version, dataset);
    let run = RunDir::open(root, recipe, true, &origin)?;
    take_over(encoders, &run, &origin)?;
    let (learning_places, validation_places) = split_validation(&dataset.train, Portion::Count(validation), 0)?;
    let [learning, validation] = [&learning_places, &validation_places].map(|indices| dataset.train.select(indices));
    let mut budgets: Vec<usize> = recipe.budgets.iter().map(|&budget| budget.min(dataset.train.len())).collect();
    budgets.dedup();
    let experiment = Experiment {
        run,
        recipe,
        dataset,
        origin,
        learning,
        learning_places,
        validation,
        validation_places,
        last_head: RefCell::default(),
    };

    let mut points = Vec::new();
    for &chosen in &recipe.chosen {
        for &budget in &budgets {
            for arm in Arm::of(recipe) {
                let scores = (0..recipe.seeds)
                    .map(|seed| experiment.score(Cell { arm, chosen, budget, seed, member: 0 }, context))
                    .collect::<Result<Vec<_>>>()?;
                points.push(LabelPoint {
                    arm: arm.name().to_owned(),
                    title: arm.title(recipe.pretraining.method.title()),
                    chosen: chosen.name().to_owned(),
                    labels: budget,
                    macro_f1: scores.iter().map(|score| score.0).collect(),
                    accuracy: scores.iter().map(|score| score.1).collect(),
                });
            }
        }
    }
    let curve = LabelCurve {
        recipe: recipe.name.clone(),
        method: recipe.pretraining.method.title().to_owned(),
        command: command.to_owned(),
        version: version.to_owned(),
        dataset: dataset.name.clone(),
        test_images: dataset.test.len(),
        encoders: recipe.pretraining_seeds,
        // Of the copy: an experiment that is gone on with may be given no encoders any more.
        pretrained_on: trained_on(&experiment.run.join("pretraining/seed-0"))
            .ok()
            .flatten()
            .filter(|on| *on != dataset.name),
        points,
    };
    experiment.write(&curve)?;
    Ok(curve)
}

struct Experiment<'a> {
    run: RunDir,
    recipe: &'a LabelRecipe,
    dataset: &'a Dataset,
    origin: Origin,
    /// Training images without the validation images.
    learning: Split,
    /// Where those stand among the training images.
    learning_places: Vec<usize>,
    validation: Split,
    validation_places: Vec<usize>,
    /// The last linear head on a pretrained encoder: its seed, what it was fitted to, and all weights.
    last_head: RefCell<Option<(u64, Split, StateDict)>>,
}

impl Experiment<'_> {
    fn classifier(&self, hidden: Option<usize>) -> ClassifierConfig {
        let config = ClassifierConfig::for_images(
            &self.dataset.train.images,
            self.dataset.class_names.len(),
            &self.recipe.pretraining.backbone,
        );
        ClassifierConfig { hidden, ..config }
    }

    fn random(&self, hidden: Option<usize>, seed: u64, context: &Context<'_>) -> Classifier {
        initialise(self.classifier(hidden).init(&context.device), seed)
    }

    fn folder(&self, cell: Cell) -> PathBuf {
        let Cell { arm, chosen, budget, seed, member } = cell;
        let place = self.run.join(format!("arms/{}/{}-{budget}/seed-{seed}", arm.name(), chosen.name()));
        if member == 0 { place } else { place.join(format!("teacher-{member}")) }
    }

    /// The images of `train` whose labels `cell` learns from.
    fn labelled(&self, cell: Cell, train: &Split, context: &mut Context<'_>) -> Result<Vec<usize>> {
        let Cell { chosen, budget, seed, .. } = cell;
        match chosen {
            Chosen::Stratified => stratified(train, budget, seed),
            Chosen::First => first_k(train, budget),
            Chosen::Typical if budget == train.len() => Ok((0..budget).collect()),
            Chosen::Typical => {
                let file = format!("chosen/typical-{budget}-of-{}/seed-{seed}.json", train.len());
                let result = Stored::open(self.run.join(file), || {
                    let model = load_backbone(self.random(None, seed, context), &self.encoder(seed, context)?)?.0;
                    let features = extract(&model.backbone, &train.images)?;
                    let features = Matrix::new(features.values(), features.dimensions())?;
                    let chosen = most_typical(features, &[], budget, seed)?;
                    Ok(json!({ "images": chosen.iter().map(|one| one.index).collect::<Vec<_>>() }))
                })?;
                result.places("images", train.len())
            }
        }
    }

    /// Macro F1 and accuracy of `cell` on the test images.
    fn score(&self, cell: Cell, context: &mut Context<'_>) -> Result<(f64, f64)> {
        let result = Stored::open(self.folder(cell).join("result.json"), || {
            let labelled = self.labelled(cell, &self.dataset.train, context)?;
            let way = self.best_way(cell, context)?;
            let model = self.train(cell, way, &self.dataset.train, &labelled, &self.folder(cell), context)?;
            let test = &self.dataset.test;
            let report = ClassificationReport::new(&test.labels, &predict(&model, &test.images)?)?.to_json();
            Ok(json!({ "way": way, "report": report }))
        })?;
        Ok((result.number(&["report", "macro avg", "f1-score"])?, result.number(&["report", "accuracy"])?))
    }

    /// Which of an arm's ways of training is best on the validation images, at this budget.
    fn best_way(&self, cell: Cell, context: &mut Context<'_>) -> Result<usize> {
        let ways = match cell.arm {
            Arm::Scratch => self.recipe.scratch.len(),
            Arm::FineTuned => self.recipe.fine_tuning.len(),
            Arm::Random | Arm::Pretrained | Arm::ScratchSelfTrained | Arm::SelfTrained => 1,
        };
        if ways == 1 {
            return Ok(0);
        }
        let Cell { arm, chosen, budget, .. } = cell;
        let file = self.run.join(format!("tuning/{}/{}-{budget}.json", arm.name(), chosen.name()));
        let result = Stored::open(file.clone(), || {
            let cell = Cell { budget: budget.min(self.learning.len()), seed: 0, member: 0, ..cell };
            let labelled = self.labelled(cell, &self.learning, context)?;
            let mut scores = Vec::new();
            for way in 0..ways {
                let folder = file.with_extension("").join(format!("way-{way}"));
                let model = self.train(cell, way, &self.learning, &labelled, &folder, context)?;
                let predicted = predict(&model, &self.validation.images)?;
                scores.push(ClassificationReport::new(&self.validation.labels, &predicted)?.macro_average().f1);
            }
            let best = (0..ways).fold(0, |best, way| if scores[way] > scores[best] { way } else { best });
            Ok(json!({ "best": best, "macro_f1": scores }))
        })?;
        Ok((result.number(&["best"])? as usize).min(ways - 1))
    }

    /// A classifier by one way of an arm, from the labels of `labelled` among `train`.
    fn train(
        &self,
        cell: Cell,
        way: usize,
        train: &Split,
        labelled: &[usize],
        folder: &Path,
        context: &mut Context<'_>,
    ) -> Result<Classifier> {
        let Cell { arm, seed, .. } = cell;
        let draw = cell.draw();
        let few = train.select(labelled);
        let label = format!(
            "{}, {} {} labels, seed {seed}",
            arm.title(self.recipe.pretraining.method.title()),
            few.len(),
            cell.chosen.name(),
        );
        match arm {
            Arm::Scratch => {
                let plan = self.recipe.scratch[way].plan(few.len(), draw);
                self.trained(arm, folder, &plan, context, |run, context| {
                    let model = self.random(arm.hidden(), plan.seed, context);
                    train_classifier(model, &label, &few, &plan, run, context)
                })
            }
            Arm::Random => {
                let model = self.random(None, seed, context);
                Ok(fit_linear_head(model, &self.dataset.pool, &few, seed)?.0)
            }
            Arm::Pretrained => self.pretrained(&few, seed, context),
            Arm::FineTuned => {
                let plan = self.recipe.fine_tuning[way].plan(few.len(), draw);
                self.trained(arm, folder, &plan, context, |run, context| {
                    let model = self.pretrained(&few, seed, context)?;
                    train_classifier(model, &label, &few, &plan, run, context)
                })
            }
            Arm::ScratchSelfTrained | Arm::SelfTrained => {
                let lesson = self.lesson(cell, context)?;
                let first = lesson.settings.plan.seed;
                let plan = lesson.settings.plan.clone().with_seed(first + seed);
                let settings = SelfTraining { plan, ..lesson.settings };
                self.trained(arm, folder, &settings, context, |run, context| {
                    let teachers = self.teachers(cell, lesson.with_scratch, train, labelled, context)?;
                    let truth: Vec<(usize, u8)> = labelled.iter().map(|&index| (index, train.labels[index])).collect();
                    // A copy of the first teacher, which does not share its running statistics.
                    let student = load_state_dict(self.random(arm.hidden(), seed, context), &state_dict(&teachers[0]))?;
                    self_train(student, &teachers, &self.dataset.pool, &truth, &settings, run, context)
                })
            }
        }
    }

    /// What `train` makes in the run directory `folder`, or made there before: a classifier of `arm`.
    fn trained(
        &self,
        arm: Arm,
        folder: &Path,
        settings: &impl Serialize,
        context: &mut Context<'_>,
        train: impl FnOnce(&RunDir, &mut Context<'_>) -> Result<Classifier>,
    ) -> Result<Classifier> {
        let run = RunDir::open(folder, settings, true, &self.origin)?;
        if run.is_finished() {
            return Ok(load_weights(self.random(arm.hidden(), 0, context), &run.weights()?)?.0);
        }
        train(&run, context)
    }

    /// The pretrained encoder of `seed`.
    fn encoder(&self, seed: u64, context: &mut Context<'_>) -> Result<Weights> {
        let settings = self.recipe.pretraining.clone();
        let index = seed % self.recipe.pretraining_seeds;
        let first = settings.plan.seed;
        encoder(
            &self.run.join(format!("pretraining/seed-{index}")),
            &settings.with_seed(first + index),
            self.dataset,
            &self.origin,
            context,
        )
    }

    /// A linear head on the pretrained encoder. The last one is kept: all fine-tuned teachers of a student begin with it.
    fn pretrained(&self, few: &Split, seed: u64, context: &mut Context<'_>) -> Result<Classifier> {
        let kept = self.last_head.borrow().as_ref().filter(|(of, from, _)| *of == seed && from == few).cloned();
        if let Some((.., state)) = kept {
            return load_state_dict(self.random(None, seed, context), &state);
        }
        let model = load_backbone(self.random(None, seed, context), &self.encoder(seed, context)?)?.0;
        let model = fit_linear_head(model, &self.dataset.pool, few, seed)?.0;
        self.last_head.replace(Some((seed, few.clone(), state_dict(&model))));
        Ok(model)
    }

    /// Figure, Markdown and JSON.
    fn write(&self, curve: &LabelCurve) -> Result<()> {
        for chosen in &self.recipe.chosen {
            let mut lines: BTreeMap<&str, Vec<(f64, f64)>> = BTreeMap::new();
            for point in curve.points.iter().filter(|point| point.chosen == chosen.name()) {
                let Some(score) = Summary::of(&point.macro_f1) else { continue };
                lines.entry(&point.title).or_default().push(((point.labels as f64).log10(), score.mean));
            }
            let curves: Vec<figures::Curve> =
                lines.into_iter().map(|(name, points)| figures::Curve { name: name.to_owned(), points }).collect();
            let title = format!("Macro F1 by number of labels ({})", chosen.name());
            let figure = figures::learning_curves(&title, "log10 of the number of labels", "macro F1", &curves)?;
            figure.save(self.run.join("figures").join(format!("labels-{}.png", chosen.name())))?;
        }
        let settings = toml::to_string(self.recipe).unwrap_or_default();
        files::write_atomic(self.run.join("report.md"), curve.markdown(&settings).as_bytes())?;
        let json = serde_json::to_string_pretty(
            &json!({ "curve": curve, "verdict": curve.summary(), "settings": self.recipe }),
        )
        .unwrap_or_default();
        files::write_atomic(self.run.join("report.json"), format!("{json}\n").as_bytes())
    }
}
