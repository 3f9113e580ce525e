//! What the engine gives out, and how it is written down.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use str0m::media::Mid;

use super::Outbound;
use super::rtc::{ChannelData, ChannelId};
use crate::error::PeerFault;
use crate::media::{DataMessage, VideoCodec};
use crate::trace::state::{Layout, Reader, Save, Unreadable, Writer, load_json, save_json};
use crate::trace::{Body, MAX_FRAME, MAX_PACKET, Sketch, Tape};

/// One output of the engine.
#[derive(Debug)]
pub(crate) enum Turn {
    /// There are no more; it wants to be called then.
    Rest(Instant),
    Transmit(Outbound),
    Connected,
    /// The state of ICE.
    Path {
        up: bool,
        lost: bool,
    },
    MediaAdded {
        mid: Mid,
        audio: bool,
    },
    ChannelOpen(ChannelId, String),
    ChannelData(ChannelData),
    ChannelClose(ChannelId),
    Audio {
        arrived: Instant,
        sequence: u64,
        rtp: u32,
        level: Option<i8>,
        opus: Arc<[u8]>,
    },
    Video {
        codec: VideoCodec,
        sequence: u64,
        /// Its time at 90 kHz.
        ticks: u64,
        keyframe: bool,
        contiguous: bool,
        data: Arc<[u8]>,
    },
    Report {
        mid: Mid,
        ntp: u64,
        rtp: u32,
        packets: u32,
        octets: u32,
        arrived: Instant,
    },
    KeyframeRequest,
    /// The path in use.
    Pair {
        rtt: Option<Duration>,
        path: (SocketAddr, SocketAddr),
    },
    RemoteLoss(Option<f32>),
    Closed,
    /// Something that nobody needs to know.
    Nothing,
}

/// An output as it is written down. Times are nanoseconds since the start of the recording.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) enum KeptTurn {
    Rest(i64),
    Transmit(SocketAddr, SocketAddr, Sketch),
    Connected,
    Path(bool, bool),
    MediaAdded(String, bool),
    ChannelOpen(u64, String),
    ChannelData(u64, bool, Body),
    ChannelClose(u64),
    Audio {
        at: i64,
        seq: u64,
        rtp: u32,
        level: Option<i8>,
        opus: Body,
    },
    Video {
        codec: VideoCodec,
        seq: u64,
        ticks: u64,
        key: bool,
        contiguous: bool,
        data: Body,
    },
    Report {
        mid: String,
        ntp: u64,
        rtp: u32,
        packets: u32,
        octets: u32,
        at: i64,
    },
    KeyframeRequest,
    Pair(Option<u64>, SocketAddr, SocketAddr),
    /// The bits of the share.
    RemoteLoss(Option<u32>),
    Closed,
    Nothing,
    Fault(PeerFault),
}

impl KeptTurn {
    /// `head` says how many bytes of a channel's messages are our own header.
    pub(super) fn of(
        turn: &Result<Turn, PeerFault>,
        tape: &Tape,
        head: impl FnOnce(ChannelId) -> usize,
    ) -> Self {
        let address = |at: SocketAddr| tape.labels(|labels| labels.address(at));
        let text = |text: &str| tape.labels(|labels| labels.text(text));
        let turn = match turn {
            Ok(turn) => turn,
            Err(fault) => return Self::Fault(fault.map_text(text)),
        };
        match turn {
            Turn::Rest(at) => Self::Rest(tape.nanos(*at)),
            Turn::Transmit(out) => {
                Self::Transmit(address(out.local), address(out.remote), Sketch::of(&out.payload))
            }
            Turn::Connected => Self::Connected,
            Turn::Path { up, lost } => Self::Path(*up, *lost),
            Turn::MediaAdded { mid, audio } => Self::MediaAdded(mid.to_string(), *audio),
            Turn::ChannelOpen(id, label) => {
                // A stranger's label may be anything.
                let ours = super::channels::LABELS.contains(&label.as_str());
                let label = if ours {
                    label.clone()
                } else {
                    tape.labels(|labels| labels.label('c', label.as_bytes()))
                };
                Self::ChannelOpen(id.0, label)
            }
            Turn::ChannelData(ChannelData { id, binary, data }) => {
                let label = tape.labels(|labels| labels.label('d', data));
                let label = label.trim_end_matches('-').to_owned();
                Self::ChannelData(id.0, *binary, Body { label, ..Body::of(data, head(*id)) })
            }
            Turn::ChannelClose(id) => Self::ChannelClose(id.0),
            Turn::Audio { arrived, sequence, rtp, level, opus } => Self::Audio {
                at: tape.nanos(*arrived),
                seq: *sequence,
                rtp: *rtp,
                level: *level,
                opus: opus_body(opus),
            },
            Turn::Video { codec, sequence, ticks, keyframe, contiguous, data } => Self::Video {
                codec: *codec,
                seq: *sequence,
                ticks: *ticks,
                key: *keyframe,
                contiguous: *contiguous,
                data: Body::of(data, 0),
            },
            Turn::Report { mid, ntp, rtp, packets, octets, arrived } => Self::Report {
                mid: mid.to_string(),
                ntp: *ntp,
                rtp: *rtp,
                packets: *packets,
                octets: *octets,
                at: tape.nanos(*arrived),
            },
            Turn::KeyframeRequest => Self::KeyframeRequest,
            Turn::Pair { rtt, path: (local, remote) } => {
                let rtt = rtt.map(|rtt| u64::try_from(rtt.as_nanos()).unwrap_or(u64::MAX));
                Self::Pair(rtt, address(*local), address(*remote))
            }
            Turn::RemoteLoss(loss) => Self::RemoteLoss(loss.map(f32::to_bits)),
            Turn::Closed => Self::Closed,
            Turn::Nothing => Self::Nothing,
        }
    }

    pub(super) fn revive(self, tape: &Tape) -> Result<Turn, PeerFault> {
        Ok(match self {
            Self::Rest(at) => Turn::Rest(tape.instant(at)),
            Self::Transmit(local, remote, sketch) => {
                Turn::Transmit(Outbound { local, remote, payload: sketch.stand_in() })
            }
            Self::Connected => Turn::Connected,
            Self::Path(up, lost) => Turn::Path { up, lost },
            Self::MediaAdded(mid, audio) => Turn::MediaAdded { mid: mid.as_str().into(), audio },
            Self::ChannelOpen(id, label) => Turn::ChannelOpen(ChannelId(id), label),
            Self::ChannelData(id, binary, body) => {
                Turn::ChannelData(ChannelData { id: ChannelId(id), binary, data: body.stand_in() })
            }
            Self::ChannelClose(id) => Turn::ChannelClose(ChannelId(id)),
            Self::Audio { at, seq, rtp, level, opus } => Turn::Audio {
                arrived: tape.instant(at),
                sequence: seq,
                rtp,
                level,
                opus: opus.stand_in_up_to(MAX_PACKET).into(),
            },
            Self::Video { codec, seq, ticks, key, contiguous, data } => Turn::Video {
                codec,
                sequence: seq,
                ticks,
                keyframe: key,
                contiguous,
                data: data.stand_in_up_to(MAX_FRAME).into(),
            },
            Self::Report { mid, ntp, rtp, packets, octets, at } => Turn::Report {
                mid: mid.as_str().into(),
                ntp,
                rtp,
                packets,
                octets,
                arrived: tape.instant(at),
            },
            Self::KeyframeRequest => Turn::KeyframeRequest,
            Self::Pair(rtt, local, remote) => {
                Turn::Pair { rtt: rtt.map(Duration::from_nanos), path: (local, remote) }
            }
            Self::RemoteLoss(loss) => Turn::RemoteLoss(loss.map(f32::from_bits)),
            Self::Closed => Turn::Closed,
            Self::Nothing => Turn::Nothing,
            Self::Fault(fault) => return Err(fault),
        })
    }
}

impl Save for KeptTurn {
    fn layout(layout: &mut Layout) {
        layout.name("output of the engine");
    }

    fn save(&self, to: &mut Writer) {
        save_json(self, to);
    }

    fn load(from: &mut Reader<'_>) -> Result<Self, Unreadable> {
        load_json(from)
    }
}

/// A packet of Opus without its audio: what its first byte says of its kind, and the second of how many frames
/// it has (RFC 6716, section 3.2.5), which is given only where the first says so.
pub(super) fn opus_body(opus: &[u8]) -> Body {
    let counted = opus.first().is_some_and(|first| first & 3 == 3);
    Body::of(opus, if counted { 2 } else { 1 })
}

/// A message that arrived, without its contents.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct KeptMessage {
    kind: u8,
    /// Bytes; of JSON the memory that it counts for.
    size: usize,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    contents: Option<String>,
}

impl KeptMessage {
    pub(super) fn of(message: &DataMessage, _tape: &Tape, contents: bool) -> Self {
        let (kind, text) = match message {
            DataMessage::Text(text) => (0, contents.then(|| text.to_string())),
            DataMessage::Binary(bytes) => (1, contents.then(|| crate::trace::hex(bytes))),
            DataMessage::Json(value) => (2, contents.then(|| value.to_string())),
        };
        Self { kind, size: message.size(), contents: text }
    }

    pub(super) fn revive(self) -> DataMessage {
        let body = |size: usize| Body { length: size, ..Body::default() }.stand_in();
        let text = |size: usize| String::from_utf8(body(size)).unwrap_or_default();
        match (self.kind, self.contents) {
            (0, Some(text)) => DataMessage::text(text),
            (0, None) => DataMessage::text(text(self.size)),
            (1, Some(hex)) => DataMessage::binary(crate::trace::unhex(&hex).unwrap_or_default()),
            (1, None) => DataMessage::binary(body(self.size)),
            (_, Some(json)) => DataMessage::Json(serde_json::from_str(&json).unwrap_or_default()),
            // A value counts for itself and its text.
            (_, None) => match self.size.saturating_sub(size_of::<serde_json::Value>()) {
                0 => DataMessage::Json(serde_json::Value::Null),
                inside => DataMessage::Json(text(inside).into()),
            },
        }
    }
}
