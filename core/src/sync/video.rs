//! The buffer of video frames.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use super::frame_size::{FrameRate, FrameSizes};
use super::packet::{BufferStatistics, Inserted};
use super::playout::{Playout, PlayoutConfig};
use super::route::Route;
use super::sequence::ahead;
use super::stream::{MAX_BEHIND, MAX_OVERTAKEN, SECOND, Scale, instant, nanos, since, span};
use super::target::DelayTarget;
use crate::trace::state::{Save, saved};

/// The most frames that wait: over 4 s of 60 a second, and four times the largest delay with a hold.
pub(super) const MAX_FRAMES: usize = 256;
/// The most bytes that wait, by the frames' sizes: 4 s of 64 Mbit/s.
const MAX_BYTES: usize = 32 << 20;
/// The largest delay but for a hold, that of the sync manager's contract for the largest buffer.
const MAX_DELAY: Duration = Duration::from_millis(500);
/// The longest hold. Streams that are further apart are no lip-sync.
const MAX_HOLD: Duration = Duration::from_secs(1);

/// The gap in sequence numbers behind which a stream must have restarted (RFC 3550, appendix A.1), and
/// the number of steps back: more than there, since a large frame has hundreds of packets.
const MAX_DROPOUT: i64 = 3_000;
const MAX_MISORDER: i64 = 1_000;
/// An RTP time that its arrival does not explain, by so much, belongs to another timeline, unless the frames before it
/// that are missing explain it: as with audio, behind an outage.
const MAX_AHEAD: i64 = SECOND;
/// What one packet explains, in nanoseconds: a frame, of five a second.
const MAX_FRAME: i64 = SECOND / 5;

/// In so much media time the delay comes within a third of what it should be: what is longer than most
/// jitter of the estimate.
const SMOOTHING: i64 = SECOND / 2;
/// It moves by at most one part in so many of the time that passes.
const DELAY_PACE: i64 = 8;
/// A hold falls by at most one part in so many. It grows by as much as passes: half speed.
const HOLD_PACE: i64 = 4;
/// Away by so much, the delay is that of another time (the sender's clock had stopped, or a long stall is
/// over): it is set at once.
const JUMP: i64 = SECOND / 2;
/// How many shown frames are told from late ones when they come again.
const REMEMBERED: usize = 16;

/// One whole frame of a video stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VideoPacket<V> {
    /// The sequence number of its last packet, extended so that it does not wrap
    /// ([`super::Unwrapper`]). Only differences matter.
    pub sequence: u64,
    /// Its RTP timestamp, as on the wire: it may wrap.
    pub rtp: u32,
    /// Whether it needs no other frame to be decoded.
    pub keyframe: bool,
    /// Whether nothing was lost between the frame before and this one.
    pub contiguous: bool,
    /// Its size in bytes.
    pub size: usize,
    /// When it was complete.
    pub arrived: Instant,
    /// What it carries.
    pub payload: V,
}

saved!(struct VideoPacket<V> [V: Save] {
    sequence, rtp, keyframe, contiguous, size, arrived, payload,
});

/// A frame whose time has come.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct VideoPop<V> {
    /// The frame.
    pub packet: VideoPacket<V>,
    /// When it is to be shown.
    pub due: Instant,
    /// How long it waited, until it was fetched.
    pub delay: Duration,
    /// When it would be due without a hold, had it come in time: what [`super::LipSync`] goes by.
    pub planned: Instant,
    /// What `planned` is on its way to: the delay moves slowly to where the network asks for it.
    pub heading: Instant,
}

/// A buffer that makes the jitter of a network a constant delay, for whole frames.
///
/// Frames come out in the order of their sequence numbers, each once, when their timestamp is due: the
/// fastest transit through the network of the last 2 s, plus a fixed delay, or one that follows the
/// network ([`DelayTarget`]; what a large frame takes longer because it is large does not count), plus a
/// hold, by which audio is waited for. The delay moves by at most an eighth of the time that passes; the
/// hold falls by a quarter of it and grows at half speed. A frame that comes late is shown at once; those
/// behind it follow at no less than half their distance (a quarter where playout is more than 250 ms
/// late), until the plan is caught up with. What comes after a later frame was shown is dropped.
///
/// Frames that can't be decoded, since something before them was lost and they are no key frame
/// (`contiguous` and `keyframe` are both false), come out like others: only the decoder knows what it can
/// conceal, and whoever asks for a key frame has to hear of the loss. Where the buffer itself drops
/// something, it clears `contiguous` of the frame behind.
///
/// At most 256 frames and 32 MiB wait: where there would be more, the oldest are dropped up to the next
/// key frame, as overruns. A frame whose numbers do not continue the stream is set aside: if the next
/// one continues it instead, the stream restarts with both, else it is dropped. Instants must come from
/// one clock; one that goes back is taken for the latest before it.
#[derive(Debug)]
pub struct VideoBuffer<V> {
    scale: Scale,
    config: PlayoutConfig,
    /// Made with the first frame.
    target: Option<Box<DelayTarget>>,
    route: Route,
    sizes: FrameSizes,
    rate: FrameRate,
    /// In the order of their sequence numbers.
    waiting: VecDeque<Held<V>>,
    bytes: usize,
    /// The last frame, if it did not belong here.
    suspect: Option<(VideoPacket<V>, i64)>,
    /// The instant of nanosecond 0: the first arrival.
    origin: Option<Instant>,
    last_arrived: i64,
    last_now: i64,
    epoch: Option<Epoch>,
    /// When tick 0 is due without a hold, in nanoseconds.
    offset: i64,
    /// The hold in force, and the one that it moves to.
    hold: i64,
    wanted_hold: i64,
    statistics: BufferStatistics,
}

saved!(struct VideoBuffer<V> [V: Save] {
    scale, config, target, route, sizes, rate, waiting, bytes, suspect, origin, last_arrived,
    last_now, epoch, offset, hold, wanted_hold, statistics,
});

/// A frame that waits.
#[derive(Debug)]
struct Held<V> {
    packet: VideoPacket<V>,
    ticks: i64,
    arrived: i64,
}

saved!(struct Held<V> [V: Save] { packet, ticks, arrived });

/// What is known about the stream since it started.
#[derive(Debug)]
struct Epoch {
    /// Sequence number, timestamp and ticks (which do not wrap) of the frame that is furthest ahead.
    newest: (u64, u32, i64),
    /// When that one arrived.
    arrived: i64,
    shown: Option<Shown>,
    /// The sequence numbers of the last shown frames.
    remembered: [Option<u64>; REMEMBERED],
    next: usize,
}

saved!(struct Epoch { newest, arrived, shown, remembered, next });

/// The last shown frame.
#[derive(Debug, Clone, Copy)]
struct Shown {
    sequence: u64,
    ticks: i64,
    due: i64,
    /// Whether it was far behind the plan.
    behind: bool,
}

saved!(struct Shown { sequence, ticks, due, behind });

impl<V> VideoBuffer<V> {
    /// A buffer for timestamps of `clock_rate` Hz (at least 1; 90,000 for all video of RTP).
    pub fn new(clock_rate: u32, config: PlayoutConfig) -> Self {
        Self {
            scale: Scale::new(clock_rate),
            config,
            target: None,
            route: Route::default(),
            sizes: FrameSizes::new(),
            rate: FrameRate::new(),
            waiting: VecDeque::new(),
            bytes: 0,
            suspect: None,
            origin: None,
            last_arrived: i64::MIN,
            last_now: i64::MIN,
            epoch: None,
            offset: 0,
            hold: 0,
            wanted_hold: 0,
            statistics: BufferStatistics::default(),
        }
    }

    /// Changes the size: a fixed delay, or where an adaptive one starts from again.
    pub fn set_size(&mut self, size: Duration) {
        self.config.size = size;
        if let Some(target) = &mut self.target {
            target.start_at(size);
        }
        self.anchor();
    }

    /// How much later than by its own delay video is to be shown, at most 1 s: to wait for audio. It is
    /// approached gradually: see above.
    pub fn set_hold(&mut self, hold: Duration) {
        self.wanted_hold = nanos(hold.min(MAX_HOLD));
        self.anchor();
    }

    /// How much later than its fastest transit of late a frame is planned to be shown, the hold in force
    /// included.
    pub fn delay(&self) -> Duration {
        let plan = self.offset.saturating_add(self.hold);
        span(self.fastest().map_or(0, |fastest| plan.saturating_sub(fastest)))
    }

    /// When what has this timestamp is planned to be shown, if it comes in time; `None` before the first
    /// frame.
    pub fn planned(&self, rtp: u32) -> Option<Instant> {
        let ticks = self.epoch.as_ref()?.ticks(rtp);
        let plan = self.plan(ticks).saturating_add(self.hold);
        Some(instant(self.origin?, plan))
    }

    /// Frames a second: the median of 30 distances of timestamps; `None` before five frames.
    pub fn framerate(&self) -> Option<f64> {
        self.rate.get(self.scale)
    }

    /// Takes a frame in.
    ///
    /// [`Inserted::Stray`] frames are set aside, and still come out if the next one follows them
    /// ([`Inserted::Restarted`]).
    pub fn insert(&mut self, packet: VideoPacket<V>) -> Inserted {
        let origin = *self.origin.get_or_insert(packet.arrived);
        let arrived = since(origin, packet.arrived).max(self.last_arrived);
        self.last_arrived = arrived;
        self.statistics.inserted += 1;
        if packet.size > MAX_BYTES {
            self.statistics.overruns += 1;
            return Inserted::Overflow;
        }
        let fastest = self.fastest();
        match &self.epoch {
            None => self.epoch = Some(Epoch::new(&packet, arrived, 0)),
            Some(epoch) if epoch.continued_by(&packet, arrived, fastest, self.scale) => {
                self.drop_suspect();
            }
            Some(_) => return self.suspect(packet, arrived),
        }
        let inserted = self.queue(packet, arrived);
        self.settle();
        inserted
    }

    /// Sets a frame aside that does not continue the stream, or restarts the stream with it.
    fn suspect(&mut self, packet: VideoPacket<V>, arrived: i64) -> Inserted {
        if let Some((before, before_arrived)) = self.suspect.take() {
            if before.sequence == packet.sequence && before.rtp == packet.rtp {
                self.statistics.duplicates += 1;
                self.suspect = Some((before, before_arrived));
                return Inserted::Duplicate;
            }
            let steps = packet.sequence.wrapping_sub(before.sequence) as i64;
            let moved = self.scale.nanos(ahead(packet.rtp, before.rtp));
            let passed = arrived.saturating_sub(before_arrived);
            if (1..MAX_DROPOUT).contains(&steps)
                && moved >= 0
                && moved.saturating_sub(passed).abs() <= MAX_AHEAD
            {
                return self.restart((before, before_arrived), packet, arrived);
            }
            self.statistics.strays += 1;
        }
        self.suspect = Some((packet, arrived));
        self.settle();
        Inserted::Stray
    }

    fn restart(
        &mut self,
        (first, first_arrived): (VideoPacket<V>, i64),
        second: VideoPacket<V>,
        arrived: i64,
    ) -> Inserted {
        self.statistics.flushed += self.waiting.len() as u64;
        self.statistics.restarts += 1;
        self.waiting.clear();
        self.bytes = 0;
        // The new timeline goes on where the old one would be: the network is the same.
        let media = first_arrived.saturating_sub(self.fastest().unwrap_or(first_arrived));
        let ticks = i128::from(media) * i128::from(self.scale.rate) / i128::from(SECOND);
        let ticks = i64::try_from(ticks).unwrap_or(0);
        self.epoch = Some(Epoch::new(&first, first_arrived, ticks));
        self.queue(first, first_arrived);
        self.queue(second, arrived);
        self.settle();
        Inserted::Restarted
    }

    fn queue(&mut self, mut packet: VideoPacket<V>, arrived: i64) -> Inserted {
        let Some(epoch) = &mut self.epoch else { return Inserted::Stray };
        let (sequence, ticks) = (packet.sequence, epoch.ticks(packet.rtp));
        if epoch.remembered.contains(&Some(sequence)) {
            self.statistics.duplicates += 1;
            return Inserted::Duplicate;
        }
        if epoch.shown.is_some_and(|shown| sequence <= shown.sequence) {
            self.statistics.late += 1;
            self.observe(arrived, ticks, packet.size);
            return Inserted::Late;
        }
        let place = self.waiting.partition_point(|held| held.packet.sequence < sequence);
        if self.waiting.get(place).is_some_and(|held| held.packet.sequence == sequence) {
            self.statistics.duplicates += 1;
            return Inserted::Duplicate;
        }
        if sequence > epoch.newest.0 {
            self.rate.observe(ticks.saturating_sub(epoch.newest.2), self.scale);
            (epoch.newest, epoch.arrived) = ((sequence, packet.rtp, ticks), arrived);
        }
        let size = packet.size;
        if self.make_room(size) {
            packet.contiguous = false;
        }
        let place = self.waiting.partition_point(|held| held.packet.sequence < sequence);
        self.waiting.insert(place, Held { packet, ticks, arrived });
        self.bytes += size;
        self.observe(arrived, ticks, size);
        Inserted::Queued
    }

    /// Drops the oldest frames, up to a key frame each time, until one of this size fits. Whether nothing
    /// is left.
    fn make_room(&mut self, size: usize) -> bool {
        let before = self.waiting.len();
        while self.waiting.len() >= MAX_FRAMES || self.bytes.saturating_add(size) > MAX_BYTES {
            if self.drop_first().is_none() {
                break;
            }
            while self.waiting.front().is_some_and(|held| !held.packet.keyframe) {
                self.drop_first();
            }
        }
        before > 0 && self.waiting.is_empty()
    }

    fn drop_first(&mut self) -> Option<()> {
        self.take()?;
        self.statistics.overruns += 1;
        Some(())
    }

    fn drop_suspect(&mut self) {
        if self.suspect.take().is_some() {
            self.statistics.strays += 1;
        }
    }

    fn take(&mut self) -> Option<Held<V>> {
        let held = self.waiting.pop_front()?;
        self.bytes = self.bytes.saturating_sub(held.packet.size);
        Some(held)
    }

    /// Learns from the arrival of a frame, shown or not.
    fn observe(&mut self, arrived: i64, ticks: i64, size: usize) {
        let PlayoutConfig { mut tuning, size: start, max, .. } = self.config;
        tuning.floor = Duration::ZERO;
        let target = self.target.get_or_insert_with(|| {
            Box::new(DelayTarget::new(&tuning, start, max).looking_back(2).holding_up())
        });
        let media = self.scale.nanos(ticks);
        let here = arrived.saturating_sub(self.route.longer());
        let transit = here.saturating_sub(media);
        let delay = target.fastest().map_or(0, |fastest| transit.saturating_sub(fastest));
        let explained = self.sizes.explain(size, media, delay);
        target.observe(here.saturating_sub(explained), media);
        self.route.observe(arrived, delay.saturating_sub(explained));
        self.anchor();
    }

    fn fastest(&self) -> Option<i64> {
        Some(self.target.as_ref()?.fastest()?.saturating_add(self.route.longer()))
    }

    /// When tick 0 should be due without a hold, by what is known of the network.
    fn wanted(&self) -> Option<i64> {
        let target = self.target.as_ref()?;
        let delay = match self.config.playout {
            Playout::Adaptive => target.target(),
            Playout::Fixed => nanos(self.config.size),
        };
        let delay = delay.min(nanos(self.config.max.min(MAX_DELAY)));
        Some(self.fastest()?.saturating_add(delay))
    }

    /// Sets the delay at once where nothing is shown that would jump, or where it is far off.
    fn anchor(&mut self) {
        let moving = self.epoch.as_ref().is_some_and(|epoch| epoch.shown.is_some());
        if !moving {
            self.hold = self.wanted_hold;
        }
        if let Some(wanted) = self.wanted()
            && (!moving || wanted.saturating_sub(self.offset).saturating_abs() > JUMP)
        {
            self.offset = wanted;
        }
    }

    /// When `ticks` are due without a hold.
    fn plan(&self, ticks: i64) -> i64 {
        self.offset.saturating_add(self.scale.nanos(ticks))
    }

    fn due(&self, held: &Held<V>) -> i64 {
        let plan = self.plan(held.ticks).saturating_add(self.hold);
        let earliest = match self.epoch.as_ref().and_then(|epoch| epoch.shown) {
            Some(shown) => {
                let distance = self.distance(shown.ticks, held.ticks);
                let least = if shown.behind { distance / 4 } else { distance / 2 };
                shown.due.saturating_add(least)
            }
            None => i64::MIN,
        };
        plan.max(held.arrived).max(earliest)
    }

    /// From one frame to the next, in nanoseconds: 0 to a second.
    fn distance(&self, from: i64, to: i64) -> i64 {
        self.scale.nanos(to.saturating_sub(from)).clamp(0, SECOND)
    }

    /// The next frame, if it is due at `now`. Call it until there is none.
    pub fn pop(&mut self, now: Instant) -> Option<VideoPop<V>> {
        let origin = self.origin?;
        self.last_now = self.last_now.max(since(origin, now));
        let due = self.due(self.waiting.front()?);
        if due > self.last_now {
            return None;
        }
        let Held { packet, ticks, arrived } = self.take()?;
        let plan = self.plan(ticks);
        let heading =
            self.wanted().map_or(plan, |wanted| wanted.saturating_add(self.scale.nanos(ticks)));
        let late = due.saturating_sub(plan.saturating_add(self.hold));
        let distance = {
            let epoch = self.epoch.as_mut()?;
            let before = epoch.shown.replace(Shown {
                sequence: packet.sequence,
                ticks,
                due,
                behind: late > MAX_BEHIND,
            });
            epoch.remember(packet.sequence);
            before.map_or(0, |before| self.distance(before.ticks, ticks))
        };
        self.move_on(distance, late);
        let delay = span(self.last_now.saturating_sub(arrived));
        self.count(&packet, delay);
        let [due, planned, heading] = [due, plan, heading].map(|at| instant(origin, at));
        Some(VideoPop { packet, due, delay, planned, heading })
    }

    /// Moves delay and hold to where they should be, as far as the time between two frames allows.
    fn move_on(&mut self, distance: i64, late: i64) {
        let away = self.wanted().map_or(0, |wanted| wanted.saturating_sub(self.offset));
        let smooth = i128::from(away) * i128::from(distance.min(SMOOTHING)) / i128::from(SMOOTHING);
        let most = distance / DELAY_PACE;
        let mut change = i64::try_from(smooth).unwrap_or(0).clamp(-most, most);
        if away > 0 && late > 0 {
            // That late it is already: nobody sees the plan follow.
            change = change.max(away.min(late));
        }
        self.offset = self.offset.saturating_add(change);
        let more = self.wanted_hold - self.hold;
        self.hold += more.clamp(-distance / HOLD_PACE, distance);
    }

    fn count(&mut self, packet: &VideoPacket<V>, delay: Duration) {
        let figures = &mut self.statistics;
        figures.current_delay = delay;
        figures.average_delay = match figures.frames {
            0 => delay,
            _ => (figures.average_delay * 63 + delay) / 64,
        };
        if !packet.contiguous && figures.frames > 0 {
            figures.loss_rate += (1.0 - figures.loss_rate) / 64.0;
        }
        figures.loss_rate -= figures.loss_rate / 64.0;
        figures.frames += 1;
    }

    fn settle(&mut self) {
        self.statistics.peak = self.statistics.peak.max(self.held());
    }

    fn held(&self) -> usize {
        self.waiting.len() + usize::from(self.suspect.is_some())
    }

    /// When [`Self::pop`] has a frame, if none comes before. It may lie in the past.
    pub fn poll_timeout(&self) -> Option<Instant> {
        Some(instant(self.origin?, self.due(self.waiting.front()?)))
    }

    /// The figures, in frames. The loss rate is the share of frames before which something was lost;
    /// nothing is concealed.
    pub fn statistics(&self) -> BufferStatistics {
        BufferStatistics { current: self.held(), ..self.statistics }
    }

    /// Forgets everything but clock rate, configuration and wanted hold.
    pub fn reset(&mut self) {
        let hold = self.wanted_hold;
        let rate = u32::try_from(self.scale.rate).unwrap_or(u32::MAX);
        *self = Self::new(rate, self.config);
        self.wanted_hold = hold;
    }
}

impl Epoch {
    fn new<V>(packet: &VideoPacket<V>, arrived: i64, ticks: i64) -> Self {
        Self {
            newest: (packet.sequence, packet.rtp, ticks),
            arrived,
            shown: None,
            remembered: [None; REMEMBERED],
            next: 0,
        }
    }

    fn ticks(&self, rtp: u32) -> i64 {
        self.newest.2.saturating_add(ahead(rtp, self.newest.1))
    }

    fn remember(&mut self, sequence: u64) {
        if let Some(place) = self.remembered.get_mut(self.next) {
            *place = Some(sequence);
        }
        self.next = (self.next + 1) % REMEMBERED;
    }

    /// Whether a frame can belong to the stream.
    fn continued_by<V>(
        &self,
        packet: &VideoPacket<V>,
        arrived: i64,
        fastest: Option<i64>,
        scale: Scale,
    ) -> bool {
        let steps = packet.sequence.wrapping_sub(self.newest.0) as i64;
        if !(-MAX_MISORDER..MAX_DROPOUT).contains(&steps) {
            return false;
        }
        let moved = scale.nanos(ahead(packet.rtp, self.newest.1));
        if steps >= 0 && moved < -MAX_BEHIND || steps <= 0 && moved > MAX_BEHIND {
            return false;
        }
        let overtaken = arrived.saturating_sub(self.arrived).saturating_sub(moved);
        if steps < 0 && overtaken > MAX_OVERTAKEN {
            return false;
        }
        let transit = arrived.saturating_sub(scale.nanos(self.ticks(packet.rtp)));
        moved <= MAX_FRAME.saturating_mul(steps)
            || fastest.is_none_or(|fastest| transit >= fastest.saturating_sub(MAX_AHEAD))
    }
}

#[cfg(test)]
#[path = "video_tests.rs"]
mod tests;
