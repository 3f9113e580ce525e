//! Replaying a recording: the same calls to the same machine, with the recording in the engine's place.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::time::{Duration, Instant};

use serde::Serialize;

use super::{Call, config, state};
use crate::id::SocketId;
use crate::media::Reliability;
use crate::net::Datagram;
use crate::rng::Seed;
use crate::trace::{Difference, Entry, Header, Read, RecordingError, Tape};
use crate::transport::Transport;

/// A recording that is about to be replayed.
#[derive(Debug)]
pub struct Replay {
    header: Header,
    tape: Tape,
    transport: Transport,
    /// It began with a state, which may be of anybody.
    restored: bool,
    counts: Counts,
}

/// What has been replayed.
#[derive(Debug, Default)]
struct Counts {
    calls: u64,
    events: u64,
    /// The first call and the last one, in nanoseconds since the start.
    first: Option<i64>,
    last: i64,
}

/// How a replay went.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct ReplayReport {
    /// The records that were read, the header included.
    pub records: u64,
    /// The calls that were made.
    pub calls: u64,
    /// The events and frames of media that came out as recorded.
    pub events: u64,
    /// The time that it covers: since the start, or of a ring since its first call.
    pub nanoseconds: u64,
    /// The first difference, if there was one.
    pub difference: Option<Difference>,
    /// Why it ended before its end, if it did: cut off or damaged.
    pub ended: Option<String>,
    /// Whether that is damage, not just an end in the middle.
    pub damaged: bool,
}

impl ReplayReport {
    /// Whether everything went as recorded, up to where the recording ends.
    pub const fn is_equal(&self) -> bool {
        self.difference.is_none()
    }
}

impl Replay {
    /// Reads the beginning of a recording. `now` is any instant: all times follow from it.
    ///
    /// # Errors
    /// [`RecordingError`]: it is none, of another version, a ring without the state before its entries or with one of
    /// another build, or damaged there.
    pub fn new(recording: Vec<u8>, now: Instant) -> Result<Self, RecordingError> {
        let (tape, header) = Tape::playing(recording, now)?;
        let damaged = |what: String| RecordingError::Damaged { offset: crate::trace::START, what };
        if !header.ring {
            return Self::begin(header, tape, now).map_err(damaged);
        }
        let Some(layout) = &header.state else {
            let why = header.lost.unwrap_or_else(|| "it does not say why".to_owned());
            return Err(RecordingError::Ring { why });
        };
        let build = |core: &str, layout: &str| format!("{core} (states laid out {layout})");
        let found = build(&header.core, layout);
        let expected = build(env!("CARGO_PKG_VERSION"), state::layout());
        if found != expected {
            return Err(RecordingError::ForeignState { found, expected });
        }
        let (offset, bytes) = tape.raw()?;
        let transport = state::restore(&bytes, &tape).map_err(|wrong| {
            // Behind the head of its record.
            let offset = offset + 8 + wrong.at;
            RecordingError::Damaged { offset, what: format!("the state: {}", wrong.what) }
        })?;
        Ok(Self { header, tape, transport, restored: true, counts: Counts::default() })
    }

    /// From the start on; or what is wrong with the configuration.
    pub(super) fn begin(header: Header, tape: Tape, now: Instant) -> Result<Self, String> {
        let config = config::revive(header.config.clone(), &header.peer)?;
        // Nothing is drawn from it.
        let (seed, unix) = (Seed::from_bytes([0; 32]), Duration::from_nanos(header.unix_ns));
        let mut transport =
            Transport::unchecked(config, seed, now, unix).map_err(|error| error.to_string())?;
        transport.sockets.ordered = true;
        transport.set_tape(tape.clone());
        Ok(Self { header, tape, transport, restored: false, counts: Counts::default() })
    }

    /// What the recording says about itself.
    pub const fn header(&self) -> &Header {
        &self.header
    }

    pub(super) const fn tape(&self) -> &Tape {
        &self.tape
    }

    pub(super) const fn transport(&self) -> &Transport {
        &self.transport
    }

    /// Replays it up to its end, or to the first difference.
    pub fn run(mut self) -> ReplayReport {
        let run = catch_unwind(AssertUnwindSafe(|| while self.step() {}));
        let impossible = match run {
            Ok(()) => None,
            // Somebody may have made it up: a checksum is no proof.
            Err(panic) if self.restored => Some(impossible(&*panic)),
            Err(panic) => resume_unwind(panic),
        };
        let (difference, error, cut, records) = self.tape.outcome();
        let cut = cut.then(|| "the recording ends within a call".to_owned());
        let Counts { calls, events, first, last } = self.counts;
        let begin = if self.restored { first.unwrap_or(last) } else { 0 };
        let damaged = matches!(error, Some(RecordingError::Damaged { .. }));
        ReplayReport {
            records,
            calls,
            events,
            nanoseconds: u64::try_from(last.saturating_sub(begin)).unwrap_or(0),
            difference,
            damaged: damaged || impossible.is_some(),
            ended: impossible.or(error.map(|error| error.to_string())).or(cut),
        }
    }

    /// Makes the next call or fetches the next output; false where there is none, or after a difference.
    pub(super) fn step(&mut self) -> bool {
        match self.tape.next() {
            Read::Entry(Entry::Input { at, call }) => {
                match serde_json::from_value::<Call>(call.clone()) {
                    Ok(call) => self.call(self.tape.instant(at), call),
                    Err(_) => self.tape.wrong("a call", &call),
                }
                self.counts.first.get_or_insert(at);
                self.counts.last = self.counts.last.max(at);
                self.counts.calls += 1;
            }
            Read::Entry(Entry::Output { queue, .. }) => {
                self.counts.events += u64::from(matches!(queue.as_str(), "event" | "media"));
                if !self.fetch(&queue) {
                    self.tape.differs(&queue, "nothing");
                }
            }
            Read::Entry(_) => self.tape.differs("what happens next", "nothing more"),
            Read::End | Read::Stopped => return false,
        }
        true
    }

    /// Fetches from a queue; false where there is nothing, or no such queue.
    fn fetch(&mut self, queue: &str) -> bool {
        let transport = &mut self.transport;
        match queue {
            "datagram" => transport.poll_transmit().is_some(),
            "command" => transport.poll_command().is_some(),
            "outcome" => transport.poll_outcome().is_some(),
            "event" => transport.poll_event().is_some(),
            "media" => transport.poll_media().is_some(),
            _ => false,
        }
    }

    /// Makes a call. Its result is compared by the tape.
    fn call(&mut self, now: Instant, call: Call) {
        let t = &mut self.transport;
        match call {
            Call::Start => drop(t.start(now)),
            Call::Shutdown => t.shutdown(now),
            Call::Connect(peer) => drop(t.connect_peer(now, &peer)),
            Call::Disconnect(peer) => drop(t.disconnect_peer(now, &peer)),
            Call::Configure(patch) => drop(t.configure(now, &patch)),
            Call::Send { peer: Some(peer), data } => {
                drop(t.send_to_peer(now, &peer, &data.revive(&self.tape)));
            }
            Call::Send { peer: None, data } => drop(t.broadcast(now, &data.revive(&self.tape))),
            Call::Message { peer, data, reliable } => {
                let Some(message) = data.message() else {
                    return self.tape.wrong("a message", &serde_json::Value::from(peer));
                };
                let reliability = reliable.map(|reliable| match reliable {
                    true => Reliability::Reliable,
                    false => Reliability::Unreliable,
                });
                drop(t.send_data_channel_message(now, &peer, &message, reliability));
            }
            Call::Buffered(peer) => drop(t.buffered_amount(&peer)),
            Call::Keyframe(peer) => drop(t.request_keyframe(now, &peer)),
            Call::Video(peer) => drop(t.offer_video(now, &peer)),
            Call::Datagram { socket, remote, payload } => {
                let payload = payload.stand_in();
                let socket = SocketId(socket);
                t.handle_datagram(now, Datagram { socket, remote, payload: &payload });
            }
            Call::Io(event) => t.handle_io(now, event.revive()),
            Call::Timeout => t.handle_timeout(now),
        }
    }
}

/// What is said of a machine that panicked behind a state.
fn impossible(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    let text = text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("?");
    format!("the machine panicked, by a fault of its own or by an impossible state: {text}")
}
