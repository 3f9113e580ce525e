//! Recording every input of a transport's own machines, and feeding them to the same machines again.
//!
//! A transport is a pure machine but for three borders: the engine beneath each peer (str0m), random draws, and
//! the codecs (what encoding gives, how alike two pieces of audio are). A tape (`Tape`) stands at these borders. While
//! it records, whatever comes in and whatever a border answers is written down, and beside it what the machine
//! told the border and gave out. In a replay the borders answer from the tape, without an engine, a seed or a
//! codec; what the machine tells them and gives out is compared, and the first difference is kept.
//!
//! A ring keeps the latest entries. What it begins with is then the state of a second machine, a replay that follows
//! the calls that go from it.
//!
//! Secrets are not written: keys, ICE passwords (in descriptions too), tokens and the seed. A secret that
//! passes has a label in its place, drawn ones have no trace at all: only draws that are public anyway are
//! written (names of negotiations, starts of RTP's timestamps, jitter of waiting times). Nor are contents: of
//! media, messages and `user_data` a recording holds lengths, durations, levels and labels, unless
//! [`RecordOptions::contents`] asks for the messages.

mod entries;
mod format;
#[cfg(feature = "sim")]
#[doc(hidden)]
pub mod hostile;
mod json;
mod labels;
mod recorder;
mod sketch;
mod source;
pub(crate) mod state;
mod tape;

use serde::{Deserialize, Serialize};

pub use entries::{Entries, Shown, entries};
pub(crate) use format::START;
pub use format::VERSION;
pub(crate) use labels::Labels;
pub use recorder::{RecordOptions, Recorder};
pub(crate) use recorder::{Shadow, State};
pub(crate) use sketch::{Body, MAX_FRAME, MAX_PACKET, Sketch, hex, unhex};
pub use tape::Difference;
pub(crate) use tape::{Entry, Read, Tape};

/// What a recording says about itself, before anything that happened.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Header {
    /// The version of the core that wrote it.
    pub core: String,
    /// The peer's id.
    pub peer: String,
    /// When it begins: nanoseconds since the Unix epoch.
    pub unix_ns: u64,
    /// Whether older entries are missing, as in a ring that was full.
    pub ring: bool,
    /// How the state is laid out that stands before the entries, where older ones are missing: builds that lay it out alike
    /// can replay them. The others can show them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub state: Option<String>,
    /// Why there is no such state: the entries can be looked at, and not be replayed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lost: Option<String>,
    /// Whether it holds the contents of messages.
    pub contents: bool,
    /// Whether its addresses are masked.
    pub masked: bool,
    /// The configuration, with labels for its secrets.
    pub config: serde_json::Value,
}

/// Why a recording cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RecordingError {
    /// It is something else.
    #[error("this is no recording of rtcmesh")]
    Foreign,
    /// It is of another version.
    #[error(
        "this recording has version {found} of the form, and only version {expected} can be read: \
         replay it with the rtcmesh that wrote it"
    )]
    Version {
        /// Which it has.
        found: u16,
        /// Which can be read.
        expected: u16,
    },
    /// Something in it is not as it was written.
    #[error("the recording is damaged at offset {offset}: {what}")]
    Damaged {
        /// Where, in bytes from the start of the file.
        offset: usize,
        /// What is wrong.
        what: String,
    },
    /// It ends within a record.
    #[error("the recording is cut off at offset {offset}")]
    Truncated {
        /// Where the record begins that is not whole.
        offset: usize,
    },
    /// It holds the latest entries only, of a ring that was full, and not the state before them.
    #[error(
        "this recording is a ring whose oldest entries have gone, without the state behind them: {why}. \
         It can be shown, and not be replayed"
    )]
    Ring {
        /// Why there is no state.
        why: String,
    },
    /// It begins with a state that another build has written.
    #[error(
        "this recording begins with a state of rtcmesh {found}, and this is rtcmesh {expected}: \
         replay it with the build that wrote it. It can be shown by any"
    )]
    ForeignState {
        /// The version of the core that wrote it, and how its states are laid out.
        found: String,
        /// Those of this build.
        expected: String,
    },
}
