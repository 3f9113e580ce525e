//! The traits of audio codecs, and what goes in and comes out.

use std::sync::Arc;
use std::time::Duration;

use super::error::CodecError;
use super::packet::{opus_packet_duration, opus_packet_has_fec};
use super::settings::{Channels, OpusSettings};
use crate::error::ConfigError;

/// The sample rate of every codec here and of the RTP clock of Opus (RFC 7587, section 4.1): 48 kHz.
pub const OPUS_RATE: u32 = 48_000;

/// The most samples per channel that one packet decodes to: 120 ms (RFC 6716, section 3.2.5, R5).
pub const MAX_PACKET_SAMPLES: usize = 5_760;

/// Room for the largest packet of one frame (RFC 6716, section 3.2: a frame has at most 1275 bytes)
/// or of three frames (60 ms), with their headers.
pub const MAX_PACKET_BYTES: usize = 3 * 1_275 + 7;

/// Turns frames of samples into packets. One per outgoing stream.
pub trait AudioEncoder: Send {
    /// The settings in force.
    fn settings(&self) -> &OpusSettings;

    /// Changes the settings from the next frame on.
    ///
    /// # Errors
    ///
    /// The field that is out of its bounds or that the backend refuses: the old settings stay.
    fn configure(&mut self, settings: &OpusSettings) -> Result<(), ConfigError>;

    /// Encodes exactly one frame of interleaved samples at 48 kHz into `out`, and returns the
    /// packet's size in bytes. [`MAX_PACKET_BYTES`] is room enough. A packet of at most 2 bytes
    /// is silence that need not be sent.
    ///
    /// # Errors
    ///
    /// [`CodecError::InvalidData`] naming `pcm` when it is not one frame long,
    /// [`CodecError::Backend`] when the codec fails.
    fn encode(&mut self, pcm: &[f32], out: &mut [u8]) -> Result<usize, CodecError>;
}

/// Turns packets into samples. One per incoming stream, fed in the order of playout.
///
/// Samples are interleaved, at 48 kHz. `out` needs room for what is asked
/// ([`MAX_PACKET_SAMPLES`] per channel is always enough); the result is the number of samples per
/// channel that were written.
pub trait AudioDecoder: Send {
    /// How many channels come out, however many a packet has.
    fn channels(&self) -> Channels;

    /// Decodes a packet.
    ///
    /// # Errors
    ///
    /// [`CodecError::InvalidPacket`] whatever is wrong with the bytes; nothing is written then.
    fn decode(&mut self, packet: &[u8], out: &mut [f32]) -> Result<usize, CodecError>;

    /// Recovers the `duration` that was lost just before `next` from the copy inside `next`; without
    /// one in there it is concealed. `next` itself must be decoded afterwards as usual.
    ///
    /// # Errors
    ///
    /// As [`AudioDecoder::decode`], and [`CodecError::InvalidDuration`].
    fn decode_fec(
        &mut self,
        next: &[u8],
        duration: Duration,
        out: &mut [f32],
    ) -> Result<usize, CodecError>;

    /// How much of what came before a packet can be recovered from it: what [`Self::recover`] takes. 0 where
    /// nothing can, else at least as much as the packet is long.
    fn recoverable(&self, next: &[u8]) -> Duration {
        let length = opus_packet_duration(next).filter(|_| opus_packet_has_fec(next));
        length.unwrap_or_default()
    }

    /// Recovers the `duration` that began so much `before` the start of `next`, of what was lost up to there
    /// (`before` is at least `duration`). Both are multiples of 2.5 ms, at best of 10 ms. Where `next` does not
    /// reach back so far it is made up. What is lost between is to be recovered after that, and `next` itself
    /// decoded as usual.
    ///
    /// # Errors
    ///
    /// As [`AudioDecoder::decode_fec`].
    fn recover(
        &mut self,
        next: &[u8],
        before: Duration,
        duration: Duration,
        out: &mut [f32],
    ) -> Result<usize, CodecError> {
        if before == duration {
            return self.decode_fec(next, duration, out);
        }
        self.conceal(duration, out)
    }

    /// Makes up a lost `duration` from what was played before; it fades out when repeated.
    ///
    /// # Errors
    ///
    /// [`CodecError::InvalidDuration`] unless a multiple of 2.5 ms up to 120 ms.
    fn conceal(&mut self, duration: Duration, out: &mut [f32]) -> Result<usize, CodecError>;

    /// Forgets what was played: the next packet starts a new stream.
    fn reset(&mut self);
}

/// Samples of any length from the application.
#[derive(Debug, Clone, Copy)]
pub struct AudioChunk<'a> {
    /// Interleaved, nominally within -1 to 1.
    pub samples: &'a [f32],
    /// In Hz, 8 000 to 48 000.
    pub sample_rate: u32,
    /// 1 or 2.
    pub channels: u8,
}

/// One packet of encoded audio, shared by everybody that it is sent to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EncodedFrame {
    /// The packet.
    pub opus: Arc<[u8]>,
    /// How much audio it carries.
    pub duration: Duration,
    /// The position of its first sample on the stream's timeline, in samples of 48 kHz from 0 on.
    /// Add the stream's random start and take the low 32 bits for an RTP timestamp.
    pub rtp_offset: u64,
    /// Its loudness as in RFC 6464: 0 (loudest) to 127 (silence), in -dBov.
    pub level: u8,
    /// Silence under DTX: the packet need not be sent (RFC 6716, section 2.1.9).
    pub dtx: bool,
}
