//! Between RTP timestamps and the sender's wall clock.

use std::marker::PhantomData;

use super::clock::{ClockError, MediaTimestamp, RtcpSenderReport};
use super::robust::{Line, Sample, fit};
use super::sequence::ahead;
use crate::trace::state::{Save, saved};

/// How many reports the line goes through: as many as libwebrtc takes. At 5 s, over 95 s.
pub(super) const REPORTS: usize = 20;

/// Seconds from 1900 to 1970 (RFC 868).
const UNIX_EPOCH: u64 = 2_208_988_800;

/// One second in units of NTP: 2^-32 s.
const SECOND: i64 = 1 << 32;

/// Reports that are older than the newest by so many seconds are forgotten.
const AGE: i64 = 300;

/// What a report may always be off, in microseconds: below it is no step worth a restart.
const TOLERANCE: f64 = 600.0;

/// How many standard deviations of the prediction a report may be off.
const DEVIATIONS: f64 = 8.0;

/// And how many two reports may differ that agree on a step.
const AGREEMENT: f64 = 6.0;

/// What few reports may each be off while they can't tell, in microseconds: a quarter of what makes up the
/// 8 to 12 ms that senders are off whose timestamps stand still between two calls of a capture device
/// (Chromium, some encoders), since it counts [`DEVIATIONS`] times.
const NOISE: f64 = 2_500.0;

/// By how much the scatter about a line through so few reports, none to seven, may be too small: what the
/// next one is off is within eight times that in 99.9 % of cases, be the noise even or Gaussian
/// (measured, 4000 runs each). The line passes close by two of three at times, and by three of five.
const WIDER: [f64; 8] = [f64::INFINITY, f64::INFINITY, f64::INFINITY, 20.0, 10.0, 10.0, 3.0, 2.5];

/// How far media clocks are off, at most, before a second report tells: in ppm.
const CLOCK_PPM: f64 = 1_000.0;

/// A step beyond that, in microseconds, is an error, and takes what was known of the rate with it.
const DISCONTINUITY: f64 = 1e6;

/// What a report became.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum ReportUse {
    /// It is part of the map.
    Used,
    /// Ignored: it was there already, it is too old, or of another stream.
    Ignored,
    /// It is off the map, and held: the map is the old one until another report agrees with this one.
    /// If the next agrees with the map instead, this one was wrong.
    Held,
    /// It agrees with the held one: the sender's clock made a step, which the map has followed.
    Stepped,
}

/// The map between a stream's RTP timestamps and its sender's wall clock, from sender reports.
///
/// A robust line goes through the last 20 reports: one that is off counts little, and a media clock of
/// another pace than the wall clock (some 100 ppm are common) is followed. Everything is kept as integer
/// distances from the newest report; only the small rest between the clocks is a float. A step of the
/// sender's clock is followed with the second report after it. Nothing is allocated.
///
/// A step is what is off by more than eight standard deviations of the reports and than 0.6 ms. What is smaller
/// cannot be told from noise by single reports: the line takes it in as it does noise, gradually, with the reports
/// of 95 s at 5 s each. So where reports wobble by 1 ms a step of up to 8 ms, and where there are few of them one of
/// up to 20 ms, is not called one, and the map is off by up to that meanwhile.
///
/// The type says which medium's timestamps it maps.
#[derive(Debug, Clone)]
pub struct NtpMap<T> {
    rate: i64,
    /// The newest report's wall clock and timestamp: everything else is relative to it.
    anchor: Option<(u64, u32)>,
    /// Oldest first.
    reports: [Report; REPORTS],
    count: usize,
    line: Line,
    /// Reports that are off, oldest first.
    held: [(u64, u32); 2],
    holding: usize,
    medium: PhantomData<T>,
}

saved!(struct NtpMap<T> [T: Save] { rate, anchor, reports, count, line, held, holding, medium });

/// A report, as distance from the anchor.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Report {
    /// In units of NTP.
    wall: i64,
    ticks: i64,
}

saved!(struct Report { wall, ticks });

impl<T: MediaTimestamp> NtpMap<T> {
    /// A map for timestamps of `clock_rate` Hz (at least 1), of no report yet.
    pub fn new(clock_rate: u32) -> Self {
        Self {
            rate: i64::from(clock_rate.max(1)),
            anchor: None,
            reports: [Report::default(); REPORTS],
            count: 0,
            line: Line::default(),
            held: [(0, 0); 2],
            holding: 0,
            medium: PhantomData,
        }
    }

    /// Takes in a report.
    ///
    /// # Errors
    ///
    /// - [`ClockError::WrongMedium`]: it is about another clock. Nothing changed.
    /// - [`ClockError::InvalidNtpTimestamp`]: its wall clock is zero (RFC 3550, section 6.4.1: the sender
    ///   has none) or before 1970. Nothing changed.
    /// - [`ClockError::TimestampDiscontinuity`]: it is off by more than a second. It is held like one
    ///   that is off by less.
    pub fn update(&mut self, report: &RtcpSenderReport) -> Result<ReportUse, ClockError> {
        if report.medium != T::MEDIUM {
            return Err(ClockError::WrongMedium { expected: T::MEDIUM, got: report.medium });
        }
        let (ntp, rtp) = (report.ntp_timestamp, report.rtp_timestamp);
        let invalid = |reason| Err(ClockError::InvalidNtpTimestamp { ntp, reason });
        if ntp == 0 {
            return invalid("it is zero");
        }
        if unix(i128::from(ntp), ntp).is_none() {
            return invalid("it is before 1970");
        }
        let Some(anchor) = self.anchor else {
            self.restart(&[(ntp, rtp)]);
            return Ok(ReportUse::Used);
        };
        let new = distance(anchor, (ntp, rtp));
        let off = self.rest(new) - self.line.at(self.seconds(new.ticks));
        if off.abs() <= self.tolerance(new) {
            return Ok(self.insert((ntp, rtp), new));
        }
        // Of the past, and not to be believed: there are better ones.
        if new.wall < 0 && new.ticks < 0 {
            return Ok(ReportUse::Ignored);
        }
        self.hold((ntp, rtp), off)
    }

    fn hold(&mut self, new: (u64, u32), off: f64) -> Result<ReportUse, ClockError> {
        if let Some(last) =
            self.holding.checked_sub(1).and_then(|last| self.held.get(last).copied())
        {
            if last == new {
                return Ok(ReportUse::Ignored);
            }
            if self.agree(last, new) {
                self.step(last, new, off);
                return Ok(ReportUse::Stepped);
            }
        }
        if let Some(slot) = self.held.get_mut(self.holding) {
            *slot = new;
            self.holding += 1;
        } else {
            // Three in a row that agree with nothing: no step but noise, which the map has to learn.
            let [first, second] = self.held;
            self.holding = 0;
            self.restart(&[first, second, new]);
            return Ok(ReportUse::Stepped);
        }
        if off.abs() > DISCONTINUITY {
            return Err(ClockError::TimestampDiscontinuity { offset_us: off as i64 });
        }
        Ok(ReportUse::Held)
    }

    /// Whether two reports lie on one line, of the rate that is known.
    fn agree(&self, one: (u64, u32), other: (u64, u32)) -> bool {
        let between = distance(one, other);
        let passed = self.seconds(between.ticks);
        let rest = self.rest(between) - self.line.slope * passed;
        let vague = if self.count < 2 {
            CLOCK_PPM
        } else {
            3.0 * self.line.slope_error * self.noise() / self.line.sigma
        };
        let noise = (AGREEMENT * self.noise()).max(TOLERANCE);
        rest.abs() <= noise + vague.min(CLOCK_PPM) * passed.abs()
    }

    /// Follows a step. The rate of the media clock outlives a small one, since it is only the wall clock
    /// that was set.
    fn step(&mut self, one: (u64, u32), other: (u64, u32), off: f64) {
        self.holding = 0;
        let Some(anchor) = self.anchor.filter(|_| off.abs() < DISCONTINUITY) else {
            return self.restart(&[one, other]);
        };
        let first = distance(anchor, one);
        let before = self.rest(first) - self.line.at(self.seconds(first.ticks));
        let shift = ((before + off) / 2.0 * 1e-6 * SECOND as f64) as i64;
        for report in self.reports.iter_mut().take(self.count) {
            report.wall = report.wall.saturating_add(shift);
        }
        for new in [one, other] {
            if let Some(anchor) = self.anchor {
                self.insert(new, distance(anchor, new));
            }
        }
    }

    fn restart(&mut self, reports: &[(u64, u32)]) {
        self.count = 0;
        self.anchor = None;
        for report in reports {
            let anchor = *self.anchor.get_or_insert(*report);
            self.insert(*report, distance(anchor, *report));
        }
    }

    /// Puts a report in its place and fits the line anew.
    fn insert(&mut self, report: (u64, u32), new: Report) -> ReportUse {
        let place = self.reports.iter().take(self.count).position(|old| old.ticks >= new.ticks);
        let place = place.unwrap_or(self.count);
        let oldest = place == 0 && self.count == REPORTS;
        if oldest || self.reports.iter().take(self.count).any(|old| old.ticks == new.ticks) {
            return ReportUse::Ignored;
        }
        let mut place = place;
        if self.count == REPORTS {
            self.reports.copy_within(1.., 0);
            self.count -= 1;
            place -= 1;
        }
        self.reports.copy_within(place..self.count, place + 1);
        if let Some(slot) = self.reports.get_mut(place) {
            *slot = new;
        }
        self.count += 1;
        if place + 1 == self.count {
            // The newest: distances are from it.
            self.holding = 0;
            self.anchor = Some(report);
            for old in self.reports.iter_mut().take(self.count) {
                old.wall = old.wall.saturating_sub(new.wall);
                old.ticks = old.ticks.saturating_sub(new.ticks);
            }
            let limit = -AGE * self.rate;
            let gone = self.reports.iter().take(self.count).filter(|old| old.ticks < limit).count();
            self.reports.copy_within(gone..self.count, 0);
            self.count -= gone;
        }
        self.fit();
        ReportUse::Used
    }

    fn fit(&mut self) {
        let mut samples = [Sample::default(); REPORTS];
        for (sample, report) in samples.iter_mut().zip(&self.reports).take(self.count) {
            *sample = Sample { x: self.seconds(report.ticks), y: self.rest(*report) };
        }
        self.line = fit(samples.get(..self.count).unwrap_or_default());
    }

    /// How far a report may be off the line, in microseconds.
    fn tolerance(&self, new: Report) -> f64 {
        let x = self.seconds(new.ticks);
        let pace = if self.count < 2 { CLOCK_PPM * x.abs() } else { 0.0 };
        let noise = DEVIATIONS * self.noise() * (1.0 + self.line.leverage(x)).sqrt();
        noise.max(TOLERANCE) + pace
    }

    /// The standard deviation of a report, in microseconds, as large as it may well be.
    fn noise(&self) -> f64 {
        let sigma = self.line.sigma;
        WIDER.get(self.count).map_or(sigma, |wider| (sigma * wider).min(NOISE).max(sigma))
    }

    fn seconds(&self, ticks: i64) -> f64 {
        ticks as f64 / self.rate as f64
    }

    /// What is left of a distance on the wall clock without that of the media clock, in microseconds:
    /// exact to a part in 10^15 of itself.
    fn rest(&self, report: Report) -> f64 {
        let wall = i128::from(report.wall) * i128::from(self.rate);
        let media = i128::from(report.ticks) * i128::from(SECOND);
        (wall - media) as f64 / self.rate as f64 / SECOND as f64 * 1e6
    }

    /// The sender's wall clock at the timestamp, in microseconds since 1970. The timestamp is taken for
    /// the one that is nearest to the newest report.
    ///
    /// # Errors
    ///
    /// [`ClockError::NoNtpMapping`] before the first report; [`ClockError::OutOfRange`] for a time
    /// before 1970.
    pub fn rtp_to_wall_clock(&self, timestamp: T) -> Result<u64, ClockError> {
        let (ntp, rtp) = self.anchor.ok_or(ClockError::NoNtpMapping)?;
        let ticks = ahead(timestamp.rtp(), rtp);
        let media = i128::from(ticks) * i128::from(SECOND) / i128::from(self.rate);
        let small = self.line.at(self.seconds(ticks)) * 1e-6 * SECOND as f64;
        let wall = i128::from(ntp) + media + small.round() as i128;
        unix(wall, ntp).ok_or(ClockError::OutOfRange {
            what: "RTP timestamp",
            value: i64::from(timestamp.rtp()),
        })
    }

    /// The timestamp at the sender's wall clock `us`, in microseconds since 1970, to the nearest tick.
    ///
    /// # Errors
    ///
    /// [`ClockError::NoNtpMapping`] before the first report; [`ClockError::OutOfRange`] for what is
    /// farther from the newest report than half the timestamps' range (12 hours at 48 kHz).
    pub fn wall_clock_to_rtp(&self, us: u64) -> Result<T, ClockError> {
        let (ntp, rtp) = self.anchor.ok_or(ClockError::NoNtpMapping)?;
        let anchor = unix_units(i128::from(ntp), ntp);
        let wall = (i128::from(us) << 32) / 1_000_000 - anchor;
        // wall = x + (level + slope * x), in seconds of the media clock x.
        let seconds = wall as f64 / SECOND as f64;
        let (level, slope) = (self.line.level * 1e-6, self.line.slope * 1e-6);
        let small = (level + slope * seconds) / (1.0 + slope);
        let ticks =
            (wall * i128::from(self.rate)) as f64 / SECOND as f64 - small * self.rate as f64;
        let ticks = ticks.round();
        if !(f64::from(i32::MIN)..=f64::from(i32::MAX)).contains(&ticks) {
            let value = i64::try_from(us).unwrap_or(i64::MAX);
            return Err(ClockError::OutOfRange { what: "wall clock", value });
        }
        Ok(T::from_rtp(rtp.wrapping_add(ticks as i32 as u32)))
    }

    /// How many reports the map rests on: 0 to 20.
    pub fn reports(&self) -> usize {
        self.count
    }

    /// Whether the last report is off the map, so that a step may have happened.
    pub fn is_unsettled(&self) -> bool {
        self.holding > 0
    }

    /// How much faster the media clock is than the sender's wall clock, in ppm; 0 before two reports.
    pub fn media_clock_ppm(&self) -> f64 {
        // The rest grows where the media clock is slow.
        (1.0 / (1.0 + self.line.slope * 1e-6) - 1.0) * 1e6
    }

    /// The standard error of the map at the newest report, in microseconds; `None` before three reports,
    /// which alone can tell.
    pub fn error_us(&self) -> Option<f64> {
        (self.count > 2).then(|| self.noise() * self.line.leverage(0.0).sqrt())
    }

    /// Forgets all reports.
    pub fn reset(&mut self) {
        (self.anchor, self.count, self.holding) = (None, 0, 0);
        self.line = Line::default();
    }
}

/// From one report to another, by the shorter way round for both clocks.
fn distance(from: (u64, u32), to: (u64, u32)) -> Report {
    Report { wall: to.0.wrapping_sub(from.0) as i64, ticks: ahead(to.1, from.1) }
}

/// A wall clock near to `reference`, in units of NTP since 1970. Timestamps with the highest bit are of
/// 1968 to 2036, others of the era that begins then (RFC 4330, section 3).
fn unix_units(wall: i128, reference: u64) -> i128 {
    let era = if reference >> 63 == 0 { 1_i128 << 64 } else { 0 };
    wall + era - (i128::from(UNIX_EPOCH) << 32)
}

/// The same in microseconds, to the nearest; `None` before 1970.
fn unix(wall: i128, reference: u64) -> Option<u64> {
    let us = (unix_units(wall, reference) * 1_000_000 + (1 << 31)) >> 32;
    u64::try_from(us).ok()
}

#[cfg(test)]
#[path = "ntp_map_tests.rs"]
mod tests;
