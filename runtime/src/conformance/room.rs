//! A signaling server with peers, for the checks.

use std::net::{Ipv4Addr, SocketAddr};

use rtcmesh_core::config::{Config, ConnectMode};
use rtcmesh_core::error::SendError;
use rtcmesh_core::media::DataMessage;
use rtcmesh_core::transport::Event;

use crate::runtime::Runtime;
use crate::server::{SignalingServer, SignalingServerOptions};
use crate::transport::{Events, TransportEvent, WebRtcTransport};

/// A server on loopback, and the URL of a room of its own.
pub(super) struct Room<R: Runtime> {
    pub(super) runtime: R,
    pub(super) server: SignalingServer<R>,
    pub(super) url: String,
}

impl<R: Runtime> Room<R> {
    pub(super) fn open(runtime: &R) -> Self {
        Self::open_at(runtime, (Ipv4Addr::LOCALHOST, 0).into())
    }

    pub(super) fn open_at(runtime: &R, listen: SocketAddr) -> Self {
        let options = SignalingServerOptions::new();
        let server = SignalingServer::bind_in(runtime.clone(), [listen], options);
        let server = server.expect("a signaling server on loopback");
        let addr = server.local_addr().expect("the address that it was given");
        Self { runtime: runtime.clone(), server, url: format!("ws://{addr}/room") }
    }

    /// A peer that is not started.
    pub(super) fn peer(&self, id: &str, mode: ConnectMode) -> Peer<R> {
        Peer::new(&self.runtime, &self.url, id, mode)
    }

    /// A peer that is announced.
    pub(super) async fn join(&self, id: &str, mode: ConnectMode) -> Peer<R> {
        let peer = self.peer(id, mode);
        assert_eq!(peer.transport.start().await, Ok(()), "{id}: start");
        peer
    }

    /// Two peers that know each other and connect on command.
    pub(super) async fn acquainted(&self) -> [Peer<R>; 2] {
        let mut alice = self.join("alice", ConnectMode::Manual).await;
        let bob = self.join("bob", ConnectMode::Manual).await;
        alice.until(|event| matches!(event, Event::PeerDiscovered { .. }).then_some(())).await;
        [alice, bob]
    }

    /// Two peers that can talk to each other.
    pub(super) async fn pair(&self) -> [Peer<R>; 2] {
        let mut alice = self.join("alice", ConnectMode::Automatic).await;
        let mut bob = self.join("bob", ConnectMode::Automatic).await;
        alice.until_open().await;
        bob.until_open().await;
        [alice, bob]
    }
}

/// A transport with its events.
pub(super) struct Peer<R: Runtime> {
    pub(super) transport: WebRtcTransport<R>,
    pub(super) events: Events<R>,
}

impl<R: Runtime> Peer<R> {
    pub(super) fn new(runtime: &R, url: &str, id: &str, mode: ConnectMode) -> Self {
        Self::with(runtime, Config::new(url).peer_id(id).connect(mode))
    }

    /// One of this configuration.
    pub(super) fn with(runtime: &R, config: Config) -> Self {
        let transport = WebRtcTransport::with_runtime(runtime.clone(), config);
        let transport = transport.expect("a valid configuration");
        let events = transport.events();
        Self { transport, events }
    }

    /// Waits for what `wanted` takes from an event.
    pub(super) async fn until<T>(&mut self, mut wanted: impl FnMut(&Event) -> Option<T>) -> T {
        let id = self.transport.peer_id();
        loop {
            match self.events.next().await {
                Some(TransportEvent::Event(event)) => {
                    if let Some(found) = wanted(&event) {
                        return found;
                    }
                    tracing::trace!(%id, ?event, "not what is waited for");
                }
                Some(TransportEvent::Media(_)) => {}
                None => panic!("{id}: the events have ended"),
            }
        }
    }

    /// Waits until messages can be sent to somebody.
    pub(super) async fn until_open(&mut self) {
        self.until(|event| {
            matches!(event, Event::DataChannelOpen { label: "data", .. }).then_some(())
        })
        .await;
    }

    /// The next text from anybody.
    pub(super) async fn hear(&mut self) -> String {
        self.until(text).await
    }

    /// Sends a text, in time.
    pub(super) fn say(&self, to: &str, text: &str) -> Result<(), SendError> {
        self.transport.send_data_channel_message(to, &DataMessage::text(text))
    }

    /// Waits until the events have ended.
    pub(super) async fn until_end(&mut self) {
        while self.events.next().await.is_some() {}
    }
}

/// The text that an event brings.
pub(super) fn text(event: &Event) -> Option<String> {
    match event {
        Event::Data { message: DataMessage::Text(text), .. } => Some(text.to_string()),
        _ => None,
    }
}
