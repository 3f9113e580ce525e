//! Hours of a clean stream, whose sender's clock may be off: nothing of it may be lost, repeated, out of order
//! or made up.

use std::time::{Duration, Instant};

use rtcmesh_core::sync::{AudioRenderer, Decode, JitterBuffer, Packet, PlayoutConfig};

/// What became of the stream.
#[derive(Debug, Clone, Copy, Default)]
pub struct Hours {
    /// Packets that were sent.
    pub sent: u64,
    /// Those that were decoded; the last few still wait.
    pub decoded: u64,
    /// Packets that were decoded out of order, or twice.
    pub disordered: u64,
    /// Samples that were made up.
    pub concealed: u64,
    /// The largest delay after the first ten seconds, in milliseconds.
    pub largest_delay_ms: f64,
    /// What was stretched, in percent of the time.
    pub stretch_pct: f64,
}

/// Plays so many hours of a stream whose clock is `ppm` fast, with nothing but the renderer to follow it.
pub fn hours(hours: u64, ppm: f64) -> Hours {
    let config = PlayoutConfig::adaptive(Duration::from_millis(50));
    let mut buffer = JitterBuffer::new(48_000, config);
    let mut renderer = AudioRenderer::new(1, &config.tuning, 1);
    let mut voice = Voice::default();
    let start = Instant::now();
    let mut found = Hours::default();
    let (mut out, mut pulls) = ([0.0; 480], 0_u64);
    for n in 0..hours * 180_000 {
        let sent = Duration::from_secs_f64(n as f64 * 0.02 / (1.0 + ppm * 1e-6));
        while Duration::from_millis(pulls * 10 + 3) < sent {
            let now = start + Duration::from_millis(pulls * 10 + 3);
            let rendered = renderer.render(&mut buffer, &mut voice, now, &mut out);
            if pulls > 1_000 {
                let delay = rendered.delay.as_secs_f64() * 1e3;
                found.largest_delay_ms = found.largest_delay_ms.max(delay);
            }
            pulls += 1;
        }
        let rtp = (n as u32).wrapping_mul(960);
        let (sequence, arrived) = (70_000 + n, start + sent);
        buffer.insert(Packet { sequence, rtp, duration: 960, dtx: false, arrived, payload: n });
        found.sent += 1;
    }
    let figures = renderer.statistics();
    let stretched = (figures.stretch.inserted + figures.stretch.removed) as f64;
    found.stretch_pct = 100.0 * stretched / (pulls * 480) as f64;
    (found.decoded, found.disordered) = (voice.decoded, voice.disordered);
    found.concealed = figures.concealed;
    found
}

/// 140 Hz with overtones.
#[derive(Debug, Default)]
struct Voice {
    decoded: u64,
    disordered: u64,
    next: u64,
}

impl Voice {
    fn say(out: &mut [f32], from: u64) -> Option<usize> {
        for (place, out) in (from..).zip(&mut *out) {
            let turn = (place * 140 % 48_000) as f32 / 48_000.0 * std::f32::consts::TAU;
            *out = 0.2 * turn.sin() + 0.1 * (3.0 * turn).sin();
        }
        Some(out.len())
    }
}

impl Decode<u64> for Voice {
    fn decode(&mut self, &n: &u64, out: &mut [f32]) -> Option<usize> {
        self.disordered += u64::from(n != self.next);
        (self.decoded, self.next) = (self.decoded + 1, n + 1);
        Self::say(out.get_mut(..960)?, n * 960)
    }

    fn conceal(&mut self, frames: usize, out: &mut [f32]) -> Option<usize> {
        Self::say(out.get_mut(..frames)?, self.next * 960)
    }

    fn covers(&self, _: &u64) -> usize {
        0
    }

    fn recover(&mut self, _: &u64, _: usize, _: usize, _: &mut [f32]) -> Option<usize> {
        None
    }
}
