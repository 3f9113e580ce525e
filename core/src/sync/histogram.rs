//! A histogram that forgets.

use std::time::Duration;

/// The width of a bin in nanoseconds.
pub(super) const BIN: i64 = 2_000_000;
/// How many there are: 0 to 500 ms, the largest buffer of the sync manager's contract.
pub(super) const BINS: usize = 250;

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
}

impl Histogram {
    /// One that forgets with the time constant `memory`, in steps of `interval`.
    pub(super) fn new(memory: Duration, interval: Duration) -> Self {
        let steps = (memory.as_secs_f64() / interval.as_secs_f64()).max(0.1);
        Self { bins: [0.0; BINS], total: 0.0, weight: 1.0, growth: (1.0 / steps).exp() }
    }

    /// Counts a value in nanoseconds, at least 0.
    pub(super) fn add(&mut self, value: i64) {
        let bin = usize::try_from(value / BIN).unwrap_or(0).min(BINS - 1);
        self.bins[bin] += self.weight;
        self.total += self.weight;
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

    /// Where `delay + price * excess(delay)` is least, in nanoseconds: `excess` is by how much a value
    /// exceeds the delay in the mean, `event` added where it does. It is a multiple of [`BIN`], and never
    /// smaller for a higher price. `None` where nothing was counted.
    pub(super) fn cheapest(&self, price: f64, event: f64) -> Option<i64> {
        if self.total <= 0.0 {
            return None;
        }
        let width = BIN as f64;
        let price = price / self.total;
        let (mut above, mut excess) = (0.0, 0.0);
        let mut best = (f64::INFINITY, 0);
        for (edge, weight) in self.bins.iter().enumerate().rev() {
            // Seen from the lower edge of this bin: what is in it exceeds by half a bin.
            excess += width * above + width / 2.0 * weight;
            above += weight;
            let cost = edge as f64 * width + price * (excess + event * above);
            if cost <= best.0 {
                best = (cost, edge as i64);
            }
        }
        Some(best.1 * BIN)
    }
}
