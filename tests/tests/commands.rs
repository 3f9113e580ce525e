//! `connect_peer`, `disconnect_peer` and `start`: their results, row by row of the transport contract.

mod common;

use std::time::Duration;

use common::{automatic, id, manual, mesh, strangers};
use rtcmesh_core::error::{
    BroadcastError, ConnectError, DisconnectError, NotStarted, SendError, StartError,
};
use rtcmesh_core::id::LinkId;
use rtcmesh_core::media::{DataMessage, RuntimeData};
use rtcmesh_core::net::IoEvent;
use rtcmesh_core::transport::{ClosedBy, Event, Outcome, PeerState};
use rtcmesh_sim::World;

fn outcomes(world: &World, host: usize) -> Vec<Result<(), ConnectError>> {
    let connects = |outcome: &Outcome| match outcome {
        Outcome::Connected { result, .. } => Some(result.clone()),
        _ => None,
    };
    world.hosts[host].outcomes.iter().filter_map(connects).collect()
}

fn connect(world: &mut World, host: usize, peer: &str) -> Result<bool, ConnectError> {
    world.act(host, |transport, now| transport.connect_peer(now, peer))
}

#[test]
fn nothing_works_before_the_start() {
    let mut world = World::new(1);
    let a = world.add(manual("a"));
    assert_eq!(connect(&mut world, a, "b"), Err(ConnectError::NotStarted));
    let text = RuntimeData::Text("x".into());
    world.act(a, |transport, now| {
        assert_eq!(transport.list_peers(), Err(NotStarted));
        assert_eq!(transport.disconnect_peer(now, "b"), Err(DisconnectError::NotStarted));
        assert_eq!(transport.send_to_peer(now, "b", &text), Err(SendError::NotStarted));
        assert_eq!(transport.broadcast(now, &text), Err(BroadcastError::NotStarted));
    });
    world.act(a, |transport, now| transport.start(now)).unwrap();
    let again = world.act(a, |transport, now| transport.start(now));
    assert_eq!(again, Err(StartError::AlreadyStarted));
    assert!(world.run_until(|world| world.started(a)));
    let nobody = world.act(a, |transport, now| transport.broadcast(now, &text));
    assert_eq!(nobody, Err(BroadcastError::NoPeersConnected));
}

#[test]
fn a_start_without_a_server_tells_why_and_can_be_repeated() {
    let mut world = World::new(2);
    world.signaling_reachable = false;
    let a = world.add(manual("a"));
    world.start_all();
    let failed = |world: &World| {
        matches!(
            world.hosts[a].outcomes.first(),
            Some(Outcome::Started(Err(StartError::Timeout { .. })))
        )
    };
    assert!(world.run_until(failed));
    world.signaling_reachable = true;
    world.act(a, |transport, now| transport.start(now)).unwrap();
    assert!(world.run_until(|world| world.started(a)));
}

#[test]
fn a_taken_id_is_refused() {
    let mut world = World::new(3);
    let first = world.add(manual("same"));
    world.start_all();
    assert!(world.run_until(|world| world.started(first)));
    let second = world.add(manual("same"));
    world.act(second, |transport, now| transport.start(now)).unwrap();
    let refused = |world: &World| {
        let outcome = world.hosts[second].outcomes.first();
        matches!(outcome, Some(Outcome::Started(Err(StartError::Signaling(_)))))
    };
    assert!(world.run_until(refused));
}

#[test]
fn connecting_resolves_once_for_all_who_wait() {
    let mut world = strangers(4, [manual("a"), manual("b")]);
    assert_eq!(
        connect(&mut world, 0, "no one"),
        Err(ConnectError::InvalidPeerId(rtcmesh_core::id::PeerId::new("no one").unwrap_err()))
    );
    assert_eq!(connect(&mut world, 0, "c"), Err(ConnectError::PeerNotFound(id("c"))));
    assert_eq!(connect(&mut world, 0, "a"), Err(ConnectError::PeerNotFound(id("a"))));
    assert_eq!(connect(&mut world, 0, "b"), Ok(false));
    assert_eq!(connect(&mut world, 0, "b"), Ok(false), "shares the attempt");
    assert!(world.run_until(|world| !outcomes(world, 0).is_empty()));
    assert_eq!(outcomes(&world, 0), [Ok(())]);
    assert_eq!(connect(&mut world, 0, "b"), Ok(true));
    assert!(world.connected(0, 1));
}

#[test]
fn the_limit_of_peers_is_an_error_of_the_caller() {
    let mut world = strangers(5, [manual("a").max_peers(1), manual("b"), manual("c")]);
    connect(&mut world, 0, "b").unwrap();
    assert_eq!(connect(&mut world, 0, "c"), Err(ConnectError::MaxPeersExceeded(1)));
}

#[test]
fn failures_tell_their_reason_in_time() {
    let mut world = strangers(6, [manual("a"), manual("b"), manual("c")]);
    world.cut(0, 1, true);
    world.crash(2);
    let begin = world.elapsed();
    connect(&mut world, 0, "b").unwrap();
    connect(&mut world, 0, "c").unwrap();
    assert!(world.run_until(|world| outcomes(world, 0).len() == 2));
    assert!(world.elapsed() - begin <= Duration::from_secs(10), "{:?}", world.elapsed() - begin);
    let results = outcomes(&world, 0);
    let tried = |result: &Result<(), ConnectError>| match result {
        Err(ConnectError::NatTraversalFailed(tried)) => tried.contains("candidates"),
        _ => false,
    };
    assert!(results.iter().any(tried), "{results:?}");
    let late = |result: &Result<(), ConnectError>| {
        matches!(result, Err(ConnectError::Timeout(_) | ConnectError::PeerNotFound(_)))
    };
    assert!(results.iter().any(late), "{results:?}");
    let info = world.hosts[0].peer(&id("b")).unwrap();
    assert_eq!(info.state, PeerState::Failed);
}

#[test]
fn both_may_call_at_once() {
    for seed in 0..20 {
        let mut world = strangers(seed, [manual("a"), manual("b")]);
        connect(&mut world, 0, "b").unwrap();
        world.run(Duration::from_micros(200 * seed));
        connect(&mut world, 1, "a").unwrap();
        assert!(world.run_until(World::all_connected), "seed {seed}");
        common::channels_open(&mut world);
        world.run(Duration::from_secs(5));
        assert!(world.all_connected());
        assert_eq!((outcomes(&world, 0), outcomes(&world, 1)), (vec![Ok(())], vec![Ok(())]));
        common::talk(&mut world, |host| 400.0 + 300.0 * host as f32, 20);
        for host in 0..2 {
            assert!(!world.hosts[host].media.is_empty(), "seed {seed}: audio in both directions");
        }
    }
}

#[test]
fn a_disconnected_peer_stays_away_until_it_is_wished_again() {
    let mut world = mesh(8, 2);
    world.act(0, |transport, now| transport.disconnect_peer(now, "p1")).unwrap();
    assert!(world.run_until(|world| !world.connected(1, 0)));
    let closed = |by: ClosedBy| move |event: &Event| matches!(event, Event::Closed { by: who, .. } if *who == by);
    assert_eq!(world.hosts[0].count(closed(ClosedBy::Us)), 1);
    assert_eq!(world.hosts[1].count(closed(ClosedBy::Peer)), 1);
    world.run(Duration::from_secs(60));
    assert!(!world.connected(0, 1) && !world.connected(1, 0));
    let text = DataMessage::text("x");
    let refused =
        world.act(0, |transport, now| transport.send_data_channel_message(now, "p1", &text, None));
    assert_eq!(refused, Err(SendError::PeerNotConnected(id("p1"))));
    world.act(0, |transport, now| transport.disconnect_peer(now, "p1")).unwrap();
    let unknown = world.act(0, |transport, now| transport.disconnect_peer(now, "p9"));
    assert_eq!(unknown, Err(DisconnectError::PeerNotFound("p9".into())));
    assert_eq!(connect(&mut world, 1, "p0"), Ok(false));
    assert!(world.run_until(World::all_connected));
}

#[test]
fn shutting_down_says_goodbye_and_can_be_repeated() {
    let mut world = mesh(9, 3);
    world.act(0, |transport, now| transport.shutdown(now));
    world.act(0, |transport, now| transport.shutdown(now));
    let done = world.hosts[0].outcomes.iter().filter(|o| **o == Outcome::ShutDown).count();
    assert_eq!(done, 2);
    let gone = |world: &World| {
        (1..3).all(|n| world.hosts[n].peer(&id("p0")).is_none() && !world.connected(n, 0))
    };
    let begin = world.elapsed();
    assert!(world.run_until(gone));
    assert!(world.elapsed() - begin < Duration::from_millis(100));
    assert!(world.connected(1, 2) && world.connected(2, 1));
    assert_eq!(world.hosts[0].transport.poll_timeout(), None);
    let again = world.act(0, |transport, now| transport.start(now));
    assert_eq!(again, Err(StartError::ShutDown));
}

#[test]
fn one_who_only_answers_is_called() {
    let mut world = strangers(10, [automatic("a"), manual("b")]);
    assert!(world.run_until(World::all_connected));
}

#[test]
fn a_call_has_its_outcome_though_the_peer_leaves_and_begins_anew() {
    let mut world = strangers(9, [manual("alice"), manual("bob")]);
    world.cut(0, 1, true);
    let pending = world.act(0, |transport, now| transport.connect_peer(now, "bob"));
    assert_eq!(pending, Ok(false));
    world.run(Duration::from_millis(100));
    let texts = [
        r#"{"jsonrpc":"2.0","method":"peer.disconnected","params":{"from":"bob","reason":"network_error"}}"#,
        r#"{"jsonrpc":"2.0","method":"peer.offer","params":{"from":"bob","to":"alice","sdp":"v=0\r\no=- 7 1 IN IP4 0.0.0.0\r\na=fingerprint:sha-256 AA\r\n","can_trickle_ice_candidates":true,"request_id":"r"}}"#,
    ];
    for text in texts {
        world.act(0, |transport, now| {
            transport.handle_io(now, IoEvent::LinkText { link: LinkId(0), text });
        });
    }
    world.run(Duration::from_secs(15));
    let outcome = |outcome: &&Outcome| matches!(outcome, Outcome::Connected { result: Err(_), .. });
    assert_eq!(world.hosts[0].outcomes.iter().filter(outcome).count(), 1);
}

#[test]
fn a_call_is_answered_in_time_though_another_attempt_takes_its_place() {
    let mut world = strangers(14, [manual("alice"), manual("bob")]);
    world.cut(0, 1, true);
    let begin = world.elapsed();
    assert_eq!(connect(&mut world, 0, "bob"), Ok(false));
    world.run(Duration::from_secs(6));
    // It has forgotten what it had with us, and calls by itself.
    let text = r#"{"jsonrpc":"2.0","method":"peer.offer","params":{"from":"bob","to":"alice","sdp":"v=0\r\no=- 7 1 IN IP4 0.0.0.0\r\na=fingerprint:sha-256 AA\r\n","can_trickle_ice_candidates":true,"request_id":"r"}}"#;
    world.act(0, |transport, now| {
        transport.handle_io(now, IoEvent::LinkText { link: LinkId(0), text });
    });
    assert!(world.run_until(|world| outcomes(world, 0).len() == 1));
    assert!(world.elapsed() - begin <= Duration::from_secs(10), "{:?}", world.elapsed() - begin);
    world.run(Duration::from_secs(20));
    assert_eq!(outcomes(&world, 0).len(), 1);
}

#[test]
fn a_start_that_failed_can_be_repeated_with_names_of_links_that_are_new() {
    let mut world = World::new(10);
    let host = world.add(manual("alice"));
    world.signaling_reachable = false;
    world.start_all();
    let failed = |world: &World| {
        world.hosts[0].outcomes.iter().any(|o| matches!(o, Outcome::Started(Err(_))))
    };
    assert!(world.run_until(failed));
    world.signaling_reachable = true;
    world.act(host, |transport, now| transport.start(now)).unwrap();
    // Late words about links of the start before.
    for link in 0..4 {
        world.act(host, |transport, now| {
            let late = IoEvent::LinkDown { link: LinkId(link), code: Some(4001), reason: "late" };
            transport.handle_io(now, late);
        });
    }
    assert!(world.run_until(|world| world.started(host)));
}
