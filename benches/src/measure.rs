//! Ratios that can be trusted: both sides in turns, many short rounds, medians.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

/// The times of both sides of a comparison, a pair a round.
#[derive(Debug, Default)]
pub struct Comparison {
    /// Ours and the other's, in nanoseconds per unit.
    rounds: Vec<(f64, f64)>,
}

impl Comparison {
    /// A round: both times were for this many units.
    pub fn add(&mut self, ours: Duration, other: Duration, units: usize) {
        let per_unit = |time: Duration| time.as_nanos() as f64 / units.max(1) as f64;
        self.rounds.push((per_unit(ours), per_unit(other)));
    }

    /// The median of ours.
    pub fn ours(&self) -> f64 {
        median(self.rounds.iter().map(|round| round.0))
    }

    /// The median of the other's.
    pub fn other(&self) -> f64 {
        median(self.rounds.iter().map(|round| round.1))
    }

    /// The median of the rounds' ratios, ours over the other's.
    pub fn ratio(&self) -> f64 {
        median(self.rounds.iter().map(|(ours, other)| ours / other))
    }

    /// As JSON: times in nanoseconds.
    pub fn json(&self, goal: Option<f64>) -> Value {
        let (ours, other) = (self.ours().round(), self.other().round());
        let ratio = (self.ratio() * 1e3).round() / 1e3;
        json!({"ours_ns": ours, "engine_ns": other, "ratio": ratio, "goal": goal})
    }
}

/// The median; NaN of nothing.
pub fn median(values: impl Iterator<Item = f64>) -> f64 {
    quantile(values, 0.5)
}

/// The value below which this share of all lies; NaN of nothing.
pub fn quantile(values: impl Iterator<Item = f64>, share: f64) -> f64 {
    let mut sorted: Vec<f64> = values.collect();
    sorted.sort_by(f64::total_cmp);
    let index = ((sorted.len() as f64 - 1.0).max(0.0) * share).round() as usize;
    sorted.get(index).copied().unwrap_or(f64::NAN)
}

/// Runs it and gives how long it took.
pub fn timed(act: impl FnOnce()) -> Duration {
    let start = Instant::now();
    act();
    start.elapsed()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quantile_is_one_of_the_values() {
        let values = || [5.0, 1.0, 4.0, 2.0, 3.0].into_iter();
        assert_eq!(median(values()), 3.0);
        assert_eq!(quantile(values(), 0.95), 5.0);
        assert_eq!(quantile(values(), 0.0), 1.0);
        assert!(median(std::iter::empty()).is_nan());
    }

    #[test]
    fn the_ratio_is_that_of_rounds_not_of_medians() {
        let mut comparison = Comparison::default();
        for (ours, other) in [(10, 10), (200, 100), (1_000, 500)] {
            let millis = Duration::from_millis;
            comparison.add(millis(ours), millis(other), 10);
        }
        assert_eq!(comparison.ratio(), 2.0);
        assert_eq!(comparison.ours(), 20e6);
    }
}
