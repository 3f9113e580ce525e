//! What is remembered of every peer, also of those that have left.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use rtcmesh_core::id::PeerId;
use rtcmesh_core::media::AudioBuffer;
use rtcmesh_core::transport::{PeerCounters, PeerState, Quality};
use serde_json::{Value, json};

use super::Connect;
use crate::audio::{Ear, RecordingError};
use crate::figures::{milliseconds, rounded};
use crate::reception::{Age, Reception};

/// All peers that were named or seen.
#[derive(Debug, Default)]
pub(super) struct Book(BTreeMap<PeerId, Entry>);

/// One peer.
#[derive(Debug)]
struct Entry {
    state: PeerState,
    connected_after: Option<Duration>,
    /// Audio packets of connections that are over, and of the present one.
    packets: (u64, u64),
    /// Whether audio was negotiated that the peer sends.
    audio_expected: bool,
    ear: Option<Box<Ear>>,
    data_in: u64,
    data_out: u64,
    reception: Reception,
    path: (Option<SocketAddr>, Option<SocketAddr>),
}

impl Default for Entry {
    fn default() -> Self {
        Self {
            state: PeerState::New,
            connected_after: None,
            packets: (0, 0),
            audio_expected: true,
            ear: None,
            data_in: 0,
            data_out: 0,
            reception: Reception::default(),
            path: (None, None),
        }
    }
}

impl Entry {
    /// Packets are counted by the transport. Of a connection that ended before the first look at its
    /// figures we know that there were some, if any was heard.
    fn audio_packets(&self) -> u64 {
        let heard = self.ear.as_ref().is_some_and(|ear| ear.frames() > 0);
        (self.packets.0 + self.packets.1).max(heard.into())
    }

    fn was_connected(&self) -> bool {
        self.connected_after.is_some()
    }

    fn was_heard(&self) -> bool {
        !self.audio_expected || self.audio_packets() > 0
    }
}

impl Book {
    /// The ids that were named are in it from the beginning.
    pub(super) fn new(named: &BTreeSet<PeerId>) -> Self {
        Self(named.iter().map(|id| (id.clone(), Entry::default())).collect())
    }

    fn entry(&mut self, peer: &PeerId) -> &mut Entry {
        self.0.entry(peer.clone()).or_default()
    }

    /// The state of a peer, as an event tells it.
    pub(super) fn state(&mut self, peer: &PeerId, state: PeerState) {
        self.entry(peer).state = state;
    }

    /// A connection was made. The first one's time is kept.
    pub(super) fn connected(&mut self, peer: &PeerId, after: Duration) {
        let entry = self.entry(peer);
        entry.state = PeerState::Connected;
        entry.connected_after.get_or_insert(after);
        entry.packets = (entry.packets.0 + entry.packets.1, 0);
    }

    /// The figures of a live connection. They stay when it ends.
    pub(super) fn figures(
        &mut self,
        peer: &PeerId,
        quality: Quality,
        counters: PeerCounters,
        audio_expected: bool,
    ) {
        let entry = self.entry(peer);
        entry.reception = Reception { quality, counters, ..entry.reception };
        entry.packets.1 = entry.packets.1.max(counters.audio_packets_in);
        entry.audio_expected = audio_expected;
        entry.path.0 = counters.local_candidate.or(entry.path.0);
        entry.path.1 = counters.remote_candidate.or(entry.path.1);
    }

    /// Audio arrived, or was made up for some that did not; with `record` it is written to that folder.
    ///
    /// # Errors
    /// The first failure to write, once per peer.
    pub(super) fn audio(
        &mut self,
        peer: &PeerId,
        audio: &AudioBuffer,
        concealed: bool,
        record: Option<&Path>,
    ) -> Result<(), RecordingError> {
        let ear = self.entry(peer).ear.get_or_insert_with(|| Box::new(Ear::new()));
        ear.hear(audio, concealed);
        record.map_or(Ok(()), |folder| ear.record(folder, peer, audio))
    }

    /// The age of a frame of audio that was played; `None`: it is not known.
    pub(super) fn audio_age(&mut self, peer: &PeerId, age: Option<Age>) {
        self.entry(peer).reception.audio_age = age;
    }

    /// The same of video.
    pub(super) fn video_age(&mut self, peer: &PeerId, age: Option<Age>) {
        self.entry(peer).reception.video_age = age;
    }

    /// How a peer's media arrive.
    pub(super) fn reception(&self, peer: &PeerId) -> Reception {
        self.0.get(peer).map_or_else(Reception::default, |entry| entry.reception)
    }

    /// The object that tells it, with the figures of the path.
    pub(super) fn quality(&self, peer: &PeerId) -> Value {
        let reception = self.reception(peer);
        let quality = reception.quality;
        json!({
            "event": "quality",
            "peer": peer,
            "rtt_ms": quality.latency_ms.map(|ms| rounded(ms, 3)),
            "loss": rounded(quality.packet_loss_rate, 4),
            "jitter_ms": rounded(quality.jitter_ms, 3),
            "bitrate_in_kbps": rounded(quality.bitrate_in_kbps, 1),
            "bitrate_out_kbps": rounded(quality.bitrate_out_kbps, 1),
            "sync": reception.json(),
        })
    }

    /// Those that are connected.
    pub(super) fn connected_now(&self) -> impl Iterator<Item = &PeerId> {
        let connected = |(_, entry): &(&PeerId, &Entry)| entry.state == PeerState::Connected;
        self.0.iter().filter(connected).map(|(peer, _)| peer)
    }

    /// A data message arrived.
    pub(super) fn data_in(&mut self, peer: &PeerId) {
        self.entry(peer).data_in += 1;
    }

    /// A data message was sent.
    pub(super) fn data_out(&mut self, peer: &PeerId) {
        self.entry(peer).data_out += 1;
    }

    /// Whether any connection was ever made.
    pub(super) fn any_connected(&self) -> bool {
        self.0.values().any(Entry::was_connected)
    }

    /// The peer was announced.
    pub(super) fn seen(&mut self, peer: &PeerId) {
        self.entry(peer);
    }

    /// Whether anybody is connected and can be sent to.
    pub(super) fn any_connected_now(&self) -> bool {
        let connected = [PeerState::Connected, PeerState::Reconnecting];
        self.0.values().any(|entry| connected.contains(&entry.state))
    }

    /// Whether any connection stands or is being made.
    pub(super) fn any_standing(&self) -> bool {
        let standing = [PeerState::Connecting, PeerState::Connected, PeerState::Reconnecting];
        self.0.values().any(|entry| standing.contains(&entry.state))
    }

    /// What of the wish was not fulfilled, in words; nothing where all is well.
    pub(super) fn unfulfilled(&self, wish: &Connect) -> Vec<String> {
        let silent = |peer: &PeerId| format!("{peer} was connected, but no audio of it arrived");
        match wish {
            Connect::Ids(ids) => {
                let complaint = |id: &PeerId| match self.0.get(id) {
                    Some(entry) if !entry.was_connected() => {
                        Some(format!("{id} was never connected"))
                    }
                    Some(entry) if !entry.was_heard() => Some(silent(id)),
                    Some(_) => None,
                    None => Some(format!("{id} was never seen")),
                };
                ids.iter().filter_map(complaint).collect()
            }
            Connect::All | Connect::None => {
                let connected = || self.0.iter().filter(|(_, entry)| entry.was_connected());
                if connected().any(|(_, entry)| entry.was_heard()) {
                    return Vec::new();
                }
                let silent: Vec<_> = connected().map(|(peer, _)| silent(peer)).collect();
                if silent.is_empty() { vec!["no peer was ever connected".into()] } else { silent }
            }
        }
    }

    /// The object that ends the output.
    pub(super) fn summary(&self, id: &PeerId) -> Value {
        let peers: Vec<Value> = self.0.iter().map(|(peer, entry)| entry.summary(peer)).collect();
        json!({ "event": "summary", "id": id, "peers": peers })
    }

    /// The same for people: one line per peer.
    pub(super) fn lines(&self) -> Vec<String> {
        self.0.iter().map(|(peer, entry)| entry.line(peer)).collect()
    }
}

impl Entry {
    fn tone(&self) -> Option<f64> {
        self.ear.as_ref().and_then(|ear| ear.latest_tone())
    }

    fn summary(&self, peer: &PeerId) -> Value {
        let address = |address: Option<SocketAddr>| address.map(|address| address.to_string());
        let quality = self.reception.quality;
        json!({
            "peer": peer,
            "state": self.state.name(),
            "connected_ms": self.connected_after.map(milliseconds),
            "audio_packets_in": self.audio_packets(),
            "tone_hz": self.tone().map(|hz| rounded(hz, 1)),
            "data_in": self.data_in,
            "data_out": self.data_out,
            "rtt_ms": quality.latency_ms.map(|ms| rounded(ms, 3)),
            "loss": rounded(quality.packet_loss_rate, 4),
            "jitter_ms": rounded(quality.jitter_ms, 3),
            "local_candidate": address(self.path.0),
            "remote_candidate": address(self.path.1),
            "sync": self.reception.json(),
        })
    }

    fn line(&self, peer: &PeerId) -> String {
        let Some(after) = self.connected_after else {
            return format!("{peer}: {}, never connected", self.state.name());
        };
        let tone = self.tone().map_or_else(String::new, |hz| format!(", tone {hz:.1} Hz"));
        let quality = self.reception.quality;
        let rtt =
            quality.latency_ms.map_or_else(String::new, |ms| format!(", round trip {ms:.1} ms"));
        format!(
            "{peer}: {}, connected after {:.0} ms, {} audio packets{tone}, {} messages in, {} out{rtt}, \
             loss {:.1} %, jitter {:.1} ms; {}",
            self.state.name(),
            milliseconds(after),
            self.audio_packets(),
            self.data_in,
            self.data_out,
            quality.packet_loss_rate * 100.0,
            quality.jitter_ms,
            self.reception.words(),
        )
    }
}

#[cfg(test)]
#[path = "book_tests.rs"]
mod tests;
