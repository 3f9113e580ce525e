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
    /// The copy of a lost one, of so many ticks, inside the packet behind it.
    Copy(u32),
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

    /// Starts with the first packet.
    pub(super) fn begin(&mut self) {
        if let Some((_, first)) = self.ring.first()
            && let Some(stream) = &mut self.stream
        {
            let (end, step) = (first.ticks, first.packet.duration.into());
            stream.playing = Some(Playing {
                end,
                start: i64::MIN,
                concealed: 0,
                filled: i64::MIN,
                step,
                dtx: false,
            });
        }
    }

    /// What comes next, as far as it is known. `None` where nothing plays. `has_copy` says whether a packet
    /// holds a copy of the one before it.
    pub(super) fn outlook(&self, has_copy: impl Fn(&T) -> bool) -> Option<Outlook> {
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
                let copied = gap >= length && has_copy(&held.packet.payload);
                let missing = if copied { gap - length } else { gap };
                // What was made up belongs to the first gap.
                let concealed = if end == playing.end { playing.concealed } else { 0 };
                if missing > 0 && !(copied && concealed >= missing) {
                    outlook.gap = Some(missing);
                    break;
                }
                outlook.ready += length;
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
    pub(super) fn following(&self, has_copy: impl Fn(&T) -> bool) -> Following {
        let (Some(stream), Some((sequence, held))) = (&self.stream, self.ring.first()) else {
            return Following::Nothing;
        };
        let Some(playing) = stream.playing else { return Following::Nothing };
        let gap = held.ticks.saturating_sub(playing.end);
        if gap < self.scale.shortest {
            return Following::Packet;
        }
        let length = held.packet.duration;
        let copied = sequence != stream.next
            && (0..=playing.concealed).contains(&(gap - i64::from(length)))
            && has_copy(&held.packet.payload);
        if copied { Following::Copy(length) } else { Following::Nothing }
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

    /// Drops the oldest packet, since far too many wait.
    pub(super) fn shed(&mut self) {
        if self.pass(false).is_some() {
            self.statistics.overruns += 1;
            self.skip();
        }
    }

    /// Takes the packet that follows.
    pub(super) fn fetch(&mut self) -> Option<Packet<T>> {
        let Held { packet, ticks, arrived } = self.take(true)?;
        let stream = self.stream.as_mut()?;
        let step = i64::from(packet.duration);
        let end = ticks.saturating_add(step);
        stream.playing = Some(Playing {
            end,
            start: ticks,
            concealed: 0,
            filled: i64::MIN,
            step,
            dtx: packet.dtx,
        });
        self.count_frame(arrived);
        Some(packet)
    }

    /// What was missing before the first packet was made up, and the end of it taken from its copy.
    pub(super) fn copied(&mut self) {
        self.skip();
        if let Some(playing) = self.playing() {
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

    fn playing(&mut self) -> Option<&mut Playing> {
        self.stream.as_mut()?.playing.as_mut()
    }

    /// The RTP timestamp of a place on the timeline.
    pub(super) fn rtp(&self, ticks: i64) -> u32 {
        self.stream.as_ref().map_or(0, |stream| stream.rtp(ticks))
    }
}

/// Why something has to be made up, by what is known of what follows.
pub(super) const fn reason(outlook: &Outlook) -> ConcealReason {
    match outlook.gap {
        Some(_) => ConcealReason::Lost,
        None => ConcealReason::Underrun,
    }
}
