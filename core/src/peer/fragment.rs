//! Large messages in pieces, over the channel `rtcmesh/1` between two rtcmesh peers.
//!
//! Each fragment begins with 13 bytes, little endian: u32 message, u32 offset, u32 total, u8 kind
//! (0 text, 1 binary, 2 JSON). The channel is reliable and ordered, so the fragments of a message
//! arrive in order, but fragments of several messages may alternate.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::media::DataMessage;
use crate::trace::state::saved;

/// The bytes of the fragment header.
pub(super) const HEADER: usize = 16 * 1024 - DataMessage::MAX_UNFRAGMENTED;

/// The bytes of a message in one fragment. Small enough that what follows it waits little.
pub(super) const PAYLOAD: usize = DataMessage::MAX_UNFRAGMENTED;

/// The most bytes of unfinished messages kept per peer, and of messages waiting to be sent.
pub(super) const MAX_BYTES: usize = 32 * 1024 * 1024;

/// An unfinished message is given up when nothing of it has arrived for this long.
const TIMEOUT: Duration = Duration::from_secs(30);

/// The most unfinished messages: each costs some memory before its first byte.
const MAX_MESSAGES: usize = 64;

/// The most messages that wait to be sent: empty ones cost memory too.
const MAX_WAITING: usize = 16 * 1024;

/// JSON that takes more memory than this once it is read arrives as text: a byte of it may take 16.
const MAX_JSON: usize = 64 * 1024 * 1024;

/// What a message is made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Kind {
    Text = 0,
    Binary = 1,
    Json = 2,
}

saved!(
    enum Kind {
        Text,
        Binary,
        Json,
    }
);

impl Kind {
    fn from_byte(byte: u8) -> Option<Self> {
        match byte {
            0 => Some(Self::Text),
            1 => Some(Self::Binary),
            2 => Some(Self::Json),
            _ => None,
        }
    }
}

/// Messages on their way out, one fragment at a time, in the order in which they were sent.
#[derive(Debug, Default)]
pub(super) struct Outgoing {
    queue: VecDeque<(u32, Kind, Bytes, usize)>,
    next_message: u32,
    queued: usize,
}

saved!(struct Outgoing { queue, next_message, queued });

/// The shared bytes of a message.
#[derive(Debug, Clone)]
pub(super) enum Bytes {
    Shared(Arc<[u8]>),
    Text(Arc<str>),
    Owned(Arc<String>),
}

saved!(
    enum Bytes {
        Shared(a),
        Text(a),
        Owned(a),
    }
);

impl Bytes {
    pub(super) fn as_slice(&self) -> &[u8] {
        match self {
            Self::Shared(bytes) => bytes,
            Self::Text(text) => text.as_bytes(),
            Self::Owned(text) => text.as_bytes(),
        }
    }
}

impl Outgoing {
    /// Queues a message, or gives false where it would not fit beside what waits already.
    pub(super) fn push(&mut self, kind: Kind, bytes: Bytes) -> bool {
        let size = bytes.as_slice().len();
        if self.queued + size > MAX_BYTES || self.queue.len() >= MAX_WAITING {
            return false;
        }
        self.queued += size;
        self.queue.push_back((self.next_message, kind, bytes, 0));
        self.next_message = self.next_message.wrapping_add(1);
        true
    }

    /// Writes the next fragment into `out`; false where there is none.
    pub(super) fn peek(&self, out: &mut Vec<u8>) -> bool {
        let Some((message, kind, bytes, offset)) = self.queue.front() else { return false };
        let bytes = bytes.as_slice();
        let end = (offset + PAYLOAD).min(bytes.len());
        out.clear();
        // Sizes are at most 16 MB: they fit.
        for field in [*message, *offset as u32, bytes.len() as u32] {
            out.extend_from_slice(&field.to_le_bytes());
        }
        out.push(*kind as u8);
        out.extend_from_slice(&bytes[*offset..end]);
        true
    }

    /// The fragment last peeked at has been sent.
    pub(super) fn advance(&mut self) {
        let Some((_, _, bytes, offset)) = self.queue.front_mut() else { return };
        let size = bytes.as_slice().len();
        let sent = PAYLOAD.min(size - *offset);
        *offset += sent;
        self.queued -= sent;
        if *offset >= size {
            self.queue.pop_front();
        }
    }

    /// Bytes not yet handed to the channel.
    pub(super) fn queued(&self) -> usize {
        self.queued
    }

    /// Messages not wholly handed to the channel.
    pub(super) fn messages(&self) -> usize {
        self.queue.len()
    }
}

/// Messages on their way in.
#[derive(Debug, Default)]
pub(super) struct Reassembly {
    messages: BTreeMap<u32, Partial>,
    bytes: usize,
}

saved!(struct Reassembly { messages, bytes });

#[derive(Debug)]
struct Partial {
    kind: Kind,
    total: usize,
    data: Vec<u8>,
    touched: Instant,
}

saved!(struct Partial { kind, total, data, touched });

/// Why a fragment was dropped, together with the message that it belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Rejected {
    /// No header, an unknown kind, or numbers that contradict each other.
    Malformed,
    /// More unfinished messages than are kept.
    Overflow,
}

impl Reassembly {
    /// Takes a fragment in; gives the message that it completes, which `finish` makes.
    pub(super) fn push(
        &mut self,
        now: Instant,
        fragment: &[u8],
        finish: impl FnOnce(Kind, Vec<u8>) -> Option<DataMessage>,
    ) -> Result<Option<DataMessage>, Rejected> {
        let (message, offset, total, kind, payload) = parse(fragment).ok_or(Rejected::Malformed)?;
        if offset == 0 {
            // The same number again: its sender has forgotten the old one, so do we.
            self.forget(message);
            if self.messages.len() >= MAX_MESSAGES {
                return Err(Rejected::Overflow);
            }
            // What was announced is not allocated: memory follows what has really arrived.
            let partial = Partial { kind, total, data: Vec::new(), touched: now };
            self.messages.insert(message, partial);
        }
        let fits = self.bytes + payload.len() <= MAX_BYTES;
        let Some(partial) = self.messages.get_mut(&message) else {
            return Err(Rejected::Malformed);
        };
        let expected = partial.kind == kind && partial.total == total;
        if !expected || partial.data.len() != offset {
            self.forget(message);
            return Err(Rejected::Malformed);
        }
        if !fits {
            self.forget(message);
            return Err(Rejected::Overflow);
        }
        partial.data.extend_from_slice(payload);
        partial.touched = now;
        self.bytes += payload.len();
        if partial.data.len() < total {
            return Ok(None);
        }
        let data = self.forget(message).unwrap_or_default();
        finish(kind, data).map(Some).ok_or(Rejected::Malformed)
    }

    fn forget(&mut self, message: u32) -> Option<Vec<u8>> {
        let partial = self.messages.remove(&message)?;
        self.bytes -= partial.data.len();
        Some(partial.data)
    }

    /// Gives up what has stalled; tells how many messages that were.
    pub(super) fn expire(&mut self, now: Instant) -> usize {
        let before = self.messages.len();
        let mut freed = 0;
        self.messages.retain(|_, partial| {
            let keep = now < partial.touched + TIMEOUT;
            freed += if keep { 0 } else { partial.data.len() };
            keep
        });
        self.bytes -= freed;
        before - self.messages.len()
    }

    #[inline]
    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        if self.messages.is_empty() {
            return None;
        }
        let oldest = self.messages.values().map(|partial| partial.touched).min()?;
        Some(oldest + TIMEOUT)
    }
}

fn parse(fragment: &[u8]) -> Option<(u32, usize, usize, Kind, &[u8])> {
    let (header, payload) = fragment.split_at_checked(HEADER)?;
    let field = |at: usize| {
        let bytes: [u8; 4] = header.get(at..at + 4)?.try_into().ok()?;
        Some(u32::from_le_bytes(bytes))
    };
    let (message, offset, total) = (field(0)?, field(4)? as usize, field(8)? as usize);
    let kind = Kind::from_byte(header[12])?;
    let whole = total <= DataMessage::MAX_SIZE && offset.checked_add(payload.len())? <= total;
    // An empty fragment of a message that is not empty would be progress that is none.
    (whole && (!payload.is_empty() || total == 0))
        .then_some((message, offset, total, kind, payload))
}

/// Makes a message of its bytes; `None` where they are none of its kind.
pub(super) fn finish(kind: Kind, data: Vec<u8>) -> Option<DataMessage> {
    match kind {
        Kind::Binary => Some(DataMessage::Binary(data.into())),
        Kind::Text => Some(DataMessage::Text(String::from_utf8(data).ok()?.into())),
        Kind::Json if json_memory(&data) > MAX_JSON => {
            serde_json::from_slice::<serde::de::IgnoredAny>(&data).ok()?;
            Some(DataMessage::Text(String::from_utf8(data).ok()?.into()))
        }
        Kind::Json => Some(DataMessage::Json(serde_json::from_slice(&data).ok()?)),
    }
}

/// The most memory that JSON takes once it is read, about: each value stands behind one of these bytes.
/// Those within strings count too, which errs on the safe side.
fn json_memory(json: &[u8]) -> usize {
    let values = json.iter().filter(|byte| matches!(byte, b',' | b':' | b'[' | b'{')).count();
    json.len() + values * size_of::<serde_json::Value>()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn send_all(outgoing: &mut Outgoing, incoming: &mut Reassembly) -> Vec<DataMessage> {
        let now = Instant::now();
        let mut fragment = Vec::new();
        let mut messages = Vec::new();
        while outgoing.peek(&mut fragment) {
            outgoing.advance();
            messages.extend(incoming.push(now, &fragment, finish).unwrap());
        }
        messages
    }

    #[test]
    fn the_largest_message_and_the_empty_one_pass() {
        let mut outgoing = Outgoing::default();
        let large: Arc<[u8]> = vec![7; DataMessage::MAX_SIZE].into();
        assert!(outgoing.push(Kind::Binary, Bytes::Shared(large.clone())));
        assert!(outgoing.push(Kind::Text, Bytes::Text("".into())));
        assert!(outgoing.push(Kind::Json, Bytes::Owned(Arc::new("[1]".to_owned()))));
        assert!(!outgoing.push(Kind::Binary, Bytes::Shared(vec![0; MAX_BYTES].into())));
        let mut incoming = Reassembly::default();
        let messages = send_all(&mut outgoing, &mut incoming);
        let json = DataMessage::Json(serde_json::json!([1]));
        assert_eq!(messages, [DataMessage::Binary(large), DataMessage::text(""), json]);
        assert_eq!((outgoing.queued(), outgoing.messages(), incoming.bytes), (0, 0, 0));
    }

    #[test]
    fn empty_messages_do_not_wait_without_end() {
        let mut outgoing = Outgoing::default();
        let taken =
            (0..2 * MAX_WAITING).filter(|_| outgoing.push(Kind::Text, Bytes::Text("".into())));
        assert_eq!(taken.count(), MAX_WAITING);
    }

    #[test]
    fn json_that_would_take_too_much_memory_arrives_as_text() {
        let small = b"[0,0]".to_vec();
        assert!(matches!(finish(Kind::Json, small), Some(DataMessage::Json(_))));
        let mut large = "[0".to_owned() + &",0".repeat(4 * 1024 * 1024);
        assert_eq!(
            finish(Kind::Json, large.clone().into()),
            None,
            "it has to be JSON all the same"
        );
        large.push(']');
        assert_eq!(finish(Kind::Json, large.clone().into()), Some(DataMessage::text(large)));
    }

    #[test]
    fn a_stalled_message_is_given_up() {
        let now = Instant::now();
        let mut outgoing = Outgoing::default();
        outgoing.push(Kind::Binary, Bytes::Shared(vec![1; PAYLOAD + 1].into()));
        let mut fragment = Vec::new();
        outgoing.peek(&mut fragment);
        let mut incoming = Reassembly::default();
        assert_eq!(incoming.push(now, &fragment, finish), Ok(None));
        let deadline = incoming.poll_timeout().unwrap();
        assert_eq!(incoming.expire(deadline - Duration::from_millis(1)), 0);
        assert_eq!(incoming.expire(deadline), 1);
        assert_eq!((incoming.bytes, incoming.poll_timeout()), (0, None));
    }

    #[test]
    fn what_does_not_follow_is_dropped_and_disturbs_nothing_else() {
        let now = Instant::now();
        let mut incoming = Reassembly::default();
        let fragment = |message: u32, offset: u32, total: u32, kind: u8, payload: &[u8]| {
            let mut bytes = Vec::new();
            for field in [message, offset, total] {
                bytes.extend_from_slice(&field.to_le_bytes());
            }
            bytes.push(kind);
            bytes.extend_from_slice(payload);
            bytes
        };
        assert_eq!(incoming.push(now, &fragment(1, 0, 4, 1, b"ab"), finish), Ok(None));
        for bad in [
            fragment(2, 2, 4, 1, b"ab"),
            fragment(3, 0, 4, 9, b"ab"),
            fragment(4, 0, 1, 1, b"ab"),
            fragment(5, 0, 1, 1, b""),
            fragment(6, 0, u32::MAX, 1, b"ab"),
            fragment(7, 0, 2, 0, b"\xff\xff"),
            vec![0; HEADER - 1],
        ] {
            assert_eq!(incoming.push(now, &bad, finish), Err(Rejected::Malformed), "{bad:?}");
        }
        let done = incoming.push(now, &fragment(1, 2, 4, 1, b"cd"), finish).unwrap();
        assert_eq!(done, Some(DataMessage::Binary(b"abcd".as_slice().into())));
    }

    proptest! {
        #[test]
        fn arbitrary_fragments_never_grow_memory(
            fragments in prop::collection::vec(
                (0u32..100, 0u32..40, 0u32..40, 0u8..4, prop::collection::vec(any::<u8>(), 0..20)),
                0..300,
            )
        ) {
            let now = Instant::now();
            let mut incoming = Reassembly::default();
            for (message, offset, total, kind, payload) in fragments {
                let mut bytes = Vec::new();
                for field in [message, offset, total] {
                    bytes.extend_from_slice(&field.to_le_bytes());
                }
                bytes.push(kind);
                bytes.extend_from_slice(&payload);
                let _ = incoming.push(now, &bytes, finish);
                let held: usize = incoming.messages.values().map(|p| p.data.len()).sum();
                prop_assert_eq!(held, incoming.bytes);
                prop_assert!(incoming.messages.len() <= MAX_MESSAGES);
            }
        }
    }
}
