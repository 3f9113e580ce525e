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

    /// The frame that a stream begins with: without a key frame a receiver of video keeps asking for one.
    pub fn first_bytes(self) -> Arc<[u8]> {
        let mut bytes = self.bytes().to_vec();
        if self == Self::Video {
            // A key frame of profile 0 with its sync code, BT.601, 1280 × 720 (VP9 bitstream, section 6.2).
            bytes[..9].copy_from_slice(&[0x82, 0x49, 0x83, 0x42, 0x20, 0x4f, 0xf0, 0x2c, 0xf0]);
            bytes.truncate(1_000);
        }
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
                captured: None,
            }),
        }
    }
}

/// Whether a datagram is RTP: no STUN, no DTLS, no RTCP (RFC 5761, section 4; RFC 7983, section 7).
pub fn is_rtp(datagram: &[u8]) -> bool {
    match datagram {
        [first, second, ..] => (128..192).contains(first) && !(64..96).contains(&(second & 0x7f)),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reports_and_checks_are_no_rtp() {
        assert!(is_rtp(&[0x90, 111]) && is_rtp(&[0x80, 0x80 | 98]));
        for other in [&[0x80, 200][..], &[0x81, 205], &[0, 1], &[22, 254], &[0x80]] {
            assert!(!is_rtp(other), "{other:?}");
        }
    }
}
