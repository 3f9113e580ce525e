//! libopus, for rendering.

use std::sync::Arc;
use std::time::Duration;

use crate::codec::{
    AudioDecoder, Channels, CodecError, OPUS_RATE, OpusDecoder, opus_packet_has_fec,
};
use crate::sync::Decode;

/// Decodes Opus packets for a [`crate::sync::AudioRenderer`]: libopus, which conceals what is missing, and
/// recovers it where the next packet has a copy (in-band error correction).
///
/// Nothing is allocated after construction, and nothing locked.
#[derive(Debug)]
pub struct OpusVoice {
    opus: OpusDecoder,
}

impl OpusVoice {
    /// One that gives `channels`, 1 or 2 (other numbers become the nearest), whatever a packet has.
    ///
    /// # Errors
    ///
    /// [`CodecError::Backend`] where there is no memory.
    pub fn new(channels: usize) -> Result<Self, CodecError> {
        let channels = if channels < 2 { Channels::Mono } else { Channels::Stereo };
        Ok(Self { opus: OpusDecoder::new(channels)? })
    }

    /// How many channels come out.
    pub fn channels(&self) -> usize {
        self.opus.channels().count()
    }
}

impl Decode<Arc<[u8]>> for OpusVoice {
    fn decode(&mut self, packet: &Arc<[u8]>, out: &mut [f32]) -> Option<usize> {
        report(self.opus.decode(packet, out))
    }

    fn conceal(&mut self, frames: usize, out: &mut [f32]) -> Option<usize> {
        report(self.opus.conceal(duration(frames), out))
    }

    fn has_copy(&self, packet: &Arc<[u8]>) -> bool {
        opus_packet_has_fec(packet)
    }

    fn decode_copy(&mut self, next: &Arc<[u8]>, frames: usize, out: &mut [f32]) -> Option<usize> {
        report(self.opus.decode_fec(next, duration(frames), out))
    }
}

pub(super) fn duration(frames: usize) -> Duration {
    Duration::from_nanos(frames as u64 * 1_000_000_000 / u64::from(OPUS_RATE))
}

pub(super) fn report<T>(result: Result<T, CodecError>) -> Option<T> {
    result.inspect_err(|error| tracing::debug!(%error, "received audio is concealed")).ok()
}
