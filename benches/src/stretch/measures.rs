//! What is measured.

use std::f64::consts::TAU;

use realfft::RealFftPlanner;

use super::{CALLBACK, Played};

/// The frame of a spectrum: 21 ms at 48 kHz.
const FRAME: usize = 1_024;

/// Bins from 94 Hz to 7.9 kHz: where speech is.
const BINS: std::ops::Range<usize> = 2..169;

/// Bins more than that below the loudest of both frames don't count, in dB.
const RANGE: f64 = 50.0;

/// The log-spectral distance in dB of what was played from what the source has at the same place: the
/// root mean square over bins, of frames that are not quiet. The mean, and the 95th percentile.
pub fn spectral_distance(played: &Played, source: &[f32]) -> (f64, f64) {
    let mut planner = RealFftPlanner::<f32>::new();
    let transform = planner.plan_fft_forward(FRAME);
    let spectrum = |samples: &[f32]| -> Option<Vec<f64>> {
        let window = |index: usize| 0.5 - 0.5 * (index as f64 / FRAME as f64 * TAU).cos();
        let mut frame: Vec<f32> =
            samples.iter().enumerate().map(|(at, sample)| sample * window(at) as f32).collect();
        let mut bins = transform.make_output_vec();
        transform.process(&mut frame, &mut bins).ok()?;
        let level = |at: usize| bins.get(at).map(|bin| f64::from(bin.norm_sqr()));
        BINS.map(level).collect()
    };
    let mut distances = Vec::new();
    for (index, &place) in played.places.iter().enumerate() {
        let at = index * CALLBACK;
        let (Some(out), Some(original)) =
            (played.samples.get(at..at + FRAME), source.get(place..place + FRAME))
        else {
            continue;
        };
        let (Some(out), Some(original)) = (spectrum(out), spectrum(original)) else { continue };
        let loudest = original.iter().chain(&out).fold(0.0_f64, |max, &bin| max.max(bin));
        if loudest < 1e-2 {
            continue;
        }
        let floor = loudest * 10_f64.powf(-RANGE / 10.0);
        let sum: f64 = out
            .iter()
            .zip(&original)
            .map(|(out, original)| 10.0 * (out.max(floor) / original.max(floor)).log10())
            .map(|difference| difference * difference)
            .sum();
        distances.push((sum / BINS.len() as f64).sqrt());
    }
    let mean = distances.iter().sum::<f64>() / distances.len().max(1) as f64;
    (mean, crate::measure::quantile(distances.into_iter(), 0.95))
}

/// Clicks: how many samples jump by more than twice the most that the source does within 10 ms around
/// the same place, and the largest such ratio.
pub fn clicks(played: &Played, source: &[f32]) -> (usize, f64) {
    let second = |w: &[f32]| match w {
        [a, b, c] => (a - 2.0 * b + c).abs(),
        _ => 0.0,
    };
    let (mut count, mut worst) = (0, 0.0_f64);
    for (index, &place) in played.places.iter().enumerate() {
        let at = index * CALLBACK;
        let Some(out) = played.samples.get(at..at + CALLBACK + 2) else { continue };
        let around = source
            .get(place.saturating_sub(2 * CALLBACK)..(place + 4 * CALLBACK).min(source.len()))
            .unwrap_or_default();
        let natural = around.windows(3).map(second).fold(1e-4_f32, f32::max);
        let largest = out.windows(3).map(second).fold(0.0_f32, f32::max);
        count += out.windows(3).filter(|w| second(w) > 2.0 * natural).count();
        worst = worst.max(f64::from(largest / natural));
    }
    (count, worst)
}

/// What is left of a tone without its fundamental, in dB below it: the worst of all 20 ms, and over all.
/// Phase and level are fitted for each 20 ms, so that what a cut changes slowly does not count.
pub fn distortion(samples: &[f32], hz: f64) -> (f64, f64) {
    let (mut worst, mut left, mut total) = (0.0_f64, 0.0, 0.0);
    for block in samples.chunks_exact(2 * CALLBACK) {
        let (mut ss, mut cc, mut sc, mut xs, mut xc, mut xx) = (0.0, 0.0, 0.0, 0.0, 0.0, 0.0);
        for (index, &sample) in block.iter().enumerate() {
            let (s, c) = (index as f64 * hz / 48_000.0 * TAU).sin_cos();
            let x = f64::from(sample);
            (ss, cc, sc) = (ss + s * s, cc + c * c, sc + s * c);
            (xs, xc, xx) = (xs + x * s, xc + x * c, xx + x * x);
        }
        let determinant = ss * cc - sc * sc;
        let (a, b) = ((xs * cc - xc * sc) / determinant, (xc * ss - xs * sc) / determinant);
        let fitted = a * xs + b * xc;
        let rest = (xx - fitted).max(0.0);
        worst = worst.max(rest / fitted);
        (left, total) = (left + rest, total + fitted);
    }
    (10.0 * worst.log10(), 10.0 * (left / total).log10())
}
