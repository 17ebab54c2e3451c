//! The measures without labels against PyTorch.

use super::*;
use crate::embedding::Matrix;

fn numbers(value: &serde_json::Value) -> Vec<f32> {
    value.as_array().unwrap().iter().map(|number| number.as_f64().unwrap() as f32).collect()
}

#[test]
fn measures_equal_pytorchs() {
    let text = include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/../../golden/evaluation/probes.json"));
    let file: serde_json::Value = serde_json::from_str(text).unwrap();
    let cases = file["measures"].as_array().unwrap();
    assert_eq!(cases.len(), 6);
    for case in cases {
        let columns = case["dimension"].as_u64().unwrap() as usize;
        let (rows, pairs) = (numbers(&case["rows"]), numbers(&case["pairs"]));
        let (rows, pairs) = (Matrix::new(&rows, columns).unwrap(), Matrix::new(&pairs, columns).unwrap());
        // Singular values of nearly 0 are rounding, on both sides.
        for (measure, ours, tolerance) in [
            ("alignment", alignment(rows, pairs).unwrap(), 1e-9),
            ("uniformity", uniformity(rows).unwrap(), 1e-9),
            ("effective_rank", effective_rank(rows), 1e-5),
        ] {
            let expected = case[measure].as_f64().unwrap();
            assert!(
                (ours - expected).abs() < tolerance * expected.abs().max(1e-3),
                "{measure}, {}: {ours} {expected}",
                case["name"]
            );
        }
    }
}

#[test]
fn the_ends_of_the_measures() {
    let same = Matrix::new(&[0.3, 0.4, 3.0, 4.0, 6.0, 8.0], 2).unwrap();
    let opposite = Matrix::new(&[-0.3, -0.4, -3.0, -4.0, -6.0, -8.0], 2).unwrap();
    assert!(alignment(same, same).unwrap() == 0.0 && (alignment(same, opposite).unwrap() - 4.0).abs() < 1e-6);
    assert!(uniformity(same).unwrap().abs() < 1e-6);
    assert!((effective_rank(same) - 1.0).abs() < 1e-3, "{}", effective_rank(same));
    let axes: Vec<f32> = (0..16).map(|place| if place % 5 == 0 { -1e17 } else { 0.0 }).collect();
    let axes = Matrix::new(&axes, 4).unwrap();
    assert!((effective_rank(axes) - 4.0).abs() < 1e-9);
    assert!((uniformity(axes).unwrap() + 4.0).abs() < 1e-9);
    assert_eq!(effective_rank(Matrix::new(&[0.0; 6], 2).unwrap()), 0.0);
    assert_eq!(effective_rank(Matrix::new(&[], 2).unwrap()), 0.0);
}

#[test]
fn many_rows_are_looked_at_in_part_and_from_end_to_end() {
    // Each half of the rows on a line of its own: rows from one half only would have rank 1.
    for columns in [3, 1500] {
        let rows = 5000;
        let mut values = vec![0.0; rows * columns];
        values.chunks_mut(columns).enumerate().for_each(|(row, target)| target[2 * row / rows] = 1.0);
        let features = Matrix::new(&values, columns).unwrap();
        assert!((effective_rank(features) - 2.0).abs() < 1e-3);
        // Half of the pairs are at a distance² of 2.
        let expected = (0.5 + 0.5 * (-4.0_f64).exp()).ln();
        assert!((uniformity(features).unwrap() - expected).abs() < 1e-3);
    }
}

#[test]
fn the_number_of_threads_changes_nothing() {
    let values: Vec<f32> = (0..150 * 70).map(|index| (index as f32).sin()).collect();
    let features = Matrix::new(&values, 70).unwrap();
    let run = |threads| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(|| (effective_rank(features), uniformity(features).unwrap()))
    };
    assert_eq!(run(1), run(3));
}

#[test]
fn what_cannot_be_compared_is_refused() {
    let (one, two) = (Matrix::new(&[1.0, 2.0], 2).unwrap(), Matrix::new(&[1.0, 2.0], 1).unwrap());
    assert!(alignment(one, two).unwrap_err().to_string().contains("1 rows of 2 features"));
    assert!(alignment(Matrix::new(&[], 2).unwrap(), Matrix::new(&[], 2).unwrap()).is_err());
    assert!(uniformity(one).unwrap_err().to_string().contains("at least two rows"));
}

#[test]
fn timing_measures() {
    for (rows, columns) in [(1024, 2048), (4096, 512), (4096, 1024), (2048, 128)] {
        let mut random = crate::random::Stream::new(1, crate::random::Purpose::Shapes).at(0, 0, 0);
        let values: Vec<f32> = (0..rows * columns).map(|_| random.normal()).collect();
        let features = Matrix::new(&values, columns).unwrap();
        let begun = std::time::Instant::now();
        let rank = effective_rank(features);
        let ranked = begun.elapsed();
        let begun = std::time::Instant::now();
        let even = uniformity(features).unwrap();
        println!("{rows} x {columns}: rank {rank} {ranked:?}, uniformity {even} {:?}", begun.elapsed());
    }
}
