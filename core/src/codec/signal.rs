//! Signals and measurements for the tests of codecs.

use std::f64::consts::TAU;

/// `count` samples of a sine of `hz` with this peak.
pub(crate) fn sine(hz: f64, peak: f32, rate: u32, count: usize) -> Vec<f32> {
    let step = TAU * hz / f64::from(rate);
    (0..count).map(|n| peak * (step * n as f64).sin() as f32).collect()
}

/// The peak of the sine of `hz` within `samples` (Goertzel's algorithm, one bin of a Fourier
/// transform, under a Hann window against leakage).
#[cfg_attr(not(feature = "opus"), expect(dead_code))]
pub(crate) fn peak_at(samples: &[f32], hz: f64, rate: u32) -> f64 {
    let turn = TAU * hz / f64::from(rate);
    let coefficient = 2.0 * turn.cos();
    let (mut before, mut last, mut weight) = (0.0, 0.0, 0.0);
    for (n, &sample) in samples.iter().enumerate() {
        let window = 0.5 - 0.5 * (TAU * n as f64 / samples.len() as f64).cos();
        weight += window;
        (before, last) = (last, window * f64::from(sample) + coefficient * last - before);
    }
    let power = last * last + before * before - coefficient * last * before;
    2.0 * power.max(0.0).sqrt() / weight
}

/// The root mean square.
#[cfg_attr(not(feature = "opus"), expect(dead_code))]
pub(crate) fn rms(samples: &[f32]) -> f64 {
    let energy: f64 = samples.iter().map(|&sample| f64::from(sample).powi(2)).sum();
    (energy / samples.len() as f64).sqrt()
}

/// A voice-like signal: harmonics of a gliding pitch under a slow envelope, so that a concealment
/// cannot guess how it goes on.
#[cfg_attr(not(feature = "opus"), expect(dead_code))]
pub(crate) fn speech(count: usize) -> Vec<f32> {
    let mut phase = 0.0;
    (0..count)
        .map(|n| {
            let t = n as f64 / 48_000.0;
            phase += TAU * (140.0 + 60.0 * (TAU * 2.3 * t).sin()) / 48_000.0;
            let envelope = 0.55 + 0.45 * (TAU * 5.1 * t).sin();
            let voice: f64 = (1..12).map(|k| (phase * f64::from(k)).sin() / f64::from(k)).sum();
            (0.2 * envelope * voice) as f32
        })
        .collect()
}
