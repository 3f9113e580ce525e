//! What a transport tells its application: events, media, and what became of its commands.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::{Map, Value};

use crate::error::{ConnectError, PeerFault, StartError};
use crate::id::PeerId;
use crate::media::{AudioBuffer, DataMessage, EncodedAudio, EncodedVideo, Reliability};
use crate::signaling::Capabilities;
use crate::sync::{Packet, SyncState};
use crate::trace::state::saved;
use crate::transport::info::Quality;

/// Something that happened. Each peer's events come in their order: `Connecting`, then `Connected` or
/// `Failed`; after `Connected` exactly one end, `Closed` or `Failed`. Where thousands of them wait, what later
/// ones have superseded is left out, and this stays true of what is left.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum Event {
    /// The announce was accepted: everybody in the room can be called.
    SignalingUp {
        /// It was announced before: signaling is back.
        resumed: bool,
    },
    /// The connection to the signaling server was lost, or could not be made. Media goes on.
    SignalingDown {
        /// Why.
        reason: String,
        /// When it is tried again; `None`: never, since the server refused us.
        retry_in: Option<Duration>,
    },
    /// A peer is announced: it can be called.
    PeerDiscovered {
        /// Its id.
        peer: PeerId,
        /// What it says that it can do.
        capabilities: Capabilities,
        /// What it says about itself, without the library's own member. Anybody can claim anything.
        user_data: Arc<Map<String, Value>>,
    },
    /// A peer has left signaling. An established connection to it goes on by itself.
    PeerGone {
        /// Its id.
        peer: PeerId,
        /// The server's word: `user_requested`, `network_error`, …
        reason: String,
    },
    /// A connection is being made.
    Connecting {
        /// To whom.
        peer: PeerId,
    },
    /// A path was found and encrypted: media flows.
    Connected {
        /// To whom.
        peer: PeerId,
        /// The time since `Connecting`.
        after: Duration,
    },
    /// The path is lost and being sought anew.
    Reconnecting {
        /// To whom.
        peer: PeerId,
    },
    /// The path is back: the same connection goes on.
    Reconnected {
        /// To whom.
        peer: PeerId,
    },
    /// The connection could not be made, or broke for good.
    Failed {
        /// To whom.
        peer: PeerId,
        /// Why, and by whose fault.
        fault: PeerFault,
    },
    /// The connection was ended by somebody's wish.
    Closed {
        /// To whom.
        peer: PeerId,
        /// Whose.
        by: ClosedBy,
    },
    /// A data channel can be used.
    DataChannelOpen {
        /// To whom.
        peer: PeerId,
        /// Its label: `data`, `data-unreliable` or `rtcmesh/1`.
        label: &'static str,
    },
    /// A data message arrived.
    Data {
        /// From whom.
        peer: PeerId,
        /// The message.
        message: DataMessage,
        /// The kind of channel that it came over.
        reliability: Reliability,
    },
    /// After a send buffer was full or high, little waits in it: go on sending.
    BufferedAmountLow {
        /// To whom.
        peer: PeerId,
    },
    /// A peer needs a keyframe of the video that we send.
    KeyframeRequested {
        /// Who.
        peer: PeerId,
    },
    /// A peer's figures were refreshed (every RTCP interval).
    QualityChanged {
        /// Whose.
        peer: PeerId,
        /// The figures.
        quality: Quality,
    },
    /// What is known about a peer's wall clock has changed.
    SyncStateChanged {
        /// Whose.
        peer: PeerId,
        /// The state.
        state: SyncState,
    },
    /// Events were not fetched in time and are gone: media first, then data messages, never state changes.
    Lagged {
        /// How many frames of media, since the last such event.
        media: u64,
        /// How many data messages.
        data: u64,
    },
}

saved!(enum Event {
    SignalingUp { resumed }, SignalingDown { reason, retry_in },
    PeerDiscovered { peer, capabilities, user_data }, PeerGone { peer, reason },
    Connecting { peer }, Connected { peer, after }, Reconnecting { peer }, Reconnected { peer },
    Failed { peer, fault }, Closed { peer, by }, DataChannelOpen { peer, label },
    Data { peer, message, reliability }, BufferedAmountLow { peer }, KeyframeRequested { peer },
    QualityChanged { peer, quality }, SyncStateChanged { peer, state }, Lagged { media, data },
});

impl Event {
    /// The peer that it is about, where it is about one.
    pub fn peer(&self) -> Option<&PeerId> {
        match self {
            Self::PeerDiscovered { peer, .. }
            | Self::PeerGone { peer, .. }
            | Self::Connecting { peer }
            | Self::Connected { peer, .. }
            | Self::Reconnecting { peer }
            | Self::Reconnected { peer }
            | Self::Failed { peer, .. }
            | Self::Closed { peer, .. }
            | Self::DataChannelOpen { peer, .. }
            | Self::Data { peer, .. }
            | Self::BufferedAmountLow { peer }
            | Self::KeyframeRequested { peer }
            | Self::QualityChanged { peer, .. }
            | Self::SyncStateChanged { peer, .. } => Some(peer),
            Self::SignalingUp { .. } | Self::SignalingDown { .. } | Self::Lagged { .. } => None,
        }
    }
}

/// Whose wish ended a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ClosedBy {
    /// Ours: `disconnect_peer` or `shutdown`.
    Us,
    /// The other side's.
    Peer,
    /// The other side began a new connection in place of this one (a reloaded page, a restarted program).
    Replaced,
}

saved!(
    enum ClosedBy {
        Us,
        Peer,
        Replaced,
    }
);

impl fmt::Display for ClosedBy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Us => "closed by us",
            Self::Peer => "closed by the peer",
            Self::Replaced => "replaced by a new connection of the peer",
        })
    }
}

/// Media that arrived, in order, at its time of playout.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum Media {
    /// Audio.
    Audio {
        /// From whom.
        peer: PeerId,
        /// The frame.
        frame: AudioFrame,
    },
    /// Video: an encoded frame, at its time with the audio.
    Video {
        /// From whom.
        peer: PeerId,
        /// The frame.
        frame: EncodedVideo,
        /// Whether nothing was lost since the frame before: otherwise a keyframe has been asked for.
        contiguous: bool,
        /// Its place in time.
        timing: VideoTiming,
    },
}

saved!(enum Media { Audio { peer, frame }, Video { peer, frame, contiguous, timing } });

/// When something was captured, by the sender's wall clock.
#[derive(Debug, Clone, Copy, PartialEq)]
#[non_exhaustive]
pub struct CaptureTime {
    /// In microseconds since 1970.
    pub unix_us: u64,
    /// How sure that is: 1 by recent sender reports, 0.75 where they are old or disagree, 0.5 before the
    /// first one, by the local clock (the time of the fastest arrival).
    pub confidence: f64,
}

saved!(struct CaptureTime { unix_us, confidence });

/// The place in time of a frame of video.
#[derive(Debug, Clone, Copy, PartialEq)]
#[non_exhaustive]
pub struct VideoTiming {
    /// The RTP timestamp, at 90 kHz.
    pub rtp: u32,
    /// When it is to be shown.
    pub at: Instant,
    /// How long it waited, until it was fetched.
    pub delay: Duration,
    /// When it was captured; `None` while that is not known.
    pub capture: Option<CaptureTime>,
    /// Frames a second, by the timestamps of the last 30.
    pub framerate: Option<f64>,
    /// By how much it is ahead of the audio that is heard then (negative: behind), in milliseconds;
    /// `None` while that is not known.
    pub audio_sync_offset_ms: Option<f64>,
}

saved!(struct VideoTiming { rtp, at, delay, capture, framerate, audio_sync_offset_ms });

impl VideoTiming {
    /// That of a frame shown at `at`, of which nothing else is known.
    pub const fn new(rtp: u32, at: Instant) -> Self {
        let delay = Duration::ZERO;
        Self { rtp, at, delay, capture: None, framerate: None, audio_sync_offset_ms: None }
    }
}

impl Media {
    /// The peer that it came from.
    pub const fn peer(&self) -> &PeerId {
        match self {
            Self::Audio { peer, .. } | Self::Video { peer, .. } => peer,
        }
    }
}

/// One frame of received audio.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct AudioFrame {
    /// The RTP timestamp of its first sample, at 48 kHz.
    pub rtp: u32,
    /// When it was due for playout.
    pub at: Instant,
    /// How long it was held: of a packet, how long that waited; of samples, how long after their
    /// fastest possible arrival they were played.
    pub delay: Duration,
    /// Whether any of it was made up for a packet that did not arrive in time.
    pub concealed: bool,
    /// Whether it belongs to a pause of the sender: background noise.
    pub pause: bool,
    /// When its first sample was captured; `None` while that is not known.
    pub capture: Option<CaptureTime>,
    /// By how many ppm the sender's clock is faster than ours; 0 while that is not known.
    pub clock_drift_ppm: f64,
    /// The audio.
    pub data: AudioData,
}

saved!(struct AudioFrame { rtp, at, delay, concealed, pause, capture, clock_drift_ppm, data });

impl AudioFrame {
    /// A frame that arrived as a packet.
    pub(crate) const fn new(rtp: u32, at: Instant, data: AudioData) -> Self {
        Self {
            rtp,
            at,
            delay: Duration::ZERO,
            concealed: false,
            pause: false,
            capture: None,
            clock_drift_ppm: 0.0,
            data,
        }
    }
}

/// Received audio as [`crate::config::ReceivedAudio`] asked for.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum AudioData {
    /// Samples at 48 kHz.
    Decoded(AudioBuffer),
    /// An Opus packet. Packets that did not arrive are not delivered: `rtp` shows the gap.
    Encoded(EncodedAudio),
    /// An Opus packet as it arrived, in no order, to be inserted into a
    /// [`JitterBuffer`](crate::sync::JitterBuffer).
    Packet(Packet<Arc<[u8]>>),
}

saved!(
    enum AudioData {
        Decoded(a),
        Encoded(a),
        Packet(a),
    }
);

/// What became of a command that could not be answered at once.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Outcome {
    /// Of `start`.
    Started(Result<(), StartError>),
    /// Of `connect_peer`: of all calls that waited for this peer.
    Connected {
        /// To whom.
        peer: PeerId,
        /// The result.
        result: Result<(), ConnectError>,
    },
    /// Of `shutdown`: everything that had to be told to others has been given out; what is left in
    /// `poll_transmit` and `poll_command` should still be sent.
    ShutDown,
}

saved!(enum Outcome { Started(a), Connected { peer, result }, ShutDown });
