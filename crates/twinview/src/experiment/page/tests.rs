use super::compare::side_by_side;
use super::*;
use crate::report::page::Run;

/// A run directory with these settings and metrics.
fn run(root: &Path, name: &str, settings: &str, metrics: &str) -> PathBuf {
    let folder = root.join(name);
    files::write_atomic(folder.join("config.toml"), format!("# twinview 1\n{settings}").as_bytes()).unwrap();
    files::write_atomic(folder.join("metrics.jsonl"), metrics.as_bytes()).unwrap();
    folder
}

const METRICS: &str = "{\"step\":1,\"epoch\":1,\"loss\":-0.5,\"output_std\":0.01}\n";

#[test]
fn a_run_under_way_tells_how_far_it_is_and_what_is_wrong() {
    let folder = tempfile::tempdir().unwrap();
    let metrics: String = (1..=6).map(|epoch| METRICS.replace("\"epoch\":1", &format!("\"epoch\":{epoch}"))).collect();
    let root =
        run(folder.path(), "a", "command = \"pretrain simsiam\"\ndataset = \"shapes\"\n[plan]\nepochs = 9\n", &metrics);
    let page = page(&root).unwrap();
    let progress = page.progress.unwrap();
    assert_eq!((progress.finished, progress.epoch, progress.epochs), (false, 6, Some(9)));
    assert!(progress.silent_seconds.is_some());
    assert_eq!((page.title.as_str(), page.subtitle.as_str()), ("a", "pretrain simsiam on shapes"));
    assert!(page.facts.contains(&("Made by".into(), "twinview 1".into())), "{:?}", page.facts);
    assert!(page.verdict.starts_with("After epoch 6 of 9, it had collapsed"), "{}", page.verdict);
    assert!(page.notes[0].contains("collapsing"), "{:?}", page.notes);
}

#[test]
fn an_experiment_under_way_shows_the_trainings_below_it() {
    let folder = tempfile::tempdir().unwrap();
    let root = run(folder.path(), "all", "name = \"quick\"\n", "");
    run(&root, "arms/scratch/seed-0", "epochs = 3\n", METRICS);
    run(&root, "pretraining/seed-0", "epochs = 3\n", METRICS);
    let page = page(&root).unwrap();
    let mut names: Vec<&str> = page.runs.iter().map(|run| run.name.as_str()).collect();
    names.sort_unstable();
    assert_eq!(names, ["all", "arms/scratch/seed-0", "pretraining/seed-0"]);
    assert!(page.progress.is_none());
}

#[test]
fn runs_are_named_by_what_tells_them_apart() {
    let names = |paths: &[&str]| distinct_names(&paths.iter().map(PathBuf::from).collect::<Vec<_>>());
    assert_eq!(names(&["x/a", "x/b"]), ["a", "b"]);
    assert_eq!(names(&["x/run", "y/run"]), ["x/run", "y/run"]);
    assert_eq!(names(&["x/run", "x/run"]), ["run", "run"]);
}

#[test]
fn side_by_side_says_what_differs() {
    let settings = |rate: &str| vec![("epochs".to_owned(), "3".to_owned()), ("rate".to_owned(), rate.to_owned())];
    let one = |rate: &str| Run { name: rate.into(), settings: settings(rate), series: Vec::new() };
    let text = |rates: [&str; 2]| side_by_side(&Page { runs: rates.map(one).into(), ..Page::default() });
    assert_eq!(text(["1", "2"]), "The runs differ in rate.");
    assert_eq!(text(["1", "1"]), "All settings are the same.");
}

/// The reports of the experiments, as they are written, become tables.
#[test]
fn experiments_become_scores_and_curves() {
    let folder = tempfile::tempdir().unwrap();
    let root = run(folder.path(), "e", "name = \"quick\"\n", "");
    let row = json!({ "precision": 0.5, "recall": 0.5, "f1-score": 0.5, "support": 10.0 });
    let other = json!({ "precision": 0.7, "recall": 0.5, "f1-score": 0.6, "support": 10.0 });
    let report = |row: &Value| json!({ "0": row, "accuracy": 0.5, "macro avg": row, "weighted avg": row });
    let arm = |role: &str| {
        json!({ "arm": role, "title": role, "role": role, "labels": 10, "updates": 20, "macro_f1": [0.5, 0.6],
                "accuracy": [0.5, 0.5], "published": null, "reports": [report(&row), report(&other)] })
    };
    let comparison = json!({ "recipe": "quick", "dataset": "shapes", "test_images": 10, "validation": true,
                             "arms": [arm("scratch"), arm("pretrained")], "verdict": "So it is." });
    let write = |value: &Value| files::write_atomic(root.join("report.json"), value.to_string().as_bytes()).unwrap();
    write(&comparison);
    let found = page(&root).unwrap();
    assert_eq!((found.verdict.as_str(), found.split.as_str()), ("So it is.", "10 held-out training images"));
    assert_eq!((found.scores[0].rows[0].control, found.scores[0].rows[1].control), (true, false));
    assert_eq!(found.reports[0].name, "pretrained");
    assert_eq!((found.reports[0].seeds, found.reports[0].rows[0].precision), (2, 0.6));

    let point = |arm: &str, labels: u64| json!({ "arm": arm, "title": arm, "chosen": "first", "labels": labels, "macro_f1": [0.1], "accuracy": [0.1] });
    let points = [point("a", 10), point("b", 10), point("a", 100)];
    write(
        &json!({ "curve": { "method": "SimCLR", "dataset": "shapes", "test_images": 5, "points": points }, "verdict": "v" }),
    );
    let found = page(&root).unwrap();
    let arms = &found.label_curves[0].arms;
    assert_eq!((arms.len(), arms[0].points.len(), arms[0].points[1].0), (2, 2, 100));
    assert!(found.scores.is_empty());
    let points = [point("scratch", 10), point("self-trained", 10)];
    write(
        &json!({ "curve": { "method": "SimCLR", "dataset": "shapes", "test_images": 5, "points": points }, "verdict": "v" }),
    );
    let found = page(&root).unwrap();
    assert!(found.label_curves.is_empty());
    assert_eq!(found.scores[0].title, "Macro F1 with 10 labels (first)");
    assert_eq!((found.scores[0].rows[0].control, found.scores[0].rows[1].control), (true, false));

    let method = |name: &str| json!({ "name": name, "epochs": 3, "reads_labels": name == "supcon", "knn_accuracy": [0.5], "linear_f1": [0.4] });
    let rows = ["random", "supcon", "simclr"].map(method);
    let report = json!({ "table": { "dataset": "shapes", "labels": 7, "rows": rows } });
    write(&report);
    let found = page(&root).unwrap();
    assert_eq!(found.scores[1].title, "Macro F1 of a linear probe on 7 labels");
    assert!(found.scores[0].rows[0].control && !found.scores[0].rows[1].control);
    let details: Vec<_> = found.scores[0].rows.iter().map(|row| row.detail.as_str()).collect();
    assert_eq!(details, ["3 epochs", "3 epochs, reads the labels", "3 epochs"]);
    for name in ["simclr", "supcon"] {
        let folder = root.join(name).join("seed-0");
        std::fs::create_dir_all(&folder).unwrap();
        std::fs::write(folder.join("weights.safetensors"), "").unwrap();
    }
    let names: Vec<_> = experiment_models(&root, &report).into_iter().map(|model| model.name).collect();
    assert_eq!(names, ["simclr", "supcon"], "what has read the labels comes last");
}
