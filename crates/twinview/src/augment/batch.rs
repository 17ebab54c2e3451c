//! Which images are trained on together, and in which order.

use crate::random::{Purpose, Stream};
use crate::{Error, Result};

/// The images of one training step.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Batch {
    /// Which pass over the data this is, from 0.
    pub epoch: u64,
    /// Which batch of the epoch, from 0.
    pub number: u64,
    /// The images, by their place in the dataset.
    pub indices: Vec<usize>,
}

/// All of `0..count` in the random order of `epoch`, cut into batches.
///
/// The last batch holds what is left, or is dropped where `drop_last` is set and it is not full.
///
/// # Errors
/// When `batch_size` is 0, or when nothing is left to train on.
pub fn shuffled_epoch(count: usize, batch_size: usize, seed: u64, epoch: u64, drop_last: bool) -> Result<Vec<Batch>> {
    if batch_size == 0 || count == 0 || (drop_last && count < batch_size) {
        let dropped = if drop_last { " and dropping the last one if it is not full" } else { "" };
        return Err(Error::Config(format!(
            "{count} images in batches of {batch_size}{dropped} give no batch; use more images or another batch size"
        )));
    }
    let mut order: Vec<usize> = (0..count).collect();
    Stream::new(seed, Purpose::Shuffle).at(epoch, 0, 0).shuffle(&mut order);
    let batches = order.chunks(batch_size).filter(|indices| !drop_last || indices.len() == batch_size);
    Ok((0..).zip(batches).map(|(number, indices)| Batch { epoch, number, indices: indices.to_vec() }).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_epoch_holds_every_image_once() {
        let batches = shuffled_epoch(10, 4, 1, 2, false).unwrap();
        assert_eq!(batches.iter().map(|batch| batch.indices.len()).collect::<Vec<_>>(), [4, 4, 2]);
        assert!(batches.iter().zip(0..).all(|(batch, number)| batch.epoch == 2 && batch.number == number));
        let mut indices: Vec<usize> = batches.into_iter().flat_map(|batch| batch.indices).collect();
        assert_ne!(indices, (0..10).collect::<Vec<_>>());
        indices.sort_unstable();
        assert_eq!(indices, (0..10).collect::<Vec<_>>());
        assert_eq!(shuffled_epoch(10, 4, 1, 2, true).unwrap().len(), 2);
    }

    #[test]
    fn the_order_is_that_of_the_seed_and_the_epoch() {
        let order = |seed, epoch| shuffled_epoch(50, 50, seed, epoch, false).unwrap()[0].indices.clone();
        assert_eq!(order(1, 1), order(1, 1));
        assert_ne!(order(1, 1), order(1, 2));
        assert_ne!(order(1, 1), order(2, 1));
    }

    #[test]
    fn no_batch_is_an_error() {
        assert!(shuffled_epoch(0, 4, 0, 0, false).is_err());
        assert!(shuffled_epoch(4, 0, 0, 0, false).is_err());
        let message = shuffled_epoch(4, 5, 0, 0, true).unwrap_err().to_string();
        assert!(message.contains("4 images in batches of 5"), "{message}");
    }
}
