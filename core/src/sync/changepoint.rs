//! A line through points that keep a common slope, but step up and down between segments.
//!
//! The points are minima of the transit time over short windows. Its slope is the drift of the sender's
//! clock; its steps are changes of route, queues and stalls. Segments are found by dynamic programming
//! over a truncated, asymmetric loss (optimal partitioning with a penalty for each change: Jackson et
//! al., 2005), since what the network adds is positive; the slope is then refitted within segments.

use crate::trace::state::saved;

/// The most points of one fit.
pub(super) const MAX_POINTS: usize = 60;

/// The fewest points of one fit, and of a segment.
pub(super) const MIN_POINTS: usize = 4;

/// The prior of a clock's drift, one standard deviation: crystals are within 100 ppm, bad ones within
/// a few hundred.
const PRIOR: f64 = 300e-6;

/// Noise below a microsecond is not believed, in seconds.
const FINEST: f64 = 1e-6;

/// Where in a segment its level is: below the median, since delays are skewed.
const LEVEL: f32 = 0.4;

/// The loss of a point in units of variance, at most: an outlier above is common, one below is not.
const MOST_ABOVE: f32 = 9.0;
const MOST_BELOW: f32 = 18.0;

/// Which points take part in the fit of the slope, in standard deviations about their level.
const INLIER_ABOVE: f64 = 3.0;
const INLIER_BELOW: f64 = -4.3;

/// What a change costs in units of variance, beside three times the logarithm of the number of points.
const PENALTY: f32 = 9.0;

/// The lowest share of a segment's points counts more in the fit of the slope: the floor of what a network
/// adds is sharp, so that they tell more. It makes errors a tenth smaller on all models.
const LOW: f32 = 0.3;
const LOW_WEIGHT: f64 = 3.0;
/// The mean weight, by which squares are too large (a little less: low points scatter less).
const MEAN_WEIGHT: f64 = 1.5;

/// How often segments and slope are improved in turn.
const ROUNDS: usize = 3;

/// What makes the standard error honest: minima are no Gaussian samples, and segments were chosen to
/// fit. Found on the seeded network models of the benches.
const INFLATION: f64 = 1.3;

/// And what widens it where few points are left to tell the noise from: by this, divided by them.
const FEW: f64 = 8.0;

/// One minimum: when, and how long the transit was, both in seconds.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(super) struct Point {
    pub(super) x: f64,
    pub(super) y: f64,
}

saved!(struct Point { x, y });

/// The common slope.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Fit {
    /// Seconds of transit per second.
    pub(super) slope: f64,
    /// Its standard error.
    pub(super) error: f64,
    /// How many segments there are.
    pub(super) segments: usize,
    /// How many points there are beyond those that the line and its steps take.
    free: f64,
    /// The scatter of the points about their segments, in seconds.
    pub(super) sigma: f64,
}

/// Fits `points`, sorted by `x` and finite, the first [`MAX_POINTS`] of them. `also` is a slope that is
/// tried as a start, beside those that the points suggest. `None` below [`MIN_POINTS`] and where all
/// `x` are the same.
pub(super) fn fit(points: &[Point], also: f64) -> Option<Fit> {
    let points = points.get(..MAX_POINTS).unwrap_or(points);
    if points.len() < MIN_POINTS {
        return None;
    }
    let starts = [lagged(points), hull(points), also, 0.0];
    let mut best: Option<(f64, Fit)> = None;
    let mut found: [Option<Fit>; 4] = [None; 4];
    for (nth, start) in starts.into_iter().enumerate() {
        let known = found.iter().flatten().any(|fit| (fit.slope - start).abs() < fit.error / 2.0);
        if known {
            continue;
        }
        let Some((objective, fit)) = improve(points, start) else { continue };
        if let Some(slot) = found.get_mut(nth) {
            *slot = Some(fit);
        }
        if best.is_none_or(|(least, _)| objective < least) {
            best = Some((objective, fit));
        }
    }
    best.map(|(_, fit)| {
        let vague = INFLATION * (1.0 + FEW / fit.free);
        Fit { error: fit.error * vague, ..fit }
    })
}

/// Segments and slope in turn, from a slope on. With the objective, which is comparable between starts.
fn improve(points: &[Point], start: f64) -> Option<(f64, Fit)> {
    let mut slope = start;
    let mut best: Option<(f64, Fit)> = None;
    for _ in 0..ROUNDS {
        let mut rest = [0.0; MAX_POINTS];
        let rest = rest.get_mut(..points.len())?;
        for (rest, point) in rest.iter_mut().zip(points) {
            *rest = point.y - slope * point.x;
        }
        let sigma = scatter(rest);
        let parts = Parts::of(rest, sigma);
        let fit = parts.refit(points, rest, slope, sigma)?;
        let likelihood = 2.0 * points.len() as f64 * sigma.ln();
        let objective = parts.cost + likelihood + (slope / PRIOR).powi(2) / 2.0;
        let moved = (fit.slope - slope).abs();
        if best.is_none_or(|(least, _)| objective < least) {
            best = Some((objective, fit));
        }
        if moved < fit.error / 10.0 {
            break;
        }
        slope = fit.slope;
    }
    best
}

/// The standard deviation of the noise, from the differences of neighbours: steps do not disturb it. The
/// median of the absolute difference of two Gaussian samples is 0.954 standard deviations.
fn scatter(rest: &[f64]) -> f64 {
    let mut steps = [0.0; MAX_POINTS];
    let mut count = 0;
    for ((slot, a), b) in steps.iter_mut().zip(rest).zip(rest.iter().skip(1)) {
        *slot = (b - a).abs();
        count += 1;
    }
    (quantile(steps.get_mut(..count).unwrap_or_default(), 0.5) / 0.954).max(FINEST)
}

/// Sorts `values` as far as needed for one quantile, without interpolation; 0 of nothing.
fn quantile(values: &mut [f64], share: f32) -> f64 {
    if values.is_empty() {
        return 0.0;
    }
    let nth = ((values.len() - 1) as f32 * share) as usize;
    *values.select_nth_unstable_by(nth, f64::total_cmp).1
}

fn loss(z: f32) -> f32 {
    let most = if z > 0.0 { MOST_ABOVE } else { MOST_BELOW };
    (z * z).min(most)
}

/// A partition of points in segments.
struct Parts {
    /// Where segments begin, by point: `first[end]` is the begin of the last segment that ends before `end`.
    first: [usize; MAX_POINTS + 1],
    count: usize,
    cost: f64,
}

impl Parts {
    /// The partition of least cost. In single precision, which is plenty for a cost and twice as fast.
    fn of(rest: &[f64], sigma: f64) -> Self {
        let count = rest.len().min(MAX_POINTS);
        let mut scaled = [0.0_f32; MAX_POINTS];
        for (scaled, value) in scaled.iter_mut().zip(rest) {
            *scaled = (value / sigma) as f32;
        }
        let penalty = 3.0 * (count as f32).ln() + PENALTY;
        let mut first = [0; MAX_POINTS + 1];
        let mut cost = [f32::INFINITY; MAX_POINTS + 1];
        cost[0] = -penalty;
        for end in MIN_POINTS..=count {
            let mut sorted = [0.0; MAX_POINTS];
            let mut best = (f32::INFINITY, 0);
            for start in (0..end).rev() {
                let length = end - start;
                insert(&mut sorted, length - 1, scaled[start]);
                let before = cost[start] + penalty;
                if length < MIN_POINTS || before >= best.0 {
                    continue;
                }
                let level = sorted[((length - 1) as f32 * LEVEL) as usize];
                let own: f32 = sorted[..length].iter().map(|value| loss(value - level)).sum();
                if before + own < best.0 {
                    best = (before + own, start);
                } else if own > best.0 + penalty {
                    // Longer ones cost as much, and more.
                    break;
                }
            }
            (cost[end], first[end]) = best;
        }
        Self { first, count, cost: f64::from(cost[count]) }
    }

    /// The slope within the segments, of their inliers, drawn to the prior as far as they are vague.
    fn refit(&self, points: &[Point], rest: &[f64], slope: f64, sigma: f64) -> Option<Fit> {
        let mut sums = Sums::default();
        let mut end = self.count;
        let mut segments = 0;
        while end > 0 {
            let start = self.first[end];
            let (points, rest) = (points.get(start..end)?, rest.get(start..end)?);
            let mut sorted = [0.0; MAX_POINTS];
            let sorted = sorted.get_mut(..rest.len())?;
            sorted.copy_from_slice(rest);
            sums.add(points, rest, quantile(sorted, LEVEL), sigma);
            segments += 1;
            end = start;
        }
        if sums.xx <= 0.0 {
            return None;
        }
        let free = (sums.count - segments as f64 - 1.0).max(1.0);
        let change = sums.xy / sums.xx;
        let left = (sums.yy - change * sums.xy).max(0.0);
        let sigma = (left / free).sqrt().max(FINEST);
        let variance = sigma * sigma * sums.noise / (sums.xx * sums.xx) / MEAN_WEIGHT;
        let believed = PRIOR * PRIOR / (PRIOR * PRIOR + variance);
        Some(Fit {
            slope: (slope + change) * believed,
            error: (variance * believed).sqrt(),
            free,
            segments,
            sigma,
        })
    }
}

/// Puts `value` in its place among the first `count`, which are sorted.
fn insert(sorted: &mut [f32; MAX_POINTS], count: usize, value: f32) {
    let mut at = count;
    while at > 0 && sorted[at - 1] > value {
        sorted[at] = sorted[at - 1];
        at -= 1;
    }
    sorted[at] = value;
}

/// Weighted sums of squares about the means of segments.
#[derive(Default)]
struct Sums {
    count: f64,
    xx: f64,
    xy: f64,
    yy: f64,
    /// The sum of squares of the weighted distances: what the noise of the slope comes from.
    noise: f64,
}

impl Sums {
    fn add(&mut self, points: &[Point], rest: &[f64], level: f64, sigma: f64) {
        let inliers = || {
            let all = points.iter().zip(rest).map(|(point, rest)| (point.x, rest - level));
            all.filter(|(_, y)| (INLIER_BELOW..INLIER_ABOVE).contains(&(y / sigma)))
        };
        let mut values = [0.0; MAX_POINTS];
        let mut count = 0;
        for (slot, (_, y)) in values.iter_mut().zip(inliers()) {
            *slot = y;
            count += 1;
        }
        if count == 0 {
            return;
        }
        let low = quantile(values.get_mut(..count).unwrap_or_default(), LOW);
        let weight = |y: f64| if y <= low { LOW_WEIGHT } else { 1.0 };
        let (weights, x, y) = inliers().fold((0.0, 0.0, 0.0), |(weights, xs, ys), (x, y)| {
            let weight = weight(y);
            (weights + weight, xs + weight * x, ys + weight * y)
        });
        let (x_mean, y_mean) = (x / weights, y / weights);
        self.count += count as f64;
        for (x, y) in inliers() {
            let weight = weight(y);
            let (x, y) = (x - x_mean, y - y_mean);
            self.xx += weight * x * x;
            self.xy += weight * x * y;
            self.yy += weight * y * y;
            self.noise += (weight * x).powi(2);
        }
    }
}

/// The median slope over a fixed distance of a quarter of the points.
fn lagged(points: &[Point]) -> f64 {
    let lag = (points.len() / 4).max(1);
    let mut slopes = [0.0; MAX_POINTS];
    let mut count = 0;
    for (a, b) in points.iter().zip(points.iter().skip(lag)) {
        let distance = b.x - a.x;
        if distance > 0.0 {
            slopes[count] = (b.y - a.y) / distance;
            count += 1;
        }
    }
    quantile(slopes.get_mut(..count).unwrap_or_default(), 0.5)
}

/// The slope of the lower convex hull below the middle of the points (Moon, Skelly and Towsley, 1999:
/// the line below all points that is nearest to them).
fn hull(points: &[Point]) -> f64 {
    let mut below = [Point::default(); MAX_POINTS];
    let mut count = 0;
    for point in points {
        while count >= 2 {
            let (a, b) = (below[count - 2], below[count - 1]);
            if (b.x - a.x) * (point.y - a.y) - (b.y - a.y) * (point.x - a.x) > 0.0 {
                break;
            }
            count -= 1;
        }
        below[count] = *point;
        count += 1;
    }
    let middle = points.iter().map(|point| point.x).sum::<f64>() / points.len() as f64;
    let edges = below[..count].windows(2);
    let mut edge = edges.filter(|edge| edge[0].x <= middle && edge[1].x > edge[0].x);
    edge.next_back().map_or(0.0, |edge| (edge[1].y - edge[0].y) / (edge[1].x - edge[0].x))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::rng::{Rng, Seed};

    /// `count` points a second apart, with noise that is skewed like a delay.
    fn points(count: usize, slope: f64, sigma: f64, level: impl Fn(usize) -> f64) -> Vec<Point> {
        let mut rng = Rng::new(Seed::from_number(count as u64));
        let point = |nth: usize| {
            let noise = -sigma * (1.0 - rng.unit()).ln();
            Point { x: nth as f64, y: slope * nth as f64 + level(nth) + noise }
        };
        (0..count).map(point).collect()
    }

    #[test]
    fn a_plain_line_is_one_segment() {
        let fit = fit(&points(60, 40e-6, 0.000_2, |_| 0.0), 0.0).unwrap();
        assert_eq!(fit.segments, 1);
        assert!((fit.slope - 40e-6).abs() < 2.0 * fit.error, "{fit:?}");
    }

    #[test]
    fn steps_are_found_and_do_not_bend_the_line() {
        let level = |nth| [0.0, 0.03, 0.01][usize::from(nth >= 22) + usize::from(nth >= 40)];
        let fit = fit(&points(60, -40e-6, 0.000_2, level), 0.0).unwrap();
        assert_eq!(fit.segments, 3);
        assert!((fit.slope + 40e-6).abs() < 2.0 * fit.error, "{fit:?}");
    }

    #[test]
    fn exact_points_give_the_exact_slope() {
        for slope in [-500e-6, 0.0, 3e-6, 500e-6] {
            let fit = fit(&points(12, slope, 0.0, |_| 0.25), 0.0).unwrap();
            assert!((fit.slope - slope).abs() < 1e-8, "{slope}: {fit:?}");
        }
    }

    #[test]
    fn too_few_points_and_points_of_one_time_have_no_slope() {
        assert_eq!(fit(&points(3, 0.0, 0.0, |_| 0.0), 0.0), None);
        let same: Vec<_> = (0..20).map(|nth| Point { x: 5.0, y: f64::from(nth) }).collect();
        assert_eq!(fit(&same, 0.0), None);
    }

    proptest! {
        #[test]
        fn any_finite_points_give_a_finite_slope(
            steps in prop::collection::vec((0.0_f64..1e6, -1e7_f64..1e7), 0..80),
            also in -1.0_f64..1.0,
        ) {
            let mut x = 0.0;
            let points: Vec<_> = steps
                .into_iter()
                .map(|(step, y)| {
                    x += step;
                    Point { x, y }
                })
                .collect();
            if let Some(fit) = fit(&points, also) {
                prop_assert!(fit.slope.is_finite() && fit.error.is_finite() && fit.error >= 0.0);
                prop_assert!(fit.segments >= 1);
            }
        }
    }
}
