//! What every [`Runtime`] has to do, and what transports and signaling servers do on every one: checks, written
//! once, that run on a real runtime or an imagined one. A new implementation calls [`check`] in a test of its own.
//! Behind the feature `conformance`.

mod cancel;
mod faults;
mod faulty;
mod guard;
mod lifecycle;
mod placed;
mod room;
mod signaling;
mod system;

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

pub use faulty::{Fault, Faults, Faulty};
pub use guard::guarded;
pub use placed::check_on_a_thread;

use crate::runtime::{Runtime, Timer};

/// The guard against checks that never end. None of them takes this long, on a busy machine either.
const GUARD: Duration = Duration::from_secs(120);
/// No call of ours takes more polls than this.
const MOST: usize = 1_000;

/// Runs all checks on `runtime`, on loopback addresses. To be awaited inside of it.
///
/// # Panics
/// Where a check fails: the message names it.
pub async fn check<R: Runtime>(runtime: R) {
    system::check(&runtime).await;
    signaling::check(&runtime).await;
    lifecycle::check(&runtime).await;
    placed::check(&runtime).await;
    cancel::check(&runtime).await;
    faults::check(&runtime).await;
}

/// Runs one check, on the heap: some are large.
async fn within<R: Runtime>(runtime: &R, what: &str, check: impl Future<Output = ()>) {
    tracing::debug!(what, "a check of conformance");
    let mut guard = runtime.timer(runtime.now() + GUARD);
    let mut check = Box::pin(check);
    poll_fn(|cx| match check.as_mut().poll(cx) {
        Poll::Ready(()) => Poll::Ready(()),
        Poll::Pending => guard.poll(cx).map(|()| panic!("{what}: no end within {GUARD:?}")),
    })
    .await;
}

/// Polls `future` at most `polls` times, and then drops it: `None`.
async fn polled<F: Future>(future: F, polls: usize) -> Option<F::Output> {
    let mut future = pin!(future);
    let mut left = polls;
    poll_fn(|cx| {
        if left == 0 {
            return Poll::Ready(None);
        }
        left -= 1;
        match future.as_mut().poll(cx) {
            Poll::Ready(output) => Poll::Ready(Some(output)),
            Poll::Pending if left == 0 => Poll::Ready(None),
            Poll::Pending => Poll::Pending,
        }
    })
    .await
}

/// Both of two futures, in one task.
async fn both<A: Future, B: Future>(a: A, b: B) -> (A::Output, B::Output) {
    let (mut a, mut b) = (pin!(a), pin!(b));
    let (mut of_a, mut of_b) = (None, None);
    poll_fn(|cx| {
        if of_a.is_none() {
            of_a = ready(a.as_mut().poll(cx));
        }
        if of_b.is_none() {
            of_b = ready(b.as_mut().poll(cx));
        }
        match (of_a.take(), of_b.take()) {
            (Some(a), Some(b)) => Poll::Ready((a, b)),
            waiting => {
                (of_a, of_b) = waiting;
                Poll::Pending
            }
        }
    })
    .await
}

fn ready<T>(poll: Poll<T>) -> Option<T> {
    match poll {
        Poll::Ready(value) => Some(value),
        Poll::Pending => None,
    }
}
