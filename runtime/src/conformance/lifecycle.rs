//! Meshes from the start to the end, with applications that are slow, or leave without a word.

use rtcmesh_core::config::ConnectMode;
use rtcmesh_core::error::{ConnectError, NotStarted, SendError, StartError};
use rtcmesh_core::transport::{ClosedBy, Event};

use super::room::{Peer, Room};
use super::{MOST, both, polled, within};
use crate::runtime::Runtime;

/// Messages that a slow application has not fetched.
const UNFETCHED: usize = 1_000;

pub(super) async fn check<R: Runtime>(runtime: &R) {
    within(runtime, "a mesh from start to end", start_to_end(runtime)).await;
    within(runtime, "a mesh of five", five(runtime)).await;
    within(runtime, "a mesh that is dropped", dropped(runtime)).await;
    within(runtime, "a mesh that is dropped while it starts", dropped_early(runtime)).await;
    within(runtime, "a slow consumer of events", slow(runtime)).await;
    within(runtime, "a full send buffer", full(runtime)).await;
}

fn closed(event: &Event) -> Option<ClosedBy> {
    match event {
        Event::Closed { by, .. } => Some(*by),
        _ => None,
    }
}

async fn start_to_end<R: Runtime>(runtime: &R) {
    let room = Room::open(runtime);
    let unstarted = room.peer("alice", ConnectMode::Manual);
    assert_eq!(unstarted.transport.list_peers(), Err(NotStarted));
    assert_eq!(unstarted.transport.connect_peer("bob").await, Err(ConnectError::NotStarted));
    unstarted.transport.shutdown().await;
    assert_eq!(unstarted.transport.start().await, Err(StartError::ShutDown));

    let [mut alice, mut bob] = room.acquainted().await;
    assert_eq!(alice.transport.start().await, Err(StartError::AlreadyStarted));
    let calls = both(alice.transport.connect_peer("bob"), alice.transport.connect_peer("bob"));
    assert_eq!(calls.await, (Ok(()), Ok(())));
    alice.until_open().await;
    bob.until_open().await;
    alice.say("bob", "hello").expect("an open channel");
    assert_eq!(bob.hear().await, "hello");
    bob.say("alice", "hello yourself").expect("an open channel");
    assert_eq!(alice.hear().await, "hello yourself");

    alice.transport.shutdown().await;
    alice.transport.shutdown().await;
    alice.until_end().await;
    assert_eq!(alice.transport.start().await, Err(StartError::ShutDown));
    assert_eq!(bob.until(closed).await, ClosedBy::Peer);
    room.server.shutdown().await;
    bob.until(|event| matches!(event, Event::SignalingDown { .. }).then_some(())).await;
    bob.transport.shutdown().await;
    bob.until_end().await;
}

async fn five<R: Runtime>(runtime: &R) {
    let room = Room::open(runtime);
    let mut peers: Vec<Peer<R>> = Vec::new();
    for n in 0..5 {
        peers.push(room.join(&format!("p{n}"), ConnectMode::Automatic).await);
    }
    for peer in &mut peers {
        for _ in 0..4 {
            peer.until_open().await;
        }
    }
    for peer in &peers {
        let listed = peer.transport.list_peers().expect("it is started");
        for other in listed {
            peer.say(other.peer.as_str(), peer.transport.peer_id().as_str()).expect("open");
        }
    }
    for peer in &mut peers {
        let mut heard = Vec::new();
        for _ in 0..4 {
            heard.push(peer.hear().await);
        }
        heard.sort();
        heard.dedup();
        assert_eq!(heard.len(), 4, "{heard:?}");
    }
}

async fn dropped<R: Runtime>(runtime: &R) {
    let room = Room::open(runtime);
    let [alice, mut bob] = room.pair().await;
    let Peer { transport, mut events } = alice;
    drop(transport);
    while events.next().await.is_some() {}
    assert_eq!(bob.until(closed).await, ClosedBy::Peer, "a dropped handle says goodbye");
    // The server without a shutdown, too: its connections end.
    drop(room.server);
    bob.until(|event| matches!(event, Event::SignalingDown { .. }).then_some(())).await;
}

async fn dropped_early<R: Runtime>(runtime: &R) {
    let room = Room::open(runtime);
    for polls in 0..MOST {
        // Ids are not free again at once.
        let alice = room.peer(&format!("alice-{polls}"), ConnectMode::Automatic);
        let Peer { transport, mut events } = alice;
        let started = polled(transport.start(), polls).await;
        drop(transport);
        while events.next().await.is_some() {}
        if let Some(started) = started {
            return assert_eq!(started, Ok(()));
        }
    }
    panic!("a start: it is polled without end");
}

async fn slow<R: Runtime>(runtime: &R) {
    let room = Room::open(runtime);
    let [mut alice, mut bob] = room.pair().await;
    for n in 0..UNFETCHED {
        let text = n.to_string();
        while let Err(error) = alice.say("bob", &text) {
            assert!(matches!(error, SendError::SendBufferFull(_)), "{error}");
            alice
                .until(|event| matches!(event, Event::BufferedAmountLow { .. }).then_some(()))
                .await;
        }
    }
    // Nobody fetches anything of bob's, and the mesh goes on: it answers, connects and hears.
    let mut carol = room.join("carol", ConnectMode::Automatic).await;
    carol.until_open().await;
    carol.until_open().await;
    carol.say("bob", "the last word").expect("an open channel");
    let (mut next, mut last) = (0, false);
    while next < UNFETCHED || !last {
        let text = bob.hear().await;
        if text == "the last word" {
            last = true;
        } else {
            assert_eq!(text, next.to_string(), "a slow consumer: order");
            next += 1;
        }
    }
}

async fn full<R: Runtime>(runtime: &R) {
    let room = Room::open(runtime);
    let [mut alice, mut bob] = room.pair().await;
    let large = "x".repeat(256 * 1024);
    let mut sent = 0;
    // Asked again it may have room: the driver goes on meanwhile.
    let error = loop {
        match alice.say("bob", &large) {
            Ok(()) => sent += 1,
            Err(error) => break error,
        }
        assert!(sent < 10_000, "a full send buffer: it is never full");
    };
    assert!(matches!(error, SendError::SendBufferFull(_)), "{error}");
    for _ in 0..sent {
        assert!(bob.hear().await == large, "a full send buffer: what arrives is not what was sent");
    }
    alice.until(|event| matches!(event, Event::BufferedAmountLow { .. }).then_some(())).await;
    assert_eq!(alice.say("bob", "room again"), Ok(()));
    assert_eq!(bob.hear().await, "room again");
}
