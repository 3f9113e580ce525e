//! The mesh: signaling, connections, media and data of all peers as one machine.

mod event;
mod info;

pub use event::{AudioData, AudioFrame, ClosedBy, Event, Media, Outcome};
pub use info::{BroadcastStats, Metrics, PeerCounters, PeerInfo, PeerState, Quality};

use std::time::{Duration, Instant};

use crate::config::{Config, ConfigPatch};
use crate::error::{
    BroadcastError, ConfigError, ConfigureError, ConnectError, DisconnectError, NotStarted,
    SendError, StartError,
};
use crate::id::PeerId;
use crate::media::{DataMessage, Reliability, RuntimeData};
use crate::net::{Datagram, IoCommand, IoEvent, Transmit};
use crate::rng::Seed;
use crate::time::Deadline;

/// The mesh.
#[derive(Debug)]
pub struct Transport {}

#[allow(unused_variables, missing_docs, clippy::missing_errors_doc, clippy::unimplemented)]
impl Transport {
    pub fn new(
        config: Config,
        seed: Seed,
        now: Instant,
        unix_now: Duration,
    ) -> Result<Self, ConfigError> {
        unimplemented!()
    }
    pub fn warm_up(now: Instant) {}
    pub fn peer_id(&self) -> &PeerId {
        unimplemented!()
    }
    pub fn config(&self) -> &Config {
        unimplemented!()
    }
    // Inputs.
    pub fn handle_datagram(&mut self, now: Instant, datagram: Datagram<'_>) {}
    pub fn handle_io(&mut self, now: Instant, event: IoEvent<'_>) {}
    pub fn handle_timeout(&mut self, now: Instant) {}
    // Commands.
    /// Ok: an `Outcome::Started` follows.
    pub fn start(&mut self, now: Instant) -> Result<(), StartError> {
        unimplemented!()
    }
    /// An `Outcome::ShutDown` follows, at once where it is shut down already.
    pub fn shutdown(&mut self, now: Instant) {}
    /// Ok(true): connected already. Ok(false): an `Outcome::Connected` of this peer follows.
    pub fn connect_peer(&mut self, now: Instant, peer: &str) -> Result<bool, ConnectError> {
        unimplemented!()
    }
    pub fn disconnect_peer(&mut self, now: Instant, peer: &str) -> Result<(), DisconnectError> {
        unimplemented!()
    }
    pub fn list_peers(&self) -> Result<Vec<PeerInfo>, NotStarted> {
        unimplemented!()
    }
    /// Everybody known, connected or not.
    pub fn known_peers(&self) -> Result<Vec<PeerInfo>, NotStarted> {
        unimplemented!()
    }
    pub fn send_to_peer(
        &mut self,
        now: Instant,
        peer: &str,
        data: &RuntimeData,
    ) -> Result<(), SendError> {
        unimplemented!()
    }
    pub fn broadcast(
        &mut self,
        now: Instant,
        data: &RuntimeData,
    ) -> Result<BroadcastStats, BroadcastError> {
        unimplemented!()
    }
    /// `reliability: None`: as configured.
    pub fn send_data_channel_message(
        &mut self,
        now: Instant,
        peer: &str,
        message: &DataMessage,
        reliability: Option<Reliability>,
    ) -> Result<(), SendError> {
        unimplemented!()
    }
    pub fn buffered_amount(&mut self, peer: &str) -> Result<usize, SendError> {
        unimplemented!()
    }
    pub fn request_keyframe(&mut self, now: Instant, peer: &str) -> Result<(), SendError> {
        unimplemented!()
    }
    pub fn configure(&mut self, now: Instant, patch: &ConfigPatch) -> Result<(), ConfigureError> {
        unimplemented!()
    }
    pub fn metrics(&self) -> Metrics {
        unimplemented!()
    }
    // Outputs.
    #[must_use]
    pub fn poll_transmit(&mut self) -> Option<Transmit> {
        unimplemented!()
    }
    #[must_use]
    pub fn poll_command(&mut self) -> Option<IoCommand> {
        unimplemented!()
    }
    #[must_use]
    pub fn poll_event(&mut self) -> Option<Event> {
        unimplemented!()
    }
    #[must_use]
    pub fn poll_media(&mut self) -> Option<Media> {
        unimplemented!()
    }
    /// Whether `poll_event` or `poll_media` would give something.
    pub fn has_events(&self) -> bool {
        unimplemented!()
    }
    #[must_use]
    pub fn poll_outcome(&mut self) -> Option<Outcome> {
        unimplemented!()
    }
    /// `None` only before `start` and after the end.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Deadline> {
        unimplemented!()
    }
}
