//! What the sync manager says about a peer.

use std::time::{Duration, Instant};

use crate::sync::packet::BufferStatistics;
use crate::trace::state::saved;

/// Whether a peer's wall clock is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
#[non_exhaustive]
pub enum SyncState {
    /// No sender report, or none for five intervals.
    #[default]
    Unsynced,
    /// One or two reports, or one that may be a step of the sender's clock, or its media clock is
    /// surely more than 1000 ppm off.
    Syncing,
    /// Three consistent reports at least.
    Synced,
}

saved!(
    enum SyncState {
        Unsynced,
        Syncing,
        Synced,
    }
);

/// A wall-clock time and how sure it is.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Known {
    pub(crate) us: u64,
    pub(crate) confidence: f64,
}

impl Known {
    /// By sender reports that are recent and agree.
    pub(super) const REPORTED: f64 = 1.0;
    /// By ones that are old, or that the last one contradicts.
    pub(super) const DOUBTED: f64 = 0.75;
    /// By the local clock.
    pub(super) const LOCAL: f64 = 0.5;
}

/// A moment on the local wall clock.
#[derive(Debug, Clone, Copy)]
pub(super) struct LocalClock {
    pub(super) at: Instant,
    pub(super) unix_us: u64,
}

saved!(struct LocalClock { at, unix_us });

/// The figures of one medium.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
#[non_exhaustive]
pub struct MediumStatistics {
    /// Those of its jitter buffer: frames that wait, the most that did, delays, losses and more.
    pub buffer: BufferStatistics,
    /// The most frames that can wait.
    pub max_frames: usize,
    /// Frames that came and were not played: the sum of those late, duplicate, without room, stray, and
    /// flushed.
    pub dropped_frames: u64,
    /// How long frames are held now, above the fastest transit.
    pub hold: Duration,
}

impl MediumStatistics {
    pub(super) fn new(buffer: BufferStatistics, max_frames: usize, hold: Duration) -> Self {
        Self { buffer, max_frames, dropped_frames: buffer.discarded(), hold }
    }
}

/// The figures of a sync manager, since it was made or reset.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
#[non_exhaustive]
pub struct SyncStatistics {
    /// Of audio.
    pub audio: MediumStatistics,
    /// Of video.
    pub video: MediumStatistics,
    /// Sender reports that were taken in, the held ones too.
    pub reports: u64,
    /// Sender reports that were ignored: duplicates, old ones, those of another stream.
    pub ignored_reports: u64,
    /// Sender reports that were wrong: no valid wall clock, or more than a second off.
    pub bad_reports: u64,
    /// Frames of the thin form that were not what they said.
    pub invalid_frames: u64,
    /// Instants that went back: they were taken for the latest before them.
    pub backward_instants: u64,
    /// Payload of decoded frames on the wire, in bytes.
    pub payload_bytes: u64,
}
