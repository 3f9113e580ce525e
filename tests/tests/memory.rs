//! Memory is back where it was when all have left, and who keeps some is found. One test: the allocator counts the process.

mod common;

use std::time::Duration;

use common::{automatic, channels_open, mesh, tone};
use rtcmesh_core::media::RuntimeData;
use rtcmesh_core::trace::RecordOptions;
use rtcmesh_sim::net::Preset;
use rtcmesh_sim::scenario::{Options, Plan, Report, Scenario, run, run_weighed};
use rtcmesh_sim::{Host, World, isolated};

#[global_allocator]
static ALLOCATOR: cap::Cap<std::alloc::System> = cap::Cap::new(std::alloc::System, usize::MAX);

// Without it each world would draw from the system's randomness.
rtcmesh_sim::interpose!();

const MIB: usize = 1024 * 1024;

/// What the machine may take that follows a ring, for one connection with decoded audio: the decoder and what waits.
const OF_SHADOW: usize = 512 * 1024;

fn allocated() -> usize {
    ALLOCATOR.allocated()
}

fn plan(seed: u64, scenario: Scenario) -> Plan {
    let mut options = Options::default();
    options.scenario = Some(scenario);
    options.peers = Some(3);
    options.duration = Some(Duration::from_secs(5));
    Plan::draw(seed, &options)
}

/// Runs a plan; at each look somebody keeps so many bytes.
fn weighed(plan: &Plan, kept: usize) -> Report {
    let mut leak = Vec::new();
    let mut report = isolated(plan.seed, || {
        let mut watch = |_| {
            if kept > 0 {
                leak.push(vec![0_u8; kept]);
            }
        };
        run_weighed(plan, false, &allocated, &mut watch).0
    });
    report.timeline = Vec::new();
    report
}

/// What the hosts of a world hold when all have left; the second one had read nothing, where it is not to.
fn held(reads: bool) -> Vec<usize> {
    let mut world = mesh(1, 2);
    channels_open(&mut world);
    world.hosts[1].fetches = reads;
    for _ in 0..20 {
        let text = RuntimeData::Text("x".repeat(10_000).into());
        world.act(0, |transport, now| transport.broadcast(now, &text)).expect("one is connected");
        world.run(Duration::from_millis(200));
    }
    for host in 0..2 {
        world.act(host, |transport, now| transport.shutdown(now));
        world.hosts[host].events = Vec::new();
    }
    world.run(Duration::from_secs(5));
    world.held(&allocated).hosts
}

/// What is allocated for two who have talked for a while, each recorded into a ring of so many bytes.
fn talking(ring: Option<usize>) -> usize {
    let before = allocated();
    let mut world = World::new(1);
    for name in ["p0", "p1"] {
        world.add(automatic(name));
    }
    let mut options = RecordOptions::default();
    let mut recorders = Vec::new();
    if let Some(bytes) = ring {
        (options.ring, options.max_bytes) = (true, bytes);
        let record = |host: &mut Host| host.transport.record(&options).expect("not started");
        recorders.extend(world.hosts.iter_mut().map(record));
    }
    world.start_all();
    assert!(world.run_until(World::all_connected), "both are connected");
    for n in 0..500 {
        let sound = tone(440.0, n);
        for host in 0..2 {
            world.act(host, |transport, now| transport.broadcast(now, &sound)).expect("connected");
        }
        world.run(Duration::from_millis(20));
        world.hosts.iter_mut().for_each(|host| host.media = Vec::new());
    }
    assert!(recorders.iter().all(|ring| ring.dropped() > 1_000), "the rings were full");
    allocated() - before
}

#[test]
fn memory_is_back_when_all_have_left_and_a_planted_leak_is_found() {
    // What a process makes once is made.
    isolated(1, || drop(run(&plan(1, Scenario::Talk), &mut |_| {})));

    // Of an odd seed one of each room stays.
    for (seed, scenario) in [(2, Scenario::Talk), (3, Scenario::Churn), (4, Scenario::Data)] {
        let report = weighed(&plan(seed, scenario), 0);
        assert!(report.passed(), "{report}");
    }
    // Many calls at once, whose messages took room in memory that nobody gave back.
    let mut many = Options::default();
    (many.scenario, many.peers) = (Some(Scenario::Glare), Some(12));
    (many.preset, many.duration) = (Some(Preset::CarrierNat), Some(Duration::from_secs(6)));
    let report = weighed(&Plan::draw(402, &many), 0);
    assert!(report.passed(), "{report}");

    // A capture leaves nothing to its thread, nor is its timeline taken for a leak.
    let tapped = Plan::draw(1, &Options::default());
    let report = isolated(1, || run_weighed(&tapped, true, &allocated, &mut |_| {}).0);
    assert!(report.passed(), "{report}");
    drop(report);

    let report = weighed(&plan(2, Scenario::Talk), 100);
    let what = report.violations.iter().map(ToString::to_string).collect::<String>();
    assert!(what.contains("held by nobody"), "the first leak of a process is found: {what}");

    let [_, read] = held(true)[..] else { panic!("two hosts") };
    let [_, unread] = held(false)[..] else { panic!("two hosts") };
    assert!(read < 32 * 1024, "{read} bytes");
    assert!(unread > 100_000, "what waits in a transport is seen: {unread} bytes");

    // A ring takes what it may, its entries' places, and what the machine takes that follows it. A larger one takes no more
    // than that. Each of two.
    let (none, small, large) =
        isolated(1, || (talking(None), talking(Some(MIB / 4)), talking(Some(MIB))));
    let (small, large) = ((small - none) / 2, (large - none) / 2);
    assert!(small < MIB / 4 + OF_SHADOW, "{small} bytes for a ring of 256 KiB");
    assert!(large < MIB * 3 / 2 + OF_SHADOW, "{large} bytes for a ring of 1 MiB");
    assert!(large > small + MIB / 2, "{large} and {small} bytes");
}
