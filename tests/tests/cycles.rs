//! A pair that connects and disconnects without end: nothing of its earlier connections is left, in
//! the transports, in the signaling server or on the heap.

mod common;

use std::time::Duration;

use common::{manual, strangers};
use rtcmesh_core::media::RuntimeData;
use rtcmesh_core::transport::Event;
use rtcmesh_sim::World;

#[global_allocator]
static ALLOCATOR: dhat::Alloc = dhat::Alloc;

/// Cycles before the first look, in which what is made once is made, and at all.
const WARM: usize = 200;
const CYCLES: usize = 1_000;

/// What may be held more after all cycles, in bytes: less than a connection is, for queues that have
/// grown to their size.
const SLACK: usize = 32 * 1024;

fn cycle(world: &mut World, n: usize) {
    let (caller, called) = (n % 2, (n + 1) % 2);
    let name = world.hosts[called].id().clone();
    world
        .act(caller, |transport, now| transport.connect_peer(now, name.as_str()))
        .expect("it is announced");
    assert!(world.run_until(World::all_connected), "cycle {n}");
    let open = |world: &World| {
        let opened = |event: &Event| matches!(event, Event::DataChannelOpen { label: "data", .. });
        world.hosts[caller].count(opened) == 1
    };
    assert!(world.run_until(open), "cycle {n}");
    let text = RuntimeData::Text("hello".into());
    world.act(caller, |transport, now| transport.broadcast(now, &text)).expect("it is connected");
    world.run(Duration::from_millis(20));
    let by: &[usize] = [&[0, 1][..], &[0], &[1]][n % 3];
    for side in by {
        let other = world.hosts[1 - side].id().clone();
        world
            .act(*side, |transport, now| transport.disconnect_peer(now, other.as_str()))
            .expect("it is known");
    }
    world.run(Duration::from_secs(1));
    for host in &mut world.hosts {
        assert_eq!(host.transport.metrics().connected, 0);
        let ends = host.events.iter().filter(|event| matches!(event, Event::Closed { .. })).count();
        assert_eq!(ends, 1, "cycle {n}: {:?}", host.events);
        host.events = Vec::new();
        host.media = Vec::new();
        host.outcomes = Vec::new();
    }
}

#[test]
fn a_thousand_connections_leave_nothing_behind() {
    let _profiler = dhat::Profiler::builder().testing().trim_backtraces(Some(4)).build();
    let mut world = strangers(1, [manual("a"), manual("b")]);
    let mut held = 0;
    for n in 0..CYCLES {
        cycle(&mut world, n);
        if n + 1 == WARM || n + 1 == CYCLES {
            // The server forgets ended negotiations after two minutes.
            world.run(Duration::from_secs(150));
            let bytes = dhat::HeapStats::get().curr_bytes;
            if n + 1 == WARM {
                held = bytes;
            } else {
                assert!(bytes <= held + SLACK, "{held} bytes grew to {bytes}");
            }
        }
    }
}
