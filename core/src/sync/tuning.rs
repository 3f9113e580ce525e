//! The numbers behind adaptive playout.

use std::time::Duration;

/// What adaptive playout weighs, and how it moves. The two sets of [`PlayoutTuning::rtcmesh`] and
/// [`PlayoutTuning::safe`] are the outcome of sweeps of the trace bench (`rtcmesh-benches`, `sync`), over
/// seeds other than those it is judged by.
#[derive(Debug, Clone, Copy, PartialEq)]
#[non_exhaustive]
pub struct PlayoutTuning {
    /// The milliseconds of delay that are worth 1 % less concealed, over 0 to 10,000. The one number to
    /// turn for fewer losses or less delay.
    pub loss_price: f64,
    /// What an interruption weighs beside its length, in milliseconds concealed, 0 to 1,000.
    pub glitch_price: f64,
    /// How long the network is remembered: the time constant of the slow histogram.
    pub memory: Duration,
    /// The time constant of the fast histogram, which answers what began just now.
    pub recent: Duration,
    /// The loss price of the fast histogram as a part of that of the slow one, 0 to 1: the fewer peaks,
    /// the less they are believed.
    pub recent_weight: f64,
    /// The least target.
    pub floor: Duration,
    /// The delay may be so far below the target before playout slows down.
    pub grow_below: Duration,
    /// The delay may be so far above the target before playout goes faster.
    pub shrink_above: Duration,
    /// So far above the target it goes faster without pauses.
    pub hurry_above: Duration,
    /// So far above the target what is missing is skipped instead of concealed.
    pub skip_above: Duration,
    /// With less than that left to play and nothing behind it, playout slows down: what comes next is
    /// late, and to stretch is better than to conceal.
    pub brink: Duration,
    /// late
    pub late_share: f64,
    /// late
    pub late_from: Duration,
}

impl PlayoutTuning {
    /// Little delay first: the default.
    pub const fn rtcmesh() -> Self {
        Self {
            loss_price: 50.0,
            glitch_price: 0.0,
            memory: Duration::from_secs(40),
            recent: Duration::from_secs(3),
            recent_weight: 0.3,
            floor: Duration::from_millis(4),
            grow_below: Duration::from_millis(10),
            shrink_above: Duration::from_millis(10),
            hurry_above: Duration::from_millis(70),
            skip_above: Duration::from_millis(50),
            brink: Duration::from_millis(8),
            late_share: 0.5,
            late_from: Duration::from_millis(0),
        }
    }

    /// Fewer losses for more delay.
    pub const fn safe() -> Self {
        Self { loss_price: 150.0, ..Self::rtcmesh() }
    }
}

impl Default for PlayoutTuning {
    fn default() -> Self {
        Self::rtcmesh()
    }
}
