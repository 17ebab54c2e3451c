//! Making the views of the next batch while this one is trained on.

use std::any::Any;
use std::sync::mpsc::{Receiver, SyncSender, TryRecvError, sync_channel};
use std::thread::{self, JoinHandle};

use super::{Batch, ViewMaker};
use crate::dataset::Images;
use crate::pool::give_way;
use crate::{Error, Result};

/// A batch and its views.
#[derive(Clone, Debug, PartialEq)]
pub struct ViewBatch {
    /// What the views are of.
    pub batch: Batch,
    /// As [`ViewMaker::make`] gives them: `[views * batch, channels, height, width]`, f32 in 0..=1.
    pub pixels: Vec<f32>,
}

/// The views of a schedule of batches, in its order, made ahead by threads of the global pool that have nothing else to do, a few views
/// at a time.
///
/// One batch is ready and one is being made while the caller works. The first error ends the sequence. Dropping it stops them after the
/// batch in hand.
#[derive(Debug)]
pub struct Prefetch {
    /// `None` once the sequence has ended.
    ready: Option<Receiver<Result<ViewBatch>>>,
    worker: Option<JoinHandle<()>>,
}

impl Prefetch {
    /// Starts making the views of `schedule`.
    ///
    /// # Errors
    /// When the system gives no thread to hand the work out.
    pub fn new<S>(images: &Images, schedule: S, maker: ViewMaker) -> Result<Self>
    where
        S: IntoIterator<Item = Batch>,
        S::IntoIter: Send + 'static,
    {
        let (send, ready) = sync_channel(1);
        let (images, schedule) = (images.clone(), schedule.into_iter());
        let worker = thread::Builder::new()
            .name("views".into())
            .spawn(move || work(&images, schedule, &maker, &send))
            .map_err(|error| Error::Config(format!("cannot start a thread for views: {error}")))?;
        Ok(Self { ready: Some(ready), worker: Some(worker) })
    }
}

fn work(
    images: &Images,
    schedule: impl Iterator<Item = Batch>,
    maker: &ViewMaker,
    ready: &SyncSender<Result<ViewBatch>>,
) {
    for batch in schedule {
        let mut pixels = Vec::new();
        let made = maker.make(images, &batch, &mut pixels);
        let failed = made.is_err();
        let gone = ready.send(made.map(|()| ViewBatch { batch, pixels })).is_err();
        if failed || gone {
            return;
        }
    }
}

impl Iterator for Prefetch {
    type Item = Result<ViewBatch>;

    fn next(&mut self) -> Option<Self::Item> {
        let ready = self.ready.as_ref()?;
        // On a thread of the pool, which may be the only one, it must not sleep until views are made.
        let made = loop {
            match ready.try_recv() {
                Err(TryRecvError::Empty) if give_way().is_some() => {}
                Err(TryRecvError::Empty) => break ready.recv().ok(),
                made => break made.ok(),
            }
        };
        match made {
            Some(made) => Some(made),
            None => {
                self.ready = None;
                let panic = self.worker.take()?.join().err()?;
                Some(Err(Error::Data(format!("making views failed: {}", panic_message(&*panic)))))
            }
        }
    }
}

impl Drop for Prefetch {
    fn drop(&mut self) {
        // Without a receiver the worker's next send fails, and it stops.
        self.ready = None;
        if let Some(worker) = self.worker.take() {
            while !worker.is_finished() && give_way().is_some() {}
            let _ = worker.join();
        }
    }
}

fn panic_message(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<&str>().copied();
    text.or_else(|| panic.downcast_ref::<String>().map(String::as_str)).unwrap_or("the thread stopped")
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::sync::{Arc, mpsc};
    use std::time::Duration;

    use super::*;
    use crate::augment::{Augmentation, shuffled_epoch};

    fn images() -> Images {
        Images::new(1, 8, 8, (0..50 * 64).map(|i| (i % 251) as u8).collect())
    }

    fn maker() -> ViewMaker {
        ViewMaker::new(&Augmentation::article(), &images(), 2, 3).unwrap()
    }

    #[test]
    fn gives_the_same_batches_in_the_same_order() {
        let schedule: Vec<Batch> = (0..3).flat_map(|epoch| shuffled_epoch(50, 16, 3, epoch, false).unwrap()).collect();
        let expected: Vec<ViewBatch> = schedule
            .iter()
            .map(|batch| {
                let mut pixels = Vec::new();
                maker().make(&images(), batch, &mut pixels).unwrap();
                ViewBatch { batch: batch.clone(), pixels }
            })
            .collect();
        let mut prefetch = Prefetch::new(&images(), schedule, maker()).unwrap();
        for expected in expected {
            assert_eq!(prefetch.next().unwrap().unwrap(), expected);
        }
        assert!(prefetch.next().is_none() && prefetch.next().is_none());
    }

    #[test]
    fn threads_of_the_pool_may_all_wait_for_views() {
        let schedule = || vec![Batch { indices: (0..50).collect(), ..Batch::default() }; 8];
        let sequence = move || {
            let all = Prefetch::new(&images(), schedule(), maker()).unwrap().count();
            let mut dropped = Prefetch::new(&images(), schedule(), maker()).unwrap();
            dropped.next().unwrap().unwrap();
            all
        };
        let (tell, told) = mpsc::channel();
        thread::spawn(move || tell.send(rayon::broadcast(|_| sequence())));
        let counts = told.recv_timeout(Duration::from_secs(60)).expect("some thread makes the views");
        assert!(counts.iter().all(|count| *count == 8), "{counts:?}");
    }

    #[test]
    fn dropping_it_early_stops_an_endless_schedule() {
        let asked = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&asked);
        let endless = std::iter::repeat_with(move || {
            count.fetch_add(1, Ordering::SeqCst);
            Batch { indices: vec![1], ..Batch::default() }
        });
        let mut prefetch = Prefetch::new(&images(), endless, maker()).unwrap();
        prefetch.next().unwrap().unwrap();
        drop(prefetch);
        // The drop waited for the thread: one batch was taken, one lay ready, one was in hand, one may have been begun.
        assert!(asked.load(Ordering::SeqCst) <= 4);
        assert_eq!(Arc::strong_count(&asked), 1, "the thread and its schedule are gone");
    }

    #[test]
    fn an_error_is_given_once_and_ends_the_sequence() {
        let schedule = [vec![1], vec![50], vec![2]].map(|indices| Batch { indices, ..Batch::default() });
        let mut prefetch = Prefetch::new(&images(), schedule, maker()).unwrap();
        assert!(prefetch.next().unwrap().is_ok());
        assert!(prefetch.next().unwrap().unwrap_err().to_string().contains("image 50 of 50"));
        assert!(prefetch.next().is_none());
    }

    #[test]
    fn a_panic_becomes_an_error() {
        let schedule = (0..2).map(|number| {
            assert!(number < 1, "no batch {number}");
            Batch { indices: vec![1], ..Batch::default() }
        });
        let mut prefetch = Prefetch::new(&images(), schedule, maker()).unwrap();
        assert!(prefetch.next().unwrap().is_ok());
        assert!(prefetch.next().unwrap().unwrap_err().to_string().contains("no batch 1"));
        assert!(prefetch.next().is_none());
    }
}
