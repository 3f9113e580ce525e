//! The way of the application's samples into packets: check, mix, resample, cut, encode.

use std::sync::Arc;
use std::time::Duration;

use super::audio::{AudioChunk, AudioEncoder, EncodedFrame, MAX_PACKET_BYTES, OPUS_RATE};
use super::error::CodecError;
use super::level::audio_level;
use super::mix::mix_into;
use super::resample::Resampler;
use super::settings::{Channels, OpusSettings};
use crate::error::ConfigError;

/// The longest chunk: one second of two channels at 48 kHz, so that one call stays bounded.
const MAX_CHUNK_SAMPLES: usize = 96_000;

/// Largest DTX packet (RFC 6716, section 2.1.9; libopus: 2 bytes or less need no transmission).
const MAX_DTX_BYTES: usize = 2;

/// Turns chunks of any length, rate (8 to 48 kHz) and number of channels (1 or 2) into encoded
/// frames of the encoder's duration.
///
/// It is encoded once for all receivers: a frame is one shared allocation, and in the steady state
/// the only one.
#[derive(Debug)]
pub struct AudioInput<E> {
    encoder: E,
    resampler: Option<Resampler>,
    /// Interleaved, in the encoder's channels, at the chunk's rate.
    mixed: Vec<f32>,
    /// The same at 48 kHz, not encoded yet: always less than a frame between calls.
    pending: Vec<f32>,
    packet: Vec<u8>,
    rtp_offset: u64,
    non_finite: u64,
}

impl<E: AudioEncoder> AudioInput<E> {
    /// A chain in front of `encoder`, at the start of its timeline.
    pub fn new(encoder: E) -> Self {
        Self {
            encoder,
            resampler: None,
            mixed: Vec::new(),
            pending: Vec::new(),
            packet: vec![0; MAX_PACKET_BYTES],
            rtp_offset: 0,
            non_finite: 0,
        }
    }

    /// The settings in force.
    pub fn settings(&self) -> &OpusSettings {
        self.encoder.settings()
    }

    /// Changes the encoder's settings from the next frame on; nothing that was pushed is lost.
    ///
    /// # Errors
    ///
    /// Names the field that is out of its bounds: the old settings stay.
    pub fn configure(&mut self, settings: &OpusSettings) -> Result<(), ConfigError> {
        let before = self.encoder.settings().channels;
        self.encoder.configure(settings)?;
        let after = self.encoder.settings().channels;
        if before != after {
            let pending = std::mem::take(&mut self.pending);
            mix_into(&pending, before, after, &mut self.pending);
            self.resampler = None;
        }
        Ok(())
    }

    /// How many NaN and infinite samples were replaced by silence since the start.
    pub const fn non_finite_samples(&self) -> u64 {
        self.non_finite
    }

    /// Takes a chunk in and hands each frame that it completes to `emit`.
    ///
    /// # Errors
    ///
    /// [`CodecError::InvalidData`] names the field of the chunk that is wrong (`samples` empty, not
    /// a multiple of the channels, or longer than a second of stereo; `sample_rate`; `channels`)
    /// and nothing of the chunk was taken. [`CodecError::Backend`]: the codec failed on a frame,
    /// which is skipped on the timeline.
    pub fn push(
        &mut self,
        chunk: AudioChunk<'_>,
        mut emit: impl FnMut(EncodedFrame),
    ) -> Result<(), CodecError> {
        let from = check(chunk)?;
        let to = self.encoder.settings().channels;
        if chunk.sample_rate == OPUS_RATE {
            self.resampler = None;
            self.non_finite += mix_into(chunk.samples, from, to, &mut self.pending);
        } else {
            let resampler = match self.resampler.take() {
                Some(current) if current.rate() == chunk.sample_rate => current,
                _ => Resampler::new(chunk.sample_rate, to)?,
            };
            self.mixed.clear();
            self.non_finite += mix_into(chunk.samples, from, to, &mut self.mixed);
            let resampler = self.resampler.insert(resampler);
            resampler.process(&self.mixed, &mut self.pending)?;
        }
        self.encode_pending(&mut emit)
    }

    /// Moves the timeline on by a pause in which nothing was pushed. An unfinished frame is
    /// dropped: its audio belongs before the pause.
    pub fn skip(&mut self, pause: Duration) {
        self.pending.clear();
        self.resampler = None;
        let samples = pause.as_micros() * u128::from(OPUS_RATE) / 1_000_000;
        let samples = u64::try_from(samples).unwrap_or(u64::MAX);
        self.rtp_offset = self.rtp_offset.wrapping_add(samples);
    }

    fn encode_pending(&mut self, emit: &mut impl FnMut(EncodedFrame)) -> Result<(), CodecError> {
        let (samples, duration, channels) = {
            let settings = self.encoder.settings();
            (settings.frame_samples(), settings.frame_duration, settings.channels.count())
        };
        let mut result = Ok(());
        let mut used = 0;
        for frame in self.pending.chunks_exact(samples * channels) {
            used += frame.len();
            let rtp_offset = self.rtp_offset;
            self.rtp_offset = self.rtp_offset.wrapping_add(samples as u64);
            match self.encoder.encode(frame, &mut self.packet) {
                Ok(size) => emit(EncodedFrame {
                    opus: Arc::from(self.packet.get(..size).unwrap_or_default()),
                    duration,
                    rtp_offset,
                    level: audio_level(frame),
                    dtx: size <= MAX_DTX_BYTES,
                }),
                Err(error) => result = Err(error),
            }
        }
        self.pending.drain(..used);
        result
    }
}

/// Checks all of a chunk but its samples' values, and gives its channels.
fn check(chunk: AudioChunk<'_>) -> Result<Channels, CodecError> {
    let channels = Channels::from_count(chunk.channels).ok_or_else(|| {
        CodecError::invalid("channels", format!("{} is neither 1 nor 2", chunk.channels))
    })?;
    if !(8_000..=OPUS_RATE).contains(&chunk.sample_rate) {
        return Err(CodecError::invalid(
            "sample_rate",
            format!("{} Hz is not within 8000 to 48000", chunk.sample_rate),
        ));
    }
    let count = chunk.samples.len();
    if count == 0 {
        return Err(CodecError::invalid("samples", "empty"));
    }
    if count > MAX_CHUNK_SAMPLES {
        return Err(CodecError::invalid(
            "samples",
            format!("{count} at once, but at most {MAX_CHUNK_SAMPLES} are taken"),
        ));
    }
    if !count.is_multiple_of(channels.count()) {
        return Err(CodecError::invalid("samples", format!("{count} do not fill 2 channels")));
    }
    Ok(channels)
}

#[cfg(test)]
#[path = "input_tests.rs"]
mod tests;
