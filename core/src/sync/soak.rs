//! A day of a call in virtual time: everything that happens to a stream, over and over.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::time::{Duration, Instant};

use super::clock::{AudioTimestamp, Medium, RtcpSenderReport};
use super::manager::{SyncManager, SyncState};
use super::ntp_map::ReportUse;
use super::packet::{Inserted, Packet, Pop};
use super::settings::SyncConfig;
use crate::rng::{Rng, Seed};

const NTP: u64 = 4_004_466_000;
const UNIX_US: u64 = (NTP - 2_208_988_800) * 1_000_000;
const SECOND: f64 = 1e9;

/// What became of the packets.
#[doc(hidden)]
#[derive(Debug, Clone, Copy, Default)]
pub struct SoakFigures {
    /// Packets that were sent.
    pub sent: u64,
    /// Those that the network lost.
    pub lost: u64,
    /// Those that were played.
    pub played: u64,
    /// The time that was made up, in seconds.
    pub concealed_s: f64,
    /// Restarts of the stream.
    pub restarts: u64,
    /// The mean of how long a packet was held, in milliseconds.
    pub mean_delay_ms: f64,
    /// The most packets that waited.
    pub peak: usize,
    /// The largest error of the drift, beyond twice what it claimed, in ppm.
    pub worst_drift_ppm: f64,
    /// The largest error of the wall clock, in microseconds.
    pub worst_wall_us: u64,
}

/// The call, so far.
struct Soak {
    start: Instant,
    sync: SyncManager<u64, ()>,
    rng: Rng,
    figures: SoakFigures,
    /// What is under way: when it arrives, in nanoseconds, and its number; reports lie in the upper half.
    under_way: BinaryHeap<Reverse<(u64, u64)>>,
    /// Since which packet numbers mean what they mean.
    epoch: Epoch,
    before: Epoch,
    last: Option<u64>,
    /// When each of the last reports was captured, in nanoseconds.
    captured: f64,
    delays: f64,
}

/// Packet `n` has the sequence number `n + sequence` and the timestamp `960 n + rtp`.
#[derive(Debug, Clone, Copy, Default)]
struct Epoch {
    from: u64,
    sequence: u64,
    rtp: u32,
}

const REPORT: u64 = 1 << 63;

/// Runs a call of `duration` in virtual time: 20 ms packets from a clock that wanders by ±100 ppm within
/// six hours, with jitter, delay spikes, bursts of losses, duplicates, pauses, restarts of the encoder
/// and of the stream, and a report every 5 s.
///
/// # Errors
///
/// What went wrong, and when.
#[doc(hidden)]
pub fn soak(start: Instant, seed: u64, duration: Duration) -> Result<SoakFigures, String> {
    let sync = SyncManager::new("soak", SyncConfig::standard()).map_err(|e| e.to_string())?;
    let mut soak = Soak {
        start,
        sync,
        rng: Rng::new(Seed::from_number(seed)),
        figures: SoakFigures::default(),
        under_way: BinaryHeap::new(),
        epoch: Epoch { from: 0, sequence: 65_000, rtp: 0xffff_0000 },
        before: Epoch::default(),
        last: None,
        captured: 0.0,
        delays: 0.0,
    };
    let (mut spike, mut bad, mut now) = (0.0, false, 0.0);
    let end = duration.as_nanos() as f64;
    for n in 0_u64.. {
        let hours = now / SECOND / 3_600.0;
        let ppm = 100.0 * (hours / 6.0 * std::f64::consts::TAU).sin();
        now += 0.02 * SECOND / (1.0 + ppm * 1e-6);
        if now >= end {
            break;
        }
        soak.restart(n);
        bad = soak.rng.unit() < if bad { 0.7 } else { 0.005 };
        let jitter = -0.004 * SECOND * (1.0 - soak.rng.unit()).ln();
        spike = if soak.rng.unit() < 1.0 / 3_000.0 { 0.1 * SECOND } else { spike - 0.02 * SECOND };
        let late = 0.02 * SECOND + jitter + f64::max(spike, 0.0);
        if n % 250 == 0 {
            soak.captured = now;
            soak.under_way.push(Reverse(((now + 0.02 * SECOND) as u64, n | REPORT)));
        }
        // A pause of 8 s in every quarter of an hour.
        if n % 45_000 >= 44_600 {
        } else if bad {
            soak.figures.sent += 1;
            soak.figures.lost += 1;
        } else {
            soak.figures.sent += 1;
            soak.under_way.push(Reverse(((now + late) as u64, n)));
            if soak.rng.unit() < 0.002 {
                soak.under_way.push(Reverse(((now + late) as u64 + 3_000_000, n)));
            }
        }
        soak.arrive(now as u64, ppm)?;
    }
    let statistics = soak.sync.get_buffer_statistics().audio;
    soak.figures.peak = statistics.buffer.peak;
    soak.figures.restarts = statistics.buffer.restarts;
    soak.figures.mean_delay_ms = soak.delays / soak.figures.played.max(1) as f64 * 1e3;
    Ok(soak.figures)
}

impl Soak {
    /// Every 20 minutes the encoder restarts, with other timestamps; every 55 the whole stream does.
    fn restart(&mut self, n: u64) {
        let minute = 3_000;
        let encoder = n % (20 * minute) == 10 * minute;
        let stream = n % (55 * minute) == 25 * minute;
        if encoder || stream {
            self.before = self.epoch;
            self.epoch.from = n;
            self.epoch.rtp = self.rng.next_u64() as u32;
            if stream {
                self.epoch.sequence = self.rng.next_u64() >> 40;
            }
        }
    }

    /// What arrives before `until`.
    fn arrive(&mut self, until: u64, ppm: f64) -> Result<(), String> {
        while let Some(&Reverse((at, n))) = self.under_way.peek()
            && at <= until
        {
            self.under_way.pop();
            let arrived = self.start + Duration::from_nanos(at);
            self.play(arrived)?;
            let number = n & !REPORT;
            let epoch = if number >= self.epoch.from { self.epoch } else { self.before };
            let rtp = (number as u32).wrapping_mul(960).wrapping_add(epoch.rtp);
            if n & REPORT == 0 {
                let (sequence, duration) = (number.wrapping_add(epoch.sequence), 960);
                let packet =
                    Packet { sequence, rtp, duration, dtx: false, arrived, payload: number };
                if self.sync.insert_audio(packet) == Inserted::Restarted {
                    self.last = None;
                }
            } else {
                self.report(number, arrived, rtp, ppm)
                    .map_err(|what| format!("at packet {number}: {what}"))?;
            }
        }
        Ok(())
    }

    fn play(&mut self, until: Instant) -> Result<(), String> {
        while let Some(due) = self.sync.poll_timeout().filter(|&due| due < until) {
            self.sync.handle_timeout(due);
            loop {
                match self.sync.pop_audio(due) {
                    Pop::None => break,
                    Pop::Frame { packet, delay, .. } => {
                        if self.last.is_some_and(|last| last >= packet.payload) {
                            return Err(format!("{} after {:?}", packet.payload, self.last));
                        }
                        self.last = Some(packet.payload);
                        self.figures.played += 1;
                        self.delays += delay.as_secs_f64();
                    }
                    Pop::Conceal { duration, .. } => {
                        self.figures.concealed_s += f64::from(duration) / 48_000.0;
                    }
                    Pop::Silence { .. } => {}
                }
            }
            if self.sync.poll_timeout().is_some_and(|next| next <= due) {
                return Err("it spins".to_owned());
            }
        }
        Ok(())
    }

    fn report(
        &mut self,
        number: u64,
        received_at: Instant,
        rtp: u32,
        ppm: f64,
    ) -> Result<(), String> {
        let captured = self.captured as u64;
        let units = ((u128::from(captured) << 32) / 1_000_000_000) as u64;
        let report = RtcpSenderReport {
            medium: Medium::Audio,
            ntp_timestamp: (NTP << 32) + units,
            rtp_timestamp: rtp,
            packet_count: 1,
            octet_count: 1,
            received_at,
        };
        // Around a restart it may be one of the other stream, and then be ignored or held.
        let restarted = number < self.epoch.from + 1_500;
        match self.sync.update_rtcp_sender_report(&report) {
            Ok(used) if used != ReportUse::Ignored => {}
            _ if restarted => return Ok(()),
            Ok(used) => return Err(format!("a report is {used:?}")),
            Err(error) => return Err(error.to_string()),
        }
        if self.sync.get_sync_state() == SyncState::Synced {
            let wall =
                self.sync.rtp_to_wall_clock(AudioTimestamp(rtp)).map_err(|e| e.to_string())?;
            let off = wall.abs_diff(UNIX_US + captured / 1_000);
            self.figures.worst_wall_us = self.figures.worst_wall_us.max(off);
            if off > 1_000 {
                return Err(format!("the wall clock is {off} us off"));
            }
        } else if !restarted {
            return Err(format!("it is {:?}", self.sync.get_sync_state()));
        }
        if let Some(found) = self.sync.estimate_clock_drift() {
            let off = (found.drift_ppm - ppm).abs() - 2.0 * found.error_ppm;
            self.figures.worst_drift_ppm = self.figures.worst_drift_ppm.max(off);
        }
        let s = self.sync.get_buffer_statistics().audio;
        if s.buffer.inserted != s.buffer.frames + s.dropped_frames + s.buffer.current as u64 {
            return Err(format!("packets have got lost: {s:?}"));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_hour_of_everything_breaks_nothing() {
        let hours = 1;
        let found = soak(Instant::now(), 1, Duration::from_secs(hours * 3_600)).unwrap();
        let lost = found.lost as f64 / found.sent as f64;
        let played = found.played as f64 / found.sent as f64;
        assert!(1.0 - lost - played < 0.003, "{found:?}");
        // A stream that pauses is concealed for at most 1 s before that is clear: 4 pauses an hour.
        let lost_s = found.lost as f64 * 0.02 + hours as f64 * 4.0;
        assert!(found.concealed_s < lost_s + 0.01 * 3_600.0 * hours as f64, "{found:?}");
        assert_eq!(found.restarts, 4);
        assert!(found.peak < 64 && found.mean_delay_ms < 60.0, "{found:?}");
        assert!(found.worst_drift_ppm < 10.0 && found.worst_wall_us <= 1_000, "{found:?}");
    }
}
