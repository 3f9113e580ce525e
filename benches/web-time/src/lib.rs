//! The part of the crate `web-time` that the compared `neteq` uses, over a clock that a thread can set.
//!
//! Without [`virtual_clock::set`] it is the clock of std, as the original is outside of browsers.

#![allow(
    clippy::disallowed_methods,
    reason = "std's clock is what this is, where nobody set another"
)]

use std::ops::{Add, AddAssign, Sub, SubAssign};

pub use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// A point in time, of the system's clock or of the thread's virtual one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Instant(std::time::Instant);

impl Instant {
    /// The present.
    pub fn now() -> Self {
        Self(virtual_clock::get().unwrap_or_else(std::time::Instant::now))
    }

    /// How long after `earlier` it is, zero where it is before.
    pub fn duration_since(&self, earlier: Self) -> Duration {
        self.0.saturating_duration_since(earlier.0)
    }

    /// How long ago it was.
    pub fn elapsed(&self) -> Duration {
        Self::now().duration_since(*self)
    }

    /// That much later, if there is such a time.
    pub fn checked_add(&self, duration: Duration) -> Option<Self> {
        self.0.checked_add(duration).map(Self)
    }
}

impl Add<Duration> for Instant {
    type Output = Self;

    fn add(self, duration: Duration) -> Self {
        Self(self.0 + duration)
    }
}

impl AddAssign<Duration> for Instant {
    fn add_assign(&mut self, duration: Duration) {
        self.0 += duration;
    }
}

impl Sub<Duration> for Instant {
    type Output = Self;

    fn sub(self, duration: Duration) -> Self {
        Self(self.0 - duration)
    }
}

impl SubAssign<Duration> for Instant {
    fn sub_assign(&mut self, duration: Duration) {
        self.0 -= duration;
    }
}

impl Sub for Instant {
    type Output = Duration;

    fn sub(self, earlier: Self) -> Duration {
        self.duration_since(earlier)
    }
}

/// The clock that a thread set for itself.
pub mod virtual_clock {
    use std::cell::Cell;
    use std::time::{Duration, Instant};

    thread_local! {
        static CLOCK: Cell<Option<(Instant, Duration)>> = const { Cell::new(None) };
    }

    /// Sets this thread's clock to `since` after an origin of its own, which is where it was first set.
    pub fn set(since: Duration) {
        let origin = CLOCK.get().map_or_else(Instant::now, |(origin, _)| origin);
        CLOCK.set(Some((origin, since)));
    }

    /// Goes back to the clock of std.
    pub fn clear() {
        CLOCK.set(None);
    }

    pub(crate) fn get() -> Option<Instant> {
        CLOCK.get().map(|(origin, since)| origin + since)
    }
}
