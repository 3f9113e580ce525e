//! What to do with each piece of audio that is asked for.

use std::time::Duration;

use super::tuning::PlayoutTuning;

/// What a decision depends on. Times are nanoseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Situation {
    /// How long after its fastest possible arrival the next audio would be played.
    pub delay: i64,
    /// How long that should be.
    pub target: i64,
    /// How much is there without a gap.
    pub ready: i64,
    /// How much is missing before what is there behind that, if anything is.
    pub gap: Option<i64>,
    /// How much was made up since the last real audio.
    pub concealed: i64,
}

/// What to do. Times are nanoseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Step {
    /// Play what follows as it is.
    Play,
    /// Play it slower, where the stretcher can.
    Grow {
        /// Less than that helps nothing.
        least: i64,
    },
    /// Play it faster, where the stretcher can.
    Shrink {
        /// More than that should not be taken out.
        most: i64,
        /// Whether to do it as often as the stretcher can.
        hurry: bool,
    },
    /// Play what is there, then make something up.
    Conceal {
        /// How much.
        length: i64,
    },
    /// Give up what is missing and go on behind it.
    Skip,
}

/// Decides, from the tuning alone.
#[derive(Debug, Clone, Copy)]
pub struct Control {
    grow_below: i64,
    shrink_above: i64,
    hurry_above: i64,
    skip_above: i64,
    brink: i64,
    late_share: f64,
    late_from: i64,
}

impl Control {
    /// By this tuning.
    pub fn new(tuning: &PlayoutTuning) -> Self {
        let nanos = |d: Duration| i64::try_from(d.as_nanos()).unwrap_or(i64::MAX);
        Self {
            grow_below: nanos(tuning.grow_below),
            shrink_above: nanos(tuning.shrink_above),
            hurry_above: nanos(tuning.hurry_above),
            skip_above: nanos(tuning.skip_above),
            brink: nanos(tuning.brink),
            late_share: tuning.late_share,
            late_from: nanos(tuning.late_from),
        }
    }

    /// What to do for the next `wanted` nanoseconds.
    pub fn decide(&self, at: &Situation, wanted: i64) -> Step {
        let wanted = wanted.max(1);
        if at.ready < wanted {
            let missing = wanted - at.ready;
            return match at.gap {
                Some(gap) if at.concealed >= gap => Step::Skip,
                Some(_) if at.delay >= at.target + self.skip_above => Step::Skip,
                Some(gap) => Step::Conceal { length: missing.min(gap - at.concealed) },
                None => Step::Conceal { length: missing },
            };
        }
        // What comes next has to be there when the device asks for what it begins in, which is up to
        // `wanted` before it is heard: that is of no use, and the first to go.
        let spare = at.ready % wanted;
        let budget = at.delay - spare;
        let least = wanted - spare;
        let off = budget - at.target;
        if off < -self.grow_below {
            return Step::Grow { least: 0 };
        }
        let alone = at.gap.is_none() && at.ready - spare <= wanted;
        let late = budget - wanted >= self.late_from + (at.target as f64 * self.late_share) as i64;
        if alone && late && least <= self.brink {
            return Step::Grow { least };
        }
        let over = (off - self.shrink_above).div_euclid(wanted);
        let most = over * wanted + spare;
        if most > 0 {
            return Step::Shrink { most, hurry: off >= self.hurry_above };
        }
        Step::Play
    }
}
