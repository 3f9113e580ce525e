//! Whether the way through the network has become longer.

use super::stream::SECOND;
use crate::trace::state::saved;

/// What is later by less is jitter.
const LONGER: i64 = SECOND / 25;
/// So long, and for so many arrivals, every one has to be late: a stall ends in a burst at one time.
const CONFIRM: i64 = SECOND * 2 / 5;
const ARRIVALS: u32 = 6;

/// Finds out that a route has become longer within 0.4 s. [`super::DelayTarget`] takes the fastest transit
/// of 2 s for the route's own; what comes later until it has seen that alone counts as jitter, which it
/// remembers for a minute. Between packets of audio that is little; a video stream whose source or path
/// is 300 ms slower would be shown 300 ms later than it must.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Route {
    /// By how much it is longer than at first, in nanoseconds.
    longer: i64,
    /// Since everything is late: when that began, the least delay, and how many came.
    late: Option<(i64, i64, u32)>,
}

saved!(struct Route { longer, late });

impl Route {
    /// By how much it is longer than at first, in nanoseconds: what to take off each arrival.
    pub(super) fn longer(&self) -> i64 {
        self.longer
    }

    /// Takes note of an arrival at `arrived`, `delay` later than the fastest one by the route so far.
    pub(super) fn observe(&mut self, arrived: i64, delay: i64) {
        if delay < LONGER {
            self.late = None;
            return;
        }
        let (since, least, count) = self.late.unwrap_or((arrived, delay, 0));
        let (least, count) = (least.min(delay), count.saturating_add(1));
        self.late = Some((since, least, count));
        if count >= ARRIVALS && arrived.saturating_sub(since) >= CONFIRM {
            self.longer = self.longer.saturating_add(least);
            self.late = None;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: i64 = 1_000_000;

    #[test]
    fn what_stays_late_is_a_longer_route_and_a_burst_is_not() {
        let mut route = Route::default();
        // A stall of 600 ms.
        (0..18).for_each(|frame| route.observe(0, (600 - frame * 33) * MS));
        route.observe(10 * MS, 0);
        // A single late one among others.
        for frame in 0..30 {
            route.observe(frame * 33 * MS, if frame % 5 == 4 { 0 } else { 90 * MS });
        }
        assert_eq!(route.longer(), 0);
        for frame in 0..13 {
            route.observe((2_000 + frame * 33) * MS, (300 + frame % 3) * MS);
        }
        assert_eq!(route.longer(), 0, "not yet");
        route.observe(2_430 * MS, 310 * MS);
        assert_eq!(route.longer(), 300 * MS);
        for extreme in [i64::MAX, i64::MIN] {
            (0..20).for_each(|nth| route.observe(extreme, i64::MAX - nth));
        }
    }
}
