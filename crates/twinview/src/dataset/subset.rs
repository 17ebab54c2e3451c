//! Which samples to use: the first k, a stratified subset, a validation split.
//!
//! All give indices in ascending order, for [`Split::select`].

use super::Split;
use crate::random::{Purpose, Stream};
use crate::{Error, Result};

/// The first `k` samples, as they stand.
///
/// # Errors
/// When `k` is 0 or larger than the split.
pub fn first_k(split: &Split, k: usize) -> Result<Vec<usize>> {
    check(split, k)?;
    Ok((0..k).collect())
}

/// `k` random samples, as equally many of each class as there are.
///
/// Where `k` is no multiple of the number of classes, or a class has too few samples, the counts of the classes
/// that could give more differ by at most one. With one `seed` a larger subset holds every smaller one, so that
/// label budgets can be compared.
///
/// # Errors
/// When `k` is 0 or larger than the split.
pub fn stratified(split: &Split, k: usize, seed: u64) -> Result<Vec<usize>> {
    check(split, k)?;
    let stream = Stream::new(seed, Purpose::Subset);
    let mut classes = shuffled_classes(split, &stream, 0);
    // Which classes give one more when k is no multiple of their number.
    stream.at(0, 0, 1).shuffle(&mut classes);
    let longest = classes.iter().map(Vec::len).max().unwrap_or(0);
    let rounds = (0..longest).flat_map(|round| classes.iter().filter_map(move |class| class.get(round)));
    let mut chosen: Vec<usize> = rounds.copied().take(k).collect();
    chosen.sort_unstable();
    Ok(chosen)
}

/// How many samples to set aside.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Portion {
    /// So many.
    Count(usize),
    /// So many of each one, above 0 and below 1; the number is rounded.
    Fraction(f64),
}

/// Cuts a random validation set from a training set: `(train, validation)`.
///
/// Each class keeps its share in both, as nearly as whole numbers allow (largest remainders).
///
/// # Errors
/// When either part would be empty, or a fraction is not between 0 and 1.
pub fn split_validation(split: &Split, portion: Portion, seed: u64) -> Result<(Vec<usize>, Vec<usize>)> {
    let total = split.len();
    let count = match portion {
        Portion::Count(count) => count,
        Portion::Fraction(fraction) if fraction > 0.0 && fraction < 1.0 => (fraction * total as f64).round() as usize,
        Portion::Fraction(fraction) => {
            return Err(Error::Config(format!("a validation fraction of {fraction} is not between 0 and 1")));
        }
    };
    if count == 0 || count >= total {
        return Err(Error::Config(format!(
            "a validation set of {count} out of {total} samples leaves one part empty; choose 1 to {}",
            total.saturating_sub(1)
        )));
    }
    let classes = shuffled_classes(split, &Stream::new(seed, Purpose::Subset), 2);
    let mut shares: Vec<usize> = classes.iter().map(|class| class.len() * count / total).collect();
    let mut by_remainder: Vec<usize> = (0..classes.len()).collect();
    by_remainder.sort_by_key(|&class| std::cmp::Reverse(classes[class].len() * count % total));
    let short = count - shares.iter().sum::<usize>();
    by_remainder[..short].iter().for_each(|&class| shares[class] += 1);

    let (mut train, mut validation) = (Vec::with_capacity(total - count), Vec::with_capacity(count));
    for (class, share) in classes.iter().zip(shares) {
        validation.extend_from_slice(&class[..share]);
        train.extend_from_slice(&class[share..]);
    }
    train.sort_unstable();
    validation.sort_unstable();
    Ok((train, validation))
}

/// The samples of each class that occurs, in random order. `view` keeps the uses of the stream apart.
fn shuffled_classes(split: &Split, stream: &Stream, view: u64) -> Vec<Vec<usize>> {
    let mut classes: Vec<Vec<usize>> = vec![Vec::new(); 1 + usize::from(u8::MAX)];
    for (index, &label) in split.labels.iter().enumerate() {
        classes[usize::from(label)].push(index);
    }
    for (label, class) in classes.iter_mut().enumerate() {
        stream.at(0, label as u64, view).shuffle(class);
    }
    classes.retain(|class| !class.is_empty());
    classes
}

fn check(split: &Split, k: usize) -> Result<()> {
    if k == 0 || k > split.len() {
        return Err(Error::Config(format!("a subset of {k} samples out of {}; choose 1 to {0}", split.len())));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::Images;
    use super::*;

    fn split(labels: Vec<u8>) -> Split {
        Split { images: Images::new(1, 1, 1, vec![0; labels.len()]), labels }
    }

    fn is_ascending(indices: &[usize]) -> bool {
        indices.windows(2).all(|pair| pair[0] < pair[1])
    }

    #[test]
    fn the_first_are_the_first() {
        assert_eq!(first_k(&split(vec![3, 1, 2]), 2).unwrap(), [0, 1]);
        for k in [0, 4] {
            let message = first_k(&split(vec![3, 1, 2]), k).unwrap_err().to_string();
            assert_eq!(message, format!("a subset of {k} samples out of 3; choose 1 to 3"));
        }
    }

    #[test]
    fn a_scarce_class_gives_all_and_the_others_the_rest() {
        let data = split([vec![0; 50], vec![1; 2], vec![7; 50]].concat());
        let chosen = data.select(&stratified(&data, 21, 3).unwrap());
        let counts = chosen.class_counts(8);
        assert_eq!(counts[1], 2);
        assert_eq!(counts[0].min(counts[7]), 9);
        assert_eq!(counts[0].max(counts[7]), 10);
    }

    #[test]
    fn the_seed_decides_and_nothing_else() {
        let data = split((0..200).map(|i| i % 10).collect());
        assert_eq!(stratified(&data, 50, 1).unwrap(), stratified(&data, 50, 1).unwrap());
        assert_ne!(stratified(&data, 50, 1).unwrap(), stratified(&data, 50, 2).unwrap());
        let validation = |seed| split_validation(&data, Portion::Fraction(0.25), seed).unwrap().1;
        assert_eq!(validation(1), validation(1));
        assert_ne!(validation(1), validation(2));
        assert_ne!(validation(1), stratified(&data, 50, 1).unwrap());
    }

    /// Every sample must be as likely as any other of its class: 400 seeds, each choosing one in four.
    #[test]
    fn no_sample_is_favoured() {
        let data = split((0..40).map(|i| i % 2).collect());
        let mut hits = [0i32; 40];
        for seed in 0..400 {
            stratified(&data, 10, seed).unwrap().into_iter().for_each(|index| hits[index] += 1);
        }
        // Mean 100, standard deviation below 9.
        assert!(hits.iter().all(|&count| (count - 100).abs() < 45), "{hits:?}");
    }

    #[test]
    fn impossible_validation_splits_are_refused() {
        let data = split(vec![0, 1, 0, 1]);
        for portion in [Portion::Count(0), Portion::Count(4), Portion::Fraction(0.01), Portion::Fraction(0.99)] {
            let message = split_validation(&data, portion, 0).unwrap_err().to_string();
            assert!(message.contains("leaves one part empty; choose 1 to 3"), "{message}");
        }
        for fraction in [0.0, 1.0, -0.5, f64::NAN, f64::INFINITY] {
            let message = split_validation(&data, Portion::Fraction(fraction), 0).unwrap_err().to_string();
            assert!(message.contains("is not between 0 and 1"), "{message}");
        }
    }

    proptest! {
        #[test]
        fn stratified_is_equal_and_nested(labels in prop::collection::vec(0u8..5, 1..80), seed: u64, at in 0.0f64..1.0) {
            let data = split(labels);
            let k = 1 + (at * (data.len() - 1) as f64) as usize;
            let chosen = stratified(&data, k, seed).unwrap();
            prop_assert!(chosen.len() == k && is_ascending(&chosen));
            let (have, all) = (data.select(&chosen).class_counts(5), data.class_counts(5));
            let most = have.iter().max().unwrap();
            for class in 0..5 {
                prop_assert!(have[class] == all[class] || have[class] + 1 >= *most, "{have:?} of {all:?}");
            }
            if k < data.len() {
                let larger = stratified(&data, k + 1, seed).unwrap();
                prop_assert!(chosen.iter().all(|index| larger.contains(index)));
            }
        }

        #[test]
        fn a_validation_split_keeps_the_shares(
            labels in prop::collection::vec(0u8..5, 2..80), seed: u64, at in 0.0f64..1.0
        ) {
            let data = split(labels);
            let count = 1 + (at * (data.len() - 2) as f64) as usize;
            let (train, validation) = split_validation(&data, Portion::Count(count), seed).unwrap();
            prop_assert!(validation.len() == count && is_ascending(&train) && is_ascending(&validation));
            let mut all = [train, validation.clone()].concat();
            all.sort_unstable();
            prop_assert!(all.into_iter().eq(0..data.len()));
            let (have, all) = (data.select(&validation).class_counts(5), data.class_counts(5));
            for class in 0..5 {
                let fair = all[class] as f64 * count as f64 / data.len() as f64;
                prop_assert!((have[class] as f64 - fair).abs() < 1.0, "{have:?} of {all:?}");
            }
        }
    }
}
