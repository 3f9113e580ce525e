//! How long to hold back what arrives.

use std::time::Duration;

use super::histogram::Histogram;
use super::tuning::PlayoutTuning;

/// The time of which one peak is taken, in nanoseconds.
const INTERVAL: i64 = 200_000_000;
/// The intervals of which the fastest transit is taken: 2 s, as NetEq does.
const INTERVALS: usize = 10;
/// No peak is taken across a longer pause, in nanoseconds.
const PAUSE: i64 = 500_000_000;
/// So many intervals are watched before they alone say what the target is.
const WARM_UP: u32 = 10;

/// The delay that costs least, with losses and delay weighed against each other.
///
/// A packet's delay is its transit time (arrival minus RTP time) above the least one of the last 2 s. The
/// peak of every 200 ms goes into two histograms, one that remembers long and one that answers fast, and
/// the target is the delay D for which D + price * (what would be concealed with D) is least, by the
/// histogram that asks for more. Such a target leaves a rare outlier to concealment and covers what
/// returns, without a quantile chosen beforehand.
///
/// Times are nanoseconds on timelines of the caller's; only differences count. Nothing is allocated.
#[derive(Debug, Clone)]
pub struct DelayTarget {
    price: f64,
    recent_price: f64,
    event: f64,
    floor: i64,
    max: i64,
    start: i64,
    slow: Histogram,
    fast: Histogram,
    /// The least transit of each of the last intervals, the current one included.
    fastest: [i64; INTERVALS],
    /// The number of the current interval.
    interval: Option<i64>,
    peak: Option<i64>,
    newest: Option<(i64, i64)>,
    watched: u32,
    target: i64,
}

impl DelayTarget {
    /// A target that begins at `start` and stays within the floor of the tuning and `max`.
    pub fn new(tuning: &PlayoutTuning, start: Duration, max: Duration) -> Self {
        let interval = Duration::from_nanos(INTERVAL as u64);
        let max = nanos(max);
        let floor = nanos(tuning.floor).min(max);
        let start = nanos(start).clamp(floor, max);
        // A percent concealed is a hundredth of the interval.
        let price = tuning.loss_price.max(0.0) * 1e6 * 100.0 / INTERVAL as f64;
        Self {
            price,
            recent_price: price * tuning.recent_weight.max(0.0),
            event: tuning.glitch_price.max(0.0) * 1e6,
            floor,
            max,
            start,
            slow: Histogram::new(tuning.memory, interval),
            fast: Histogram::new(tuning.recent, interval),
            fastest: [i64::MAX; INTERVALS],
            interval: None,
            peak: None,
            newest: None,
            watched: 0,
            target: start,
        }
    }

    /// Takes note of a packet of RTP time `media` that arrived at `arrived`.
    pub fn observe(&mut self, arrived: i64, media: i64) {
        let transit = arrived.saturating_sub(media);
        let paused = self.newest.is_some_and(|(_, at)| arrived.saturating_sub(at) > PAUSE);
        let overtaken = self.newest.is_some_and(|(newest, _)| media < newest);
        self.move_on(arrived, paused);
        let slot = self.slot();
        if let Some(fastest) = self.fastest.get_mut(slot) {
            *fastest = transit.min(*fastest);
        }
        let newest = self.newest.map_or(media, |(newest, _)| newest.max(media));
        self.newest = Some((newest, arrived));
        let delay = transit.saturating_sub(self.fastest().unwrap_or(transit)).max(0);
        if paused {
            return;
        }
        if overtaken {
            self.count(delay);
        } else {
            self.peak = Some(self.peak.map_or(delay, |peak| peak.max(delay)));
        }
    }

    /// The target, in nanoseconds above the fastest transit.
    pub fn nanos(&self) -> i64 {
        self.target
    }

    /// The least transit of the last 2 s, in nanoseconds; `None` before the first packet.
    pub fn fastest(&self) -> Option<i64> {
        self.fastest.iter().copied().min().filter(|&fastest| fastest != i64::MAX)
    }

    fn slot(&self) -> usize {
        self.interval.unwrap_or(0).rem_euclid(INTERVALS as i64) as usize
    }

    fn count(&mut self, delay: i64) {
        self.slow.add(delay);
        self.fast.add(delay);
    }

    fn move_on(&mut self, arrived: i64, paused: bool) {
        let interval = arrived.div_euclid(INTERVAL);
        let Some(last) = self.interval else {
            self.interval = Some(interval);
            return;
        };
        if interval <= last {
            return;
        }
        if let Some(peak) = self.peak.take() {
            self.count(peak);
            self.watched = self.watched.saturating_add(1);
        }
        let passed = interval.saturating_sub(last);
        if !paused {
            self.slow.forget(passed);
            self.fast.forget(passed);
        }
        self.interval = Some(interval);
        for ago in 0..passed.min(INTERVALS as i64) {
            let slot = interval.saturating_sub(ago).rem_euclid(INTERVALS as i64) as usize;
            if let Some(fastest) = self.fastest.get_mut(slot) {
                *fastest = i64::MAX;
            }
        }
        self.choose();
    }

    fn choose(&mut self) {
        let slow = self.slow.cheapest(self.price, self.event).unwrap_or(self.start);
        let fast = self.fast.cheapest(self.recent_price, self.event).unwrap_or(self.start);
        let found = slow.max(fast);
        let known = i64::from(self.watched.min(WARM_UP));
        let whole = i64::from(WARM_UP);
        let blend = (found * known + self.start * (whole - known)) / whole;
        self.target = blend.clamp(self.floor, self.max);
    }
}

fn nanos(duration: Duration) -> i64 {
    i64::try_from(duration.as_nanos()).unwrap_or(i64::MAX)
}
