//! What became of a scenario.

use std::fmt;
use std::time::Duration;

use serde_json::{Value, json};

use super::draw::{Plan, Scenario};
use super::model::Violation;
use crate::net::NetStats;
use crate::world::World;

/// What became of a scenario.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Report {
    /// The seed.
    pub seed: u64,
    /// The scenario.
    pub scenario: Scenario,
    /// The digest of the whole world.
    pub digest: String,
    /// How long it ran in virtual time.
    pub elapsed: Duration,
    /// What was wrong; nothing: it passed.
    pub violations: Vec<Violation>,
    /// What happened, in words.
    pub timeline: Vec<(Duration, String)>,
    /// Pairs of one room, and those of them that were connected at some time.
    pub pairs: (usize, usize),
    /// What the network counted.
    pub network: NetStats,
}

impl Report {
    pub(super) fn new(
        plan: &Plan,
        world: &World,
        violations: Vec<Violation>,
        mut timeline: Vec<(Duration, String)>,
    ) -> Self {
        // Each host was listened to in its turn.
        timeline.sort_by_key(|(at, _)| *at);
        Self {
            seed: plan.seed,
            scenario: plan.scenario,
            digest: world.digest.value(),
            elapsed: world.elapsed(),
            violations,
            timeline,
            pairs: (0, 0),
            network: world.stats(),
        }
    }

    /// The report of a world that did not begin.
    pub(super) fn empty(plan: &Plan) -> Self {
        Self {
            seed: plan.seed,
            scenario: plan.scenario,
            digest: String::new(),
            elapsed: Duration::ZERO,
            violations: Vec::new(),
            timeline: Vec::new(),
            pairs: (0, 0),
            network: NetStats::default(),
        }
    }

    /// Something else was wrong.
    pub fn add_violation(&mut self, what: String) {
        self.violations.push(Violation { at: self.elapsed, host: None, what });
    }

    /// Whether nothing was wrong.
    #[must_use]
    pub fn passed(&self) -> bool {
        self.violations.is_empty()
    }

    /// `pass` or `fail`.
    #[must_use]
    pub fn verdict(&self) -> &'static str {
        if self.passed() { "pass" } else { "fail" }
    }

    /// As one JSON object, with the CPU time that it took in seconds.
    #[must_use]
    pub fn json(&self, cpu_seconds: f64) -> Value {
        let violations: Vec<String> = self.violations.iter().map(ToString::to_string).collect();
        json!({
            "seed": self.seed,
            "scenario": self.scenario.name(),
            "verdict": self.verdict(),
            "digest": self.digest,
            "virtual_seconds": self.elapsed.as_secs_f64(),
            "cpu_seconds": cpu_seconds,
            "pairs": self.pairs.0,
            "connected": self.pairs.1,
            "datagrams": self.network.sent,
            "violations": violations,
        })
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { seed, scenario, digest, .. } = self;
        let seconds = self.elapsed.as_secs_f64();
        let (pairs, met) = self.pairs;
        write!(f, "seed {seed} {scenario}: {} after {seconds:.1} s, ", self.verdict())?;
        write!(f, "{met} of {pairs} pairs connected, {digest}")?;
        for violation in &self.violations {
            write!(f, "\n  {violation}")?;
        }
        Ok(())
    }
}
