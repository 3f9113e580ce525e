//! The table of playout: every policy on every trace.

use rtcmesh_core::sync::PlayoutTuning;
use serde_json::{Value, json};

use super::engine::Outcome;
use super::fixed;
use super::neteq_like::NetEqLike;
use super::playout::{Idealised, Policy, play};
use super::policies::Adaptive;
use super::real;
use super::trace::Trace;

/// A policy: its name in the tables, and what plays a trace by it.
type Entry = (&'static str, fn(&Trace) -> Outcome);

/// What is compared.
pub const POLICIES: &[Entry] = &[
    ("rtcmesh", |trace| real::play(trace, &PlayoutTuning::rtcmesh())),
    ("rtcmesh-safe", |trace| real::play(trace, &PlayoutTuning::safe())),
    ("ideal", |trace| ideal(trace, &PlayoutTuning::rtcmesh())),
    ("ideal-safe", |trace| ideal(trace, &PlayoutTuning::safe())),
    #[cfg(feature = "neteq")]
    ("neteq", super::neteq_crate::play),
    ("neteq-like", |trace| model(trace, NetEqLike::new())),
    ("fixed-50", |trace| fixed::play(trace, 50.0)),
    ("fixed-100", |trace| fixed::play(trace, 100.0)),
];

/// Ours without a real stretcher: what the decisions alone are good for.
fn ideal(trace: &Trace, tuning: &PlayoutTuning) -> Outcome {
    model(trace, Adaptive::new(tuning, trace.frame))
}

fn model(trace: &Trace, mut policy: impl Policy) -> Outcome {
    play(trace, &mut policy, &mut Idealised::default())
}

/// The column heads of [`row`].
pub fn head() -> String {
    format!(
        "{:14}{:14}{:>9}{:>9}{:>9}{:>12}{:>10}",
        "trace", "policy", "mean ms", "p95 ms", "loss %", "glitch/min", "stretch %"
    )
}

/// A line for people.
pub fn row(trace: &str, policy: &str, found: &Outcome) -> String {
    format!(
        "{trace:14}{policy:14}{:9.1}{:9.1}{:9.3}{:12.1}{:10.2}",
        found.mean_ms,
        found.p95_ms,
        found.excess_loss_pct,
        found.glitches_per_min,
        found.stretch_pct
    )
}

/// A line for programs.
pub fn json(trace: &str, policy: &str, found: &Outcome) -> Value {
    json!({
        "table": "playout",
        "trace": trace,
        "policy": policy,
        "mean_ms": found.mean_ms,
        "p95_ms": found.p95_ms,
        "excess_loss_pct": found.excess_loss_pct,
        "glitches_per_min": found.glitches_per_min,
        "stretch_pct": found.stretch_pct,
    })
}

/// The mean over traces, all weighing the same.
pub fn mean(outcomes: &[Outcome]) -> Outcome {
    let count = outcomes.len().max(1) as f64;
    let over = |of: fn(&Outcome) -> f64| outcomes.iter().map(of).sum::<f64>() / count;
    Outcome {
        mean_ms: over(|found| found.mean_ms),
        p95_ms: over(|found| found.p95_ms),
        excess_loss_pct: over(|found| found.excess_loss_pct),
        glitches_per_min: over(|found| found.glitches_per_min),
        stretch_pct: over(|found| found.stretch_pct),
    }
}
