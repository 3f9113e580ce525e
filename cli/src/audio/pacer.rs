//! The rhythm of live audio.

use std::time::Duration;

use tokio::time::{Instant, Interval, MissedTickBehavior, interval_at};

/// How much audio one chunk has.
pub(crate) const CHUNK: Duration = Duration::from_millis(20);
/// The lag after which chunks are left out instead of being sent in a burst: more than this no jitter
/// buffer takes (its largest size is 200 ms).
const MAX_LAG: Duration = Duration::from_millis(200);

/// Says when each chunk is due: once per [`CHUNK`], without drift. After a short delay the chunks
/// that were missed follow at once; after a long one they are skipped.
#[derive(Debug)]
pub(crate) struct Pacer {
    interval: Interval,
}

impl Pacer {
    /// The first chunk is due at once.
    pub(crate) fn new() -> Self {
        let mut interval = interval_at(Instant::now(), CHUNK);
        interval.set_missed_tick_behavior(MissedTickBehavior::Burst);
        Self { interval }
    }

    /// Waits until the next chunk is due.
    pub(crate) async fn next(&mut self) {
        let due = self.interval.tick().await;
        if due.elapsed() > MAX_LAG {
            self.interval.reset();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How many chunks are due at this very moment.
    async fn due_now(pacer: &mut Pacer) -> usize {
        let now = Instant::now();
        let mut count = 0;
        while tokio::time::timeout(Duration::ZERO, pacer.next()).await.is_ok() {
            count += 1;
            assert!(count < 1_000);
        }
        assert_eq!(now, Instant::now());
        count
    }

    #[tokio::test(start_paused = true)]
    async fn fifty_chunks_a_second_without_drift() {
        let mut pacer = Pacer::new();
        let begin = Instant::now();
        for n in 0..500 {
            pacer.next().await;
            assert_eq!(begin.elapsed(), CHUNK * n);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_short_delay_is_caught_up_with_and_a_long_one_is_skipped() {
        let mut pacer = Pacer::new();
        assert_eq!(due_now(&mut pacer).await, 1);
        tokio::time::advance(CHUNK * 5).await;
        assert_eq!(due_now(&mut pacer).await, 5);
        tokio::time::advance(CHUNK * 500).await;
        assert_eq!(due_now(&mut pacer).await, 1);
        tokio::time::advance(CHUNK).await;
        assert_eq!(due_now(&mut pacer).await, 1);
    }
}
