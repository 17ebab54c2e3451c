//! Settings that do not exist or cannot work: said before anything is written.

use crate::support::Lab;

#[track_caller]
fn refused(arguments: &str, expected: &[&str]) {
    let lab = Lab::new();
    lab.write("recipe.toml", "epochz = 3\n");
    lab.write("reproduce.toml", "[pretraining]\nepochz = 3\n");
    lab.write("broken.toml", "epochs = \n");
    lab.fails(&format!("{arguments} --data data --run run"), expected);
    assert!(!lab.exists("run"), "{arguments}");
}

#[test]
fn unknown_keys() {
    refused("train --set epochz=3", &["--set epochz=3", "unknown field `epochz`", "`epochs`"]);
    refused("probe --set epochs=3", &["--set epochs=3", "unknown field `epochs`", "`plan`"]);
    refused("pretrain --set optimizer.lr=3", &["--set optimizer.lr=3", "unknown field `lr`", "`momentum`"]);
    refused("reproduce --set pretraining.epochz=3", &["pretraining.epochz", "unknown field `epochz`"]);
    refused("train --recipe recipe.toml", &["recipe.toml", "unknown field `epochz`"]);
    refused("reproduce --recipe reproduce.toml", &["reproduce.toml", "unknown field `epochz`"]);
}

#[test]
fn recipes_that_cannot_be_read() {
    refused("train --recipe broken.toml", &["broken.toml", "no valid TOML", "line 1"]);
    refused("train --recipe none.toml", &["none.toml", "cannot read the recipe", "No such file"]);
    refused("train --recipe data", &["data", "cannot read the recipe"]);
}

#[test]
fn values_of_the_wrong_type() {
    refused("train --set epochs=many", &["--set epochs=many", "invalid type"]);
    refused("train --set epochs", &["--set epochs", "expected key=value"]);
    refused("train --set augmentation.transforms=[{name=\"rotate\"}]", &["unknown variant `rotate`", "rand-augment"]);
}

#[test]
fn values_that_cannot_train() {
    for command in ["train", "pretrain", "probe"] {
        refused(&format!("{command} --epochs 0"), &["epochs = 0", "from 1 to"]);
        refused(&format!("{command} --batch-size 0"), &["batch_size = 0", "at least 1"]);
        refused(&format!("{command} --learning-rate -1"), &["learning_rate = -1", "a positive number"]);
        refused(&format!("{command} --learning-rate inf"), &["learning_rate = inf", "a positive number"]);
    }
    refused("train --set optimizer.momentum=1", &["optimizer.momentum = 1", "below 1"]);
    refused("train --set accumulate=0", &["accumulate = 0", "at least 1"]);
    refused(
        "train --set schedule.name=cosine --set schedule.warmup_epochs=10",
        &["schedule.warmup_epochs = 10", "epochs"],
    );
    refused("train --set schedule.warmup_epochs=10", &["missing field `name`"]);
    refused("train --set optimizer.name=adam", &["unknown variant `adam`", "`adamw`"]);
    refused("probe --set plan.groups=[{prefix=\"\"}]", &["groups[0].prefix is empty"]);
    refused("train --set augmentation.transforms=[{name=\"random-resized-crop\",scale=[5,1]}]", &["scale [5, 1]"]);
    refused(
        "probe --set plan.augmentation.transforms=[{name=\"horizontal-flip\"}]",
        &["plan.augmentation", "updating"],
    );
}

#[test]
fn labels_that_are_not_there() {
    for command in ["train --first-k", "train --stratified", "probe --first-k", "probe --stratified"] {
        refused(&format!("{command} 0"), &["a subset of 0 samples out of 200; choose 1 to 200"]);
        refused(&format!("{command} 201"), &["a subset of 201 samples out of 200; choose 1 to 200"]);
    }
}

#[test]
fn experiments_that_cannot_work() {
    refused("reproduce --seeds 0", &["seeds = 0", "at least 1"]);
    refused("reproduce --set labels=0", &["labels = 0", "at least 1"]);
    refused("reproduce --set labels=201", &["labels = 201", "200 training images"]);
    refused("reproduce --seeds 1 --set pretraining_seeds=2", &["pretraining_seeds = 2", "from 1 to seeds = 1"]);
    // Told at once, not when the training with these settings begins.
    refused("reproduce --set labels=20 --set scratch.epochs=0", &["scratch: epochs = 0"]);
    refused("reproduce --set labels=20 --set head.plan.batch_size=0", &["head: batch_size = 0"]);
}

#[test]
fn a_loss_that_is_no_number_ends_the_training() {
    let lab = Lab::new();
    lab.fails("train --data data --run run --learning-rate 1e30", &["the loss became NaN", "lower learning rate"]);
    assert!(!lab.exists("run/weights.safetensors"));
}

/// Built for the processor alone, or for graphics processors too but on a machine with fewer.
#[test]
fn a_device_that_is_not_there() {
    let expected: &[&str] = if cfg!(feature = "wgpu") { &[] } else { &["--features wgpu"] };
    for command in ["train", "pretrain", "probe", "reproduce", "experiment methods"] {
        refused(&format!("{command} --device gpu:99"), expected);
    }
}
