//! When media would have arrived by the fastest way: what ties a sender's timestamps to the local clock.

use std::time::{Duration, Instant};

use crate::sync::sequence::ahead;
use crate::sync::stream::{SECOND, Scale, since};
use crate::trace::state::saved;

/// The seconds of which the fastest transit is taken. Longer than most queues last; the drift of the
/// clocks meanwhile is allowed for.
const SECONDS: usize = 16;

/// The fastest transits of the last seconds. Nothing is allocated.
#[derive(Debug, Clone)]
pub(super) struct Path {
    scale: Scale,
    origin: Option<Instant>,
    /// The last arrival, in nanoseconds since the origin.
    now: i64,
    /// The timestamp and the ticks of the newest packet.
    newest: (u32, i64),
    /// That of second `n`, in nanoseconds, at `n` modulo their number.
    least: [Option<Least>; SECONDS],
}

saved!(struct Path { scale, origin, now, newest, least });

/// The fastest of a second.
#[derive(Debug, Clone, Copy)]
struct Least {
    second: i64,
    at: i64,
    /// Arrival minus RTP time.
    transit: i64,
}

saved!(struct Least { second, at, transit });

impl Path {
    pub(super) fn new(clock_rate: u32) -> Self {
        Self {
            scale: Scale::new(clock_rate),
            origin: None,
            now: 0,
            newest: (0, 0),
            least: [None; SECONDS],
        }
    }

    /// Takes note of an arrival: O(1).
    pub(super) fn observe(&mut self, rtp: u32, arrived: Instant) {
        let (new, origin) = (self.origin.is_none(), *self.origin.get_or_insert(arrived));
        if new {
            self.newest = (rtp, 0);
        }
        self.now = self.now.max(since(origin, arrived));
        let ticks = self.ticks(rtp);
        if ticks > self.newest.1 {
            self.newest = (rtp, ticks);
        }
        let transit = self.now.saturating_sub(self.scale.nanos(ticks));
        let (second, at) = (self.now / SECOND, self.now);
        let Some(place) = self.least.get_mut(second as usize % SECONDS) else { return };
        if place.is_none_or(|old| old.second != second || transit <= old.transit) {
            *place = Some(Least { second, at, transit });
        }
    }

    /// The instant of nanosecond 0: the first arrival.
    pub(super) fn origin(&self) -> Option<Instant> {
        self.origin
    }

    /// The newest timestamp; `None` before the first arrival.
    pub(super) fn newest(&self) -> Option<u32> {
        self.origin.map(|_| self.newest.0)
    }

    /// Whether `rtp` at the instant `at` can be of this stream, that is within `most` of what is expected
    /// then. Nothing is expected, and everything can be, where it has paused for that long.
    pub(super) fn has(&self, rtp: u32, at: Instant, most: Duration) -> bool {
        let Some(origin) = self.origin else { return true };
        let most = i64::try_from(most.as_nanos()).unwrap_or(i64::MAX);
        let passed = since(origin, at).saturating_sub(self.now);
        let moved = self.scale.nanos(ahead(rtp, self.newest.0));
        passed >= most || moved.saturating_sub(passed).saturating_abs() <= most
    }

    /// When what has the timestamp would have arrived by the fastest way, in nanoseconds since the
    /// origin, for a sender's clock that is `drift_ppm` fast.
    /// Neither here nor in [`Self::timestamp`] anything saturates, since it could not be undone.
    pub(super) fn arrival(&self, rtp: u32, drift_ppm: f64) -> Option<(Instant, i128)> {
        let origin = self.origin?;
        let transit = self.recent().map(|least| self.today(least, drift_ppm)).min()?;
        Some((origin, i128::from(transit) + i128::from(self.scale.nanos(self.ticks(rtp)))))
    }

    /// The timestamp of what would have arrived at `at` by the fastest way; `None` where it is farther than
    /// half their range.
    pub(super) fn timestamp(&self, at: (Instant, i128), drift_ppm: f64) -> Option<u32> {
        let (origin, newest) = self.arrival(self.newest.0, drift_ppm)?;
        let passed = i128::from(since(origin, at.0)) + at.1 - newest;
        let half = i128::from(SECOND) / 2;
        let ticks = passed.checked_mul(i128::from(self.scale.rate))?;
        let ticks = (ticks + half).div_euclid(i128::from(SECOND));
        Some(self.newest.0.wrapping_add(i32::try_from(ticks).ok()? as u32))
    }

    /// How much the fastest transits of the seconds differ: the median above the least, in nanoseconds.
    pub(super) fn spread(&self, drift_ppm: f64) -> Option<i64> {
        let mut transits = [i64::MAX; SECONDS];
        let mut count = 0;
        for (slot, least) in transits.iter_mut().zip(self.recent()) {
            *slot = self.today(least, drift_ppm);
            count += 1;
        }
        transits.sort_unstable();
        let median = transits.get(count / 2).filter(|_| count > 0)?;
        transits.first().map(|least| median.saturating_sub(*least))
    }

    /// For how long arrivals were seen.
    pub(super) fn age(&self) -> Duration {
        Duration::from_nanos(self.now.max(0) as u64)
    }

    pub(super) fn clear(&mut self) {
        (self.origin, self.now, self.newest) = (None, 0, (0, 0));
        self.least = [None; SECONDS];
    }

    fn recent(&self) -> impl Iterator<Item = Least> + '_ {
        let oldest = self.now / SECOND - SECONDS as i64;
        self.least.iter().flatten().copied().filter(move |least| least.second > oldest)
    }

    /// What a transit would be now: that of a fast clock falls.
    fn today(&self, least: Least, drift_ppm: f64) -> i64 {
        let passed = self.now.saturating_sub(least.at);
        least.transit.saturating_sub((passed as f64 * drift_ppm * 1e-6) as i64)
    }

    fn ticks(&self, rtp: u32) -> i64 {
        self.newest.1.saturating_add(ahead(rtp, self.newest.0))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    #[test]
    fn the_fastest_of_the_last_seconds_counts() {
        let start = Instant::now();
        let mut path = Path::new(48_000);
        assert_eq!(path.arrival(0, 0.0), None);
        for n in 0..1_500_u32 {
            let late = if n == 20 { 5 } else { 10 + u64::from(n % 7) };
            path.observe(n.wrapping_mul(960).wrapping_sub(96_000), start + ms(20) * n + ms(late));
            let (origin, at) = path.arrival(0, 0.0).unwrap();
            let arrival = i128::from(since(start, origin)) + at;
            let expected = 2_000 + if (20..=820).contains(&n) { 5 } else { 10 };
            // Between 15 and 16 s after it the fast one is forgotten.
            if !(760..=820).contains(&n) {
                assert_eq!(arrival / 1_000_000, expected, "{n}");
            }
        }
        assert_eq!(path.spread(0.0), Some(0));
        let at = (start, 2_010_000_000);
        assert_eq!(path.timestamp(at, 0.0), Some(0));
        assert_eq!(path.timestamp((start, i128::MAX / 2), 0.0), None);
    }

    #[test]
    fn drift_is_allowed_for() {
        let start = Instant::now();
        let mut path = Path::new(48_000);
        for n in 0..1_000_u64 {
            // 500 ppm fast.
            let sent = (n * 20_000_000) as f64 / 1.000_5;
            path.observe(n as u32 * 960, start + Duration::from_nanos(sent as u64));
        }
        let (_, at) = path.arrival(999 * 960, 500.0).unwrap();
        assert!((at - i128::from(path.now)).abs() < 1_000_000, "{at} {}", path.now);
        assert!(path.spread(500.0).unwrap() < 20_000);
        assert!(path.spread(0.0).unwrap() > 3_000_000);
    }

    proptest! {
        /// At half the range of timestamps too.
        #[test]
        fn the_way_there_and_back_ends_where_it_began(
            rate in prop_oneof![Just(48_000_u32), Just(90_000)],
            packets in prop::collection::vec((any::<u32>(), 0_u64..100_000_000_000), 1..20),
            rtp in prop_oneof![any::<u32>(), Just(1 << 31), Just((1 << 31) - 1), Just((1 << 31) + 1)],
            ppm in -2_000.0..2_000.0,
            local in any::<i64>(),
        ) {
            let start = Instant::now();
            let mut path = Path::new(rate);
            for (rtp, after) in packets {
                path.observe(rtp, start + Duration::from_nanos(after));
            }
            let rtp = path.newest().unwrap().wrapping_add(rtp);
            let (origin, at) = path.arrival(rtp, ppm).unwrap();
            // To whole microseconds of another clock.
            let local = i128::from(local);
            let at = (at - local).div_euclid(1_000) * 1_000 + local;
            prop_assert_eq!(path.timestamp((origin, at), ppm), Some(rtp));
        }
    }

    #[test]
    fn timestamps_of_another_stream_are_told() {
        let start = Instant::now();
        let mut path = Path::new(48_000);
        assert!(path.has(5, start, ms(1_000)));
        path.observe(0, start);
        assert!(path.has(48_000 * 5, start + ms(5_000), ms(1_000)));
        assert!(!path.has(48_000 * 50, start + ms(500), ms(1_000)));
        assert!(path.has(48_000 * 50, start + ms(1_000), ms(1_000)), "it paused");
    }
}
