//! A stream of packets on one timeline, and its clock.

use std::time::{Duration, Instant};

use super::sequence::ahead;
use crate::trace::state::{Layout, Reader, Save, Unreadable, Writer, saved};

pub(super) const SECOND: i64 = 1_000_000_000;

/// How late a stream may begin, in nanoseconds: playing 12.5 % faster makes up for it within 2 s. A timestamp that
/// runs against the sequence numbers by more is of another stream, and video that is later is far behind.
pub(super) const MAX_BEHIND: i64 = SECOND / 4;

/// What comes later than what overtook it by more than that, in nanoseconds, is of another timeline: networks
/// hold up whole streams for so long, but no single packets.
pub(super) const MAX_OVERTAKEN: i64 = 5 * SECOND;

/// An RTP time ahead of its arrival by more than that, in nanoseconds, belongs to another timeline, unless the packets
/// from the one before to it can have lasted for as long: behind an outage what a queue kept of it comes first, late,
/// and then what is on time again.
const MAX_AHEAD: i64 = SECOND;

/// The gap in sequence numbers, and the number of steps back, behind which a stream must have
/// restarted (RFC 3550, appendix A.1).
const MAX_DROPOUT: i64 = 3_000;
const MAX_MISORDER: i64 = 100;

/// The clock of the timestamps.
#[derive(Debug, Clone, Copy)]
pub(super) struct Scale {
    pub(super) rate: i64,
    /// A tick is so many nanoseconds, as a fraction in lowest terms: one division is enough.
    per_tick: (i64, i64),
    /// The shortest packet in ticks.
    pub(super) shortest: i64,
    /// The longest.
    pub(super) longest: i64,
}

impl Save for Scale {
    fn layout(layout: &mut Layout) {
        layout.name("scale");
    }

    fn save(&self, to: &mut Writer) {
        self.rate.save(to);
    }

    fn load(from: &mut Reader<'_>) -> Result<Self, Unreadable> {
        match i64::load(from)?.try_into() {
            Ok(rate @ 1..) => Ok(Self::new(rate)),
            _ => Err(from.wrong("no rate of a clock")),
        }
    }
}

impl Scale {
    pub(super) fn new(clock_rate: u32) -> Self {
        let rate = i64::from(clock_rate).max(1);
        let shortest = (rate / 400).max(1);
        let common = gcd(SECOND, rate);
        let per_tick = (SECOND / common, rate / common);
        Self { rate, per_tick, shortest, longest: (rate * 120 / 1_000).max(shortest) }
    }

    pub(super) fn nanos(self, ticks: i64) -> i64 {
        let (nanos, ticks_of) = self.per_tick;
        if let Some(product) = ticks.checked_mul(nanos) {
            return product.div_euclid(ticks_of);
        }
        // Of centuries.
        let nanos = i128::from(ticks) * i128::from(nanos);
        let nanos = nanos.div_euclid(i128::from(ticks_of));
        nanos.clamp(i64::MIN.into(), i64::MAX.into()) as i64
    }
}

/// The greatest common divisor (Euclid).
const fn gcd(a: i64, b: i64) -> i64 {
    if b == 0 { a } else { gcd(b, a % b) }
}

/// What is known about the stream since it started, on a timeline of ticks that do not wrap.
#[derive(Debug)]
pub(super) struct Stream {
    /// Sequence number, timestamp and ticks of the packet that is furthest ahead.
    pub(super) newest: (u64, u32, i64),
    /// When that one arrived.
    pub(super) arrived: i64,
    /// The lowest sequence number that was not played or given up.
    pub(super) next: u64,
    /// Which of the 128 numbers before `next` were played, the last one in the lowest bit.
    pub(super) played: u128,
    /// When tick 0 is due, in nanoseconds.
    pub(super) offset: i64,
    /// Sequence number and timestamp of the last packet, if it did not belong here.
    pub(super) suspect: Option<(u64, u32)>,
    /// `None` from the start or from a silence to the first packet that is played.
    pub(super) playing: Option<Playing>,
}

saved!(struct Stream { newest, arrived, next, played, offset, suspect, playing });

#[derive(Debug, Clone, Copy)]
pub(super) struct Playing {
    /// Where what was played or concealed ends, in ticks.
    pub(super) end: i64,
    /// Where the last packet began.
    pub(super) start: i64,
    /// How much was concealed since the last packet.
    pub(super) concealed: i64,
    /// Where what was concealed with the help of a packet behind it ends, in ticks.
    pub(super) filled: i64,
    /// The length of the last packet.
    pub(super) step: i64,
    /// Whether the last packet announced silence.
    pub(super) dtx: bool,
}

saved!(struct Playing { end, start, concealed, filled, step, dtx } if is_possible);

impl Playing {
    /// Whether what is made up for it comes to an end.
    fn is_possible(&self) -> bool {
        self.step > 0 && self.concealed >= 0
    }

    /// The packet from `start` on, `step` ticks long, is what was played last.
    pub(super) const fn packet(start: i64, step: i64, dtx: bool) -> Self {
        let end = start.saturating_add(step);
        Self { end, start, concealed: 0, filled: i64::MIN, step, dtx }
    }
}

impl Stream {
    pub(super) fn new(sequence: u64, rtp: u32, arrived: i64) -> Self {
        Self {
            newest: (sequence, rtp, 0),
            arrived,
            next: 0,
            played: 0,
            offset: 0,
            suspect: None,
            playing: None,
        }
    }

    pub(super) fn ticks(&self, rtp: u32) -> i64 {
        self.newest.2.saturating_add(ahead(rtp, self.newest.1))
    }

    pub(super) fn rtp(&self, ticks: i64) -> u32 {
        self.newest.1.wrapping_add(ticks.wrapping_sub(self.newest.2) as u32)
    }

    /// Whether the packet before began there too.
    pub(super) fn repeats(&self, ticks: i64) -> bool {
        self.playing.is_some_and(|playing| playing.start == ticks)
    }

    /// When `ticks` should be played by the delay in force.
    pub(super) fn planned(&self, ticks: i64, scale: Scale) -> i64 {
        self.offset.saturating_add(scale.nanos(ticks))
    }

    /// Whether a packet can belong to the stream.
    pub(super) fn continued_by(
        &self,
        sequence: u64,
        rtp: u32,
        arrived: i64,
        fastest: Option<i64>,
        scale: Scale,
    ) -> bool {
        let steps = sequence.wrapping_sub(self.newest.0) as i64;
        if !(-MAX_MISORDER..MAX_DROPOUT).contains(&steps) {
            return false;
        }
        let moved = scale.nanos(ahead(rtp, self.newest.1));
        if steps >= 0 && moved < -MAX_BEHIND || steps <= 0 && moved > MAX_BEHIND {
            return false;
        }
        let transit = arrived.saturating_sub(scale.nanos(self.ticks(rtp)));
        let overtaken = arrived.saturating_sub(self.arrived).saturating_sub(moved);
        let lasted = scale.nanos(scale.longest).saturating_mul(steps);
        (steps >= 0 || overtaken <= MAX_OVERTAKEN)
            && (moved <= lasted
                || fastest.is_none_or(|fastest| transit >= fastest.saturating_sub(MAX_AHEAD)))
    }
}

pub(super) fn nanos(duration: Duration) -> i64 {
    i64::try_from(duration.as_nanos()).unwrap_or(i64::MAX)
}

/// The nanoseconds from `origin` to `at`, negative where `at` is before it.
pub(super) fn since(origin: Instant, at: Instant) -> i64 {
    match at.checked_duration_since(origin) {
        Some(after) => nanos(after),
        None => -nanos(origin.duration_since(at)),
    }
}

pub(super) fn span(nanos: i64) -> Duration {
    Duration::from_nanos(nanos.max(0) as u64)
}

/// The instant `nanos` after `origin`, or `origin` where the platform has no such instant.
pub(super) fn instant(origin: Instant, nanos: i64) -> Instant {
    let distance = Duration::from_nanos(nanos.unsigned_abs());
    let instant =
        if nanos < 0 { origin.checked_sub(distance) } else { origin.checked_add(distance) };
    instant.unwrap_or(origin)
}
