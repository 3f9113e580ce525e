//! A sine wave.

use std::f64::consts::TAU;

/// An oscillator whose phase goes on from one chunk to the next.
#[derive(Debug, Clone)]
pub(super) struct Tone {
    /// The phase in cycles, 0 to 1.
    phase: f64,
    /// Cycles per sample.
    step: f64,
    amplitude: f32,
}

impl Tone {
    /// A sine of `hz` at `sample_rate`, with this peak amplitude.
    pub(super) fn new(hz: f64, sample_rate: u32, amplitude: f32) -> Self {
        Self { phase: 0.0, step: hz / f64::from(sample_rate), amplitude }
    }

    /// Adds the next samples of the wave to `out`.
    pub(super) fn add_to(&mut self, out: &mut [f32]) {
        for sample in out {
            *sample += self.amplitude * (TAU * self.phase).sin() as f32;
            // Wrapped at each step: an ever-growing phase would lose its precision within hours.
            self.phase = (self.phase + self.step).fract();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_wave_goes_on_smoothly_from_chunk_to_chunk() {
        let mut whole = vec![0.0; 4_800];
        Tone::new(440.0, 48_000, 0.5).add_to(&mut whole);
        let mut parts = vec![0.0; 4_800];
        let mut tone = Tone::new(440.0, 48_000, 0.5);
        for chunk in parts.chunks_mut(961) {
            tone.add_to(chunk);
        }
        assert_eq!(whole, parts);
        // The steepest step of a sine: amplitude × 2π × hz / rate.
        let steepest = 0.5 * TAU as f32 * 440.0 / 48_000.0;
        assert!(whole.windows(2).all(|w| (w[1] - w[0]).abs() <= steepest * 1.001));
        assert!((whole.iter().fold(0.0_f32, |top, s| top.max(*s)) - 0.5).abs() < 1e-3);
    }

    #[test]
    fn a_minute_later_the_phase_has_not_drifted() {
        let mut tone = Tone::new(1_000.0, 48_000, 1.0);
        let mut second = vec![0.0; 48_000];
        for _ in 0..60 {
            second.fill(0.0);
            tone.add_to(&mut second);
        }
        // 1,000 whole cycles a second: each second begins where the first one did.
        assert!(tone.phase.min(1.0 - tone.phase) < 1e-6, "{}", tone.phase);
    }
}
