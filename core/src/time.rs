//! Time as a value: deadlines with a reason, and the one mapping from the monotonic to the wall clock.

use crate::trace::state::saved;
use std::time::{Duration, Instant};

/// When a machine wants to be called again, and for what.
///
/// `at` may lie in the past or be the present: something is queued or due, call at once.
/// `why` names the timer or the queue, for logs and for finding machines that spin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Deadline {
    /// The instant at which `handle_timeout` should be called (earlier calls are no-ops).
    pub at: Instant,
    /// The name of the timer.
    pub why: &'static str,
}

saved!(struct Deadline { at, why });

impl Deadline {
    /// A deadline at `at`, for the reason `why`.
    pub const fn new(at: Instant, why: &'static str) -> Self {
        Self { at, why }
    }

    /// The earlier of two optional deadlines; of two equal ones the first.
    pub fn earliest(a: Option<Self>, b: Option<Self>) -> Option<Self> {
        match (a, b) {
            (Some(a), Some(b)) => Some(if b.at < a.at { b } else { a }),
            (a, b) => a.or(b),
        }
    }

    /// Puts a timer in the place of `earliest` where it runs and is due before it: asked after every packet,
    /// it makes no deadline of a timer that is not the first.
    pub(crate) fn consider(earliest: &mut Option<Self>, at: Option<Instant>, why: &'static str) {
        if let Some(at) = at
            && earliest.is_none_or(|earliest| at < earliest.at)
        {
            *earliest = Some(Self::new(at, why));
        }
    }
}

/// A monotonic clock that never steps back, with its mapping to the Unix epoch.
///
/// Machines pass every `now` they are given through [`Clock::advance`], so that a caller whose
/// instants step back (or two threads whose calls overtake each other) cannot reverse a timer.
#[derive(Debug, Clone, Copy)]
pub struct Clock {
    origin: Instant,
    origin_unix: Duration,
    last: Instant,
}

saved!(struct Clock { origin, origin_unix, last });

impl Clock {
    /// Starts at `now`, which is `unix_now` after the Unix epoch.
    pub const fn new(now: Instant, unix_now: Duration) -> Self {
        Self { origin: now, origin_unix: unix_now, last: now }
    }

    /// Takes `now` in and returns the clamped, never decreasing present.
    pub fn advance(&mut self, now: Instant) -> Instant {
        self.last = self.last.max(now);
        self.last
    }

    /// The latest instant seen.
    pub const fn now(&self) -> Instant {
        self.last
    }

    /// The wall-clock time of `at`, as a duration since the Unix epoch. It follows the monotonic
    /// clock from the origin on: steps of the system's wall clock are not seen.
    pub fn unix(&self, at: Instant) -> Duration {
        match at.checked_duration_since(self.origin) {
            Some(after) => self.origin_unix + after,
            None => self.origin_unix.saturating_sub(self.origin - at),
        }
    }
}

/// Formats a time since the Unix epoch as ISO 8601 in UTC with milliseconds: `2026-11-24T05:00:00.000Z`.
///
/// The calendar arithmetic is the proleptic Gregorian one of RFC 3339, section 5.6.
pub fn iso8601(unix: Duration) -> String {
    let seconds = unix.as_secs();
    let (days, of_day) = (seconds / 86_400, seconds % 86_400);
    let (year, month, day) = civil_from_days(days);
    format!(
        "{year:04}-{month:02}-{day:02}T{:02}:{:02}:{:02}.{:03}Z",
        of_day / 3600,
        of_day / 60 % 60,
        of_day % 60,
        unix.subsec_millis()
    )
}

/// Days since 1970-01-01 to (year, month, day): years are counted from March, in eras of 400 years,
/// so that the leap day is the last of its year.
fn civil_from_days(days: u64) -> (u64, u64, u64) {
    const DAYS_PER_ERA: u64 = 146_097;
    let shifted = days + 719_468;
    let (era, day_of_era) = (shifted / DAYS_PER_ERA, shifted % DAYS_PER_ERA);
    let year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    (era * 400 + year_of_era + u64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn iso8601_of_known_dates() {
        assert_eq!(iso8601(Duration::ZERO), "1970-01-01T00:00:00.000Z");
        assert_eq!(iso8601(Duration::from_millis(951_782_400_001)), "2000-02-29T00:00:00.001Z");
        assert_eq!(iso8601(Duration::from_secs(1_795_496_399)), "2026-11-24T04:59:59.000Z");
        assert_eq!(iso8601(Duration::from_secs(4_107_542_400)), "2100-03-01T00:00:00.000Z");
    }

    #[test]
    fn the_clock_never_steps_back() {
        let start = Instant::now();
        let mut clock = Clock::new(start, Duration::from_secs(100));
        let later = start + Duration::from_secs(5);
        assert_eq!(clock.advance(later), later);
        assert_eq!(clock.advance(start), later);
        assert_eq!(clock.unix(later), Duration::from_secs(105));
    }

    #[test]
    fn the_earliest_deadline_wins_and_keeps_its_reason() {
        let start = Instant::now();
        let a = Deadline::new(start, "a");
        let b = Deadline::new(start + Duration::from_millis(1), "b");
        assert_eq!(Deadline::earliest(Some(b), Some(a)), Some(a));
        assert_eq!(Deadline::earliest(None, Some(b)), Some(b));
        assert_eq!(Deadline::earliest(None, None), None);
    }
}
