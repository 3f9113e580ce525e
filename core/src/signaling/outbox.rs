//! Messages to peers that wait for the link, and those that were sent and not yet acknowledged.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use crate::id::{PeerId, RequestId};
use crate::signaling::message::ToPeer;

/// What waits is forgotten after this long: the server forgets an offer then too.
const TIMEOUT: Duration = Duration::from_secs(30);
/// The most messages, and their bytes, that wait.
const MAX_WAITING: usize = 4_096;
const MAX_WAITING_BYTES: usize = 8 * 1024 * 1024;

/// A message that was sent as a request.
#[derive(Debug)]
struct Sent {
    /// The id of the request; candidates have none.
    id: Option<u64>,
    at: Instant,
    message: ToPeer,
}

#[derive(Debug, Default)]
pub(super) struct Outbox {
    waiting: VecDeque<(Instant, ToPeer)>,
    bytes: usize,
    sent: VecDeque<Sent>,
    /// Messages that found no room or grew too old.
    pub(super) dropped: u64,
}

impl Outbox {
    /// Keeps a message until the link is up. A newer one to the same peer takes the place of what it makes
    /// meaningless.
    pub(super) fn keep(&mut self, now: Instant, message: ToPeer) {
        let of_other = |kept: &ToPeer| match &message {
            ToPeer::Offer { to, .. } => {
                kept.to() != to || matches!(kept, ToPeer::Disconnect { .. } | ToPeer::Answer { .. })
            }
            ToPeer::Disconnect { to, request, .. } => {
                kept.to() != to || request.is_none() || kept.request() != request.as_ref()
            }
            _ => true,
        };
        let before = self.waiting.len();
        self.waiting.retain(|(_, kept)| of_other(kept));
        if self.waiting.len() != before {
            self.bytes = self.waiting.iter().map(|(_, kept)| kept.size()).sum();
        }
        let size = message.size();
        if self.waiting.len() >= MAX_WAITING || self.bytes + size > MAX_WAITING_BYTES {
            self.dropped += 1;
            return;
        }
        self.bytes += size;
        self.waiting.push_back((now, message));
    }

    /// Takes what waits and is young enough, in order.
    pub(super) fn take(&mut self, now: Instant) -> Vec<ToPeer> {
        self.bytes = 0;
        let mut young = Vec::new();
        for (since, message) in self.waiting.drain(..) {
            if now < since + TIMEOUT {
                young.push(message);
            } else {
                self.dropped += 1;
            }
        }
        young
    }

    /// Remembers a message as sent; `id` of those that will be answered.
    pub(super) fn sent(&mut self, now: Instant, id: Option<u64>, message: ToPeer) {
        // Without a request before them, candidates follow one that has been acknowledged.
        if id.is_none() && self.sent.is_empty() {
            return;
        }
        if self.sent.len() >= MAX_WAITING {
            self.sent.pop_front();
        }
        self.sent.push_back(Sent { id, at: now, message });
    }

    /// A request was answered: gives whom and what it was about.
    pub(super) fn answered(&mut self, id: u64) -> Option<(PeerId, Option<RequestId>)> {
        let index = self.sent.iter().position(|sent| sent.id == Some(id))?;
        let sent = self.sent.remove(index)?;
        if self.sent.iter().all(|sent| sent.id.is_none()) {
            self.sent.clear();
        }
        Some((sent.message.to().clone(), sent.message.request().cloned()))
    }

    /// The link is lost: what was not acknowledged waits again, in its order.
    pub(super) fn link_lost(&mut self) {
        let again = std::mem::take(&mut self.sent);
        let later = std::mem::take(&mut self.waiting);
        self.bytes = 0;
        for sent in again {
            self.keep(sent.at, sent.message);
        }
        for (at, message) in later {
            self.keep(at, message);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::signaling::DisconnectReason;

    fn peer(name: &str) -> PeerId {
        PeerId::new(name).unwrap()
    }

    fn request(name: &str) -> RequestId {
        RequestId::new(name).unwrap()
    }

    fn offer(to: &str, name: &str) -> ToPeer {
        ToPeer::Offer { to: peer(to), request: request(name), sdp: "v=0".into() }
    }

    fn candidate(to: &str, name: &str) -> ToPeer {
        let candidate = "candidate:1".into();
        ToPeer::Candidate { to: peer(to), request: request(name), candidate, mid: None, index: 0 }
    }

    fn disconnect(to: &str, name: &str) -> ToPeer {
        let reason = DisconnectReason::UserRequested;
        ToPeer::Disconnect { to: peer(to), reason, request: Some(request(name)) }
    }

    #[test]
    fn newer_messages_replace_what_they_make_meaningless() {
        let now = Instant::now();
        let mut outbox = Outbox::default();
        for message in [offer("a", "1"), candidate("a", "1"), offer("b", "1"), offer("a", "2")] {
            outbox.keep(now, message);
        }
        assert_eq!(outbox.take(now), [offer("b", "1"), offer("a", "2")]);
        for message in [offer("a", "3"), candidate("a", "3"), disconnect("a", "3")] {
            outbox.keep(now, message);
        }
        assert_eq!(outbox.take(now), [disconnect("a", "3")]);
    }

    #[test]
    fn old_messages_are_forgotten_and_memory_is_bounded() {
        let now = Instant::now();
        let mut outbox = Outbox::default();
        outbox.keep(now, offer("a", "1"));
        assert!(outbox.take(now + TIMEOUT).is_empty());
        for n in 0..2 * MAX_WAITING {
            outbox.keep(now, candidate("a", &n.to_string()));
        }
        assert_eq!(outbox.take(now).len(), MAX_WAITING);
        for _ in 0..2 * MAX_WAITING {
            outbox.sent(now, Some(1), offer("a", "1"));
        }
        assert_eq!(outbox.sent.len(), MAX_WAITING);
    }

    #[test]
    fn what_was_not_acknowledged_is_sent_again_with_its_candidates() {
        let now = Instant::now();
        let mut outbox = Outbox::default();
        outbox.sent(now, Some(1), offer("a", "1"));
        outbox.sent(now, None, candidate("a", "1"));
        assert_eq!(outbox.answered(1), Some((peer("a"), Some(request("1")))));
        assert_eq!(outbox.answered(1), None);
        outbox.sent(now, None, candidate("a", "1"));
        outbox.sent(now, Some(2), offer("b", "2"));
        outbox.sent(now, None, candidate("b", "2"));
        outbox.link_lost();
        assert_eq!(outbox.take(now), [offer("b", "2"), candidate("b", "2")]);
    }
}
