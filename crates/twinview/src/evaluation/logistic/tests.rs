//! Against scikit-learn, and what it has no word on.

use serde_json::Value;

use super::cross_validation::{log_likelihood, predict_folds};
use super::likeliest;
use super::*;
use crate::embedding::read_npy;
use crate::evaluation::ClassificationReport;
use crate::random::{Purpose, Stream};

fn golden() -> Value {
    let text = include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/../../golden/evaluation/probes.json"));
    let file: Value = serde_json::from_str(text).unwrap();
    assert_eq!(file["versions"]["scikit-learn"], "1.9.1");
    file
}

fn numbers(value: &Value) -> Vec<f64> {
    value.as_array().unwrap().iter().map(|number| number.as_f64().unwrap()).collect()
}

/// Golden features and how many a row has, labels, and how many rows are to learn from.
fn samples(file: &Value) -> (Vec<f32>, usize, Vec<u8>, usize) {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../golden/evaluation/probe_features.npy");
    let (values, columns) = read_npy(path).unwrap();
    let labels = numbers(&file["labels"]).iter().map(|&label| label as u8).collect();
    (values, columns, labels, file["train"].as_u64().unwrap() as usize)
}

/// Random clusters: features, and labels below `classes`.
fn clusters(rows: usize, columns: usize, classes: u8, seed: u64) -> (Vec<f32>, Vec<u8>) {
    let mut random = Stream::new(seed, Purpose::Shapes).at(0, 0, 0);
    let centres: Vec<f32> = (0..columns * usize::from(classes)).map(|_| random.normal()).collect();
    let labels: Vec<u8> = (0..rows).map(|_| random.below(u32::from(classes)) as u8).collect();
    let place = |&label: &u8| centres[usize::from(label) * columns..][..columns].to_vec();
    let values = labels.iter().flat_map(place).map(|centre| centre + 2.0 * random.normal()).collect();
    (values, labels)
}

#[test]
fn fits_are_those_of_scikit_learn() {
    let file = golden();
    let (values, columns, labels, train) = samples(&file);
    let (values, test) = values.split_at(train * columns);
    let test = Matrix::new(test, columns).unwrap();
    let cases = file["fits"].as_array().unwrap();
    assert_eq!(cases.len(), 5);
    for case in cases {
        let classes = case["classes"].as_u64().unwrap() as usize;
        let used: Vec<usize> = (0..train).filter(|&row| usize::from(labels[row]) < classes).collect();
        let rows: Vec<f32> = used.iter().flat_map(|row| &values[row * columns..][..columns]).copied().collect();
        let of_rows: Vec<u8> = used.iter().map(|&row| labels[row]).collect();
        let regression = LogisticRegression {
            c: case["c"].as_f64().unwrap(),
            standardize: case["standardize"].as_bool().unwrap(),
            tolerance: 1e-7,
            ..Default::default()
        };
        let model = regression.fit(Matrix::new(&rows, columns).unwrap(), &of_rows, classes).unwrap();
        let name = &case["name"];
        assert!(model.converged(), "{name}: {} iterations", model.iterations());
        let expected = case["loss"].as_f64().unwrap();
        assert!((model.loss() - expected).abs() < 1e-6 * expected, "{name}: {} {expected}", model.loss());
        let probabilities = model.probabilities(test).unwrap();
        let expected: Vec<f64> = case["probabilities"].as_array().unwrap().iter().flat_map(numbers).collect();
        assert_eq!(probabilities.len(), expected.len());
        for (&ours, theirs) in probabilities.iter().zip(expected) {
            assert!((f64::from(ours) - theirs).abs() < 1e-3, "{name}: {ours} {theirs}");
        }
    }
}

#[test]
fn cross_validation_scores_are_those_of_scikit_learn() {
    let file = golden();
    let (values, columns, labels, train) = samples(&file);
    let features = Matrix::new(&values[..train * columns], columns).unwrap();
    let labels = &labels[..train];
    let case = &file["cross_validation"];
    let folds: Vec<Option<usize>> = numbers(&case["folds"]).iter().map(|&fold| Some(fold as usize)).collect();
    let cases = case["grid"].as_array().unwrap();
    let grid: Vec<f64> = cases.iter().map(|case| case["c"].as_f64().unwrap()).collect();
    let regression = LogisticRegression { tolerance: 1e-6, ..Default::default() };
    let (shares, unconverged) = predict_folds(&regression, &grid, features, labels, 7, &folds).unwrap();
    assert_eq!((shares.len(), unconverged), (7, 0));
    for (shares, case) in shares.iter().zip(cases) {
        let shares: Vec<&[f32]> = shares.chunks(7).collect();
        let predicted: Vec<u8> = shares.iter().map(|shares| likeliest(shares) as u8).collect();
        let theirs: Vec<u8> = numbers(&case["predicted"]).iter().map(|&class| class as u8).collect();
        assert_eq!(predicted, theirs, "c {}", case["c"]);
        let report = ClassificationReport::new(labels, &predicted).unwrap();
        assert!((report.accuracy().unwrap() - case["accuracy"].as_f64().unwrap()).abs() < 1e-12);
        assert!((report.macro_average().f1 - case["macro_f1"].as_f64().unwrap()).abs() < 1e-12);
        let (ours, theirs) = (log_likelihood(labels, &shares), case["neg_log_loss"].as_f64().unwrap());
        assert!((ours - theirs).abs() < 1e-3 * theirs.abs(), "c {}: {ours} {theirs}", case["c"]);
    }
}

#[test]
fn the_number_of_threads_changes_nothing() {
    let (values, labels) = clusters(700, 37, 4, 1);
    let features = Matrix::new(&values, 37).unwrap();
    let run = |threads| {
        rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap().install(|| {
            let choice =
                CrossValidation::default().choose(&LogisticRegression::default(), features, &labels, 4).unwrap();
            let model = LogisticRegression { c: choice.c, ..Default::default() }.fit(features, &labels, 4).unwrap();
            (choice, model.probabilities(features).unwrap(), model.loss())
        })
    };
    let one = run(1);
    assert_eq!(one, run(2));
    assert_eq!(one, run(5));
}

#[test]
fn a_class_without_labels_is_never_predicted_and_a_single_one_always() {
    let (values, mut labels) = clusters(50, 6, 3, 2);
    labels.iter_mut().for_each(|label| *label += u8::from(*label > 0));
    let features = Matrix::new(&values, 6).unwrap();
    let model = LogisticRegression::default().fit(features, &labels, 5).unwrap();
    let probabilities = model.probabilities(features).unwrap();
    for row in probabilities.chunks(5) {
        assert!(row[1] == 0.0 && row[4] == 0.0 && (row.iter().sum::<f32>() - 1.0).abs() < 1e-6);
    }
    let model = LogisticRegression::default().fit(features, &[3; 50], 5).unwrap();
    assert!(model.converged());
    assert_eq!(model.predict(features).unwrap(), [3; 50]);
}

#[test]
fn the_linear_layer_gives_the_same_probabilities() {
    let (values, mut labels) = clusters(80, 9, 3, 3);
    labels.iter_mut().for_each(|label| *label += u8::from(*label > 0));
    let features = Matrix::new(&values, 9).unwrap();
    let model = LogisticRegression::default().fit(features, &labels, 4).unwrap();
    let (weights, biases) = model.linear_layer();
    for (row, expected) in model.probabilities(features).unwrap().chunks(4).enumerate() {
        let logits = weights.chunks(9).zip(&biases).map(|(weights, bias)| {
            bias + weights.iter().zip(features.row(row)).map(|(weight, value)| weight * value).sum::<f32>()
        });
        let powers: Vec<f32> = logits.map(f32::exp).collect();
        let sum: f32 = powers.iter().sum();
        for (power, expected) in powers.iter().zip(expected) {
            assert!((power / sum - expected).abs() < 1e-5);
        }
    }
}

#[test]
fn equal_scores_choose_the_strongest_penalty() {
    let values: Vec<f32> = (0..40).map(|row| if row % 2 == 0 { -1.0 } else { 1.0 } + row as f32 / 100.0).collect();
    let labels: Vec<u8> = (0..40).map(|row| row % 2).collect();
    let features = Matrix::new(&values, 1).unwrap();
    let choose = |score| {
        let cross_validation = CrossValidation { score, grid: vec![1.0, 0.01, 0.1], ..Default::default() };
        cross_validation.choose(&LogisticRegression::default(), features, &labels, 2).unwrap()
    };
    let scores = vec![(0.01, 1.0), (0.1, 1.0), (1.0, 1.0)];
    assert_eq!(choose(Score::Accuracy), Choice { c: 0.01, scores, accuracy: Some(1.0), unconverged: 0 });
    // All are right, and a weak penalty is surer of it.
    let surest = choose(Score::LogLikelihood);
    assert_eq!((surest.c, surest.accuracy), (1.0, Some(1.0)));
    assert!(surest.scores.is_sorted_by(|one, other| one.1 < other.1 && other.1 < 0.0), "{surest:?}");
}

#[test]
fn the_penalty_that_predicts_best_is_chosen() {
    // Two telling features among many that are noise: a weak penalty learns the noise.
    let (mut values, labels) = clusters(120, 200, 2, 4);
    values.chunks_mut(200).zip(&labels).for_each(|(row, &label)| {
        row.iter_mut().skip(2).for_each(|value| *value *= 1e-3);
        row[0] = f32::from(label) + 0.5 * row[0];
    });
    let features = Matrix::new(&values, 200).unwrap();
    let cross_validation = CrossValidation { score: Score::MacroF1, grid: vec![1e-6, 1.0], ..Default::default() };
    let regression = LogisticRegression { standardize: false, ..Default::default() };
    let choice = cross_validation.choose(&regression, features, &labels, 2).unwrap();
    assert!(choice.c == 1.0 && choice.scores[1].1 > choice.scores[0].1 + 0.2, "{choice:?}");
}

#[test]
fn rare_classes_are_cross_validated_as_far_as_they_can_be() {
    let (values, _) = clusters(9, 4, 2, 5);
    let features = Matrix::new(&values, 4).unwrap();
    let choose =
        |labels: &[u8]| CrossValidation::default().choose(&LogisticRegression::default(), features, labels, 9).unwrap();
    // One image in class 2 and two in class 1.
    assert_eq!(choose(&[0, 0, 0, 0, 0, 0, 1, 1, 2]).scores.len(), 13);
    let one_each = choose(&[0, 1, 2, 3, 4, 5, 6, 7, 8]);
    assert_eq!((one_each.c, one_each.scores.len()), (1.0, 0));
}

#[test]
fn what_cannot_be_fitted_is_refused() {
    let features = Matrix::new(&[1.0, 2.0, 3.0, 4.0], 2).unwrap();
    let fit =
        |regression: LogisticRegression, labels: &[u8]| regression.fit(features, labels, 3).unwrap_err().to_string();
    let plain = LogisticRegression::default();
    assert!(fit(plain, &[1]).contains("2 rows of features came with 1 labels"));
    assert!(fit(plain, &[1, 3]).contains("label 3 is none of 3 classes"));
    for c in [0.0, -1.0, f64::NAN, f64::INFINITY] {
        assert!(fit(LogisticRegression { c, ..plain }, &[0, 1]).contains("c is"));
    }
    let model = plain.fit(features, &[0, 1], 3).unwrap();
    let wide = Matrix::new(&[0.0; 3], 3).unwrap();
    assert!(model.predict(wide).unwrap_err().to_string().contains("3 columns"));
    for wrong in [
        CrossValidation { folds: 1, ..Default::default() },
        CrossValidation { grid: Vec::new(), ..Default::default() },
        CrossValidation { grid: vec![1.0, 0.0], ..Default::default() },
    ] {
        assert!(wrong.choose(&plain, features, &[0, 1], 3).is_err());
    }
}
