//! The jitter buffer.

use std::time::{Duration, Instant};

use super::packet::{BufferStatistics, ConcealReason, Inserted, Packet, Pop};
use super::playout::{Playout, PlayoutConfig};
use super::ring::{Refused, Ring};
use super::sequence::ahead;
use super::stream::{MAX_BEHIND, Playing, SECOND, Scale, Stream, instant, nanos, since, span};
use super::target::DelayTarget;
use crate::trace::state::{Save, saved};

/// The largest delay, that of the sync manager's contract for the largest buffer.
const MAX_HOLD: Duration = Duration::from_millis(500);

/// Playout goes faster or slower by at most one part in so many: 12.5 %, to change its delay.
const FASTER: i64 = 8;

/// What is late by so much, in nanoseconds, is played although the delay is at its largest: 60 ms, a long
/// packet. Else nothing could be late there.
const LEEWAY: i64 = SECOND * 6 / 100;

/// The part of a wanted change of delay that is made with each packet: jitter of the estimate is
/// smoothed, while the lag behind a clock 500 ppm off stays below 0.2 ms at 20 ms packets.
const SMOOTHING: i64 = 16;

/// A buffer that makes the jitter of a network a constant delay.
///
/// Packets come out in the order of their sequence numbers, each once, when its timestamp is due: the
/// fastest transit through the network of the last second, plus the hold: a fixed one, or one that follows
/// the network ([`DelayTarget`]). So the delay above the network's own is the hold, wherever the first
/// packet stood; the sender's clock is followed, however it drifts; and a change of hold or of route is
/// reached by playing up to 12.5 % faster or slower. What comes late is played while nothing behind it
/// was, and its delay is within the largest: after an outage playout goes on where that allows, and the
/// delay drains. What nobody fetched for longer than the largest delay is dropped down to the hold. What
/// is missing when it is due is to be concealed; after 1 s of that, or where the sender has just paused,
/// there is silence, and the delay is set afresh with the next packet.
///
/// There are two ways to take packets out, of which one is used for a stream: [`Self::pop`], where each
/// packet has its time, and [`super::AudioRenderer`], which fills pieces of audio for a device and
/// stretches them.
///
/// Instants must come from one clock; one that goes back is taken for the latest before it. At most
/// 512 consecutive sequence numbers are held; memory is taken with the first packet, and none for each.
#[derive(Debug)]
pub struct JitterBuffer<T> {
    pub(super) scale: Scale,
    config: PlayoutConfig,
    /// What the delay should be at least, whatever else is known.
    least: i64,
    /// Made with the first packet.
    target: Option<Box<DelayTarget>>,
    pub(super) ring: Ring<Held<T>>,
    /// The instant of nanosecond 0: the first arrival.
    pub(super) origin: Option<Instant>,
    last_arrived: i64,
    pub(super) last_now: i64,
    /// When somebody came for packets last.
    fetched: i64,
    /// Nothing is due before, since what was played last is not yet over.
    earliest: i64,
    pub(super) stream: Option<Stream>,
    pub(super) statistics: BufferStatistics,
}

saved!(struct JitterBuffer<T> [T: Save] {
    scale, config, least, target, ring, origin, last_arrived, last_now, fetched, earliest,
    stream, statistics,
});

/// A packet that waits.
#[derive(Debug)]
pub(super) struct Held<T> {
    pub(super) packet: Packet<T>,
    pub(super) ticks: i64,
    pub(super) arrived: i64,
}

saved!(struct Held<T> [T: Save] { packet, ticks, arrived });

/// What has to happen next, and when.
#[derive(Debug, Clone, Copy)]
enum Next {
    Play {
        due: i64,
    },
    /// The next packet has the timestamp of the one before: it is no audio of its own.
    Repeat {
        due: i64,
    },
    GiveUp {
        due: i64,
    },
    Conceal {
        due: i64,
        ticks: i64,
        reason: ConcealReason,
    },
    Pause {
        due: i64,
    },
}

impl<T> JitterBuffer<T> {
    /// A buffer for timestamps of `clock_rate` Hz (at least 1).
    pub fn new(clock_rate: u32, config: PlayoutConfig) -> Self {
        Self {
            scale: Scale::new(clock_rate),
            config,
            least: 0,
            target: None,
            ring: Ring::new(),
            origin: None,
            last_arrived: i64::MIN,
            last_now: i64::MIN,
            fetched: i64::MIN,
            earliest: i64::MIN,
            stream: None,
            statistics: BufferStatistics::default(),
        }
    }

    /// Changes the size: a fixed delay, or where an adaptive one starts from again. While something plays
    /// it is reached by playing faster or slower.
    pub fn set_size(&mut self, size: Duration) {
        self.config.size = size;
        if let Some(target) = &mut self.target {
            target.start_at(size);
        }
        self.anchor();
    }

    /// Lets the delay be no less than that, but for the maximum: to wait for video.
    pub fn set_least(&mut self, least: Duration) {
        self.least = nanos(least);
        self.anchor();
    }

    /// How long packets are held now, above the fastest transit.
    pub fn hold(&self) -> Duration {
        span(self.held())
    }

    pub(super) fn held(&self) -> i64 {
        let size = self.config.size;
        let wanted = match (&self.target, self.config.playout) {
            (Some(target), Playout::Adaptive) => target.target(),
            _ => nanos(size),
        };
        wanted.max(self.least).min(self.longest())
    }

    /// The largest delay, in nanoseconds.
    pub(super) fn longest(&self) -> i64 {
        nanos(self.config.max.min(MAX_HOLD))
    }

    /// How late packets often are, in nanoseconds.
    pub(super) fn usual(&self) -> i64 {
        self.target.as_ref().map_or(0, |target| target.usual())
    }

    /// The latest of the packets of late that came less than `limit` late, in nanoseconds.
    pub(super) fn peak_below(&self, limit: i64) -> i64 {
        self.target.as_ref().map_or(0, |target| target.peak_below(limit))
    }

    /// The fastest transit of late, in nanoseconds.
    pub(super) fn fastest(&self) -> Option<i64> {
        self.target.as_ref()?.fastest()
    }

    /// When what has this timestamp would have arrived by the fastest way of late: what the hold is counted
    /// from. `None` before the first packet.
    pub fn earliest(&self, rtp: u32) -> Option<Instant> {
        let ticks = self.stream.as_ref()?.ticks(rtp);
        Some(instant(self.origin?, self.fastest()?.saturating_add(self.scale.nanos(ticks))))
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
        let fastest = self.fastest();
        let mut done = Inserted::Queued;
        match &mut self.stream {
            None => self.stream = Some(Stream::new(sequence, rtp, arrived)),
            Some(stream) if stream.continued_by(sequence, rtp, arrived, fastest, self.scale) => {
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
                self.stream = Some(Stream::new(sequence, rtp, arrived));
                if let Some(target) = &mut self.target {
                    target.restart();
                }
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
        let media = self.scale.nanos(ticks);
        if let Some(before) = stream.next.checked_sub(sequence)
            && (1..=128).contains(&before)
            && stream.played >> (before - 1) & 1 == 1
        {
            self.statistics.duplicates += 1;
            return Err(Inserted::Duplicate);
        }
        // Or the gap was filled from what follows: to play it would play the same twice.
        let filled = stream.playing.is_some_and(|playing| ticks < playing.filled);
        if filled || sequence < stream.next {
            self.statistics.late += 1;
            self.observe(arrived, media);
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
            (stream.newest, stream.arrived) = ((sequence, rtp, ticks), arrived);
        }
        self.statistics.peak = self.statistics.peak.max(self.ring.len());
        self.observe(arrived, media);
        Ok(())
    }

    /// Learns from the arrival of a packet, played or not.
    fn observe(&mut self, arrived: i64, media: i64) {
        let PlayoutConfig { tuning, size, max, .. } = &self.config;
        let target =
            self.target.get_or_insert_with(|| Box::new(DelayTarget::new(tuning, *size, *max)));
        target.observe(arrived, media);
        self.anchor();
    }

    /// Sets the delay at once, unless something plays that would jump.
    fn anchor(&mut self) {
        let Some(wanted) = self.wanted() else { return };
        if let Some(stream) = self.stream.as_mut().filter(|stream| stream.playing.is_none()) {
            stream.offset = wanted;
        }
    }

    /// When tick 0 should be played by what is known of the network now.
    fn wanted(&self) -> Option<i64> {
        Some(self.fastest()?.saturating_add(self.held()))
    }

    /// What is due at `now`. Call it until it gives [`Pop::None`].
    pub fn pop(&mut self, now: Instant) -> Pop<T> {
        let Some(origin) = self.origin else { return Pop::None };
        self.last_now = self.last_now.max(since(origin, now));
        let before = std::mem::replace(&mut self.fetched, self.last_now);
        self.drop_unfetched(before);
        while let Some(next) = self.next() {
            if next.due() > self.last_now {
                break;
            }
            let pop = match next {
                Next::GiveUp { .. } => {
                    self.take(false);
                    continue;
                }
                Next::Repeat { .. } => {
                    self.pass(true);
                    self.statistics.duplicates += 1;
                    continue;
                }
                Next::Play { due } => self.play(origin, due),
                Next::Conceal { due, ticks, reason } => self.conceal(origin, due, ticks, reason),
                Next::Pause { .. } => self.pause().map(|rtp| Pop::Silence { rtp }),
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
                    return Some(Next::Pause { due });
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
        if stream.repeats(held.ticks) {
            return Some(Next::Repeat { due });
        }
        if due.saturating_sub(stream.planned(held.ticks, self.scale)) > self.latest(stream, held) {
            return Some(Next::GiveUp { due });
        }
        Some(Next::Play { due })
    }

    /// How late a packet may be to be played: with what plays, up to the largest delay; as the first one, where
    /// nobody misses what was before, as much as is made up for within 2 s.
    fn latest(&self, stream: &Stream, held: &Held<T>) -> i64 {
        if stream.playing.is_none() {
            return MAX_BEHIND;
        }
        let most = self.longest().saturating_sub(self.held()).max(LEEWAY);
        // What has just come ends that much later than it begins.
        most.saturating_add(self.scale.nanos(held.packet.duration.into()))
    }

    /// Drops the oldest packets where they have waited for longer than the largest delay since nobody came
    /// for them at `before`, until those left last for the hold. (What waits for longer because the network has become
    /// faster meanwhile is not meant: it gets its turn.)
    fn drop_unfetched(&mut self, before: i64) {
        let most = self.longest() + LEEWAY;
        if self.last_now.saturating_sub(before) <= most {
            return;
        }
        let Some((_, held)) = self.ring.first() else { return };
        let most = most + self.scale.nanos(held.packet.duration.into());
        if self.last_now.saturating_sub(held.arrived.max(before)) <= most {
            return;
        }
        let newest = self.stream.as_ref().map_or(0, |stream| stream.newest.2);
        let enough = self.held().max(1);
        while let Some((_, held)) = self.ring.first()
            && self.scale.nanos(newest.saturating_sub(held.ticks)) >= enough
            && self.shed()
        {}
    }

    fn due(&self, stream: &Stream, ticks: i64) -> i64 {
        stream.planned(ticks, self.scale).max(self.earliest)
    }

    fn play(&mut self, origin: Instant, due: i64) -> Option<Pop<T>> {
        let Held { packet, ticks, arrived } = self.take(true)?;
        let wanted = self.wanted();
        let stream = self.stream.as_mut()?;
        let step = i64::from(packet.duration);
        stream.playing = Some(Playing::packet(ticks, step, packet.dtx));
        let length = self.scale.nanos(step);
        self.earliest = due.saturating_add(length - length / FASTER);
        if let Some(wanted) = wanted {
            let away = wanted.saturating_sub(stream.offset);
            let change = (away / SMOOTHING).clamp(-length / FASTER, length / FASTER);
            stream.offset = stream.offset.saturating_add(change);
        }
        let delay = self.count_frame(arrived);
        Some(Pop::Frame { packet, due: instant(origin, due), delay })
    }

    /// A packet that arrived then is played: how long it waited.
    pub(super) fn count_frame(&mut self, arrived: i64) -> Duration {
        let delay = span(self.last_now.saturating_sub(arrived));
        let figures = &mut self.statistics;
        figures.current_delay = delay;
        figures.average_delay = match figures.frames {
            0 => delay,
            _ => (figures.average_delay * 63 + delay) / 64,
        };
        figures.frames += 1;
        delay
    }

    /// Takes the first packet away, to be played or not.
    pub(super) fn take(&mut self, played: bool) -> Option<Held<T>> {
        let held = self.pass(played)?;
        self.statistics.late += u64::from(!played);
        Some(held)
    }

    /// The same, not counted where it is not played.
    pub(super) fn pass(&mut self, played: bool) -> Option<Held<T>> {
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

    /// Ends what was played, and gives where it ended. What comes next is played by the delay wanted then.
    pub(super) fn pause(&mut self) -> Option<u32> {
        let stream = self.stream.as_mut()?;
        let end = stream.playing.take()?.end;
        let rtp = stream.rtp(end);
        self.anchor();
        Some(rtp)
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

    /// Forgets everything but clock rate, configuration and least delay: packets, the stream, the network
    /// and the figures.
    pub fn reset(&mut self) {
        self.ring.clear();
        self.origin = None;
        (self.last_arrived, self.last_now, self.fetched) = (i64::MIN, i64::MIN, i64::MIN);
        self.earliest = i64::MIN;
        self.stream = None;
        self.target = None;
        self.statistics = BufferStatistics::default();
    }
}

impl Next {
    const fn due(self) -> i64 {
        match self {
            Self::Play { due }
            | Self::Repeat { due }
            | Self::GiveUp { due }
            | Self::Conceal { due, .. }
            | Self::Pause { due } => due,
        }
    }
}

#[cfg(test)]
#[path = "jitter_tests.rs"]
mod tests;
