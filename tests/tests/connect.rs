//! Two to ten transports find each other and connect, all with all.

mod common;

use std::time::Duration;

use common::{automatic, channels_open, id, mesh};
use rtcmesh_core::transport::Event;
use rtcmesh_sim::World;

#[test]
fn two_to_ten_peers_are_all_connected_exactly_once() {
    for count in 2..=10 {
        let mut world = mesh(count as u64, count);
        channels_open(&mut world);
        world.run(Duration::from_secs(10));
        assert!(world.all_connected());
        for (index, host) in world.hosts.iter().enumerate() {
            for other in (0..count).filter(|other| *other != index) {
                let peer = id(&format!("p{other}"));
                let of = |event: &&Event| event.peer() == Some(&peer);
                let count = |like: fn(&Event) -> bool| {
                    host.events.iter().filter(of).filter(|event| like(event)).count()
                };
                assert_eq!(count(|event| matches!(event, Event::Connecting { .. })), 1);
                assert_eq!(count(|event| matches!(event, Event::Connected { .. })), 1);
                assert_eq!(count(|event| matches!(event, Event::PeerDiscovered { .. })), 1);
                let ended =
                    |event: &Event| matches!(event, Event::Closed { .. } | Event::Failed { .. });
                assert_eq!(count(ended), 0);
            }
        }
    }
}

#[test]
fn a_connection_takes_few_round_trips() {
    let mut world = World::new(1);
    world.weather().latency = Duration::from_millis(50);
    world.signaling_latency = Duration::from_millis(50);
    let hosts = [world.add(automatic("a")), world.add(automatic("b"))];
    world.start_all();
    assert!(world.run_until(World::all_connected));
    for host in hosts {
        let after = world.hosts[host].events.iter().find_map(|event| match event {
            Event::Connected { after, .. } => Some(*after),
            _ => None,
        });
        // Offer and answer over two hops each, then checks and DTLS.
        let after = after.unwrap();
        assert!(after <= Duration::from_millis(500), "{after:?}");
    }
}

#[test]
fn a_newcomer_and_one_who_comes_back_are_connected_too() {
    let mut world = mesh(3, 3);
    let late = world.add(automatic("late"));
    world.act(late, |transport, now| transport.start(now)).unwrap();
    assert!(world.run_until(World::all_connected));
    world.act(late, |transport, now| transport.shutdown(now));
    let left = |world: &World| !world.connected(0, 3) && !world.connected(2, 3);
    assert!(world.run_until(left));
    world.hosts[late].events.clear();
    world.crash(late);
    let again = world.add(automatic("late"));
    world.act(again, |transport, now| transport.start(now)).unwrap();
    let back =
        |world: &World| (0..3).all(|n| world.connected(n, again) && world.connected(again, n));
    assert!(world.run_until(back));
}

#[test]
fn a_list_and_the_limit_of_peers_are_kept() {
    let mut world = World::new(5);
    let picky = world.add(automatic("picky").deny(vec!["b".into()]));
    let b = world.add(automatic("b"));
    let c = world.add(automatic("c"));
    world.start_all();
    assert!(world.run_until(|world| world.connected(picky, c) && world.connected(b, c)));
    world.run(Duration::from_secs(20));
    assert!(!world.connected(picky, b) && !world.connected(b, picky));

    let mut world = World::new(6);
    let small = world.add(automatic("z").max_peers(2));
    let others = ["a", "b", "c"].map(|name| world.add(automatic(name)));
    world.start_all();
    world.run(Duration::from_secs(20));
    let connected = others.iter().filter(|other| world.connected(small, **other)).count();
    assert_eq!(connected, 2);
    // When one leaves, its place is taken.
    let leaver = *others.iter().find(|other| world.connected(small, **other)).unwrap();
    world.act(leaver, |transport, now| transport.shutdown(now));
    let full = |world: &World| {
        others.iter().filter(|o| **o != leaver && world.connected(small, **o)).count() == 2
    };
    assert!(world.run_until(full));
}
