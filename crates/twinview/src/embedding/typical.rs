//! Which images to label first.

use std::cmp::Reverse;

use super::kmeans::KMeans;
use super::space::length;
use super::{Matrix, Metric, knn_within};
use crate::{Error, Result};

/// Most groups, as in the paper; beyond them several images of a group are chosen.
const MOST_GROUPS: usize = 500;

/// Groups of up to so many images are asked last: they may be odd ones out.
const SMALL: usize = 5;

/// Neighbours whose mean distance makes an image typical.
const NEIGHBOURS: usize = 20;

/// An image that is worth a label.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Typical {
    /// Its row.
    pub index: usize,
    /// Images of its group, itself included: those that it stands for.
    pub stands_for: usize,
    /// The inverse of the mean distance from its nearest neighbours in the group.
    pub typicality: f32,
}

/// The `count` images to label first: `features` are brought to length 1 and put into as many groups as there are labels
/// afterwards; of each group without a label, the largest first, the image is taken that is nearest to others (TypiClust: Hacohen,
/// Dekel and Weinshall 2022, "Active learning on a budget", arXiv 2202.02794). `labelled` are the rows that have labels already.
///
/// # Errors
/// When no image or more than there are without a label are asked for.
pub fn most_typical(features: Matrix<'_>, labelled: &[usize], count: usize, seed: u64) -> Result<Vec<Typical>> {
    let left = features.rows().saturating_sub(labelled.len());
    if count == 0 || count > left {
        return Err(Error::Config(format!(
            "{count} images to label were asked for where {left} have no label; ask for 1 to {left}"
        )));
    }
    let columns = features.columns();
    let mut unit = features.values().to_vec();
    for row in unit.chunks_exact_mut(columns) {
        let scale = (1.0 / length(row).max(1e-12)) as f32;
        row.iter_mut().for_each(|value| *value *= scale);
    }
    let unit = Matrix::new(&unit, columns)?;
    let clusters = (labelled.len() + count).min(MOST_GROUPS).min(unit.rows());
    let groups = KMeans { clusters, rounds: 100, seed }.fit(unit)?;
    pick(unit, &groups.labels, labelled, count)
}

/// The most typical images of the `groups` that the rows of `unit` are in.
fn pick(unit: Matrix<'_>, groups: &[u32], labelled: &[usize], count: usize) -> Result<Vec<Typical>> {
    let mut is_labelled = vec![false; groups.len()];
    labelled.iter().for_each(|&row| is_labelled[row] = true);
    let number = groups.iter().max().map_or(0, |&most| most as usize + 1);
    let mut members = vec![Vec::new(); number];
    let (mut sizes, mut known) = (vec![0; number], vec![0; number]);
    for (row, &group) in groups.iter().enumerate() {
        let group = group as usize;
        sizes[group] += 1;
        match is_labelled[row] {
            true => known[group] += 1,
            false => members[group].push(row),
        }
    }
    let mut order: Vec<usize> = (0..number).collect();
    order.sort_by_key(|&group| (known[group], Reverse(sizes[group]), group));
    let (large, small): (Vec<usize>, Vec<usize>) = order.into_iter().partition(|&group| sizes[group] > SMALL);
    let mut chosen = Vec::with_capacity(count);
    for groups in [large, small] {
        while groups.iter().any(|&group| !members[group].is_empty()) {
            for &group in &groups {
                if chosen.len() == count {
                    return Ok(chosen);
                }
                if let Some((place, typicality)) = most_central(unit, &members[group])? {
                    let index = members[group].remove(place);
                    chosen.push(Typical { index, stands_for: sizes[group], typicality });
                }
            }
        }
    }
    Ok(chosen)
}

/// The place among `members` of the one that is nearest to its neighbours, of equals the first, and how typical it is.
fn most_central(unit: Matrix<'_>, members: &[usize]) -> Result<Option<(usize, f32)>> {
    let typicality = |distance: f32| 1.0 / (distance + 1e-5);
    let neighbours = NEIGHBOURS.min(members.len() / 2);
    if neighbours == 0 {
        return Ok((!members.is_empty()).then_some((0, typicality(0.0))));
    }
    let values: Vec<f32> = members.iter().flat_map(|&row| unit.row(row)).copied().collect();
    let near = knn_within(Matrix::new(&values, unit.columns())?, neighbours, Metric::Euclidean)?;
    let mean = |distances: &[f32]| distances.iter().sum::<f32>() / neighbours as f32;
    let best = near.rows().map(|(_, distances)| typicality(mean(distances))).enumerate();
    Ok(best.reduce(|best, other| if other.1 > best.1 { other } else { best }))
}

#[cfg(test)]
mod tests {
    use super::super::tests::{golden, normals};
    use super::*;

    /// `golden/embedding/make_select.py` made the choices, with scikit-learn's groups and neighbours.
    #[test]
    fn choices_are_those_of_the_paper() {
        let (features, columns) = golden("select_unit");
        let unit = Matrix::new(&features, columns).unwrap();
        let groups: Vec<u32> = golden("select_groups").0.iter().map(|&group| group as u32).collect();
        let text = include_str!("../../../../golden/embedding/select.txt");
        let rows = |word: &str| -> Vec<usize> {
            let line = text.lines().find_map(|line| line.strip_prefix(word)).unwrap();
            line.split_whitespace().map(|row| row.parse().unwrap()).collect()
        };
        for (labelled, expected) in [(vec![], rows("none ")), (rows("labelled "), rows("some "))] {
            let found = pick(unit, &groups, &labelled, expected.len()).unwrap();
            assert_eq!(found.iter().map(|one| one.index).collect::<Vec<_>>(), expected);
            assert!(
                found.iter().all(|one| one.stands_for == groups.iter().filter(|g| **g == groups[one.index]).count())
            );
        }
    }

    #[test]
    fn each_group_gets_a_label_and_known_ones_are_passed_over() {
        // Six directions; the groups have 100, 90, 80, ... rows.
        let group = |row: usize| (0..6).find(|g| row < (0..=*g).map(|g| 100 - 10 * g).sum()).unwrap();
        let noise = normals(450 * 6, 5);
        let values: Vec<f32> =
            (0..450 * 6).map(|at| 0.05 * noise[at] + if at % 6 == group(at / 6) { 3.0 } else { 0.0 }).collect();
        let features = Matrix::new(&values, 6).unwrap();
        let found = most_typical(features, &[], 6, 0).unwrap();
        assert_eq!(found.iter().map(|one| group(one.index)).collect::<Vec<_>>(), [0, 1, 2, 3, 4, 5]);
        assert_eq!(found[5].stands_for, 50);
        assert!(found.iter().all(|one| one.typicality > 1.0), "{found:?}");
        let found = most_typical(features, &[0, 191], 4, 0).unwrap();
        assert_eq!(found.iter().map(|one| group(one.index)).collect::<Vec<_>>(), [1, 3, 4, 5]);
    }

    #[test]
    fn all_images_can_be_asked_for_and_none_twice() {
        let values = normals(40 * 3, 7);
        let features = Matrix::new(&values, 3).unwrap();
        let mut found: Vec<usize> =
            most_typical(features, &[3, 5], 38, 1).unwrap().iter().map(|one| one.index).collect();
        found.sort_unstable();
        assert_eq!(found, (0..40).filter(|row| ![3, 5].contains(row)).collect::<Vec<_>>());
        for count in [0, 39] {
            let message = most_typical(features, &[3, 5], count, 1).unwrap_err().to_string();
            assert!(message.contains("ask for 1 to 38"), "{message}");
        }
    }
}
