//! A world on a thread of its own, with its CPU time.

use std::sync::Once;
use std::time::{Duration, Instant};

use rtcmesh_sim::scenario::{Options, Plan, Progress, Report, Scenario, run, run_weighed};

/// What became of a plan.
pub(super) struct Measured {
    pub(super) report: Report,
    /// The CPU time of its thread; where the system does not tell it, the time that passed.
    pub(super) cpu_seconds: f64,
    /// All datagrams as a pcapng file.
    pub(super) tap: Option<Vec<u8>>,
}

/// What a process makes once, it makes in a first small world.
static WARM: Once = Once::new();

fn warm_up() {
    WARM.call_once(|| {
        let mut options = Options::default();
        options.scenario = Some(Scenario::Talk);
        options.peers = Some(2);
        options.duration = Some(Duration::from_secs(1));
        let plan = Plan::draw(0, &options);
        rtcmesh_sim::isolated(0, || drop(run(&plan, &mut |_| {})));
    });
}

/// Runs a plan on a thread of its own.
pub(super) fn measured(
    plan: &Plan,
    with_timeline: bool,
    mut watch: impl FnMut(Progress) + Send,
) -> Measured {
    warm_up();
    let begun = Instant::now();
    let run = || {
        let before = thread_cpu_seconds();
        let allocated = || crate::ALLOCATOR.allocated();
        let (mut report, tap) = run_weighed(plan, with_timeline, &allocated, &mut watch);
        if !with_timeline {
            report.timeline = Vec::new();
        }
        let cpu = before.zip(thread_cpu_seconds()).map(|(before, after)| after - before);
        (report, tap, cpu)
    };
    let (report, tap, cpu) = rtcmesh_sim::isolated(plan.seed, run);
    let cpu_seconds = cpu.unwrap_or_else(|| begun.elapsed().as_secs_f64());
    Measured { report, cpu_seconds, tap }
}

/// The CPU time of this thread so far, by Linux's scheduler.
fn thread_cpu_seconds() -> Option<f64> {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").ok()?;
    let nanos: f64 = text.split(' ').next()?.parse().ok()?;
    Some(nanos / 1e9)
}
