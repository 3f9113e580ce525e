//! Hosts that move to other networks while they are connected.

mod common;

use std::time::Duration;

use common::{automatic, channels_open, id, messages};
use rtcmesh_core::media::{DataMessage, RuntimeData};
use rtcmesh_sim::net::Preset;
use rtcmesh_sim::{Setup, World};

/// Two hosts at public addresses, connected.
fn pair(seed: u64) -> World {
    let mut world = World::new(seed);
    for name in ["p0", "p1"] {
        world.add(automatic(name));
    }
    world.start_all();
    assert!(world.run_until(World::all_connected));
    channels_open(&mut world);
    world
}

/// What is sent now arrives on the other side.
fn hears(world: &mut World, from: usize, text: &str) -> bool {
    let (to, name) = (1 - from, world.hosts[1 - from].id().clone());
    let sent = world.act(from, |transport, now| {
        transport.send_data_channel_message(now, name.as_str(), &DataMessage::text(text), None)
    });
    let sender = world.hosts[from].id().clone();
    sent.is_ok()
        && world.run_until(|world| messages(world, to, &sender).contains(&DataMessage::text(text)))
}

#[test]
fn one_who_moves_is_heard_again() {
    let mut world = pair(1);
    world.roam(0, &Setup::preset(Preset::HomeWifi));
    assert!(hears(&mut world, 0, "from home") && hears(&mut world, 1, "to home"));
}

#[test]
fn two_who_move_at_once_hear_each_other_again() {
    let mut world = pair(2);
    world.run(Duration::from_secs(3));
    let text = RuntimeData::Text("x".repeat(8_000).into());
    world.act(0, |transport, now| transport.send_to_peer(now, "p1", &text)).unwrap();
    world.roam(0, &Setup::preset(Preset::Cellular));
    world.roam(0, &Setup::default());
    world.roam(1, &Setup::default());
    world.run(Duration::from_secs(3));
    world.roam(0, &Setup::default());
    world.run(Duration::from_secs(1));
    world.roam(1, &Setup::preset(Preset::BadWifi));
    assert!(hears(&mut world, 0, "forth"), "{:?}", world.hosts[0].peer(&id("p1")));
    assert!(hears(&mut world, 1, "back"), "{:?}", world.hosts[1].peer(&id("p0")));
}
