//! Principal components, to start the map from.

use rayon::prelude::*;

use super::Matrix;
use crate::random::{Purpose, Stream};

/// Directions sought beyond those asked for, and rounds of refinement.
const SPARE: usize = 10;
const ROUNDS: usize = 6;
/// Rows are summed in this many parts, whatever the number of threads.
const PARTS: usize = 32;

/// The centred rows of `features` along their first `components` principal axes: `[rows, components]`.
///
/// Randomised subspace iteration (Halko, Martinsson and Tropp 2011, Algorithm 4.4). Axes beyond the rank
/// of the data are all zero.
pub(super) fn project(features: Matrix<'_>, components: usize, seed: u64) -> Vec<f32> {
    let (rows, columns) = (features.rows(), features.columns());
    let mut mean = vec![0.0; columns];
    for row in 0..rows {
        mean.iter_mut().zip(features.row(row)).for_each(|(mean, &value)| *mean += f64::from(value));
    }
    mean.iter_mut().for_each(|mean| *mean /= rows as f64);
    let width = (components + SPARE).min(columns);
    let mut random = Stream::new(seed, Purpose::Umap).at(0, 0, 1);
    let mut axes: Vec<Vec<f64>> =
        (0..width).map(|_| (0..columns).map(|_| f64::from(random.normal())).collect()).collect();
    orthonormalise(&mut axes);
    for _ in 0..ROUNDS {
        axes = scatter(features, &mean, &axes);
        orthonormalise(&mut axes);
    }
    // Rayleigh-Ritz: the best directions within the subspace.
    let images = scatter(features, &mean, &axes);
    let small: Vec<Vec<f64>> = axes.iter().map(|axis| images.iter().map(|image| dot(axis, image)).collect()).collect();
    let rotation = eigenvectors(small, components.min(width));
    let principal: Vec<Vec<f64>> = rotation
        .iter()
        .map(|weights| {
            let mut axis = vec![0.0; columns];
            weights.iter().zip(&axes).for_each(|(weight, part)| add_scaled(&mut axis, *weight, part));
            axis
        })
        .collect();
    let mut projected = vec![0.0; rows * components];
    projected.par_chunks_mut(components).enumerate().for_each(|(row, target)| {
        let centred = centred(features.row(row), &mean);
        target.iter_mut().zip(&principal).for_each(|(target, axis)| *target = dot(&centred, axis) as f32);
    });
    projected
}

/// The scatter matrix of the rows applied to each axis.
fn scatter(features: Matrix<'_>, mean: &[f64], axes: &[Vec<f64>]) -> Vec<Vec<f64>> {
    let part_rows = features.rows().div_ceil(PARTS).max(1);
    let parts: Vec<Vec<Vec<f64>>> = features
        .values()
        .par_chunks(part_rows * features.columns())
        .map(|part| {
            let mut images = vec![vec![0.0; mean.len()]; axes.len()];
            for row in part.chunks_exact(mean.len()) {
                let row = centred(row, mean);
                for (image, axis) in images.iter_mut().zip(axes) {
                    add_scaled(image, dot(&row, axis), &row);
                }
            }
            images
        })
        .collect();
    let mut images = vec![vec![0.0; mean.len()]; axes.len()];
    for part in &parts {
        images.iter_mut().zip(part).for_each(|(image, part)| add_scaled(image, 1.0, part));
    }
    images
}

fn centred(row: &[f32], mean: &[f64]) -> Vec<f64> {
    row.iter().zip(mean).map(|(&value, mean)| f64::from(value) - mean).collect()
}

fn dot(left: &[f64], right: &[f64]) -> f64 {
    // Eight sums side by side let the compiler use vector instructions without changing the order.
    let mut sums = [0.0; 8];
    let ((left, left_rest), (right, right_rest)) = (left.as_chunks::<8>(), right.as_chunks::<8>());
    for (x, y) in left.iter().zip(right) {
        (0..8).for_each(|lane| sums[lane] += x[lane] * y[lane]);
    }
    sums.iter().sum::<f64>() + left_rest.iter().zip(right_rest).map(|(x, y)| x * y).sum::<f64>()
}

fn add_scaled(target: &mut [f64], factor: f64, source: &[f64]) {
    target.iter_mut().zip(source).for_each(|(target, source)| *target += factor * source);
}

/// Gram-Schmidt, twice for precision; directions that vanish become zero.
fn orthonormalise(axes: &mut [Vec<f64>]) {
    for index in 0..axes.len() {
        let (done, rest) = axes.split_at_mut(index);
        let axis = &mut rest[0];
        let before = dot(axis, axis).sqrt();
        for _ in 0..2 {
            for other in &*done {
                let along = dot(axis, other);
                add_scaled(axis, -along, other);
            }
        }
        let length = dot(axis, axis).sqrt();
        let factor = if length > 1e-10 * before { 1.0 / length } else { 0.0 };
        axis.iter_mut().for_each(|value| *value *= factor);
    }
}

/// The eigenvectors of the `count` largest eigenvalues of a small symmetric matrix, by Jacobi rotations.
fn eigenvectors(mut matrix: Vec<Vec<f64>>, count: usize) -> Vec<Vec<f64>> {
    let size = matrix.len();
    let mut vectors: Vec<Vec<f64>> =
        (0..size).map(|row| (0..size).map(|column| f64::from(u8::from(row == column))).collect()).collect();
    for _ in 0..50 {
        for p in 0..size {
            for q in p + 1..size {
                if matrix[p][q].abs() <= 1e-300 {
                    continue;
                }
                let theta = (matrix[q][q] - matrix[p][p]) / (2.0 * matrix[p][q]);
                let tangent = theta.signum() / (theta.abs() + theta.hypot(1.0));
                let cosine = 1.0 / tangent.hypot(1.0);
                let sine = tangent * cosine;
                let turn = |x: f64, y: f64| (cosine * x - sine * y, sine * x + cosine * y);
                for row in &mut matrix {
                    (row[p], row[q]) = turn(row[p], row[q]);
                }
                for column in 0..size {
                    (matrix[p][column], matrix[q][column]) = turn(matrix[p][column], matrix[q][column]);
                    (vectors[p][column], vectors[q][column]) = turn(vectors[p][column], vectors[q][column]);
                }
            }
        }
    }
    let mut order: Vec<usize> = (0..size).collect();
    order.sort_by(|&left, &right| matrix[right][right].total_cmp(&matrix[left][left]));
    order.into_iter().take(count).map(|index| vectors[index].clone()).collect()
}

#[cfg(test)]
mod tests {
    use super::super::tests::{golden, normals, with_threads};
    use super::*;

    #[test]
    fn agrees_with_scikit_learn_up_to_sign() {
        let (values, columns) = golden("features");
        let (theirs, components) = golden("pca");
        let ours = project(Matrix::new(&values, columns).unwrap(), components, 0);
        for component in 0..components {
            let pairs = || ours.iter().zip(&theirs).skip(component).step_by(components);
            let sign = pairs().map(|(x, y)| x * y).sum::<f32>().signum();
            for (x, y) in pairs() {
                assert!((sign * x - y).abs() < 1e-3, "component {component}: {x} {y}");
            }
        }
    }

    #[test]
    fn components_beyond_the_rank_are_zero() {
        let line: Vec<f32> = (0..40).flat_map(|row| [row as f32, -2.0 * row as f32]).collect();
        let projected = project(Matrix::new(&line, 2).unwrap(), 3, 0);
        assert!((projected[0].abs() - 5_f32.sqrt() * 19.5).abs() < 1e-3, "{}", projected[0]);
        assert!(projected.chunks(3).all(|row| row[1].abs() < 1e-3 && row[2] == 0.0));
        assert_eq!(project(Matrix::new(&[3.0; 20], 2).unwrap(), 2, 0), [0.0; 20]);
    }

    #[test]
    fn the_number_of_threads_changes_nothing() {
        let values = normals(300 * 25, 5);
        let run = |threads| with_threads(threads, || project(Matrix::new(&values, 25).unwrap(), 3, 1));
        assert_eq!(run(1), run(3));
    }
}
