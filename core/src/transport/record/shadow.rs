//! The machine that follows what goes from a ring: a replay in steps.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Instant;

use super::{Replay, state};
use crate::trace::{Header, Shadow, State, Tape};

/// See [`Shadow`].
#[derive(Debug)]
pub(super) struct Follower(Replay);

impl Follower {
    /// One that begins with the recording.
    ///
    /// # Errors
    /// What is wrong with the configuration.
    pub(super) fn begin(header: Header, now: Instant) -> Result<Box<dyn Shadow>, String> {
        let tape = Tape::following(now, header.contents);
        let replay = Replay::begin(header, tape, now)?;
        Ok(Box::new(Self(replay)))
    }
}

impl Shadow for Follower {
    fn follow(&mut self, entries: Vec<Vec<u8>>) -> Result<(), String> {
        let Self(replay) = self;
        replay.tape().feed(entries);
        let run = catch_unwind(AssertUnwindSafe(|| while replay.step() {}));
        let trouble = match run {
            Ok(()) => replay.tape().trouble(),
            Err(_) => Some("it panicked".to_owned()),
        };
        trouble.map_or(Ok(()), |why| Err(format!("what followed them lost its way: {why}")))
    }

    fn state(&self) -> Result<State, String> {
        let bytes = state::save(self.0.transport(), self.0.tape())?;
        Ok(State { layout: state::layout().to_owned(), bytes })
    }
}
