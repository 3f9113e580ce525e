//! The numbers behind adaptive playout.

use crate::trace::state::saved;
use std::time::Duration;

/// What adaptive playout weighs, and how it moves.
///
/// The two sets, [`Self::rtcmesh`] and [`Self::safe`], come from sweeps of the trace bench (the program
/// `sync` of the benches) over other seeds than those it reports on. Whatever is set, nothing breaks:
/// numbers outside their range, NaN too, are taken for its nearest end.
#[derive(Debug, Clone, Copy, PartialEq)]
#[non_exhaustive]
pub struct PlayoutTuning {
    /// How many milliseconds of delay it is worth to conceal 1 % less, 0 to 10,000. The one number to
    /// turn for fewer losses or less delay.
    pub loss_price: f64,
    /// A concealment that lasts longer than that counts as no worse: by then a word is lost, and what is made
    /// up has faded. So delays that are rare and very long are left to concealment.
    pub worst: Duration,
    /// How long the network is remembered: the time constant of the slow histogram, at least 0.2 s.
    pub memory: Duration,
    /// The time constant of the fast histogram, which answers what has just begun, at least 0.2 s.
    pub recent: Duration,
    /// The loss price of the fast histogram as a share of the slow one's, 0 to 1: fewer peaks prove less.
    pub recent_weight: f64,
    /// The least target.
    pub floor: Duration,
    /// The delay may be so far below the target before playout slows down.
    pub grow_below: Duration,
    /// The delay stays so far above the target at least when playout goes faster.
    pub shrink_above: Duration,
    /// Less than so far above a target below 30 ms it waits for a pause to do so: what is put in and taken out
    /// there while somebody speaks is heard, and wins next to nothing.
    pub trim_below: Duration,
    /// Where the target is less than that, what the latest packet of the last seconds needed is kept beyond it
    /// ([`super::Situation::near`]): there one that is a little late is heard more than the delay costs.
    pub keep_below: Duration,
    /// So far above the target it goes faster without pauses.
    pub hurry_above: Duration,
    /// What is missing is skipped instead of concealed where the delay is so far above the target even without it.
    pub skip_above: Duration,
    /// Before it runs dry playout slows down, if so much is enough to get over the next time that it is
    /// asked. Zero: never.
    pub brink: Duration,
    /// It does so only where the awaited packet is later than all but that share of the peaks, 0 to 1: else
    /// it is no later than many. Much of this is in vain, since what is awaited may be lost.
    pub brink_share: f64,
}

saved!(struct PlayoutTuning {
    loss_price, worst, memory, recent, recent_weight, floor, grow_below, shrink_above,
    trim_below, keep_below, hurry_above, skip_above, brink, brink_share,
});

impl PlayoutTuning {
    /// Little delay first: the default.
    pub const fn rtcmesh() -> Self {
        Self {
            loss_price: 59.0,
            worst: Duration::from_millis(80),
            memory: Duration::from_secs(120),
            recent: Duration::from_secs(3),
            recent_weight: 0.3,
            floor: Duration::from_millis(2),
            grow_below: Duration::from_millis(12),
            shrink_above: Duration::ZERO,
            trim_below: Duration::from_millis(20),
            keep_below: Duration::from_millis(16),
            hurry_above: Duration::from_millis(40),
            skip_above: Duration::ZERO,
            brink: Duration::from_millis(15),
            brink_share: 0.5,
        }
    }

    /// Fewer losses for more delay.
    pub const fn safe() -> Self {
        Self {
            loss_price: 250.0,
            worst: Duration::from_millis(250),
            memory: Duration::from_secs(160),
            recent: Duration::from_secs(8),
            recent_weight: 0.2,
            grow_below: Duration::from_millis(5),
            brink_share: 0.3,
            ..Self::rtcmesh()
        }
    }
}

impl Default for PlayoutTuning {
    fn default() -> Self {
        Self::rtcmesh()
    }
}

/// `value` within 0 and `most`; 0 where it is no number.
pub(super) fn within(value: f64, most: f64) -> f64 {
    value.max(0.0).min(most)
}
