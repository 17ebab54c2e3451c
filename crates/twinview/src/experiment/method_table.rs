//! Every method under the same questions.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use serde_json::json;

use super::methods::method_recipe_on;
use super::recipe::merged;
use super::stored::{Stored, encoder};
use crate::backbone::{Architecture, initialise};
use crate::dataset::{Dataset, first_k};
use crate::evaluation::ClassificationReport;
use crate::files;
use crate::method::{Classifier, ClassifierConfig};
use crate::report::{MethodRow, MethodTable};
use crate::training::{Context, KnnProbe, Origin, Pretraining, RunDir, fit_linear_head, load_backbone, predict};
use crate::{Error, Result};

/// The settings of [`method_table`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MethodsRecipe {
    /// The dataset.
    pub dataset: String,
    /// Pretrainings of each method, and random encoders.
    pub seeds: u64,
    /// The first training images, whose labels the linear probe learns from. The vote of the neighbours reads all.
    pub labels: usize,
    /// The pretrainings, by name.
    pub pretraining: BTreeMap<String, Pretraining>,
}

impl MethodsRecipe {
    /// The recipes of `names` with an encoder named `backbone`, each cut to `epochs` where it is longer, with `changes`
    /// (`key=value`) made to every one.
    ///
    /// # Errors
    /// For a name that no method has, and for changes that do not fit.
    pub fn new(names: &[&str], backbone: &str, epochs: Option<u64>, changes: &[String]) -> Result<Self> {
        let one = |name: &&str| {
            let recipe = method_recipe_on(name, backbone);
            let recipe = recipe.ok_or_else(|| Error::Config(format!("{name} is no method")))?;
            let mut settings: Pretraining = merged(&recipe, None, changes)?;
            settings.plan.epochs = epochs.map_or(settings.plan.epochs, |most| settings.plan.epochs.min(most));
            Ok((String::from(*name), settings))
        };
        let pretraining = names.iter().map(one).collect::<Result<_>>()?;
        Ok(Self { dataset: "fashion-mnist".into(), seeds: 1, labels: 1000, pretraining })
    }

    /// The encoder that all methods train.
    fn backbone(&self) -> Architecture {
        self.pretraining.values().next().map(|settings| settings.backbone.clone()).unwrap_or_default()
    }

    fn validate_for(&self, dataset: &Dataset) -> Result<()> {
        if self.seeds == 0 {
            return Err(Error::Config("seeds = 0 trains nothing; it must be at least 1".into()));
        }
        dataset.require_labels()?;
        first_k(&dataset.train, self.labels)?;
        let backbone = self.backbone();
        if let Some((name, settings)) = self.pretraining.iter().find(|(_, settings)| settings.backbone != backbone) {
            let (found, expected) = (settings.backbone.name(), backbone.name());
            return Err(Error::Config(format!(
                "pretraining.{name}.backbone is another ({found}) than that of the first method ({expected}); a table \
                 compares methods, so the encoder must be the same"
            )));
        }
        self.pretraining.values().try_for_each(|settings| settings.validate_for(&dataset.pool, dataset.train.len()))
    }
}

/// Pretrains every method of `recipe` in the run directory `root`, scores each encoder and as many random ones on the
/// test images, and writes `report.md` and `report.json` there. What an earlier, interrupted call has done is not done
/// again.
///
/// # Errors
/// As the trainings, and for a recipe that cannot run on `dataset`.
pub fn method_table(
    recipe: &MethodsRecipe,
    dataset: &Dataset,
    root: &Path,
    command: &str,
    version: &str,
    context: &mut Context<'_>,
) -> Result<MethodTable> {
    recipe.validate_for(dataset)?;
    let origin = Origin::new(version, dataset);
    let run = RunDir::open(root, recipe, true, &origin)?;
    let random = |seed, context: &Context<'_>| {
        let config = ClassifierConfig::for_images(&dataset.train.images, dataset.class_names.len(), &recipe.backbone());
        initialise(ClassifierConfig { hidden: None, ..config }.init(&context.device), seed)
    };
    let mut rows = Vec::new();

    let mut scores = Vec::new();
    for seed in 0..recipe.seeds {
        let model = random(seed, context);
        scores.push(scored(recipe, dataset, model, seed, run.join(format!("random/seed-{seed}.json")))?);
    }
    rows.push(MethodRow::new("random encoder", 0, false, &scores));
    for (name, settings) in &recipe.pretraining {
        let mut scores = Vec::new();
        for seed in 0..recipe.seeds {
            let first = settings.plan.seed;
            let settings = settings.clone().with_seed(first + seed);
            let folder = run.join(format!("{name}/seed-{seed}"));
            let weights = encoder(&folder, &settings, dataset, &origin, context)?;
            let (model, _) = load_backbone(random(seed, context), &weights)?;
            scores.push(scored(recipe, dataset, model, seed, folder.join("result.json"))?);
        }
        rows.push(MethodRow::new(name, settings.plan.epochs, settings.method.needs_labels(), &scores));
    }
    let table = MethodTable {
        dataset: dataset.name.clone(),
        test_images: dataset.test.len(),
        labels: recipe.labels,
        command: command.to_owned(),
        version: version.to_owned(),
        rows,
    };
    let settings = toml::to_string(recipe).unwrap_or_default();
    files::write_atomic(run.join("report.md"), table.markdown(&settings).as_bytes())?;
    let json = serde_json::to_string_pretty(&json!({ "table": table, "verdict": table.verdict(), "settings": recipe }))
        .unwrap_or_default();
    files::write_atomic(run.join("report.json"), format!("{json}\n").as_bytes())?;
    Ok(table)
}

/// Accuracy of the neighbours' vote, and macro F1 of a linear probe, both on the test images.
fn scored(
    recipe: &MethodsRecipe,
    dataset: &Dataset,
    model: Classifier,
    seed: u64,
    file: PathBuf,
) -> Result<(f64, f64)> {
    let result = Stored::open(file, || {
        let (train, test) = (&dataset.train, &dataset.test);
        let report = |predicted: &[u8]| Ok::<_, Error>(ClassificationReport::new(&test.labels, predicted)?.to_json());
        let few = train.select(&first_k(train, recipe.labels)?);
        let (model, _) = fit_linear_head(model, &dataset.pool, &few, seed)?;
        let voted = report(&KnnProbe::default().predict(&model.backbone, train, &test.images)?)?;
        Ok(json!({ "knn": voted, "linear": report(&predict(&model, &test.images)?)? }))
    })?;
    Ok((result.number(&["knn", "accuracy"])?, result.number(&["linear", "macro avg", "f1-score"])?))
}
