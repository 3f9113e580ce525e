//! What can be wrong with what the sync manager is given.

use super::clock::ClockError;
use crate::error::ConfigError;
use crate::id::InvalidPeerId;

/// Why the sync manager did not do what it was asked.
///
/// None of it is fatal: whatever was refused is dropped and counted, and all goes on.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum SyncError {
    /// A setting is out of its bounds.
    #[error(transparent)]
    InvalidConfig(#[from] ConfigError),
    /// The peer's name is none.
    #[error("invalid peer id: {0}")]
    InvalidPeerId(#[from] InvalidPeerId),
    /// The buffer is full: nobody fetches, or far too much comes.
    #[error("jitter buffer overflow: no room for sequence number {sequence}")]
    JitterBufferOverflow {
        /// The frame's.
        sequence: u16,
    },
    /// The frame's numbers do not continue the stream. If those of the next one follow them, the stream
    /// starts afresh there.
    #[error("invalid timestamp: {rtp} at sequence number {sequence} does not continue the stream")]
    InvalidTimestamp {
        /// The frame's RTP timestamp.
        rtp: u32,
        /// Its sequence number.
        sequence: u16,
    },
    /// The frame came after something that follows it was played.
    #[error("late: sequence number {sequence} came after its time")]
    LateFrame {
        /// The frame's.
        sequence: u16,
    },
    /// The frame was there already.
    #[error("duplicate: sequence number {sequence} was there already")]
    DuplicateFrame {
        /// The frame's.
        sequence: u16,
    },
    /// The frame is not what it says.
    #[error("invalid frame format: {field}: {reason}")]
    InvalidFrameFormat {
        /// Which field of the frame is wrong.
        field: &'static str,
        /// What is wrong with it.
        reason: String,
    },
    /// A clock: [`ClockError::InvalidNtpTimestamp`], [`ClockError::TimestampDiscontinuity`],
    /// [`ClockError::NoNtpMapping`], [`ClockError::OutOfRange`],
    /// [`ClockError::InvalidCorrectionFactor`].
    #[error(transparent)]
    Clock(#[from] ClockError),
    /// Two peers can only be aligned once sender reports of both have come.
    #[error("peer {peer} is not synchronised yet: none of its sender reports is in force")]
    NotSynced {
        /// The peer that has none.
        peer: String,
    },
}
