//! A guard against hanging, for whole tests of a runtime.

use std::panic::resume_unwind;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::Duration;

/// Far longer than all checks together take, on a busy machine too.
const LIMIT: Duration = Duration::from_secs(600);

/// Runs a test on a thread of its own and gives what it returns. The guards of the checks are timers of the runtime that
/// is tested; where that itself stands still, this one goes off.
///
/// # Panics
/// With the test, and where it has not ended after 600 s: its thread stays behind then, as it hangs.
pub fn guarded<T: Send + 'static>(what: &str, test: impl FnOnce() -> T + Send + 'static) -> T {
    guarded_for(LIMIT, what, test)
}

fn guarded_for<T: Send + 'static>(
    limit: Duration,
    what: &str,
    test: impl FnOnce() -> T + Send + 'static,
) -> T {
    let (end, ended) = mpsc::channel::<()>();
    let thread = thread::spawn(move || {
        // Dropped at the end, by a panic too.
        let _end = end;
        test()
    });
    match ended.recv_timeout(limit) {
        Err(RecvTimeoutError::Timeout) => panic!("{what}: no end within {limit:?}"),
        Ok(()) | Err(RecvTimeoutError::Disconnected) => {}
    }
    match thread.join() {
        Ok(returned) => returned,
        Err(panic) => resume_unwind(panic),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_test_returns_is_given_and_its_panic_passed_on() {
        assert_eq!(guarded("seven", || 7), 7);
        let panic = std::panic::catch_unwind(|| guarded("a panic", || panic!("with a reason")));
        assert_eq!(panic.unwrap_err().downcast_ref(), Some(&"with a reason"));
    }

    #[test]
    fn a_test_without_an_end_fails_and_is_named() {
        let (never, hangs) = mpsc::channel::<()>();
        let hanging = move || guarded_for(Duration::ZERO, "a test", move || hangs.recv().is_err());
        let panic = std::panic::catch_unwind(std::panic::AssertUnwindSafe(hanging)).unwrap_err();
        let message = panic.downcast_ref::<String>().expect("a message");
        assert_eq!(message, "a test: no end within 0ns");
        drop(never);
    }
}
