//! Every method from pretraining to a report, and SimSiam's ablations.

use serde_json::Value;
use twinview::weights;

use crate::support::{Lab, TEST};

const METHODS: [&str; 14] = [
    "simsiam",
    "fastsiam",
    "simclr",
    "dcl",
    "mocov1",
    "mocov2",
    "mocov3",
    "byol",
    "barlow-twins",
    "vicreg",
    "nnclr",
    "swav",
    "dino",
    "supcon",
];

fn accuracy(report: &str) -> f64 {
    let report: Value = serde_json::from_str(report).unwrap();
    assert_eq!(report["macro avg"]["support"], TEST as f64);
    report["accuracy"].as_f64().unwrap()
}

#[test]
fn every_method_gives_an_encoder() {
    let lab = Lab::new();
    for method in METHODS {
        lab.succeeds(&format!("pretrain --method {method} --data data --epochs 1 --batch-size 50 --run {method}"));
        let voted = lab.succeeds(&format!("evaluate --knn 5 --weights {method} --data data --json"));
        // Ten bars in ten places: by chance 0.1.
        assert!(accuracy(&voted) > 0.5, "{method}: {voted}");
    }
}

#[test]
fn an_encoder_becomes_a_classifier_in_every_way() {
    let lab = Lab::new();
    // Long enough for the running statistics to forget what they began with, 0 and 1.
    lab.succeeds("pretrain --method byol --data data --epochs 12 --batch-size 50 --run encoder");
    lab.succeeds("probe --head linear --weights encoder --data data --stratified 40 --run linear");
    // A class is a place here, which crops and flips would change.
    let with = "--data data --stratified 40 --set augmentation.transforms=[]";
    lab.succeeds(&format!("finetune --weights encoder {with} --epochs 2 --run finetuned"));
    lab.succeeds(&format!("finetune --weights linear {with} --epochs 2 --run further"));
    lab.succeeds(&format!("selftrain --weights finetuned {with} --epochs 10 --batch-size 20 --run student"));
    for run in ["linear", "finetuned", "further", "student"] {
        let score = accuracy(&lab.succeeds(&format!("evaluate --weights {run} --data data --json")));
        // Ten bars in ten places, four labels each, an encoder that has seen 200 images: by chance 0.1.
        assert!(score > 0.6, "{run}: {score}");
    }
    // A linear head is gone on with, so it makes no difference whether it is fitted here or before.
    assert!(lab.read("finetuned/weights.safetensors") == lab.read("further/weights.safetensors"));
}

#[test]
fn what_a_head_needs_is_said() {
    let lab = Lab::new();
    lab.simsiam("encoder");
    lab.fails("selftrain --weights encoder --data data --run run", &["encoder", "no classifier", "twinview probe"]);
    lab.fails("probe --head linear --weights encoder --data data --epochs 3 --run run", &["--head linear", "--epochs"]);
    lab.fails("evaluate --weights encoder --data data", &["no classifier head", "--knn"]);
    assert!(!lab.exists("run"));
}

#[test]
fn neighbours_vote_by_the_labels_they_have() {
    let lab = Lab::new();
    lab.simsiam("encoder");
    let all = lab.succeeds("evaluate --knn 3 --weights encoder --data data --json");
    let few = lab.succeeds("evaluate --knn 3 --weights encoder --data data --json --first-k 1");
    assert!(accuracy(&all) > 0.5);
    // One image that votes alone is right about its own class.
    assert_eq!(accuracy(&few), 0.1);
    lab.fails("evaluate --knn 0 --weights encoder --data data", &["0 neighbours", "at least 1"]);
    lab.fails("evaluate --knn 3 --temperature 0 --weights encoder --data data", &["temperature", "above 0"]);
    lab.fails("evaluate --first-k 3 --weights encoder --data data", &["--first-k", "--knn"]);
}

/// Sections 4.1 and 4.2 of the paper (arXiv 2011.10566): without the stop-gradient the loss goes to -1 and the outputs
/// become the same for all images; without the predictor likewise.
#[test]
fn simsiam_collapses_without_stop_gradient_or_predictor() {
    let lab = Lab::new();
    let end = |run: &str, change: &str| {
        let training = "pretrain --dataset shapes --epochs 4 --batch-size 64 --learning-rate 0.4";
        let outcome = lab.run(&format!("{training} --run {run} {change}"));
        assert_eq!(outcome.code, Some(0), "{}", outcome.stderr);
        let metrics = String::from_utf8(lab.read(&format!("{run}/metrics.jsonl"))).unwrap();
        let last: Value = serde_json::from_str(metrics.lines().last().unwrap()).unwrap();
        (last["loss"].as_f64().unwrap(), last["output_std"].as_f64().unwrap(), outcome.stderr)
    };
    let (loss, spread, said) = end("whole", "");
    assert!(loss > -0.9 && spread > 0.6 && !said.contains("collaps"), "{loss} {spread} {said}");
    for (run, change) in
        [("no-stop", "--set method.stop_gradient=false"), ("no-predictor", "--set method.with_predictor=false")]
    {
        let (loss, spread, said) = end(run, change);
        assert!(loss < -0.99 && spread < 0.06, "{run}: {loss} {spread}");
        assert!(said.contains("the encoder is collapsing") && said.contains("it had collapsed"), "{run}: {said}");
    }
}

#[test]
fn experiments_go_on_where_they_were() {
    let lab = Lab::new();
    let table = "experiment methods --methods simclr,byol --epochs 1 --set batch_size=50 --first-k 60 --data data \
                 --run table";
    let text = lab.succeeds(table);
    for row in ["| random encoder | 0 |", "| byol | 1 |", "| simclr | 1 |"] {
        assert!(text.contains(row), "{text}");
    }
    let curve = "experiment labels --method simsiam --seeds 2 --data data --run curve --set pretraining_seeds=1 \
                 --set budgets=[20,60] --set validation=50 --set pretraining.epochs=1 --set pretraining.batch_size=50 \
                 --set chosen=[\"stratified\",\"typical\"] \
                 --set scratch=[{updates=4,plan={epochs=1,batch_size=10,learning_rate=0.01}}] \
                 --set fine_tuning=[{updates=4,plan={epochs=1,batch_size=10,learning_rate=0.01}}] \
                 --set self_training.epochs=1 --set self_training.batch_size=50 --set self_training.learning_rate=1e-20 \
                 --set teachers=2";
    let text = lab.succeeds(curve);
    for column in [
        "Scratch, tuned",
        "Random encoder + linear",
        "SimSiam + linear",
        "SimSiam, fine-tuned",
        "Scratch, self-trained",
        "SimSiam, self-trained",
    ] {
        assert!(text.contains(column), "{text}");
    }
    // Teachers differ, and the student without an encoder has as many of them.
    let bytes = |place: &str| lab.read(&format!("curve/arms/{place}/weights.safetensors"));
    let scratch = ["seed-0", "seed-0/teacher-1", "seed-0/teacher-2", "seed-0/teacher-3"];
    let scratch = scratch.map(|place| bytes(&format!("scratch/stratified-20/{place}")));
    assert!(scratch.iter().all(|one| scratch.iter().filter(|other| one == *other).count() == 1));
    assert!(bytes("fine-tuned/stratified-20/seed-0") != bytes("fine-tuned/stratified-20/seed-0/teacher-1"));
    // A student begins as its first teacher, which no steps of this size could make of anything else.
    let head = |place: &str| {
        let state = weights::load(lab.path(&format!("curve/arms/{place}/stratified-20/seed-0/weights.safetensors")));
        state.unwrap().state.into_iter().filter(|(name, _)| name.starts_with("fc.")).collect::<Vec<_>>()
    };
    assert!(head("self-trained") == head("fine-tuned") && head("scratch-self-trained") == head("scratch"));
    // What an encoder found worth a label, all arms of the seed learn from.
    let chosen: Value = serde_json::from_slice(&lab.read("curve/chosen/typical-20-of-200/seed-0.json")).unwrap();
    assert_eq!(chosen["images"].as_array().unwrap().len(), 20);
    assert!(bytes("scratch/typical-20/seed-0") != bytes("scratch/stratified-20/seed-0"));
    for run in ["table", "curve"] {
        lab.read(&format!("{run}/report.md"));
        serde_json::from_slice::<Value>(&lab.read(&format!("{run}/report.json"))).unwrap();
    }
    // Nothing is done twice: a result that is changed stays, one that is lost is made again.
    let result = "curve/arms/scratch/stratified-20/seed-0/result.json";
    let before = lab.read(result);
    std::fs::remove_file(lab.path(result)).unwrap();
    assert_eq!(lab.succeeds(curve), text);
    assert!(lab.read(result) == before);
    lab.write(result, "{}");
    lab.fails(curve, &["result.json", "the result lacks report"]);
}

#[test]
fn a_curve_of_labels_takes_encoders_that_are_pretrained_already() {
    let lab = Lab::new();
    let same = "--data data --batch-size 50 --epochs 1";
    for seed in [4, 5] {
        lab.succeeds(&format!("pretrain --method byol {same} --seed {seed} --run encoder-{seed}"));
    }
    let curve = "experiment labels --data data --set budgets=[20] --set chosen=[\"first\"] \
                 --set fine_tuning=[{updates=4,plan={epochs=1,batch_size=10,learning_rate=0.01}}] --set teachers=0 \
                 --set scratch=[{updates=4,plan={epochs=1,batch_size=10,learning_rate=0.01}}]";
    let both = format!("{curve} --encoder encoder-5 --encoder encoder-4 --run curve");
    let text = lab.succeeds(&both);
    assert!(text.contains("BYOL + linear") && text.contains("BYOL, fine-tuned"), "{text}");
    assert!(!text.contains("self-trained"), "no teachers, no students: {text}");
    // The experiment has all that it needs, in the order of seeds.
    for (index, seed) in [(0, 4), (1, 5)] {
        let [copy, encoder] = [format!("curve/pretraining/seed-{index}"), format!("encoder-{seed}")]
            .map(|run| lab.read(&format!("{run}/weights.safetensors")));
        assert!(copy == encoder, "seed {seed}");
    }
    let report: Value = serde_json::from_slice(&lab.read("curve/report.json")).unwrap();
    assert_eq!((&report["curve"]["encoders"], &report["settings"]["name"]), (&2.into(), &"labels-byol".into()));
    // A fifth of the 200 training images.
    assert_eq!(report["settings"]["validation"], 40);
    assert_eq!(lab.succeeds(&both), text);
    let linear = lab.succeeds(&format!("{curve} --set fine_tuning=[] --encoder encoder-4 --run linear"));
    assert!(linear.contains("BYOL + linear") && !linear.contains("fine-tuned"), "{linear}");

    lab.succeeds(&format!("pretrain --method simsiam {same} --seed 6 --run other"));
    let one = format!("{curve} --encoder encoder-4 --run refused");
    for (arguments, expected) in [
        ("--encoder other", &["other", "more than the seed differs"][..]),
        ("--encoder data", &["data", "no run directory"]),
        ("--set pretraining.epochs=2", &["pretraining", "leave these settings out"]),
        ("--set pretraining_seeds=2", &["pretraining_seeds = 2", "number of encoders, 1"]),
    ] {
        lab.fails(&format!("{one} {arguments}"), expected);
        assert!(!lab.exists("refused"), "{arguments}");
    }
    let both = lab.run(&format!("{one} --method simclr"));
    assert!(both.code == Some(2) && both.stderr.contains("cannot be used with '--method"), "{}", both.stderr);
}

#[test]
fn experiments_that_cannot_run_are_refused() {
    let lab = Lab::new();
    for (arguments, expected) in [
        ("methods --methods simclr --seeds 0", &["seeds = 0"][..]),
        ("methods --methods simclr --first-k 9999", &["9999", "200"]),
        ("methods --methods simclr --set epoch=3", &["unknown field `epoch`"]),
        ("labels --set budgets=[]", &["budgets = []"]),
        ("labels --set validation=200", &["validation = 200", "200 training images"]),
        ("labels --set scratch=[]", &["scratch = []"]),
    ] {
        lab.fails(&format!("experiment {arguments} --data data --run run"), expected);
        assert!(!lab.exists("run"), "{arguments}");
    }
}
