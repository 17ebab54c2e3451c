//! What a user is told where the program or a driver fails without an error.

use std::any::Any;
use std::panic::{self, AssertUnwindSafe, PanicHookInfo};
use std::sync::{Mutex, PoisonError};

/// What panics of all threads said, in order. A driver's threads fail before those that wait for them, so the last few are
/// told.
static SAID: Mutex<Vec<String>> = Mutex::new(Vec::new());

/// Runs `work`.
///
/// # Errors
/// What to tell the user when it, or a thread it waits for, panics.
pub(crate) fn caught<T>(work: impl FnOnce() -> T) -> Result<T, String> {
    if std::env::var_os("RUST_BACKTRACE").is_none() {
        panic::set_hook(Box::new(record));
    }
    panic::catch_unwind(AssertUnwindSafe(work)).map_err(|payload| {
        let said = SAID.lock().unwrap_or_else(PoisonError::into_inner);
        message(&said, payload.as_ref())
    })
}

fn record(news: &PanicHookInfo<'_>) {
    let at = news.location().map(|place| format!(" ({place})")).unwrap_or_default();
    SAID.lock().unwrap_or_else(PoisonError::into_inner).push(words(news.payload()) + &at);
}

/// What a panic says.
fn words(payload: &(dyn Any + Send)) -> String {
    let text = payload.downcast_ref::<&str>().copied();
    text.or_else(|| payload.downcast_ref::<String>().map(String::as_str)).unwrap_or("no reason given").to_owned()
}

fn message(said: &[String], payload: &(dyn Any + Send)) -> String {
    let reason = if said.is_empty() { words(payload) } else { said[said.len().saturating_sub(3)..].join("; ") };
    format!(
        "failed where it should not. With --device gpu, its memory may not do for the batch: try a smaller --batch-size, or leave \
         out --device. A training goes on from its last checkpoint with --resume. Anything else is a \
         fault of this program: please report what it says with RUST_BACKTRACE=1. Here it said:\n{reason}"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_is_told_with_all_that_came_before() {
        let told = message(&["device lost (gpu.rs:1:2)".to_owned(), "no answer (fit.rs:3:4)".to_owned()], &"no answer");
        assert!(
            told.contains("device lost (gpu.rs:1:2); no answer (fit.rs:3:4)") && told.contains("--batch-size"),
            "{told}"
        );
    }

    #[test]
    fn reasons_of_all_kinds_are_read() {
        assert_eq!(words(&"literal"), "literal");
        assert_eq!(words(&String::from("made")), "made");
        assert_eq!(words(&7_u8), "no reason given");
    }
}
