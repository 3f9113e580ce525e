//! A world on a thread of its own, with its CPU time.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use rtcmesh_sim::scenario::{Plan, Progress, Report, Scenario, run_tapped};

use super::yardstick::{Turns, Yardstick};

/// What became of a plan.
pub(super) struct Measured {
    pub(super) report: Report,
    /// The CPU time of its thread; where the system does not tell it, the time that passed.
    pub(super) cpu_seconds: f64,
    /// What the engine alone took for the same packets, where everybody talks and nothing else happens.
    pub(super) engine: Option<Yardstick>,
    /// All datagrams as a pcapng file.
    pub(super) tap: Option<Vec<u8>>,
}

/// What may be held more after a world than before, in bytes: less than one connection takes.
const SLACK: usize = 64 * 1024;

/// Whether a world has run in this process: the first one makes what is made once.
static WARM: AtomicBool = AtomicBool::new(false);

/// Runs a plan on a thread of its own.
pub(super) fn measured(
    plan: &Plan,
    with_timeline: bool,
    mut watch: impl FnMut(Progress) + Send,
) -> Measured {
    let begun = Instant::now();
    let tap = with_timeline;
    let run = || {
        let before = thread_cpu_seconds();
        let held = crate::ALLOCATOR.allocated();
        let compares = plan.scenario == Scenario::Talk && !plan.decode && !tap;
        let mut turns = compares.then(|| Turns::begin(plan));
        let (mut report, tap) = run_tapped(plan, tap, &mut |progress| {
            if let Some(turns) = &mut turns {
                turns.follow(progress);
            }
            watch(progress);
        });
        let engine = turns.and_then(Turns::end);
        if !with_timeline {
            report.timeline = Vec::new();
        }
        let left =
            crate::ALLOCATOR.allocated().saturating_sub(held + tap.as_ref().map_or(0, Vec::len));
        if !with_timeline && left > SLACK && WARM.swap(true, Ordering::Relaxed) {
            report.add_violation(format!("{left} bytes are held when all have left"));
        }
        let cpu = before.zip(thread_cpu_seconds()).map(|(before, after)| after - before);
        (report, engine, tap, cpu)
    };
    let (report, engine, tap, cpu) = rtcmesh_sim::isolated(plan.seed, run);
    let cpu_seconds = cpu.unwrap_or_else(|| begun.elapsed().as_secs_f64());
    Measured { report, cpu_seconds, engine, tap }
}

/// The CPU time of this thread so far, by Linux's scheduler.
pub(super) fn thread_cpu_seconds() -> Option<f64> {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").ok()?;
    let nanos: f64 = text.split(' ').next()?.parse().ok()?;
    Some(nanos / 1e9)
}
