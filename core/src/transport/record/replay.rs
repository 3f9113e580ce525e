//! Replaying a recording: the same calls to the same machine, with the recording in the engine's place.

use std::time::{Duration, Instant};

use serde::Serialize;

use super::{Call, config};
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
    /// The time that it covers.
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
    /// [`RecordingError`]: it is none, of another version, a ring whose oldest entries have gone, or damaged there.
    pub fn new(recording: Vec<u8>, now: Instant) -> Result<Self, RecordingError> {
        let (tape, header) = Tape::playing(recording, now)?;
        if header.ring {
            return Err(RecordingError::Ring);
        }
        let damaged = |what: String| RecordingError::Damaged { offset: crate::trace::START, what };
        let config = config::revive(header.config.clone(), &header.peer).map_err(damaged)?;
        // Nothing is drawn from it.
        let (seed, unix) = (Seed::from_bytes([0; 32]), Duration::from_nanos(header.unix_ns));
        let mut transport = Transport::unchecked(config, seed, now, unix)
            .map_err(|error| damaged(error.to_string()))?;
        transport.sockets.ordered = true;
        transport.set_tape(tape.clone());
        Ok(Self { header, tape, transport })
    }

    /// What the recording says about itself.
    pub const fn header(&self) -> &Header {
        &self.header
    }

    /// Replays it up to its end, or to the first difference.
    pub fn run(mut self) -> ReplayReport {
        let (mut calls, mut events, mut last) = (0, 0, 0);
        loop {
            match self.tape.next() {
                Read::Entry(Entry::Input { at, call }) => {
                    match serde_json::from_value::<Call>(call.clone()) {
                        Ok(call) => self.call(self.tape.instant(at), call),
                        Err(_) => self.tape.wrong("a call", &call),
                    }
                    last = last.max(at);
                    calls += 1;
                }
                Read::Entry(Entry::Output { queue, .. }) => {
                    events += u64::from(matches!(queue.as_str(), "event" | "media"));
                    if !self.fetch(&queue) {
                        self.tape.differs(&queue, "nothing");
                    }
                }
                Read::Entry(_) => self.tape.differs("what happens next", "nothing more"),
                Read::End | Read::Stopped => break,
            }
        }
        let (difference, error, cut, records) = self.tape.outcome();
        let cut = cut.then(|| "the recording ends within a call".to_owned());
        ReplayReport {
            records,
            calls,
            events,
            nanoseconds: u64::try_from(last).unwrap_or(0),
            difference,
            damaged: matches!(error, Some(RecordingError::Damaged { .. })),
            ended: error.map(|error| error.to_string()).or(cut),
        }
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
