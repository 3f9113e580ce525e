//! How well drift is estimated: ours beside a plain regression over sender reports.

use std::time::{Duration, Instant};

use rtcmesh_core::sync::{DriftEstimator, Medium, RtcpSenderReport};
use serde_json::{Value, json};

use super::drift_models::{MODELS, STEP, Trace, trace};

/// Runs of each model.
pub const RUNS: u64 = 60;

/// When the estimates are compared: after ten reports, and later.
pub const SECONDS: [usize; 2] = [50, 120];

/// The drifts of the runs, in turn and with both signs, in ppm.
const DRIFTS: [f64; 5] = [20.0, 50.0, 100.0, 200.0, 500.0];

/// One line of the table.
#[derive(Debug, Clone, PartialEq)]
pub struct DriftRow {
    /// The model, or `all`.
    pub model: &'static str,
    /// How much of the stream was seen, in seconds.
    pub seconds: usize,
    /// `rtcmesh`, or `regression`: least squares over the arrivals of sender reports.
    pub estimator: &'static str,
    /// The median of the absolute error, in ppm.
    pub median_ppm: f64,
    /// Its 95th percentile.
    pub p95_ppm: f64,
    /// In how many per cent of the runs the error was within twice the stated error and 1 ppm.
    pub covered_pct: f64,
}

impl DriftRow {
    /// The line as an object.
    pub fn json(&self) -> Value {
        json!({
            "table": "drift",
            "model": self.model,
            "seconds": self.seconds,
            "estimator": self.estimator,
            "median_ppm": self.median_ppm,
            "p95_ppm": self.p95_ppm,
            "covered_pct": self.covered_pct,
        })
    }
}

/// What an estimator said: the drift and its standard error, in ppm.
type Said = Option<(f64, f64)>;

/// The errors of one estimator, at one time.
#[derive(Debug, Clone, Default)]
struct Errors {
    absolute: Vec<f64>,
    covered: usize,
}

impl Errors {
    /// What was not said counts as a drift of nothing without an error bar.
    fn add(&mut self, truth: f64, said: Said) {
        let (drift, error) = said.unwrap_or((0.0, f64::INFINITY));
        let absolute = (drift - truth).abs();
        self.covered += usize::from(absolute <= 2.0 * error + 1.0);
        self.absolute.push(absolute);
    }

    fn row(&mut self, model: &'static str, seconds: usize, estimator: &'static str) -> DriftRow {
        let count = self.absolute.len().max(1) as f64;
        DriftRow {
            model,
            seconds,
            estimator,
            median_ppm: percentile(&mut self.absolute, 0.5),
            p95_ppm: percentile(&mut self.absolute, 0.95),
            covered_pct: 100.0 * self.covered as f64 / count,
        }
    }
}

/// The value that this share of `values` does not exceed; NaN of none.
pub(super) fn percentile(values: &mut [f64], share: f64) -> f64 {
    values.sort_by(f64::total_cmp);
    let nth = (values.len().saturating_sub(1) as f64 * share).round() as usize;
    values.get(nth).copied().unwrap_or(f64::NAN)
}

/// All models, then all of them together, at each time, with both estimators.
pub fn drift_tables(seed: u64, clock_rate: u32) -> Vec<DriftRow> {
    drift_table(seed, clock_rate, &MODELS, RUNS)
}

/// The lines of some models, of `runs` runs each, and of all of these together.
pub fn drift_table(
    seed: u64,
    clock_rate: u32,
    models: &[&'static str],
    runs: u64,
) -> Vec<DriftRow> {
    let names = ["rtcmesh", "regression"];
    let mut rows = Vec::new();
    let mut all: [[Errors; 2]; SECONDS.len()] = Default::default();
    for model in models {
        let mut own: [[Errors; 2]; SECONDS.len()] = Default::default();
        for run in 0..runs {
            let size = DRIFTS[(run % DRIFTS.len() as u64) as usize];
            let drift = if run % 2 == 0 { size } else { -size };
            let seed = seed.wrapping_mul(1_000_003).wrapping_add(run);
            let trace = trace(model, drift, SECONDS[SECONDS.len() - 1], seed);
            let said = [ours(&trace, clock_rate), regression(&trace)];
            for (nth, said) in said.into_iter().enumerate() {
                for (at, said) in said.into_iter().enumerate() {
                    own[at][nth].add(drift, said);
                    all[at][nth].add(drift, said);
                }
            }
        }
        rows.extend(lines(&mut own, model, names));
    }
    rows.extend(lines(&mut all, "all", names));
    rows
}

fn lines(
    errors: &mut [[Errors; 2]; SECONDS.len()],
    model: &'static str,
    names: [&'static str; 2],
) -> Vec<DriftRow> {
    let each = errors.iter_mut().zip(SECONDS);
    let rows = each.flat_map(|(errors, seconds)| {
        errors.iter_mut().zip(names).map(move |(errors, name)| errors.row(model, seconds, name))
    });
    rows.collect()
}

/// Our estimator, on packets and reports as they arrive.
fn ours(trace: &Trace, clock_rate: u32) -> [Said; SECONDS.len()] {
    // What is fed in is a value like any other: only distances count.
    let origin = Instant::now();
    let at = |seconds: f64| origin + Duration::from_secs_f64(seconds);
    let ticks = |packet: usize| (packet as f64 * STEP * f64::from(clock_rate)) as u64 as u32;
    let packets = trace.packets.iter().enumerate();
    let packets =
        packets.filter_map(|(nth, arrival)| Some((arrival.as_ref().copied()?, nth, false)));
    let reports = trace.reports.iter().map(|&(nth, arrival)| (arrival, nth, true));
    let mut arrivals: Vec<_> = packets.chain(reports).collect();
    arrivals.sort_by(|a, b| a.0.total_cmp(&b.0));
    let mut estimator = DriftEstimator::new(clock_rate, 100.0);
    let mut next = 0;
    let mut said = [None; SECONDS.len()];
    for (arrival, nth, is_report) in arrivals {
        for (at, seconds) in said.iter_mut().zip(SECONDS).skip(next) {
            if arrival < seconds as f64 {
                break;
            }
            *at = estimator.estimate().map(|found| (found.drift_ppm, found.error_ppm));
            next += 1;
        }
        if is_report {
            estimator.observe_report(&RtcpSenderReport {
                medium: Medium::Audio,
                ntp_timestamp: (1 << 63) + (nth as u64),
                rtp_timestamp: ticks(nth),
                packet_count: nth as u32,
                octet_count: nth as u32,
                received_at: at(arrival),
            });
        } else {
            estimator.observe_packet(ticks(nth), at(arrival));
        }
        estimator.refresh();
    }
    let last = estimator.estimate().map(|found| (found.drift_ppm, found.error_ppm));
    said.iter_mut().skip(next).for_each(|said| *said = last);
    said
}

/// Least squares of the reports' arrivals over their media time, with its textbook error.
fn regression(trace: &Trace) -> [Said; SECONDS.len()] {
    SECONDS.map(|seconds| {
        let reports = trace.reports.iter().filter(|report| report.1 < seconds as f64);
        let points: Vec<(f64, f64)> =
            reports.map(|&(nth, arrival)| (arrival, nth as f64 * STEP)).collect();
        let count = points.len() as f64;
        let x_mean = points.iter().map(|point| point.0).sum::<f64>() / count;
        let y_mean = points.iter().map(|point| point.1).sum::<f64>() / count;
        let xx: f64 = points.iter().map(|point| (point.0 - x_mean).powi(2)).sum();
        let xy: f64 = points.iter().map(|point| (point.0 - x_mean) * (point.1 - y_mean)).sum();
        let slope = xy / xx;
        let rest = |point: &(f64, f64)| point.1 - y_mean - slope * (point.0 - x_mean);
        let left: f64 = points.iter().map(|point| rest(point).powi(2)).sum();
        let error = (left / (count - 2.0) / xx).sqrt();
        (count > 2.0).then_some(((slope - 1.0) * 1e6, error * 1e6))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn easy_networks_leave_little_doubt() {
        let rows = drift_table(7, 48_000, &["lan", "lte"], 4);
        assert_eq!(rows.len(), 3 * SECONDS.len() * 2);
        for row in rows {
            let goal = if row.seconds == 50 { 5.0 } else { 1.5 };
            if row.estimator == "rtcmesh" {
                assert!(row.p95_ppm < goal && row.covered_pct == 100.0, "{row:?}");
            } else {
                assert!(row.p95_ppm > 1.0, "packets should beat reports: {row:?}");
            }
        }
    }

    #[test]
    fn equal_seeds_give_equal_tables() {
        let table = || drift_table(1, 48_000, &["gamma2"], 1);
        assert_eq!(table(), table());
        assert_ne!(table(), drift_table(2, 48_000, &["gamma2"], 1));
    }
}
