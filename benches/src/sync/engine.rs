//! Playout in virtual time: the rules, equal for all policies.
//!
//! A device asks for 10 ms every 10 ms. The first 5 s do not count. The delay of what is played is its
//! time less the time of its capture less the path's own delay. Excess loss is the larger share of what was
//! made up and of what was sent but never played, less what the network lost. A glitch is an interruption
//! that the network's loss does not explain.

use super::trace::Trace;

/// What the device asks for at once, in milliseconds.
pub const PULL: f64 = 10.0;
/// What does not count, in milliseconds.
const IGNORED: f64 = 5_000.0;

/// How a policy did on a trace.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Outcome {
    /// The mean delay in milliseconds.
    pub mean_ms: f64,
    /// The delay that 95 % of what was played stayed below.
    pub p95_ms: f64,
    /// What was lost beyond what the network lost, in percent.
    pub excess_loss_pct: f64,
    /// Interruptions a minute.
    pub glitches_per_min: f64,
    /// What was inserted and taken out by stretching, in percent of the time.
    pub stretch_pct: f64,
}

/// Collects what the rules look at.
#[derive(Debug)]
pub struct Record<'a> {
    trace: &'a Trace,
    /// Delay and length of what was played, in milliseconds.
    played: Vec<(f64, f64)>,
    made_up: f64,
    stretched: f64,
    glitches: usize,
    /// Whether each packet was played.
    heard: Vec<bool>,
    now: f64,
    end: f64,
}

impl<'a> Record<'a> {
    /// For this trace.
    pub fn new(trace: &'a Trace) -> Self {
        let end = trace.packets.last().map_or(0.0, |packet| packet.sent);
        let heard = vec![false; trace.packets.len()];
        let (played, made_up, stretched, glitches) = (Vec::new(), 0.0, 0.0, 0);
        Self { trace, played, made_up, stretched, glitches, heard, now: 0.0, end }
    }

    /// Moves to the time of a pull; false where the trace is over.
    pub fn at(&mut self, now: f64) -> bool {
        self.now = now;
        now < self.end
    }

    fn counts(&self) -> bool {
        self.now >= IGNORED
    }

    /// Packet `n` is played.
    pub fn packet(&mut self, n: usize) {
        if let Some(heard) = self.heard.get_mut(n) {
            *heard = true;
        }
    }

    /// `length` ms of media from `media` on are played, `offset` ms into this pull.
    pub fn play(&mut self, media: f64, length: f64, offset: f64) {
        if self.counts() && length > 0.0 {
            let delay = self.now + offset - self.trace.captured(media) - self.trace.base;
            self.played.push((delay, length));
        }
    }

    /// `length` ms are made up.
    pub fn make_up(&mut self, length: f64) {
        if self.counts() {
            self.made_up += length;
        }
    }

    /// `length` ms were inserted or taken out by stretching.
    pub fn stretch(&mut self, length: f64) {
        if self.counts() {
            self.stretched += length;
        }
    }

    /// An interruption that the network's loss does not explain.
    pub fn glitch(&mut self) {
        if self.counts() {
            self.glitches += 1;
        }
    }

    /// The figures.
    pub fn outcome(mut self) -> Outcome {
        let length = (self.end - IGNORED).max(1.0);
        // What is sent too late to be played before the end does not count.
        let counted = self
            .trace
            .packets
            .iter()
            .zip(&self.heard)
            .filter(|(packet, _)| (IGNORED..self.end - 1_000.0).contains(&packet.sent));
        let (mut all, mut lost, mut unheard) = (0_usize, 0_usize, 0_usize);
        for (packet, &heard) in counted {
            all += 1;
            lost += usize::from(packet.arrival.is_none());
            unheard += usize::from(!heard);
        }
        let percent = |part: usize| 100.0 * part as f64 / all.max(1) as f64;
        let made_up = 100.0 * self.made_up / length;
        self.played.sort_by(|a, b| a.0.total_cmp(&b.0));
        let total: f64 = self.played.iter().map(|(_, length)| length).sum();
        let sum: f64 = self.played.iter().map(|(delay, length)| delay * length).sum();
        let mut below = 0.0;
        let p95 = self.played.iter().find(|(_, length)| {
            below += length;
            below >= 0.95 * total
        });
        Outcome {
            mean_ms: sum / total.max(1e-9),
            p95_ms: p95.map_or(0.0, |(delay, _)| *delay),
            excess_loss_pct: (made_up.max(percent(unheard)) - percent(lost)).max(0.0),
            glitches_per_min: self.glitches as f64 * 60_000.0 / length,
            stretch_pct: 100.0 * self.stretched / length,
        }
    }
}
