//! Meshes on tokio over loopback, with a real signaling server.

// The lint knows tests by their attribute, and not what only they call.
#![allow(clippy::unwrap_used)]

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use rtcmesh_tokio::config::{Config, ConnectMode};
use rtcmesh_tokio::error::{ConnectError, StartError};
use rtcmesh_tokio::media::DataMessage;
use rtcmesh_tokio::{
    ClosedBy, Event, Events, SignalingServer, SignalingServerOptions, TlsIdentity, TlsOptions,
    TransportEvent, WebRtcTransport,
};

/// The guard against tests that never end: none takes this long.
const GUARD: Duration = Duration::from_secs(30);

fn server() -> (SignalingServer, String) {
    let listen = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    let server = SignalingServer::bind([listen], SignalingServerOptions::default()).unwrap();
    let url = format!("ws://{}/room", server.local_addr().unwrap());
    (server, url)
}

async fn join(url: &str, id: &str, connect: ConnectMode) -> (WebRtcTransport, Events) {
    let transport = WebRtcTransport::new(Config::new(url).peer_id(id).connect(connect)).unwrap();
    let events = transport.events();
    transport.start().await.unwrap();
    (transport, events)
}

/// Waits for what `wanted` takes from an event.
async fn until<T>(events: &mut Events, mut wanted: impl FnMut(&Event) -> Option<T>) -> T {
    let found = async {
        loop {
            match events.next().await {
                Some(TransportEvent::Event(event)) => {
                    if let Some(found) = wanted(&event) {
                        return found;
                    }
                }
                Some(_) => {}
                None => panic!("the transport has ended"),
            }
        }
    };
    tokio::time::timeout(GUARD, found).await.expect("an event that does not come")
}

async fn until_open(events: &mut Events, peers: usize) {
    let mut open = 0;
    until(events, |event| {
        open += usize::from(matches!(event, Event::DataChannelOpen { label: "data", .. }));
        (open == peers).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn five_peers_connect_by_themselves_and_hear_each_other() {
    let (_server, url) = server();
    let mut peers = Vec::new();
    for n in 0..5 {
        peers.push(join(&url, &format!("p{n}"), ConnectMode::Automatic).await);
    }
    for (_, events) in &mut peers {
        until_open(events, 4).await;
    }
    for (transport, _) in &peers {
        assert_eq!(transport.list_peers().unwrap().len(), 4);
        let text = format!("hello from {}", transport.peer_id());
        let stats = transport.broadcast(&rtcmesh_tokio::media::RuntimeData::Text(text.into()));
        assert_eq!(stats.unwrap().sent_count, 4);
    }
    for (_, events) in &mut peers {
        for _ in 0..4 {
            let (peer, text) = until(events, |event| match event {
                Event::Data { peer, message: DataMessage::Text(text), .. } => {
                    Some((peer.clone(), text.clone()))
                }
                _ => None,
            })
            .await;
            assert_eq!(*text, format!("hello from {peer}"));
        }
    }
    let (first, _) = peers.remove(0);
    first.shutdown().await;
    for (_, events) in &mut peers {
        let closed = |event: &Event| match event {
            Event::Closed { peer, by } => Some((peer.as_str() == "p0", *by)),
            _ => None,
        };
        assert_eq!(until(events, closed).await, (true, ClosedBy::Peer));
    }
}

#[tokio::test]
async fn peers_connect_on_command_and_calls_share_the_attempt() {
    let (_server, url) = server();
    let (alice, mut at_alice) = join(&url, "alice", ConnectMode::Manual).await;
    let (bob, mut at_bob) = join(&url, "bob", ConnectMode::Manual).await;
    until(&mut at_alice, |event| matches!(event, Event::PeerDiscovered { .. }).then_some(())).await;
    assert!(matches!(alice.connect_peer("carol").await, Err(ConnectError::PeerNotFound(_))));
    let (one, two) = tokio::join!(alice.connect_peer("bob"), alice.connect_peer("bob"));
    assert_eq!((one, two), (Ok(()), Ok(())));
    assert_eq!(alice.connect_peer("bob").await, Ok(()), "connected already");
    assert_eq!(alice.start().await, Err(StartError::AlreadyStarted));

    until_open(&mut at_bob, 1).await;
    let large = "x".repeat(1_000_000);
    bob.send_data_channel_message("alice", &DataMessage::text(large.as_str())).unwrap();
    let received = until(&mut at_alice, |event| match event {
        Event::Data { message: DataMessage::Text(text), .. } => Some(text.clone()),
        _ => None,
    })
    .await;
    assert!(*received == *large);

    alice.disconnect_peer("bob").await.unwrap();
    let closed = |event: &Event| match event {
        Event::Closed { by, .. } => Some(*by),
        _ => None,
    };
    assert_eq!(until(&mut at_alice, closed).await, ClosedBy::Us);
    assert_eq!(until(&mut at_bob, closed).await, ClosedBy::Peer);
    assert_eq!(alice.connect_peer("bob").await, Ok(()), "connected anew");
    drop(alice);
    assert_eq!(until(&mut at_bob, closed).await, ClosedBy::Peer, "a dropped handle says goodbye");
}

#[tokio::test]
async fn a_lost_server_is_told_of_and_connections_go_on_without_it() {
    let (server, url) = server();
    let (alice, mut at_alice) = join(&url, "alice", ConnectMode::Automatic).await;
    let (_bob, mut at_bob) = join(&url, "bob", ConnectMode::Automatic).await;
    until_open(&mut at_alice, 1).await;
    drop(server);
    until(&mut at_bob, |event| matches!(event, Event::SignalingDown { .. }).then_some(())).await;
    alice.send_data_channel_message("bob", &DataMessage::text("still here")).unwrap();
    until(&mut at_bob, |event| matches!(event, Event::Data { .. }).then_some(())).await;
}

#[tokio::test]
async fn over_tls_only_a_trusted_server_is_joined() {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let pem = made.cert.pem();
    let identity = TlsIdentity::from_pem(&pem, &made.signing_key.serialize_pem()).unwrap();
    let listen = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    let options = SignalingServerOptions::new().tls(identity);
    let server = SignalingServer::bind([listen], options).unwrap();
    let url = format!("wss://localhost:{}/room", server.local_addr().unwrap().port());

    let trusting = TlsOptions::new().trust_pem(&pem).unwrap();
    let alice = WebRtcTransport::new(Config::new(&url).peer_id("alice")).unwrap().tls(trusting);
    assert_eq!(alice.start().await, Ok(()));
    let bob = WebRtcTransport::new(Config::new(&url).peer_id("bob")).unwrap();
    let mut events = bob.events();
    let starting = tokio::spawn(async move { bob.start().await });
    let reason = until(&mut events, |event| match event {
        Event::SignalingDown { reason, .. } => Some(reason.clone()),
        _ => None,
    })
    .await;
    assert!(reason.contains("certificate"), "{reason}");
    starting.abort();
}
