//! The state of a transport in a replay as bytes, and back.

use std::sync::OnceLock;

use crate::trace::Tape;
use crate::trace::state::{self, Reader, Save, Unreadable, Writer};
use crate::transport::Transport;

/// The static texts that are part of a state: names of timers, and labels of channels. One that is missing here leaves
/// a ring without a state, which the tests see.
const WORDS: &[&str] = &[
    "data",
    "data-unreliable",
    "rtcmesh/1",
    "engine",
    "missing data channels",
    "unfinished message",
    "early messages",
    "call a peer",
    "answer to a call",
    "connecting",
    "ICE restart",
    "playout",
    "keyframe",
    "figures",
];

/// How states of this build are laid out: a digest.
pub(super) fn layout() -> &'static str {
    static LAYOUT: OnceLock<String> = OnceLock::new();
    LAYOUT.get_or_init(state::layout::<(u64, Transport, Words)>)
}

/// The words as a part of the layout.
struct Words;

impl Save for Words {
    fn layout(layout: &mut state::Layout) {
        WORDS.iter().for_each(|word| layout.name(word));
    }

    fn save(&self, _: &mut Writer) {}

    fn load(_: &mut Reader<'_>) -> Result<Self, Unreadable> {
        Ok(Self)
    }
}

/// The state of a transport that replays, with its tape's.
///
/// # Errors
/// What cannot be written down.
pub(super) fn save(transport: &Transport, tape: &Tape) -> Result<Vec<u8>, String> {
    let mut to = Writer::new(tape.instant(0), WORDS);
    tape.connections().save(&mut to);
    transport.save(&mut to);
    to.finish()
}

/// A transport with this state, which replays `tape` from there on.
///
/// # Errors
/// What is wrong with the state, and where.
pub(super) fn restore(bytes: &[u8], tape: &Tape) -> Result<Transport, Unreadable> {
    let mut from = Reader::new(bytes, tape, WORDS);
    tape.set_connections(u64::load(&mut from)?);
    let transport = Transport::load(&mut from)?;
    from.finish()?;
    Ok(transport)
}
