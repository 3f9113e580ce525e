//! The clocks of one medium: that of its timestamps, the sender's wall clock, the local one.

use std::time::{Duration, Instant};

use super::path::Path;
use super::state::{Known, LocalClock, SyncState};
use crate::sync::clock::{ClockDriftEstimate, ClockError, MediaTimestamp, RtcpSenderReport};
use crate::sync::drift::DriftEstimator;
use crate::sync::ntp_map::{NtpMap, ReportUse};
use crate::sync::packet::Inserted;
use crate::sync::stream::since;
use crate::trace::state::{Save, saved};

/// From so many consistent reports on a stream is synced: one may be wrong, two can't tell which.
const SYNCED: usize = 3;
/// A clock that is surely further off, in ppm, is not stable.
const UNSTABLE_PPM: f64 = 1_000.0;
/// A report whose timestamp is off the stream's by more is of another one.
const FOREIGN: Duration = Duration::from_secs(30);
/// The drift is looked at anew at most so often.
const REFRESH: Duration = Duration::from_millis(500);
/// The line through the arrivals is fitted anew after a sixteenth of the time that they were seen for, up
/// to that: a fit takes as long as thousands of packets, and a filter follows in between.
const REFIT: Duration = Duration::from_secs(30);
/// A restarted encoder goes on with the next sequence number, of which so many may be lost: what begins
/// elsewhere, however near, is another source with another clock (RFC 3550, section 5.1: it begins
/// anywhere).
const CONTINUED: u64 = 8;

/// What is known about the clocks of one medium. Memory is taken with the first packet or report.
#[derive(Debug)]
pub(super) struct MediumClock<T> {
    rate: u32,
    threshold: f64,
    expiry: Duration,
    map: NtpMap<T>,
    drift: Option<Box<DriftEstimator>>,
    estimate: Option<ClockDriftEstimate>,
    refreshed: Option<Instant>,
    fitted: Option<Instant>,
    path: Path,
    /// Whether the path is that of packets, not of reports.
    packets: bool,
    /// The sequence number and the timestamp of the packet that came last.
    last: Option<(u64, u32)>,
    /// When the last report came that was not ignored.
    reported: Option<Instant>,
    /// When the sender's clock made a step, or the stream started afresh.
    stepped: Option<Instant>,
}

saved!(struct MediumClock<T> [T: Save] {
    rate, threshold, expiry, map, drift, estimate, refreshed, fitted, path, packets, last,
    reported, stepped,
});

impl<T: MediaTimestamp> MediumClock<T> {
    pub(super) fn new(rate: u32, threshold: f64, expiry: Duration) -> Self {
        Self {
            rate,
            threshold,
            expiry,
            map: NtpMap::new(rate),
            drift: None,
            estimate: None,
            refreshed: None,
            fitted: None,
            path: Path::new(rate),
            packets: false,
            last: None,
            reported: None,
            stepped: None,
        }
    }

    pub(super) fn reset(&mut self) {
        *self = Self::new(self.rate, self.threshold, self.expiry);
    }

    /// A packet came, and became that. Whether the drift is known anew.
    pub(super) fn arrived(
        &mut self,
        sequence: u64,
        rtp: u32,
        arrived: Instant,
        what: Inserted,
    ) -> bool {
        match what {
            Inserted::Queued | Inserted::Late => {}
            Inserted::Restarted => self.restarted(sequence, arrived),
            // Whatever it is, it says nothing about the clock.
            _ => return false,
        }
        if !self.packets {
            self.path.clear();
            self.packets = true;
        }
        if what != Inserted::Late {
            self.last = Some((sequence, rtp));
        }
        self.path.observe(rtp, arrived);
        self.estimator().observe_packet(rtp, arrived);
        self.refresh(arrived)
    }

    /// The stream started afresh: its timestamps mean something else. If its sequence numbers go on, only
    /// the encoder did, and the clock is the same.
    fn restarted(&mut self, sequence: u64, arrived: Instant) {
        self.map.reset();
        self.path.clear();
        self.stepped = Some(arrived);
        let ahead = self.last.and_then(|(last, _)| sequence.checked_sub(last));
        let same = ahead.is_some_and(|ahead| (1..=CONTINUED).contains(&ahead));
        if let Some(drift) = &mut self.drift {
            if same {
                drift.restart_timestamps();
            } else {
                drift.reset();
                self.estimate = None;
                (self.refreshed, self.fitted) = (None, None);
            }
        }
    }

    /// A report came.
    pub(super) fn report(&mut self, report: &RtcpSenderReport) -> Result<ReportUse, ClockError> {
        let (rtp, arrived) = (report.rtp_timestamp, report.received_at);
        if self.packets && !self.path.has(rtp, arrived, FOREIGN) {
            return Ok(ReportUse::Ignored);
        }
        let found = self.map.update(report);
        match found {
            Ok(ReportUse::Ignored) | Err(ClockError::InvalidNtpTimestamp { .. }) => return found,
            Ok(ReportUse::Stepped) => self.stepped = Some(arrived),
            _ => {}
        }
        self.reported = self.reported.max(Some(arrived));
        self.estimator().observe_report(report);
        if !self.packets {
            self.path.observe(rtp, arrived);
        }
        found
    }

    fn estimator(&mut self) -> &mut DriftEstimator {
        let (rate, threshold) = (self.rate, self.threshold);
        self.drift.get_or_insert_with(|| Box::new(DriftEstimator::new(rate, threshold)))
    }

    /// Looks at the drift anew, if it is time. Whether it did.
    pub(super) fn refresh(&mut self, now: Instant) -> bool {
        let Some(drift) = &mut self.drift else { return false };
        if self.refreshed.is_some_and(|last| now.saturating_duration_since(last) < REFRESH) {
            return false;
        }
        self.refreshed = Some(now);
        let pause = (self.path.age() / 16).min(REFIT);
        if self.fitted.is_none_or(|last| now.saturating_duration_since(last) >= pause) {
            self.fitted = Some(now);
            drift.refresh();
        }
        self.estimate = drift.estimate();
        true
    }

    pub(super) fn estimate(&self) -> Option<ClockDriftEstimate> {
        self.estimate
    }

    pub(super) fn drift_ppm(&self) -> f64 {
        self.estimate.map_or(0.0, |estimate| estimate.drift_ppm)
    }

    /// When the reports so far are too old to count.
    pub(super) fn expires(&self) -> Option<Instant> {
        self.reported?.checked_add(self.expiry)
    }

    pub(super) fn state(&self, now: Option<Instant>) -> SyncState {
        let live = self.reported.is_some()
            && self.expires().zip(now).is_none_or(|(expires, now)| now < expires);
        if !live {
            return SyncState::Unsynced;
        }
        let unstable = |estimate: ClockDriftEstimate| {
            estimate.drift_ppm.abs() - 2.0 * estimate.error_ppm > UNSTABLE_PPM
        };
        let settled = self.map.reports() >= SYNCED && !self.map.is_unsettled();
        if settled && !self.estimate.is_some_and(unstable) {
            SyncState::Synced
        } else {
            SyncState::Syncing
        }
    }

    /// The wall clock at a timestamp, in microseconds, and how sure that is.
    pub(super) fn wall_clock(
        &self,
        timestamp: T,
        local: Option<LocalClock>,
        now: Option<Instant>,
    ) -> Result<Known, ClockError> {
        match self.map.rtp_to_wall_clock(timestamp) {
            Ok(us) => {
                let fresh = self.state(now) != SyncState::Unsynced && !self.map.is_unsettled();
                let confidence = if fresh { Known::REPORTED } else { Known::DOUBTED };
                Ok(Known { us, confidence })
            }
            Err(ClockError::NoNtpMapping) => {
                let local = local.ok_or(ClockError::NoNtpMapping)?;
                let arrival = self.path.arrival(timestamp.rtp(), self.drift_ppm());
                let (origin, at) = arrival.ok_or(ClockError::NoNtpMapping)?;
                let passed = i128::from(since(local.at, origin)) + at;
                let us = i128::from(local.unix_us) + passed.div_euclid(1_000);
                let value = i64::from(timestamp.rtp());
                let us = u64::try_from(us);
                let us = us.map_err(|_| ClockError::OutOfRange { what: "RTP timestamp", value })?;
                Ok(Known { us, confidence: Known::LOCAL })
            }
            Err(error) => Err(error),
        }
    }

    /// The timestamp at a wall clock.
    pub(super) fn timestamp(&self, us: u64, local: Option<LocalClock>) -> Result<T, ClockError> {
        match self.map.wall_clock_to_rtp(us) {
            Err(ClockError::NoNtpMapping) => {
                let local = local.ok_or(ClockError::NoNtpMapping)?;
                self.path.newest().ok_or(ClockError::NoNtpMapping)?;
                let value = i64::try_from(us).unwrap_or(i64::MAX);
                let passed = (i128::from(us) - i128::from(local.unix_us)) * 1_000;
                self.path
                    .timestamp((local.at, passed), self.drift_ppm())
                    .map(T::from_rtp)
                    .ok_or(ClockError::OutOfRange { what: "wall clock", value })
            }
            found => found,
        }
    }

    pub(super) fn map(&self) -> &NtpMap<T> {
        &self.map
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn stepped(&self) -> Option<Instant> {
        self.stepped
    }
}
