//! What to do with each piece of audio that is asked for.

use super::stream::nanos;
use super::tuning::PlayoutTuning;
use crate::trace::state::saved;

/// The longest packet, in nanoseconds: 120 ms, that of Opus (RFC 6716, section 3.2.5).
pub(super) const MAX_PACKET: i64 = 120_000_000;

/// What a decision depends on. All are nanoseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Situation {
    /// How long after its fastest possible arrival the audio that comes next would be played
    /// ([`super::DelayTarget::fastest`] says when that was).
    pub delay: i64,
    /// How long that should be.
    pub target: i64,
    /// How late the latest packet of the last seconds was that needed less than a piece beyond the target
    /// ([`super::DelayTarget::peak_below`]): what is later is left to concealment, as the target says.
    pub near: i64,
    /// How late packets often are ([`super::DelayTarget::usual`]).
    pub usual: i64,
    /// How much audio is there without a gap.
    pub ready: i64,
    /// How much is missing behind that before there is more, if there is.
    pub gap: Option<i64>,
    /// How much was made up since the last real audio.
    pub concealed: i64,
    /// How long a packet is, if that is known: 0 counts as at least what is asked for at once.
    pub packet: i64,
}

/// What to do. All are nanoseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Step {
    /// Play what comes next as it is.
    Play,
    /// Play it slower, where the stretcher can.
    Grow {
        /// To insert less helps nothing.
        least: i64,
    },
    /// Play it faster, where the stretcher can.
    Shrink {
        /// To take out more would leave less than the target, or less than is to be played.
        most: i64,
        /// Whether to do so as often as the stretcher can, heard or not.
        hurry: bool,
    },
    /// The same in pauses alone, unless none comes for long: so little is not worth to be heard.
    Trim {
        /// To take out more would leave less than the target, or less than is to be played.
        most: i64,
    },
    /// Play what is there, then make something up.
    Conceal {
        /// How much. Less than is wanted where it fills the gap: then go on behind it.
        length: i64,
    },
    /// Give up what is missing, go on behind it, and ask again.
    Skip,
}

/// Playout slows down where a delay is below the target by that part of it, if not earlier.
const GROW_SHARE: i64 = 4;

/// And it slows down before it runs dry only for a packet later than that, in nanoseconds: 12 ms. Where the
/// target itself is less, packets stand at the brink all the time, and what is put in is taken out again:
/// heard as roughness, for no loss avoided (the program `quality` of the benches).
const BRINK_FLOOR: i64 = 12_000_000;

/// A target below that is a small one, in nanoseconds: 30 ms. Above, [`PlayoutTuning::trim_below`] costs more
/// delay than it is heard.
const SMALL: i64 = 30_000_000;

/// Decides, piece by piece, whether to play, to stretch or to conceal, by nothing but numbers.
///
/// What counts is not how late audio is played but how late a packet may be: it has to be there when the
/// device asks for the piece in which it begins, up to one piece before it is heard. That time between is
/// of no use: it can be taken out for nothing, and a little put in may win a whole piece.
#[derive(Debug, Clone, Copy)]
pub struct Control {
    grow_below: i64,
    shrink_above: i64,
    trim_below: i64,
    keep_below: i64,
    hurry_above: i64,
    skip_above: i64,
    brink: i64,
}

saved!(struct Control {
    grow_below, shrink_above, trim_below, keep_below, hurry_above, skip_above, brink,
});

impl Control {
    /// By this tuning.
    pub fn new(tuning: &PlayoutTuning) -> Self {
        Self {
            grow_below: nanos(tuning.grow_below),
            shrink_above: nanos(tuning.shrink_above),
            trim_below: nanos(tuning.trim_below),
            keep_below: nanos(tuning.keep_below),
            hurry_above: nanos(tuning.hurry_above),
            skip_above: nanos(tuning.skip_above),
            brink: nanos(tuning.brink),
        }
    }

    /// What to do about the next piece, `wanted` nanoseconds long (at least 1).
    pub fn decide(&self, at: &Situation, wanted: i64) -> Step {
        let wanted = wanted.max(1);
        let ready = at.ready.max(0);
        if ready < wanted {
            return self.run_dry(at, wanted - ready);
        }
        let awaited = ready % wanted;
        let (spare, most_spare) = spares(ready, at.packet, wanted);
        // How late every packet may be, against the target.
        let over = at.delay.saturating_sub(most_spare).saturating_sub(at.target);
        // A small delay has no room for a large one.
        if over < -self.grow_below.min(at.target / GROW_SHARE) {
            return Step::Grow { least: 0 };
        }
        let last = at.gap.is_none() && ready - awaited == wanted;
        let least = wanted - awaited;
        let late = at.delay.saturating_sub(ready);
        if last && least <= self.brink && late >= at.usual.min(at.target).max(BRINK_FLOOR) {
            return Step::Grow { least };
        }
        // A packet that is late by a nanosecond costs a whole piece: what let one in of late is kept.
        let near = if at.target < self.keep_below { at.near.saturating_sub(at.target) } else { 0 };
        let kept = near.max(self.shrink_above).max(0);
        // Whole pieces beyond that, and what is of no use.
        let pieces = over.saturating_sub(kept).div_euclid(wanted);
        let most = pieces.saturating_mul(wanted).saturating_add(spare).min(ready - wanted);
        if most > 0 {
            if over < self.trim_below && at.target < SMALL {
                return Step::Trim { most };
            }
            return Step::Shrink { most, hurry: over >= self.hurry_above };
        }
        Step::Play
    }

    fn run_dry(&self, at: &Situation, missing: i64) -> Step {
        let Some(gap) = at.gap else { return Step::Conceal { length: missing } };
        let left = gap.saturating_sub(at.concealed);
        // What is left above the target behind the gap.
        let after = at.delay.saturating_sub(at.ready.max(0)).saturating_sub(gap);
        let plenty = after >= at.target.saturating_add(self.skip_above);
        if left <= 0 || plenty {
            return Step::Skip;
        }
        Step::Conceal { length: missing.min(left) }
    }
}

/// How much sooner than it is heard the awaited packet has to be there, and those behind it: the least
/// and the most of that. All of them the same, where a packet is a whole number of pieces.
fn spares(ready: i64, packet: i64, wanted: i64) -> (i64, i64) {
    let first = ready % wanted;
    let mut range = (first, first);
    let step = packet.clamp(0, MAX_PACKET) % wanted;
    if step > 0 {
        // As many as begin in two pieces, or as it takes to see how they wander.
        let count = (wanted.saturating_mul(2) / step.max(packet)).clamp(2, 8);
        for n in 1..count {
            let spare = first.saturating_add(n.saturating_mul(step)) % wanted;
            range = (range.0.min(spare), range.1.max(spare));
        }
    }
    range
}

#[cfg(test)]
#[path = "control_tests.rs"]
mod tests;
