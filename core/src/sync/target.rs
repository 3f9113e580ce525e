//! How long to hold back what arrives.

use std::time::Duration;

use super::control::MAX_PACKET;
use super::histogram::{BIN, BINS, Histogram};
use super::stream::nanos;
use super::tuning::{PlayoutTuning, within};
use crate::trace::state::saved;

/// The time of which one peak is taken, in nanoseconds: about as long as a burst.
const INTERVAL: i64 = 200_000_000;
/// The intervals of which the fastest transit is taken: 1 s. NetEq takes 2 s; the delay rests for so long
/// on what has passed, and the trace bench asks for less of both delay and losses.
const INTERVALS: usize = 5;
/// And the most that [`DelayTarget::looking_back`] may take.
const MOST_INTERVALS: usize = 10;
/// The intervals of which [`DelayTarget::peak_below`] knows: 15 s. To make up 10 ms costs, by the loss price, as
/// much as 10 ms of delay for 5.9 s; it is heard more than that.
const WATCHED: usize = 75;
/// If the fastest transit rises by so much, in nanoseconds, the route became longer: what was late by the shorter
/// one was not late.
const LONGER: i64 = 8_000_000;
/// Where so much RTP time is missing, in nanoseconds, the sender paused: that is no delay.
const PAUSE: i64 = 500_000_000;
/// If all packets of so many times [`SLICE`] in succession were late, the next one is: to play earlier would
/// run dry.
const SUCCESSION: usize = 5;
/// In nanoseconds of RTP time: a packet, or as many as are in so much.
const SLICE: i64 = 20_000_000;
/// The intervals until what was seen alone says what the target is.
const WARM_UP: i64 = 10;
/// The largest target, that of the sync manager's contract for the largest buffer.
const MAX_TARGET: i64 = BIN * BINS as i64;

/// The delay that costs least, with delay and losses weighed against each other.
///
/// A packet's delay is its transit (arrival less RTP time) above the least one of the last second (or
/// [two](Self::looking_back)). The peak
/// of every 200 ms goes into two histograms, one that remembers long and one that answers fast; of what
/// was overtaken every packet does, for what it costs alone. The target is the delay D for which
/// D + price * (what would be concealed with D) is least, by the histogram that asks for more. So a rare outlier
/// is left to concealment, and what returns is covered, with no quantile chosen beforehand; that a bad time is over is
/// noticed the sooner the worse it was. It is no less than what the last packets all had: a route that
/// became longer is followed at once.
///
/// Losses that no delay would avoid count for nothing. What comes late costs the same whether or not what follows
/// carries a copy of it (in-band error correction, deep redundancy): packets that a queue holds up hold up those
/// behind them, and with these the copies.
///
/// Times are nanoseconds on timelines of the caller's; only differences count, and times that go back
/// do no harm. Nothing is allocated.
#[derive(Debug, Clone)]
pub struct DelayTarget {
    price: f64,
    recent_price: f64,
    worst: i64,
    /// The most that a packet costs that was overtaken: its length, or [`Self::worst`].
    alone: i64,
    /// It costs no less than packets in order do.
    holding: bool,
    /// The least distance of two packets of this interval, which are as long.
    step: Option<i64>,
    /// The RTP time that came in this interval.
    heard: i64,
    floor: i64,
    max: i64,
    start: i64,
    slow: Histogram,
    fast: Histogram,
    /// The least transit of each of the last intervals, that of interval `n` at `n` modulo their number.
    fastest: [Option<i64>; MOST_INTERVALS],
    /// How many intervals are looked back.
    intervals: usize,
    /// The least of these.
    least: Option<i64>,
    /// The first arrival, where the intervals are counted from.
    origin: Option<i64>,
    interval: i64,
    /// The largest delay of this interval.
    peak: Option<i64>,
    /// The peaks of the last intervals, as `fastest`: the slow histogram gets them when it is clear that the
    /// route has not become longer meanwhile.
    peaks: [Option<i64>; MOST_INTERVALS],
    /// The peaks of the last [`WATCHED`] intervals in the same order; 0 where there was none.
    watch: [i64; WATCHED],
    /// The highest RTP time.
    newest: i64,
    /// How many peaks were counted, up to [`WARM_UP`].
    watched: i64,
    target: i64,
    /// What that share of the peaks exceeds.
    usual: i64,
    usual_share: f64,
    /// The least delay of each of the last slices, where the next one goes, and where the last one began.
    last: [i64; SUCCESSION],
    next: usize,
    slice: i64,
}

saved!(struct DelayTarget {
    price, recent_price, worst, alone, holding, step, heard, floor, max, start, slow, fast,
    fastest, intervals, least, origin, interval, peak, peaks, watch, newest, watched, target,
    usual, usual_share, last, next, slice,
});

impl DelayTarget {
    /// A target that begins at `start` and stays within the floor of the tuning and `max`, which is at
    /// most 500 ms and outweighs the floor.
    pub fn new(tuning: &PlayoutTuning, start: Duration, max: Duration) -> Self {
        let interval = Duration::from_nanos(INTERVAL as u64);
        let max = nanos(max).min(MAX_TARGET);
        let floor = nanos(tuning.floor).min(max);
        let start = nanos(start).clamp(floor, max);
        // A percent of the time is a hundredth of an interval: so much delay for each nanosecond.
        let price = within(tuning.loss_price, 1e4) * 1e6 * 100.0 / INTERVAL as f64;
        let worst = nanos(tuning.worst);
        Self {
            price,
            recent_price: price * within(tuning.recent_weight, 1.0),
            worst,
            alone: worst.min(SLICE),
            holding: false,
            step: None,
            heard: 0,
            floor,
            max,
            start,
            slow: Histogram::new(tuning.memory, interval),
            fast: Histogram::new(tuning.recent, interval),
            fastest: [None; MOST_INTERVALS],
            intervals: INTERVALS,
            least: None,
            origin: None,
            interval: 0,
            peak: None,
            peaks: [None; MOST_INTERVALS],
            watch: [0; WATCHED],
            newest: i64::MIN,
            watched: 0,
            target: start,
            usual: 0,
            usual_share: within(tuning.brink_share, 1.0),
            last: [0; SUCCESSION],
            next: 0,
            slice: i64::MIN,
        }
    }

    /// Takes the fastest transit of the last `seconds`, 1 or 2: video, whose large frames take long, needs
    /// more of them.
    #[must_use]
    pub fn looking_back(mut self, seconds: usize) -> Self {
        self.intervals = (seconds * INTERVALS).clamp(INTERVALS, MOST_INTERVALS);
        self
    }

    /// What was overtaken holds up what follows, as with frames of video that others are predicted from: it costs what
    /// packets in order do. Audio goes on without it, so that it costs no more than its length.
    #[must_use]
    pub fn holding_up(mut self) -> Self {
        (self.alone, self.holding) = (self.worst, true);
        self
    }

    /// Takes note of a packet of RTP time `media` that arrived at `arrived`. What comes too late to be
    /// played belongs here too; what comes twice does not.
    pub fn observe(&mut self, arrived: i64, media: i64) {
        let (paused, overtaken) = match self.origin {
            Some(_) => (media.saturating_sub(self.newest) > PAUSE, media < self.newest),
            None => (true, false),
        };
        self.move_on(arrived, paused);
        self.hear(media.saturating_sub(self.newest));
        self.newest = self.newest.max(media);
        let transit = arrived.saturating_sub(media);
        let place = self.slot(self.interval);
        let fastest = &mut self.fastest[place];
        *fastest = Some(fastest.map_or(transit, |least| least.min(transit)));
        let least = self.least.map_or(transit, |least| least.min(transit));
        self.least = Some(least);
        let delay = transit.saturating_sub(least);
        self.succeed(media, delay);
        if overtaken {
            self.slow.add_overtaken(delay);
            self.fast.add_overtaken(delay);
        } else if !paused {
            self.peak = Some(self.peak.map_or(delay, |peak| peak.max(delay)));
        }
    }

    /// Starts at `start` again, within the bounds, and goes on from there as at the beginning.
    pub fn start_at(&mut self, start: Duration) {
        self.start = nanos(start).clamp(self.floor, self.max);
        (self.target, self.watched) = (self.start, 0);
    }

    /// The RTP times that follow have nothing to do with those before: another stream, that comes through
    /// the same network.
    pub fn restart(&mut self) {
        self.fastest = [None; MOST_INTERVALS];
        self.least = None;
        (self.newest, self.peak, self.last) = (i64::MIN, None, [0; SUCCESSION]);
        self.slice = i64::MIN;
    }

    /// The target, in nanoseconds above [`Self::fastest`].
    pub fn target(&self) -> i64 {
        let sustained = self.last.iter().copied().min().unwrap_or(0);
        self.target.max(sustained).min(self.max)
    }

    /// How late packets often are, in nanoseconds above [`Self::fastest`]: what is no later may well be on
    /// its way.
    pub fn usual(&self) -> i64 {
        self.usual.min(self.max)
    }

    /// The largest of the peaks of the last 15 s that are below `limit`, in nanoseconds above
    /// [`Self::fastest`], at least 0.
    pub fn peak_below(&self, limit: i64) -> i64 {
        let peaks = self.watch.iter().copied().chain(self.peak);
        peaks.filter(|&peak| peak < limit).max().unwrap_or(0).max(0)
    }

    /// The least transit of the last second (or two), in nanoseconds; `None` before the first packet.
    pub fn fastest(&self) -> Option<i64> {
        self.least
    }

    /// Learns from how much later than the newest a packet is in RTP time.
    fn hear(&mut self, step: i64) {
        if (1..=MAX_PACKET).contains(&step) {
            self.step = Some(self.step.map_or(step, |least| least.min(step)));
            self.heard = self.heard.saturating_add(step);
        } else if step > MAX_PACKET {
            // After a pause, or in one: a packet alone.
            self.heard = self.heard.saturating_add(SLICE);
        }
    }

    /// Puts a delay among the last ones.
    fn succeed(&mut self, media: i64, delay: i64) {
        let since = media.saturating_sub(self.slice);
        // To the millisecond: a packet of 20 ms may be a little shorter, as counted by a clock of 44.1 kHz.
        if (0..SLICE - SLICE / 20).contains(&since) {
            let last = &mut self.last[(self.next + SUCCESSION - 1) % SUCCESSION];
            *last = delay.min(*last);
        } else {
            self.last[self.next] = delay;
            self.next = (self.next + 1) % SUCCESSION;
            self.slice = media;
        }
    }

    /// The place of an interval, which is at least 0, among the last ones.
    fn slot(&self, interval: i64) -> usize {
        interval.unsigned_abs() as usize % self.intervals
    }

    /// Ends the intervals before that of `arrived`.
    fn move_on(&mut self, arrived: i64, paused: bool) {
        let origin = *self.origin.get_or_insert(arrived);
        let interval = arrived.saturating_sub(origin) / INTERVAL;
        let passed = interval - self.interval;
        if passed <= 0 {
            return;
        }
        let heard = std::mem::take(&mut self.heard) / (INTERVAL / 100);
        self.slow.hear(heard);
        self.fast.hear(heard);
        if let Some(step) = self.step.take().filter(|_| !self.holding) {
            self.alone = self.worst.min(step);
        }
        let peak = self.peak.take();
        if let Some(peak) = peak {
            self.fast.add(peak);
            self.watched = (self.watched + 1).min(WARM_UP);
        }
        for ago in 1..=passed.min(WATCHED as i64) {
            let place = (interval - ago).unsigned_abs() as usize % WATCHED;
            self.watch[place] = if ago == passed { peak.unwrap_or(0) } else { 0 };
        }
        let place = self.slot(self.interval);
        if let Some(old) = std::mem::replace(&mut self.peaks[place], peak) {
            self.slow.add(old);
        }
        // What was known before a pause of the sender is true after it.
        if !paused {
            self.slow.forget(passed);
            self.fast.forget(passed);
        }
        let before = self.fastest();
        for ago in 0..passed.min(self.intervals as i64) {
            let place = self.slot(interval - ago);
            self.fastest[place] = None;
        }
        self.least = self.fastest.iter().flatten().copied().min();
        if let (Some(before), Some(since)) = (before, self.fastest()) {
            let longer = since.saturating_sub(before);
            if longer >= LONGER {
                self.fast.lower(longer);
                for peak in self.peaks.iter_mut().flatten().chain(&mut self.watch) {
                    *peak = peak.saturating_sub(longer).max(0);
                }
            }
        }
        self.interval = interval;
        self.choose();
    }

    fn choose(&mut self) {
        let fast =
            self.fast.cheapest(self.recent_price, self.worst, self.alone).unwrap_or(self.start);
        let slow = self.slow.cheapest(self.price, self.worst, self.alone).unwrap_or(fast);
        let seen = slow.max(fast);
        let blend = seen * self.watched + self.start * (WARM_UP - self.watched);
        self.usual = self.slow.exceeded_by(self.usual_share);
        self.target = (blend / WARM_UP).clamp(self.floor, self.max);
    }
}

#[cfg(test)]
#[path = "target_tests.rs"]
mod tests;
