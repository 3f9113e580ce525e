//! Playing at the sender's pace: resampling by a ratio that is close to one and moves slowly.

use std::sync::LazyLock;

use super::clock::ClockError;
use crate::trace::state::saved;

/// Taps of the windowed sinc. Its delay is half of them.
const TAPS: usize = 32;
/// Phases of the sinc that are held ready; those between are interpolated linearly.
const PHASES: usize = 256;
/// The shape of the Kaiser window (Kaiser, 1974), and where the pass band ends, as a share of half the
/// sample rate. With 32 taps distortion and noise stay below -100 dB from 1 to 12 kHz.
const KAISER: f64 = 10.0;
const CUTOFF: f64 = 0.95;

/// The farthest factor from one.
const MOST: f64 = 0.01;
/// A factor that near to one is one.
const NONE: f64 = 0.5e-6;
/// One per cent is reached, and so is less, after that part of a second: 100 ms.
const EASING: f64 = 0.1;
/// What is left of a fraction of a sample is made up for by that share with each sample, once no
/// correction is wanted.
const GLIDE: f64 = 1.0 / 2048.0;
/// A fraction of a sample below that is none: 2^-24.
const NOTHING: f64 = 1.0 / (1 << 24) as f64;

/// Frames that are taken in at once.
const BLOCK: usize = 512;

/// One in the phase's 32.32 format.
const ONE: f64 = (1_u64 << 32) as f64;

/// For each phase, and the one after the last: the coefficients.
static SINC: LazyLock<Box<[[f32; TAPS]]>> = LazyLock::new(sinc);

/// Resamples audio so that a sender's clock that is fast or slow is followed without ever dropping or
/// repeating a sample.
///
/// A factor above one takes in more than it gives: the sender is fast. Changes of the factor are eased
/// over 100 ms (of more than one per cent, by as much at a time). The output is late by 16 samples at all times; while no correction is wanted, it is
/// otherwise the input bit by bit (after a correction, once the fraction of a sample that it left is
/// made up for, which takes less than a second). Nothing is allocated after construction.
#[derive(Debug, Clone)]
pub struct DriftCorrection {
    channels: usize,
    /// The factor in force, the one to reach, and the step for each sample until then.
    ratio: f64,
    target: f64,
    step: f64,
    /// The largest step of the ratio.
    slew: f64,
    /// The position in `history`: frames in the upper 32 bits, a fraction in the lower.
    phase: u64,
    /// The last frames, interleaved.
    history: Box<[f32]>,
    /// How many frames of it are filled.
    filled: usize,
}

saved!(struct DriftCorrection {
    channels, ratio, target, step, slew, phase, history, filled,
} if is_possible);

impl DriftCorrection {
    /// A correction, not active, of interleaved samples of `channels` (at least 1) at `sample_rate` Hz
    /// (at least 10).
    pub fn new(sample_rate: u32, channels: usize) -> Self {
        let (channels, samples) = (channels.max(1), f64::from(sample_rate.max(10)) * EASING);
        let mut correction = Self {
            channels,
            ratio: 1.0,
            target: 1.0,
            step: 0.0,
            slew: MOST / samples,
            phase: 0,
            history: vec![0.0; (BLOCK + TAPS) * channels].into(),
            filled: 0,
        };
        LazyLock::force(&SINC);
        correction.reset();
        correction
    }

    /// Whether it would go on.
    fn is_possible(&self) -> bool {
        let near = |ratio: f64| (ratio - 1.0).abs() <= 2.0 * MOST;
        let room = BLOCK + TAPS;
        let sized = (1..=self.history.len()).contains(&self.channels)
            && room.checked_mul(self.channels) == Some(self.history.len());
        sized
            && self.filled <= room
            && self.frame() <= room
            && near(self.ratio)
            && near(self.target)
    }

    /// How many channels it is for.
    pub(super) const fn channels(&self) -> usize {
        self.channels
    }

    /// Eases to `factor` over 100 ms, from the one in force. The one that is wanted already is fine too.
    ///
    /// # Errors
    ///
    /// [`ClockError::InvalidCorrectionFactor`] outside 0.99 to 1.01; nothing is changed then.
    pub fn set_factor(&mut self, factor: f64) -> Result<(), ClockError> {
        check(factor)?;
        let factor = if (factor - 1.0).abs() < NONE { 1.0 } else { factor };
        if factor.to_bits() != self.target.to_bits() {
            self.target = factor;
            let whole = (factor - self.ratio).abs() / MOST;
            self.step = self.slew * whole.clamp(f64::MIN_POSITIVE, 1.0);
        }
        Ok(())
    }

    /// The factor in force: between the last one and the wanted one while it is eased.
    pub fn factor(&self) -> f64 {
        self.ratio
    }

    /// Whether the output is the input bit by bit, only later.
    pub fn is_bypassed(&self) -> bool {
        self.fraction() == 0 && self.ratio == 1.0 && self.target == 1.0
    }

    /// Takes from `input` and fills `output`, both interleaved, until the one is used up or the other is
    /// full. Gives how many frames were taken, and how many were given. Incomplete frames at the end are
    /// not touched.
    pub fn process(&mut self, input: &[f32], output: &mut [f32]) -> (usize, usize) {
        let (mut taken, mut given) = (0, 0);
        let channels = self.channels;
        let wanted = output.len() / channels;
        loop {
            given += self.copy(output.get_mut(given * channels..).unwrap_or_default());
            while given < wanted && self.frame() + TAPS <= self.filled {
                if let Some(out) = output.get_mut(given * channels..(given + 1) * channels) {
                    self.render(out);
                }
                self.advance();
                given += 1;
            }
            if given == wanted {
                break;
            }
            self.make_room();
            let more = (input.len() / channels - taken).min(BLOCK + TAPS - self.filled);
            if more == 0 {
                break;
            }
            let to = self.history.get_mut(self.filled * channels..).unwrap_or_default();
            let from = input.get(taken * channels..(taken + more) * channels).unwrap_or_default();
            for (to, from) in to.iter_mut().zip(from) {
                *to = *from;
            }
            self.filled += more;
            taken += more;
        }
        (taken, given)
    }

    /// How many frames the output is late.
    pub(super) const DELAY: usize = TAPS / 2;

    /// How many frames [`Self::process`] needs for `frames` of output, or one more.
    pub fn wanted(&self, frames: usize) -> usize {
        let Some(last) = frames.checked_sub(1) else { return 0 };
        let ratio = self.ratio.max(self.target);
        let last = self.phase as f64 / ONE + last as f64 * ratio;
        (last as usize + TAPS).saturating_sub(self.filled)
    }

    /// Forgets the signal and any correction.
    pub fn reset(&mut self) {
        (self.ratio, self.target, self.step) = (1.0, 1.0, 0.0);
        // As if silence came before: half of the taps, less the one that the output is at.
        self.history.fill(0.0);
        (self.phase, self.filled) = (0, TAPS - 1);
    }

    fn frame(&self) -> usize {
        (self.phase >> 32) as usize
    }

    fn fraction(&self) -> u32 {
        self.phase as u32
    }

    /// Drops the frames that lie behind.
    fn make_room(&mut self) {
        let behind = self.frame().min(self.filled);
        self.history.copy_within(behind * self.channels..self.filled * self.channels, 0);
        self.filled -= behind;
        self.phase -= (behind as u64) << 32;
    }

    /// Gives what needs no correction, as many frames as there are.
    fn copy(&mut self, out: &mut [f32]) -> usize {
        if !self.is_bypassed() {
            return 0;
        }
        let ready = (self.filled + 1).saturating_sub(self.frame() + TAPS);
        let frames = ready.min(out.len() / self.channels);
        let from = (self.frame() + MIDDLE) * self.channels;
        let samples = self.history.get(from..from + frames * self.channels).unwrap_or_default();
        for (out, sample) in out.iter_mut().zip(samples) {
            *out = *sample;
        }
        self.phase += (frames as u64) << 32;
        frames
    }

    /// One frame of output.
    fn render(&self, out: &mut [f32]) {
        let window = self.history.get(self.frame() * self.channels..).unwrap_or_default();
        let phase = self.fraction() >> 24;
        let between = (self.fraction() & 0x00ff_ffff) as f32 / (1 << 24) as f32;
        let Some([low, high]) = SINC.get(phase as usize..phase as usize + 2) else { return };
        let mut taps = [0.0; TAPS];
        for ((tap, low), high) in taps.iter_mut().zip(low).zip(high) {
            *tap = low + (high - low) * between;
        }
        for (channel, out) in out.iter_mut().enumerate() {
            let samples = window.get(channel..).unwrap_or_default();
            *out = if self.channels == 1 {
                dot(samples, 1, &taps)
            } else {
                dot(samples, self.channels, &taps)
            };
        }
    }

    /// Moves on by one frame of output.
    fn advance(&mut self) {
        let resting = self.target == 1.0 && (self.ratio - 1.0).abs() <= GLIDE;
        let (goal, step) = if resting && self.step == 0.0 {
            let left = f64::from(self.fraction() as i32) / ONE;
            if left.abs() < NOTHING && (self.ratio - 1.0).abs() < NONE {
                self.ratio = 1.0;
                self.phase = (self.phase + (1 << 31)) & !0xffff_ffff;
                self.phase += 1 << 32;
                return;
            }
            (1.0 - left * GLIDE, self.slew)
        } else {
            (self.target, self.step)
        };
        self.ratio += (goal - self.ratio).clamp(-step, step);
        if self.ratio == self.target {
            self.step = 0.0;
        }
        self.phase += (self.ratio * ONE) as u64;
    }
}

/// Whether `factor` is a correction: 0.99 to 1.01.
pub(super) fn check(factor: f64) -> Result<(), ClockError> {
    if (1.0 - MOST..=1.0 + MOST).contains(&factor) {
        Ok(())
    } else {
        Err(ClockError::InvalidCorrectionFactor(factor))
    }
}

/// The correction that is nearest to `factor`, which is a number.
pub(super) fn nearest(factor: f64) -> f64 {
    factor.clamp(1.0 - MOST, 1.0 + MOST)
}

/// Which tap the output lies at: 16 samples late.
const MIDDLE: usize = TAPS / 2 - 1;

/// The sum of the taps times every `stride`th sample, in eight parts that fit vectors.
fn dot(samples: &[f32], stride: usize, taps: &[f32; TAPS]) -> f32 {
    let mut parts = [0.0_f32; 8];
    if stride == 1 {
        for (samples, taps) in samples.chunks_exact(8).zip(taps.chunks_exact(8)) {
            for ((part, sample), tap) in parts.iter_mut().zip(samples).zip(taps) {
                *part += sample * tap;
            }
        }
    } else {
        for (nth, (sample, tap)) in samples.iter().step_by(stride).zip(taps).enumerate() {
            parts[nth % 8] += sample * tap;
        }
    }
    parts.iter().sum()
}

/// The table: a sinc under a Kaiser window, each phase with a sum of one.
fn sinc() -> Box<[[f32; TAPS]]> {
    let half = TAPS as f64 / 2.0;
    let phase = |nth: usize| {
        let fraction = nth as f64 / PHASES as f64;
        let mut taps = [0.0_f64; TAPS];
        for (at, tap) in taps.iter_mut().enumerate() {
            let x = at as f64 - MIDDLE as f64 - fraction;
            let angle = std::f64::consts::PI * CUTOFF * x;
            let sinc = if angle == 0.0 { 1.0 } else { angle.sin() / angle };
            let inside = (1.0 - (x / half).powi(2)).max(0.0).sqrt();
            *tap = sinc * bessel(KAISER * inside);
        }
        let sum: f64 = taps.iter().sum();
        taps.map(|tap| (tap / sum) as f32)
    };
    (0..=PHASES).map(phase).collect()
}

/// The modified Bessel function of order zero, by its series.
fn bessel(x: f64) -> f64 {
    let quarter = x * x / 4.0;
    let (mut sum, mut term) = (1.0, 1.0);
    for nth in 1..40 {
        term *= quarter / f64::from(nth * nth);
        sum += term;
    }
    sum
}

#[cfg(test)]
#[path = "correction_tests.rs"]
mod tests;
