//! Where a recording gathers until it is written: everything since the start, or the latest of it.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

use super::format::{self, MAX_RECORD};

/// How a transport is recorded.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct RecordOptions {
    /// The bytes that wait to be taken at most, 64 KiB at least. What finds no room ends a recording, which can be
    /// replayed up to there; of a ring the oldest entries go.
    pub max_bytes: usize,
    /// Keep the latest entries only. A machine cannot begin in the middle: what is left of a ring can be shown,
    /// and not be replayed.
    pub ring: bool,
    /// Replace addresses by others of the same family and kind.
    pub mask_addresses: bool,
    /// Write the contents of data messages too. Media are never written.
    pub contents: bool,
}

impl Default for RecordOptions {
    fn default() -> Self {
        Self { max_bytes: 64 * 1024 * 1024, ring: false, mask_addresses: false, contents: false }
    }
}

/// What a transport has recorded and nobody has taken yet. Clones share it: one belongs to the transport, another to
/// whoever writes the recording down, on whatever thread.
#[derive(Debug, Clone)]
pub struct Recorder(Arc<Mutex<Waiting>>);

#[derive(Debug)]
struct Waiting {
    /// The header's record, of a ring.
    header: Vec<u8>,
    bodies: VecDeque<Vec<u8>>,
    bytes: usize,
    max_bytes: usize,
    ring: bool,
    /// The number of the next record that is given out.
    number: u64,
    /// What ended the recording.
    full: bool,
    begun: bool,
    over: bool,
    dropped: u64,
}

impl Recorder {
    pub(super) fn new(options: &RecordOptions) -> Self {
        Self(Arc::new(Mutex::new(Waiting {
            header: Vec::new(),
            bodies: VecDeque::new(),
            bytes: 0,
            max_bytes: options.max_bytes.max(64 * 1024),
            ring: options.ring,
            number: 0,
            full: false,
            begun: false,
            over: false,
            dropped: 0,
        })))
    }

    fn with<T>(&self, act: impl FnOnce(&mut Waiting) -> T) -> T {
        // What a panic left is whole: each change is one push.
        act(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Takes what has been recorded since it was asked last: the next bytes of the file. Of a ring it is a whole file
    /// with the latest entries, which stay.
    #[must_use]
    pub fn take(&self) -> Vec<u8> {
        self.with(|waiting| {
            let mut out = Vec::new();
            if waiting.ring {
                out = format::prelude();
                format::write(&mut out, 0, &waiting.header);
                for (number, body) in (1..).zip(&waiting.bodies) {
                    format::write(&mut out, number, body);
                }
                return out;
            }
            if !waiting.begun {
                waiting.begun = true;
                out = format::prelude();
            }
            while let Some(body) = waiting.bodies.pop_front() {
                format::write(&mut out, waiting.number, &body);
                waiting.number += 1;
            }
            waiting.bytes = 0;
            out
        })
    }

    /// Whether the transport is gone: nothing more will come.
    pub fn is_over(&self) -> bool {
        self.with(|waiting| waiting.over)
    }

    /// How many entries found no room: of a ring those that went, else those behind its end.
    pub fn dropped(&self) -> u64 {
        self.with(|waiting| waiting.dropped)
    }

    pub(super) fn header(&self, body: Vec<u8>) {
        self.with(|waiting| {
            if waiting.ring {
                waiting.header = body;
            } else {
                waiting.bytes += body.len();
                waiting.bodies.push_back(body);
            }
        });
    }

    pub(super) fn push(&self, body: Vec<u8>) {
        self.with(|waiting| {
            let size = body.len() + 8;
            if waiting.full || size > waiting.max_bytes.min(MAX_RECORD) {
                // One that is missing makes all behind it meaningless.
                waiting.full |= !waiting.ring;
                waiting.dropped += 1;
                return;
            }
            if waiting.bytes + size > waiting.max_bytes && !waiting.ring {
                waiting.full = true;
                waiting.dropped += 1;
                return;
            }
            waiting.bytes += size;
            waiting.bodies.push_back(body);
            while waiting.bytes > waiting.max_bytes {
                let Some(oldest) = waiting.bodies.pop_front() else { break };
                waiting.bytes -= oldest.len() + 8;
                waiting.dropped += 1;
            }
        });
    }

    pub(super) fn end(&self) {
        self.with(|waiting| waiting.over = true);
    }
}
