//! Whatever comes in: every promise is checked after each call of a history that is read from bytes.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::{
    AudioFrame, AudioTimestamp, BufferStatistics, ClockDriftEstimate, DriftCorrection,
    DriftEstimator, Medium, NtpMap, Packet, Pop, RtcpSenderReport, SyncConfig, SyncManager,
    SyncStatistics, VideoFormat, VideoFrame, VideoPacket, VideoPicture, VideoPlane, VideoTimestamp,
};
use crate::hostile::Bytes;

/// More pops than that at one instant are no rest: packets that wait, their gaps, and a pause.
const RESTLESS: usize = 4_000;

/// Calls a sync manager and its clocks as the bytes say.
///
/// # Panics
///
/// Where a promise is broken: that is a mistake of the library, not of the bytes.
#[doc(hidden)]
pub fn hostile(start: Instant, bytes: &[u8]) {
    let mut bytes = Bytes(bytes);
    let config = match bytes.byte() % 3 {
        0 => SyncConfig::standard(),
        1 => SyncConfig::poor_network(),
        _ => SyncConfig::recording(),
    };
    let Ok(sync) = SyncManager::new("hostile", config) else { return };
    let Ok(other) = SyncManager::new("other", config) else { return };
    let mut run = Run {
        start,
        now: start,
        next: 0,
        sync,
        other,
        map: NtpMap::new(48_000),
        drift: DriftEstimator::new(48_000, 100.0),
        correction: DriftCorrection::new(48_000, 1),
        counted: [0; 22],
    };
    while !bytes.0.is_empty() {
        run.step(&mut bytes);
        run.check();
    }
}

struct Run {
    start: Instant,
    now: Instant,
    next: u64,
    sync: SyncManager,
    other: SyncManager,
    map: NtpMap<AudioTimestamp>,
    drift: DriftEstimator,
    correction: DriftCorrection,
    /// The counters after the last call.
    counted: [u64; 22],
}

impl Run {
    fn step(&mut self, bytes: &mut Bytes<'_>) {
        match bytes.byte() % 20 {
            0..=3 => self.near(bytes),
            4 => self.wild(bytes),
            5 => self.decoded(bytes),
            6 => self.picture(bytes),
            7 => self.now = self.start.checked_add(bytes.duration()).unwrap_or(self.start),
            8 => self.now = self.now.checked_add(bytes.duration()).unwrap_or(self.now),
            9 | 10 => self.drain(),
            11 => self.drain_decoded(),
            12 => self.report(bytes, true),
            13 => self.report(bytes, false),
            14 => self.sync.handle_timeout(self.now),
            15 => self.factor(bytes),
            16 => self.clocks(bytes),
            17 => self.sync.set_local_clock(self.now, bytes.number()),
            18 => {
                let _ = self.sync.set_jitter_buffer_size_ms(bytes.small() as u32 * 2);
                self.sync.set_round_trip(bytes.duration());
            }
            _ => {
                match bytes.byte() {
                    0 => self.sync.reset(),
                    _ => std::mem::swap(&mut self.sync, &mut self.other),
                }
                self.counted = [0; 22];
            }
        }
    }

    /// A packet that may belong to a stream.
    fn near(&mut self, bytes: &mut Bytes<'_>) {
        self.next += bytes.small() % 4;
        let sequence = (1_000 + self.next).saturating_sub(bytes.small() % 8);
        let late = Duration::from_millis(bytes.small());
        let at = Duration::from_millis(20).saturating_mul(self.next as u32) + late;
        let arrived = self.start.checked_add(at).unwrap_or(self.start);
        self.now = self.now.max(arrived);
        if !bytes.one_in(4) {
            let rtp = (sequence as u32).wrapping_mul(960);
            let dtx = bytes.byte() == 0;
            let payload = Arc::new([]);
            self.sync.insert_audio(Packet { sequence, rtp, duration: 960, dtx, arrived, payload });
        } else {
            let (rtp, keyframe) = ((sequence as u32).wrapping_mul(1_800), bytes.one_in(8));
            let (contiguous, size) = (!bytes.one_in(8), bytes.small() as usize * 1_000);
            let payload = nothing();
            let packet =
                VideoPacket { sequence, rtp, keyframe, contiguous, size, arrived, payload };
            self.sync.insert_video(packet);
        }
    }

    /// One of any numbers.
    fn wild(&mut self, bytes: &mut Bytes<'_>) {
        let sequence = bytes.number() >> (bytes.byte() % 64);
        let (rtp, other) = (bytes.number() as u32, bytes.number());
        let arrived = self.start.checked_add(bytes.duration()).unwrap_or(self.start);
        let flags = bytes.byte();
        if flags & 1 == 0 {
            let (duration, dtx, payload) = (other as u32, flags & 2 == 0, Arc::new([]));
            self.sync.insert_audio(Packet { sequence, rtp, duration, dtx, arrived, payload });
        } else {
            let (keyframe, contiguous) = (flags & 2 == 0, flags & 4 == 0);
            let (size, payload) = (other as usize, nothing());
            let packet =
                VideoPacket { sequence, rtp, keyframe, contiguous, size, arrived, payload };
            self.sync.insert_video(packet);
        }
    }

    fn decoded(&mut self, bytes: &mut Bytes<'_>) {
        let count = bytes.small() as usize * 25;
        let value = f32::from_bits(bytes.number() as u32);
        let frame = AudioFrame {
            rtp_timestamp: bytes.number() as u32,
            rtp_sequence: bytes.number() as u16,
            samples: vec![value; count].into(),
            channels: bytes.small() as u16 % 4,
            received_at: self.now,
            payload_size: bytes.number() as usize,
        };
        let samples = Arc::clone(&frame.samples);
        if let Ok(synced) = self.sync.process_audio_frame(frame) {
            assert!(Arc::ptr_eq(&samples, &synced.samples), "samples are shared");
            assert!((0.0..=1.0).contains(&synced.sync_confidence));
        }
    }

    fn picture(&mut self, bytes: &mut Bytes<'_>) {
        let format = match bytes.byte() % 3 {
            0 => VideoFormat::I420,
            1 => VideoFormat::Nv12,
            _ => VideoFormat::Rgba,
        };
        let plane = VideoPlane {
            data: vec![0; bytes.small() as usize].into(),
            stride: bytes.small() as usize,
        };
        let flags = bytes.byte();
        let frame = VideoFrame {
            rtp_timestamp: bytes.number() as u32,
            rtp_sequence: bytes.number() as u16,
            picture: VideoPicture {
                width: (bytes.number() >> (bytes.byte() % 64)) as u32,
                height: (bytes.number() >> (bytes.byte() % 64)) as u32,
                format,
                planes: vec![plane; bytes.small() as usize % 5].into(),
            },
            received_at: self.now,
            marker_bit: flags & 1 == 0,
            is_keyframe: flags & 2 == 0,
        };
        let _ = self.sync.process_video_frame(frame);
    }

    fn drain(&mut self) {
        let mut last = None;
        for turn in 0.. {
            assert!(turn < RESTLESS, "audio never rests");
            match self.sync.pop_audio(self.now) {
                Pop::None => break,
                Pop::Frame { packet, .. } => {
                    assert!(last.is_none_or(|last| last < packet.sequence), "out of order");
                    last = Some(packet.sequence);
                }
                Pop::Conceal { duration, .. } => assert!((120..=5_760).contains(&duration)),
                Pop::Silence { .. } => {}
            }
        }
        let mut last = None;
        for turn in 0.. {
            assert!(turn < RESTLESS, "video never rests");
            let Some(pop) = self.sync.pop_video(self.now) else { break };
            assert!(last.is_none_or(|last| last < pop.packet.sequence), "out of order");
            last = Some(pop.packet.sequence);
            let offset = self.sync.av_offset();
            assert!(offset.offset_ms.is_finite() && (0.0..=1.0).contains(&offset.confidence));
        }
    }

    fn drain_decoded(&mut self) {
        for turn in 0.. {
            assert!(turn < RESTLESS, "decoded audio never rests");
            let Some(frame) = self.sync.pop_next_audio_frame(self.now) else { break };
            assert!(frame.gap_ms >= 0.0 && frame.buffer_delay_ms >= 0.0);
        }
        for turn in 0.. {
            assert!(turn < RESTLESS, "decoded video never rests");
            if self.sync.pop_next_video_frame(self.now).is_none() {
                break;
            }
        }
    }

    fn report(&mut self, bytes: &mut Bytes<'_>, near: bool) {
        let medium = if bytes.one_in(2) { Medium::Audio } else { Medium::Video };
        let (ntp, rtp) = if near {
            let millis = self.next * 20;
            let rate = if medium == Medium::Audio { 48 } else { 90 };
            let noise = bytes.small() << 20;
            let ntp = (4_004_466_000_u64 << 32) + (millis << 32) / 1_000 + noise;
            (ntp, (millis as u32 + 20_000).wrapping_mul(rate))
        } else {
            (bytes.number() >> (bytes.byte() % 64), bytes.number() as u32)
        };
        let report = RtcpSenderReport {
            medium,
            ntp_timestamp: ntp,
            rtp_timestamp: rtp,
            packet_count: u32::from(bytes.byte() % 8),
            octet_count: 0,
            received_at: self.now,
        };
        let _ = self.sync.update_rtcp_sender_report(&report);
        let _ = self.map.update(&report);
        self.drift.observe_report(&report);
        self.drift.refresh();
    }

    fn factor(&mut self, bytes: &mut Bytes<'_>) {
        let factor = match bytes.byte() % 2 {
            0 => 1.0 + (bytes.small() as f64 - 128.0) * 1e-4,
            _ => f64::from_bits(bytes.number()),
        };
        let good = (0.99..=1.01).contains(&factor);
        assert_eq!(self.sync.apply_clock_drift_correction(factor).is_ok(), good);
        assert_eq!(self.correction.set_factor(factor).is_ok(), good);
        if bytes.byte() == 0 {
            self.sync.resume_automatic_correction();
        }
        let input = vec![f32::from_bits(bytes.number() as u32); bytes.small() as usize * 8];
        let mut output = vec![0.0; bytes.small() as usize * 8];
        let (taken, given) = self.correction.process(&input, &mut output);
        assert!(taken <= input.len() && given <= output.len());
        assert!((0.99..=1.01).contains(&self.correction.factor()));
    }

    fn clocks(&mut self, bytes: &mut Bytes<'_>) {
        let (rtp, us) = (bytes.number() as u32, bytes.number() >> (bytes.byte() % 64));
        self.drift.observe_packet(rtp, self.now);
        self.drift.refresh();
        let _ = self.map.rtp_to_wall_clock(AudioTimestamp(rtp));
        let _ = self.map.wall_clock_to_rtp(us);
        let _ = self.sync.rtp_to_wall_clock(VideoTimestamp(rtp));
        let _ = self.sync.wall_clock_to_rtp::<VideoTimestamp>(us);
        let _ = self.sync.wall_clock_to_rtp::<AudioTimestamp>(us);
        if let Ok(us) = self.sync.rtp_to_wall_clock(AudioTimestamp(rtp)) {
            let back = self.sync.wall_clock_to_rtp::<AudioTimestamp>(us);
            let confidence = self.sync.wall_clock_confidence(AudioTimestamp(rtp));
            assert!(confidence >= 0.5 && back.is_ok(), "{us}: {back:?}");
        }
        let there = self.sync.align_with_peer(&self.other);
        let back = self.other.align_with_peer(&self.sync);
        assert_eq!(there.is_ok(), back.is_ok());
        if let (Ok(there), Ok(back)) = (there, back) {
            assert_eq!(there.offset_ms, -back.offset_ms);
            assert!((0.0..=1.0).contains(&there.confidence));
        }
    }

    fn check(&mut self) {
        let statistics = self.sync.get_buffer_statistics();
        let counted = counters(&statistics);
        for (now, before) in counted.iter().zip(self.counted) {
            assert!(*now >= before, "a counter went back: {statistics:?}");
        }
        self.counted = counted;
        for medium in [statistics.audio, statistics.video] {
            let s: BufferStatistics = medium.buffer;
            let fates = s.frames + medium.dropped_frames + s.current as u64;
            assert_eq!(s.inserted, fates, "each packet has one fate: {s:?}");
            assert!(s.current <= medium.max_frames && s.peak <= medium.max_frames, "{s:?}");
            assert!((0.0..=1.0).contains(&s.loss_rate), "{s:?}");
        }
        assert!(statistics.audio.hold <= Duration::from_millis(500), "{statistics:?}");
        assert!(statistics.video.hold <= Duration::from_millis(1_500), "{statistics:?}");
        assert!((0.99..=1.01).contains(&self.sync.correction_factor()));
        let estimates = [
            self.sync.estimate_clock_drift(),
            self.sync.estimate_clock_drift_of(Medium::Video),
            self.drift.estimate(),
        ];
        for estimate in estimates.into_iter().flatten() {
            let ClockDriftEstimate { drift_ppm, error_ppm, confidence, .. } = estimate;
            assert!(drift_ppm.abs() <= 2_000.0 && error_ppm >= 0.0, "{estimate:?}");
            assert!((0.0..=1.0).contains(&confidence), "{estimate:?}");
        }
        let _ = (self.sync.get_sync_state(), self.sync.poll_timeout());
    }
}

/// All that only grows.
fn counters(of: &SyncStatistics) -> [u64; 22] {
    let [audio, video] = [&of.audio.buffer, &of.video.buffer].map(|s| {
        let peak = s.peak as u64;
        [s.inserted, s.frames, s.late, s.duplicates, s.overruns, s.strays, s.flushed, peak]
    });
    let mut all = [0; 22];
    let rest = [
        of.reports,
        of.ignored_reports,
        of.bad_reports,
        of.invalid_frames,
        of.backward_instants,
        of.payload_bytes,
    ];
    for (slot, count) in all.iter_mut().zip(audio.into_iter().chain(video).chain(rest)) {
        *slot = count;
    }
    all
}

/// A picture of no pixels: the general calls don't look at it.
fn nothing() -> VideoPicture {
    VideoPicture { width: 0, height: 0, format: VideoFormat::Rgba, planes: Arc::new([]) }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::rng::{Rng, Seed};

    proptest! {
        #[test]
        fn no_bytes_break_a_promise(bytes in prop::collection::vec(any::<u8>(), 0..1_500)) {
            hostile(Instant::now(), &bytes);
        }
    }

    #[test]
    fn a_long_history_breaks_no_promise() {
        let mut bytes = vec![0; 100_000];
        Rng::new(Seed::from_number(7)).fill(&mut bytes);
        hostile(Instant::now(), &bytes);
    }
}
