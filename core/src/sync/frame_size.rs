//! What frames have in common, by their medians: how far apart they are, and what large ones cost.

use super::stream::{SECOND, Scale};
use crate::trace::state::saved;

/// The frames of which medians are taken: 2 s at 30 a second, so that most are no key frames.
const FRAMES: usize = 64;
/// So many have to be known before one is large.
const ENOUGH: usize = 8;
/// A frame is large from so many times the median size on.
const LARGE: usize = 2;
/// The large frames of which the price of a byte is the median.
const SAMPLES: usize = 15;
/// The distances of which the frame rate is the median.
const DISTANCES: usize = 30;
/// So many are enough to say it.
const FEW: usize = 4;

/// The last values, up to `N`, and their median.
#[derive(Debug, Clone)]
struct Last<const N: usize> {
    values: [i64; N],
    count: usize,
    next: usize,
}

saved!(struct Last<N> [const N: usize] { values, count, next });

impl<const N: usize> Last<N> {
    const fn new() -> Self {
        Self { values: [0; N], count: 0, next: 0 }
    }

    fn push(&mut self, value: i64) {
        if let Some(place) = self.values.get_mut(self.next) {
            *place = value;
        }
        self.next = (self.next + 1) % N;
        self.count = (self.count + 1).min(N);
    }

    /// The upper one of two; `None` without any value.
    fn median(&self) -> Option<i64> {
        let mut values = self.values;
        let values = values.get_mut(..self.count)?;
        if values.is_empty() {
            return None;
        }
        let (_, median, _) = values.select_nth_unstable(self.count / 2);
        Some(*median)
    }
}

/// Tells how much of a frame's delay its size explains. A key frame, ten times as large as others, takes
/// longer to come through; that it does says nothing about the next frame of the usual size.
#[derive(Debug, Clone)]
pub(super) struct FrameSizes {
    sizes: Last<FRAMES>,
    delays: Last<FRAMES>,
    /// Of large frames, picoseconds for each byte beyond the usual size.
    prices: Last<SAMPLES>,
    /// When the last frame was captured, and how much of its delay was explained.
    last: (i64, i64),
}

saved!(struct FrameSizes { sizes, delays, prices, last });

impl FrameSizes {
    pub(super) const fn new() -> Self {
        Self { sizes: Last::new(), delays: Last::new(), prices: Last::new(), last: (0, 0) }
    }

    /// Takes note of a frame captured at `media` nanoseconds that came complete `delay` nanoseconds after
    /// the fastest one would have, and gives how much of that is due to its size, or to that of the frames
    /// before it, behind which it had to queue: never so much that less than the usual delay is left.
    pub(super) fn explain(&mut self, size: usize, media: i64, delay: i64) -> i64 {
        let usual = self.delays.median().unwrap_or(delay);
        let more = delay.saturating_sub(usual).max(0);
        let (before, explained) = self.last;
        let queued = explained.saturating_sub(media.saturating_sub(before).max(0)).max(0);
        let own = self.price(size, more.saturating_sub(queued).max(0)).unwrap_or(0);
        self.sizes.push(i64::try_from(size).unwrap_or(i64::MAX));
        self.delays.push(delay);
        let explained = queued.saturating_add(own).min(more);
        self.last = (media, explained);
        explained
    }

    /// What the size of a frame costs, which has cost `more` than usual; `None` for usual sizes.
    fn price(&mut self, size: usize, more: i64) -> Option<i64> {
        if self.sizes.count < ENOUGH {
            return None;
        }
        let typical = usize::try_from(self.sizes.median()?).ok()?;
        if size <= typical.saturating_mul(LARGE) {
            return None;
        }
        let beyond = i128::try_from(size - typical).ok()?;
        self.prices.push(i64::try_from(i128::from(more) * 1_000 / beyond).unwrap_or(i64::MAX));
        let price = i128::from(self.prices.median()?);
        i64::try_from(price * beyond / 1_000).ok()
    }
}

/// The frame rate, by the median distance of timestamps: neither jitter nor a lost frame changes it.
#[derive(Debug, Clone)]
pub(super) struct FrameRate {
    distances: Last<DISTANCES>,
}

saved!(struct FrameRate { distances });

impl FrameRate {
    pub(super) const fn new() -> Self {
        Self { distances: Last::new() }
    }

    /// The next frame is `ticks` after the one before. What is not ahead, or a minute and more, is no
    /// distance of two frames.
    pub(super) fn observe(&mut self, ticks: i64, scale: Scale) {
        if ticks > 0 && scale.nanos(ticks) < 60 * SECOND {
            self.distances.push(ticks);
        }
    }

    /// Frames a second; `None` before five of them.
    pub(super) fn get(&self, scale: Scale) -> Option<f64> {
        if self.distances.count < FEW {
            return None;
        }
        Some(scale.rate as f64 / self.distances.median()? as f64)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const MS: i64 = 1_000_000;

    #[test]
    fn what_a_key_frame_takes_longer_is_put_down_to_its_size() {
        let mut sizes = FrameSizes::new();
        for frame in 0..300_i64 {
            let jitter = frame % 4 * MS;
            // Two have to queue behind a key frame.
            let (size, queue) = match frame % 50 {
                47 => (40_000, 80),
                48 => (4_000, 47),
                49 => (4_000, 14),
                _ => (4_000, 0),
            };
            let delay = queue * MS + jitter;
            let explained = sizes.explain(size, frame * 33 * MS, delay);
            let left = delay - explained;
            assert!(left <= 6 * MS, "{left} of {delay} at {frame}");
            assert!(queue > 0 || explained == 0, "{explained} at {frame}");
        }
        // A stall that meets a key frame is none of its size.
        assert!(sizes.explain(40_000, 300 * 33 * MS, 300 * MS) < 85 * MS);
    }

    #[test]
    fn a_frame_rate_is_that_of_most_frames() {
        let scale = Scale::new(90_000);
        let mut rate = FrameRate::new();
        for frame in 0..100 {
            assert_eq!(rate.get(scale).is_some(), frame >= FEW);
            rate.observe(if frame % 5 == 4 { 6_000 } else { 3_000 }, scale);
        }
        rate.observe(-3_000, scale);
        assert_eq!(rate.get(scale), Some(30.0));
        // It follows.
        (0..DISTANCES).for_each(|_| rate.observe(1_500, scale));
        assert_eq!(rate.get(scale), Some(60.0));
    }

    proptest! {
        #[test]
        fn whatever_comes_no_less_than_the_usual_delay_is_left(
            frames in prop::collection::vec((any::<usize>(), any::<i64>(), any::<i64>()), 0..200),
        ) {
            let mut sizes = FrameSizes::new();
            for (size, media, delay) in frames {
                let usual = sizes.delays.median();
                let explained = sizes.explain(size, media, delay);
                prop_assert!(explained >= 0);
                prop_assert!(explained == 0 || delay - explained >= usual.unwrap());
            }
        }
    }
}
