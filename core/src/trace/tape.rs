//! The tape at the borders of a transport: it writes down, or plays back and compares.

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::format::Records;
use super::labels::Labels;
use super::recorder::{Part, RecordOptions, Recorder};
use super::source::{Fed, Source};
use super::{Header, RecordingError};

/// One record of what happened.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) enum Entry {
    /// A call from outside, at so many nanoseconds since the start.
    #[serde(rename = "in")]
    Input { at: i64, call: Value },
    /// What it returned, and when the machine then wanted to be called.
    #[serde(rename = "end")]
    End { result: String, due: Option<(i64, String)> },
    /// Something that was fetched from the machine.
    #[serde(rename = "out")]
    Output { queue: String, what: Value },
    /// A border was asked: what it was told, and what it answered.
    #[serde(rename = "ask")]
    Ask {
        op: String,
        /// The number of the connection, where it is about one.
        of: u64,
        told: Value,
        answer: Value,
        #[serde(default, skip_serializing_if = "is_false")]
        panicked: bool,
    },
}

fn is_false(value: &bool) -> bool {
    !value
}

/// The first thing that went another way than in the recording.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Difference {
    /// The number of the record, the header being 0.
    pub record: u64,
    /// Where that begins, in bytes from the start of the file.
    pub offset: usize,
    /// What it is: `deadline`, `result`, `event`, `told engine: write_audio`, …
    pub what: String,
    /// What the recording has.
    pub expected: String,
    /// What the machine did.
    pub got: String,
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { record, offset, what, expected, got } = self;
        write!(f, "record {record} (offset {offset}): {what}: expected {expected}, got {got}")
    }
}

/// What stands at the borders. Clones share one tape.
#[derive(Clone)]
pub(crate) struct Tape(Arc<Mutex<Inner>>);

struct Inner {
    origin: Instant,
    labels: Labels,
    contents: bool,
    connections: u64,
    mode: Mode,
}

enum Mode {
    Record(Recorder),
    Replay(Box<Playing>),
}

struct Playing {
    records: Source,
    /// Of a record that was looked at and not taken.
    peeked: Option<(usize, u64, Entry)>,
    difference: Option<Difference>,
    /// It ended within an input.
    ended: bool,
    error: Option<RecordingError>,
}

/// What comes next on a tape that plays.
#[derive(Debug)]
pub(crate) enum Read {
    Entry(Entry),
    End,
    /// Something went another way, or cannot be read.
    Stopped,
}

impl Drop for Inner {
    fn drop(&mut self) {
        if let Mode::Record(recorder) = &self.mode {
            recorder.end();
        }
    }
}

impl Tape {
    /// A tape that records from `origin` on, and where the recording is to be taken from.
    pub(crate) fn recording(
        options: &RecordOptions,
        key: [u8; 32],
        origin: Instant,
    ) -> (Self, Recorder) {
        let recorder = Recorder::new(options);
        let inner = Inner {
            origin,
            labels: Labels::new(key, options.mask_addresses),
            contents: options.contents,
            connections: 0,
            mode: Mode::Record(recorder.clone()),
        };
        (Self(Arc::new(Mutex::new(inner))), recorder)
    }

    /// A tape that plays a recording, with its header.
    ///
    /// # Errors
    /// [`RecordingError`] about its beginning.
    pub(crate) fn playing(
        bytes: Vec<u8>,
        origin: Instant,
    ) -> Result<(Self, Header), RecordingError> {
        let mut records = Records::new(bytes)?;
        let header = header(&mut records)?;
        Ok((Self::of(Source::Recording(records), origin, header.contents), header))
    }

    /// A tape that plays what it is fed, of a recording that began at `origin`.
    pub(crate) fn following(origin: Instant, contents: bool) -> Self {
        Self::of(Source::Fed(Fed::default()), origin, contents)
    }

    fn of(records: Source, origin: Instant, contents: bool) -> Self {
        let playing =
            Playing { records, peeked: None, difference: None, ended: false, error: None };
        Self(Arc::new(Mutex::new(Inner {
            origin,
            labels: Labels::none(),
            contents,
            connections: 0,
            mode: Mode::Replay(Box::new(playing)),
        })))
    }

    /// Gives records to a tape that plays what it is fed.
    pub(crate) fn feed(&self, fed: Vec<Vec<u8>>) {
        if let Mode::Replay(playing) = &mut self.lock().mode
            && let Source::Fed(source) = &mut playing.records
        {
            source.feed(fed);
        }
    }

    /// The next record as it is, and where it begins: of a tape that plays a recording.
    ///
    /// # Errors
    /// [`RecordingError`]: it is not there, or damaged.
    pub(crate) fn raw(&self) -> Result<(usize, Vec<u8>), RecordingError> {
        let mut inner = self.lock();
        let Mode::Replay(playing) = &mut inner.mode else {
            return Err(RecordingError::Truncated { offset: 0 });
        };
        let offset = playing.records.offset();
        let record = playing.records.next()?.map(<[u8]>::to_vec);
        record.map(|record| (offset, record)).ok_or(RecordingError::Truncated { offset })
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        // Nothing that can panic runs under the lock: whoever follows a ring catches it.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether it plays.
    pub(crate) fn plays(&self) -> bool {
        matches!(self.lock().mode, Mode::Replay(_))
    }

    /// Whether it follows a machine of this process, which says in the log what there is to say. A subscriber of its own
    /// would not do: what `tracing` sets for a scope decides for the whole process whether an event that is met there
    /// first is ever heard, and silences the crate `log`.
    pub(crate) fn follows(&self) -> bool {
        let of = |playing: &Playing| matches!(playing.records, Source::Fed(_));
        matches!(&self.lock().mode, Mode::Replay(playing) if of(playing))
    }

    /// Whether contents of messages are written.
    pub(crate) fn contents(&self) -> bool {
        self.lock().contents
    }

    /// A number for a new connection.
    pub(crate) fn number(&self) -> u64 {
        let mut inner = self.lock();
        inner.connections += 1;
        inner.connections
    }

    /// How many connections have had a number.
    pub(crate) fn connections(&self) -> u64 {
        self.lock().connections
    }

    /// Goes on behind so many connections.
    pub(crate) fn set_connections(&self, connections: u64) {
        self.lock().connections = connections;
    }

    /// Puts labels in place of something.
    pub(crate) fn labels<T>(&self, act: impl FnOnce(&mut Labels) -> T) -> T {
        act(&mut self.lock().labels)
    }

    /// An instant as nanoseconds since the start.
    pub(crate) fn nanos(&self, at: Instant) -> i64 {
        let origin = self.lock().origin;
        let nanos = |duration: Duration| i64::try_from(duration.as_nanos()).unwrap_or(i64::MAX);
        match at.checked_duration_since(origin) {
            Some(after) => nanos(after),
            None => -nanos(origin - at),
        }
    }

    /// The instant at a distance from the start, if a clock can show it.
    pub(super) fn moved(&self, later: bool, distance: Duration) -> Option<Instant> {
        let origin = self.lock().origin;
        if later { origin.checked_add(distance) } else { origin.checked_sub(distance) }
    }

    /// An instant of nanoseconds since the start. What no clock can show is the start.
    pub(crate) fn instant(&self, nanos: i64) -> Instant {
        let origin = self.lock().origin;
        let distance = Duration::from_nanos(nanos.unsigned_abs());
        let at =
            if nanos < 0 { origin.checked_sub(distance) } else { origin.checked_add(distance) };
        at.unwrap_or(origin)
    }

    /// Writes the header.
    pub(crate) fn write_header(&self, header: &Header) {
        if let Mode::Record(recorder) = &self.lock().mode {
            recorder.header(header);
        }
    }

    /// Writes an entry down, or compares it with the next one: gives false where the tape plays and has another.
    pub(crate) fn pass(&self, entry: &Entry) -> bool {
        let mut inner = self.lock();
        match &mut inner.mode {
            Mode::Record(recorder) => {
                recorder.push(serde_json::to_vec(entry).unwrap_or_default(), Part::of(entry));
                true
            }
            Mode::Replay(playing) => playing.compare(entry),
        }
    }

    /// Asks a border. `told` is what is compared; `keep` makes what is written of its answer, and `revive` an answer
    /// of that. `fallback` is the answer once the replay has gone another way.
    pub(crate) fn ask_as<A, K: Serialize + DeserializeOwned>(
        &self,
        (op, of): (&str, u64),
        told: Value,
        live: impl FnOnce() -> A,
        keep: impl FnOnce(&A) -> K,
        revive: impl FnOnce(K) -> Option<A>,
        fallback: A,
    ) -> A {
        if self.plays() {
            let mut inner = self.lock();
            let Mode::Replay(playing) = &mut inner.mode else { return fallback };
            let Some((answer, panicked)) = playing.answer(op, of, &told) else { return fallback };
            drop(inner);
            if panicked {
                // Without the hook: nothing is wrong here.
                resume_unwind(Box::new("as it was recorded"));
            }
            let kept = serde_json::from_value(answer.clone()).ok();
            return match kept.and_then(revive) {
                Some(answer) => answer,
                None => {
                    self.wrong(op, &answer);
                    fallback
                }
            };
        }
        let entry = |answer: Value, panicked: bool| Entry::Ask {
            op: op.to_owned(),
            of,
            told,
            answer,
            panicked,
        };
        match catch_unwind(AssertUnwindSafe(live)) {
            Ok(answer) => {
                let mut kept = serde_json::to_value(keep(&answer)).unwrap_or_default();
                self.mask_fault(&mut kept);
                self.pass(&entry(kept, false));
                answer
            }
            Err(panic) => {
                self.pass(&entry(Value::Null, true));
                resume_unwind(panic)
            }
        }
    }

    /// The engine's words about a fault may name addresses.
    fn mask_fault(&self, answer: &mut Value) {
        let fault = answer.get_mut("Err").and_then(Value::as_object_mut);
        for words in fault.into_iter().flat_map(serde_json::Map::values_mut) {
            if let Value::String(text) = words {
                *text = self.labels(|labels| labels.text(text));
            }
        }
    }

    /// Asks a border whose answer is written as it is.
    pub(crate) fn ask<A: Serialize + DeserializeOwned + Clone>(
        &self,
        op: (&str, u64),
        told: Value,
        fallback: A,
        live: impl FnOnce() -> A,
    ) -> A {
        self.ask_as(op, told, live, A::clone, Some, fallback)
    }

    /// Fills `out` with a random draw that is no secret.
    pub(crate) fn draw(&self, out: &mut [u8], live: impl FnOnce(&mut [u8])) {
        let length = out.len();
        let drawn = self.ask_as(
            ("draw", 0),
            Value::from(length),
            || {
                let mut bytes = vec![0; length];
                live(&mut bytes);
                bytes
            },
            |bytes| super::sketch::hex(bytes),
            |text| super::sketch::unhex(&text).filter(|bytes| bytes.len() == length),
            vec![0; length],
        );
        out.copy_from_slice(&drawn);
    }

    /// The next entry of a tape that plays, which is left there unless it is an input.
    pub(crate) fn next(&self) -> Read {
        let mut inner = self.lock();
        let Mode::Replay(playing) = &mut inner.mode else { return Read::End };
        match playing.peek().cloned() {
            Some(entry) => {
                if matches!(entry, Entry::Input { .. }) {
                    playing.peeked = None;
                }
                Read::Entry(entry)
            }
            None if playing.stopped() => Read::Stopped,
            None => Read::End,
        }
    }

    /// An input that means nothing to this version.
    pub(crate) fn wrong(&self, what: &str, entry: &Value) {
        let mut inner = self.lock();
        if let Mode::Replay(playing) = &mut inner.mode {
            let what = format!("{what}: an entry that means nothing: {entry}");
            let offset = playing.records.offset();
            playing.error.get_or_insert(RecordingError::Damaged { offset, what });
        }
    }

    /// The machine did something else than the entry that comes next.
    pub(crate) fn differs(&self, what: &str, got: &str) {
        let mut inner = self.lock();
        if let Mode::Replay(playing) = &mut inner.mode {
            let expected = playing.peek().map_or_else(|| "the end".into(), show);
            playing.differ(what.to_owned(), expected, got.to_owned());
        }
    }

    /// Why a replay cannot go on, if it cannot.
    pub(crate) fn trouble(&self) -> Option<String> {
        let inner = self.lock();
        let Mode::Replay(playing) = &inner.mode else { return None };
        let error = || playing.error.as_ref().map(ToString::to_string);
        let ended = || playing.ended.then(|| "a call has no end".to_owned());
        playing.difference.as_ref().map(ToString::to_string).or_else(error).or_else(ended)
    }

    /// How the replay ended: the first difference, what was wrong with the recording, and how many records were read.
    pub(crate) fn outcome(&self) -> (Option<Difference>, Option<RecordingError>, bool, u64) {
        match &self.lock().mode {
            Mode::Replay(playing) => (
                playing.difference.clone(),
                playing.error.clone(),
                playing.ended,
                playing.records.number() - u64::from(playing.peeked.is_some()),
            ),
            Mode::Record(_) => (None, None, false, 0),
        }
    }
}

pub(super) fn header(records: &mut Records) -> Result<Header, RecordingError> {
    let offset = records.offset();
    let Some(body) = records.next()? else { return Err(RecordingError::Truncated { offset }) };
    serde_json::from_slice(body)
        .map_err(|error| RecordingError::Damaged { offset, what: format!("its header: {error}") })
}

impl Playing {
    fn stopped(&self) -> bool {
        self.difference.is_some() || self.error.is_some() || self.ended
    }

    fn peek(&mut self) -> Option<&Entry> {
        if self.stopped() {
            return None;
        }
        if self.peeked.is_none() {
            let (offset, number) = (self.records.offset(), self.records.number());
            match self.records.next() {
                Ok(Some(body)) => match serde_json::from_slice(body) {
                    Ok(entry) => self.peeked = Some((offset, number, entry)),
                    Err(error) => {
                        let what = format!("record {number}: {error}");
                        self.error = Some(RecordingError::Damaged { offset, what });
                    }
                },
                Ok(None) => {}
                Err(error) => self.error = Some(error),
            }
        }
        self.peeked.as_ref().map(|(_, _, entry)| entry)
    }

    fn take(&mut self) -> Option<Entry> {
        self.peek()?;
        self.peeked.take().map(|(_, _, entry)| entry)
    }

    fn differ(&mut self, what: String, expected: String, got: String) {
        let (offset, record) = match &self.peeked {
            Some((offset, number, _)) => (*offset, *number),
            None => (self.records.offset(), self.records.number()),
        };
        self.difference.get_or_insert(Difference { record, offset, what, expected, got });
    }

    /// The recording ends where the machine goes on.
    fn cut(&mut self) {
        self.ended = true;
    }

    fn compare(&mut self, entry: &Entry) -> bool {
        if self.stopped() {
            return false;
        }
        let Some(expected) = self.peek() else {
            if !self.stopped() {
                self.cut();
            }
            return false;
        };
        if expected == entry {
            self.take();
            return true;
        }
        let (what, expected, got) = difference(expected, entry);
        self.differ(what, expected, got);
        false
    }

    /// The answer to what a border is told, and whether that was a panic.
    fn answer(&mut self, op: &str, of: u64, told: &Value) -> Option<(Value, bool)> {
        if self.stopped() {
            return None;
        }
        let Some(next) = self.peek() else {
            if !self.stopped() {
                self.cut();
            }
            return None;
        };
        if let Entry::Ask { op: was, of: whom, told: before, answer, panicked } = next
            && was == op
            && *whom == of
            && before == told
        {
            let found = (answer.clone(), *panicked);
            self.take();
            return Some(found);
        }
        let got = Entry::Ask {
            op: op.to_owned(),
            of,
            told: told.clone(),
            answer: Value::Null,
            panicked: false,
        };
        let (what, expected, got) = difference(next, &got);
        self.differ(what, expected, got);
        None
    }
}

/// Names what differs between two entries: its kind, and both sides.
fn difference(expected: &Entry, got: &Entry) -> (String, String, String) {
    match (expected, got) {
        (Entry::End { result: a, due: x }, Entry::End { result: b, due: y }) => {
            if a != b {
                return ("result".into(), a.clone(), b.clone());
            }
            let due = |due: &Option<(i64, String)>| match due {
                Some((at, why)) => format!("{why} at {:.6} s", *at as f64 / 1e9),
                None => "none".to_owned(),
            };
            ("deadline".into(), due(x), due(y))
        }
        (Entry::Output { queue: a, what: x }, Entry::Output { queue: b, what: y }) if a == b => {
            (a.clone(), x.to_string(), y.to_string())
        }
        (Entry::Ask { op: a, of: p, told: x, .. }, Entry::Ask { op: b, of: q, told: y, .. })
            if (a, p) == (b, q) =>
        {
            (format!("what connection {p} told its engine: {a}"), x.to_string(), y.to_string())
        }
        _ => ("what happens next".into(), show(expected), show(got)),
    }
}

/// An entry in one line.
pub(crate) fn show(entry: &Entry) -> String {
    match entry {
        Entry::Input { at, call } => format!("{:.6} s: {call}", *at as f64 / 1e9),
        Entry::End { result, due: Some((at, why)) } => {
            format!("result {result}, {why} at {:.6} s", *at as f64 / 1e9)
        }
        Entry::End { result, due: None } => format!("result {result}, no deadline"),
        Entry::Output { queue, what } => format!("{queue} {what}"),
        Entry::Ask { op, of, told, answer, panicked } => {
            let answer = if *panicked { "a panic".to_owned() } else { answer.to_string() };
            format!("{op} of connection {of}: {told} -> {answer}")
        }
    }
}

impl fmt::Debug for Tape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Tape")
    }
}
