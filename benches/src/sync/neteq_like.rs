//! A policy like NetEq's: our own model of the control logic that libwebrtc published, not its code.

use std::collections::VecDeque;

use super::engine::PULL;
use super::playout::{Action, Policy, View};

/// The width of a bucket in milliseconds, and how many there are.
const BUCKET: f64 = 20.0;
const BUCKETS: usize = 100;
/// How far back, in milliseconds of RTP time, the fastest packet is looked for.
const WINDOW: f64 = 2_000.0;
/// The time of which one peak is taken, in milliseconds.
const INTERVAL: f64 = 500.0;
/// What is played before anything is known, in milliseconds.
const START: f64 = 80.0;
/// The share of the peaks that the target covers.
const QUANTILE: f64 = 0.95;
/// The milliseconds of delay that a percent of lost packets is worth.
const LOSS_PRICE: f64 = 20.0;

/// Adapts its target to a quantile of the peaks, and to what reordering costs.
#[derive(Debug)]
pub struct NetEqLike {
    /// RTP time and transit time of the packets of the window.
    history: VecDeque<(f64, f64)>,
    newest: f64,
    underrun: Buckets,
    reorder: Buckets,
    peak: Option<f64>,
    since: f64,
    target: f64,
    /// It waits for more since a long interruption.
    refills: bool,
    /// When it skipped last, and at which RTP time.
    skipped: (f64, f64),
}

impl NetEqLike {
    /// With the constants of libwebrtc.
    pub fn new() -> Self {
        Self {
            history: VecDeque::new(),
            newest: f64::NEG_INFINITY,
            underrun: Buckets::new(0.983),
            reorder: Buckets::new(0.9993),
            peak: None,
            since: 0.0,
            target: START,
            refills: false,
            skipped: (f64::NEG_INFINITY, 0.0),
        }
    }

    fn fastest(&self) -> f64 {
        self.history.iter().map(|(_, transit)| *transit).fold(f64::INFINITY, f64::min)
    }

    fn slowest(&self) -> f64 {
        self.history.iter().map(|(_, transit)| *transit).fold(f64::NEG_INFINITY, f64::max)
    }
}

impl Default for NetEqLike {
    fn default() -> Self {
        Self::new()
    }
}

impl Policy for NetEqLike {
    fn arrived(&mut self, now: f64, media: f64) {
        let reordered = media < self.newest;
        self.newest = self.newest.max(media);
        self.history.push_back((media, now - media));
        while self.history.front().is_some_and(|(old, _)| self.newest - old > WINDOW) {
            self.history.pop_front();
        }
        let delay = now - media - self.fastest();
        if delay >= BUCKET * BUCKETS as f64 {
            return;
        }
        if !reordered {
            if now - self.since >= INTERVAL
                && let Some(peak) = self.peak.take()
            {
                self.underrun.add(peak);
                self.since = now;
            }
            self.peak = Some(self.peak.map_or(delay, |peak| peak.max(delay)));
        }
        self.reorder.add(if reordered { delay } else { 0.0 });
        if self.underrun.count > 0 {
            let underrun = self.underrun.quantile(QUANTILE);
            self.target = underrun.max(self.reorder.cheapest(underrun));
        }
    }

    fn decide(&mut self, view: &View) -> Action {
        if view.ready < PULL {
            self.refills = self.refills || view.made_up >= 100.0;
            let skips = view
                .gap
                .is_some_and(|gap| view.made_up >= gap || view.buffered > self.target + 50.0);
            // What cannot be skipped yet is played, and then something is made up.
            let asked = (view.now, view.media);
            if skips && self.skipped != asked {
                self.skipped = asked;
                return Action::Skip;
            }
            return Action::Play;
        }
        if self.refills && view.made_up > 0.0 && view.buffered < self.target / 2.0 {
            return Action::Conceal;
        }
        self.refills = false;
        let delay = view.now - view.media - self.fastest();
        let low = self.target;
        let high = low + (self.slowest() - self.fastest()) + BUCKET;
        if delay >= 4.0 * high {
            Action::Fastest(f64::INFINITY)
        } else if delay >= high {
            Action::Faster(f64::INFINITY)
        } else if delay < low {
            Action::Slower(0.0)
        } else {
            Action::Play
        }
    }
}

/// A histogram that forgets with each value.
#[derive(Debug)]
struct Buckets {
    share: [f64; BUCKETS],
    count: u32,
    forget: f64,
}

impl Buckets {
    fn new(forget: f64) -> Self {
        Self { share: [0.0; BUCKETS], count: 0, forget }
    }

    fn add(&mut self, value: f64) {
        self.count += 1;
        // At first values count alike.
        let keep = self.forget.min(1.0 - 2.0 / (f64::from(self.count) + 1.0)).max(0.0);
        for share in &mut self.share {
            *share *= keep;
        }
        self.share[((value / BUCKET) as usize).min(BUCKETS - 1)] += 1.0 - keep;
    }

    fn quantile(&self, quantile: f64) -> f64 {
        let mut below = 0.0;
        let bucket = self.share.iter().position(|share| {
            below += share;
            below >= quantile
        });
        (1 + bucket.unwrap_or(BUCKETS - 1)) as f64 * BUCKET
    }

    fn cheapest(&self, base: f64) -> f64 {
        let (mut lost, mut best) = (1.0, (f64::INFINITY, 0));
        for (bucket, share) in self.share.iter().enumerate() {
            lost -= share;
            let cost = (bucket as f64 * BUCKET - base).max(0.0) + 100.0 * LOSS_PRICE * lost;
            if cost < best.0 {
                best = (cost, bucket);
            }
        }
        (1 + best.1) as f64 * BUCKET
    }
}
