//! Whole meshes over real sockets on loopback, with the signaling server of the runtime: everything is
//! awaited, nothing sleeps.

use std::collections::BTreeSet;
use std::future::Future;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use rtcmesh_core::config::{Config, ConnectMode};
use rtcmesh_core::media::{DataMessage, EncodedAudio, RuntimeData};
use rtcmesh_core::transport::{Event, Media};
use rtcmesh_tokio::{
    Events, SignalingServer, SignalingServerOptions, TlsIdentity, TlsOptions, TransportEvent,
    WebRtcTransport,
};

/// A guard against waiting for ever: nothing here takes a fraction of it.
async fn soon<T>(what: &str, future: impl Future<Output = T>) -> T {
    match tokio::time::timeout(Duration::from_secs(60), future).await {
        Ok(value) => value,
        Err(_) => panic!("{what}: no end within a minute"),
    }
}

fn server() -> (SignalingServer, String) {
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    let server = SignalingServer::bind([address], SignalingServerOptions::new()).expect("it works");
    let url = format!("ws://{}/", server.local_addr().expect("it works"));
    (server, url)
}

async fn join(config: Config) -> (WebRtcTransport, Events) {
    let transport = WebRtcTransport::new(config).expect("it works");
    let events = transport.events();
    soon("start", transport.start()).await.expect("it works");
    (transport, events)
}

/// Waits until every one of `count` things has been seen.
async fn collect<T: Ord>(
    events: &mut Events,
    count: usize,
    pick: impl Fn(TransportEvent) -> Option<T>,
) -> BTreeSet<T> {
    let mut seen = BTreeSet::new();
    while seen.len() < count {
        let event = soon("an event", events.next()).await.expect("the mesh goes on");
        seen.extend(pick(event));
    }
    seen
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_to_ten_peers_hear_and_tell_each_other() {
    for count in [2, 5, 10] {
        let (server, url) = server();
        let mut peers = Vec::new();
        for n in 0..count {
            peers.push(join(Config::new(&url).peer_id(format!("p{n}"))).await);
        }
        for (_, events) in &mut peers {
            collect(events, count - 1, |event| match event {
                TransportEvent::Event(Event::DataChannelOpen { peer, label: "data" }) => Some(peer),
                _ => None,
            })
            .await;
        }
        for (transport, _) in &peers {
            // Not only we, but also each of the others has to be connected: audio is lost before that.
            let packet = EncodedAudio {
                opus: vec![31 << 3, 1, 2, 3].into(),
                duration: Duration::from_millis(20),
            };
            for _ in 0..5 {
                let data = RuntimeData::EncodedAudio(packet.clone());
                let stats = transport.broadcast(&data).unwrap();
                assert_eq!((stats.total_peers, stats.failed_count), (count - 1, 0));
            }
            let text = RuntimeData::Text(format!("from {}", transport.peer_id()).into());
            assert_eq!(transport.broadcast(&text).unwrap().sent_count, count - 1);
        }
        for (_, events) in &mut peers {
            let seen = collect(events, 2 * (count - 1), |event| match event {
                TransportEvent::Media(Media::Audio { peer, .. }) => {
                    Some((peer, "audio".to_owned()))
                }
                TransportEvent::Event(Event::Data {
                    peer,
                    message: DataMessage::Text(text),
                    ..
                }) => Some((peer, text.to_string())),
                _ => None,
            })
            .await;
            let texts = seen.iter().filter(|(peer, text)| *text == format!("from {peer}")).count();
            assert_eq!(texts, count - 1);
        }
        for (transport, _) in &peers {
            soon("shutdown", transport.shutdown()).await;
        }
        soon("the server's shutdown", server.shutdown()).await;
    }
}

#[tokio::test]
async fn connecting_on_command_over_tls() {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let pem = made.cert.pem();
    let identity = TlsIdentity::from_pem(&pem, &made.signing_key.serialize_pem()).unwrap();
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    let options = SignalingServerOptions::new().tls(identity);
    let server = SignalingServer::bind([address], options).unwrap();
    let url = format!("wss://localhost:{}/room", server.local_addr().unwrap().port());
    let config = |id: &str| Config::new(&url).peer_id(id).connect(ConnectMode::Manual);

    let trust = || TlsOptions::new().trust_pem(&pem).unwrap();
    let a = WebRtcTransport::new(config("a")).unwrap().tls(trust());
    let b = WebRtcTransport::new(config("b")).unwrap().tls(trust());
    let mut events = a.events();
    soon("start", a.start()).await.unwrap();
    soon("start", b.start()).await.unwrap();
    collect(&mut events, 1, |event| match event {
        TransportEvent::Event(Event::PeerDiscovered { peer, .. }) => Some(peer),
        _ => None,
    })
    .await;
    soon("connect", a.connect_peer("b")).await.unwrap();
    soon("connect again", a.connect_peer("b")).await.unwrap();
    assert_eq!(a.list_peers().unwrap().len(), 1);
    soon("disconnect", a.disconnect_peer("b")).await.unwrap();
    assert!(a.list_peers().unwrap().is_empty());
    soon("shutdown", a.shutdown()).await;
    soon("shutdown", b.shutdown()).await;
}
