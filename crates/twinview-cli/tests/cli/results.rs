//! What the commands give.

use serde_json::Value;

use crate::support::{Lab, TEST, TRAIN, png_size};

#[test]
fn a_dataset_is_counted_and_drawn() {
    let lab = Lab::new();
    let text = lab.succeeds("data show --data data --out grid.png");
    assert!(
        text.starts_with(&format!("fashion-mnist: {TRAIN} training and {TEST} test images, 28 × 28 pixels")),
        "{text}"
    );
    let rows: Vec<Vec<&str>> = text.lines().skip(3).take(10).map(|line| line.split_whitespace().collect()).collect();
    assert_eq!(rows[0], ["0", "T-shirt/top", "20", "5"]);
    assert_eq!(rows[9], ["9", "Ankle", "boot", "20", "5"]);
    assert!(text.trim_end().ends_with("grid.png"));
    let (width, height) = png_size(&lab.read("grid.png"));
    assert!(width > 4 * 28 && height > 4 * 28);

    let shapes = lab.succeeds("data show --dataset shapes --split test --out shapes.png");
    assert!(shapes.starts_with("shapes: 6000 training and 1000 test images"), "{shapes}");
    png_size(&lab.read("shapes.png"));
}

#[test]
fn fetch_prints_the_folder_and_nothing_else() {
    let lab = Lab::new();
    assert_eq!(lab.succeeds("data fetch --data data"), "data\n");
}

#[test]
fn a_classifier_is_scored_as_by_scikit_learn() {
    let lab = Lab::new();
    lab.classifier("run");
    let report: Value = serde_json::from_str(&lab.succeeds("evaluate --data data --weights run --json")).unwrap();
    let keys: Vec<&String> = report.as_object().unwrap().keys().collect();
    let expected = ["0", "1", "2", "3", "4", "5", "6", "7", "8", "9", "accuracy", "macro avg", "weighted avg"];
    assert_eq!(keys, expected);
    for (key, row) in report.as_object().unwrap().iter().filter(|(key, _)| *key != "accuracy") {
        let keys: Vec<&String> = row.as_object().unwrap().keys().collect();
        assert_eq!(keys, ["precision", "recall", "f1-score", "support"], "{key}");
    }
    assert_eq!(report["macro avg"]["support"], TEST as f64);
    assert_eq!(report["3"]["support"], 5.0);
    let accuracy = report["accuracy"].as_f64().unwrap();
    assert_eq!(report["weighted avg"]["recall"].as_f64().unwrap(), accuracy);

    let numbers = lab.succeeds("evaluate --data data --weights run");
    assert!(numbers.starts_with("              precision    recall  f1-score   support\n\n           0 "), "{numbers}");
    assert!(
        numbers.contains(&format!("    accuracy                           {accuracy:.2}        50\n")),
        "{numbers}"
    );
    let names = lab.succeeds("evaluate --data data --weights run --class-names");
    assert!(
        names.contains("T-shirt/top ") && names.contains("Ankle boot ") && !names.contains("\n           0 "),
        "{names}"
    );
    // The scores are the same under both headings.
    let scores = |text: &str| -> Vec<String> {
        text.lines().filter(|line| line.len() > 40).map(|line| line[line.len() - 40..].to_owned()).collect()
    };
    assert_eq!(scores(&numbers), scores(&names));

    let train = lab.succeeds("evaluate --data data --weights run --split train");
    assert!(train.contains(&format!("{TRAIN}\n")), "{train}");
}

#[test]
fn scores_are_drawn_on_request() {
    let lab = Lab::new();
    lab.classifier("run");
    lab.succeeds("evaluate --data data --weights run --figures figures");
    for name in ["confusion.png", "predictions.png"] {
        let (width, height) = png_size(&lab.read(&format!("figures/{name}")));
        assert!((200..4000).contains(&width) && (200..4000).contains(&height), "{name}: {width} × {height}");
    }
}

#[test]
fn features_and_their_map_are_written() {
    let lab = Lab::new();
    lab.simsiam("run");
    lab.succeeds("embed --data data --weights run --out map");
    let features = lab.read("map/features.npy");
    let header = String::from_utf8_lossy(&features[10..128]).into_owned();
    assert!(header.contains("'descr': '<f4'") && header.contains(&format!("'shape': ({TEST}, 2048)")), "{header}");
    assert_eq!(features.len() % 64, TEST * 2048 * 4 % 64);
    let table = String::from_utf8(lab.read("map/umap.csv")).unwrap();
    let rows: Vec<Vec<&str>> = table.lines().map(|line| line.split(',').collect()).collect();
    assert_eq!(rows.len(), 1 + TEST);
    assert!(rows.iter().all(|row| row.len() == 4), "{table}");
    assert_eq!((rows[0][0], rows[1][0], rows[2][0]), ("class", "T-shirt/top", "Sneaker"));
    assert!(rows[1][1..].iter().all(|value| value.parse::<f32>().is_ok_and(f32::is_finite)), "{:?}", rows[1]);
    png_size(&lab.read("map/umap.png"));

    lab.succeeds("embed --data data --weights run --out few --split train --first-k 30 --components 2 --neighbors 5");
    assert!(lab.read("few/umap.csv").iter().filter(|&&byte| byte == b'\n').count() == 31);
}

#[test]
fn maps_that_cannot_be_made_leave_no_files() {
    let lab = Lab::new();
    lab.simsiam("run");
    for (options, expected) in [
        ("--first-k 5", "there are 5"),
        ("--components 0", "at least 1 component"),
        ("--neighbors 1", "n_neighbors of 2 or more"),
        ("--first-k 51", "a subset of 51 samples out of 50"),
    ] {
        lab.fails(&format!("embed --data data --weights run --out map {options}"), &[expected]);
        assert!(!lab.exists("map"), "{options}");
    }
}

#[test]
fn the_parts_of_a_step_are_timed() {
    let lab = Lab::new();
    let text = lab.succeeds("bench --data data --batch 20 --steps 2");
    assert!(["views", "forward", "backward", "update"].iter().all(|part| text.contains(part)), "{text}");
    let text = lab.succeeds("bench --data data --batch 20 --steps 2 --json");
    let times: Value = serde_json::from_str(&text).unwrap();
    assert_eq!((text.lines().count(), &times["batch"]), (1, &Value::from(20)));
    assert!(times["images_per_second"].as_f64().unwrap() > 0.0);
    lab.fails("bench --data data --steps 0", &["--steps 0", "at least 1"]);
    lab.fails("bench --data data --batch 201", &["200 images in batches of 201"]);
}

#[test]
fn a_run_says_all_that_made_it() {
    let lab = Lab::new();
    let stdout =
        lab.succeeds("train --data data --run run --epochs 3 --stratified 40 --seed 5 --set optimizer.momentum=0.5");
    assert_eq!(stdout, "run\n");
    let config = String::from_utf8(lab.read("run/config.toml")).unwrap();
    for line in [
        "# twinview ",
        "command = \"train\"",
        "dataset = \"fashion-mnist\"",
        "labels = 40",
        "chosen = \"stratified\"",
        "epochs = 3",
        "seed = 5",
        "momentum = 0.5",
    ] {
        assert!(config.contains(line), "no {line} in {config}");
    }
    let lines: Vec<Value> = String::from_utf8(lab.read("run/metrics.jsonl"))
        .unwrap()
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(lines.len(), 3);
    assert!(lines.iter().all(|line| line["loss"].as_f64().unwrap() > 0.0 && line["images_per_second"].is_number()));
}
