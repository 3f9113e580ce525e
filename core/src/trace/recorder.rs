//! Where a recording gathers until it is written: everything since the start, or the latest of it.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

use serde::Serialize;

use super::Header;
use super::format::{self, MAX_RECORD};

/// How a transport is recorded.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct RecordOptions {
    /// The bytes that wait to be taken at most, 64 KiB at least. What finds no room ends a recording, which can be
    /// replayed up to there; of a ring the oldest entries go.
    pub max_bytes: usize,
    /// Keep the latest entries only. As long as everything has room, a ring can be replayed as any recording. A machine
    /// cannot begin in the middle: once the oldest entries have gone, what is left can be shown, and not be replayed.
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
    /// Of a ring: what is in it depends on what has gone.
    header: Option<Header>,
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
            header: None,
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
    /// with the latest entries, which stay; its [`Header::ring`] says whether some have gone.
    #[must_use]
    pub fn take(&self) -> Vec<u8> {
        self.with(|waiting| {
            let mut out = Vec::new();
            if waiting.ring {
                out = format::prelude();
                let gone = waiting.dropped > 0;
                let header = waiting.header.clone().map(|header| Header { ring: gone, ..header });
                format::write(&mut out, 0, &body(&header));
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

    pub(super) fn header(&self, header: &Header) {
        self.with(|waiting| {
            if waiting.ring {
                waiting.header = Some(header.clone());
            } else {
                let body = body(header);
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

/// The bytes of a header's record.
fn body(header: &impl Serialize) -> Vec<u8> {
    serde_json::to_vec(header).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::trace::entries;

    /// A ring of 64 KiB with nothing in it.
    fn ring() -> Recorder {
        let recorder =
            Recorder::new(&RecordOptions { ring: true, max_bytes: 0, ..Default::default() });
        recorder.header(&Header {
            core: "1".into(),
            peer: "alice".into(),
            unix_ns: 1,
            ring: false,
            contents: false,
            masked: false,
            config: serde_json::Value::Null,
        });
        recorder
    }

    /// An entry that takes so many bytes of the ring.
    fn entry(size: usize) -> Vec<u8> {
        let empty = r#"{"out":{"queue":"","what":0}}"#;
        let entry =
            format!(r#"{{"out":{{"queue":"{}","what":0}}}}"#, "x".repeat(size - 8 - empty.len()));
        assert_eq!(entry.len() + 8, size);
        entry.into_bytes()
    }

    /// Whether something is missing by the header, and how many entries there are.
    fn taken(recorder: &Recorder) -> (bool, usize) {
        let mut entries = entries(recorder.take()).unwrap();
        let missing = entries.header().ring;
        (missing, entries.by_ref().map(Result::unwrap).count())
    }

    #[test]
    fn a_ring_is_whole_until_its_first_entry_goes() {
        let recorder = ring();
        assert_eq!(taken(&recorder), (false, 0));
        for count in 1..=64 {
            recorder.push(entry(1024));
            assert_eq!(taken(&recorder), (false, count));
        }
        assert_eq!(recorder.dropped(), 0, "64 KiB have room in 64 KiB");
        recorder.push(entry(100));
        assert_eq!((taken(&recorder), recorder.dropped()), ((true, 64), 1));
        recorder.push(entry(100));
        assert_eq!((taken(&recorder), recorder.dropped()), ((true, 65), 1));
    }

    #[test]
    fn a_ring_with_a_gap_is_not_whole() {
        let recorder = ring();
        recorder.push(entry(1024));
        recorder.push(entry(64 * 1024 + 1));
        recorder.push(entry(1024));
        assert_eq!((taken(&recorder), recorder.dropped()), ((true, 2), 1));
    }
}
