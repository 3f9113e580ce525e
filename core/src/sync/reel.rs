//! Samples that wait for playout, with some that were played.

use std::ops::Range;

use crate::trace::state::{Layout, Reader, Save, Unreadable, Writer};

/// What was played and is kept, in frames: the longest period twice and half a window
/// ([`super::pitch`]), since after a repetition playout stands up to a period further back.
pub(super) const HISTORY: usize = 1_680;

/// The most that waits, in frames of 48 kHz: 200 ms, a packet of the greatest length (120 ms, RFC
/// 6716, section 2.1.4) and what an operation looks ahead.
pub(super) const WAITING: usize = 9_600;

/// How loud a sample may be: 24 dB over full scale. What is beyond is clipped, so that the energies of
/// all that is kept stay finite.
const LOUDEST: f32 = 16.0;

/// A tape of interleaved samples: pushed at its end, played from a position in it. Places count frames
/// from the first one ever pushed. All of it is one slice, moved down when its room is used up; the room
/// is twice of what may wait, so that even a full one copies each sample about once.
#[derive(Debug)]
pub(super) struct Reel {
    channels: usize,
    samples: Vec<f32>,
    /// The place of the first sample that is kept.
    base: u64,
    /// The next one to be played.
    position: u64,
}

impl Save for Reel {
    fn layout(layout: &mut Layout) {
        layout.name("reel");
    }

    fn save(&self, to: &mut Writer) {
        (self.channels, self.base, self.position).save(to);
        self.samples.save(to);
    }

    fn load(from: &mut Reader<'_>) -> Result<Self, Unreadable> {
        from.field("Reel", "samples");
        let (channels, base, position) = <(usize, u64, u64)>::load(from)?;
        let samples = Vec::<f32>::load(from)?;
        if !(1..=2).contains(&channels) {
            return Err(from.wrong("neither one nor two channels"));
        }
        // Its room decides how much is kept.
        from.charge((HISTORY + 2 * WAITING) * channels * size_of::<f32>())?;
        let mut reel = Self { base, position, ..Self::new(channels) };
        let end = base.checked_add((samples.len() / channels) as u64);
        if samples.len() > reel.samples.capacity()
            || !samples.len().is_multiple_of(channels)
            || position < base
            || end.is_none_or(|end| position > end)
        {
            return Err(from.wrong("a place outside of it"));
        }
        reel.samples.extend(samples);
        Ok(reel)
    }
}

impl Reel {
    pub(super) fn new(channels: usize) -> Self {
        let samples = Vec::with_capacity((HISTORY + 2 * WAITING) * channels);
        Self { channels, samples, base: 0, position: 0 }
    }

    pub(super) const fn channels(&self) -> usize {
        self.channels
    }

    /// The place of the frame that is played next.
    pub(super) const fn position(&self) -> u64 {
        self.position
    }

    /// The place behind the last frame.
    pub(super) fn end(&self) -> u64 {
        self.base + (self.samples.len() / self.channels) as u64
    }

    #[cfg(test)]
    pub(super) fn capacity(&self) -> usize {
        self.samples.capacity()
    }

    /// How many frames wait.
    pub(super) fn waiting(&self) -> usize {
        (self.end() - self.position) as usize
    }

    /// How many frames before `place` are kept.
    pub(super) const fn before(&self, place: u64) -> usize {
        (place - self.base) as usize
    }

    /// How many more frames may be pushed.
    pub(super) fn room(&self) -> usize {
        WAITING.saturating_sub(self.waiting())
    }

    /// Makes `place` the next one to be played.
    pub(super) fn seek(&mut self, place: u64) {
        self.position = place.clamp(self.base, self.end());
    }

    /// Appends whole frames, as many as there is room for. Gives how many, and how many samples among
    /// them were no numbers or infinite: they become 0.
    pub(super) fn push(&mut self, samples: &[f32]) -> (usize, u64) {
        let frames = (samples.len() / self.channels).min(self.room());
        self.make_room(frames);
        let mut bad = 0;
        self.samples.extend(samples.iter().take(frames * self.channels).map(|&sample| {
            if sample.is_finite() {
                return sample.clamp(-LOUDEST, LOUDEST);
            }
            bad += 1;
            0.0
        }));
        (frames, bad)
    }

    fn make_room(&mut self, frames: usize) {
        if self.samples.len() + frames * self.channels <= self.samples.capacity() {
            return;
        }
        let surplus = self.before(self.position).saturating_sub(HISTORY);
        self.samples.drain(..surplus * self.channels);
        self.base += surplus as u64;
    }

    /// The samples of the frames in this range, empty unless all of them are kept.
    pub(super) fn get(&self, places: Range<u64>) -> &[f32] {
        let index = |place: u64| Some(place.checked_sub(self.base)? as usize * self.channels);
        let found = index(places.start).zip(index(places.end));
        found.and_then(|(start, end)| self.samples.get(start..end)).unwrap_or_default()
    }

    /// Forgets all samples.
    pub(super) fn clear(&mut self) {
        self.samples.clear();
        (self.base, self.position) = (0, 0);
    }
}
