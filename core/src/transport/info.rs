//! Snapshots: of a peer, of its quality, of the whole transport.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::{Map, Value};

use crate::id::PeerId;
use crate::signaling::Capabilities;
use crate::sync::SyncState;
use crate::trace::state::saved;

/// Where the connection to a peer stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum PeerState {
    /// Announced; no connection has been tried.
    New,
    /// A connection is being made.
    Connecting,
    /// Connected.
    Connected,
    /// The path is lost and being sought anew.
    Reconnecting,
    /// The last connection broke or could not be made.
    Failed,
    /// The last connection was ended by somebody's wish.
    Closed,
}

saved!(
    enum PeerState {
        New,
        Connecting,
        Connected,
        Reconnecting,
        Failed,
        Closed,
    }
);

impl PeerState {
    /// Its name in lower case.
    pub const fn name(self) -> &'static str {
        match self {
            Self::New => "new",
            Self::Connecting => "connecting",
            Self::Connected => "connected",
            Self::Reconnecting => "reconnecting",
            Self::Failed => "failed",
            Self::Closed => "closed",
        }
    }
}

/// A snapshot of one peer.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct PeerInfo {
    /// Its id.
    pub peer: PeerId,
    /// Where the connection stands.
    pub state: PeerState,
    /// Whether signaling knows it now; a connection can outlive that.
    pub announced: bool,
    /// What it says that it can do.
    pub capabilities: Capabilities,
    /// What it says about itself, without the library's own member.
    pub user_data: Arc<Map<String, Value>>,
    /// When this connection was made, as a time since the Unix epoch.
    pub connected_at: Option<Duration>,
    /// How long it took from the first offer on.
    pub connected_after: Option<Duration>,
    /// The fingerprint of its certificate (RFC 8122): stated in its description and proved by DTLS.
    pub fingerprint: Option<Arc<str>>,
    /// Whether audio was negotiated that the peer may send to us.
    pub receives_audio: bool,
    /// Its figures.
    pub quality: Quality,
    /// What has passed since this connection was made.
    pub counters: PeerCounters,
}

/// How good a connection is.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
#[non_exhaustive]
pub struct Quality {
    /// The round trip in milliseconds, of the latest connectivity check.
    pub latency_ms: Option<f64>,
    /// The share of the audio packets towards us that did not arrive, 0 to 1, in the last interval.
    pub packet_loss_rate: f64,
    /// The share of our packets that the peer reported as lost, 0 to 1.
    pub remote_loss_rate: Option<f64>,
    /// The interarrival jitter of received audio in milliseconds (RFC 3550, section 6.4.1).
    pub jitter_ms: f64,
    /// What arrives from the peer in kbit/s, UDP payload, in the last interval.
    pub bitrate_in_kbps: f64,
    /// What is sent to the peer in kbit/s, UDP payload, in the last interval.
    pub bitrate_out_kbps: f64,
    /// The loudness of the latest received audio in dBov, −127 to 0 (RFC 6464), where it was told.
    pub audio_level_dbov: Option<i8>,
    /// Its clocks, and how its media are played.
    pub sync: SyncInfo,
}

saved!(struct Quality {
    latency_ms, packet_loss_rate, remote_loss_rate, jitter_ms, bitrate_in_kbps,
    bitrate_out_kbps, audio_level_dbov, sync,
});

/// What is known about a peer's clocks, and how its media are played.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
#[non_exhaustive]
pub struct SyncInfo {
    /// Whether the peer's wall clock is known.
    pub state: SyncState,
    /// How long audio is held, above the fastest transit of late, in milliseconds.
    pub audio_delay_ms: f64,
    /// How long the packets of audio waited of late, in milliseconds.
    pub audio_wait_ms: f64,
    /// The share of audio packets that were not there in time, 0 to 1, over about the last 64.
    pub audio_loss_rate: f64,
    /// By how many parts per million the peer's audio clock is faster than ours; `None` while that is not
    /// known (5 s of packets at least).
    pub clock_drift_ppm: Option<f64>,
    /// The standard error of that, in ppm.
    pub clock_drift_error_ppm: Option<f64>,
    /// The factor by which its audio is resampled: 1 where the drift is not corrected.
    pub correction_factor: f64,
    /// How long video is held, above the fastest transit of late, in milliseconds; `None` without video.
    pub video_delay_ms: Option<f64>,
    /// Frames of video a second, by their timestamps.
    pub video_framerate: Option<f64>,
    /// By how much video is ahead of audio (negative: behind), in milliseconds; `None` while that is not
    /// known, since a medium is missing or had no sender report.
    pub audio_sync_offset_ms: Option<f64>,
}

saved!(struct SyncInfo {
    state, audio_delay_ms, audio_wait_ms, audio_loss_rate, clock_drift_ppm,
    clock_drift_error_ppm, correction_factor, video_delay_ms, video_framerate,
    audio_sync_offset_ms,
});

/// What has passed on one connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct PeerCounters {
    /// The addresses in use.
    pub local_candidate: Option<SocketAddr>,
    /// The other side's address.
    pub remote_candidate: Option<SocketAddr>,
    /// UDP payload received, in bytes.
    pub bytes_in: u64,
    /// UDP payload sent, in bytes.
    pub bytes_out: u64,
    /// Audio packets received.
    pub audio_packets_in: u64,
    /// Audio packets sent.
    pub audio_packets_out: u64,
    /// Audio packets that did not arrive.
    pub audio_packets_lost: u64,
    /// Samples of audio, of one channel at 48 kHz, that were made up for what was not there in time
    /// (`concealedSamples` of W3C's webrtc-stats). 0 for audio that is not decoded, as the next four.
    pub audio_samples_concealed: u64,
    /// How often making up began (`concealmentEvents`).
    pub audio_concealments: u64,
    /// Samples that came from the copy of a lost packet in the next one (in-band error correction).
    pub audio_samples_recovered: u64,
    /// Samples that were inserted to hold audio back for longer (`insertedSamplesForDeceleration`).
    pub audio_samples_inserted: u64,
    /// Samples that were left out to hold it back for less (`removedSamplesForAcceleration`).
    pub audio_samples_removed: u64,
    /// Audio packets that came too late to be played.
    pub audio_packets_late: u64,
    /// Audio packets that were dropped though they arrived: late, twice, too many, or of another stream.
    pub audio_packets_discarded: u64,
    /// Video frames received.
    pub video_frames_in: u64,
    /// Video frames that were dropped though they arrived: late, twice, too many, or of another stream.
    pub video_frames_dropped: u64,
    /// Video frames sent.
    pub video_frames_out: u64,
    /// Data messages received.
    pub messages_in: u64,
    /// Data messages sent.
    pub messages_out: u64,
    /// Large data messages that were given up unfinished.
    pub messages_lost: u64,
    /// Datagrams, descriptions, candidates and messages that made no sense.
    pub malformed: u64,
    /// Answers and candidates of negotiations that are over.
    pub stale: u64,
    /// Offers that met an offer of ours.
    pub glare: u64,
}

/// The whole transport's figures.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct Metrics {
    /// Peers that signaling knows.
    pub announced: usize,
    /// Connections being made.
    pub connecting: usize,
    /// Connections that stand.
    pub connected: usize,
    /// Connections made since the start.
    pub connections: u64,
    /// Connections that failed since the start.
    pub failures: u64,
    /// Offers that were not answered: from peers that the lists do not admit, or beyond `max_peers`.
    pub refused: u64,
    /// Datagrams received.
    pub datagrams_in: u64,
    /// Datagrams sent.
    pub datagrams_out: u64,
    /// Datagrams that belong to no connection.
    pub datagrams_unknown: u64,
    /// Datagrams given out faster than they were fetched: dropped.
    pub datagrams_dropped: u64,
    /// Audio frames encoded: one per frame, whatever the number of its receivers.
    pub audio_encodes: u64,
    /// Frames of media that were not fetched in time.
    pub media_dropped: u64,
    /// Data messages that were not fetched in time.
    pub data_dropped: u64,
    /// Frames of media that wait to be fetched, now: at most 1,000.
    pub media_waiting: usize,
    /// Events that wait to be fetched, now, data messages included. From 4,096 others on, those that later ones have superseded
    /// are left out.
    pub events_waiting: usize,
    /// Of these, data messages: at most 16,384.
    pub data_waiting: usize,
    /// Signaling messages that made no sense.
    pub signaling_malformed: u64,
    /// Times that signaling came back.
    pub signaling_reconnects: u64,
}

/// What a broadcast reached. The call is `Ok` even where some peers got nothing.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct BroadcastStats {
    /// The connected peers.
    pub total_peers: usize,
    /// Those that it was sent to.
    pub sent_count: usize,
    /// Those that it could not be sent to.
    pub failed_count: usize,
    /// They, with the reason.
    pub failed_peers: Vec<(PeerId, crate::error::SendError)>,
    /// How long the call took, where the caller measured it (the core reads no clock).
    pub duration: Duration,
}

/// The time between two instants in seconds, never zero.
pub(crate) fn seconds_between(from: Instant, to: Instant) -> f64 {
    to.saturating_duration_since(from).as_secs_f64().max(1e-3)
}
