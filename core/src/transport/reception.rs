//! What is received of one peer: in order, in time.

use std::time::{Duration, Instant};

use crate::codec::OPUS_RATE;
use crate::config::{Config, PlayoutPreference};
use crate::sync::{BufferStatistics, Inserted, JitterBuffer, PlayoutConfig, PlayoutTuning};
use crate::transport::event::AudioFrame;
use crate::transport::playout::{AudioPlayout, Opus, PlayoutFigures};

/// The media of one peer.
#[derive(Debug)]
pub(super) struct Reception {
    buffer: JitterBuffer<Opus>,
    playout: AudioPlayout,
}

impl Reception {
    /// What is made up is drawn from `seed`.
    pub(super) fn new(config: &Config, seed: u64) -> Self {
        let ms = |ms: u32| Duration::from_millis(ms.into());
        let tuning = match config.playout_preference {
            PlayoutPreference::LowDelay => PlayoutTuning::rtcmesh(),
            PlayoutPreference::FewLosses => PlayoutTuning::safe(),
        };
        let mut delay = PlayoutConfig::adaptive(ms(config.jitter_buffer_size_ms));
        delay.playout = config.playout;
        let delay = delay.with_max(ms(config.max_jitter_buffer_ms)).with_tuning(tuning);
        Self {
            buffer: JitterBuffer::new(OPUS_RATE, delay),
            playout: AudioPlayout::new(config.audio.received, tuning, seed),
        }
    }

    /// Takes a packet of audio that arrived at `arrived`.
    pub(super) fn audio(
        &mut self,
        now: Instant,
        arrived: Instant,
        sequence: u64,
        rtp: u32,
        opus: Opus,
    ) {
        let packet = self.playout.packet(now, arrived, sequence, rtp, opus);
        if let Some(packet) = packet
            && self.buffer.insert(packet) == Inserted::Restarted
        {
            tracing::debug!(sequence, rtp, "the audio stream of a peer started afresh");
        }
    }

    /// The next frame of audio that is due. Call it until it gives none.
    pub(super) fn poll_audio(&mut self, now: Instant) -> Option<AudioFrame> {
        self.playout.poll(&mut self.buffer, now)
    }

    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        self.playout.poll_timeout(&self.buffer)
    }

    pub(super) fn set_size(&mut self, size: Duration) {
        self.buffer.set_size(size);
    }

    pub(super) fn audio_figures(&self) -> (BufferStatistics, PlayoutFigures) {
        (self.buffer.statistics(), self.playout.figures())
    }
}

#[cfg(test)]
#[path = "reception_tests.rs"]
mod tests;
