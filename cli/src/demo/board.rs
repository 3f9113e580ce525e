//! What is known of every pair of peers, and the verdict over it.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use rtcmesh_core::id::PeerId;
use rtcmesh_core::media::AudioBuffer;
use rtcmesh_core::transport::{Event, PeerCounters, PeerState, Quality};
use serde_json::{Value, json};

use super::tones::is_tone;
use crate::audio::{Ear, SILENCE_DBFS};
use crate::figures::{milliseconds, rounded};
use crate::reception::{Age, Reception};

/// Without audio for so long nobody is heard.
const SILENT_AFTER: Duration = Duration::from_secs(1);
/// The level from which on somebody without a known tone is heard.
const AUDIBLE_DBFS: f64 = -60.0;

/// A native peer.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Voice {
    /// Its name.
    pub(super) id: PeerId,
    /// Its tone in Hz.
    pub(super) tone: f64,
}

/// What one native peer knows of all others.
#[derive(Debug)]
pub(super) struct Listener {
    voices: Vec<Voice>,
    links: BTreeMap<PeerId, Link>,
}

#[derive(Debug)]
struct Link {
    state: PeerState,
    connected_after: Option<Duration>,
    ear: Ear,
    heard_at: Option<Instant>,
    /// Whether the right voice was ever heard.
    recognised: bool,
    reception: Reception,
}

/// One direction between two peers, as it is shown.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Pair {
    pub(super) state: PeerState,
    pub(super) connected_after: Option<Duration>,
    /// Whether the right voice was ever heard: by its tone, or of a browser by its level.
    pub(super) recognised: bool,
    /// Whether it is heard at this moment.
    pub(super) audible: bool,
    pub(super) tone: Option<f64>,
    pub(super) level_dbfs: f64,
    pub(super) reception: Reception,
}

impl Listener {
    /// Knows the tones of all `voices`, and has heard nothing.
    pub(super) fn new(voices: Vec<Voice>) -> Self {
        Self { voices, links: BTreeMap::new() }
    }

    fn link(&mut self, peer: &PeerId) -> &mut Link {
        self.links.entry(peer.clone()).or_insert_with(|| Link {
            state: PeerState::New,
            connected_after: None,
            ear: Ear::new(),
            heard_at: None,
            recognised: false,
            reception: Reception::default(),
        })
    }

    /// Takes an event of this peer's transport.
    pub(super) fn happened(&mut self, event: &Event) {
        let Some(peer) = event.peer() else { return };
        let state = match event {
            Event::Connecting { .. } => PeerState::Connecting,
            Event::Connected { .. } | Event::Reconnected { .. } => PeerState::Connected,
            Event::Reconnecting { .. } => PeerState::Reconnecting,
            Event::Failed { .. } => PeerState::Failed,
            Event::Closed { .. } => PeerState::Closed,
            Event::PeerGone { .. } => return self.gone(peer),
            _ => return,
        };
        let link = self.link(peer);
        link.state = state;
        if let Event::Connected { after, .. } = event {
            link.connected_after.get_or_insert(*after);
        }
    }

    /// Browsers come and go: one that has left is no more shown. A native peer belongs to the picture.
    fn gone(&mut self, peer: &PeerId) {
        let native = self.voices.iter().any(|voice| voice.id == *peer);
        let over = |link: &Link| {
            matches!(link.state, PeerState::New | PeerState::Failed | PeerState::Closed)
        };
        if !native && self.links.get(peer).is_some_and(over) {
            self.links.remove(peer);
        }
    }

    /// Takes received audio.
    pub(super) fn hear(
        &mut self,
        peer: &PeerId,
        audio: &AudioBuffer,
        concealed: bool,
        now: Instant,
    ) {
        let expected = self.voices.iter().find(|voice| voice.id == *peer).map(|voice| voice.tone);
        let link = self.link(peer);
        link.ear.hear(audio, concealed);
        if !concealed {
            link.heard_at = Some(now);
        }
        link.recognised |= link.hears(expected);
    }

    /// Takes the figures of a live connection.
    pub(super) fn figures(&mut self, peer: &PeerId, quality: Quality, counters: PeerCounters) {
        let reception = &mut self.link(peer).reception;
        *reception = Reception { quality, counters, ..*reception };
    }

    /// Takes the age of a frame of audio that was played; `None`: it is not known.
    pub(super) fn audio_age(&mut self, peer: &PeerId, age: Option<Age>) {
        self.link(peer).reception.audio_age = age;
    }

    /// The same of video.
    pub(super) fn video_age(&mut self, peer: &PeerId, age: Option<Age>) {
        self.link(peer).reception.video_age = age;
    }

    /// How a peer's media arrive.
    pub(super) fn reception(&self, peer: &PeerId) -> Option<&Reception> {
        self.links.get(peer).map(|link| &link.reception)
    }

    /// Everybody that it knows, but itself.
    fn peers(&self) -> impl Iterator<Item = &PeerId> {
        self.links.keys()
    }

    fn pair(&self, peer: &PeerId, now: Instant) -> Option<Pair> {
        let expected = self.voices.iter().find(|voice| voice.id == *peer).map(|voice| voice.tone);
        let link = self.links.get(peer)?;
        let fresh = link.heard_at.is_some_and(|at| now.duration_since(at) < SILENT_AFTER);
        Some(Pair {
            state: link.state,
            connected_after: link.connected_after,
            recognised: link.recognised,
            audible: fresh && link.hears(expected),
            tone: if fresh { link.ear.tone() } else { None },
            level_dbfs: if fresh { link.ear.level_dbfs() } else { SILENCE_DBFS },
            reception: link.reception,
        })
    }
}

impl Link {
    fn hears(&self, expected: Option<f64>) -> bool {
        match expected {
            Some(tone) => is_tone(self.ear.tone(), tone),
            None => self.ear.level_dbfs() > AUDIBLE_DBFS,
        }
    }
}

/// The whole mesh at one moment.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Snapshot {
    /// The native peers.
    pub(super) voices: Vec<Voice>,
    /// Everybody else: browsers.
    pub(super) guests: Vec<PeerId>,
    /// By listener, then by speaker: the native ones, then the guests.
    pub(super) pairs: Vec<Vec<Option<Pair>>>,
}

impl Snapshot {
    /// Of all listeners, in the order of the voices.
    pub(super) fn of<'a>(
        voices: &[Voice],
        listeners: impl Iterator<Item = &'a Listener>,
        now: Instant,
    ) -> Self {
        let listeners: Vec<&Listener> = listeners.collect();
        let native: BTreeSet<&PeerId> = voices.iter().map(|voice| &voice.id).collect();
        let others = listeners.iter().flat_map(|listener| listener.peers());
        let guests: BTreeSet<PeerId> = others.filter(|id| !native.contains(id)).cloned().collect();
        let speakers = || voices.iter().map(|voice| &voice.id).chain(&guests);
        let pairs = listeners
            .iter()
            .map(|listener| speakers().map(|speaker| listener.pair(speaker, now)).collect())
            .collect();
        Self { voices: voices.to_vec(), pairs, guests: guests.into_iter().collect() }
    }

    /// The pairs of native peers: listener, speaker, and what is known of them.
    fn native_pairs(&self) -> impl Iterator<Item = (&Voice, &Voice, Option<&Pair>)> {
        self.voices.iter().zip(&self.pairs).flat_map(move |(listener, row)| {
            let speakers = self.voices.iter().zip(row);
            speakers
                .filter(move |(speaker, _)| speaker.id != listener.id)
                .map(move |(speaker, pair)| (listener, speaker, pair.as_ref()))
        })
    }

    fn count(&self, which: impl Fn(&Pair) -> bool) -> usize {
        self.native_pairs().filter(|(_, _, pair)| pair.is_some_and(&which)).count()
    }

    /// How many pairs of native peers there are, each direction for itself.
    pub(super) fn total(&self) -> usize {
        self.native_pairs().count()
    }

    /// How many of them are connected.
    pub(super) fn connected(&self) -> usize {
        self.count(|pair| pair.state == PeerState::Connected)
    }

    /// In how many of them the right tone is heard at this moment.
    pub(super) fn audible(&self) -> usize {
        self.count(|pair| pair.audible)
    }

    /// Whether every native peer has heard every other one.
    pub(super) fn all_recognised(&self) -> bool {
        self.count(|pair| pair.recognised) == self.total()
    }

    /// The pairs that were never heard, in words.
    pub(super) fn unheard(&self) -> Vec<String> {
        self.native_pairs()
            .filter(|(_, _, pair)| !pair.is_some_and(|pair| pair.recognised))
            .map(|(listener, speaker, pair)| {
                let state = pair.map_or("never seen", |pair| pair.state.name());
                format!("{} never heard {} ({state})", listener.id, speaker.id)
            })
            .collect()
    }

    /// The object that ends the output.
    pub(super) fn summary(&self, page: &str, seconds: Duration) -> Value {
        let mut times: Vec<f64> = self
            .native_pairs()
            .filter_map(|(_, _, pair)| pair?.connected_after.map(milliseconds))
            .collect();
        times.sort_by(f64::total_cmp);
        let peers = self.voices.iter().map(|voice| {
            let mine = || self.native_pairs().filter(|(listener, _, _)| listener.id == voice.id);
            json!({
                "peer": voice.id,
                "tone_hz": voice.tone,
                "connected": mine().filter(|(_, _, pair)| pair.is_some_and(|p| p.state == PeerState::Connected)).count(),
                "heard": mine().filter(|(_, _, pair)| pair.is_some_and(|p| p.recognised)).count(),
            })
        });
        let pairs = self.native_pairs().map(|(listener, speaker, pair)| {
            pair_summary(&listener.id, &speaker.id, Some(speaker.tone), pair)
        });
        let guests = self.voices.iter().zip(&self.pairs).flat_map(|(listener, row)| {
            let known = self.guests.iter().zip(row.iter().skip(self.voices.len()));
            known.map(|(guest, pair)| pair_summary(&listener.id, guest, None, pair.as_ref()))
        });
        json!({
            "event": "summary",
            "ok": self.all_recognised(),
            "page": page,
            "seconds": rounded(seconds.as_secs_f64(), 3),
            "connect_ms": { "median": times.get(times.len() / 2), "max": times.last() },
            "peers": peers.collect::<Vec<_>>(),
            "pairs": pairs.collect::<Vec<_>>(),
            "guests": guests.collect::<Vec<_>>(),
        })
    }
}

fn pair_summary(
    listener: &PeerId,
    speaker: &PeerId,
    expected: Option<f64>,
    pair: Option<&Pair>,
) -> Value {
    let quality = pair.map(|pair| pair.reception.quality);
    json!({
        "listener": listener,
        "speaker": speaker,
        "state": pair.map_or("new", |pair| pair.state.name()),
        "heard": pair.is_some_and(|pair| pair.recognised),
        "tone_hz": pair.and_then(|pair| pair.tone).map(|hz| rounded(hz, 1)),
        "expected_hz": expected,
        "level_dbfs": pair.map(|pair| rounded(pair.level_dbfs, 1)),
        "connected_ms": pair.and_then(|pair| pair.connected_after).map(milliseconds),
        "rtt_ms": quality.and_then(|quality| quality.latency_ms).map(|ms| rounded(ms, 3)),
        "loss": quality.map(|quality| rounded(quality.packet_loss_rate, 4)),
        "jitter_ms": quality.map(|quality| rounded(quality.jitter_ms, 3)),
        "bitrate_kbps": quality.map(|quality| rounded(quality.bitrate_in_kbps, 1)),
        "sync": pair.map(|pair| pair.reception.json()),
    })
}

#[cfg(test)]
#[path = "board_tests.rs"]
mod tests;
