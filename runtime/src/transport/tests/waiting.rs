//! Those who wait: for a start, for a connection, for events.

use std::future::poll_fn;

use rtcmesh_core::error::ConnectError;
use rtcmesh_core::id::PeerId;
use rtcmesh_core::media::{EncodedVideo, VideoCodec};
use rtcmesh_core::transport::{Event, Media, VideoTiming};

use super::*;
use crate::transport::events::TransportEvent;

fn peer(id: &str) -> PeerId {
    PeerId::new(id).unwrap()
}

fn connected(id: &str, result: Result<(), ConnectError>) -> Outcome {
    Outcome::Connected { peer: peer(id), result }
}

#[test]
fn a_start_waits_for_its_outcome_and_may_be_repeated_after_a_failure() {
    let mesh = Mesh::new();
    let started = mesh.spawn(|handle| async move { handle.start().await });
    assert_eq!(started.take(), None);
    let failure = Err(StartError::Signaling("refused".into()));
    mesh.script(|script| script.outcomes.push_back(Outcome::Started(failure.clone())));
    assert_eq!(started.take(), Some(failure));
    mesh.start();
    assert_eq!(mesh.log(), ["start", "start"]);
    assert_eq!(mesh.world.tasks(), 1, "one driver, whatever was started");
}

#[test]
fn nothing_can_be_connected_before_the_start() {
    let mesh = Mesh::new();
    let result = mesh.spawn(|handle| async move { handle.connect_peer("friend").await });
    assert_eq!(result.take(), Some(Err(ConnectError::NotStarted)));
}

#[test]
fn all_calls_for_a_peer_share_its_outcome_and_no_other() {
    let mesh = Mesh::with_sockets(&[]);
    let connect =
        |id: &'static str| mesh.spawn(move |handle| async move { handle.connect_peer(id).await });
    let (bob, also_bob, carol) = (connect("bob"), connect("bob"), connect("carol"));
    assert_eq!(connect("friend").take(), Some(Ok(())), "connected already");
    mesh.script(|script| script.outcomes.push_back(connected("bob", Ok(()))));
    assert_eq!((bob.take(), also_bob.take()), (Some(Ok(())), Some(Ok(()))));
    assert_eq!(carol.take(), None);
    let failure = Err(ConnectError::ConnectionFailed("refused".into()));
    mesh.script(|script| script.outcomes.push_back(connected("carol", failure.clone())));
    assert_eq!(carol.take(), Some(failure));
    assert_eq!(mesh.state(|state| state.waiting()), 0);
}

#[test]
fn an_outcome_of_the_call_itself_is_not_missed() {
    let mesh = Mesh::with_sockets(&[]);
    // The outcome is there before the future is polled a second time.
    mesh.handle.shared().lock().machine.outcomes.push_back(connected("bob", Ok(())));
    let bob = mesh.spawn(|handle| async move { handle.connect_peer("bob").await });
    assert_eq!(bob.take(), Some(Ok(())));
}

#[test]
fn futures_that_are_dropped_leave_nothing_behind() {
    let mesh = Mesh::with_sockets(&[]);
    for _ in 0..3 {
        let handle = mesh.handle.clone();
        let mut connecting = Box::pin(async move { handle.connect_peer("bob").await });
        let handle = mesh.handle.clone();
        let mut starting = Box::pin(async move { handle.start().await });
        let mut cx = std::task::Context::from_waker(std::task::Waker::noop());
        assert!(connecting.as_mut().poll(&mut cx).is_pending());
        assert!(starting.as_mut().poll(&mut cx).is_pending());
        assert_eq!(mesh.state(|state| state.waiting()), 2);
        drop((connecting, starting));
        assert_eq!(mesh.state(|state| state.waiting()), 0);
    }
    mesh.script(|script| script.outcomes.push_back(connected("bob", Ok(()))));
}

/// The next event, by somebody of this name.
fn next(mesh: &Mesh, ticket: u64) -> Given<Option<TransportEvent>> {
    mesh.spawn(move |handle| async move {
        poll_fn(|cx| handle.shared().lock().poll_event(ticket, cx)).await
    })
}

fn event(id: &str) -> Event {
    Event::Connecting { peer: peer(id) }
}

fn media() -> Media {
    let frame = EncodedVideo {
        codec: VideoCodec::Vp8,
        data: vec![0].into(),
        timestamp: std::time::Duration::ZERO,
        keyframe: true,
        captured: None,
    };
    static AT: std::sync::OnceLock<std::time::Instant> = std::sync::OnceLock::new();
    let timing = VideoTiming::new(0, *AT.get_or_init(std::time::Instant::now));
    Media::Video { peer: peer("bob"), frame, contiguous: true, timing }
}

#[test]
fn events_wake_their_reader_and_come_before_media() {
    let mesh = Mesh::with_sockets(&[1]);
    let first = next(&mesh, 100);
    assert!(first.take().is_none());
    mesh.script(|script| {
        script.media.push_back(media());
        script.events.push_back(event("a"));
    });
    assert_eq!(first.take(), Some(Some(TransportEvent::Event(event("a")))));
    assert_eq!(next(&mesh, 100).take(), Some(Some(TransportEvent::Media(media()))));
    assert!(next(&mesh, 100).take().is_none());
}

#[test]
fn several_readers_share_the_events() {
    let mesh = Mesh::with_sockets(&[]);
    let readers = [next(&mesh, 100), next(&mesh, 101), next(&mesh, 102)];
    mesh.script(|script| script.events.extend([event("a"), event("b")]));
    let read: Vec<_> = readers.iter().filter_map(Given::take).flatten().collect();
    assert_eq!(read, [event("a"), event("b")].map(TransportEvent::Event));
}

#[test]
fn events_end_with_the_mesh_after_those_that_wait() {
    let mesh = Mesh::with_sockets(&[]);
    let waiting = next(&mesh, 100);
    let _ = mesh.spawn(|handle| async move { handle.shutdown().await });
    assert_eq!(waiting.take(), Some(None));
    mesh.script(|script| script.events.push_back(event("a")));
    assert_eq!(next(&mesh, 100).take(), Some(Some(TransportEvent::Event(event("a")))));
    assert_eq!(next(&mesh, 100).take(), Some(None));
}
