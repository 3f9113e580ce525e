//! Errors of commands: the caller's own mistakes and what became of its request. What a peer or the
//! network does wrong is never an `Err` of a `handle_*` method: it is an event or a counter.

use std::fmt;
use std::time::Duration;

use crate::id::{InvalidPeerId, PeerId};
use crate::trace::state::saved;

/// A setting is out of its bounds. Names the field as it is called in the configuration.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("invalid configuration: {field}: {reason}")]
pub struct ConfigError {
    /// The name of the field.
    pub field: &'static str,
    /// What is wrong with it, and what would be right.
    pub reason: String,
}

impl ConfigError {
    /// `field` is wrong because of `reason`.
    pub fn new(field: &'static str, reason: impl Into<String>) -> Self {
        Self { field, reason: reason.into() }
    }
}

/// Checks `low <= value <= high`, else an error that names the field.
pub(crate) fn within<T: PartialOrd + std::fmt::Display>(
    field: &'static str,
    value: T,
    low: T,
    high: T,
    unit: &str,
) -> Result<(), ConfigError> {
    if value < low || value > high {
        let reason = format!("{value}{unit} is not within {low} to {high}{unit}");
        return Err(ConfigError::new(field, reason));
    }
    Ok(())
}

/// Why `start` failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// It was started before.
    #[error("the transport was started already")]
    AlreadyStarted,
    /// It was shut down: make a new one.
    #[error("the transport was shut down")]
    ShutDown,
    /// The signaling server could not be reached, or refused the announce.
    #[error("signaling: {0}")]
    Signaling(String),
    /// The server could not be reached, or did not answer, in time.
    #[error("signaling did not answer within {after:?}: {reason}")]
    Timeout {
        /// How long it was tried.
        after: Duration,
        /// What the last attempt met.
        reason: String,
    },
}

saved!(enum StartError { AlreadyStarted, ShutDown, Signaling(a), Timeout { after, reason } });

/// The transport is not started, or was shut down.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the transport is not started")]
pub struct NotStarted;

/// Why `connect_peer` failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ConnectError {
    /// `start` has not succeeded yet, or `shutdown` was called.
    #[error("the transport is not started")]
    NotStarted,
    /// The id is no peer id.
    #[error("invalid peer id: {0}")]
    InvalidPeerId(#[from] InvalidPeerId),
    /// Nobody of that id is announced.
    #[error("peer {0} is not announced")]
    PeerNotFound(PeerId),
    /// The limit of the configuration is reached.
    #[error("{0} peers are connected already: max_peers allows no more")]
    MaxPeersExceeded(usize),
    /// The other side refused, or the negotiation or the encryption failed.
    #[error("connection failed: {0}")]
    ConnectionFailed(String),
    /// No pair of addresses carried a packet both ways.
    #[error("no network path: {0}")]
    NatTraversalFailed(String),
    /// Not connected within the time limit.
    #[error("not connected within {0:?}")]
    Timeout(Duration),
}

saved!(
    enum ConnectError {
        NotStarted,
        InvalidPeerId(a),
        PeerNotFound(a),
        MaxPeersExceeded(a),
        ConnectionFailed(a),
        NatTraversalFailed(a),
        Timeout(a),
    }
);

/// Why `disconnect_peer` failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DisconnectError {
    /// The transport is not started.
    #[error("the transport is not started")]
    NotStarted,
    /// The id was never known here.
    #[error("peer {0} was never known")]
    PeerNotFound(String),
}

/// Why media or data could not be sent.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SendError {
    /// The transport is not started.
    #[error("the transport is not started")]
    NotStarted,
    /// The id is not known here.
    #[error("peer {0} is not known")]
    PeerNotFound(String),
    /// The peer is known, but not connected (any more).
    #[error("peer {0} is not connected")]
    PeerNotConnected(PeerId),
    /// The media are malformed: the text names the field.
    #[error("invalid data: {0}")]
    InvalidData(String),
    /// The encoder failed, or the build has none for this.
    #[error("encoding: {0}")]
    Encoding(String),
    /// The peer did not negotiate this medium.
    #[error("peer {peer} negotiated no {what}")]
    NotNegotiated {
        /// The peer.
        peer: PeerId,
        /// `audio`, `video`, or a video codec's name.
        what: String,
    },
    /// No open data channel of the wanted kind.
    #[error("peer {peer} has no open data channel {label}")]
    DataChannelNotAvailable {
        /// The peer.
        peer: PeerId,
        /// The label of the channel.
        label: &'static str,
    },
    /// The message is larger than what the peer or the protocol takes.
    #[error("a message of {size} bytes is too large: this peer takes at most {limit}")]
    MessageTooLarge {
        /// Its size in bytes.
        size: usize,
        /// The limit in bytes.
        limit: usize,
    },
    /// The buffer towards the peer is full: wait for the low-water event.
    #[error("the send buffer to {0} is full")]
    SendBufferFull(PeerId),
}

/// Why nothing at all could be broadcast. What single peers did not get is in the statistics.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BroadcastError {
    /// The transport is not started.
    #[error("the transport is not started")]
    NotStarted,
    /// Nobody is connected.
    #[error("no peer is connected")]
    NoPeersConnected,
    /// The media are malformed: the text names the field.
    #[error("invalid data: {0}")]
    InvalidData(String),
    /// The encoder failed, or the build has none for this.
    #[error("encoding: {0}")]
    Encoding(String),
}

/// Why `configure` changed nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigureError {
    /// An option is out of its bounds.
    #[error("invalid option: {option}: {reason}")]
    InvalidOption {
        /// The option's name.
        option: &'static str,
        /// What is wrong with it.
        reason: String,
    },
    /// An option that this build or version cannot change.
    #[error("option not supported: {option}: {reason}")]
    NotSupported {
        /// The option's name.
        option: &'static str,
        /// Why.
        reason: String,
    },
}

impl From<ConfigError> for ConfigureError {
    fn from(error: ConfigError) -> Self {
        Self::InvalidOption { option: error.field, reason: error.reason }
    }
}

/// Why a connection to a peer ended or never came about: grouped by whose fault it is.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[non_exhaustive]
pub enum PeerFault {
    /// It sent what the protocol forbids.
    Misbehaved(String),
    /// It speaks a dialect that this library does not (an RSA certificate, no common codec).
    Incompatible(String),
    /// It did not answer in time.
    Timeout(String),
    /// No network path: which candidates were tried.
    Unreachable(String),
    /// It refused or left during the negotiation.
    Refused(String),
    /// A fault of this library's engine, contained to the one peer.
    Internal(String),
}

saved!(
    enum PeerFault {
        Misbehaved(a),
        Incompatible(a),
        Timeout(a),
        Unreachable(a),
        Refused(a),
        Internal(a),
    }
);

impl PeerFault {
    /// The same with another text.
    pub(crate) fn map_text(&self, text: impl FnOnce(&str) -> String) -> Self {
        match self {
            Self::Misbehaved(what) => Self::Misbehaved(text(what)),
            Self::Incompatible(what) => Self::Incompatible(text(what)),
            Self::Timeout(what) => Self::Timeout(text(what)),
            Self::Unreachable(what) => Self::Unreachable(text(what)),
            Self::Refused(what) => Self::Refused(text(what)),
            Self::Internal(what) => Self::Internal(text(what)),
        }
    }
}

impl fmt::Display for PeerFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Misbehaved(what) => write!(f, "the peer misbehaved: {what}"),
            Self::Incompatible(what) => write!(f, "incompatible: {what}"),
            Self::Timeout(what) => write!(f, "timeout: {what}"),
            Self::Unreachable(what) => write!(f, "no network path: {what}"),
            Self::Refused(what) => write!(f, "refused: {what}"),
            Self::Internal(what) => write!(f, "internal fault: {what}"),
        }
    }
}
