//! How received media is held back.

use std::time::Duration;

use super::tuning::PlayoutTuning;
pub use crate::config::Playout;
use crate::trace::state::saved;

/// The delay of one stream.
#[derive(Debug, Clone, Copy, PartialEq)]
#[non_exhaustive]
pub struct PlayoutConfig {
    /// Whether it follows the network.
    pub playout: Playout,
    /// The delay, or where it starts. More than `max` is taken for that.
    pub size: Duration,
    /// The largest delay, at most 500 ms.
    pub max: Duration,
    /// What an adaptive delay weighs.
    pub tuning: PlayoutTuning,
}

saved!(struct PlayoutConfig { playout, size, max, tuning });

impl PlayoutConfig {
    /// A delay of `size`.
    pub const fn fixed(size: Duration) -> Self {
        Self { playout: Playout::Fixed, ..Self::adaptive(size) }
    }

    /// A delay that starts at `size`, of at most 500 ms.
    pub const fn adaptive(size: Duration) -> Self {
        Self {
            playout: Playout::Adaptive,
            size,
            max: Duration::from_millis(500),
            tuning: PlayoutTuning::rtcmesh(),
        }
    }

    /// With another maximum.
    #[must_use]
    pub const fn with_max(self, max: Duration) -> Self {
        Self { max, ..self }
    }

    /// With other weights.
    #[must_use]
    pub const fn with_tuning(self, tuning: PlayoutTuning) -> Self {
        Self { tuning, ..self }
    }
}
