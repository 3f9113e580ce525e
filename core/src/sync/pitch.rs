//! How far a signal has to be shifted to resemble itself.

use super::reel::Reel;
use crate::trace::state::saved;

/// The shortest shift, in frames of 48 kHz: 2.5 ms, a voice of 400 Hz. NetEq searches the same range
/// (`modules/audio_coding/neteq/time_stretch.h` of libwebrtc).
pub(super) const SHORTEST: usize = 120;
/// The longest: 15 ms, a voice of 67 Hz.
pub(super) const LONGEST: usize = 720;
/// Both sides of the splice that are compared: 5 ms before it and 5 ms behind it.
pub(super) const HALF: usize = 240;
/// The whole of that.
const WINDOW: usize = 2 * HALF;

/// The coarse search is done at 12 kHz.
const DECIMATION: usize = 4;
const COARSE_WINDOW: usize = WINDOW / DECIMATION;
const COARSE_SHORTEST: usize = SHORTEST / DECIMATION;
const COARSE_LAGS: usize = (LONGEST - SHORTEST) / DECIMATION + 1;
const COARSE_FRAMES: usize = COARSE_WINDOW + LONGEST / DECIMATION;

/// How many maxima of the coarse search are looked at closely.
const CANDIDATES: usize = 4;
/// How far around them: more than half the period of a tone that the coarse search cannot see.
const AROUND: usize = 7;

/// Energies below are silence: -100 dB of full scale in each sample, over a window.
const SILENCE: f32 = 1e-10 * WINDOW as f32;

/// What any splice costs, however alike both sides are: so fewer and longer ones are made.
const SPLICE: f32 = 0.02;

/// Where to look for a segment like that around a place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Direction {
    /// Behind it, in what is to come: to leave out what lies between.
    Ahead,
    /// Before it, in what was: to repeat what lies between.
    Back,
}

/// A shift, and how alike the signal is to the shifted one.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Match {
    /// In frames.
    pub(super) lag: usize,
    /// From -1 to 1.
    pub(super) likeness: f32,
}

impl Match {
    /// The damage for each frame that is left out or repeated.
    fn cost(self) -> f32 {
        (1.0 - self.likeness + SPLICE) / self.lag as f32
    }
}

/// The memory of a search.
#[derive(Debug)]
pub(super) struct Search {
    /// The region at 12 kHz, interleaved.
    coarse: Vec<f32>,
    /// The energy of the frames before each of its frames.
    energy: Vec<f64>,
    likeness: Vec<f32>,
}

saved!(struct Search { coarse, energy, likeness });

impl Search {
    pub(super) fn new(channels: usize) -> Self {
        Self {
            coarse: Vec::with_capacity(COARSE_FRAMES * channels),
            energy: Vec::with_capacity(COARSE_FRAMES + 1),
            likeness: Vec::with_capacity(COARSE_LAGS),
        }
    }

    /// The shift of `shortest` (at least 2.5 ms) to `longest` frames at which 10 ms around `place` and
    /// 10 ms around the shifted place are most alike for the length of the shift; of those that are at
    /// least `enough` alike if there are any. `None` where the reel holds too little.
    ///
    /// A correlation at 12 kHz finds a few candidates, and one at 48 kHz decides. All channels count
    /// as one signal, so that whatever is done to one is right for the others.
    pub(super) fn find(
        &mut self,
        reel: &Reel,
        place: u64,
        direction: Direction,
        (shortest, longest): (usize, usize),
        enough: f32,
    ) -> Option<Match> {
        let shortest = shortest.max(SHORTEST);
        let longest = longest.min(LONGEST) / DECIMATION * DECIMATION;
        let start = place.checked_sub(HALF as u64)?;
        if longest < shortest {
            return None;
        }
        let region = match direction {
            Direction::Ahead => start..start + (WINDOW + longest) as u64,
            Direction::Back => start.checked_sub(longest as u64)?..start + WINDOW as u64,
        };
        let samples = reel.get(region);
        if samples.is_empty() {
            return None;
        }
        let channels = reel.channels();
        let fixed = if direction == Direction::Ahead { 0 } else { longest };
        self.compare_coarsely(samples, channels, fixed, longest);
        let candidates = self.maxima(shortest, enough);

        let window =
            |at: usize| samples.get(at * channels..(at + WINDOW) * channels).unwrap_or_default();
        let still = window(fixed);
        let still_energy = dot(still, still);
        let mut best: Option<Match> = None;
        for coarse in candidates.into_iter().flatten() {
            let lags = (coarse - AROUND.min(coarse)).max(shortest)..=(coarse + AROUND).min(longest);
            for lag in lags {
                let moved = window(if fixed == 0 { lag } else { longest - lag });
                let likeness = likeness(dot(still, moved), still_energy, dot(moved, moved));
                let found = Match { lag, likeness };
                if best.is_none_or(|best| better(found, best, enough)) {
                    best = Some(found);
                }
            }
        }
        best
    }

    fn compare_coarsely(&mut self, samples: &[f32], channels: usize, fixed: usize, longest: usize) {
        let Self { coarse, energy, likeness: found } = self;
        coarse.clear();
        energy.clear();
        found.clear();
        let mut sum = 0.0;
        energy.push(sum);
        for block in samples.chunks_exact(DECIMATION * channels) {
            for channel in 0..channels {
                let mean: f32 = block.iter().skip(channel).step_by(channels).sum();
                sum += f64::from(mean) * f64::from(mean);
                coarse.push(mean);
            }
            energy.push(sum);
        }
        let energy_at = |at: usize| match (energy.get(at), energy.get(at + COARSE_WINDOW)) {
            (Some(before), Some(behind)) => (behind - before) as f32,
            _ => 0.0,
        };
        let window = |at: usize| {
            coarse.get(at * channels..(at + COARSE_WINDOW) * channels).unwrap_or_default()
        };
        let (fixed, longest) = (fixed / DECIMATION, longest / DECIMATION);
        let (still, still_energy) = (window(fixed), energy_at(fixed));
        for lag in COARSE_SHORTEST..=longest {
            let at = if fixed == 0 { lag } else { longest - lag };
            found.push(likeness(dot(still, window(at)), still_energy, energy_at(at)));
        }
    }

    /// The best maxima of the coarse search, in frames of 48 kHz.
    fn maxima(&self, shortest: usize, enough: f32) -> [Option<usize>; CANDIDATES] {
        let mut best: [Option<Match>; CANDIDATES] = [None; CANDIDATES];
        let first = (shortest - SHORTEST) / DECIMATION;
        for (index, &likeness) in self.likeness.iter().enumerate().skip(first) {
            let neighbour = |at: Option<usize>| {
                at.filter(|&at| at >= first)
                    .and_then(|at| self.likeness.get(at))
                    .is_none_or(|&other| other <= likeness)
            };
            if !neighbour(index.checked_sub(1)) || !neighbour(Some(index + 1)) {
                continue;
            }
            let mut found = Match { lag: (COARSE_SHORTEST + index) * DECIMATION, likeness };
            for place in &mut best {
                match place {
                    Some(other) if !better(found, *other, enough) => {}
                    Some(other) => std::mem::swap(other, &mut found),
                    None => {
                        *place = Some(found);
                        break;
                    }
                }
            }
        }
        best.map(|found| found.map(|found| found.lag))
    }
}

/// Whether `a` is to be preferred: where both are good enough, the one that costs less for its length.
fn better(a: Match, b: Match, enough: f32) -> bool {
    match (a.likeness >= enough, b.likeness >= enough) {
        (true, true) => a.cost() < b.cost(),
        (false, false) => a.likeness > b.likeness,
        (good, _) => good,
    }
}

/// How alike two segments are, from the sum of their products and their energies: the correlation,
/// less for segments of different level. 1 where they are equal, as silence is to silence; 1 minus
/// the energy of the difference over that of both.
pub(super) fn likeness(product: f32, energy: f32, other: f32) -> f32 {
    let both = energy + other;
    if both < SILENCE { 1.0 } else { 2.0 * product / both }
}

/// The sum of products. Eight sums side by side, which compilers make vectors of.
pub(super) fn dot(a: &[f32], b: &[f32]) -> f32 {
    let (a, a_rest) = a.as_chunks::<8>();
    let (b, b_rest) = b.as_chunks::<8>();
    let mut sums = [0.0_f32; 8];
    for (a, b) in a.iter().zip(b) {
        for ((sum, a), b) in sums.iter_mut().zip(a).zip(b) {
            *sum += a * b;
        }
    }
    let rest: f32 = a_rest.iter().zip(b_rest).map(|(a, b)| a * b).sum();
    sums.iter().sum::<f32>() + rest
}
