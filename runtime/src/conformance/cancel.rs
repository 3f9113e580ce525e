//! Calls that are given up: each is polled n times and dropped, for all n up to its end. What was commanded goes on,
//! nothing is lost, and nobody is waited for who has gone.

use rtcmesh_core::config::ConnectMode;
use rtcmesh_core::error::StartError;
use rtcmesh_core::transport::Event;

use super::room::{Room, text};
use super::{MOST, polled, within};
use crate::runtime::Runtime;
use crate::transport::TransportEvent;

pub(super) async fn check<R: Runtime>(runtime: &R) {
    within(runtime, "a start that is given up", start(runtime)).await;
    within(runtime, "a shutdown that is given up", shutdown(runtime)).await;
    within(runtime, "calls that are given up", connect(runtime)).await;
    within(runtime, "events that nobody waits for any more", events(runtime)).await;
}

async fn start<R: Runtime>(runtime: &R) {
    let room = Room::open(runtime);
    for polls in 0..MOST {
        // Ids are not free again at once.
        let mut alice = room.peer(&format!("alice-{polls}"), ConnectMode::Manual);
        let started = polled(alice.transport.start(), polls).await;
        assert_eq!(alice.transport.waiting(), 0, "after {polls} polls");
        let again = alice.transport.start().await;
        let expected = if polls == 0 { Ok(()) } else { Err(StartError::AlreadyStarted) };
        assert_eq!(again, expected, "after {polls} polls");
        alice.until(|event| matches!(event, Event::SignalingUp { .. }).then_some(())).await;
        alice.transport.shutdown().await;
        if let Some(started) = started {
            return assert_eq!(started, Ok(()));
        }
    }
    panic!("a start: it is polled without end");
}

async fn shutdown<R: Runtime>(runtime: &R) {
    let room = Room::open(runtime);
    for polls in 0..MOST {
        let mut alice = room.join(&format!("alice-{polls}"), ConnectMode::Manual).await;
        let ended = polled(alice.transport.shutdown(), polls).await;
        assert_eq!(alice.transport.waiting(), 0, "after {polls} polls");
        if polls > 0 {
            // It goes on by itself.
            alice.until_end().await;
        }
        alice.transport.shutdown().await;
        alice.until_end().await;
        if ended.is_some() {
            return;
        }
    }
    panic!("a shutdown: it is polled without end");
}

async fn connect<R: Runtime>(runtime: &R) {
    let room = Room::open(runtime);
    let [mut alice, mut bob] = room.acquainted().await;
    let closed = |event: &Event| matches!(event, Event::Closed { .. }).then_some(());
    let connected = |event: &Event| matches!(event, Event::Connected { .. }).then_some(());
    for polls in 0..MOST {
        let result = polled(alice.transport.connect_peer("bob"), polls).await;
        assert_eq!(alice.transport.waiting(), 0, "after {polls} polls");
        if polls > 0 {
            // The attempt goes on without it.
            alice.until(connected).await;
        }
        assert_eq!(alice.transport.connect_peer("bob").await, Ok(()), "after {polls} polls");
        bob.until(connected).await;
        // Ending it is done with its first poll.
        assert_eq!(polled(alice.transport.disconnect_peer("bob"), 0).await, None);
        assert_eq!(alice.transport.list_peers().map(|peers| peers.len()), Ok(1));
        assert_eq!(polled(alice.transport.disconnect_peer("bob"), 1).await, Some(Ok(())));
        alice.until(closed).await;
        bob.until(closed).await;
        if let Some(result) = result {
            return assert_eq!(result, Ok(()));
        }
    }
    panic!("a call: it is polled without end");
}

async fn events<R: Runtime>(runtime: &R) {
    let room = Room::open(runtime);
    let [alice, mut bob] = room.pair().await;
    let mut heard = 0;
    for polls in 1..20 {
        alice.say("bob", &polls.to_string()).expect("an open channel");
        // With every number of polls before it is given up; what it does not give, the next one does.
        while heard < polls {
            let next = polled(bob.events.next(), polls).await;
            // A stream keeps its one place, as long as it lives.
            assert!(bob.transport.waiting() <= 1, "after {polls} polls");
            let next = match next {
                Some(next) => next,
                None => bob.events.next().await,
            };
            let Some(TransportEvent::Event(event)) = next else { continue };
            if let Some(text) = text(&event) {
                heard += 1;
                assert_eq!(text, heard.to_string(), "after {polls} polls");
            }
        }
    }
}
