//! The runtime of an example does what every runtime has to do, and a whole mesh runs on it.

#![allow(clippy::unwrap_used)]

#[path = "../custom_runtime.rs"]
mod custom_runtime;

use custom_runtime::{Threads, block_on};
use rtcmesh_core::config::Config;
use rtcmesh_core::media::DataMessage;
use rtcmesh_core::transport::Event;
use rtcmesh_runtime::conformance::guarded;
use rtcmesh_runtime::{
    Runtime, SignalingServer, SignalingServerOptions, TransportEvent, WebRtcTransport, conformance,
};

/// A whole mesh: two peers and their server.
async fn meet() {
    let options = SignalingServerOptions::new();
    let server = SignalingServer::<Threads>::bind([([127, 0, 0, 1], 0).into()], options).unwrap();
    let url = format!("ws://{}/", server.local_addr().unwrap());
    let alice = WebRtcTransport::<Threads>::new(Config::new(&url).peer_id("alice")).unwrap();
    let bob = WebRtcTransport::<Threads>::new(Config::new(&url).peer_id("bob")).unwrap();
    let (mut alices, mut bobs) = (alice.events(), bob.events());
    bob.start().await.unwrap();
    alice.start().await.unwrap();
    loop {
        let event = alices.next().await.unwrap();
        if let TransportEvent::Event(Event::DataChannelOpen { label: "data", .. }) = event {
            break;
        }
    }
    let sent = DataMessage::text("hello");
    alice.send_data_channel_message("bob", &sent).unwrap();
    loop {
        let event = bobs.next().await.unwrap();
        if let TransportEvent::Event(Event::Data { peer, message, .. }) = event {
            assert_eq!((peer.as_str(), message), ("alice", sent));
            break;
        }
    }
    alice.shutdown().await;
    bob.shutdown().await;
    server.shutdown().await;
}

#[test]
fn it_does_what_every_runtime_has_to_do() {
    guarded("threads", || block_on(conformance::check(Threads::current().unwrap())));
}

#[test]
fn a_server_and_two_peers_meet_on_it() {
    guarded("a mesh on threads", || block_on(meet()));
}

#[test]
fn it_is_short() {
    let lines = include_str!("../custom_runtime.rs").lines().count();
    assert!(lines < 200, "{lines} lines");
}
