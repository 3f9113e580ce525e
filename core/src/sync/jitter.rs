//! The jitter buffer.

use std::time::{Duration, Instant};

use super::packet::{BufferStatistics, ConcealReason, Inserted, Packet, Pop};
use super::ring::{Refused, Ring};
use super::sequence::ahead;
use super::transit::Fastest;

const SECOND: i64 = 1_000_000_000;

/// The largest target, that of the sync manager's contract for the largest buffer.
const MAX_TARGET: Duration = Duration::from_millis(500);

/// How far playout may fall behind its plan to still play what came too late, in nanoseconds. It
/// catches up within 2 s at [`FASTER`].
const MAX_BEHIND: i64 = SECOND / 4;

/// Playout goes faster or slower by at most one part in so many: 12.5 %, to change its delay.
const FASTER: i64 = 8;

/// The part of a wanted change of delay that is made with each packet: jitter of the estimate is
/// smoothed, while the lag behind a clock 500 ppm off stays below 0.2 ms at 20 ms packets.
const SMOOTHING: i64 = 16;

/// An RTP time ahead of its arrival by more than that, in nanoseconds, belongs to another timeline.
const MAX_AHEAD: i64 = SECOND;

/// The gap in sequence numbers, and the number of steps back, behind which a stream must have
/// restarted (RFC 3550, appendix A.1).
const MAX_DROPOUT: i64 = 3_000;
const MAX_MISORDER: i64 = 100;

/// A buffer that makes the jitter of a network a constant delay.
///
/// Packets come out in the order of their sequence numbers, each once, when its timestamp is due: the
/// fastest transit through the network of the last seconds, plus the target. So the delay above the
/// network's own is the target, wherever the first packet stood; the sender's clock is followed,
/// however it drifts; and a change of target or of route is reached by playing up to 12.5 % faster or
/// slower. What comes late is played while nothing behind it was, up to 250 ms late. What is missing
/// when it is due is to be concealed; after 1 s of that, or where the sender has just paused, there is
/// silence, and the delay is set afresh with the next packet.
///
/// Instants must come from one clock; one that goes back is taken for the latest before it. At most
/// 512 consecutive sequence numbers are held; memory is taken with the first packet, and none for each.
#[derive(Debug)]
pub struct JitterBuffer<T> {
    scale: Scale,
    target: i64,
    ring: Ring<Held<T>>,
    /// The instant of nanosecond 0: the first arrival.
    origin: Option<Instant>,
    last_arrived: i64,
    last_now: i64,
    /// Nothing is due before, since what was played last is not yet over.
    earliest: i64,
    stream: Option<Stream>,
    statistics: BufferStatistics,
}

/// A packet that waits.
#[derive(Debug)]
struct Held<T> {
    packet: Packet<T>,
    ticks: i64,
    arrived: i64,
}

/// The clock of the timestamps.
#[derive(Debug, Clone, Copy)]
struct Scale {
    rate: i64,
    /// The shortest packet in ticks.
    shortest: i64,
    /// The longest.
    longest: i64,
}

impl Scale {
    fn new(clock_rate: u32) -> Self {
        let rate = i64::from(clock_rate).max(1);
        let shortest = (rate / 400).max(1);
        Self { rate, shortest, longest: (rate * 120 / 1_000).max(shortest) }
    }

    fn nanos(self, ticks: i64) -> i64 {
        let (whole, part) = (ticks.div_euclid(self.rate), ticks.rem_euclid(self.rate));
        whole.saturating_mul(SECOND).saturating_add(part * SECOND / self.rate)
    }
}

/// What is known about the stream since it started, on a timeline of ticks that do not wrap.
#[derive(Debug)]
struct Stream {
    /// Sequence number, timestamp and ticks of the packet that is furthest ahead.
    newest: (u64, u32, i64),
    /// The lowest sequence number that was not played or given up.
    next: u64,
    /// Which of the 128 numbers before `next` were played, the last one in the lowest bit.
    played: u128,
    fastest: Fastest,
    /// When tick 0 is due, in nanoseconds.
    offset: i64,
    /// Sequence number and timestamp of the last packet, if it did not belong here.
    suspect: Option<(u64, u32)>,
    /// `None` from the start or from a silence to the first packet that is played.
    playing: Option<Playing>,
}

#[derive(Debug, Clone, Copy)]
struct Playing {
    /// Where what was played or concealed ends, in ticks.
    end: i64,
    /// How much was concealed since the last packet.
    concealed: i64,
    /// Where what was concealed with the help of a packet behind it ends, in ticks.
    filled: i64,
    /// The length of the last packet.
    step: i64,
    /// Whether the last packet announced silence.
    dtx: bool,
}

/// What has to happen next, and when.
#[derive(Debug, Clone, Copy)]
enum Next {
    Play { due: i64 },
    GiveUp { due: i64 },
    Conceal { due: i64, ticks: i64, reason: ConcealReason },
    Pause { due: i64, dry: bool },
}

impl<T> JitterBuffer<T> {
    /// A buffer for timestamps of `clock_rate` Hz (at least 1) that holds packets for `target`, at most
    /// 500 ms.
    pub fn new(clock_rate: u32, target: Duration) -> Self {
        Self {
            scale: Scale::new(clock_rate),
            target: nanos(target.min(MAX_TARGET)),
            ring: Ring::new(),
            origin: None,
            last_arrived: i64::MIN,
            last_now: i64::MIN,
            earliest: i64::MIN,
            stream: None,
            statistics: BufferStatistics::default(),
        }
    }

    /// Changes the target. While something plays it is reached by playing faster or slower.
    pub fn set_target(&mut self, target: Duration) {
        self.target = nanos(target.min(MAX_TARGET));
        self.anchor();
    }

    /// Takes a packet in.
    pub fn insert(&mut self, mut packet: Packet<T>) -> Inserted {
        let longest = self.scale.longest;
        packet.duration = i64::from(packet.duration).clamp(self.scale.shortest, longest) as u32;
        let origin = *self.origin.get_or_insert(packet.arrived);
        let arrived = since(origin, packet.arrived).max(self.last_arrived);
        self.last_arrived = arrived;
        self.statistics.inserted += 1;

        let (sequence, rtp) = (packet.sequence, packet.rtp);
        if sequence == u64::MAX {
            // Nothing could follow it.
            self.statistics.strays += 1;
            return Inserted::Stray;
        }
        let mut done = Inserted::Queued;
        match &mut self.stream {
            None => self.stream = Some(Stream::new(sequence, rtp)),
            Some(stream)
                if stream.continued_by(sequence, rtp, arrived, self.target, self.scale) =>
            {
                stream.suspect = None;
            }
            Some(stream) => {
                let before = stream.suspect.replace((sequence, rtp));
                let confirmed = before.is_some_and(|(last, last_rtp)| {
                    Some(sequence) == last.checked_add(1)
                        && ahead(rtp, last_rtp).abs() <= self.scale.rate
                });
                if !confirmed {
                    self.statistics.strays += 1;
                    return Inserted::Stray;
                }
                self.statistics.flushed += self.ring.len() as u64;
                self.statistics.restarts += 1;
                self.ring.clear();
                self.stream = Some(Stream::new(sequence, rtp));
                done = Inserted::Restarted;
            }
        }
        match self.queue(packet, arrived) {
            Ok(()) => done,
            Err(refused) => refused,
        }
    }

    fn queue(&mut self, packet: Packet<T>, arrived: i64) -> Result<(), Inserted> {
        let Some(stream) = &mut self.stream else { return Err(Inserted::Stray) };
        let (sequence, rtp) = (packet.sequence, packet.rtp);
        let ticks = stream.ticks(rtp);
        if let Some(before) = stream.next.checked_sub(sequence).filter(|&before| before > 0) {
            if before <= 128 && stream.played >> (before - 1) & 1 == 1 {
                self.statistics.duplicates += 1;
                return Err(Inserted::Duplicate);
            }
            self.statistics.late += 1;
            return Err(Inserted::Late);
        }
        // The gap was filled from what follows: to play it would play the same twice.
        if stream.playing.is_some_and(|playing| ticks < playing.filled) {
            self.statistics.late += 1;
            return Err(Inserted::Late);
        }
        self.ring.insert(sequence, Held { packet, ticks, arrived }).map_err(
            |refused| match refused {
                Refused::Occupied => {
                    self.statistics.duplicates += 1;
                    Inserted::Duplicate
                }
                Refused::Full => {
                    self.statistics.overruns += 1;
                    Inserted::Overflow
                }
            },
        )?;
        if sequence > stream.newest.0 {
            stream.newest = (sequence, rtp, ticks);
        }
        stream.fastest.observe(arrived, arrived.saturating_sub(self.scale.nanos(ticks)));
        self.statistics.peak = self.statistics.peak.max(self.ring.len());
        self.anchor();
        Ok(())
    }

    /// Sets the delay at once, unless something plays that would jump.
    fn anchor(&mut self) {
        if let Some(stream) = &mut self.stream
            && stream.playing.is_none()
            && let Some(fastest) = stream.fastest.get()
        {
            stream.offset = fastest.saturating_add(self.target);
        }
    }

    /// What is due at `now`. Call it until it gives [`Pop::None`].
    pub fn pop(&mut self, now: Instant) -> Pop<T> {
        let Some(origin) = self.origin else { return Pop::None };
        self.last_now = self.last_now.max(since(origin, now));
        while let Some(next) = self.next() {
            if next.due() > self.last_now {
                break;
            }
            let pop = match next {
                Next::GiveUp { .. } => {
                    self.take(false);
                    continue;
                }
                Next::Play { due } => self.play(origin, due),
                Next::Conceal { due, ticks, reason } => self.conceal(origin, due, ticks, reason),
                Next::Pause { dry, .. } => self.pause(dry),
            };
            return pop.unwrap_or(Pop::None);
        }
        Pop::None
    }

    fn next(&self) -> Option<Next> {
        let stream = self.stream.as_ref()?;
        let first = self.ring.first();
        if let Some(playing) = stream.playing {
            let gap = first.map(|(_, held)| held.ticks.saturating_sub(playing.end));
            if gap.is_none_or(|gap| gap >= self.scale.shortest) {
                let due = self.due(stream, playing.end);
                // Nothing is missing between two packets in sequence: the sender paused.
                let paused = match first {
                    Some((sequence, _)) => sequence == stream.next,
                    None => playing.dtx,
                };
                let room = self.scale.rate - playing.concealed;
                if paused || room < self.scale.shortest {
                    return Some(Next::Pause { due, dry: !paused });
                }
                let (most, reason) = match gap {
                    Some(gap) => (gap, ConcealReason::Lost),
                    // Little at a time, since the packet may come yet.
                    None => {
                        ((self.scale.rate / 50).max(self.scale.shortest), ConcealReason::Underrun)
                    }
                };
                return Some(Next::Conceal {
                    due,
                    ticks: playing.step.min(most).min(room),
                    reason,
                });
            }
        }
        let (_, held) = first?;
        let due = self.due(stream, held.ticks).max(held.arrived);
        if due.saturating_sub(stream.planned(held.ticks, self.scale)) > MAX_BEHIND {
            return Some(Next::GiveUp { due });
        }
        Some(Next::Play { due })
    }

    fn due(&self, stream: &Stream, ticks: i64) -> i64 {
        stream.planned(ticks, self.scale).max(self.earliest)
    }

    fn play(&mut self, origin: Instant, due: i64) -> Option<Pop<T>> {
        let Held { packet, ticks, arrived } = self.take(true)?;
        let stream = self.stream.as_mut()?;
        let step = i64::from(packet.duration);
        let end = ticks.saturating_add(step);
        stream.playing =
            Some(Playing { end, concealed: 0, filled: i64::MIN, step, dtx: packet.dtx });
        let length = self.scale.nanos(step);
        self.earliest = due.saturating_add(length - length / FASTER);
        if let Some(fastest) = stream.fastest.get() {
            let wanted = fastest.saturating_add(self.target).saturating_sub(stream.offset);
            let change = (wanted / SMOOTHING).clamp(-length / FASTER, length / FASTER);
            stream.offset = stream.offset.saturating_add(change);
        }
        let delay = span(self.last_now.saturating_sub(arrived));
        let figures = &mut self.statistics;
        figures.current_delay = delay;
        figures.average_delay = match figures.frames {
            0 => delay,
            _ => (figures.average_delay * 63 + delay) / 64,
        };
        figures.frames += 1;
        Some(Pop::Frame { packet, due: instant(origin, due), delay })
    }

    /// Takes the first packet away, to be played or not.
    fn take(&mut self, played: bool) -> Option<Held<T>> {
        let held = self.ring.pop_first()?;
        let stream = self.stream.as_mut()?;
        let sequence = held.packet.sequence;
        let missing = if stream.next == 0 { 0 } else { sequence.saturating_sub(stream.next) };
        let moved = sequence.saturating_sub(stream.next).saturating_add(1);
        stream.played = stream.played.checked_shl(moved.min(128) as u32).unwrap_or(0);
        stream.played |= u128::from(played);
        stream.next = sequence.saturating_add(1);
        let loss = &mut self.statistics.loss_rate;
        for _ in 0..missing.min(64) {
            *loss += (1.0 - *loss) / 64.0;
        }
        if played {
            *loss -= *loss / 64.0;
        } else {
            *loss += (1.0 - *loss) / 64.0;
            self.statistics.late += 1;
        }
        Some(held)
    }

    fn conceal(
        &mut self,
        origin: Instant,
        due: i64,
        ticks: i64,
        reason: ConcealReason,
    ) -> Option<Pop<T>> {
        let stream = self.stream.as_mut()?;
        let playing = stream.playing.as_mut()?;
        let start = playing.end;
        playing.end = start.saturating_add(ticks);
        playing.concealed += ticks;
        if reason == ConcealReason::Lost {
            playing.filled = playing.end;
        }
        let rtp = stream.rtp(start);
        let length = self.scale.nanos(ticks);
        self.earliest = due.saturating_add(length - length / FASTER);
        self.statistics.concealed += 1;
        Some(Pop::Conceal { rtp, duration: ticks as u32, due: instant(origin, due), reason })
    }

    fn pause(&mut self, dry: bool) -> Option<Pop<T>> {
        let stream = self.stream.as_mut()?;
        let end = stream.playing.take()?.end;
        let rtp = stream.rtp(end);
        if dry {
            // Whether the sender paused or the network stalled: what comes next tells the transit.
            stream.fastest.clear();
        }
        self.anchor();
        Some(Pop::Silence { rtp })
    }

    /// The packet that waits and comes next in sequence: after a [`Pop::Conceal`] the one whose in-band
    /// error correction may help, if its timestamp follows at once.
    pub fn peek_next(&self) -> Option<&Packet<T>> {
        self.ring.first().map(|(_, held)| &held.packet)
    }

    /// When [`Self::pop`] has something to do, if no packet comes before. It may lie in the past.
    pub fn poll_timeout(&self) -> Option<Instant> {
        Some(instant(self.origin?, self.next()?.due()))
    }

    /// The figures.
    pub fn statistics(&self) -> BufferStatistics {
        BufferStatistics { current: self.ring.len(), ..self.statistics }
    }

    /// Forgets everything but clock rate and target: packets, the stream and the figures.
    pub fn reset(&mut self) {
        self.ring.clear();
        self.origin = None;
        (self.last_arrived, self.last_now, self.earliest) = (i64::MIN, i64::MIN, i64::MIN);
        self.stream = None;
        self.statistics = BufferStatistics::default();
    }
}

impl Stream {
    fn new(sequence: u64, rtp: u32) -> Self {
        Self {
            newest: (sequence, rtp, 0),
            next: 0,
            played: 0,
            fastest: Fastest::default(),
            offset: 0,
            suspect: None,
            playing: None,
        }
    }

    fn ticks(&self, rtp: u32) -> i64 {
        self.newest.2.saturating_add(ahead(rtp, self.newest.1))
    }

    fn rtp(&self, ticks: i64) -> u32 {
        self.newest.1.wrapping_add(ticks.wrapping_sub(self.newest.2) as u32)
    }

    /// When `ticks` should be played by the delay in force.
    fn planned(&self, ticks: i64, scale: Scale) -> i64 {
        self.offset.saturating_add(scale.nanos(ticks))
    }

    /// Whether a packet can belong to the stream.
    fn continued_by(
        &self,
        sequence: u64,
        rtp: u32,
        arrived: i64,
        target: i64,
        scale: Scale,
    ) -> bool {
        let steps = sequence.wrapping_sub(self.newest.0) as i64;
        if !(-MAX_MISORDER..MAX_DROPOUT).contains(&steps) {
            return false;
        }
        let moved = scale.nanos(ahead(rtp, self.newest.1));
        if steps > 0 && moved < -MAX_BEHIND || steps < 0 && moved > MAX_BEHIND {
            return false;
        }
        let transit = arrived.saturating_sub(scale.nanos(self.ticks(rtp)));
        let in_force = self.offset.saturating_sub(target);
        self.fastest.get().is_none() || transit >= in_force.saturating_sub(MAX_AHEAD)
    }
}

impl Next {
    const fn due(self) -> i64 {
        match self {
            Self::Play { due }
            | Self::GiveUp { due }
            | Self::Conceal { due, .. }
            | Self::Pause { due, .. } => due,
        }
    }
}

fn nanos(duration: Duration) -> i64 {
    i64::try_from(duration.as_nanos()).unwrap_or(i64::MAX)
}

/// The nanoseconds from `origin` to `at`, negative where `at` is before it.
fn since(origin: Instant, at: Instant) -> i64 {
    match at.checked_duration_since(origin) {
        Some(after) => nanos(after),
        None => -nanos(origin.duration_since(at)),
    }
}

fn span(nanos: i64) -> Duration {
    Duration::from_nanos(nanos.max(0) as u64)
}

/// The instant `nanos` after `origin`, or `origin` where the platform has no such instant.
fn instant(origin: Instant, nanos: i64) -> Instant {
    let distance = Duration::from_nanos(nanos.unsigned_abs());
    let instant =
        if nanos < 0 { origin.checked_sub(distance) } else { origin.checked_add(distance) };
    instant.unwrap_or(origin)
}

#[cfg(test)]
#[path = "jitter_tests.rs"]
mod tests;
