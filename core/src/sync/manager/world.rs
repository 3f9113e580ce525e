//! A sender, a network and a listener in virtual time, for tests.

use std::time::{Duration, Instant};

use super::SyncManager;
use crate::sync::clock::{ClockError, Medium, RtcpSenderReport};
use crate::sync::error::SyncError;
use crate::sync::lipsync::AvOffset;
use crate::sync::ntp_map::ReportUse;
use crate::sync::packet::{ConcealReason, Inserted, Packet, Pop};
use crate::sync::playout::Playout;
use crate::sync::settings::SyncConfig;
use crate::sync::video::{VideoPacket, VideoPop};

/// 2026-11-24 in seconds since 1900, and in microseconds since 1970.
pub(in crate::sync) const NTP: u64 = 4_004_466_000;
pub(in crate::sync) const UNIX_US: u64 = (NTP - 2_208_988_800) * 1_000_000;

pub(in crate::sync) const FRAME: Duration = Duration::from_millis(20);
pub(in crate::sync) const STEP: u32 = 960;

pub(in crate::sync) fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

pub(in crate::sync) fn secs(secs: u64) -> Duration {
    Duration::from_secs(secs)
}

pub(in crate::sync) fn discontinuity<T: std::fmt::Debug>(found: Result<T, SyncError>) -> bool {
    matches!(found, Err(SyncError::Clock(ClockError::TimestampDiscontinuity { .. })))
}

/// A fixed delay of 50 ms.
pub(in crate::sync) fn fixed() -> SyncConfig {
    SyncConfig::standard().playout(Playout::Fixed)
}

/// What came out of a stream that begins with number 1000, with the milliseconds from `start` to when it was
/// due: `f` a frame and its number from there, `lost` and `dry` so many milliseconds that were concealed.
pub(in crate::sync) fn story(out: impl Iterator<Item = Pop<u64>>, start: Instant) -> String {
    let at = |due: Instant| due.duration_since(start).as_millis();
    let tell = |pop| match pop {
        Pop::Frame { packet, due, .. } => {
            format!("f{}@{}", packet.sequence as i64 - 1_000, at(due))
        }
        Pop::Conceal { duration, due, reason: ConcealReason::Lost, .. } => {
            format!("lost{}@{}", duration / 48, at(due))
        }
        Pop::Conceal { duration, due, .. } => format!("dry{}@{}", duration / 48, at(due)),
        Pop::Silence { .. } => "silence".to_owned(),
        Pop::None => unreachable!(),
    };
    out.map(tell).collect::<Vec<_>>().join(" ")
}

/// A sender and a listener around a manager.
pub(in crate::sync) struct World {
    pub(in crate::sync) sync: SyncManager<u64, u64>,
    pub(in crate::sync) start: Instant,
    pub(in crate::sync) now: Instant,
    pub(in crate::sync) out: Vec<Pop<u64>>,
    pub(in crate::sync) video: Vec<(VideoPop<u64>, AvOffset)>,
}

impl World {
    pub(in crate::sync) fn new(config: SyncConfig) -> Self {
        let start = Instant::now() + Duration::from_secs(100);
        let sync = SyncManager::new("bob", config).unwrap();
        Self { sync, start, now: start, out: Vec::new(), video: Vec::new() }
    }

    pub(in crate::sync) fn fixed() -> Self {
        Self::new(fixed())
    }

    /// Lets time pass up to `at`, and takes what is due before it.
    pub(in crate::sync) fn until(&mut self, at: Duration) {
        let at = self.start + at;
        while let Some(due) = self.sync.poll_timeout().filter(|due| *due < at) {
            self.now = self.now.max(due);
            self.sync.handle_timeout(self.now);
            self.take();
            let next = self.sync.poll_timeout();
            assert!(next.is_none_or(|next| next > self.now), "it spins");
        }
        self.now = self.now.max(at);
    }

    pub(in crate::sync) fn take(&mut self) {
        loop {
            match self.sync.pop_audio(self.now) {
                Pop::None => break,
                pop => self.out.push(pop),
            }
        }
        while let Some(pop) = self.sync.pop_video(self.now) {
            self.video.push((pop, self.sync.av_offset()));
        }
    }

    /// Lets a packet of audio arrive.
    pub(in crate::sync) fn audio(&mut self, at: Duration, sequence: u64, rtp: u32) -> Inserted {
        self.packet(at, (sequence, rtp, STEP, false))
    }

    pub(in crate::sync) fn packet(
        &mut self,
        at: Duration,
        (sequence, rtp, duration, dtx): (u64, u32, u32, bool),
    ) -> Inserted {
        self.until(at);
        let arrived = self.start + at;
        self.sync.insert_audio(Packet { sequence, rtp, duration, dtx, arrived, payload: sequence })
    }

    /// Packet number `n` of a stream from 0 on, `late` after it was sent.
    pub(in crate::sync) fn number(&mut self, n: u64, late: Duration) -> Inserted {
        self.audio(FRAME * n as u32 + late, 1_000 + n, (STEP * 1_000).wrapping_add(STEP * n as u32))
    }

    /// Lets a frame of video arrive.
    pub(in crate::sync) fn picture(&mut self, at: Duration, sequence: u64, rtp: u32) -> Inserted {
        self.until(at);
        let arrived = self.start + at;
        let (keyframe, contiguous, size) = (sequence.is_multiple_of(300), true, 1_000);
        let payload = sequence;
        let packet = VideoPacket { sequence, rtp, keyframe, contiguous, size, arrived, payload };
        self.sync.insert_video(packet)
    }

    /// Lets a report arrive that says that at `wall` after [`NTP`] the clock of `medium` stood at `rtp`.
    pub(in crate::sync) fn report(
        &mut self,
        at: Duration,
        medium: Medium,
        wall: Duration,
        rtp: u32,
    ) -> Result<ReportUse, SyncError> {
        self.until(at);
        self.sync.update_rtcp_sender_report(&report(self.start + at, medium, wall, rtp))
    }

    /// What came out of audio since the last time, as [`story`] tells it.
    pub(in crate::sync) fn story(&mut self) -> String {
        story(self.out.drain(..), self.start)
    }

    /// The sequence numbers that came out.
    pub(in crate::sync) fn frames(&self) -> Vec<u64> {
        let sequence = |pop: &Pop<u64>| match pop {
            Pop::Frame { packet, .. } => Some(packet.sequence),
            _ => None,
        };
        self.out.iter().filter_map(sequence).collect()
    }

    /// How much was concealed.
    pub(in crate::sync) fn concealed(&self) -> Duration {
        let ticks = |pop: &Pop<u64>| match pop {
            Pop::Conceal { duration, .. } => u64::from(*duration),
            _ => 0,
        };
        Duration::from_micros(self.out.iter().map(ticks).sum::<u64>() * 1_000 / 48)
    }

    pub(in crate::sync) fn delay(&self) -> Duration {
        self.sync.get_buffer_statistics().audio.buffer.current_delay
    }
}

pub(in crate::sync) fn report(
    received_at: Instant,
    medium: Medium,
    wall: Duration,
    rtp_timestamp: u32,
) -> RtcpSenderReport {
    let units = (wall.as_nanos() << 32).div_ceil(1_000_000_000) as u64;
    RtcpSenderReport {
        medium,
        ntp_timestamp: (NTP << 32).wrapping_add(units),
        rtp_timestamp,
        packet_count: 100,
        octet_count: 10_000,
        received_at,
    }
}
