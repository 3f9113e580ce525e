//! Calls from outside, as they are written down.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::config::ConfigPatch;
use crate::id::{LinkId, SocketId};
use crate::media::{
    AudioBuffer, DataMessage, EncodedAudio, EncodedVideo, Reliability, RuntimeData, VideoCodec,
};
use crate::net::{Datagram, IoEvent};
use crate::trace::{Body, Sketch, Tape, hex, unhex};

/// A call of a transport.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(in crate::transport) enum Call {
    Start,
    Shutdown,
    Connect(String),
    Disconnect(String),
    Configure(ConfigPatch),
    Send { peer: Option<String>, data: Data },
    Message { peer: String, data: Data, reliable: Option<bool> },
    Buffered(String),
    Keyframe(String),
    Video(String),
    Datagram { socket: u64, remote: SocketAddr, payload: Sketch },
    Io(Io),
    Timeout,
}

/// What an adapter reports.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(in crate::transport) enum Io {
    Interfaces(Vec<IpAddr>),
    UdpBound { socket: u64, local: SocketAddr },
    UdpFailed { socket: u64, error: String },
    LinkUp { link: u64 },
    LinkText { link: u64, text: String },
    LinkDown { link: u64, code: Option<u16>, reason: String },
}

/// What is sent, without its contents.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(in crate::transport) enum Data {
    Audio { samples: usize, rate: u32, channels: u16 },
    Opus { packet: Body, duration_ns: u64 },
    Video { codec: VideoCodec, frame: Body, timestamp_ns: u64, key: bool, captured: Option<i64> },
    Text(Content),
    Json(Content),
    Binary(Content),
}

/// A message: its bytes, and a label or its contents.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(in crate::transport) struct Content {
    #[serde(rename = "n")]
    length: usize,
    #[serde(rename = "l", default, skip_serializing_if = "String::is_empty")]
    label: String,
    #[serde(rename = "c", default, skip_serializing_if = "Option::is_none")]
    contents: Option<String>,
}

impl Content {
    fn of(tape: &Tape, bytes: &[u8]) -> Self {
        let label = tape.labels(|labels| labels.label('d', bytes));
        let label = label.trim_end_matches('-').to_owned();
        let contents = tape.contents().then(|| hex(bytes));
        Self { length: bytes.len(), label, contents }
    }

    fn bytes(&self) -> Vec<u8> {
        let kept = self.contents.as_deref().and_then(unhex);
        let stand_in = || Body { length: self.length, ..Body::default() }.stand_in();
        kept.filter(|bytes| bytes.len() == self.length).unwrap_or_else(stand_in)
    }

    fn text(&self) -> String {
        String::from_utf8(self.bytes()).unwrap_or_default()
    }

    /// JSON whose text is as long.
    fn json(&self) -> Value {
        let kept = self.contents.as_deref().and_then(unhex);
        if let Some(value) = kept.and_then(|bytes| serde_json::from_slice(&bytes).ok()) {
            return value;
        }
        match self.length {
            0 | 1 => Value::from(1),
            length => {
                let inside = Body { length: length - 2, ..Body::default() }.stand_in();
                Value::from(String::from_utf8(inside).unwrap_or_default())
            }
        }
    }
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

impl Data {
    fn of(tape: &Tape, data: &RuntimeData) -> Self {
        match data {
            RuntimeData::Audio(audio) => Self::Audio {
                samples: audio.samples.len(),
                rate: audio.sample_rate,
                channels: audio.channels,
            },
            RuntimeData::EncodedAudio(packet) => Self::Opus {
                packet: Body::of(&packet.opus, 2),
                duration_ns: nanos(packet.duration),
            },
            RuntimeData::Video(frame) => Self::Video {
                codec: frame.codec,
                frame: Body::of(&frame.data, 0),
                timestamp_ns: nanos(frame.timestamp),
                key: frame.keyframe,
                captured: frame.captured.map(|at| tape.nanos(at)),
            },
            RuntimeData::Text(text) => Self::Text(Content::of(tape, text.as_bytes())),
            RuntimeData::Json(value) => Self::Json(Content::of(tape, value.to_string().as_bytes())),
            RuntimeData::Binary(bytes) => Self::Binary(Content::of(tape, bytes)),
        }
    }

    pub(super) fn revive(&self, tape: &Tape) -> RuntimeData {
        match self {
            Self::Audio { samples, rate, channels } => {
                let silence = vec![0.0; (*samples).min(48_000 * 2 * 60)];
                RuntimeData::Audio(AudioBuffer {
                    samples: silence.into(),
                    sample_rate: *rate,
                    channels: *channels,
                })
            }
            Self::Opus { packet, duration_ns } => RuntimeData::EncodedAudio(EncodedAudio {
                opus: packet.stand_in().into(),
                duration: Duration::from_nanos(*duration_ns),
            }),
            Self::Video { codec, frame, timestamp_ns, key, captured } => {
                RuntimeData::Video(EncodedVideo {
                    codec: *codec,
                    data: frame.stand_in().into(),
                    timestamp: Duration::from_nanos(*timestamp_ns),
                    keyframe: *key,
                    captured: captured.map(|at| tape.instant(at)),
                })
            }
            Self::Text(content) => RuntimeData::Text(content.text().into()),
            Self::Json(content) => RuntimeData::Json(content.json()),
            Self::Binary(content) => RuntimeData::Binary(content.bytes().into()),
        }
    }

    /// As a message; `None` where it is none.
    pub(super) fn message(&self) -> Option<DataMessage> {
        match self {
            Self::Text(content) => Some(DataMessage::Text(content.text().into())),
            Self::Json(content) => Some(DataMessage::Json(content.json())),
            Self::Binary(content) => Some(DataMessage::Binary(content.bytes().into())),
            _ => None,
        }
    }
}

impl Call {
    pub(in crate::transport) fn send(tape: &Tape, peer: Option<&str>, data: &RuntimeData) -> Self {
        Self::Send { peer: peer.map(str::to_owned), data: Data::of(tape, data) }
    }

    pub(in crate::transport) fn message(
        tape: &Tape,
        peer: &str,
        message: &DataMessage,
        reliability: Option<Reliability>,
    ) -> Self {
        let data = match message {
            DataMessage::Text(text) => RuntimeData::Text(text.clone()),
            DataMessage::Json(value) => RuntimeData::Json(value.clone()),
            DataMessage::Binary(bytes) => RuntimeData::Binary(Arc::clone(bytes)),
        };
        let reliable = reliability.map(|reliability| reliability == Reliability::Reliable);
        Self::Message { peer: peer.to_owned(), data: Data::of(tape, &data), reliable }
    }

    pub(in crate::transport) fn datagram(tape: &Tape, datagram: &Datagram<'_>) -> Self {
        Self::Datagram {
            socket: datagram.socket.0,
            remote: tape.labels(|labels| labels.address(datagram.remote)),
            payload: Sketch::of(datagram.payload),
        }
    }

    pub(in crate::transport) fn io(tape: &Tape, event: &IoEvent<'_>) -> Self {
        let text = |text: &str| tape.labels(|labels| labels.text(text));
        Self::Io(match *event {
            IoEvent::Interfaces(addresses) => {
                // In their own order, which masks have not.
                let mut addresses = addresses.to_vec();
                addresses.sort();
                let mask = |ip: IpAddr| tape.labels(|labels| labels.ip(ip));
                Io::Interfaces(addresses.into_iter().map(mask).collect())
            }
            IoEvent::UdpBound { socket, local } => Io::UdpBound {
                socket: socket.0,
                local: tape.labels(|labels| labels.address(local)),
            },
            IoEvent::UdpFailed { socket, error } => {
                Io::UdpFailed { socket: socket.0, error: text(error) }
            }
            IoEvent::LinkUp { link } => Io::LinkUp { link: link.0 },
            IoEvent::LinkText { link, text } => {
                Io::LinkText { link: link.0, text: tape.labels(|labels| labels.signaling(text)) }
            }
            IoEvent::LinkDown { link, code, reason } => {
                Io::LinkDown { link: link.0, code, reason: text(reason) }
            }
        })
    }
}

impl Io {
    pub(super) fn revive(&self) -> IoEvent<'_> {
        match self {
            Self::Interfaces(addresses) => IoEvent::Interfaces(addresses),
            Self::UdpBound { socket, local } => {
                IoEvent::UdpBound { socket: SocketId(*socket), local: *local }
            }
            Self::UdpFailed { socket, error } => {
                IoEvent::UdpFailed { socket: SocketId(*socket), error }
            }
            Self::LinkUp { link } => IoEvent::LinkUp { link: LinkId(*link) },
            Self::LinkText { link, text } => IoEvent::LinkText { link: LinkId(*link), text },
            Self::LinkDown { link, code, reason } => {
                IoEvent::LinkDown { link: LinkId(*link), code: *code, reason }
            }
        }
    }
}
