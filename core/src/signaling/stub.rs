#![allow(missing_docs, dead_code)]
use super::Capabilities;
use crate::id::*;
use crate::net::*;
use crate::rng::Rng;
use crate::time::Deadline;
use serde_json::*;
use std::time::*;
#[derive(Debug)]
pub struct ClientConfig {
    pub url: String,
    pub peer_id: PeerId,
    pub capabilities: Capabilities,
    pub user_data: Map<String, Value>,
    pub token: Option<String>,
}
impl ClientConfig {
    pub fn new(url: impl Into<String>, peer_id: PeerId, capabilities: Capabilities) -> Self {
        Self { url: url.into(), peer_id, capabilities, user_data: Map::new(), token: None }
    }
}
#[derive(Debug)]
pub struct Client;
#[derive(Debug, Default)]
pub struct ClientCounters {
    pub malformed: u64,
    pub reconnects: u64,
}
#[derive(Debug)]
pub enum DisconnectReason {
    UserRequested,
    NetworkError,
    Timeout,
    Error,
    Unknown,
}
#[derive(Debug)]
pub enum ToPeer {
    Offer { to: PeerId, request: RequestId, sdp: String },
    Answer { to: PeerId, request: RequestId, sdp: String },
    Candidate { to: PeerId, request: RequestId, candidate: String, mid: Option<String>, index: u16 },
    Disconnect { to: PeerId, reason: DisconnectReason, request: Option<RequestId> },
}
#[derive(Debug)]
pub enum ClientEvent {
    Up {
        resumed: bool,
    },
    Down {
        reason: String,
        retry_in: Option<Duration>,
    },
    Announced {
        peer: PeerId,
        capabilities: Capabilities,
        user_data: Map<String, Value>,
    },
    Offer {
        from: PeerId,
        request: RequestId,
        sdp: String,
    },
    Answer {
        from: PeerId,
        request: RequestId,
        sdp: String,
    },
    Candidate {
        from: PeerId,
        request: RequestId,
        candidate: String,
        mid: Option<String>,
        index: Option<u16>,
    },
    Disconnected {
        from: PeerId,
        reason: String,
        request: Option<RequestId>,
    },
    Refused {
        to: PeerId,
        request: RequestId,
        code: i64,
        message: String,
        reason: Option<String>,
    },
}
impl Client {
    pub fn new(_: ClientConfig, _: Rng, _: Instant) -> Self {
        Self
    }
    pub fn start(&mut self, _: Instant) {}
    pub fn stop(&mut self, _: Instant) {}
    pub fn handle_io(&mut self, _: Instant, _: &IoEvent<'_>) -> bool {
        true
    }
    pub fn handle_timeout(&mut self, _: Instant) {}
    pub fn send(&mut self, _: Instant, _: ToPeer) {}
    pub fn is_up(&self) -> bool {
        true
    }
    pub fn poll_command(&mut self) -> Option<IoCommand> {
        None
    }
    pub fn poll_event(&mut self) -> Option<ClientEvent> {
        None
    }
    pub fn poll_timeout(&self) -> Option<Deadline> {
        None
    }
    pub fn counters(&self) -> ClientCounters {
        ClientCounters::default()
    }
}
