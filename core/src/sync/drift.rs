//! How fast a sender's media clock runs.

use std::time::Instant;

use super::changepoint::{MAX_POINTS, Point, fit};
use super::clock::{ClockDriftEstimate, RecommendedAction, RtcpSenderReport};
use super::sequence::ahead;
use super::stream::since;
use crate::trace::state::saved;

/// A minimum is taken over so many seconds of arrivals.
const WINDOW: f64 = 0.5;

/// What is older than so many seconds is forgotten: clocks change with temperature.
const SPAN: f64 = 120.0;

/// Minima in [`SPAN`].
const MINIMA: usize = 240;

/// The line is fitted anew at most every so many seconds, and in the first half minute whenever there is
/// a sixth more to fit.
const INTERVAL: f64 = 4.0;

/// Below so many observations nothing is said.
const FEWEST: usize = 10;

/// A packet that is so many seconds faster than all of late is stray, unless the next one is too.
const STRAY: f64 = 1.0;

/// No clock is believed to be further off, in ppm.
const MOST_PPM: f64 = 2_000.0;

/// Beyond that, in ppm, something else is wrong with a clock.
const ODD_PPM: f64 = 1_000.0;

/// Beyond that error, in ppm, something is wrong with the network.
const ODD_ERROR_PPM: f64 = 100.0;

/// The error that [`ClockDriftEstimate::confidence`] is about, in ppm.
const CONFIDENT_PPM: f64 = 10.0;

/// Estimates the drift of a stream's clock against the local one from when its packets arrive.
///
/// What counts are the fastest packets: minima of the transit time over windows of half a second to
/// two, of the last 120 s. A line with steps is fitted through them every 4 s ([`Self::refresh`]); a
/// filter follows the minima in between. Of a stream without packets, the arrivals of its sender reports
/// serve instead, with the network's jitter in them.
///
/// One estimator is for one stream's clock. Nothing is allocated after construction.
#[derive(Debug, Clone)]
pub struct DriftEstimator {
    rate: f64,
    threshold: f64,
    origin: Option<Instant>,
    packets: Series<MINIMA>,
    window: Window,
    /// Of the reports: arrivals and transits.
    reports: Series<MAX_POINTS>,
    last_report: Option<(u64, u32)>,
    /// The last arrival, in seconds since the origin.
    now: f64,
    /// The timestamp and the ticks of the last packet, and of the last report.
    last: Option<(u32, i64)>,
    /// A transit that is too fast to be believed.
    suspect: Option<f64>,
    fitted: Option<Fitted>,
    filter: Filter,
}

saved!(struct DriftEstimator {
    rate, threshold, origin, packets, window, reports, last_report, now, last, suspect, fitted,
    filter,
});

/// The window that is being filled.
#[derive(Debug, Clone, Copy, Default)]
struct Window {
    since: f64,
    least: Option<Point>,
}

saved!(struct Window { since, least });

/// The last fit.
#[derive(Debug, Clone, Copy)]
struct Fitted {
    at: f64,
    points: usize,
    segments: usize,
    of_packets: bool,
}

saved!(struct Fitted { at, points, segments, of_packets });

impl DriftEstimator {
    /// An estimator for timestamps of `clock_rate` Hz (at least 1) that recommends to correct a drift
    /// above `threshold_ppm`.
    pub fn new(clock_rate: u32, threshold_ppm: f64) -> Self {
        Self {
            rate: f64::from(clock_rate.max(1)),
            threshold: threshold_ppm,
            origin: None,
            packets: Series::new(),
            window: Window::default(),
            reports: Series::new(),
            last_report: None,
            now: 0.0,
            last: None,
            suspect: None,
            fitted: None,
            filter: Filter::default(),
        }
    }

    /// Takes in that a packet with the timestamp `rtp` `arrived`: O(1). An arrival before the last one
    /// is taken for that.
    pub fn observe_packet(&mut self, rtp: u32, arrived: Instant) {
        let point = self.point(rtp, arrived);
        let fastest = self.window.least.or(self.packets.last());
        if fastest.is_some_and(|fastest| point.y < fastest.y - STRAY) {
            let confirmed =
                self.suspect.replace(point.y).is_some_and(|y| (y - point.y).abs() < STRAY);
            if !confirmed {
                return;
            }
        }
        self.suspect = None;
        if point.x - self.window.since >= WINDOW {
            self.close();
            self.window.since = point.x;
        }
        let least = self.window.least.get_or_insert(point);
        if point.y < least.y {
            *least = point;
        }
    }

    /// Takes in a sender report. It counts as an arrival like others, with its own jitter, where no
    /// packets are observed. Duplicates are ignored.
    pub fn observe_report(&mut self, report: &RtcpSenderReport) {
        let this = (report.ntp_timestamp, report.rtp_timestamp);
        if self.last_report.replace(this) == Some(this) {
            return;
        }
        let point = self.point(report.rtp_timestamp, report.received_at);
        self.reports.push(point, SPAN * 4.0);
    }

    /// Seconds of arrival, and of transit, of what arrived.
    fn point(&mut self, rtp: u32, arrived: Instant) -> Point {
        let origin = *self.origin.get_or_insert(arrived);
        self.now = self.now.max(since(origin, arrived) as f64 * 1e-9);
        let (last, ticks) = self.last.unwrap_or_else(|| (rtp, self.resumed()));
        let ticks = ticks.saturating_add(ahead(rtp, last));
        self.last = Some((rtp, ticks));
        Point { x: self.now, y: self.now - ticks as f64 / self.rate }
    }

    /// The ticks at which timestamps begin: where those before would have gone on.
    fn resumed(&self) -> i64 {
        let before = self.window.least.or(self.packets.last());
        before.map_or(0, |before| ((self.now - before.y) * self.rate).round() as i64)
    }

    /// The timestamps begin anew, but the clock is the same: an encoder was restarted.
    pub fn restart_timestamps(&mut self) {
        (self.last, self.suspect) = (None, None);
    }

    /// Ends a window.
    fn close(&mut self) {
        if let Some(least) = self.window.least.take() {
            self.packets.push(least, SPAN);
            if self.fitted.is_some_and(|fitted| fitted.of_packets) {
                self.filter.observe(least);
            }
        }
    }

    /// Fits the line anew, if the last time is 4 s ago (at first less) and there are new observations. Below
    /// a millisecond of work; nothing otherwise.
    pub fn refresh(&mut self) {
        let since = self.fitted.map_or(f64::NEG_INFINITY, |fitted| fitted.at);
        let of_packets = self.packets.count >= FEWEST;
        let newest = if of_packets { self.packets.last() } else { self.reports.last() };
        let due = |newest: &Point| newest.x >= since + INTERVAL.min(newest.x / 6.0);
        let Some(newest) = newest.filter(due) else { return };
        let mut points = [Point::default(); MAX_POINTS];
        let count = if of_packets {
            self.packets.thinned(&mut points)
        } else {
            self.reports.copied(&mut points)
        };
        if count < FEWEST {
            return;
        }
        let first = points[0];
        for point in &mut points[..count] {
            point.x -= first.x;
            point.y -= first.y;
        }
        let Some(fit) = fit(&points[..count], self.filter.slope) else { return };
        self.filter.restart(newest, fit.slope, fit.error, fit.sigma);
        self.fitted =
            Some(Fitted { at: newest.x, points: count, segments: fit.segments, of_packets });
    }

    /// The drift as far as it is known: `None` before the first [`Self::refresh`] that has at least ten
    /// observations (about 5 s of packets, or ten reports).
    pub fn estimate(&self) -> Option<ClockDriftEstimate> {
        let fitted = self.fitted?;
        // The transit of a fast clock falls: arrival - rtp = arrival * (1 - rate).
        let drift_ppm = (-self.filter.slope * 1e6).clamp(-MOST_PPM, MOST_PPM);
        let error_ppm = self.filter.error() * 1e6;
        Some(ClockDriftEstimate {
            drift_ppm,
            error_ppm,
            sample_count: fitted.points,
            correction_factor: 1.0 + drift_ppm * 1e-6,
            confidence: erf(CONFIDENT_PPM / (error_ppm * std::f64::consts::SQRT_2)),
            recommended_action: self.action(drift_ppm, error_ppm, fitted),
        })
    }

    fn action(&self, drift: f64, error: f64, fitted: Fitted) -> RecommendedAction {
        let restless = fitted.segments > (fitted.points / 10).max(1);
        if error > ODD_ERROR_PPM || drift.abs() > ODD_PPM || restless {
            RecommendedAction::Investigate
        } else if drift.abs() - 2.0 * error > self.threshold {
            RecommendedAction::Adjust
        } else if drift.abs() + 2.0 * error > self.threshold / 2.0 {
            RecommendedAction::Monitor
        } else {
            RecommendedAction::None
        }
    }

    /// Forgets everything but clock rate and threshold: another stream begins.
    pub fn reset(&mut self) {
        self.origin = None;
        self.packets.clear();
        self.window = Window::default();
        self.reports.clear();
        (self.last_report, self.now, self.last, self.suspect) = (None, 0.0, None, None);
        (self.fitted, self.filter) = (None, Filter::default());
    }
}

/// The last `N` points.
#[derive(Debug, Clone)]
struct Series<const N: usize> {
    points: [Point; N],
    /// Where the oldest is.
    first: usize,
    count: usize,
}

saved!(struct Series<N> [const N: usize] { points, first, count });

impl<const N: usize> Series<N> {
    const fn new() -> Self {
        Self { points: [Point { x: 0.0, y: 0.0 }; N], first: 0, count: 0 }
    }

    fn get(&self, nth: usize) -> Point {
        self.points[(self.first + nth) % N]
    }

    fn last(&self) -> Option<Point> {
        Some(self.get(self.count.checked_sub(1)?))
    }

    /// Adds a point and drops those that are older by `span` or more.
    fn push(&mut self, point: Point, span: f64) {
        while self.count == N || self.count > 0 && point.x - self.get(0).x >= span {
            self.first = (self.first + 1) % N;
            self.count -= 1;
        }
        self.points[(self.first + self.count) % N] = point;
        self.count += 1;
    }

    fn copied(&self, out: &mut [Point; MAX_POINTS]) -> usize {
        for (nth, slot) in out.iter_mut().enumerate().take(self.count) {
            *slot = self.get(nth);
        }
        self.count.min(MAX_POINTS)
    }

    /// The minima over wider windows, so that at most [`MAX_POINTS`] cover all.
    fn thinned(&self, out: &mut [Point; MAX_POINTS]) -> usize {
        let Some(newest) = self.last() else { return 0 };
        let start = self.get(0).x - WINDOW / 2.0;
        let width = ((newest.x - start) / (MAX_POINTS as f64 - 0.5)).max(WINDOW);
        let (mut count, mut bucket) = (0, usize::MAX);
        for nth in 0..self.count {
            let point = self.get(nth);
            let own = ((point.x - start) / width) as usize;
            if own != bucket && count < MAX_POINTS {
                bucket = own;
                out[count] = point;
                count += 1;
            } else if point.y < out[count - 1].y {
                out[count - 1] = point;
            }
        }
        count
    }

    fn clear(&mut self) {
        (self.first, self.count) = (0, 0);
    }
}

/// A Kalman filter of level and slope, which follows the minima from one fit to the next.
#[derive(Debug, Clone, Copy, Default)]
struct Filter {
    at: f64,
    level: f64,
    slope: f64,
    /// The covariance of level and slope.
    ll: f64,
    ls: f64,
    ss: f64,
    /// The variance of a minimum.
    noise: f64,
}

saved!(struct Filter { at, level, slope, ll, ls, ss, noise });

/// The drift of a clock's rate within a second, as a variance: 0.02 ppm.
const WANDER: f64 = 0.02e-6 * 0.02e-6;

impl Filter {
    fn restart(&mut self, newest: Point, slope: f64, error: f64, sigma: f64) {
        let noise = sigma * sigma;
        *self = Self {
            at: newest.x,
            level: newest.y,
            slope,
            ll: noise,
            ls: 0.0,
            ss: error * error,
            noise,
        };
    }

    fn observe(&mut self, point: Point) {
        let passed = point.x - self.at;
        self.at = point.x;
        self.level += self.slope * passed;
        self.ll += passed * (2.0 * self.ls + passed * self.ss);
        self.ls += passed * self.ss;
        self.ss += passed * WANDER;
        let (error, variance) = (point.y - self.level, self.ll + self.noise);
        if error * error > 9.0 * variance {
            // A queue or a step: the next fit tells which.
            return;
        }
        let (level_gain, slope_gain) = (self.ll / variance, self.ls / variance);
        self.level += level_gain * error;
        self.slope += slope_gain * error;
        self.ss -= slope_gain * self.ls;
        self.ls -= level_gain * self.ls;
        self.ll -= level_gain * self.ll;
    }

    fn error(&self) -> f64 {
        self.ss.max(0.0).sqrt()
    }
}

/// The error function, within 1.5e-7 (Abramowitz and Stegun, 7.1.26), of what is not negative.
fn erf(x: f64) -> f64 {
    let t = 1.0 / (1.0 + 0.327_591_1 * x);
    let series = [0.254_829_592, -0.284_496_736, 1.421_413_741, -1.453_152_027, 1.061_405_429];
    let sum = series.iter().rev().fold(0.0, |sum, factor| (sum + factor) * t);
    (1.0 - sum * (-x * x).exp()).clamp(0.0, 1.0)
}

#[cfg(test)]
#[path = "drift_tests.rs"]
mod tests;
