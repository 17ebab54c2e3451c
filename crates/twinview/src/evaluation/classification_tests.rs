//! Against scikit-learn's reports, byte for byte.

use super::super::ConfusionMatrix;
use super::*;

fn golden() -> Vec<Value> {
    let text = include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/../../golden/evaluation/reports.json"));
    let file: Value = serde_json::from_str(text).unwrap();
    assert_eq!(file["versions"]["scikit-learn"], "1.9.1");
    file["cases"].as_array().unwrap().clone()
}

fn number(value: &Value) -> u8 {
    u8::try_from(value.as_u64().unwrap()).unwrap()
}

fn samples(case: &Value) -> (Vec<u8>, Vec<u8>) {
    let pairs = case["counts"].as_array().unwrap().iter().flat_map(|count| {
        std::iter::repeat_n((number(&count[0]), number(&count[1])), count[2].as_u64().unwrap() as usize)
    });
    pairs.unzip()
}

#[test]
fn text_json_and_warnings_equal_scikit_learns() {
    let cases = golden();
    assert!(cases.len() >= 24);
    for case in &cases {
        let (truth, predicted) = samples(case);
        let mut report = match case["labels"].as_array() {
            Some(labels) => {
                ClassificationReport::of_labels(&truth, &predicted, &labels.iter().map(number).collect::<Vec<_>>())
            }
            None => ClassificationReport::new(&truth, &predicted),
        }
        .unwrap();
        if let Some(names) = case["names"].as_array() {
            let names: Vec<String> = names.iter().map(|name| name.as_str().unwrap().to_owned()).collect();
            report = report.with_names(&names).unwrap();
        }
        let name = &case["name"];
        let digits = case["digits"].as_u64().unwrap() as usize;
        assert_eq!(format!("{report:.digits$}"), case["text"].as_str().unwrap(), "{name}");
        assert_eq!(report.to_json().to_string(), case["json"].as_str().unwrap(), "{name}");
        assert_eq!(json!(report.warnings()), case["warnings"], "{name}");
    }
}

#[test]
fn confusion_matrices_equal_scikit_learns() {
    let mut compared = 0;
    for case in golden() {
        let Some(rows) = case["confusion"].as_array() else { continue };
        let (truth, predicted) = samples(&case);
        let matrix = ConfusionMatrix::new(&truth, &predicted, rows.len()).unwrap();
        let counts: Vec<&[u64]> = matrix.rows().collect();
        assert_eq!(json!(counts), case["confusion"], "{}", case["name"]);
        for (row, expected) in matrix.normalised().iter().zip(case["normalised"].as_array().unwrap()) {
            for (share, expected) in row.iter().zip(expected.as_array().unwrap()) {
                assert!((share - expected.as_f64().unwrap()).abs() < 1e-15, "{}", case["name"]);
            }
        }
        compared += 1;
    }
    assert!(compared >= 24, "{compared}");
}

#[test]
fn bad_input_is_told() {
    let message = |result: Result<ClassificationReport>| result.unwrap_err().to_string();
    assert!(message(ClassificationReport::new(&[1, 2], &[1])).contains("2 true labels and 1 predicted"));
    assert!(message(ClassificationReport::new(&[], &[])).contains("no predictions"));
    assert!(message(ClassificationReport::of_labels(&[1], &[1], &[])).contains("at least one"));
    assert!(message(ClassificationReport::of_labels(&[1], &[1], &[1, 0, 1])).contains("label 1 is listed twice"));
    let report = ClassificationReport::new(&[0, 3], &[0, 0]).unwrap();
    assert!(message(report.with_names(&["a".into(), "b".into()])).contains("2 class names but a label is 3"));
}

proptest::proptest! {
    #[test]
    fn figures_stay_between_0_and_1_and_micro_is_accuracy(
        pairs in proptest::collection::vec((0u8..6, 0u8..6), 1..80),
    ) {
        let (truth, predicted): (Vec<u8>, Vec<u8>) = pairs.iter().copied().unzip();
        let report = ClassificationReport::new(&truth, &predicted).unwrap();
        let right = pairs.iter().filter(|(truth, predicted)| truth == predicted).count();
        assert_eq!(report.accuracy().unwrap(), right as f64 / pairs.len() as f64);
        assert!((report.weighted_average().recall - report.accuracy().unwrap()).abs() < 1e-12);
        for scores in report.rows().iter().map(|row| row.1).chain([report.macro_average()]) {
            for figure in [scores.precision, scores.recall, scores.f1] {
                assert!((0.0..=1.0).contains(&figure));
            }
        }
        assert_eq!(report.rows().iter().map(|row| row.1.support).sum::<u64>(), pairs.len() as u64);
    }
}
