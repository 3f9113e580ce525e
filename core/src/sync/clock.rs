//! What clocks are told apart, what is known about them, and what can be wrong with it.

use crate::trace::state::saved;
use std::time::Instant;

/// A medium of a peer. Each has an RTP clock of its own: their timestamps are never compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Medium {
    /// Audio.
    Audio,
    /// Video.
    Video,
}

impl std::fmt::Display for Medium {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Audio => "audio",
            Self::Video => "video",
        })
    }
}

/// An RTP timestamp that carries its medium in its type: [`AudioTimestamp`] and [`VideoTimestamp`], and
/// no other.
pub trait MediaTimestamp: Copy + sealed::Sealed {
    /// The medium.
    const MEDIUM: Medium;
    /// The timestamp of `rtp` ticks, as on the wire.
    fn from_rtp(rtp: u32) -> Self;
    /// The ticks, as on the wire: they wrap.
    fn rtp(self) -> u32;
}

/// An RTP timestamp of the audio clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct AudioTimestamp(pub u32);

saved!(struct AudioTimestamp(a));

/// An RTP timestamp of the video clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct VideoTimestamp(pub u32);

saved!(struct VideoTimestamp(a));

impl MediaTimestamp for AudioTimestamp {
    const MEDIUM: Medium = Medium::Audio;

    fn from_rtp(rtp: u32) -> Self {
        Self(rtp)
    }

    fn rtp(self) -> u32 {
        self.0
    }
}

impl MediaTimestamp for VideoTimestamp {
    const MEDIUM: Medium = Medium::Video;

    fn from_rtp(rtp: u32) -> Self {
        Self(rtp)
    }

    fn rtp(self) -> u32 {
        self.0
    }
}

mod sealed {
    pub trait Sealed {}
    impl Sealed for super::AudioTimestamp {}
    impl Sealed for super::VideoTimestamp {}
}

/// What an RTCP sender report says about a stream's clock (RFC 3550, section 6.4.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RtcpSenderReport {
    /// Which stream's clock it is about.
    pub medium: Medium,
    /// The sender's wall clock: seconds since 1900 in the upper 32 bits, their fractions in the lower.
    /// The seconds wrap in 2036.
    pub ntp_timestamp: u64,
    /// The same instant in ticks of the stream's clock.
    pub rtp_timestamp: u32,
    /// Packets that the sender sent of the stream.
    pub packet_count: u32,
    /// Their payload in bytes.
    pub octet_count: u32,
    /// When the report arrived.
    pub received_at: Instant,
}

/// How fast a sender's media clock runs, compared with the local one.
#[derive(Debug, Clone, Copy, PartialEq)]
#[non_exhaustive]
pub struct ClockDriftEstimate {
    /// Parts per million by which the sender's clock is faster (negative: slower): −2000 to 2000.
    pub drift_ppm: f64,
    /// The standard error of `drift_ppm`: the truth is within twice that and 1 ppm in at least 95 % of
    /// cases.
    pub error_ppm: f64,
    /// The observations that it rests on: minima of the transit time over half a second to two, or, of
    /// a stream that sends no packets, sender reports.
    pub sample_count: usize,
    /// What corrects it: 1 + `drift_ppm` / 1,000,000.
    pub correction_factor: f64,
    /// The probability that `drift_ppm` is right within 10 ppm: 0 to 1.
    pub confidence: f64,
    /// What to do about it.
    pub recommended_action: RecommendedAction,
}

saved!(struct ClockDriftEstimate {
    drift_ppm, error_ppm, sample_count, correction_factor, confidence, recommended_action,
});

/// What to do about a drift.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum RecommendedAction {
    /// Nothing: it is surely below half the threshold.
    None,
    /// Keep an eye on it: it may be above half the threshold.
    Monitor,
    /// Correct it: it is surely above the threshold.
    Adjust,
    /// Something else is wrong: the clock is far off, it or the network jumps about, or the error is
    /// large.
    Investigate,
}

saved!(
    enum RecommendedAction {
        None,
        Monitor,
        Adjust,
        Investigate,
    }
);

/// Why a clock could not be read, or not be corrected.
#[derive(Debug, Clone, Copy, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum ClockError {
    /// The report's wall clock is not set.
    #[error("invalid NTP timestamp {ntp:#018x} in a sender report: {reason}")]
    InvalidNtpTimestamp {
        /// The timestamp.
        ntp: u64,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// The report does not continue the ones before. It is held: if the next report agrees with it, the
    /// map starts afresh with these two.
    #[error("discontinuity: a sender report is {offset_us} µs off the ones before")]
    TimestampDiscontinuity {
        /// The report's NTP time minus what its RTP timestamp stood for before, in microseconds.
        offset_us: i64,
    },
    /// The report is about the other medium's clock.
    #[error("a sender report of {got} was given to the clock of {expected}")]
    WrongMedium {
        /// The clock's medium.
        expected: Medium,
        /// The report's medium.
        got: Medium,
    },
    /// No sender report has come yet.
    #[error("no sender report maps timestamps to the wall clock yet")]
    NoNtpMapping,
    /// The result is no timestamp.
    #[error("{what} is out of range: {value}")]
    OutOfRange {
        /// What was to be mapped.
        what: &'static str,
        /// Its value.
        value: i64,
    },
    /// The factor is no correction.
    #[error("invalid correction factor: {0} is not within 0.99 to 1.01")]
    InvalidCorrectionFactor(f64),
}
