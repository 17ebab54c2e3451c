//! Threads of rayon's pool that wait.

use std::thread;

use rayon::Yield;

/// Does some of what waits in the pool, or gives way to other threads where nothing does, if this is one of its threads: says which,
/// or nothing.
pub(crate) fn give_way() -> Option<Yield> {
    let outcome = rayon::yield_now();
    if outcome == Some(Yield::Idle) {
        thread::yield_now();
    }
    outcome
}
