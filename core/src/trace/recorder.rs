//! Where a recording gathers until it is written: everything since the start, or the latest of it.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

use serde::Serialize;

use super::format::{self, MAX_RECORD};
use super::{Entry, Header};

/// How a transport is recorded.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct RecordOptions {
    /// The bytes that wait to be taken at most, 64 KiB at least, as they are written: in memory each entry of some 100
    /// bytes takes half as much again. What finds no room ends a recording, which can be replayed up to there; of a
    /// ring the oldest entries go.
    pub max_bytes: usize,
    /// Keep the latest entries only. A second machine, made of what is recorded alone and without an engine, follows those
    /// that go, so that its state is always the one before the first that is left: it stands at the beginning of what is
    /// taken, which can so be replayed by builds that lay states out alike. Taking it holds the transport up for as long
    /// as copying the ring takes. That machine takes about as much memory as the recorded one does without its
    /// engine, and one and a half times as much time as writing the entries down does, on top of that.
    pub ring: bool,
    /// Replace addresses by others of the same family and kind.
    pub mask_addresses: bool,
    /// Write the contents of data messages too. Media are never written. For a message of many MiB as much goes from a
    /// ring at once, and the call that brings it takes as long as all that goes.
    pub contents: bool,
}

impl Default for RecordOptions {
    fn default() -> Self {
        Self { max_bytes: 64 * 1024 * 1024, ring: false, mask_addresses: false, contents: false }
    }
}

/// So many bytes are copied from a ring while who records waits: for less than a millisecond.
const SLICE: usize = 256 * 1024;

/// What a transport has recorded and nobody has taken yet. Clones share it: one belongs to the transport, another to
/// whoever writes the recording down, on whatever thread.
#[derive(Debug, Clone)]
pub struct Recorder(Arc<Mutex<Waiting>>);

/// A machine that follows what goes from a ring.
pub(crate) trait Shadow: std::fmt::Debug + Send {
    /// Does what these entries say: a whole call, or one output.
    ///
    /// # Errors
    /// Why it cannot follow any more: it went another way.
    fn follow(&mut self, entries: Vec<Vec<u8>>) -> Result<(), String>;
    /// The state that it has come to.
    ///
    /// # Errors
    /// Why it cannot be written down.
    fn state(&self) -> Result<State, String>;
}

/// The state of a machine as it stands in a recording.
pub(crate) struct State {
    /// What [`Header::state`] says of it.
    pub(crate) layout: String,
    /// Its bytes.
    pub(crate) bytes: Vec<u8>,
}

/// Which part of a call an entry is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Part {
    /// Its beginning.
    Input,
    /// Its end.
    End,
    /// Inside it, or an output by itself.
    Other,
}

impl Part {
    pub(super) const fn of(entry: &Entry) -> Self {
        match entry {
            Entry::Input { .. } => Self::Input,
            Entry::End { .. } => Self::End,
            Entry::Output { .. } | Entry::Ask { .. } => Self::Other,
        }
    }
}

#[derive(Debug)]
struct Waiting {
    /// Of a ring: what is in it depends on what has gone.
    header: Option<Header>,
    bodies: VecDeque<(Part, Vec<u8>)>,
    /// How many ends of calls are among them.
    ends: usize,
    /// Of a ring: what follows those that go, until it cannot any more.
    shadow: Option<Box<dyn Shadow>>,
    /// Why nothing does.
    lost: Option<String>,
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
    /// Of a ring: how many entries have been in it and have gone.
    gone: u64,
}

impl Recorder {
    pub(super) fn new(options: &RecordOptions) -> Self {
        Self(Arc::new(Mutex::new(Waiting {
            header: None,
            bodies: VecDeque::new(),
            ends: 0,
            shadow: None,
            lost: None,
            bytes: 0,
            max_bytes: options.max_bytes.max(64 * 1024),
            ring: options.ring,
            number: 0,
            full: false,
            begun: false,
            over: false,
            dropped: 0,
            gone: 0,
        })))
    }

    fn with<T>(&self, act: impl FnOnce(&mut Waiting) -> T) -> T {
        // What a panic left is whole: each change is one push.
        act(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Takes what has been recorded since it was asked last: the next bytes of the file. Of a ring it is a whole file
    /// with the latest entries, which stay; its [`Header::ring`] says whether some have gone. Then it begins with the state
    /// before them, or its [`Header::lost`] says why there is none.
    #[must_use]
    pub fn take(&self) -> Vec<u8> {
        if self.with(|waiting| waiting.ring) {
            return self.take_ring();
        }
        self.with(|waiting| {
            let mut out = Vec::new();
            if !waiting.begun {
                waiting.begun = true;
                out = format::prelude();
            }
            while let Some((_, body)) = waiting.bodies.pop_front() {
                format::write(&mut out, waiting.number, &body);
                waiting.number += 1;
            }
            waiting.bytes = 0;
            out
        })
    }

    /// A ring as a whole file. Who records waits for its state, and for a part of its entries at a time only: all of them
    /// would take a tenth of a second.
    fn take_ring(&self) -> Vec<u8> {
        loop {
            let mut copy = self.with(|waiting| {
                let mut copy = waiting.head();
                waiting.copy(&mut copy);
                copy
            });
            // The oldest are copied first: others go before their turn only where a slice and more goes at once.
            while copy.next < copy.end && self.with(|waiting| waiting.copy(&mut copy)) {}
            if copy.next == copy.end {
                return copy.out;
            }
        }
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
                waiting.bodies.push_back((Part::Other, body));
            }
        });
    }

    /// Has a machine follow what goes from a ring, or says why none does.
    pub(crate) fn shadow(&self, shadow: Result<Box<dyn Shadow>, String>) {
        self.with(|waiting| match shadow {
            Ok(shadow) => waiting.shadow = Some(shadow),
            Err(why) => waiting.lose(why),
        });
    }

    pub(super) fn push(&self, mut body: Vec<u8>, part: Part) {
        self.with(|waiting| {
            if waiting.ring {
                // It stays for long.
                body.shrink_to_fit();
            }
            let size = body.len() + 8;
            if waiting.full || size > waiting.max_bytes.min(MAX_RECORD) {
                // One that is missing makes all behind it meaningless.
                waiting.full |= !waiting.ring;
                waiting.dropped += 1;
                if waiting.ring {
                    waiting.lose(format!("an entry of {size} bytes found no room"));
                }
                return;
            }
            if waiting.bytes + size > waiting.max_bytes && !waiting.ring {
                waiting.full = true;
                waiting.dropped += 1;
                return;
            }
            waiting.bytes += size;
            waiting.ends += usize::from(part == Part::End);
            waiting.bodies.push_back((part, body));
            while waiting.bytes > waiting.max_bytes {
                waiting.drop_oldest();
            }
        });
    }

    pub(super) fn end(&self) {
        self.with(|waiting| waiting.over = true);
    }
}

/// A ring on its way into a file.
struct Copied {
    out: Vec<u8>,
    /// The number of the next record.
    number: u64,
    /// The next entry, and the one behind the last, counted from the first that was ever in the ring.
    next: u64,
    end: u64,
}

impl Waiting {
    /// Nothing can follow any more.
    fn lose(&mut self, why: String) {
        self.shadow = None;
        if self.lost.is_none() {
            // Why may have contents in it: that stands in the recording.
            tracing::warn!("a ring can be shown only: what it is replayed from is lost");
            self.lost = Some(why);
        }
    }

    fn pop(&mut self) -> Option<(Part, Vec<u8>)> {
        let (part, body) = self.bodies.pop_front()?;
        self.bytes -= body.len() + 8;
        self.ends -= usize::from(part == Part::End);
        self.dropped += 1;
        self.gone += 1;
        Some((part, body))
    }

    /// The oldest call with all that belongs to it, or the oldest output, goes from a ring.
    fn drop_oldest(&mut self) {
        let begins = self.bodies.front().is_some_and(|(part, _)| *part == Part::Input);
        if begins && self.ends == 0 {
            self.lose("one call took more room than there is".to_owned());
        }
        let Some((_, first)) = self.pop() else { return };
        let Some(mut shadow) = self.shadow.take() else { return };
        let mut call = vec![first];
        while begins && let Some((part, body)) = self.pop() {
            call.push(body);
            if part == Part::End {
                break;
            }
        }
        match shadow.follow(call) {
            Ok(()) => self.shadow = Some(shadow),
            Err(why) => self.lose(why),
        }
    }

    /// What a ring's file begins with, with room for the entries.
    fn head(&self) -> Copied {
        let mut header = self.header.clone();
        let mut state = None;
        if let Some(header) = header.as_mut().filter(|_| self.dropped > 0) {
            header.ring = true;
            let none = || Err("nothing followed them".to_owned());
            let found = match (&self.lost, &self.shadow) {
                (Some(why), _) => Err(why.clone()),
                (None, shadow) => shadow.as_ref().map_or_else(none, |shadow| shadow.state()),
            };
            let fits = found.and_then(|state| match state.bytes.len() {
                0..=MAX_RECORD => Ok(state),
                bytes => Err(format!("the state before them takes {bytes} bytes")),
            });
            match fits {
                Ok(State { layout, bytes }) => {
                    (header.state, state) = (Some(layout), Some(bytes));
                }
                Err(why) => header.lost = Some(why),
            }
        }
        let header = body(&header);
        let mut out = format::prelude();
        // At once, since it is much.
        out.reserve(
            8 + header.len() + state.as_ref().map_or(0, |state| 8 + state.len()) + self.bytes,
        );
        let mut records = 0..;
        let mut write = |body: &[u8]| {
            format::write(&mut out, records.next().unwrap_or_default(), body);
        };
        write(&header);
        state.iter().for_each(|state| write(state));
        let number = 1 + u64::from(state.is_some());
        Copied { out, number, next: self.gone, end: self.gone + self.bodies.len() as u64 }
    }

    /// Copies some more entries of a ring; false where the next one has gone.
    fn copy(&self, copied: &mut Copied) -> bool {
        let Copied { out, number, next, end } = copied;
        let Some(skipped) = next.checked_sub(self.gone) else { return false };
        let most = out.len() + SLICE;
        for (_, body) in self.bodies.iter().skip(skipped as usize) {
            if next == end || out.len() >= most {
                break;
            }
            format::write(out, *number, body);
            *number += 1;
            *next += 1;
        }
        true
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
        ring_of(0)
    }

    /// The same of so many bytes.
    fn ring_of(max_bytes: usize) -> Recorder {
        let recorder =
            Recorder::new(&RecordOptions { ring: true, max_bytes, ..Default::default() });
        recorder.header(&Header {
            core: "1".into(),
            peer: "alice".into(),
            unix_ns: 1,
            ring: false,
            state: None,
            lost: None,
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
            recorder.push(entry(1024), Part::Other);
            assert_eq!(taken(&recorder), (false, count));
        }
        assert_eq!(recorder.dropped(), 0, "64 KiB have room in 64 KiB");
        recorder.push(entry(100), Part::Other);
        assert_eq!((taken(&recorder), recorder.dropped()), ((true, 64), 1));
        recorder.push(entry(100), Part::Other);
        assert_eq!((taken(&recorder), recorder.dropped()), ((true, 65), 1));
    }

    #[test]
    fn a_ring_with_a_gap_is_not_whole() {
        let recorder = ring();
        recorder.push(entry(1024), Part::Other);
        recorder.push(entry(64 * 1024 + 1), Part::Other);
        recorder.push(entry(1024), Part::Other);
        assert_eq!((taken(&recorder), recorder.dropped()), ((true, 2), 1));
    }

    /// Notes what it is given, and goes astray at the third call.
    #[derive(Debug, Default, Clone)]
    struct Notes(Arc<Mutex<Vec<usize>>>);

    impl Shadow for Notes {
        fn follow(&mut self, entries: Vec<Vec<u8>>) -> Result<(), String> {
            let mut notes = self.0.lock().unwrap();
            notes.push(entries.len());
            if notes.len() < 3 { Ok(()) } else { Err("astray".into()) }
        }

        fn state(&self) -> Result<State, String> {
            let bytes = vec![self.0.lock().unwrap().len() as u8; 3];
            Ok(State { layout: "notes".into(), bytes })
        }
    }

    #[test]
    fn whole_calls_go_to_what_follows_until_it_goes_astray() {
        let recorder = ring();
        let notes = Notes::default();
        recorder.shadow(Ok(Box::new(notes.clone())));
        let call = |asks: usize| {
            recorder.push(entry(16 * 1024), Part::Input);
            (0..asks).for_each(|_| recorder.push(entry(100), Part::Other));
            recorder.push(entry(100), Part::End);
        };
        let header = || entries(recorder.take()).unwrap().header().clone();
        (0..3).for_each(call);
        recorder.push(entry(100), Part::Other);
        assert_eq!((notes.0.lock().unwrap().len(), header().ring), (0, false));
        call(7);
        assert_eq!(*notes.0.lock().unwrap(), [2], "the first call, of two entries");
        call(0);
        assert_eq!(*notes.0.lock().unwrap(), [2, 3]);
        let bytes = recorder.take();
        assert_eq!(header().state.as_deref(), Some("notes"));
        let mut records = format::Records::new(bytes.clone()).unwrap();
        records.next().unwrap();
        assert_eq!(records.next().unwrap(), Some(&[2; 3][..]));
        let shown = entries(bytes).unwrap().map(Result::unwrap).count();
        assert_eq!(shown as u64, 4 + 1 + 9 + 2, "the third call and what is behind it");
        call(0);
        assert_eq!((header().state, header().lost.as_deref()), (None, Some("astray")));
        call(0);
        assert_eq!(*notes.0.lock().unwrap(), [2, 3, 4], "it is asked no more");
    }

    #[test]
    fn a_ring_is_copied_in_parts_while_it_goes_on() {
        let recorder = ring_of(4 * SLICE);
        let push = |count: usize| (0..count).for_each(|_| recorder.push(entry(1_000), Part::Other));
        push(2_000);
        let rest = |copy: &mut Copied| {
            while copy.next < copy.end && recorder.with(|waiting| waiting.copy(copy)) {}
            copy.next == copy.end
        };
        let mut copy = recorder.with(|waiting| waiting.head());
        assert!(recorder.with(|waiting| waiting.copy(&mut copy)));
        let (copied, end) = (copy.out.len(), copy.end);
        assert!((SLICE..2 * SLICE).contains(&copied));
        // What goes meanwhile was copied, and what comes is not wanted.
        push(200);
        assert!(rest(&mut copy) && copy.end == end);
        let count = entries(copy.out).unwrap().map(Result::unwrap).count();
        assert_eq!(count, 4 * SLICE / 1_000);
        // Where too much goes it is told, and begun again.
        let mut copy = recorder.with(|waiting| waiting.head());
        push(200);
        assert!(!rest(&mut copy));
        assert_eq!(taken(&recorder), (true, count));
    }

    #[test]
    fn a_call_that_is_larger_than_the_ring_leaves_no_state() {
        let recorder = ring();
        recorder.shadow(Ok(Box::new(Notes::default())));
        recorder.push(entry(100), Part::Input);
        (0..70).for_each(|_| recorder.push(entry(1024), Part::Other));
        let entries = entries(recorder.take()).unwrap();
        let why = entries.header().lost.clone().unwrap();
        assert!(why.contains("one call took more room"), "{why}");
        assert_eq!(entries.map(Result::unwrap).count(), 64);
    }
}
