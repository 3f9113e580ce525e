//! Comfort noise.

use super::pitch::dot;
use crate::trace::state::saved;

/// The order of the filter that shapes the noise. RFC 3389 (section 3.2) leaves it to the sender and
/// libwebrtc takes 12 at most; at 48 kHz a background needs some more.
const ORDER: usize = 16;

/// The channels that there may be.
const CHANNELS: usize = 2;

/// How fast the model follows quiet blocks: each counts 1 of so many, some 0.3 s of quiet.
const SMOOTHING: f32 = 32.0;

/// A block is quiet when it has at most that part of more energy than the floor: 4 dB.
const NEAR_FLOOR: f32 = 2.5;

/// The floor rises to twice in 2.5 s of blocks of 5 ms: so louder surroundings become the background.
const RISE: f32 = 1.001_387;

/// A block: 5 ms.
const BLOCK: usize = 240;

/// No background is louder: -30 dB of full scale. Noise as loud as speech comforts nobody.
const LOUDEST: f32 = 1e-3;

/// Below is digital silence, which needs no noise: -100 dB.
const SILENT: f32 = 1e-10;

/// Against filters on the edge of stability: white noise 40 dB below the background.
const WHITE: f32 = 1.0001;

/// Noise like the background of a voice, for the time in which nothing of it comes: pauses under DTX
/// and gaps too long to be concealed.
///
/// As in RFC 3389 it has the level and the spectrum of the background, as a filter of linear prediction
/// (autocorrelation and Levinson-Durbin recursion), but these are learnt from what is played: from its
/// quietest parts. Channels have one spectrum, levels of their own, and independent noise. Nothing is
/// allocated.
#[derive(Debug, Clone)]
pub struct ComfortNoise {
    channels: usize,
    state: u64,
    /// The last samples of a block that is not complete, interleaved.
    block: [f32; BLOCK * CHANNELS],
    filled: usize,
    /// The mean square of the quietest blocks.
    floor: Option<f32>,
    /// Of the background: autocorrelation per sample, all channels together.
    correlation: [f32; ORDER + 1],
    /// And mean square of each channel.
    energy: [f32; CHANNELS],
    learnt: u32,
    /// The predictor, and the gain that gives its output the mean square 1.
    predictor: [f32; ORDER],
    gain: f32,
    /// The last outputs of each channel, the latest first.
    memory: [[f32; ORDER]; CHANNELS],
}

saved!(struct ComfortNoise {
    channels, state, block, filled, floor, correlation, energy, learnt, predictor, gain, memory,
} if is_possible);

impl ComfortNoise {
    /// Noise for 1 or 2 interleaved channels of 48 kHz (other numbers become the nearest). Equal seeds
    /// give equal noise.
    pub fn new(channels: usize, seed: u64) -> Self {
        Self {
            channels: channels.clamp(1, CHANNELS),
            state: seed,
            block: [0.0; BLOCK * CHANNELS],
            filled: 0,
            floor: None,
            correlation: [0.0; ORDER + 1],
            energy: [0.0; CHANNELS],
            learnt: 0,
            predictor: [0.0; ORDER],
            gain: 1.0,
            memory: [[0.0; ORDER]; CHANNELS],
        }
    }

    /// How many channels it is for.
    pub(super) const fn channels(&self) -> usize {
        self.channels
    }

    fn is_possible(&self) -> bool {
        (1..=CHANNELS).contains(&self.channels) && self.filled < BLOCK * self.channels
    }

    /// Learns from samples that were sent (not from concealment). What is louder than the background
    /// only counts for where that begins.
    pub fn observe(&mut self, samples: &[f32]) {
        let size = BLOCK * self.channels;
        for &sample in samples {
            if let Some(place) = self.block.get_mut(self.filled) {
                *place = if sample.is_finite() { sample.clamp(-1.0, 1.0) } else { 0.0 };
            }
            self.filled += 1;
            if self.filled == size {
                self.filled = 0;
                self.learn();
            }
        }
    }

    fn learn(&mut self) {
        let channels = self.channels;
        let size = BLOCK * channels;
        let block = self.block.get(..size).unwrap_or_default();
        let mean = dot(block, block) / size as f32;
        let floor = self.floor.map_or(mean, |floor| mean.min((floor * RISE).max(SILENT)));
        self.floor = Some(floor);
        if mean > LOUDEST || mean > floor * NEAR_FLOOR && mean > SILENT {
            return;
        }
        self.learnt = self.learnt.saturating_add(1);
        let share = (self.learnt as f32).min(SMOOTHING).recip();
        for (lag, correlation) in self.correlation.iter_mut().enumerate() {
            let late = block.get(lag * channels..).unwrap_or_default();
            *correlation += (dot(block, late) / size as f32 - *correlation) * share;
        }
        for (channel, energy) in self.energy.iter_mut().enumerate() {
            let of_channel = block.iter().skip(channel).step_by(channels);
            let mean = of_channel.map(|sample| sample * sample).sum::<f32>() / BLOCK as f32;
            *energy += (mean - *energy) * share;
        }
        (self.predictor, self.gain) = predict(&self.correlation);
    }

    /// The level of the background in dB of full scale (a full square wave is 0), at least -100;
    /// `None` before anything quiet was observed.
    pub fn level(&self) -> Option<f32> {
        if self.learnt == 0 {
            return None;
        }
        let mean = self.energy.iter().take(self.channels).sum::<f32>() / self.channels as f32;
        Some(10.0 * mean.max(SILENT).log10())
    }

    /// Replaces samples by noise.
    pub fn fill(&mut self, samples: &mut [f32]) {
        samples.fill(0.0);
        self.blend(samples, 1.0, 1.0);
    }

    /// Fades samples, of concealment say, into noise: the share of the noise goes from `from` to `to`, 0
    /// to 1 each, at equal power. Samples that are no number or infinite count as silence.
    pub fn blend(&mut self, samples: &mut [f32], from: f32, to: f32) {
        let valid = |share: f32| if share.is_finite() { share.clamp(0.0, 1.0) } else { 0.0 };
        let (from, to) = (valid(from), valid(to));
        let frames = (samples.len() / self.channels).max(1) as f32;
        let levels = self.energy.map(|energy| if energy > SILENT { energy.sqrt() } else { 0.0 });
        for (index, frame) in samples.chunks_mut(self.channels).enumerate() {
            let share = from + (to - from) * (index as f32 / frames);
            let (kept, noise) = ((1.0 - share * share).max(0.0).sqrt(), share);
            for ((channel, sample), level) in frame.iter_mut().enumerate().zip(levels) {
                let made = self.next(channel);
                let old = if sample.is_finite() { *sample } else { 0.0 };
                *sample = old * kept + made * level * noise;
            }
        }
    }

    /// The next sample of a channel, of mean square 1.
    fn next(&mut self, channel: usize) -> f32 {
        let white = self.white();
        let Some(memory) = self.memory.get_mut(channel) else { return 0.0 };
        let predicted: f32 = self.predictor.iter().zip(memory.iter()).map(|(a, x)| a * x).sum();
        let made = predicted + white * self.gain;
        let made = if made.is_finite() { made.clamp(-16.0, 16.0) } else { 0.0 };
        memory.rotate_right(1);
        if let Some(first) = memory.first_mut() {
            *first = made;
        }
        made
    }

    /// Uniform noise of mean square 1 (SplitMix64: Steele, Lea and Flood, OOPSLA 2014).
    fn white(&mut self) -> f32 {
        self.state = self.state.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.state;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        let unit = ((z ^ (z >> 31)) >> 40) as f32 / (1 << 23) as f32 - 1.0;
        unit * 3.0_f32.sqrt()
    }
}

/// The predictor of a signal with this autocorrelation, and the gain that its white input of mean square
/// 1 needs for an output of mean square 1. (Levinson-Durbin; in `f64`, which steep spectra need.)
fn predict(correlation: &[f32; ORDER + 1]) -> ([f32; ORDER], f32) {
    let [first, rest @ ..] = correlation.map(f64::from);
    let energy = first * f64::from(WHITE);
    let mut predictor = [0.0_f64; ORDER];
    if energy <= f64::from(SILENT) {
        return ([0.0; ORDER], 1.0);
    }
    let mut error = energy;
    for order in 0..ORDER {
        let known: f64 = (0..order)
            .filter_map(|index| Some(predictor.get(index)? * rest.get(order - 1 - index)?))
            .sum();
        let reflection = (rest.get(order).copied().unwrap_or_default() - known) / error;
        let left = error * (1.0 - reflection * reflection);
        if left <= energy * 1e-9 {
            // As far as these numbers can tell, all of it is predicted.
            break;
        }
        error = left;
        let before = predictor;
        if let Some(place) = predictor.get_mut(order) {
            *place = reflection;
        }
        for (place, mirrored) in
            predictor.iter_mut().zip(before.iter().take(order).rev()).take(order)
        {
            *place -= reflection * mirrored;
        }
    }
    (predictor.map(|a| a as f32), (error / energy).sqrt() as f32)
}

#[cfg(test)]
#[path = "noise_tests.rs"]
mod tests;
