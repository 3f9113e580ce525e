//! The clock of one host: ahead or behind, and faster or slower than the world's.

use std::time::{Duration, Instant};

/// Nanoseconds in a second.
const SECOND: i128 = 1_000_000_000;

/// How a host's clocks differ from the world's.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
#[non_exhaustive]
pub struct ClockError {
    /// By how much its wall clock is ahead of the world's at the start, in milliseconds; negative: behind.
    pub offset_ms: i64,
    /// By how many parts per million its clocks run faster than the world's, −10,000 to 10,000.
    pub drift_ppm: f64,
}

impl ClockError {
    /// A clock that is ahead by `offset_ms` milliseconds and faster by `drift_ppm` parts per million (taken
    /// for the nearest end of its range where it is outside, and for 0 where it is no number).
    #[must_use]
    pub fn new(offset_ms: i64, drift_ppm: f64) -> Self {
        let drift_ppm = if drift_ppm.is_nan() { 0.0 } else { drift_ppm.clamp(-10_000.0, 10_000.0) };
        Self { offset_ms, drift_ppm }
    }
}

/// A host's clock: from the world's time to its own, and back.
///
/// Whole nanoseconds, so that equal worlds have equal times: the drift is kept in parts of 10⁻¹⁵.
#[derive(Debug, Clone, Copy)]
pub(crate) struct HostClock {
    /// Its instant at the world's start.
    origin: Instant,
    /// Its wall clock at the world's start.
    unix: Duration,
    /// By how much it runs faster, in 10⁻¹⁵.
    drift: i128,
}

/// The unit of a drift.
const DRIFT_UNIT: i128 = 1_000_000_000_000_000;

impl HostClock {
    pub(crate) fn new(origin: Instant, unix: Duration, error: ClockError) -> Self {
        let ClockError { offset_ms, drift_ppm } = ClockError::new(error.offset_ms, error.drift_ppm);
        let offset = Duration::from_millis(offset_ms.unsigned_abs());
        let unix = if offset_ms < 0 { unix.saturating_sub(offset) } else { unix + offset };
        Self { origin, unix, drift: (drift_ppm * 1e9).round() as i128 }
    }

    /// How long it has run when the world has run for `elapsed`.
    pub(crate) fn local(&self, elapsed: Duration) -> Duration {
        if self.drift == 0 {
            return elapsed;
        }
        let world = elapsed.as_nanos() as i128;
        duration(world + (world * self.drift).div_euclid(DRIFT_UNIT))
    }

    /// Its instant when the world has run for `elapsed`.
    pub(crate) fn at(&self, elapsed: Duration) -> Instant {
        self.origin + self.local(elapsed)
    }

    /// Its wall clock then, as a time since the Unix epoch.
    pub(crate) fn unix_at(&self, elapsed: Duration) -> Duration {
        self.unix + self.local(elapsed)
    }

    /// The first time of the world at which this clock shows `at` or later.
    pub(crate) fn elapsed_at(&self, at: Instant) -> Duration {
        self.elapsed_after(at.saturating_duration_since(self.origin))
    }

    /// The first time of the world at which this clock has run for `local` or longer.
    pub(crate) fn elapsed_after(&self, local: Duration) -> Duration {
        if self.drift == 0 {
            return local;
        }
        let nanos = local.as_nanos() as i128;
        let mut elapsed = duration(nanos * DRIFT_UNIT / (DRIFT_UNIT + self.drift));
        // The division is exact to a nanosecond or two.
        while elapsed > Duration::ZERO && self.local(elapsed - Duration::from_nanos(1)) >= local {
            elapsed -= Duration::from_nanos(1);
        }
        while self.local(elapsed) < local {
            elapsed += Duration::from_nanos(1);
        }
        elapsed
    }
}

fn duration(nanos: i128) -> Duration {
    let nanos = nanos.max(0);
    Duration::new((nanos / SECOND) as u64, (nanos % SECOND) as u32)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_deadline_is_met_at_the_first_nanosecond(
            ppm in -10_000.0..10_000.0, nanos in 0u64..10_000_000_000_000,
        ) {
            let origin = Instant::now();
            let clock = HostClock::new(origin, Duration::ZERO, ClockError::new(0, ppm));
            let at = origin + Duration::from_nanos(nanos);
            let elapsed = clock.elapsed_at(at);
            prop_assert!(clock.at(elapsed) >= at);
            if elapsed > Duration::ZERO {
                prop_assert!(clock.at(elapsed - Duration::from_nanos(1)) < at);
            }
        }

        #[test]
        fn drift_is_what_was_asked_for(ppm in -10_000.0..10_000.0) {
            let origin = Instant::now();
            let clock = HostClock::new(origin, Duration::from_secs(1), ClockError::new(-500, ppm));
            let hour = Duration::from_secs(3_600);
            let ran = (clock.at(hour) - origin).as_secs_f64();
            prop_assert!((ran - 3_600.0 * (1.0 + ppm * 1e-6)).abs() < 1e-8);
            let unix = clock.unix_at(hour).as_secs_f64();
            prop_assert!((unix - ran - 0.5).abs() < 1e-8);
        }
    }
}
