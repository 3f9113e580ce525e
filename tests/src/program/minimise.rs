//! Of what happens in a world that fails, a part that suffices.

use rtcmesh_sim::scenario::{Options, Plan, Report, Violation, shorten};

use super::measure::measured;

/// How often it is tried at most.
pub(super) const MAX_TRIES: usize = 400;

/// The numbers of acts that suffice for a violation of the kind of the first one. `watch` is told after each try how many there
/// were, and how many acts are left.
pub(super) fn minimise(
    plan: &Plan,
    options: &Options,
    report: &Report,
    mut watch: impl FnMut(usize, usize),
) -> Vec<usize> {
    let mut every = options.clone();
    every.only = None;
    let all = Plan::draw(plan.seed, &every).acts.len();
    let kept = options.only.clone().unwrap_or_else(|| (0..all).collect());
    let Some(wanted) = report.violations.first().map(Violation::kind) else { return kept };
    shorten(kept, MAX_TRIES, &mut watch, |only| {
        let mut options = options.clone();
        options.only = Some(only.to_vec());
        let plan = Plan::draw(plan.seed, &options);
        // With memory, as the first time.
        let report = measured(&plan, false, |_| {}).report;
        report.violations.iter().any(|violation| violation.kind() == wanted)
    })
}
