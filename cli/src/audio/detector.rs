//! Finds the tone in received audio, also beneath a voice.

use std::collections::VecDeque;
use std::f32::consts::TAU;
use std::fmt;
use std::sync::{Arc, LazyLock};

use realfft::{RealFftPlanner, RealToComplex};

/// The only rate that received audio has.
const SAMPLE_RATE: u32 = 48_000;
/// The samples of one spectrum: 171 ms, bins of 5.9 Hz.
const WINDOW: usize = 8_192;
const BIN_HZ: f64 = SAMPLE_RATE as f64 / WINDOW as f64;
/// The bins in which a tone is sought: 41 Hz to 12 kHz.
const LOWEST: usize = 7;
const HIGHEST: usize = 2_048;
/// The spectra that are looked at together: 1 s.
const SPECTRA: usize = 6;
/// The fewest spectra that say something: one alone cannot tell a tone from a vowel.
const FEWEST: usize = 2;
/// The readings whose median is the tone: one odd reading at the end of a stream is outvoted.
const READINGS: usize = 9;
/// The weakest tone that counts, in dBFS.
const THRESHOLD_DBFS: f64 = -65.0;
/// How far a tone stands out from the spectrum around it, as a power ratio: 15 dB. The strongest of
/// the bins of white noise reaches about 10 dB.
const PROMINENCE: f32 = 31.6;
/// The neighbourhood that it stands out from, in bins on each side.
const NEIGHBOURS: usize = 48;
/// The bins on each side that the window function spreads a tone over (three) and a little more.
const SKIRT: usize = 5;

/// The transform and the weights of the Hann window, shared by all detectors: they are large.
static PLAN: LazyLock<(Arc<dyn RealToComplex<f32>>, Vec<f32>)> = LazyLock::new(|| {
    let hann = |n| 0.5 - 0.5 * (TAU * n as f32 / WINDOW as f32).cos();
    (RealFftPlanner::new().plan_fft_forward(WINDOW), (0..WINDOW).map(hann).collect())
});

/// Listens to one stream of samples at 48 kHz.
///
/// A tone is what stays: in each bin the second-lowest power of the last second counts, since the
/// harmonics of a voice move and pause while a tone does neither. The frequency between bins comes
/// from a parabola through the logarithms of the highest bin and its neighbours, which for the Hann
/// window is right to a fiftieth of a bin (0.1 Hz).
pub(super) struct ToneDetector {
    /// Samples that are no whole window yet.
    samples: Vec<f32>,
    /// How many of them were made up for lost ones.
    concealed: usize,
    spectra: VecDeque<Vec<f32>>,
    readings: VecDeque<f64>,
    current: Option<f64>,
}

impl ToneDetector {
    pub(super) fn new() -> Self {
        Self {
            samples: Vec::with_capacity(WINDOW),
            concealed: 0,
            spectra: VecDeque::with_capacity(SPECTRA),
            readings: VecDeque::with_capacity(READINGS),
            current: None,
        }
    }

    /// The tone of the last second in Hz; `None` in silence, noise or a mere voice.
    pub(super) fn current(&self) -> Option<f64> {
        self.current
    }

    /// The tone that was heard most lately, however long ago: the median of the latest readings.
    pub(super) fn latest(&self) -> Option<f64> {
        let mut sorted: Vec<f64> = self.readings.iter().copied().collect();
        sorted.sort_by(f64::total_cmp);
        sorted.get(sorted.len() / 2).copied()
    }

    /// Takes the next samples of one channel.
    pub(super) fn push(&mut self, mut samples: &[f32], concealed: bool) {
        while !samples.is_empty() {
            let (part, rest) = samples.split_at(samples.len().min(WINDOW - self.samples.len()));
            self.samples.extend(part.iter().map(|s| if s.is_finite() { *s } else { 0.0 }));
            self.concealed += if concealed { part.len() } else { 0 };
            samples = rest;
            if self.samples.len() == WINDOW {
                // What concealment makes up fades and wavers: it says nothing about the sender.
                if self.concealed <= WINDOW / 4 {
                    self.analyse();
                }
                self.samples.clear();
                self.concealed = 0;
            }
        }
    }

    fn analyse(&mut self) {
        let (transform, weights) = &*PLAN;
        for (sample, weight) in self.samples.iter_mut().zip(weights) {
            *sample *= weight;
        }
        let mut bins = transform.make_output_vec();
        // It fails only where a buffer has another length than the plan.
        if transform.process(&mut self.samples, &mut bins).is_err() {
            return;
        }
        let mut powers = match self.spectra.len() {
            SPECTRA => self.spectra.pop_front().unwrap_or_default(),
            _ => Vec::new(),
        };
        powers.clear();
        powers.extend(bins.iter().take(HIGHEST + NEIGHBOURS).map(|bin| bin.norm_sqr()));
        self.spectra.push_back(powers);
        self.current = if self.spectra.len() < FEWEST { None } else { find_peak(&self.lasting()) };
        if let Some(hz) = self.current {
            if self.readings.len() == READINGS {
                self.readings.pop_front();
            }
            self.readings.push_back(hz);
        }
    }

    /// Per bin the power that lasts: the lowest of up to three spectra, the second-lowest of more.
    fn lasting(&self) -> Vec<f32> {
        let rank = usize::from(self.spectra.len() > 3);
        let mut column = [0.0_f32; SPECTRA];
        let column = &mut column[..self.spectra.len()];
        (0..HIGHEST + NEIGHBOURS)
            .map(|bin| {
                for (value, spectrum) in column.iter_mut().zip(&self.spectra) {
                    *value = spectrum[bin];
                }
                *column.select_nth_unstable_by(rank, f32::total_cmp).1
            })
            .collect()
    }
}

impl fmt::Debug for ToneDetector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ToneDetector").field("current", &self.current).finish_non_exhaustive()
    }
}

/// The frequency of the highest peak, where it is loud enough and stands out.
fn find_peak(powers: &[f32]) -> Option<f64> {
    let (peak, &top) = powers
        .iter()
        .enumerate()
        .take(HIGHEST)
        .skip(LOWEST)
        .max_by(|(_, one), (_, other)| one.total_cmp(other))?;
    // A sine of amplitude a has a × WINDOW / 4 in its bin under a Hann window; its level is −3 dB.
    let amplitude = f64::from(top).sqrt() * 4.0 / WINDOW as f64;
    if 20.0 * amplitude.log10() - 3.0 < THRESHOLD_DBFS {
        return None;
    }
    let mut around: Vec<f32> = powers
        .iter()
        .enumerate()
        .take(peak + NEIGHBOURS + 1)
        .skip(peak.saturating_sub(NEIGHBOURS).max(1))
        .filter(|(bin, _)| bin.abs_diff(peak) > SKIRT)
        .map(|(_, power)| *power)
        .collect();
    let middle = around.len() / 2;
    let median = *around.select_nth_unstable_by(middle, f32::total_cmp).1;
    if top < median * PROMINENCE {
        return None;
    }
    let log = |bin: usize| f64::from(powers[bin].max(f32::MIN_POSITIVE)).ln();
    let (left, middle, right) = (log(peak - 1), log(peak), log(peak + 1));
    let bend = left - 2.0 * middle + right;
    let shift = if bend < 0.0 { (0.5 * (left - right) / bend).clamp(-0.5, 0.5) } else { 0.0 };
    Some((peak as f64 + shift) * BIN_HZ)
}

#[cfg(test)]
#[path = "detector_tests.rs"]
mod tests;
