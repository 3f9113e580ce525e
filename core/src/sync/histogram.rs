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

/// How often values were seen, each counting for less the longer ago it was. What is beyond the last bin
/// counts in it.
///
/// To forget is to let new values weigh more, so that nothing is touched but the bin that grows.
#[derive(Debug, Clone)]
pub(super) struct Histogram {
    bins: [f64; BINS],
    total: f64,
    weight: f64,
    /// What the weight is multiplied with for each interval.
    growth: f64,
    /// One more than the last bin that is not empty.
    end: usize,
}

saved!(struct Histogram { bins, total, weight, growth, end });

impl Histogram {
    /// One that forgets with the time constant `memory`, in steps of `interval`.
    pub(super) fn new(memory: Duration, interval: Duration) -> Self {
        let steps = (memory.as_secs_f64() / interval.as_secs_f64()).max(1.0);
        Self { bins: [0.0; BINS], total: 0.0, weight: 1.0, growth: (1.0 / steps).exp(), end: 0 }
    }

    /// Counts a value in nanoseconds, at least 0.
    pub(super) fn add(&mut self, value: i64) {
        let bin = usize::try_from(value / BIN).unwrap_or(0).min(BINS - 1);
        self.bins[bin] += self.weight;
        self.total += self.weight;
        self.end = self.end.max(bin + 1);
    }

    /// Lets go of the last bins where next to nothing is left of them.
    fn trim(&mut self) {
        while let Some(last) = self.end.checked_sub(1)
            && self.bins[last] <= self.total * NEGLIGIBLE
        {
            self.total -= self.bins[last];
            self.bins[last] = 0.0;
            self.end = last;
        }
    }

    /// All that was counted was `less` nanoseconds less, in whole bins: what is below that counts as 0.
    pub(super) fn lower(&mut self, less: i64) {
        let bins = usize::try_from(less / BIN).unwrap_or(0).min(BINS - 1);
        if bins > 0 {
            let lowest = self.bins.iter().take(bins).sum::<f64>();
            self.bins.copy_within(bins.., 0);
            self.bins[BINS - bins..].fill(0.0);
            self.bins[0] += lowest;
            self.end = self.end.saturating_sub(bins).max(1);
        }
    }

    /// Lets `intervals` pass.
    pub(super) fn forget(&mut self, intervals: i64) {
        self.weight *= self.growth.powi(intervals.clamp(0, 100) as i32);
        if self.weight > HEAVY {
            let scale = self.weight.recip();
            for bin in &mut self.bins {
                *bin *= scale;
            }
            (self.total, self.weight) = (self.total * scale, 1.0);
        }
    }

    /// What no more than `share` of what was counted exceeds, in nanoseconds, a multiple of [`BIN`]; 0 where
    /// nothing was counted.
    pub(super) fn exceeded_by(&self, share: f64) -> i64 {
        let most = self.total * share;
        let mut above = 0.0;
        let beyond = self.bins[..self.end].iter().rev().take_while(|weight| {
            above += **weight;
            above <= most
        });
        (self.end - beyond.count()) as i64 * BIN
    }

    /// Where `delay + price * excess(delay)` is least, in nanoseconds, the excess being by how much a value
    /// exceeds the delay in the mean, counting no more than `most` nanoseconds. It is a multiple of [`BIN`],
    /// and no less for a higher price. `None` where nothing was counted.
    pub(super) fn cheapest(&mut self, price: f64, most: i64) -> Option<i64> {
        if self.total <= 0.0 {
            return None;
        }
        self.trim();
        let width = BIN as f64;
        let price = price / self.total;
        let most = usize::try_from(most / BIN).unwrap_or(0).max(1);
        let (mut above, mut excess) = (0.0, 0.0);
        let mut best = (f64::INFINITY, 0);
        let mut excesses = [0.0; BINS];
        let edges = (self.end + 1).min(BINS);
        for (edge, weight) in self.bins[..edges].iter().enumerate().rev() {
            // From the lower edge of this bin what is above lies a bin further off, what is in it half a bin.
            excess += width * (above + weight / 2.0);
            above += weight;
            excesses[edge] = excess;
            let beyond = excesses.get(edge.saturating_add(most)).copied().unwrap_or(0.0);
            let cost = edge as f64 * width + price * (excess - beyond);
            if cost <= best.0 {
                best = (cost, edge);
            }
        }
        Some(best.1 as i64 * BIN)
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
        assert_eq!(histogram(&[]).cheapest(1.0, i64::MAX), None);
        // A value above is worth its price times its share for each nanosecond of delay.
        let mut rare = histogram(&[(10, 95), (301, 5)]);
        for (price, expected) in
            [(0.0, 0), (0.9, 0), (1.1, 10), (3.0, 12), (19.0, 12), (21.0, 300), (45.0, 302)]
        {
            assert_eq!(rare.cheapest(price, i64::MAX), Some(expected * MS), "at {price}");
        }
    }

    #[test]
    fn what_exceeds_by_more_counts_as_the_most() {
        let mut rare = histogram(&[(10, 95), (301, 5)]);
        // 290 ms for 5 % costs as much as 290 ms of delay at a price of 20, and 100 ms of 290 at one of 58.
        for (most, price, expected) in
            [(400, 21.0, 300), (100, 21.0, 12), (100, 56.0, 12), (100, 60.0, 302), (0, 60.0, 12)]
        {
            assert_eq!(rare.cheapest(price, most * MS), Some(expected * MS), "{most} at {price}");
        }
    }

    #[test]
    fn what_is_out_of_range_counts_at_the_ends() {
        for (value, expected) in [(i64::MIN, 2), (-1, 2), (0, 2), (499 * MS, 498), (i64::MAX, 498)]
        {
            let mut histogram = histogram(&[]);
            histogram.add(value);
            assert_eq!(histogram.cheapest(1e6, i64::MAX), Some(expected * MS), "{value}");
        }
    }

    #[test]
    fn what_is_lowered_keeps_its_weight() {
        for (less, expected) in
            [(i64::MIN, 302), (0, 302), (1, 302), (2 * MS, 300), (298 * MS, 4), (i64::MAX, 2)]
        {
            let mut histogram = histogram(&[(10, 20), (301, 5)]);
            histogram.lower(less);
            assert_eq!(histogram.cheapest(1e6, i64::MAX), Some(expected * MS), "{less}");
            assert!((histogram.bins.iter().sum::<f64>() - histogram.total).abs() < 1e-9);
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
        assert_eq!(histogram.cheapest(100.0, i64::MAX), Some(12 * MS));
    }

    #[test]
    fn a_value_weighs_a_third_after_its_time_constant() {
        let mut histogram = Histogram::new(Duration::from_secs(1), INTERVAL);
        histogram.add(100 * MS);
        histogram.forget(5);
        histogram.add(50 * MS);
        // Of a total of 1 and 1/e the older is 27 %.
        assert_eq!(histogram.cheapest(3.5, i64::MAX), Some(52 * MS));
        assert_eq!(histogram.cheapest(4.0, i64::MAX), Some(100 * MS));
    }
}
