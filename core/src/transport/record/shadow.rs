//! The machine that follows what goes from a ring: a replay in steps.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Instant;

use super::{Replay, state};
use crate::trace::{Header, Shadow, State, Tape};

/// See [`Shadow`].
#[derive(Debug)]
pub(super) struct Follower {
    replay: Replay,
    /// Why it cannot follow any more.
    lost: Option<String>,
}

impl Follower {
    /// One that begins with the recording.
    ///
    /// # Errors
    /// What is wrong with the configuration.
    pub(super) fn begin(header: Header, now: Instant) -> Result<Box<dyn Shadow>, String> {
        let tape = Tape::following(now, header.contents);
        let replay = Replay::begin(header, tape, now)?;
        Ok(Box::new(Self { replay, lost: None }))
    }
}

impl Shadow for Follower {
    fn follow(&mut self, entries: Vec<Vec<u8>>) {
        if self.lost.is_some() {
            return;
        }
        let replay = &mut self.replay;
        replay.tape().feed(entries);
        let run = catch_unwind(AssertUnwindSafe(|| while replay.step() {}));
        self.lost = match run {
            Ok(()) => replay.tape().trouble(),
            Err(_) => Some("it panicked".to_owned()),
        };
        self.lost = self.lost.take().map(|why| format!("what followed them lost its way: {why}"));
    }

    fn state(&self) -> Result<State, String> {
        match &self.lost {
            Some(why) => Err(why.clone()),
            None => {
                let bytes = state::save(self.replay.transport(), self.replay.tape())?;
                Ok(State { layout: state::layout().to_owned(), bytes })
            }
        }
    }
}
