//! The index by which datagrams find their connections, compared with asking every engine.

mod common;

use std::time::Duration;

use common::mesh;
use rtcmesh_core::net::{Datagram, Transmit};
use rtcmesh_core::transport::Transport;
use rtcmesh_sim::World;

/// Compares for everything that is sent to host 0 while `world` goes on.
fn compare(world: &mut World, steps: usize) -> usize {
    let mut compared = 0;
    let end = world.now() + Duration::from_secs(60);
    for _ in 0..steps {
        for (to, transmit) in world.due() {
            let Transmit { socket, remote, payload } = &transmit;
            let datagram = Datagram { socket: *socket, remote: *remote, payload };
            let now = world.now();
            let transport: &mut Transport = &mut world.hosts[to].transport;
            let (indexed, scanned) = transport.owners(now, datagram);
            if scanned.len() == 1 {
                assert_eq!(indexed.as_ref(), scanned.first());
                compared += 1;
            } else if let Some(indexed) = indexed {
                // A datagram that is too early for its engine, or one that several would take.
                assert!(scanned.is_empty() || scanned.contains(&indexed));
            }
        }
        if !world.step(end) {
            break;
        }
    }
    compared
}

#[test]
fn the_index_agrees_with_the_scan() {
    let mut world = mesh(1, 4);
    let late = world.add(common::automatic("late"));
    world.act(late, |transport, now| transport.start(now)).unwrap();
    let compared = compare(&mut world, 20_000);
    assert!(world.all_connected());
    assert!(compared > 500, "{compared}");
}
