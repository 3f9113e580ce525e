//! How the stretcher sounds, in figures: it plays signals at a wanted speed, beside a cut that does not
//! look for its place.

pub mod measures;
pub mod signals;

use std::time::{Duration, Instant};

use rtcmesh_core::sync::{Command, StretchStatistics, Stretcher};

/// What a callback pulls at once: 10 ms at 48 kHz.
pub const CALLBACK: usize = 480;

/// What a packet brings: 20 ms.
const PACKET: usize = 960;

/// What waits while playing: 60 ms.
const AHEAD: usize = 2_880;

/// A signal that was played at another speed.
#[derive(Debug, Default)]
pub struct Played {
    /// What came out, one channel.
    pub samples: Vec<f32>,
    /// For each callback: the place in the source that it started with.
    pub places: Vec<usize>,
    /// How long the callbacks took in which something was being changed or a change was looked for.
    pub busy: Vec<Duration>,
    /// And the others.
    pub idle: Vec<Duration>,
    /// What was done.
    pub statistics: StretchStatistics,
}

impl Played {
    /// By how many percent the signal became shorter, negative where it became longer.
    pub fn shrunk_percent(&self) -> f64 {
        let (removed, inserted) = (self.statistics.removed as f64, self.statistics.inserted as f64);
        100.0 * (removed - inserted) / (self.statistics.pushed.max(1) as f64)
    }
}

/// Plays `samples` so that they become shorter by `percent`, or longer where it is negative, as far as
/// the stretcher finds places for that; with `alternate` one way and back in turns of so many seconds.
pub fn play(samples: &[f32], percent: f64, fast: bool, alternate: Option<f64>) -> Played {
    let mut stretcher = Stretcher::new(1);
    let mut played = Played::default();
    let mut out = [0.0; CALLBACK];
    let mut rest = samples;
    let mut wanted = 0.0;
    loop {
        while stretcher.waiting() < AHEAD && !rest.is_empty() {
            let (now, later) = rest.split_at(rest.len().min(PACKET));
            stretcher.push(now);
            rest = later;
        }
        let before = stretcher.statistics();
        let back = alternate
            .is_some_and(|seconds| (before.pulled as f64 / 48_000.0 / seconds) as u64 % 2 == 1);
        let percent = if back { -percent } else { percent };
        wanted += percent / 100.0 * CALLBACK as f64;
        let behind = wanted - (before.removed as f64 - before.inserted as f64);
        let command = if percent > 0.0 && behind > 0.0 {
            if fast { Command::ShrinkFast } else { Command::Shrink }
        } else if percent < 0.0 && behind < 0.0 {
            Command::Grow
        } else {
            Command::Normal
        };
        let start = Instant::now();
        let count = stretcher.pull(&mut out, command);
        let time = start.elapsed();
        if count < CALLBACK {
            played.statistics = stretcher.statistics();
            return played;
        }
        played.places.push((before.pulled + before.removed - before.inserted) as usize);
        if command == Command::Normal { &mut played.idle } else { &mut played.busy }.push(time);
        played.samples.extend_from_slice(&out);
    }
}

/// The same by cuts or repetitions of 10 ms at fixed intervals, with linear cross-fades of 5 ms: what is
/// heard when nothing looks for a good place.
pub fn play_plainly(samples: &[f32], percent: f64) -> Played {
    const SHIFT: usize = 480;
    const FADE: usize = 240;
    let mut played = Played::default();
    let every = (SHIFT as f64 * 100.0 / percent.abs()) as usize;
    let (mut at, mut since) = (SHIFT, 0);
    let mut out = Vec::new();
    while at + 2 * SHIFT < samples.len() {
        if since >= every {
            since = 0;
            let to = if percent > 0.0 { at + SHIFT } else { at - SHIFT };
            for index in 0..FADE {
                let share = index as f32 / FADE as f32;
                let side = |place: usize| samples.get(place + index).copied().unwrap_or_default();
                out.push(side(at) * (1.0 - share) + side(to) * share);
            }
            played.statistics.removed += to.saturating_sub(at) as u64;
            played.statistics.inserted += at.saturating_sub(to) as u64;
            at = to + FADE;
            continue;
        }
        if out.len() >= played.places.len() * CALLBACK {
            played.places.push(at);
        }
        out.extend(samples.get(at));
        at += 1;
        since += 1;
    }
    played.statistics.pushed = samples.len() as u64;
    played.samples = out;
    played
}
