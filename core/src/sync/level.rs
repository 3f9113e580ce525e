//! How loud a signal was of late, and where its pauses are.

use crate::trace::state::saved;

/// The frames of a block: 5 ms at 48 kHz.
pub(super) const BLOCK: usize = 240;

/// A pause is quieter than the loud parts of late by that factor of energy: 25 dB.
const BELOW_ACTIVE: f32 = 0.003;
/// Or it is at most so much louder than the quietest of late: 6 dB, and no louder than that:
/// -40 dB of full scale. Steady tones and music are their own floor, and mostly louder.
const ABOVE_FLOOR: f32 = 4.0;
const QUIET: f32 = 1e-4;
/// Below is silence, whatever was before: -66 dB of full scale.
const SILENT: f32 = 2.5e-7;

/// How the level of loud parts falls in each block: by half in 5 s.
const FALL: f32 = 0.999_307;
/// How the quietest rises: to twice in 5 s.
const RISE: f32 = 1.000_693;

/// Follows the energy of a signal in blocks of 5 ms.
#[derive(Debug)]
pub(super) struct Level {
    sum: f32,
    samples: usize,
    /// Mean squares.
    active: f32,
    floor: Option<f32>,
}

saved!(struct Level { sum, samples, active, floor });

impl Level {
    pub(super) const fn new() -> Self {
        Self { sum: 0.0, samples: 0, active: 0.0, floor: None }
    }

    /// Takes samples of `channels` channels.
    pub(super) fn observe(&mut self, mut samples: &[f32], channels: usize) {
        let block = BLOCK * channels;
        while !samples.is_empty() {
            let (now, later) = samples.split_at(samples.len().min(block - self.samples));
            samples = later;
            self.sum += now.iter().map(|sample| sample * sample).sum::<f32>();
            self.samples += now.len();
            if self.samples == block {
                self.take(self.sum / block as f32);
                (self.sum, self.samples) = (0.0, 0);
            }
        }
    }

    fn take(&mut self, energy: f32) {
        // In a long pause the loud parts before it still count, so that it stays a pause.
        if energy > self.active * BELOW_ACTIVE {
            self.active *= FALL;
        }
        self.active = self.active.max(energy);
        let floor = self.floor.map_or(energy, |floor| (floor * RISE).max(SILENT));
        self.floor = Some(floor.min(energy));
    }

    /// Whether samples of this mean square belong to a pause.
    pub(super) fn is_pause(&self, energy: f32) -> bool {
        let floor = self.floor.unwrap_or(0.0);
        energy <= SILENT
            || energy <= self.active * BELOW_ACTIVE
            || energy <= QUIET.min(floor * ABOVE_FLOOR)
    }
}
