//! Recording a transport: each call from outside, each thing that is fetched, and what the borders answer.

mod call;
mod config;
#[cfg(feature = "sim")]
mod hostile;
mod output;
mod replay;
mod shadow;
mod state;

use std::fmt::Debug;
use std::time::Instant;

use super::{Phase, Transport};
use crate::signaling::Client;
use crate::trace::{Entry, Header, RecordOptions, Recorder, Tape};

pub(super) use call::Call;
#[cfg(feature = "sim")]
pub use hostile::{hostile, resaved};
pub(super) use output::{command, event, media, outcome, transmit};
pub use replay::{Replay, ReplayReport};

impl Transport {
    /// Records from now on what the transport is told and what it decides, without secrets and without contents
    /// ([`crate::trace`] says what is in a recording). The recording gathers in what this gives, to be taken from there
    /// and written down; [`Replay`] reads it.
    ///
    /// `None` once the transport was started: a machine cannot begin in the middle.
    #[must_use]
    pub fn record(&mut self, options: &RecordOptions) -> Option<Recorder> {
        if self.phase != Phase::New || self.starts > 0 || self.tape.is_some() {
            return None;
        }
        let mut key = [0; 32];
        self.rng.fork("labels of a recording").fill(&mut key);
        let now = self.clock.now();
        let (tape, recorder) = Tape::recording(options, key, now);
        let unix_ns = u64::try_from(self.clock.unix(now).as_nanos()).unwrap_or(u64::MAX);
        let header = Header {
            core: env!("CARGO_PKG_VERSION").to_owned(),
            peer: self.id.as_str().to_owned(),
            unix_ns,
            ring: false,
            state: None,
            lost: None,
            contents: options.contents,
            masked: options.mask_addresses,
            config: tape.labels(|labels| config::keep(&self.config, labels)),
        };
        tape.write_header(&header);
        if options.ring {
            recorder.shadow(shadow::Follower::begin(header, now));
        }
        self.set_tape(tape);
        Some(recorder)
    }

    fn set_tape(&mut self, tape: Tape) {
        self.rng.record(tape.clone());
        let now = self.clock.now();
        let announce = super::announce(&self.config, &self.id);
        self.signaling = Client::new(announce, self.rng.fork("signaling"), now);
        self.trace = Some(tape.clone());
        self.tape = Some(tape);
    }

    /// Whether a recording stands in the engine's place.
    pub(super) fn is_replay(&self) -> bool {
        self.tape.as_ref().is_some_and(Tape::plays)
    }

    /// Whether this follows another transport, which logs what there is to say.
    pub(super) fn follows(&self) -> bool {
        self.tape.as_ref().is_some_and(Tape::follows)
    }

    /// One call from outside, past the tape.
    #[cold]
    pub(super) fn traced<T: Debug>(
        &mut self,
        tape: Tape,
        now: Instant,
        call: impl FnOnce(&Tape) -> Call,
        act: impl FnOnce(&mut Self) -> T,
    ) -> T {
        if !tape.plays() {
            let call = serde_json::to_value(call(&tape)).unwrap_or_default();
            tape.pass(&Entry::Input { at: tape.nanos(now), call });
        }
        let result = act(self);
        let text = tape.labels(|labels| labels.text(&format!("{result:?}")));
        let due = self.timers().map(|due| (tape.nanos(due.at), due.why.to_owned()));
        tape.pass(&Entry::End { result: text, due });
        self.trace = Some(tape);
        result
    }
}
