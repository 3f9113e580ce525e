//! Systems that fail: sockets, connections and names, now and then or for good.

use std::time::Duration;

use rtcmesh_core::config::{Config, ConnectMode};
use rtcmesh_core::error::ConnectError;
use rtcmesh_core::transport::Event;

use super::room::{Peer, Room};
use super::{Fault, Faulty, within};
use crate::runtime::Runtime;

pub(super) async fn check<R: Runtime>(runtime: &R) {
    within(runtime, "a socket that fails now and then", datagrams(runtime)).await;
    within(runtime, "streams in small pieces", pieces(runtime)).await;
    within(runtime, "a system that lets nobody through at first", at_first(runtime)).await;
    within(runtime, "a connection that is reset", reset(runtime)).await;
    within(runtime, "a system without sockets", no_sockets(runtime)).await;
    within(runtime, "sockets that break", broken(runtime)).await;
}

async fn talk<R: Runtime>(alice: &mut Peer<R>, bob: &mut Peer<R>) {
    let large = "x".repeat(100_000);
    alice.say("bob", &large).expect("an open channel");
    assert!(bob.hear().await == large, "what arrives is not what was sent");
    bob.say("alice", "thanks").expect("an open channel");
    assert_eq!(alice.hear().await, "thanks");
}

async fn datagrams<R: Runtime>(runtime: &R) {
    let runtime = Faulty::new(runtime.clone());
    let room = Room::open(&runtime);
    runtime.faults().set(Fault::Send, 11);
    runtime.faults().set(Fault::Receive, 13);
    runtime.faults().set(Fault::SendLater, 3);
    let [mut alice, mut bob] = room.pair().await;
    talk(&mut alice, &mut bob).await;
    let [alice, bob] = [alice, bob].map(|peer| peer.transport.io_metrics());
    assert!(alice.send_errors + bob.send_errors > 0, "{alice:?} {bob:?}");
    assert!(alice.receive_errors + bob.receive_errors > 0, "{alice:?} {bob:?}");
    assert_eq!(alice.dropped + bob.dropped, 0, "what waits for a socket is not lost");
}

async fn pieces<R: Runtime>(runtime: &R) {
    let runtime = Faulty::new(runtime.clone());
    runtime.faults().set(Fault::StreamLater, 2);
    runtime.faults().set(Fault::Short, 3);
    let room = Room::open(&runtime);
    let [mut alice, mut bob] = room.pair().await;
    talk(&mut alice, &mut bob).await;
    alice.transport.shutdown().await;
    bob.until(|event| matches!(event, Event::PeerGone { .. }).then_some(())).await;
}

async fn at_first<R: Runtime>(runtime: &R) {
    for fault in [Fault::Connect, Fault::Resolve, Fault::Accept] {
        let runtime = Faulty::new(runtime.clone());
        // Every second time, so that the second attempt is through: it is made after half a second or so.
        runtime.faults().set(fault, 2);
        let room = Room::open(&runtime);
        for n in 0..2 {
            let alice = room.join(&format!("alice-{n}"), ConnectMode::Manual).await;
            alice.transport.shutdown().await;
        }
    }
}

async fn reset<R: Runtime>(runtime: &R) {
    let runtime = Faulty::new(runtime.clone());
    let room = Room::open(&runtime);
    let [mut alice, mut bob] = room.pair().await;
    runtime.faults().set(Fault::Reset, 1);
    // Somebody knocks, so that the streams are looked at.
    let carol = room.peer("carol", ConnectMode::Manual);
    let _ = super::polled(carol.transport.start(), 1).await;
    let wake = |peer: &Peer<_>| peer.transport.list_peers().map(drop);
    assert_eq!((wake(&alice), wake(&bob)), (Ok(()), Ok(())));
    talk(&mut alice, &mut bob).await;
    let down = |event: &Event| matches!(event, Event::SignalingDown { .. }).then_some(());
    alice.until(down).await;
    bob.until(down).await;
    runtime.faults().set(Fault::Reset, 0);
    let up = |event: &Event| matches!(event, Event::SignalingUp { .. }).then_some(());
    alice.until(up).await;
    bob.until(up).await;
    talk(&mut alice, &mut bob).await;
}

async fn no_sockets<R: Runtime>(runtime: &R) {
    let runtime = Faulty::new(runtime.clone());
    runtime.faults().set(Fault::Bind, 1);
    let room = Room::open(&runtime);
    let peer = |id, limit| {
        let config = Config::new(&room.url).peer_id(id).connect(ConnectMode::Manual);
        Peer::with(&runtime, config.ice_timeout(Duration::from_secs(limit)))
    };
    // No path can be found: the shortest limit will do for her who gives up, and tells him.
    let (mut alice, mut bob) = (peer("alice", 1), peer("bob", 60));
    // Signaling needs no sockets of theirs: they meet, and are told that they cannot reach each other.
    assert_eq!(alice.transport.start().await, Ok(()));
    assert_eq!(bob.transport.start().await, Ok(()));
    alice.until(|event| matches!(event, Event::PeerDiscovered { .. }).then_some(())).await;
    let result = alice.transport.connect_peer("bob").await;
    // On a busy machine the time is up before he has answered.
    assert!(
        matches!(result, Err(ConnectError::NatTraversalFailed(_) | ConnectError::Timeout(_))),
        "without sockets: {result:?}"
    );
    for (peer, other) in [(&mut alice, "bob"), (&mut bob, "alice")] {
        assert_eq!(peer.until(ended).await, other);
        assert_eq!(peer.transport.list_peers(), Ok(Vec::new()));
        assert_eq!(known(peer), [other]);
    }
    for peer in [&mut alice, &mut bob] {
        peer.transport.shutdown().await;
        peer.until_end().await;
    }
}

async fn broken<R: Runtime>(runtime: &R) {
    let runtime = Faulty::new(runtime.clone());
    let room = Room::open(&runtime);
    let [mut alice, mut bob] = room.pair().await;
    runtime.faults().set(Fault::Broken, 1);
    // Whether she knows it already or not, what she sends is lost.
    let _ = alice.say("bob", "into the void");
    let lost = |event: &Event| match event {
        Event::Reconnecting { peer } => Some(peer.to_string()),
        Event::Data { .. } => panic!("something was heard without a socket"),
        _ => None,
    };
    for (peer, other) in [(&mut alice, "bob"), (&mut bob, "alice")] {
        // Each finds it out at its next look at its sockets, and tells its application.
        assert_eq!(peer.until(lost).await, other);
        assert_eq!(peer.transport.list_peers(), Ok(Vec::new()), "nobody can be connected any more");
        assert_eq!(known(peer), [other], "announced it is all the same");
    }
    // Commands are carried out, and the other side is told by signaling.
    assert_eq!(alice.transport.disconnect_peer("bob").await, Ok(()));
    assert_eq!(alice.until(ended).await, "bob");
    assert_eq!(bob.until(ended).await, "alice");
    alice.transport.shutdown().await;
    alice.until_end().await;
    bob.until(|event| matches!(event, Event::PeerGone { .. }).then_some(())).await;
    bob.transport.shutdown().await;
    bob.until_end().await;
}

/// With whom a connection has ended, by whomever. It is never made here.
fn ended(event: &Event) -> Option<String> {
    match event {
        Event::Failed { peer, .. } | Event::Closed { peer, .. } => Some(peer.to_string()),
        Event::Connected { .. } | Event::Reconnected { .. } | Event::Data { .. } => {
            panic!("without a socket: {event:?}")
        }
        _ => None,
    }
}

/// The names of everybody that a peer knows.
fn known<R: Runtime>(peer: &Peer<R>) -> Vec<String> {
    let known = peer.transport.known_peers().expect("it is started");
    known.iter().map(|info| info.peer.to_string()).collect()
}
