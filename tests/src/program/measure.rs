//! A world on a thread of its own, with its CPU time.

use std::cell::Cell;
use std::sync::Once;
use std::time::{Duration, Instant};

use rtcmesh_sim::scenario::{Options, Plan, Progress, Report, Scenario, run, run_weighed};

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
        // While a world runs, nobody else does: the yardstick allocates in its turns alone.
        let of_yardstick = Cell::new(0_usize);
        let allocated = || crate::ALLOCATOR.allocated().wrapping_sub(of_yardstick.get());
        let compares = plan.scenario == Scenario::Talk && !plan.decode && !with_timeline;
        let mut turns = compares.then(|| Turns::begin(plan));
        let (mut report, tap) = run_weighed(plan, with_timeline, &allocated, &mut |progress| {
            if let Some(turns) = &mut turns {
                let before = allocated();
                turns.follow(progress);
                of_yardstick.set(of_yardstick.get().wrapping_add(allocated().wrapping_sub(before)));
            }
            watch(progress);
        });
        let engine = turns.and_then(Turns::end);
        if !with_timeline {
            report.timeline = Vec::new();
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

/// How many times so many seconds of CPU go into others; `None`: it took less than the clock resolves, which is a scheduler's tick
/// on some systems.
pub(super) fn times(seconds: f64, cpu_seconds: f64) -> Option<f64> {
    (cpu_seconds > 0.0).then(|| seconds / cpu_seconds)
}

#[cfg(test)]
mod tests {
    use super::times;

    #[test]
    fn what_took_no_time_that_could_be_measured_has_no_speed() {
        assert_eq!(times(43.0, 0.0), None);
        assert_eq!(times(43.0, 0.5), Some(86.0));
    }
}
