//! A line through few points, of which some are wrong.

use super::ntp_map::REPORTS;
use crate::trace::state::saved;

/// Where Huber's loss turns from square to linear, in standard deviations: 95 % as good as least squares
/// on Gaussian noise (Huber, 1964).
const HUBER: f64 = 1.345;

/// Where Tukey's weight becomes zero: 98 % as good (Beaton and Tukey, 1974).
const TUKEY: f64 = 6.0;

/// Rounds of reweighting, of the one and of the other.
const HUBER_ROUNDS: usize = 12;
const TUKEY_ROUNDS: usize = 4;

/// The least noise, in the unit of `y`: what rounding leaves.
const FINEST: f64 = 0.01;

/// The steepest slope. Keeps a map of clocks monotone, whatever is reported.
const STEEPEST: f64 = 200_000.0;

/// A point.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(super) struct Sample {
    pub(super) x: f64,
    pub(super) y: f64,
}

/// A line.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(super) struct Line {
    /// `y` at `x` = 0.
    pub(super) level: f64,
    pub(super) slope: f64,
    /// The scatter about it: one standard deviation.
    pub(super) sigma: f64,
    /// The standard error of the slope.
    pub(super) slope_error: f64,
    count: f64,
    mean: f64,
    /// The sum of squared distances from the mean of `x`; 0 where the slope is not known.
    spread: f64,
}

saved!(struct Line { level, slope, sigma, slope_error, count, mean, spread });

impl Line {
    pub(super) fn at(&self, x: f64) -> f64 {
        self.level + self.slope * x
    }

    /// The variance of the line at `x`, in units of that of a point.
    pub(super) fn leverage(&self, x: f64) -> f64 {
        let tilt = if self.spread > 0.0 { (x - self.mean).powi(2) / self.spread } else { 0.0 };
        1.0 / self.count.max(1.0) + tilt
    }
}

/// The line through the first 20 of `samples`: Huber's M-estimate, refined by Tukey's, which gives those
/// that are far off no weight at all. Through one point it is level; through none it is zero.
pub(super) fn fit(samples: &[Sample]) -> Line {
    let samples = samples.get(..REPORTS).unwrap_or(samples);
    let mut line = weighted(samples, |_| 1.0);
    if samples.len() > 2 {
        let huber = |z: f64| if z <= HUBER { 1.0 } else { HUBER / z };
        let tukey = |z: f64| (1.0 - (z / TUKEY).powi(2)).max(0.0).powi(2);
        for _ in 0..HUBER_ROUNDS {
            line = reweighted(samples, line, huber);
        }
        let sigma = line.sigma;
        for _ in 0..TUKEY_ROUNDS {
            line = reweighted(samples, Line { sigma, ..line }, tukey);
        }
    }
    line
}

fn reweighted(samples: &[Sample], line: Line, weight: impl Fn(f64) -> f64) -> Line {
    let found =
        weighted(samples, |sample| weight((sample.y - line.at(sample.x)).abs() / line.sigma));
    // Points that are all far off are no reason to lose the line.
    if found.count > 0.0 { found } else { line }
}

/// Weighted least squares, with a robust scatter.
fn weighted(samples: &[Sample], weight: impl Fn(&Sample) -> f64) -> Line {
    let sums = samples.iter().fold((0.0, 0.0, 0.0), |(count, x, y), sample| {
        let weight = weight(sample);
        (count + weight, x + weight * sample.x, y + weight * sample.y)
    });
    if sums.0 <= 0.0 {
        return Line::default();
    }
    let (x_mean, y_mean) = (sums.1 / sums.0, sums.2 / sums.0);
    let (xx, xy) = samples.iter().fold((0.0, 0.0), |(xx, xy), sample| {
        let (weight, x) = (weight(sample), sample.x - x_mean);
        (xx + weight * x * x, xy + weight * x * (sample.y - y_mean))
    });
    let slope = if xx > 0.0 { (xy / xx).clamp(-STEEPEST, STEEPEST) } else { 0.0 };
    let level = y_mean - slope * x_mean;
    let mut line = Line {
        level,
        slope,
        sigma: FINEST,
        slope_error: 0.0,
        count: sums.0,
        mean: x_mean,
        spread: xx,
    };
    line.sigma = scatter(samples, &line).max(FINEST);
    if xx > 0.0 {
        line.slope_error = line.sigma / xx.sqrt();
    }
    line
}

/// The median distance from the line, as a standard deviation, widened for the two numbers that were
/// fitted.
fn scatter(samples: &[Sample], line: &Line) -> f64 {
    let mut rest = [0.0; REPORTS];
    for (rest, sample) in rest.iter_mut().zip(samples) {
        *rest = (sample.y - line.at(sample.x)).abs();
    }
    let count = samples.len().min(REPORTS);
    if count < 3 {
        return 0.0;
    }
    let middle = rest.get_mut(..count).unwrap_or_default();
    let (_, median, _) = middle.select_nth_unstable_by(count / 2, f64::total_cmp);
    // 1.4826 deviations of a Gaussian are one median distance.
    1.4826 * *median * (count as f64 / (count - 2) as f64).sqrt()
}
