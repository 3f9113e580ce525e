//! The jitter buffer as seen by who plays samples instead of packets.

use std::time::Instant;

use super::jitter::{Held, JitterBuffer};
use super::packet::{ConcealReason, Packet};
use super::stream::{Playing, instant, since};

/// What comes next, in ticks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Outlook {
    /// What can be played at once, one after the other.
    pub(super) ready: i64,
    /// What is missing behind that before there is more, if there is.
    pub(super) gap: Option<i64>,
    /// Whether the sender paused behind that.
    pub(super) paused: bool,
    /// What was made up since the last packet.
    pub(super) concealed: i64,
    /// Where what was taken out so far ends.
    pub(super) end: i64,
    /// The length of the last packet.
    pub(super) step: i64,
}

/// What can be taken out now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Following {
    /// A packet.
    Packet,
    /// What is missing, from the packet behind it.
    Copy {
        /// So many ticks before that packet it begins.
        before: usize,
        /// So many ticks of it are to be recovered first: at most 120 ms.
        length: usize,
    },
    /// Nothing that follows at once.
    Nothing,
}

impl<T> JitterBuffer<T> {
    /// `now` in nanoseconds of the buffer's timeline, which never goes back; `None` before the first
    /// packet.
    pub(super) fn clock(&mut self, now: Instant) -> Option<i64> {
        self.last_now = self.last_now.max(since(self.origin?, now));
        Some(self.last_now)
    }

    /// When the first packet after a pause, or ever, should be played. `None` where there is none, or where
    /// something plays.
    pub(super) fn starts_at(&self) -> Option<i64> {
        let stream = self.stream.as_ref().filter(|stream| stream.playing.is_none())?;
        let (_, first) = self.ring.first()?;
        Some(stream.planned(first.ticks, self.scale).max(first.arrived))
    }

    /// When [`super::AudioRenderer::render`] should be called to start what plays nothing: with the first
    /// packet ever, or after a pause. `None` where there is no packet, or where something plays.
    pub fn poll_start(&self) -> Option<Instant> {
        Some(instant(self.origin?, self.starts_at()?))
    }

    /// How much later than by the target the first packet would be, were it asked for at `at`, in
    /// nanoseconds; 0 where there is none.
    pub(super) fn over(&self, at: i64) -> i64 {
        let Some((_, first)) = self.ring.first() else { return 0 };
        let delay = at.saturating_sub(self.scale.nanos(first.ticks));
        delay.saturating_sub(self.fastest().unwrap_or(0)).saturating_sub(self.held()).max(0)
    }

    /// Starts with the first packet.
    pub(super) fn begin(&mut self) {
        if let Some((_, first)) = self.ring.first()
            && let Some(stream) = &mut self.stream
        {
            let (end, step) = (first.ticks, first.packet.duration.into());
            let playing = Playing::packet(i64::MIN, step, false);
            stream.playing = Some(Playing { end, ..playing });
        }
    }

    /// What comes next, as far as it is known. `None` where nothing plays. `covers` says how many ticks before
    /// its start can be recovered from a packet.
    pub(super) fn outlook(&self, covers: impl Fn(&T) -> usize) -> Option<Outlook> {
        let stream = self.stream.as_ref()?;
        let playing = stream.playing?;
        let (mut end, mut next) = (playing.end, stream.next);
        let mut outlook = Outlook {
            concealed: playing.concealed,
            end,
            paused: playing.dtx,
            step: playing.step,
            ..Outlook::default()
        };
        let far = self.scale.rate / 2;
        for (sequence, held) in self.ring.iter() {
            let gap = held.ticks.saturating_sub(end);
            let length = i64::from(held.packet.duration);
            if gap >= self.scale.shortest {
                // Nothing is missing between two packets in sequence: the sender paused.
                outlook.paused = sequence == next;
                if outlook.paused {
                    break;
                }
                // What was made up belongs to the first gap.
                let concealed = if end == playing.end { playing.concealed } else { 0 };
                match recovery(gap, concealed, length, || covers(&held.packet.payload)) {
                    Recovery::Missing(missing) => {
                        outlook.gap = Some(missing);
                        break;
                    }
                    Recovery::From(before) => outlook.ready += before,
                }
            }
            outlook.paused = held.packet.dtx;
            outlook.ready += length;
            if outlook.ready > far {
                break;
            }
            (end, next) = (held.ticks.saturating_add(length), sequence.saturating_add(1));
        }
        Some(outlook)
    }

    /// What can be taken out at once.
    pub(super) fn following(&self, covers: impl Fn(&T) -> usize) -> Following {
        let (Some(stream), Some((sequence, held))) = (&self.stream, self.ring.first()) else {
            return Following::Nothing;
        };
        let Some(playing) = stream.playing else { return Following::Nothing };
        let gap = held.ticks.saturating_sub(playing.end);
        if gap < self.scale.shortest {
            return Following::Packet;
        }
        if sequence == stream.next {
            return Following::Nothing;
        }
        let length = i64::from(held.packet.duration);
        match recovery(gap, playing.concealed, length, || covers(&held.packet.payload)) {
            Recovery::Missing(_) => Following::Nothing,
            Recovery::From(before) => {
                // The packet just before is recovered by itself: of that one there may be a copy.
                let first = if before > length { before - length } else { before };
                let length = first.min(self.scale.longest) as usize;
                Following::Copy { before: before as usize, length }
            }
        }
    }

    /// Drops what has the timestamp of what was played last: it is no audio of its own.
    pub(super) fn drop_repeats(&mut self) {
        while let (Some(stream), Some((_, held))) = (&self.stream, self.ring.first())
            && stream.repeats(held.ticks)
        {
            self.pass(true);
            self.statistics.duplicates += 1;
        }
    }

    /// Drops the oldest packet, since far too many wait. Whether there was one.
    pub(super) fn shed(&mut self) -> bool {
        let dropped = self.pass(false).is_some();
        if dropped {
            self.statistics.overruns += 1;
            self.skip();
        }
        dropped
    }

    /// Takes the packet that follows.
    pub(super) fn fetch(&mut self) -> Option<Packet<T>> {
        let Held { packet, ticks, arrived } = self.take(true)?;
        let stream = self.stream.as_mut()?;
        stream.playing = Some(Playing::packet(ticks, packet.duration.into(), packet.dtx));
        self.count_frame(arrived);
        Some(packet)
    }

    /// What was missing before the first packet was made up and recovered, up to so many ticks before it.
    pub(super) fn copied(&mut self, before: usize) {
        self.skip();
        if let Some(playing) = self.playing() {
            playing.end -= before as i64;
            (playing.filled, playing.concealed) = (playing.end, 0);
        }
    }

    /// So much was made up. The packets that are missing are still played if they come before others.
    pub(super) fn concealed(&mut self, ticks: i64) {
        if let Some(playing) = self.playing() {
            playing.concealed = playing.concealed.saturating_add(ticks);
            self.statistics.concealed += 1;
        }
    }

    /// Gives up what is missing before the first packet.
    pub(super) fn skip(&mut self) {
        let first = self.ring.first().map(|(_, held)| held.ticks);
        if let (Some(first), Some(playing)) = (first, self.playing()) {
            playing.end = first;
        }
    }

    /// Gives up so many ticks of what is missing: where there is more, it can be recovered.
    pub(super) fn give_up(&mut self, missing: i64) {
        let first = self.ring.first().map(|(_, held)| held.ticks);
        if let (Some(first), Some(playing)) = (first, self.playing()) {
            let end = playing.end.saturating_add(missing);
            if end < first {
                (playing.end, playing.filled, playing.concealed) = (end, end, 0);
            } else {
                playing.end = first;
            }
        }
    }

    fn playing(&mut self) -> Option<&mut Playing> {
        self.stream.as_mut()?.playing.as_mut()
    }

    /// The RTP timestamp of a place on the timeline.
    pub(super) fn rtp(&self, ticks: i64) -> u32 {
        self.stream.as_ref().map_or(0, |stream| stream.rtp(ticks))
    }
}

/// Ticks of 10 ms at 48 kHz, in which redundancy that reaches further back than one packet is counted.
const STEP: i64 = 480;

/// What becomes of a gap.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Recovery {
    /// So much of it is missing, of which not all was made up yet.
    Missing(i64),
    /// The last of it, of so many ticks, can be recovered at once.
    From(i64),
}

/// What becomes of a gap of so many ticks before a packet of that `length`, of which some were `concealed`.
fn recovery(gap: i64, concealed: i64, length: i64, covers: impl Fn() -> usize) -> Recovery {
    let covered = if gap < length { 0 } else { (covers() as i64).min(gap) };
    if covered < length {
        return Recovery::Missing(gap);
    }
    let covered = length + (covered - length) / STEP * STEP;
    let missing = gap - covered;
    if concealed < missing {
        return Recovery::Missing(missing);
    }
    // What was made up is not played once more, but for the beginning of a step; the packet just before is
    // recovered as a whole, so that what follows it sounds right.
    let rest = (gap - concealed - length).max(0);
    Recovery::From(length + (rest + STEP - 1) / STEP * STEP)
}

/// Why something has to be made up, by what is known of what follows.
pub(super) const fn reason(outlook: &Outlook) -> ConcealReason {
    match outlook.gap {
        Some(_) => ConcealReason::Lost,
        None => ConcealReason::Underrun,
    }
}
