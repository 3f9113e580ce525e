//! Playing faster and slower without a change of pitch.

use super::level::{BLOCK, Level};
use super::pitch::{Direction, HALF, LONGEST, SHORTEST, Search, dot, likeness};
use super::reel::Reel;
use crate::trace::Tape;
use crate::trace::state::saved;

/// A cross-fade lasts as long as the shift, which spreads the change over a whole period, but at least
/// 5 ms and at most 15.
const SHORTEST_FADE: usize = HALF;

/// The likeness that speech and music need at first, and after having waited for it for
/// [`PATIENCE`] frames. NetEq's is 0.9 (`time_stretch.cc` of libwebrtc).
const STRICT: f32 = 0.96;
const LENIENT: f32 = 0.85;
/// 150 ms.
const PATIENCE: usize = 7_200;
/// For so long a pause is waited for: 4 s.
const PAUSE_PATIENCE: usize = 192_000;
/// What is enough in haste. NetEq's is 0.5.
const HASTY: f32 = 0.6;
/// What is enough in a pause: noise is as good as any other.
const PAUSE: f32 = 0.0;

/// How often a search may fail: each 5 ms.
const RETRY: usize = 240;
/// What is played as it is between two operations: 20 ms, so that nothing is repeated twice.
const BETWEEN: usize = 960;

/// The playing speed that is wanted from a [`Stretcher`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Command {
    /// As it comes.
    #[default]
    Normal,
    /// Faster: leaves periods out where it cannot be heard. Speech loses up to about a quarter of its
    /// time, steady music nothing where it never resembles itself.
    Shrink,
    /// Faster in pauses alone, or as [`Self::Shrink`] after having waited for one for 4 s.
    Trim,
    /// Faster at the price of some quality, against a large backlog: up to twice as fast.
    ShrinkFast,
    /// Slower: repeats periods.
    Grow,
    /// Slower at the price of some quality: before nothing is left to be played.
    GrowFast,
}

saved!(
    enum Command {
        Normal,
        Shrink,
        Trim,
        ShrinkFast,
        Grow,
        GrowFast,
    }
);

/// What a [`Stretcher`] has done. At any time the frames pulled are those pushed, more those inserted,
/// less those removed and those that wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct StretchStatistics {
    /// Frames taken in.
    pub pushed: u64,
    /// Frames given out.
    pub pulled: u64,
    /// Frames played more often than they came.
    pub inserted: u64,
    /// Frames left out.
    pub removed: u64,
    /// Operations that inserted.
    pub grown: u64,
    /// Operations that removed.
    pub shrunk: u64,
    /// Those of both kinds that were made in a pause.
    pub in_pauses: u64,
    /// Joins by cross-fade ([`Stretcher::join`]).
    pub joined: u64,
    /// Samples that were no numbers, or infinite, and were replaced by 0.
    pub invalid: u64,
}

saved!(struct StretchStatistics {
    pushed, pulled, inserted, removed, grown, shrunk, in_pauses, joined, invalid,
});

impl StretchStatistics {
    /// Both together.
    pub(super) const fn and(self, other: Self) -> Self {
        Self {
            pushed: self.pushed + other.pushed,
            pulled: self.pulled + other.pulled,
            inserted: self.inserted + other.inserted,
            removed: self.removed + other.removed,
            grown: self.grown + other.grown,
            shrunk: self.shrunk + other.shrunk,
            in_pauses: self.in_pauses + other.in_pauses,
            joined: self.joined + other.joined,
            invalid: self.invalid + other.invalid,
        }
    }
}

/// Plays samples of 48 kHz faster or slower by leaving out or repeating whole periods of the signal.
///
/// Decoded audio is pushed in chunks of any size, and pulled in others by a playout callback: neither
/// locks nor allocates. An operation removes or inserts 2.5 to 15 ms at once: the shift at which the
/// signal resembles itself the most, with a cross-fade of 5 to 15 ms (as WSOLA does: Verhelst and
/// Roelands, "An overlap-add technique based on waveform similarity", ICASSP 1993; and NetEq of
/// libwebrtc). Pauses are shortened or lengthened freely; where a signal does not resemble itself
/// nothing is done, and the caller may ask for as long as it likes. Channels are treated alike.
///
/// To shrink, at least 12.5 ms must wait beyond what is pulled, for the longest periods 30 ms; to grow,
/// 5 ms.
#[derive(Debug)]
pub struct Stretcher {
    pub(super) reel: Reel,
    pub(super) search: Search,
    pub(super) statistics: StretchStatistics,
    /// What a join makes up.
    pub(super) made: Vec<f32>,
    /// Writes down what is found in the samples, or tells it without them.
    pub(super) tape: Option<Tape>,
    level: Level,
    fade: Option<Fade>,
    command: Command,
    /// Frames played since the last operation.
    since_operation: usize,
    /// And since the last search.
    since_search: usize,
    /// How long the command waits for a good place.
    waited: usize,
    /// And for a pause.
    waited_for_pause: usize,
    /// The least and the most frames of an operation.
    least: usize,
    most: usize,
}

saved!(struct Stretcher {
    reel, search, statistics, made, tape, level, fade, command, since_operation, since_search,
    waited, waited_for_pause, least, most,
} if is_possible);

/// A cross-fade under way from one place to another.
#[derive(Debug, Clone, Copy)]
struct Fade {
    from: u64,
    to: u64,
    done: usize,
    length: usize,
    likeness: f32,
}

saved!(struct Fade { from, to, done, length, likeness });

impl Stretcher {
    /// A stretcher of interleaved samples of 1 or 2 channels (other numbers become the nearest), for
    /// which it takes 90 or 180 kB of memory.
    pub fn new(channels: usize) -> Self {
        let channels = channels.clamp(1, 2);
        Self {
            reel: Reel::new(channels),
            search: Search::new(channels),
            statistics: StretchStatistics::default(),
            made: Vec::with_capacity(LONGEST * channels),
            tape: None,
            level: Level::new(),
            fade: None,
            command: Command::Normal,
            since_operation: BETWEEN,
            since_search: RETRY,
            waited: 0,
            waited_for_pause: 0,
            least: 0,
            most: usize::MAX,
        }
    }

    /// Whether a cross-fade has an end, which is there.
    fn is_possible(&self) -> bool {
        let there = |place: u64, length: usize| {
            place.checked_add(length as u64).is_some_and(|end| end <= self.reel.end())
        };
        self.fade.is_none_or(|fade| {
            let Fade { from, to, done, length, .. } = fade;
            done < length && there(from, length) && there(to, length)
        })
    }

    /// Operations that follow insert or remove at least `least` frames and at most `most`.
    pub const fn bound(&mut self, least: usize, most: usize) {
        (self.least, self.most) = (least, most);
    }

    /// Takes samples in, and gives how many frames it took: all, unless more than [`Self::room`]. An
    /// incomplete frame at the end is left over. What is no number or infinite becomes 0 and is counted;
    /// what is more than 24 dB over full scale is clipped.
    pub fn push(&mut self, samples: &[f32]) -> usize {
        let (frames, invalid) = self.reel.push(samples);
        self.statistics.pushed += frames as u64;
        self.statistics.invalid += invalid;
        let end = self.reel.end();
        self.level.observe(self.reel.get(end - frames as u64..end), self.reel.channels());
        frames
    }

    /// Fills `out`, and gives how many frames it could: fewer only where nothing waits. The rest of
    /// `out` stays as it was.
    pub fn pull(&mut self, out: &mut [f32], command: Command) -> usize {
        if command != self.command {
            self.command = command;
            self.waited = 0;
        }
        let channels = self.reel.channels();
        let frames = out.len() / channels;
        let mut done = 0;
        while let Some(rest @ [_, ..]) = out.get_mut(done * channels..frames * channels) {
            self.start();
            let count = match self.fade {
                Some(fade) => self.play_fade(fade, rest),
                None => self.play(rest),
            };
            if count == 0 {
                break;
            }
            done += count;
        }
        self.statistics.pulled += done as u64;
        done
    }

    /// How many frames wait to be pulled.
    pub fn waiting(&self) -> usize {
        self.reel.waiting()
    }

    /// How many frames can be pushed: what waits is at most 200 ms.
    pub fn room(&self) -> usize {
        self.reel.room()
    }

    /// The figures.
    pub const fn statistics(&self) -> StretchStatistics {
        self.statistics
    }

    /// Forgets all samples and the figures.
    pub fn reset(&mut self) {
        self.reel.clear();
        self.statistics = StretchStatistics::default();
        self.level = Level::new();
        self.fade = None;
        self.command = Command::Normal;
        (self.since_operation, self.since_search, self.waited) = (BETWEEN, RETRY, 0);
        self.waited_for_pause = 0;
        self.bound(0, usize::MAX);
    }

    fn between(&self) -> usize {
        if self.command == Command::ShrinkFast { 0 } else { BETWEEN }
    }

    /// Plays what comes, at most up to where the next search is due.
    fn play(&mut self, out: &mut [f32]) -> usize {
        let until_search = match self.command {
            Command::Normal => usize::MAX,
            _ => (RETRY.saturating_sub(self.since_search))
                .max(self.between().saturating_sub(self.since_operation))
                .max(1),
        };
        let channels = self.reel.channels();
        let count = (out.len() / channels).min(self.reel.waiting()).min(until_search);
        let place = self.reel.position();
        let end = place + count as u64;
        for (out, sample) in out.iter_mut().zip(self.reel.get(place..end)) {
            *out = *sample;
        }
        self.reel.seek(end);
        self.since_operation = self.since_operation.saturating_add(count);
        self.since_search = self.since_search.saturating_add(count);
        count
    }

    /// Starts an operation if one is asked for, due, possible and good enough.
    fn start(&mut self) {
        if self.fade.is_some()
            || self.command == Command::Normal
            || self.since_operation < self.between()
            || self.since_search < RETRY
        {
            return;
        }
        let (place, waiting) = (self.reel.position(), self.reel.waiting());
        let direction = match self.command {
            Command::Grow | Command::GrowFast => Direction::Back,
            _ => Direction::Ahead,
        };
        let longest = match direction {
            Direction::Ahead => waiting.saturating_sub(SHORTEST_FADE).min(LONGEST),
            Direction::Back if waiting < SHORTEST_FADE => 0,
            Direction::Back => self.reel.before(place).saturating_sub(HALF).min(LONGEST),
        };
        let longest = longest.min(self.most);
        if longest < SHORTEST.max(self.least) {
            return;
        }
        let waited = self.waited;
        self.waited = waited.saturating_add(self.since_search.min(RETRY));
        self.since_search = 0;
        let found = match self.tape.clone() {
            None => self.look(place, direction, longest, waited),
            Some(tape) => {
                let told = serde_json::json!([format!("{:?}", self.command), longest]);
                tape.ask(("stretch", 0), told, None, || {
                    self.look(place, direction, longest, waited)
                })
            }
        };
        // What a recording says is within what was asked for, or nothing.
        let Some((lag, likeness, pause)) = found.filter(|(lag, ..)| (1..=longest).contains(lag))
        else {
            return;
        };
        let (to, length) = fade(place, direction, lag, waiting);
        self.statistics.in_pauses += u64::from(pause);
        self.fade = Some(Fade { from: place, to, done: 0, length, likeness });
    }

    /// Looks for a period that can be left out or repeated: how long it is, how alike both sides are, and
    /// whether it lies in a pause.
    fn look(
        &mut self,
        place: u64,
        direction: Direction,
        longest: usize,
        waited: usize,
    ) -> Option<(usize, f32, bool)> {
        let pause = self.is_pause(place, direction, longest);
        if self.command == Command::Trim && !pause {
            self.waited_for_pause = self.waited_for_pause.saturating_add(RETRY);
            if self.waited_for_pause < PAUSE_PATIENCE {
                return None;
            }
        }
        let enough = match self.command {
            _ if pause => PAUSE,
            Command::ShrinkFast | Command::GrowFast => HASTY,
            _ => {
                let share = waited as f32 / PATIENCE as f32;
                STRICT + (LENIENT - STRICT) * share.min(1.0)
            }
        };
        let range = (self.least, longest);
        let found = self.search.find(&self.reel, place, direction, range, enough)?;
        let (to, length) = fade(place, direction, found.lag, self.reel.waiting());
        let likeness = self.likeness_of_fade(place, to, length).min(found.likeness);
        (likeness >= enough).then_some((found.lag, likeness, pause))
    }

    /// Whether all that an operation here could touch belongs to a pause.
    fn is_pause(&self, place: u64, direction: Direction, longest: usize) -> bool {
        let end = match direction {
            Direction::Ahead => self.reel.end().min(place + 2 * LONGEST as u64),
            Direction::Back => self.reel.end().min(place + LONGEST as u64),
        };
        let start = match direction {
            Direction::Ahead => place,
            Direction::Back => place - longest as u64,
        };
        let samples = self.reel.get(start..end);
        let mut blocks = samples.chunks(BLOCK * self.reel.channels());
        blocks.all(|block| self.level.is_pause(dot(block, block) / block.len() as f32))
    }

    /// How alike both sides of a cross-fade are over the whole of it, and just before.
    fn likeness_of_fade(&self, from: u64, to: u64, length: usize) -> f32 {
        let around = |place: u64| {
            let before = (HALF / 2) as u64;
            self.reel.get(place.saturating_sub(before)..place + length as u64)
        };
        let (from, to) = (around(from), around(to));
        likeness(dot(from, to), dot(from, from), dot(to, to))
    }

    fn play_fade(&mut self, mut fade: Fade, out: &mut [f32]) -> usize {
        let channels = self.reel.channels();
        let count = (out.len() / channels).min(fade.length - fade.done);
        let side = |place: u64| {
            let start = place + fade.done as u64;
            self.reel.get(start..start + count as u64).chunks_exact(channels)
        };
        let sides = side(fade.from).zip(side(fade.to));
        for ((index, out), (old, new)) in
            (fade.done..).zip(out.chunks_exact_mut(channels)).zip(sides)
        {
            let (old_gain, new_gain) = gains(index, fade.length, fade.likeness);
            for ((out, old), new) in out.iter_mut().zip(old).zip(new) {
                *out = old_gain * old + new_gain * new;
            }
        }
        fade.done += count;
        if fade.done < fade.length {
            self.reel.seek(fade.from + fade.done as u64);
            self.fade = Some(fade);
            return count;
        }
        self.fade = None;
        self.reel.seek(fade.to + fade.length as u64);
        if fade.to > fade.from {
            self.statistics.removed += fade.to - fade.from;
            self.statistics.shrunk += 1;
            self.waited_for_pause = 0;
        } else {
            self.statistics.inserted += fade.from - fade.to;
            self.statistics.grown += 1;
        }
        (self.since_operation, self.since_search, self.waited) = (0, RETRY, 0);
        count
    }
}

/// Where a fade over `lag` leads from `place`, and how long it is.
fn fade(place: u64, direction: Direction, lag: usize, waiting: usize) -> (u64, usize) {
    let (to, ahead) = match direction {
        Direction::Ahead => (place + lag as u64, waiting - lag),
        Direction::Back => (place - lag as u64, waiting),
    };
    (to, lag.max(SHORTEST_FADE).min(ahead))
}

/// The gains of the old and of the new side of a cross-fade at frame `index` of `length`. They keep the
/// level for sides that are so alike: their sum is 1 for equal ones, the sum of their squares for
/// unlike ones.
pub(super) fn gains(index: usize, length: usize, likeness: f32) -> (f32, f32) {
    let time = (index as f32 + 0.5) / length as f32;
    let new = time * time * (3.0 - 2.0 * time);
    let old = 1.0 - new;
    let energy = old * old + new * new + 2.0 * likeness.clamp(0.0, 1.0) * old * new;
    let scale = energy.sqrt().recip();
    (old * scale, new * scale)
}

#[cfg(test)]
#[path = "stretch_tests.rs"]
mod tests;
