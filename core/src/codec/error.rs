//! What can go wrong between samples and packets.

use std::time::Duration;

/// Why samples could not be encoded or a packet not be decoded.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CodecError {
    /// The caller's media are malformed.
    #[error("invalid data: {field}: {reason}")]
    InvalidData {
        /// The field of the chunk or the argument that is wrong.
        field: &'static str,
        /// What is wrong with it, and what would be right.
        reason: String,
    },
    /// The bytes are no packet of the codec.
    #[error("invalid packet of {size} bytes: {reason}")]
    InvalidPacket {
        /// Its size in bytes.
        size: usize,
        /// The codec's words.
        reason: &'static str,
    },
    /// A duration that the codec cannot produce.
    #[error(
        "invalid duration: {0:?}: a multiple of 2.5 ms from 2.5 to 120 ms (RFC 6716, section 2.1.4) is needed"
    )]
    InvalidDuration(Duration),
    /// The codec itself failed.
    #[error("{doing}: {reason}")]
    Backend {
        /// What was asked of it.
        doing: &'static str,
        /// Its words.
        reason: String,
    },
}

impl CodecError {
    /// `field` is malformed because of `reason`.
    pub fn invalid(field: &'static str, reason: impl Into<String>) -> Self {
        Self::InvalidData { field, reason: reason.into() }
    }
}
