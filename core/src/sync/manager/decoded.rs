//! The thin form of the sync manager, for frames that are decoded already.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::SyncManager;
use super::resampled::Resampled;
use crate::sync::clock::{AudioTimestamp, VideoTimestamp};
use crate::sync::error::SyncError;
use crate::sync::frame::{
    AudioFrame, SyncedAudioFrame, SyncedVideoFrame, VideoFrame, VideoPicture,
};
use crate::sync::packet::{Inserted, Packet, Pop};
use crate::sync::sequence::Unwrapper;
use crate::sync::video::VideoPacket;
use crate::trace::state::saved;

/// What the thin form knows beyond the general one.
#[derive(Debug, Default)]
pub(super) struct Decoded {
    audio_sequence: Unwrapper,
    video_sequence: Unwrapper,
    channels: u16,
    resampled: Resampled,
    /// Ticks of audio that were missing since the last frame.
    gap: u64,
    /// The part of a frame that waits for the rest.
    part: Option<VideoFrame>,
}

saved!(struct Decoded { audio_sequence, video_sequence, channels, resampled, gap, part });

/// The general form gives what happened; here it is an error unless all is well.
fn checked(inserted: Inserted, sequence: u16, rtp: u32) -> Result<(), SyncError> {
    match inserted {
        Inserted::Queued | Inserted::Restarted => Ok(()),
        Inserted::Late => Err(SyncError::LateFrame { sequence }),
        Inserted::Duplicate => Err(SyncError::DuplicateFrame { sequence }),
        Inserted::Overflow => Err(SyncError::JitterBufferOverflow { sequence }),
        Inserted::Stray => Err(SyncError::InvalidTimestamp { rtp, sequence }),
    }
}

fn ms(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e3
}

impl SyncManager<Arc<[f32]>, VideoPicture> {
    /// Takes a frame into the jitter buffer, and gives it back with what is known of its place in time
    /// now, for whoever wants no buffering. Its samples are shared, not copied.
    ///
    /// # Errors
    ///
    /// The frame is dropped and counted: [`SyncError::LateFrame`], [`SyncError::DuplicateFrame`],
    /// [`SyncError::JitterBufferOverflow`], [`SyncError::InvalidTimestamp`],
    /// [`SyncError::InvalidFrameFormat`].
    pub fn process_audio_frame(
        &mut self,
        frame: AudioFrame,
    ) -> Result<SyncedAudioFrame, SyncError> {
        let duration = frame.length().inspect_err(|_| self.counts.invalid_frames += 1)?;
        let AudioFrame { rtp_timestamp: rtp, rtp_sequence, samples, channels, .. } = frame;
        self.count_payload(frame.payload_size);
        self.decoded.channels = channels;
        let sequence = self.decoded.audio_sequence.unwrap(rtp_sequence);
        let inserted = self.insert_audio(Packet {
            sequence,
            rtp,
            duration,
            dtx: false,
            arrived: frame.received_at,
            payload: Arc::clone(&samples),
        });
        checked(inserted, rtp_sequence, rtp)?;
        let held = self.audio.hold();
        Ok(self.synced_audio(samples, channels, rtp, held))
    }

    /// The next frame in order whose time has come at `now`; `None` where there is none, or it is not yet
    /// due ([`SyncManager::poll_timeout`] tells when). What is missing when its time has come is skipped,
    /// and told with the next frame ([`SyncedAudioFrame::gap_ms`]). While a correction of drift is in
    /// force the samples are resampled by it.
    pub fn pop_next_audio_frame(&mut self, now: Instant) -> Option<SyncedAudioFrame> {
        loop {
            match self.pop_audio(now) {
                Pop::Frame { packet, delay, .. } => {
                    let (factor, channels) = (self.correction_factor(), self.decoded.channels);
                    let rate = self.config.audio_clock_rate;
                    let gap = std::mem::take(&mut self.decoded.gap);
                    if gap > 0 {
                        self.decoded.resampled.interrupt();
                    }
                    let resampled = &mut self.decoded.resampled;
                    let samples = resampled.next(packet.payload, (channels, rate), factor);
                    let frame = self.synced_audio(samples, channels, packet.rtp, delay);
                    let gap_ms = gap as f64 * 1e3 / f64::from(rate);
                    return Some(SyncedAudioFrame { gap_ms, ..frame });
                }
                Pop::Conceal { duration, .. } => self.decoded.gap += u64::from(duration),
                Pop::Silence { .. } => {
                    self.decoded.gap = 0;
                    self.decoded.resampled.interrupt();
                }
                Pop::None => return None,
            }
        }
    }

    /// Takes a frame into its buffer, and gives it back with what is known now. A frame without marker is
    /// a part: it waits for one of the same timestamp with it, which replaces it.
    ///
    /// # Errors
    ///
    /// As for audio.
    pub fn process_video_frame(
        &mut self,
        frame: VideoFrame,
    ) -> Result<SyncedVideoFrame, SyncError> {
        frame.picture.size().inspect_err(|_| self.counts.invalid_frames += 1)?;
        let synced = self.synced_video(
            frame.picture.clone(),
            (frame.rtp_timestamp, frame.is_keyframe),
            self.video.delay(),
        );
        let part = self.decoded.part.take();
        let keyframe = match part {
            Some(part) if part.rtp_timestamp == frame.rtp_timestamp => part.is_keyframe,
            Some(part) => {
                // Its marker was lost. What becomes of it is counted.
                let _ = self.queue_video(part);
                false
            }
            None => false,
        };
        let frame = VideoFrame { is_keyframe: frame.is_keyframe || keyframe, ..frame };
        if frame.marker_bit {
            self.queue_video(frame)?;
        } else {
            self.decoded.part = Some(frame);
        }
        Ok(synced)
    }

    fn queue_video(&mut self, frame: VideoFrame) -> Result<(), SyncError> {
        let size = frame.picture.size()?;
        let (number, rtp) = (frame.rtp_sequence, frame.rtp_timestamp);
        let sequence = self.decoded.video_sequence.unwrap(number);
        let inserted = self.insert_video(VideoPacket {
            sequence,
            rtp,
            keyframe: frame.is_keyframe,
            // What is decoded needs no other.
            contiguous: true,
            size,
            arrived: frame.received_at,
            payload: frame.picture,
        });
        checked(inserted, number, rtp)
    }

    /// The next frame of video whose time has come at `now`, as for audio. It tells how far it is from the
    /// audio.
    pub fn pop_next_video_frame(&mut self, now: Instant) -> Option<SyncedVideoFrame> {
        let pop = self.pop_video(now)?;
        let of = (pop.packet.rtp, pop.packet.keyframe);
        let frame = self.synced_video(pop.packet.payload, of, pop.delay);
        let found = self.av_offset();
        let audio_sync_offset_ms = (found.confidence > 0.0).then_some(found.offset_ms);
        Some(SyncedVideoFrame { audio_sync_offset_ms, ..frame })
    }

    fn count_payload(&mut self, bytes: usize) {
        self.counts.payload_bytes = self.counts.payload_bytes.saturating_add(bytes as u64);
    }

    fn synced_audio(
        &self,
        samples: Arc<[f32]>,
        channels: u16,
        rtp: u32,
        held: Duration,
    ) -> SyncedAudioFrame {
        let known = self.known(AudioTimestamp(rtp)).ok();
        SyncedAudioFrame {
            sample_rate: self.config.audio_clock_rate,
            sample_count: samples.len() / usize::from(channels.max(1)),
            samples,
            channels,
            wall_clock_timestamp_us: known.map(|known| known.us),
            rtp_timestamp: rtp,
            buffer_delay_ms: ms(held),
            sync_confidence: known.map_or(0.0, |known| known.confidence),
            clock_drift_ppm: self.audio_clock.drift_ppm(),
            gap_ms: 0.0,
        }
    }

    fn synced_video(
        &self,
        picture: VideoPicture,
        (rtp, is_keyframe): (u32, bool),
        held: Duration,
    ) -> SyncedVideoFrame {
        let known = self.known(VideoTimestamp(rtp)).ok();
        SyncedVideoFrame {
            picture,
            wall_clock_timestamp_us: known.map(|known| known.us),
            rtp_timestamp: rtp,
            is_keyframe,
            buffer_delay_ms: ms(held),
            sync_confidence: known.map_or(0.0, |known| known.confidence),
            framerate_estimate: self.video.framerate(),
            audio_sync_offset_ms: None,
        }
    }
}

#[cfg(test)]
#[path = "decoded_tests.rs"]
mod tests;
