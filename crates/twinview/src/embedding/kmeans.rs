//! k-means: rows in groups around their means.

use rayon::prelude::*;

use super::Matrix;
use super::products::{BLOCK, References};
use crate::random::{Purpose, Random, Stream};
use crate::{Error, Result};

/// Columns of a task that sums rows.
const TASK_COLUMNS: usize = 256;

/// k-means with Euclidean distances (Lloyd 1982), begun by k-means++ (Arthur and Vassilvitskii 2007).
#[derive(Clone, Copy, Debug)]
pub struct KMeans {
    /// Groups.
    pub clusters: usize,
    /// Most rounds; it ends earlier where no row changes its group.
    pub rounds: usize,
    /// What the first centres are drawn by.
    pub seed: u64,
}

/// The groups that [`KMeans`] found.
#[derive(Clone, Debug, PartialEq)]
pub struct Clusters {
    /// The group of each row.
    pub labels: Vec<u32>,
    /// The mean of each group, `[clusters, columns]`.
    pub centers: Vec<f32>,
    /// Squared distances of the rows from the centres of their groups, summed.
    pub inertia: f64,
}

impl KMeans {
    /// Groups `rows`. No group is empty where there are as many different rows.
    ///
    /// # Errors
    /// When there are no clusters to make, or fewer rows than clusters.
    pub fn fit(&self, rows: Matrix<'_>) -> Result<Clusters> {
        if self.clusters == 0 || self.clusters > rows.rows() {
            return Err(Error::Config(format!(
                "{} groups of {} images; ask for at least 1 and at most one for each image",
                self.clusters,
                rows.rows()
            )));
        }
        let mut random = Stream::new(self.seed, Purpose::Subset).at(0, 0, 1);
        Ok(self.fit_from(rows, first_centers(rows, self.clusters, &mut random)))
    }

    /// The same from given centres.
    fn fit_from(&self, rows: Matrix<'_>, mut centers: Vec<f32>) -> Clusters {
        let (mut labels, mut distances) = nearest(rows, &centers);
        for _ in 0..self.rounds {
            centers = means(rows, &mut labels, &distances, self.clusters);
            let (next, next_distances) = nearest(rows, &centers);
            distances = next_distances;
            if next == labels {
                break;
            }
            labels = next;
        }
        Clusters { labels, centers, inertia: distances.iter().map(|&distance| f64::from(distance)).sum() }
    }
}

/// Rows that are far from one another: each is drawn with a chance that grows with its squared distance from those before.
fn first_centers(rows: Matrix<'_>, clusters: usize, random: &mut Random) -> Vec<f32> {
    let mut centers = Vec::with_capacity(clusters * rows.columns());
    let mut left = vec![f32::INFINITY; rows.rows()];
    let mut chosen = random.below(rows.rows() as u32) as usize;
    loop {
        let center = rows.row(chosen);
        centers.extend_from_slice(center);
        if centers.len() == clusters * rows.columns() {
            return centers;
        }
        left.par_iter_mut().enumerate().for_each(|(row, left)| *left = left.min(squared(rows.row(row), center)));
        let total: f64 = left.iter().map(|&distance| f64::from(distance)).sum();
        let mut at = f64::from(random.uniform()) * total;
        let passed = |distance: &f32| {
            at -= f64::from(*distance);
            at < 0.0
        };
        // Where all rows are centres already, the last one stands in.
        chosen = left.iter().position(passed).unwrap_or(rows.rows() - 1);
    }
}

fn squared(a: &[f32], b: &[f32]) -> f32 {
    const LANES: usize = 16;
    let (a, a_rest) = a.as_chunks::<LANES>();
    let (b, b_rest) = b.as_chunks::<LANES>();
    let mut sums = [0.0f32; LANES];
    for (a, b) in a.iter().zip(b) {
        for lane in 0..LANES {
            sums[lane] += (a[lane] - b[lane]).powi(2);
        }
    }
    let rest: f32 = a_rest.iter().zip(b_rest).map(|(a, b)| (a - b).powi(2)).sum();
    sums.iter().sum::<f32>() + rest
}

/// The nearest centre of each row, of equals the first, and its squared distance.
fn nearest(rows: Matrix<'_>, centers: &[f32]) -> (Vec<u32>, Vec<f32>) {
    let columns = rows.columns();
    let references = References::pack(centers.len() / columns, columns, |center, target| {
        target.copy_from_slice(&centers[center * columns..][..columns]);
    });
    let blocks: Vec<Vec<(u32, f32)>> = (0..rows.rows().div_ceil(BLOCK))
        .into_par_iter()
        .map(|block| {
            let first = block * BLOCK;
            let count = BLOCK.min(rows.rows() - first);
            let mut best = vec![(0, f32::INFINITY); count];
            let fill = |query: usize, target: &mut [f32]| target.copy_from_slice(rows.row(first + query));
            references.score(count, fill, |query, first_center, scores| {
                for (lane, &score) in scores.iter().enumerate() {
                    if score < best[query].1 {
                        best[query] = ((first_center + lane) as u32, score);
                    }
                }
            });
            let exact = |(query, (center, _)): (usize, (u32, f32))| {
                (center, squared(rows.row(first + query), &centers[center as usize * columns..][..columns]))
            };
            best.into_iter().enumerate().map(exact).collect()
        })
        .collect();
    blocks.into_iter().flatten().unzip()
}

/// The mean of each group. An empty one takes the row that is farthest from its centre.
fn means(rows: Matrix<'_>, labels: &mut [u32], distances: &[f32], clusters: usize) -> Vec<f32> {
    let columns = rows.columns();
    let mut counts = vec![0u32; clusters];
    labels.iter().for_each(|&label| counts[label as usize] += 1);
    let mut far: Vec<usize> = Vec::new();
    if counts.contains(&0) {
        far = (0..rows.rows()).collect();
        far.sort_by(|&a, &b| distances[a].total_cmp(&distances[b]).then(b.cmp(&a)));
    }
    for cluster in 0..clusters {
        while counts[cluster] == 0
            && let Some(row) = far.pop()
        {
            if counts[labels[row] as usize] > 1 {
                counts[labels[row] as usize] -= 1;
                counts[cluster] += 1;
                labels[row] = cluster as u32;
            }
        }
    }
    let blocks: Vec<Vec<f64>> = (0..columns.div_ceil(TASK_COLUMNS))
        .into_par_iter()
        .map(|block| {
            let place = block * TASK_COLUMNS..columns.min((block + 1) * TASK_COLUMNS);
            let mut sums = vec![0.0; clusters * place.len()];
            for (row, &label) in labels.iter().enumerate() {
                let sums = &mut sums[label as usize * place.len()..][..place.len()];
                sums.iter_mut().zip(&rows.row(row)[place.clone()]).for_each(|(sum, &value)| *sum += f64::from(value));
            }
            sums
        })
        .collect();
    let mut centers = Vec::with_capacity(clusters * columns);
    for (cluster, &count) in counts.iter().enumerate() {
        for block in &blocks {
            let width = block.len() / clusters;
            let sums = &block[cluster * width..(cluster + 1) * width];
            centers.extend(sums.iter().map(|sum| (sum / f64::from(count.max(1))) as f32));
        }
    }
    centers
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::tests::{golden, normals, with_threads};
    use super::*;

    /// `golden/embedding/make_select.py` made the numbers with scikit-learn, from the same first centres.
    #[test]
    fn groups_are_scikit_learns() {
        let (features, columns) = golden("features");
        let rows = Matrix::new(&features, columns).unwrap();
        let (labels, _) = golden("kmeans_labels");
        let (centers, _) = golden("kmeans_centers");
        let kmeans = KMeans { clusters: 6, rounds: 300, seed: 0 };
        let first = (0..6).flat_map(|row| rows.row(row * 7).to_vec()).collect();
        let found = kmeans.fit_from(rows, first);
        assert_eq!(found.labels.iter().map(|&label| label as f32).collect::<Vec<_>>(), labels);
        assert!(found.centers.iter().zip(&centers).all(|(one, other)| (one - other).abs() < 1e-5));
        let inertia = golden_select("inertia");
        assert!((found.inertia - inertia).abs() < 1e-4 * inertia, "{} {inertia}", found.inertia);
    }

    fn golden_select(word: &str) -> f64 {
        let text = include_str!("../../../../golden/embedding/select.txt");
        let line = text.lines().find_map(|line| line.strip_prefix(word)).unwrap();
        line.trim().parse().unwrap()
    }

    #[test]
    fn groups_that_lie_apart_are_found() {
        let noise = normals(600 * 5, 3);
        let values: Vec<f32> =
            noise.iter().enumerate().map(|(at, noise)| 0.1 * noise + (at / 5 % 6 * 10) as f32).collect();
        for seed in 0..5 {
            let found = KMeans { clusters: 6, rounds: 100, seed }.fit(Matrix::new(&values, 5).unwrap()).unwrap();
            assert!((0..600).all(|row| found.labels[row] == found.labels[row % 6]), "seed {seed}");
            assert!(found.inertia < 600.0 * 5.0 * 0.02, "{}", found.inertia);
        }
    }

    #[test]
    fn what_cannot_be_grouped_is_refused() {
        let rows = Matrix::new(&[0.0, 1.0, 2.0], 1).unwrap();
        for clusters in [0, 4] {
            let message = KMeans { clusters, rounds: 1, seed: 0 }.fit(rows).unwrap_err().to_string();
            assert!(message.contains(&format!("{clusters} groups of 3 images")), "{message}");
        }
        // Equal rows are no error, though there are not as many groups.
        let equal = KMeans { clusters: 3, rounds: 9, seed: 0 }.fit(Matrix::new(&[1.0; 4], 1).unwrap()).unwrap();
        assert_eq!((equal.labels.len(), equal.inertia), (4, 0.0));
    }

    proptest! {
        #[test]
        fn each_row_is_in_the_nearest_group_and_threads_change_nothing(
            rows in 1_usize..150, columns in 1_usize..40, share in 0.0..1.0, seed: u64,
        ) {
            let values = normals(rows * columns, seed);
            let matrix = Matrix::new(&values, columns).unwrap();
            let clusters = 1 + (share * (rows - 1) as f64) as usize;
            let kmeans = KMeans { clusters, rounds: 300, seed };
            let found = with_threads(1, || kmeans.fit(matrix).unwrap());
            prop_assert_eq!(&with_threads(3, || kmeans.fit(matrix).unwrap()), &found);
            for (row, &label) in found.labels.iter().enumerate() {
                let distance = |center: usize| squared(matrix.row(row), &found.centers[center * columns..][..columns]);
                prop_assert!((0..clusters).all(|other| distance(label as usize) <= distance(other) + 1e-4));
            }
            prop_assert!((0..clusters).all(|cluster| found.labels.contains(&(cluster as u32))));
        }
    }
}
