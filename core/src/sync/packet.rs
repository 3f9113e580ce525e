//! What goes into the jitter buffer, what comes out, and what it counts.

use crate::trace::state::{Save, saved};
use std::time::{Duration, Instant};

/// One packet of a stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Packet<T> {
    /// The sequence number, extended so that it does not wrap ([`super::Unwrapper`] does that for
    /// 16-bit sources). Only differences matter.
    pub sequence: u64,
    /// The RTP timestamp of its first sample, as on the wire: it may wrap.
    pub rtp: u32,
    /// How much it carries, in ticks of the RTP clock. Taken for 2.5 ms where it is less, for 120 ms
    /// where it is more: the bounds of an Opus packet (RFC 6716, section 2.1.4 and 3.2.5).
    pub duration: u32,
    /// Whether silence begins behind it: discontinuous transmission, where packets may stay away
    /// without being lost (RFC 6716, section 2.1.9).
    pub dtx: bool,
    /// When it arrived.
    pub arrived: Instant,
    /// What it carries.
    pub payload: T,
}

saved!(struct Packet<T> [T: Save] { sequence, rtp, duration, dtx, arrived, payload });

/// What became of an inserted packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Inserted {
    /// It waits for its playout.
    Queued,
    /// Dropped: something that follows it was played already, or it was concealed with the help of
    /// what follows it.
    Late,
    /// Dropped: the same sequence number waits, or was played not long ago.
    Duplicate,
    /// Dropped: too far ahead of the oldest packet that waits. Nobody fetches, or far too much comes.
    Overflow,
    /// Dropped: its numbers do not continue the stream. If the next packet continues them, the
    /// stream restarts.
    Stray,
    /// It waits, as the first packet of a stream that started afresh. What waited of the old one is
    /// dropped.
    Restarted,
}

/// What to play.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Pop<T> {
    /// The next packet.
    Frame {
        /// The packet.
        packet: Packet<T>,
        /// When it was due.
        due: Instant,
        /// How long it waited, until it was fetched.
        delay: Duration,
    },
    /// The time of something that is not there has come: make it up.
    Conceal {
        /// The RTP timestamp from where on.
        rtp: u32,
        /// How much, in ticks of the RTP clock: 2.5 to 120 ms.
        duration: u32,
        /// When it was due.
        due: Instant,
        /// Why it is not there.
        reason: ConcealReason,
    },
    /// The stream pauses: nothing is to be played until its next packet. Said once for each pause.
    Silence {
        /// The RTP timestamp from where on.
        rtp: u32,
    },
    /// Nothing is due.
    None,
}

/// Why something has to be made up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ConcealReason {
    /// What follows it is there ([`super::JitterBuffer::peek_next`]), itself is not.
    Lost,
    /// Nothing is there. What is missing is still played if it arrives before anything that follows it.
    Underrun,
}

/// The figures of a jitter buffer, since it was made or reset.
///
/// Every inserted packet is counted exactly once: `inserted` is the sum of `frames`, `late`,
/// `duplicates`, `overruns`, `strays`, `flushed` and `current`.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
#[non_exhaustive]
pub struct BufferStatistics {
    /// Packets that were inserted.
    pub inserted: u64,
    /// Packets that wait.
    pub current: usize,
    /// The most that have waited at once.
    pub peak: usize,
    /// Packets that were played.
    pub frames: u64,
    /// Packets that came too late.
    pub late: u64,
    /// Packets that were there already.
    pub duplicates: u64,
    /// Packets for which there was no room.
    pub overruns: u64,
    /// Packets that did not belong to the stream.
    pub strays: u64,
    /// Packets that waited when the stream restarted.
    pub flushed: u64,
    /// Restarts of the stream.
    pub restarts: u64,
    /// Concealments that were asked for, each about a packet long.
    pub concealed: u64,
    /// How long the last packet waited.
    pub current_delay: Duration,
    /// How long packets waited, averaged over about the last 64.
    pub average_delay: Duration,
    /// The share of packets that were not there in time, 0 to 1, over about the last 64.
    pub loss_rate: f64,
}

saved!(struct BufferStatistics {
    inserted, current, peak, frames, late, duplicates, overruns, strays, flushed, restarts,
    concealed, current_delay, average_delay, loss_rate,
});

impl BufferStatistics {
    /// Packets that were dropped, for any reason.
    pub const fn discarded(&self) -> u64 {
        self.late + self.duplicates + self.overruns + self.strays + self.flushed
    }
}
