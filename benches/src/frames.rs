//! What is sent: one audio packet and one video packet, the same for everybody.

use std::sync::Arc;
use std::time::Duration;

use rtcmesh_core::media::{EncodedAudio, EncodedVideo, RuntimeData, VideoCodec};

/// A kind of media.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// An Opus packet of 80 bytes, 20 ms.
    Audio,
    /// A VP9 frame that fills one datagram of 1,180 bytes.
    Video,
}

impl Kind {
    /// Its name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Audio => "audio",
            Self::Video => "video",
        }
    }

    /// The time from one frame to the next.
    pub const fn interval(self) -> Duration {
        match self {
            Self::Audio => Duration::from_millis(20),
            Self::Video => Duration::from_nanos(33_333_333),
        }
    }

    /// The encoded bytes.
    pub fn bytes(self) -> Arc<[u8]> {
        let mut bytes = match self {
            Self::Audio => vec![0x55; 80],
            Self::Video => vec![0x55; 1_130],
        };
        // Opus: CELT, 20 ms, one frame (RFC 6716, section 3.1). VP9: an inter frame of profile 0.
        bytes[0] = if self == Self::Audio { 0xf8 } else { 0x86 };
        bytes.into()
    }

    /// The `n`th frame of these bytes as our transport takes it.
    pub fn data(self, bytes: &Arc<[u8]>, n: u32) -> RuntimeData {
        match self {
            Self::Audio => RuntimeData::EncodedAudio(EncodedAudio {
                opus: bytes.clone(),
                duration: self.interval(),
            }),
            Self::Video => RuntimeData::Video(EncodedVideo {
                codec: VideoCodec::Vp9,
                data: bytes.clone(),
                timestamp: self.interval() * n,
                keyframe: false,
            }),
        }
    }
}
