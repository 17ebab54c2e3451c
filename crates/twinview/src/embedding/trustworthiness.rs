//! How well a map keeps neighbourhoods.

use rayon::prelude::*;

use super::products::BLOCK;
use super::space::Space;
use super::{Matrix, Metric, knn_within};
use crate::{Error, Result};

/// Whether the `k` nearest neighbours of points on the map are near in the features too: 0..=1, higher is
/// better (Venna and Kaski 2001). The map's own distances are Euclidean, those of the features by `metric`.
///
/// # Errors
/// When the two differ in rows, or `k` is 0 or not below half of them, where the measure is not defined.
pub fn trustworthiness(features: Matrix<'_>, map: Matrix<'_>, k: usize, metric: Metric) -> Result<f64> {
    let rows = features.rows();
    if map.rows() != rows {
        return Err(Error::Config(format!("{rows} rows of features cannot be compared with a map of {}", map.rows())));
    }
    if k == 0 || 2 * k >= rows {
        return Err(Error::Config(format!(
            "trustworthiness of {rows} samples needs 1 to {} neighbours, not {k}",
            rows.div_ceil(2).saturating_sub(1)
        )));
    }
    let neighbours = knn_within(map, k, Metric::Euclidean)?;
    let space = Space::new(features, features, metric)?;
    let references = space.references();
    let excess: u64 = (0..rows.div_ceil(BLOCK))
        .into_par_iter()
        .map(|block| {
            let first = block * BLOCK;
            let count = BLOCK.min(rows - first);
            let mut scores = vec![vec![f32::INFINITY; rows]; count];
            space.score(&references, first, count, |query, start, part| {
                let target = &mut scores[query][start..rows.min(start + part.len())];
                target.copy_from_slice(&part[..target.len()]);
            });
            let excess = |(query, scores): (usize, &mut Vec<f32>)| -> u64 {
                let itself = first + query;
                scores[itself] = f32::INFINITY;
                let (indices, _) = neighbours.row(itself);
                indices.iter().map(|&index| rank(scores, index as usize).saturating_sub(k) as u64).sum()
            };
            scores.iter_mut().enumerate().map(excess).sum::<u64>()
        })
        .sum();
    let (n, k) = (rows as f64, k as f64);
    Ok(1.0 - excess as f64 * 2.0 / (n * k * (2.0 * n - 3.0 * k - 1.0)))
}

/// The place of `index` in the order of `scores`, from 1 on; equals stand in order of index.
fn rank(scores: &[f32], index: usize) -> usize {
    let score = scores[index];
    let before = scores[..index].iter().filter(|&&other| other <= score).count();
    1 + before + scores[index..].iter().filter(|&&other| other < score).count()
}

#[cfg(test)]
mod tests {
    use super::super::tests::{golden, golden_numbers, normals, with_threads};
    use super::*;

    #[test]
    fn agrees_with_scikit_learn() {
        let (values, columns) = golden("features");
        let (map, components) = golden("pca");
        let (features, map) = (Matrix::new(&values, columns).unwrap(), Matrix::new(&map, components).unwrap());
        let mut expected = golden_numbers("trustworthiness").concat().into_iter();
        for metric in [Metric::Cosine, Metric::Euclidean] {
            for k in [1, 5, 10, 30] {
                let score = trustworthiness(features, map, k, metric).unwrap();
                let expected = expected.next().unwrap();
                assert!((score - expected).abs() < 1e-9, "{metric:?} {k}: {score} {expected}");
            }
        }
    }

    #[test]
    fn a_perfect_map_scores_one_and_a_random_one_about_a_half() {
        let values = normals(400 * 5, 6);
        let features = Matrix::new(&values, 5).unwrap();
        assert_eq!(trustworthiness(features, features, 10, Metric::Euclidean).unwrap(), 1.0);
        let other = normals(400 * 2, 7);
        let map = Matrix::new(&other, 2).unwrap();
        let score = with_threads(1, || trustworthiness(features, map, 10, Metric::Euclidean).unwrap());
        assert!((score - 0.5).abs() < 0.05, "{score}");
        assert_eq!(score, with_threads(3, || trustworthiness(features, map, 10, Metric::Euclidean).unwrap()));
    }

    #[test]
    fn what_is_not_defined_is_refused() {
        let (ten, six) = (Matrix::new(&[1.0; 10], 1).unwrap(), Matrix::new(&[1.0; 6], 1).unwrap());
        assert!(trustworthiness(ten, six, 2, Metric::Cosine).unwrap_err().to_string().contains("a map of 6"));
        let message = trustworthiness(ten, ten, 5, Metric::Cosine).unwrap_err().to_string();
        assert!(message.contains("needs 1 to 4 neighbours, not 5"), "{message}");
        assert!(trustworthiness(ten, ten, 4, Metric::Euclidean).is_ok());
    }
}
