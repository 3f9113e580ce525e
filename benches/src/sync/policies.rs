//! Our policies: the target and the decisions of the core.

use std::time::Duration;

use rtcmesh_core::sync::{Control, DelayTarget, PlayoutTuning, Situation, Step};

use super::engine::PULL;
use super::playout::{Action, Policy, View};

const MILLI: f64 = 1e6;

/// Ours: the target and the decisions of the core.
#[derive(Debug)]
pub struct Adaptive {
    target: DelayTarget,
    control: Control,
    /// The length of a packet in nanoseconds.
    packet: i64,
    /// When it skipped last, and at which RTP time.
    skipped: (f64, f64),
}

impl Adaptive {
    /// With this tuning, from 50 ms on, for packets of `frame` milliseconds.
    pub fn new(tuning: &PlayoutTuning, frame: f64) -> Self {
        let (start, max) = (Duration::from_millis(50), Duration::from_millis(500));
        let target = DelayTarget::new(tuning, start, max);
        let (control, skipped) = (Control::new(tuning), (f64::NEG_INFINITY, 0.0));
        Self { target, control, packet: nanos(frame), skipped }
    }
}

fn nanos(millis: f64) -> i64 {
    (millis * MILLI).round() as i64
}

fn millis(nanos: i64) -> f64 {
    nanos as f64 / MILLI
}

impl Policy for Adaptive {
    fn arrived(&mut self, now: f64, media: f64) {
        self.target.observe(nanos(now), nanos(media));
    }

    fn decide(&mut self, view: &View) -> Action {
        let delay = nanos(view.now - view.media) - self.target.fastest().unwrap_or(0);
        let target = self.target.target();
        let at = Situation {
            delay,
            target,
            near: self.target.peak_below(target.saturating_add(nanos(PULL))),
            usual: self.target.usual(),
            ready: nanos(view.ready),
            gap: view.gap.map(nanos),
            concealed: nanos(view.made_up),
            packet: self.packet,
        };
        let step = self.control.decide(&at, nanos(PULL));
        // What cannot be skipped yet is played, and then something is made up.
        let asked = (view.now, view.media);
        if step == Step::Skip && self.skipped != asked {
            self.skipped = asked;
            return Action::Skip;
        }
        match step {
            Step::Grow { least } => Action::Slower(millis(least)),
            Step::Shrink { most, hurry: false } | Step::Trim { most } => {
                Action::Faster(millis(most))
            }
            Step::Shrink { most, hurry: true } => Action::Fastest(millis(most)),
            _ => Action::Play,
        }
    }
}
