//! Joins: from what was made up back to what was sent.

use super::pitch::{Direction, HALF, LONGEST, SHORTEST, dot, likeness};
use super::stretch::{Stretcher, gains};

/// The cross-fade of a join: 5 ms.
const FADE: usize = HALF;

/// The longest shift: half of the longest period.
const LONGEST_SHIFT: usize = LONGEST / 2;

/// How alike both sides must be to be shifted for it.
const ALIKE: f32 = 0.5;

/// And how much more so than without a shift, since it costs time.
const GAIN: f32 = 0.05;

/// Shifts are tried in steps of that many frames at first: less than half the period of what is heard
/// loudly in speech.
const STEP: usize = 4;

/// Over so many frames the continuation is bent to start where the old side ends: 1 ms.
const BEND: usize = 48;

impl Stretcher {
    /// Pushes samples that do not follow from those before: the first after comfort noise, after a gap
    /// that was not concealed by their own decoder, or of another stream. Gives how many frames it took
    /// of them.
    ///
    /// What was there before is continued by its last period, and cross-faded within 5 ms to the new
    /// samples. Where both are alike at some shift of at most half a period, so much is inserted or left
    /// out that they run in phase: then a voice goes on without a break. (NetEq's merge aligns by
    /// inserting only, `modules/audio_coding/neteq/merge.cc` of libwebrtc; here delays do not add up.)
    /// At most `most` frames are left out.
    /// Samples are pushed as they are where less than 2.5 ms were pushed before, or less than 12.5 ms fit.
    pub fn join(&mut self, samples: &[f32], most: usize) -> usize {
        let channels = self.reel.channels();
        let end = self.reel.end();
        let known = self.reel.before(end);
        let fade = FADE.min(samples.len() / channels);
        if fade == 0 || known < SHORTEST || self.room() < FADE + LONGEST_SHIFT {
            return self.push(samples);
        }
        let longest = known.saturating_sub(2 * HALF).min(LONGEST);
        // 5 ms of the window lie behind the place: all of it is what was there before.
        let place = end.saturating_sub(HALF as u64);
        let found = self.search.find(&self.reel, place, Direction::Back, (SHORTEST, longest), 1.0);
        let period = found.map_or((known - 1).min(LONGEST), |found| found.lag);
        let mut made = std::mem::take(&mut self.made);
        self.continue_by(period, &mut made);

        let length = fade * channels;
        let best = || Shift::best(&made, samples, channels, length, (period / 2, most));
        let shift = match &self.tape {
            None => best(),
            Some(tape) => {
                let told = serde_json::json!([fade, samples.len()]);
                let kept = |shift: &Shift| (shift.inserted, shift.skipped);
                let revive = |(inserted, skipped): (usize, usize)| {
                    let within = inserted <= LONGEST_SHIFT && skipped * channels <= samples.len();
                    within.then_some(Shift { inserted, skipped, likeness: 0.0 })
                };
                let none = Shift { inserted: 0, skipped: 0, likeness: 0.0 };
                tape.ask_as(("join", 0), told, best, kept, revive, none)
            }
        };
        let new = samples.get(shift.skipped * channels..).unwrap_or_default();
        let old = made.iter_mut().skip(shift.inserted * channels);
        let mut invalid =
            samples.iter().take(shift.skipped * channels).filter(|s| !s.is_finite()).count();
        for (index, (old, &new)) in old.zip(new).take(length).enumerate() {
            let (old_gain, new_gain) = gains(index / channels, fade, shift.likeness);
            invalid += usize::from(!new.is_finite());
            *old = old_gain * *old + if new.is_finite() { new_gain * new } else { 0.0 };
        }
        self.push(made.get(..shift.inserted * channels + length).unwrap_or_default());
        self.made = made;
        let rest = self.push(new.get(length..).unwrap_or_default());
        let figures = &mut self.statistics;
        figures.pushed = figures.pushed + shift.skipped as u64 - shift.inserted as u64;
        figures.inserted += shift.inserted as u64;
        figures.removed += shift.skipped as u64;
        figures.invalid += invalid as u64;
        figures.joined += 1;
        shift.skipped + fade + rest
    }

    /// Fills `made` with the last period over and over.
    fn continue_by(&self, period: usize, made: &mut Vec<f32>) {
        let channels = self.reel.channels();
        let end = self.reel.end();
        // With the frame before that period, which it followed as its continuation should follow its end.
        let last = self.reel.get(end - period as u64 - 1..end);
        let at = |frame: usize, channel: usize| {
            last.get(frame * channels + channel).copied().unwrap_or_default()
        };
        made.clear();
        for index in 0..LONGEST_SHIFT + FADE {
            let index = index % period;
            let bend = 1.0 - (index as f32 / BEND as f32).min(1.0);
            for channel in 0..channels {
                let step = at(period, channel) - at(0, channel);
                made.push(at(1 + index, channel) + step * bend);
            }
        }
    }
}

/// How a join is shifted, in frames: one of both is 0.
#[derive(Debug, Clone, Copy)]
struct Shift {
    /// So much of the continuation comes before the cross-fade.
    inserted: usize,
    /// So much of the new samples is left out.
    skipped: usize,
    likeness: f32,
}

impl Shift {
    /// That which makes `length` samples of both sides most alike, by at most `longest` frames, of which
    /// at most `most` are left out.
    fn best(
        made: &[f32],
        samples: &[f32],
        channels: usize,
        length: usize,
        (longest, most): (usize, usize),
    ) -> Self {
        let try_one = |shift: isize| {
            let at = shift.unsigned_abs();
            let (inserted, skipped) = if shift < 0 { (0, at) } else { (at, 0) };
            let old = made.get(inserted * channels..inserted * channels + length)?;
            let new = samples.get(skipped * channels..skipped * channels + length)?;
            let likeness = likeness(dot(old, new), dot(old, old), dot(new, new));
            // What is no number is like nothing.
            likeness.is_finite().then_some(Self { inserted, skipped, likeness })
        };
        let unshifted = try_one(0).unwrap_or(Self { inserted: 0, skipped: 0, likeness: 0.0 });
        let longest = longest.min(LONGEST_SHIFT);
        let (first, longest) = (-(longest.min(most) as isize), longest as isize);
        let mut best = (0, unshifted);
        let look = |best: &mut (isize, Self), shift: isize| {
            if let Some(found) = try_one(shift).filter(|found| found.likeness > best.1.likeness) {
                *best = (shift, found);
            }
        };
        for shift in (first..=longest).step_by(STEP) {
            look(&mut best, shift);
        }
        let (center, near) = (best.0, STEP as isize - 1);
        for shift in (center - near).max(first)..=(center + near).min(longest) {
            look(&mut best, shift);
        }
        let best = best.1;
        if best.likeness < ALIKE.max(unshifted.likeness + GAIN) { unshifted } else { best }
    }
}

#[cfg(test)]
#[path = "join_tests.rs"]
mod tests;
