//! A histogram that forgets.

use crate::trace::state::saved;
use std::time::Duration;

/// The width of a bin in nanoseconds.
pub(super) const BIN: i64 = 2_000_000;
/// How many there are: 0 to 500 ms, the largest buffer of the sync manager's contract.
pub(super) const BINS: usize = 250;

/// A share of all that is as good as nothing, at the highest price too.
const NEGLIGIBLE: f64 = 1e-9;

/// Weights are scaled down before they grow beyond that: far from where an `f64` loses precision.
const HEAVY: f64 = 1e12;

/// What did not come in `n` intervals of a stream comes less often than so many times in as many, with a confidence of 95 %: the
/// rule of three (Hanley and Lippman-Hand, "If nothing goes wrong, is everything all right?", JAMA 249, 1983).
const UNSEEN: f64 = 3.0;

/// How often values were seen, each counting for less the longer ago it was. What is beyond the last bin
/// counts in it. There are two kinds: peaks, one an interval, and packets that were overtaken by others, as many as
/// came.
///
/// To forget is to let new values weigh more, so that nothing is touched but the bin that grows. That alone would hold on to
/// a bad time for long when it is over: so peaks that have not been seen for a while count as no more frequent than that
/// allows. What was overtaken is forgotten by its age alone.
#[derive(Debug, Clone)]
pub(super) struct Histogram {
    peaks: [f64; BINS],
    overtaken: [f64; BINS],
    /// How much of the stream there had been when a peak was last in each bin.
    last: [u32; BINS],
    /// How much of the stream there has been, in hundredths of an interval: a pause says nothing of what is unseen.
    now: u32,
    /// Of the peaks.
    total: f64,
    weight: f64,
    /// What the weight is multiplied with for each interval.
    growth: f64,
    /// One more than the last bin that is not empty.
    end: usize,
}

saved!(struct Histogram { peaks, overtaken, last, now, total, weight, growth, end });

impl Histogram {
    /// One that forgets with the time constant `memory`, in steps of `interval`.
    pub(super) fn new(memory: Duration, interval: Duration) -> Self {
        let steps = (memory.as_secs_f64() / interval.as_secs_f64()).max(1.0);
        Self {
            peaks: [0.0; BINS],
            overtaken: [0.0; BINS],
            last: [0; BINS],
            now: 0,
            total: 0.0,
            weight: 1.0,
            growth: (1.0 / steps).exp(),
            end: 0,
        }
    }

    /// Counts the peak of an interval in nanoseconds, at least 0.
    pub(super) fn add(&mut self, value: i64) {
        let bin = self.bin(value);
        self.peaks[bin] += self.weight;
        self.total += self.weight;
        self.last[bin] = self.now;
    }

    /// Counts the delay of a packet that was overtaken in nanoseconds, at least 0.
    pub(super) fn add_overtaken(&mut self, value: i64) {
        let bin = self.bin(value);
        self.overtaken[bin] += self.weight;
    }

    /// The bin of a value, which is about to be counted.
    fn bin(&mut self, value: i64) -> usize {
        let bin = usize::try_from(value / BIN).unwrap_or(0).min(BINS - 1);
        self.end = self.end.max(bin + 1);
        bin
    }

    /// Lets go of the last bins where next to nothing is left of them.
    fn trim(&mut self) {
        while let Some(last) = self.end.checked_sub(1)
            && self.peaks[last] + self.overtaken[last] <= self.total * NEGLIGIBLE
        {
            self.total -= self.peaks[last];
            (self.peaks[last], self.overtaken[last]) = (0.0, 0.0);
            self.end = last;
        }
    }

    /// All that was counted was `less` nanoseconds less, in whole bins: what is below that counts as 0.
    pub(super) fn lower(&mut self, less: i64) {
        let bins = usize::try_from(less / BIN).unwrap_or(0).min(BINS - 1);
        if bins > 0 {
            for counts in [&mut self.peaks, &mut self.overtaken] {
                let lowest = counts.iter().take(bins).sum::<f64>();
                counts.copy_within(bins.., 0);
                counts[BINS - bins..].fill(0.0);
                counts[0] += lowest;
            }
            let latest = self.last.iter().take(bins + 1).max().copied().unwrap_or(0);
            self.last.copy_within(bins.., 0);
            self.last[BINS - bins..].fill(0);
            self.last[0] = latest;
            self.end = self.end.saturating_sub(bins).max(1);
        }
    }

    /// So much of the stream has come, in hundredths of an interval.
    pub(super) fn hear(&mut self, hundredths: i64) {
        self.now = self.now.saturating_add(u32::try_from(hundredths.max(0)).unwrap_or(u32::MAX));
    }

    /// Lets `intervals` pass.
    pub(super) fn forget(&mut self, intervals: i64) {
        self.weight *= self.growth.powi(intervals.clamp(0, 100) as i32);
        if self.weight > HEAVY {
            let scale = self.weight.recip();
            for bin in self.peaks.iter_mut().chain(&mut self.overtaken) {
                *bin *= scale;
            }
            (self.total, self.weight) = (self.total * scale, 1.0);
        }
    }

    /// What no more than `share` of the peaks exceeds, in nanoseconds, a multiple of [`BIN`]; 0 where
    /// nothing was counted.
    pub(super) fn exceeded_by(&self, share: f64) -> i64 {
        let most = self.total * share;
        let mut above = 0.0;
        let beyond = self.peaks[..self.end].iter().rev().take_while(|weight| {
            above += **weight;
            above <= most
        });
        (self.end - beyond.count()) as i64 * BIN
    }

    /// Where `delay + price * excess(delay)` is least, in nanoseconds, the excess being by how much the values of an
    /// interval exceed the delay in the mean: its peak, counting no more than `most` nanoseconds, and each packet that was
    /// overtaken, counting no more than `alone`. It is a multiple of [`BIN`],
    /// and no less for a higher price. `None` where no peak was counted.
    pub(super) fn cheapest(&mut self, price: f64, most: i64, alone: i64) -> Option<i64> {
        if self.total <= 0.0 {
            return None;
        }
        self.trim();
        let width = BIN as f64;
        let price = price / self.total;
        let bins = |most: i64| usize::try_from(most / BIN).unwrap_or(0).max(1);
        let (most, alone, rarely) = (bins(most), bins(alone), self.total * UNSEEN);
        let (mut peaks, mut overtaken) = (Tail::default(), Tail::default());
        let (mut above, mut seen) = (0.0, 0);
        let mut best = (f64::INFINITY, 0);
        let edges = (self.end + 1).min(BINS);
        let mut excesses = [[0.0; 2]; BINS];
        for edge in (0..edges).rev() {
            above += self.peaks[edge];
            seen = self.last[edge].max(seen);
            let unseen = (f64::from(self.now.saturating_sub(seen)) / 100.0).max(1.0);
            let often = if above * unseen > rarely { rarely / unseen } else { above };
            let late = overtaken.above + self.overtaken[edge];
            excesses[edge] = [peaks.lower(often), overtaken.lower(late)];
            let beyond = |kind: usize, most: usize| {
                excesses.get(edge.saturating_add(most)).map_or(0.0, |excess| excess[kind])
            };
            let [in_order, singly] = excesses[edge];
            let excess = in_order - beyond(0, most) + singly - beyond(1, alone);
            let cost = width * (edge as f64 + price * excess);
            if cost <= best.0 {
                best = (cost, edge);
            }
        }
        Some(best.1 as i64 * BIN)
    }
}

/// What exceeds a bin's lower edge.
#[derive(Default)]
struct Tail {
    above: f64,
    excess: f64,
}

impl Tail {
    /// So much is above the next lower edge: by how much it exceeds that, in bins.
    fn lower(&mut self, above: f64) -> f64 {
        // What was above lies a bin further off, what is in this bin half a bin.
        self.excess += (self.above + above) / 2.0;
        self.above = above;
        self.excess
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const INTERVAL: Duration = Duration::from_millis(200);
    const MS: i64 = 1_000_000;

    fn histogram(values: &[(i64, usize)]) -> Histogram {
        let mut histogram = Histogram::new(Duration::from_secs(1_000), INTERVAL);
        for &(millis, count) in values {
            (0..count).for_each(|_| histogram.add(millis * MS));
        }
        histogram
    }

    #[test]
    fn the_cheapest_delay_covers_what_is_worth_it() {
        assert_eq!(histogram(&[]).cheapest(1.0, i64::MAX, 20 * MS), None);
        // A value above is worth its price times its share for each nanosecond of delay.
        let mut rare = histogram(&[(10, 95), (301, 5)]);
        for (price, expected) in
            [(0.0, 0), (0.9, 0), (1.1, 10), (3.0, 12), (19.0, 12), (21.0, 300), (45.0, 302)]
        {
            assert_eq!(rare.cheapest(price, i64::MAX, 20 * MS), Some(expected * MS), "at {price}");
        }
    }

    #[test]
    fn what_exceeds_by_more_counts_as_the_most() {
        let mut rare = histogram(&[(10, 95), (301, 5)]);
        // 290 ms for 5 % costs as much as 290 ms of delay at a price of 20, and 100 ms of 290 at one of 58.
        for (most, price, expected) in
            [(400, 21.0, 300), (100, 21.0, 12), (100, 56.0, 12), (100, 60.0, 302), (0, 60.0, 12)]
        {
            assert_eq!(
                rare.cheapest(price, most * MS, 20 * MS),
                Some(expected * MS),
                "{most} at {price}"
            );
        }
    }

    #[test]
    fn a_packet_that_was_overtaken_costs_no_more_than_its_length() {
        for (each, price, expected) in [(1, 9.0, 12), (1, 15.0, 302), (10, 1.4, 10), (10, 1.6, 302)]
        {
            let mut histogram = histogram(&[(10, 100)]);
            (0..100 * each).for_each(|_| histogram.add_overtaken(301 * MS));
            // 290 ms of delay avoid 20 ms for each of them.
            assert_eq!(
                histogram.cheapest(price, i64::MAX, 20 * MS),
                Some(expected * MS),
                "{each} at {price}"
            );
        }
    }

    #[test]
    fn what_was_frequent_and_is_seen_no_more_is_believed_to_be_over() {
        let after = |passed: i64| {
            let mut histogram = histogram(&[]);
            for n in 0..1_000 {
                histogram.hear(100);
                histogram.add(if n % 4 == 3 { 301 * MS } else { 10 * MS });
                histogram.forget(1);
            }
            for _ in 1..passed {
                histogram.hear(100);
                histogram.add(10 * MS);
                histogram.forget(1);
            }
            // A pause says nothing.
            histogram.forget(20);
            histogram.cheapest(50.0, i64::MAX, 20 * MS)
        };
        // Worth its delay where it is more frequent than once in 50 intervals: of 1,150 it was in 250.
        for (passed, expected) in [(1, 302), (140, 300), (160, 12)] {
            assert_eq!(after(passed), Some(expected * MS), "{passed}");
        }
    }

    #[test]
    fn what_is_out_of_range_counts_at_the_ends() {
        for (value, expected) in [(i64::MIN, 2), (-1, 2), (0, 2), (499 * MS, 498), (i64::MAX, 498)]
        {
            let mut histogram = histogram(&[]);
            histogram.add(value);
            assert_eq!(histogram.cheapest(1e6, i64::MAX, 20 * MS), Some(expected * MS), "{value}");
        }
    }

    #[test]
    fn what_is_lowered_keeps_its_weight() {
        for (less, expected) in
            [(i64::MIN, 302), (0, 302), (1, 302), (2 * MS, 300), (298 * MS, 4), (i64::MAX, 2)]
        {
            let mut histogram = histogram(&[(10, 20), (301, 5)]);
            histogram.lower(less);
            assert_eq!(histogram.cheapest(1e6, i64::MAX, 20 * MS), Some(expected * MS), "{less}");
            assert!((histogram.peaks.iter().sum::<f64>() - histogram.total).abs() < 1e-9);
        }
    }

    #[test]
    fn what_is_old_counts_less_and_less_for_years() {
        let mut histogram = Histogram::new(Duration::from_secs(1), INTERVAL);
        histogram.add(300 * MS);
        for _ in 0..1_000_000 {
            histogram.add(10 * MS);
            histogram.forget(5);
            assert!(histogram.total.is_finite() && histogram.total > 0.0);
        }
        assert_eq!(histogram.cheapest(100.0, i64::MAX, 20 * MS), Some(12 * MS));
    }

    #[test]
    fn a_value_weighs_a_third_after_its_time_constant() {
        let mut histogram = Histogram::new(Duration::from_secs(1), INTERVAL);
        histogram.add(100 * MS);
        histogram.forget(5);
        histogram.add(50 * MS);
        // Of a total of 1 and 1/e the older is 27 %.
        assert_eq!(histogram.cheapest(3.5, i64::MAX, 20 * MS), Some(52 * MS));
        assert_eq!(histogram.cheapest(4.0, i64::MAX, 20 * MS), Some(100 * MS));
    }
}
