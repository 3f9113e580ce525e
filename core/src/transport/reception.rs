//! What is received of one peer: in order, in time, audio with video.

use std::time::{Duration, Instant};

use crate::config::{Concealment, Config, PlayoutPreference};
use crate::error::ConfigError;
use crate::id::PeerId;
use crate::media::EncodedVideo;
use crate::peer::PeerMedia;
use crate::sync::{
    AudioTimestamp, Inserted, MediaTimestamp, Medium, PlayoutTuning, RtcpSenderReport, SyncConfig,
    SyncError, SyncState, SyncStatistics, VideoPacket, VideoTimestamp,
};
use crate::trace::Tape;
use crate::trace::state::saved;
use crate::transport::event::{AudioData, AudioFrame, CaptureTime, VideoTiming};
use crate::transport::info::SyncInfo;
use crate::transport::playout::{AudioPlayout, Opus, PlayoutFigures, Sync};

/// The media of one peer.
#[derive(Debug)]
pub(super) struct Reception {
    sync: Sync,
    playout: AudioPlayout,
    /// It follows another one, which logs what there is to say.
    follows: bool,
}

// What is restored follows nobody.
saved!(struct Reception { sync, playout; follows = |_| Ok(false) });

impl Reception {
    /// What is made up is drawn from `seed`.
    ///
    /// # Errors
    ///
    /// None for a configuration that was validated.
    pub(super) fn new(peer: &PeerId, config: &Config, seed: u64) -> Result<Self, SyncError> {
        let tuning = match config.playout_preference {
            PlayoutPreference::LowDelay => PlayoutTuning::rtcmesh(),
            PlayoutPreference::FewLosses => PlayoutTuning::safe(),
        };
        let settings = SyncConfig::standard()
            .jitter_buffer_size_ms(config.jitter_buffer_size_ms)
            .max_jitter_buffer_ms(config.max_jitter_buffer_ms)
            .enable_clock_drift_correction(config.enable_clock_drift_correction)
            .drift_correction_threshold_ppm(config.drift_correction_threshold_ppm.into())
            .playout(config.playout)
            .tuning(tuning);
        Ok(Self {
            sync: Sync::new(peer, settings)?,
            playout: AudioPlayout::new(config.audio, tuning, seed),
            follows: false,
        })
    }

    /// Has what is found in the contents of media pass a tape.
    pub(super) fn record(&mut self, tape: &Tape) {
        self.follows = tape.follows();
        self.playout.record(tape);
    }

    /// Takes a packet of audio that arrived at `arrived`. Gives it back where it is to be handed over at
    /// once.
    pub(super) fn audio(
        &mut self,
        now: Instant,
        arrived: Instant,
        sequence: u64,
        rtp: u32,
        opus: Opus,
    ) -> Option<AudioFrame> {
        let packet = self.playout.packet(now, arrived, sequence, rtp, opus)?;
        if self.playout.passes() {
            self.sync.observe_audio(sequence, rtp, packet.arrived);
            let frame = AudioFrame::new(rtp, packet.arrived, AudioData::Packet(packet));
            return Some(self.stamped(frame));
        }
        if self.sync.insert_audio(packet) == Inserted::Restarted && !self.follows {
            tracing::debug!(sequence, rtp, "the audio stream of a peer started afresh");
        }
        None
    }

    fn stamped(&self, mut frame: AudioFrame) -> AudioFrame {
        frame.capture = self.capture(AudioTimestamp(frame.rtp));
        frame.clock_drift_ppm =
            self.sync.estimate_clock_drift().map_or(0.0, |drift| drift.drift_ppm);
        frame
    }

    /// Takes a frame of video, which is complete now.
    pub(super) fn video(
        &mut self,
        now: Instant,
        sequence: u64,
        rtp: u32,
        contiguous: bool,
        frame: EncodedVideo,
    ) {
        let inserted = self.sync.insert_video(VideoPacket {
            sequence,
            rtp,
            keyframe: frame.keyframe,
            contiguous,
            size: frame.data.len(),
            arrived: now,
            payload: frame,
        });
        if inserted == Inserted::Restarted && !self.follows {
            tracing::debug!(sequence, rtp, "the video stream of a peer started afresh");
        }
    }

    /// Takes a sender report.
    pub(super) fn report(&mut self, report: &RtcpSenderReport) {
        if let Err(error) = self.sync.update_rtcp_sender_report(report)
            && !self.follows
        {
            tracing::debug!(%error, "a sender report");
        }
    }

    /// The next frame of audio that is due. Call it until it gives none.
    pub(super) fn poll_audio(&mut self, now: Instant) -> Option<AudioFrame> {
        let frame = self.playout.poll(&mut self.sync, now)?;
        Some(self.stamped(frame))
    }

    /// The next frame of video that is due, whether nothing was lost before it, and its place in time.
    pub(super) fn poll_video(&mut self, now: Instant) -> Option<(EncodedVideo, bool, VideoTiming)> {
        let pop = self.sync.pop_video(now)?;
        let offset = self.sync.av_offset();
        let rtp = pop.packet.rtp;
        let timing = VideoTiming {
            rtp,
            at: pop.due,
            delay: pop.delay,
            capture: self.capture(VideoTimestamp(rtp)),
            framerate: self.sync.video().framerate(),
            audio_sync_offset_ms: (offset.confidence > 0.0).then_some(offset.offset_ms),
        };
        Some((pop.packet.payload, pop.packet.contiguous, timing))
    }

    fn capture<T: MediaTimestamp>(&self, timestamp: T) -> Option<CaptureTime> {
        let known = self.sync.known(timestamp).ok()?;
        Some(CaptureTime { unix_us: known.us, confidence: known.confidence })
    }

    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        let audio = self.playout.poll_timeout(self.sync.audio());
        [audio, self.sync.video().poll_timeout()].into_iter().flatten().min()
    }

    /// Changes the size of the jitter buffer.
    ///
    /// # Errors
    ///
    /// Out of its bounds: 50 to 200 ms.
    pub(super) fn set_size(&mut self, size_ms: u32) -> Result<(), ConfigError> {
        self.sync.set_jitter_buffer_size_ms(size_ms)
    }

    /// Changes how lost audio is made up.
    pub(super) fn set_concealment(&mut self, concealment: Concealment) {
        self.playout.set_concealment(concealment);
    }

    /// Looks at the clocks: at `now` the local wall clock stands at `unix`, and `round_trip` is what a packet
    /// takes to the peer and back.
    pub(super) fn measure(&mut self, now: Instant, unix: Duration, round_trip: Option<Duration>) {
        self.sync.set_local_clock(now, u64::try_from(unix.as_micros()).unwrap_or(u64::MAX));
        if let Some(round_trip) = round_trip {
            self.sync.set_round_trip(round_trip);
        }
        self.sync.handle_timeout(now);
    }

    /// Whether the peer's wall clock is known.
    pub(super) fn state(&self) -> SyncState {
        self.sync.get_sync_state()
    }

    pub(super) fn figures(&self) -> (SyncStatistics, PlayoutFigures) {
        (self.sync.get_buffer_statistics(), self.playout.figures())
    }

    /// What is known about the peer's clocks, and how its media are played.
    pub(super) fn info(&self) -> SyncInfo {
        let figures = self.sync.get_buffer_statistics();
        let millis = |duration: Duration| duration.as_secs_f64() * 1e3;
        let drift = self.sync.estimate_clock_drift();
        let offset = self.sync.av_offset();
        let shown = figures.video.buffer.frames > 0;
        SyncInfo {
            state: self.sync.get_sync_state(),
            audio_delay_ms: millis(figures.audio.hold),
            audio_wait_ms: millis(figures.audio.buffer.average_delay),
            audio_loss_rate: figures.audio.buffer.loss_rate,
            clock_drift_ppm: drift.map(|drift| drift.drift_ppm),
            clock_drift_error_ppm: drift.map(|drift| drift.error_ppm),
            correction_factor: self.sync.correction_factor(),
            video_delay_ms: shown.then(|| millis(figures.video.hold)),
            video_framerate: self.sync.video().framerate(),
            audio_sync_offset_ms: (offset.confidence > 0.0).then_some(offset.offset_ms),
        }
    }
}

/// A report as the engine tells it. Engines also send some before any packet, with a timestamp that is not yet
/// that of the stream: these say nothing (str0m does, with 0).
pub(super) fn report(media: &PeerMedia) -> Option<RtcpSenderReport> {
    let PeerMedia::Report { video, ntp, rtp, packets, octets, arrived } = *media else {
        return None;
    };
    (packets > 0).then_some(RtcpSenderReport {
        medium: if video { Medium::Video } else { Medium::Audio },
        ntp_timestamp: ntp,
        rtp_timestamp: rtp,
        packet_count: packets,
        octet_count: octets,
        received_at: arrived,
    })
}

#[cfg(test)]
#[path = "reception_tests.rs"]
mod tests;
