//! What applications send and receive: audio, video and messages, all shared and never copied.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::trace::state::saved;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// A video codec whose encoded frames can pass through.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[non_exhaustive]
pub enum VideoCodec {
    /// VP8 (RFC 7741).
    Vp8,
    /// VP9 (RFC 9628).
    Vp9,
    /// H.264 (RFC 6184), frames in Annex B format.
    H264,
}

saved!(
    enum VideoCodec {
        Vp8,
        Vp9,
        H264,
    }
);

impl VideoCodec {
    /// The codec's name in SDP (`a=rtpmap`).
    pub const fn name(self) -> &'static str {
        match self {
            Self::Vp8 => "VP8",
            Self::Vp9 => "VP9",
            Self::H264 => "H264",
        }
    }
}

/// Interleaved samples, −1.0 to 1.0.
#[derive(Debug, Clone, PartialEq)]
pub struct AudioBuffer {
    /// The samples, channel by channel within each instant: a multiple of `channels` in number.
    pub samples: Arc<[f32]>,
    /// Samples per second and channel: 8,000 to 48,000.
    pub sample_rate: u32,
    /// 1 or 2.
    pub channels: u16,
}

saved!(struct AudioBuffer { samples, sample_rate, channels });

/// One Opus packet (RFC 6716, section 3).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EncodedAudio {
    /// The packet.
    pub opus: Arc<[u8]>,
    /// How much audio it carries: 2.5 to 120 ms.
    pub duration: Duration,
}

saved!(struct EncodedAudio { opus, duration });

/// One encoded video frame.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EncodedVideo {
    /// Its codec.
    pub codec: VideoCodec,
    /// The encoded frame: H.264 in Annex B format, VP8 and VP9 as the encoder gave it.
    pub data: Arc<[u8]>,
    /// When it was captured, on any timeline that starts at zero: the RTP timestamp follows from it.
    pub timestamp: Duration,
    /// Whether it can be decoded without any other (received frames tell, sent ones need not).
    pub keyframe: bool,
    /// When it was captured, of frames to be sent: receivers show it with the audio captured then. Without
    /// it, the time of sending is taken.
    pub captured: Option<Instant>,
}

saved!(struct EncodedVideo { codec, data, timestamp, keyframe, captured });

/// What `send_to_peer` and `broadcast` take.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum RuntimeData {
    /// Raw audio, encoded as Opus once for all its receivers.
    Audio(AudioBuffer),
    /// Audio that is Opus already.
    EncodedAudio(EncodedAudio),
    /// Video that is encoded already.
    Video(EncodedVideo),
    /// Text, over the data channel.
    Text(Arc<str>),
    /// JSON, over the data channel: arrives as JSON at rtcmesh peers where it was fragmented and takes no
    /// more than 64 MiB of memory, else as text.
    Json(Value),
    /// Bytes, over the data channel.
    Binary(Arc<[u8]>),
}

/// A message of a data channel.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum DataMessage {
    /// UTF-8 text.
    Text(Arc<str>),
    /// JSON: sent as text.
    Json(Value),
    /// Bytes.
    Binary(Arc<[u8]>),
}

saved!(
    enum DataMessage {
        Text(a),
        Json(a),
        Binary(a),
    }
);

impl DataMessage {
    /// The largest message, in bytes: 16 MB.
    pub const MAX_SIZE: usize = 16 * 1024 * 1024;

    /// The largest message that needs no fragments, in bytes. Reliable messages up to this size, the empty
    /// one excepted, keep their order among each other; larger ones may arrive after those sent behind them.
    pub const MAX_UNFRAGMENTED: usize = 16 * 1024 - 13;

    /// Its size in bytes, of JSON the memory that it takes at least.
    pub fn size(&self) -> usize {
        match self {
            Self::Text(text) => text.len(),
            Self::Json(value) => json_size(value),
            Self::Binary(bytes) => bytes.len(),
        }
    }

    /// A text message.
    pub fn text(text: impl Into<Arc<str>>) -> Self {
        Self::Text(text.into())
    }

    /// A binary message.
    pub fn binary(bytes: impl Into<Arc<[u8]>>) -> Self {
        Self::Binary(bytes.into())
    }
}

/// The memory of a JSON value, from below. Its depth is bounded by the parser that made it.
fn json_size(value: &Value) -> usize {
    let inside = match value {
        Value::String(text) => text.len(),
        Value::Array(items) => items.iter().map(json_size).sum(),
        Value::Object(members) => members.iter().map(|(key, v)| key.len() + json_size(v)).sum(),
        Value::Null | Value::Bool(_) | Value::Number(_) => 0,
    };
    std::mem::size_of::<Value>() + inside
}

/// How hard a data message is tried to be delivered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Reliability {
    /// Delivered, in order among the reliable messages of its size class (fragmented or not).
    Reliable,
    /// Sent once, in no order.
    Unreliable,
}

saved!(
    enum Reliability {
        Reliable,
        Unreliable,
    }
);
