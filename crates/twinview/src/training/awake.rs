//! Keeping the threads of the pool awake.

use std::sync::atomic::{AtomicBool, Ordering};

use burn::tensor::Device;

use super::is_cpu;
use crate::pool::give_way;

/// Runs `work`, during which no thread of the pool goes to sleep where `device`, on which it computes, is the processor.
///
/// A step is dozens of parallel sections with little between them. A thread that falls asleep in between has to be woken by the
/// system for the next, tens of microseconds late, which a small batch feels. Those that have nothing to do look for work, and give
/// way to other threads meanwhile.
pub(crate) fn awake<T>(device: &Device, work: impl FnOnce() -> T) -> T {
    /// Also when `work` panics.
    struct Over<'a>(&'a AtomicBool);
    impl Drop for Over<'_> {
        fn drop(&mut self) {
            self.0.store(true, Ordering::Relaxed);
        }
    }

    if !is_cpu(device) {
        return work();
    }
    let over = AtomicBool::new(false);
    let caller = rayon::current_thread_index();
    rayon::in_place_scope(|scope| {
        scope.spawn_broadcast(|_, context| {
            // The caller comes here too, while it waits for others: it has work to go on with.
            while Some(context.index()) != caller && !over.load(Ordering::Relaxed) {
                give_way();
            }
        });
        let _over = Over(&over);
        work()
    })
}

#[cfg(test)]
mod tests {
    use std::panic::{AssertUnwindSafe, catch_unwind};

    use rayon::ThreadPoolBuilder;
    use rayon::prelude::*;

    use super::*;
    use crate::training::cpu;

    fn sum() -> usize {
        (0..1000usize).into_par_iter().with_max_len(7).sum()
    }

    #[test]
    fn work_is_done_on_any_number_of_threads_and_outside_the_pool() {
        for threads in 1..5 {
            let pool = ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            for _ in 0..20 {
                let sums = pool.install(|| [awake(&cpu(), sum), awake(&cpu(), || awake(&cpu(), sum)), sum()]);
                assert_eq!(sums, [499_500; 3], "{threads} threads");
            }
        }
        assert_eq!(awake(&cpu(), sum), 499_500);
    }

    #[test]
    fn a_panic_sets_the_threads_free() {
        let pool = ThreadPoolBuilder::new().num_threads(3).build().unwrap();
        let outcome = pool.install(|| catch_unwind(AssertUnwindSafe(|| awake(&cpu(), || panic!("no step")))));
        assert_eq!(*outcome.unwrap_err().downcast::<&str>().unwrap(), "no step");
        assert_eq!(pool.install(sum), 499_500);
    }
}
