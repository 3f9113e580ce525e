//! libopus, for rendering.

use std::sync::Arc;
use std::time::Duration;

use crate::codec::{AudioDecoder, Channels, CodecError, OPUS_RATE, OpusDecoder};
use crate::config::Concealment;
use crate::sync::Decode;

/// Decodes Opus packets for a [`crate::sync::AudioRenderer`]: libopus, which conceals what is missing, and
/// recovers it where the next packet has a copy (in-band error correction), or, with the feature `dred`, deep
/// redundancy of several before it.
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

    /// Changes how losses are made up: [`OpusDecoder::set_concealment`].
    pub fn set_concealment(&mut self, concealment: Concealment) {
        self.opus.set_concealment(concealment);
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

    fn covers(&self, packet: &Arc<[u8]>) -> usize {
        frames(self.opus.recoverable(packet))
    }

    fn recover(
        &mut self,
        next: &Arc<[u8]>,
        before: usize,
        frames: usize,
        out: &mut [f32],
    ) -> Option<usize> {
        report(self.opus.recover(next, duration(before), duration(frames), out))
    }
}

pub(super) fn duration(frames: usize) -> Duration {
    Duration::from_nanos(frames as u64 * 1_000_000_000 / u64::from(OPUS_RATE))
}

/// Of less than a second.
fn frames(duration: Duration) -> usize {
    duration.as_micros() as usize * (OPUS_RATE as usize / 1_000) / 1_000
}

pub(super) fn report<T>(result: Result<T, CodecError>) -> Option<T> {
    result.inspect_err(|error| tracing::debug!(%error, "received audio is concealed")).ok()
}
