//! Keeping the threads of the pool awake.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use burn::tensor::Device;
use rayon::Yield;

use super::is_cpu;
use crate::pool::give_way;

/// How long a thread that is kept awake may find nothing to do.
const IDLE: Duration = Duration::from_millis(5);

/// Runs `work`, during which no thread of the pool goes to sleep where `device`, on which it computes, is the processor.
///
/// A step is dozens of parallel sections with little between them. A thread that falls asleep in between has to be woken by the
/// system for the next, tens of microseconds late, which a small batch feels. Those that have nothing to do look for work, and give
/// way to other threads meanwhile. Only for so long: one may have come to this while it waits for another thread's share of `work`,
/// which in the end waits for it.
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
            if Some(context.index()) == caller {
                return;
            }
            let mut busy = Instant::now();
            while !over.load(Ordering::Relaxed) {
                match give_way() {
                    Some(Yield::Executed) => busy = Instant::now(),
                    _ if busy.elapsed() > IDLE => return,
                    _ => (),
                }
            }
        });
        let _over = Over(&over);
        work()
    })
}

#[cfg(test)]
mod tests {
    use std::panic::{AssertUnwindSafe, catch_unwind};
    use std::sync::mpsc;
    use std::thread;

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

    /// A thread in the middle of the work, waiting for another's share of it, comes to where it is to be kept awake.
    #[test]
    fn a_thread_that_others_wait_for_goes_back_to_its_work() {
        static FLAGS: [AtomicBool; 4] = [const { AtomicBool::new(false) }; 4];
        let [begun, go, shared, done] = FLAGS.each_ref();
        let set = |flag: &AtomicBool| flag.store(true, Ordering::SeqCst);
        let until = |flag: &AtomicBool, meanwhile: fn()| {
            while !flag.load(Ordering::SeqCst) {
                meanwhile();
            }
        };
        let work = move || {
            set(begun);
            until(go, thread::yield_now);
            let other = || {
                set(shared);
                thread::sleep(Duration::from_millis(20));
            };
            rayon::join(|| until(shared, thread::yield_now), other);
            set(done);
        };
        let (tell, told) = mpsc::channel();
        thread::spawn(move || {
            let pool = ThreadPoolBuilder::new().num_threads(2).build().unwrap();
            pool.install(|| {
                rayon::spawn(work);
                until(begun, thread::yield_now);
                awake(&cpu(), || {
                    set(go);
                    until(done, || _ = rayon::yield_now());
                });
            });
            tell.send(()).unwrap();
        });
        told.recv_timeout(Duration::from_secs(60)).expect("the thread goes back to its work");
    }

    #[test]
    fn a_panic_sets_the_threads_free() {
        let pool = ThreadPoolBuilder::new().num_threads(3).build().unwrap();
        let outcome = pool.install(|| catch_unwind(AssertUnwindSafe(|| awake(&cpu(), || panic!("no step")))));
        assert_eq!(*outcome.unwrap_err().downcast::<&str>().unwrap(), "no step");
        assert_eq!(pool.install(sum), 499_500);
    }
}
