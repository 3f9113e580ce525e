//! Lost paths, crashed peers, broken signaling: what goes on, what comes back, what is told.

mod common;

use std::time::Duration;

use common::{automatic, channels_open, id, mesh, messages, talk};
use rtcmesh_core::error::PeerFault;
use rtcmesh_core::media::DataMessage;
use rtcmesh_core::transport::{Event, PeerState};
use rtcmesh_sim::World;

#[test]
fn a_short_outage_heals_on_the_same_connection() {
    let mut world = mesh(1, 2);
    world.cut(0, 1, true);
    let lost = |world: &World| {
        world.hosts[0].peer(&id("p1")).is_some_and(|info| info.state == PeerState::Reconnecting)
    };
    assert!(world.run_until(lost));
    world.cut(0, 1, false);
    assert!(world.run_until(World::all_connected));
    let reconnected = |event: &Event| matches!(event, Event::Reconnected { .. });
    assert_eq!(world.hosts[0].count(reconnected), 1);
    assert_eq!(world.hosts[0].count(|event| matches!(event, Event::Failed { .. })), 0);
    world.hosts[1].media.clear();
    talk(&mut world, |_| 700.0, 30);
    assert!(world.hosts[1].media.len() > 10, "audio flows again");
}

#[test]
fn a_long_outage_ends_the_connection_and_it_is_made_anew() {
    let mut world = mesh(2, 2);
    world.cut(0, 1, true);
    let failed = |world: &World| {
        (0..2).all(|n| world.hosts[n].count(|event| matches!(event, Event::Failed { .. })) > 0)
    };
    assert!(world.run_until(failed));
    world.cut(0, 1, false);
    assert!(world.run_until(World::all_connected));
}

#[test]
fn a_crashed_peer_is_noticed_and_everything_of_it_is_freed() {
    let mut world = mesh(3, 3);
    world.crash(0);
    let noticed = |world: &World| (1..3).all(|n| world.hosts[n].peer(&id("p0")).is_none());
    assert!(world.run_until(noticed), "{:?}", world.hosts[1].peer(&id("p0")));
    assert!(world.connected(1, 2));
}

#[test]
fn a_restarted_peer_is_connected_in_place_of_its_former_self() {
    let mut world = mesh(4, 2);
    world.crash(0);
    // Its id stays reserved for a while after a crash.
    world.run(Duration::from_secs(35));
    let again = world.add(automatic("p0"));
    world.act(again, |transport, now| transport.start(now)).unwrap();
    let back = |world: &World| world.connected(1, again) && world.connected(again, 1);
    assert!(world.run_until(back));
}

#[test]
fn a_panic_of_one_engine_ends_its_connection_alone_and_it_is_made_anew() {
    let mut world = mesh(7, 3);
    for at in [0, 1, 2_000] {
        world.run(Duration::from_millis(at));
        world.act(0, |transport, now| transport.break_engine(now, "p1"));
        let internal = |event: &Event| matches!(event, Event::Failed { fault: PeerFault::Internal(_), peer } if *peer == id("p1"));
        assert!(world.hosts[0].count(internal) >= 1);
        assert!(world.connected(0, 2) && world.connected(1, 2));
        assert!(world.run_until(World::all_connected));
    }
    for host in 0..3 {
        let ends = |event: &Event| matches!(event, Event::Failed { .. } | Event::Closed { .. });
        let of_p2 = world.hosts[host].events.iter().filter(|event| ends(event));
        assert_eq!(of_p2.filter(|event| event.peer() == Some(&id("p2"))).count(), 0);
        world.hosts[host].media.clear();
    }
    talk(&mut world, |_| 700.0, 30);
    for host in &world.hosts {
        assert!(host.media.len() > 20, "{}", host.media.len());
    }
}

#[test]
fn media_outlives_signaling() {
    let mut world = mesh(5, 2);
    world.signaling_reachable = false;
    world.break_signaling(0);
    world.break_signaling(1);
    world.run(Duration::from_secs(20));
    assert!(world.all_connected());
    let down = |event: &Event| matches!(event, Event::SignalingDown { .. });
    assert!(world.hosts[0].count(down) >= 1);
    talk(&mut world, |_| 700.0, 30);
    assert!(world.hosts[1].media.len() > 10);
    world.signaling_reachable = true;
    let up = |event: &Event| matches!(event, Event::SignalingUp { .. });
    assert!(world.run_until(|world| (0..2).all(|n| world.hosts[n].count(up) == 2)));
    world.run(Duration::from_secs(10));
    assert!(world.all_connected());
    let ends = |event: &Event| matches!(event, Event::Closed { .. } | Event::Failed { .. });
    assert_eq!(world.hosts[0].count(ends), 0);
}

#[test]
fn a_break_of_signaling_in_the_midst_of_connecting_is_overcome() {
    // From the first moment at which all have been told that they are announced.
    for after in 5..20 {
        let mut world = World::new(after);
        for n in 0..3 {
            world.add(automatic(&format!("p{n}")));
        }
        world.start_all();
        world.run(Duration::from_millis(after));
        world.break_signaling(1);
        assert!(world.run_until(World::all_connected), "broken after {after} ms");
    }
}

#[test]
fn a_slow_application_loses_media_first_and_is_told() {
    let mut world = mesh(6, 2);
    world.hosts[1].fetches = false;
    let text = rtcmesh_core::media::RuntimeData::Text("kept".into());
    world.run(Duration::from_secs(1));
    talk(&mut world, |_| 700.0, 1_100);
    world.act(0, |transport, now| transport.broadcast(now, &text)).unwrap();
    world.run(Duration::from_secs(1));
    world.act(0, |transport, now| transport.shutdown(now));
    world.run(Duration::from_secs(1));
    world.hosts[1].fetches = true;
    world.act(1, |_, _| ());
    let events = &world.hosts[1].events;
    let lagged = events.iter().any(|event| matches!(event, Event::Lagged { media: 1.., data: 0 }));
    assert!(lagged);
    assert!(events.iter().any(|event| matches!(event, Event::Data { .. })));
    assert!(events.iter().any(|event| matches!(event, Event::Closed { .. })));
}

/// SCTP doubles its pauses while nothing gets through, and is not told that the path is back: what it has repeated is sent again every
/// three seconds all the same.
#[test]
fn a_message_from_an_outage_comes_within_three_seconds_of_its_end() {
    let mut world = mesh(8, 2);
    channels_open(&mut world);
    world.cut(0, 1, true);
    let message = DataMessage::text("hello");
    world
        .act(0, |transport, now| transport.send_data_channel_message(now, "p1", &message, None))
        .unwrap();
    // SCTP tries after about 1, 3 and 7 s, and then at 15 s.
    world.run(Duration::from_secs(9));
    world.cut(0, 1, false);
    let healed = world.elapsed();
    let arrived = |world: &World| messages(world, 1, &id("p0")) == [message.clone()];
    assert!(world.run_until_or(Duration::from_secs(20), arrived));
    let waited = world.elapsed() - healed;
    assert!(waited < Duration::from_millis(3_500), "{waited:?}");
    let ends = |event: &Event| matches!(event, Event::Failed { .. } | Event::Closed { .. });
    assert_eq!(world.hosts[0].count(ends), 0, "on the same connection");
}
