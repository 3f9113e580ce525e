//! A digest of all that happens in a world, so that two runs can be compared, and where they part be named.

use std::fmt::{self, Write};
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use rtcmesh_core::transport::{AudioData, CaptureTime, Event, Media};
use sha2::{Digest as _, Sha256};

/// What of each record counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// Everything, byte for byte.
    Bytes,
    /// Times, lengths and events: where the engine's randomness is not the world's own
    /// ([`interpose::active`](crate::interpose::active)). With video among several streams even lengths may differ
    /// from run to run there, by the order in which the engine's hash maps are read.
    Shape,
}

/// One thing that happened.
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub enum Record<'a> {
    /// A datagram leaves a host: also one that the network then loses.
    Sent {
        /// The sender's address.
        from: SocketAddr,
        /// The receiver's.
        to: SocketAddr,
        /// Its payload.
        payload: &'a [u8],
    },
    /// A datagram arrives at a host.
    Received {
        /// The sender's address, as the receiver sees it.
        from: SocketAddr,
        /// The receiver's.
        to: SocketAddr,
        /// Its payload.
        payload: &'a [u8],
    },
    /// A signaling message, or a ping, pong or close, leaves a host or the server: also one that never arrives.
    Posted {
        /// Whether it goes to the server.
        to_server: bool,
        /// Its text.
        text: &'a str,
    },
    /// A signaling message arrives at the server.
    ToServer(&'a str),
    /// A signaling message arrives at a host.
    FromServer(&'a str),
    /// A transport told its application something.
    Event(&'a Event),
    /// A transport gave its application media; instants count from the second one.
    Media(&'a Media, Instant),
    /// Anything else that is to be equal, in the form in which it is printed.
    Other(&'a dyn fmt::Debug),
}

impl Record<'_> {
    const fn kind(&self) -> &'static str {
        match self {
            Self::Sent { .. } => "datagram sent",
            Self::Received { .. } => "datagram received",
            Self::Posted { to_server: true, .. } => "message sent to the server",
            Self::Posted { to_server: false, .. } => "message sent by the server",
            Self::ToServer(_) => "message to the server",
            Self::FromServer(_) => "message from the server",
            Self::Event(_) => "event",
            Self::Media(..) => "media",
            Self::Other(_) => "other",
        }
    }
}

/// SHA-256 over all records of a run, in their order, each with its time, its host and its kind, all lengths first.
#[derive(Clone)]
pub struct Digest {
    mode: Mode,
    all: Sha256,
    records: u64,
    log: Vec<Entry>,
    capacity: usize,
    text: String,
    /// The parts of one record, hashed at once: many small updates cost more than what they hash.
    parts: Vec<u8>,
}

/// One record of the log, by its hash.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Entry {
    at: Duration,
    host: u64,
    kind: &'static str,
    hash: [u8; 8],
}

impl Digest {
    /// Nothing has happened.
    #[must_use]
    pub fn new(mode: Mode) -> Self {
        Self::with_log(mode, 0)
    }

    /// The same, which keeps the hashes of the first `capacity` records (about 64 bytes each), for
    /// [`Digest::difference`].
    #[must_use]
    pub fn with_log(mode: Mode, capacity: usize) -> Self {
        let mut all = Sha256::new();
        // What is digested, and by which version of this file.
        all.update(b"rtcmesh world 2");
        all.update([mode as u8]);
        let (log, text, parts) = (Vec::new(), String::new(), Vec::new());
        Self { mode, all, records: 0, log, capacity, text, parts }
    }

    /// What counts.
    #[must_use]
    pub const fn mode(&self) -> Mode {
        self.mode
    }

    /// How many records it has.
    #[must_use]
    pub const fn records(&self) -> u64 {
        self.records
    }

    /// Something happened at a virtual time since the start, at the host with this number.
    pub fn record(&mut self, at: Duration, host: usize, record: Record<'_>) {
        self.records += 1;
        self.parts.clear();
        let mut parts = Parts { all: &mut self.parts, bytes: self.mode == Mode::Bytes };
        let kind = record.kind();
        parts.number(at.as_nanos() as u64);
        parts.number(host as u64);
        parts.text(kind);
        match record {
            Record::Sent { from, to, payload } | Record::Received { from, to, payload } => {
                parts.address(from);
                parts.address(to);
                parts.content(payload);
            }
            Record::Posted { text, .. } | Record::ToServer(text) | Record::FromServer(text) => {
                parts.content(text.as_bytes());
            }
            Record::Event(event) => {
                print(&mut self.text, event);
                parts.text(&self.text);
            }
            Record::Media(media, start) => media_parts(&mut parts, &mut self.text, media, start),
            Record::Other(other) => {
                print(&mut self.text, other);
                parts.text(&self.text);
            }
        }
        self.all.update(&self.parts);
        if self.log.len() < self.capacity {
            let mut hash = [0; 8];
            hash.copy_from_slice(&Sha256::digest(&self.parts)[..8]);
            self.log.push(Entry { at, host: host as u64, kind, hash });
        }
    }

    /// The digest of what was recorded so far: 64 hexadecimal digits.
    #[must_use]
    pub fn value(&self) -> String {
        let mut all = self.all.clone();
        all.update(self.records.to_be_bytes());
        all.finalize().iter().fold(String::new(), |mut text, byte| {
            // Writing to a string cannot fail.
            let _ = write!(text, "{byte:02x}");
            text
        })
    }

    /// The first record in which two runs differ, in words; `None` where they are equal.
    #[must_use]
    pub fn difference(&self, other: &Self) -> Option<String> {
        if self.value() == other.value() {
            return None;
        }
        let pairs = self.log.iter().zip(&other.log);
        if let Some((number, (a, b))) = pairs.enumerate().find(|(_, (a, b))| a != b) {
            return Some(if (a.at, a.host, a.kind) == (b.at, b.host, b.kind) {
                format!("record {number}: the {a} is not the same")
            } else {
                format!("record {number}: {a} or {b}")
            });
        }
        let shorter = self.log.len().min(other.log.len());
        let (longer, name) =
            if self.log.len() > shorter { (&self.log, "first") } else { (&other.log, "second") };
        Some(match longer.get(shorter) {
            Some(more) if shorter < self.capacity.min(other.capacity) => {
                format!("record {shorter}: only the {name} run has the {more}")
            }
            _ => format!("after record {shorter}, the last that both keep"),
        })
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Digest")
            .field("mode", &self.mode)
            .field("records", &self.records)
            .field("value", &self.value())
            .finish_non_exhaustive()
    }
}

impl fmt::Display for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} of host {} at {:?}", self.kind, self.host, self.at)
    }
}

fn print(text: &mut String, what: &dyn fmt::Debug) {
    text.clear();
    // Writing to a string cannot fail.
    let _ = write!(text, "{what:?}");
}

fn media_parts(parts: &mut Parts<'_>, text: &mut String, media: &Media, start: Instant) {
    let since = |at: Instant| at.saturating_duration_since(start);
    match media {
        Media::Audio { peer, frame } => {
            parts.text(peer.as_str());
            parts.number(since(frame.at).as_nanos() as u64);
            parts.number(frame.delay.as_nanos() as u64);
            parts.raw(&[u8::from(frame.concealed), u8::from(frame.pause)]);
            // Times of capture follow the engine's wall clock, which is not ours in `Shape`.
            if parts.bytes {
                parts.number(u64::from(frame.rtp));
                parts.number(frame.clock_drift_ppm.to_bits());
                parts.capture(frame.capture);
            }
            match &frame.data {
                AudioData::Encoded(audio) => parts.content(&audio.opus),
                AudioData::Decoded(audio) => {
                    let bytes: Vec<u8> =
                        audio.samples.iter().flat_map(|sample| sample.to_le_bytes()).collect();
                    parts.content(&bytes);
                }
                AudioData::Packet(packet) => {
                    let place = (packet.sequence, packet.rtp, packet.dtx, since(packet.arrived));
                    if parts.bytes {
                        print(text, &place);
                        parts.text(text);
                    }
                    parts.content(&packet.payload);
                }
                _ => parts.text("unknown"),
            }
        }
        Media::Video { peer, frame, contiguous, timing } => {
            print(text, &(peer, frame.codec, frame.timestamp, frame.keyframe, contiguous));
            parts.text(text);
            if parts.bytes {
                let place = (timing.rtp, since(timing.at), timing.delay, timing.capture);
                print(text, &(place, timing.framerate, timing.audio_sync_offset_ms));
                parts.text(text);
            }
            parts.content(&frame.data);
        }
        _ => parts.text("unknown"),
    }
}

/// Where the parts of one record go, each after its length: no two records give the same bytes.
struct Parts<'a> {
    all: &'a mut Vec<u8>,
    bytes: bool,
}

impl Parts<'_> {
    fn raw(&mut self, bytes: &[u8]) {
        self.all.extend_from_slice(bytes);
    }

    fn number(&mut self, number: u64) {
        self.raw(&number.to_be_bytes());
    }

    fn address(&mut self, address: SocketAddr) {
        match address.ip() {
            IpAddr::V4(ip) => {
                self.raw(&[4]);
                self.raw(&ip.octets());
            }
            IpAddr::V6(ip) => {
                self.raw(&[6]);
                self.raw(&ip.octets());
            }
        }
        self.raw(&address.port().to_be_bytes());
    }

    fn capture(&mut self, capture: Option<CaptureTime>) {
        self.number(capture.map_or(u64::MAX, |capture| capture.unix_us));
        self.number(capture.map_or(0, |capture| capture.confidence.to_bits()));
    }

    fn text(&mut self, text: &str) {
        self.number(text.len() as u64);
        self.raw(text.as_bytes());
    }

    /// What counts by its length alone in [`Mode::Shape`].
    fn content(&mut self, bytes: &[u8]) {
        self.number(bytes.len() as u64);
        if self.bytes {
            self.raw(bytes);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const AT: Duration = Duration::from_millis(5);

    fn sent(payload: &[u8]) -> Record<'_> {
        let address = SocketAddr::from(([10, 0, 0, 1], 50_000));
        Record::Sent { from: address, to: address, payload }
    }

    fn of(mode: Mode, records: &[(Duration, usize, Record<'_>)]) -> Digest {
        let mut digest = Digest::with_log(mode, 2);
        for (at, host, record) in records {
            digest.record(*at, *host, *record);
        }
        digest
    }

    #[test]
    fn bytes_count_in_one_mode_and_lengths_in_both() {
        let value = |mode, payload| of(mode, &[(AT, 0, sent(payload))]).value();
        assert_ne!(value(Mode::Bytes, b"abc"), value(Mode::Bytes, b"abd"));
        assert_eq!(value(Mode::Shape, b"abc"), value(Mode::Shape, b"abd"));
        assert_ne!(value(Mode::Shape, b"abc"), value(Mode::Shape, b"abcd"));
        assert_ne!(value(Mode::Shape, b"abc"), value(Mode::Bytes, b"abc"));
    }

    #[test]
    fn time_host_kind_and_order_count() {
        let base = of(Mode::Shape, &[(AT, 0, Record::ToServer("a"))]);
        for other in [
            (2 * AT, 0, Record::ToServer("a")),
            (AT, 1, Record::ToServer("a")),
            (AT, 0, Record::FromServer("a")),
            (AT, 0, Record::Posted { to_server: true, text: "a" }),
            (AT, 0, Record::Posted { to_server: false, text: "a" }),
            (AT, 0, Record::ToServer("")),
        ] {
            assert_ne!(of(Mode::Shape, &[other]).value(), base.value(), "{other:?}");
        }
        let (a, b) = ((AT, 0, Record::ToServer("a")), (AT, 0, Record::ToServer("b")));
        assert_ne!(of(Mode::Bytes, &[a, b]).value(), of(Mode::Bytes, &[b, a]).value());
        assert_eq!(of(Mode::Bytes, &[a, b]).value(), of(Mode::Bytes, &[a, b]).value());
    }

    #[test]
    fn the_first_difference_is_named() {
        let (a, b) = ((AT, 0, Record::ToServer("a")), (AT, 0, Record::ToServer("b")));
        let later = (2 * AT, 3, sent(b"abc"));
        let difference = |x: &[_], y: &[_]| of(Mode::Bytes, x).difference(&of(Mode::Bytes, y));
        assert_eq!(difference(&[a, later], &[a, later]), None);
        let same_place = "record 0: the message to the server of host 0 at 5ms is not the same";
        assert_eq!(difference(&[a], &[b]).as_deref(), Some(same_place));
        let apart =
            "record 1: datagram sent of host 3 at 10ms or message to the server of host 0 at 5ms";
        assert_eq!(difference(&[a, later], &[a, b]).as_deref(), Some(apart));
        let more = "record 1: only the second run has the datagram sent of host 3 at 10ms";
        assert_eq!(difference(&[a], &[a, later]).as_deref(), Some(more));
        let beyond = "after record 2, the last that both keep";
        assert_eq!(difference(&[a, a, a], &[a, a, b]).as_deref(), Some(beyond));
        assert_eq!(difference(&[a, a], &[a, a, b]).as_deref(), Some(beyond));
    }
}
