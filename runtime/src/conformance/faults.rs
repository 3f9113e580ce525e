//! Systems that fail: sockets, connections and names, now and then or for good.

use rtcmesh_core::config::ConnectMode;
use rtcmesh_core::transport::Event;

use super::room::{Peer, Room};
use super::{Fault, Faulty, within};
use crate::runtime::Runtime;
use crate::transport::TransportEvent;

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
    let mut alice = room.join("alice", ConnectMode::Automatic).await;
    alice.transport.shutdown().await;
    alice.until_end().await;
}

async fn broken<R: Runtime>(runtime: &R) {
    let runtime = Faulty::new(runtime.clone());
    let room = Room::open(&runtime);
    let [mut alice, bob] = room.pair().await;
    runtime.faults().set(Fault::Broken, 1);
    // What was sent is lost. The mesh stays one that can be commanded, and ends in time.
    let _ = alice.say("bob", "into the void");
    assert_eq!(alice.transport.list_peers().map(|peers| peers.len()), Ok(1));
    alice.transport.shutdown().await;
    while let Some(event) = alice.events.next().await {
        let heard = matches!(event, TransportEvent::Event(Event::Data { .. }));
        assert!(!heard, "somebody answered from the void");
    }
    bob.transport.shutdown().await;
}
