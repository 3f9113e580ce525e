//! Messages to peers that wait for the link, and those that were sent and not yet acknowledged.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use crate::id::{PeerId, RequestId};
use crate::signaling::message::ToPeer;
use crate::trace::state::saved;

/// What waits is forgotten after this long: the server forgets an offer then too.
const TIMEOUT: Duration = Duration::from_secs(30);
/// The most messages, and their bytes, that wait.
const MAX_WAITING: usize = 4_096;
const MAX_WAITING_BYTES: usize = 8 * 1024 * 1024;

/// A message that was sent.
#[derive(Debug)]
struct Sent {
    /// The id of the request; candidates have none.
    id: Option<u64>,
    at: Instant,
    message: ToPeer,
    /// It was sent before, on a link that broke before its reply.
    again: bool,
}

saved!(struct Sent { id, at, message, again });

/// What a request was about that has been answered.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Answered {
    pub(super) to: PeerId,
    pub(super) request: RequestId,
    /// It had been sent before: its first copy may have arrived.
    pub(super) again: bool,
}

/// A message that waits for the link.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Waiting {
    since: Instant,
    pub(super) message: ToPeer,
    pub(super) again: bool,
}

saved!(struct Waiting { since, message, again });

#[derive(Debug, Default)]
pub(super) struct Outbox {
    waiting: VecDeque<Waiting>,
    bytes: usize,
    sent: VecDeque<Sent>,
    /// Messages that found no room or grew too old.
    pub(super) dropped: u64,
}

saved!(struct Outbox { waiting, bytes, sent, dropped });

impl Outbox {
    /// Keeps a message until the link is up. A newer one to the same peer takes the place of what it makes
    /// meaningless.
    pub(super) fn keep(&mut self, now: Instant, message: ToPeer) {
        self.wait(Waiting { since: now, message, again: false });
    }

    fn wait(&mut self, waiting: Waiting) {
        let message = &waiting.message;
        let of_other = |kept: &ToPeer| match message {
            ToPeer::Offer { to, .. } => {
                kept.to() != to || matches!(kept, ToPeer::Disconnect { .. } | ToPeer::Answer { .. })
            }
            ToPeer::Disconnect { to, request, .. } => {
                kept.to() != to || request.is_none() || kept.request() != request.as_ref()
            }
            _ => true,
        };
        let before = self.waiting.len();
        self.waiting.retain(|kept| of_other(&kept.message));
        if self.waiting.len() != before {
            self.bytes = self.waiting.iter().map(|kept| kept.message.size()).sum();
        }
        let size = message.size();
        if self.waiting.len() >= MAX_WAITING || self.bytes + size > MAX_WAITING_BYTES {
            self.dropped += 1;
            return;
        }
        self.bytes += size;
        self.waiting.push_back(waiting);
    }

    /// Takes what waits and is young enough, in order.
    pub(super) fn take(&mut self, now: Instant) -> Vec<Waiting> {
        self.bytes = 0;
        let mut young = Vec::new();
        for waiting in self.waiting.drain(..) {
            if now < waiting.since + TIMEOUT {
                young.push(waiting);
            } else {
                self.dropped += 1;
            }
        }
        young
    }

    /// Remembers a message as sent; `id` of those that will be answered.
    pub(super) fn sent(&mut self, now: Instant, id: Option<u64>, message: ToPeer, again: bool) {
        // Without a request before them, candidates follow one that has been acknowledged.
        if id.is_none() && self.sent.is_empty() {
            return;
        }
        if self.sent.len() >= MAX_WAITING {
            self.sent.pop_front();
        }
        self.sent.push_back(Sent { id, at: now, message, again });
    }

    /// A request was answered: gives what it was about.
    pub(super) fn answered(&mut self, id: u64) -> Option<Answered> {
        let index = self.sent.iter().position(|sent| sent.id == Some(id))?;
        let sent = self.sent.remove(index)?;
        if self.sent.iter().all(|sent| sent.id.is_none()) {
            // With its room: a burst of calls takes tens of kilobytes.
            self.sent = VecDeque::new();
        }
        let (to, request) = (sent.message.to().clone(), sent.message.request()?.clone());
        Some(Answered { to, request, again: sent.again })
    }

    /// Nothing will be sent any more: lets go of all.
    pub(super) fn clear(&mut self) {
        *self = Self { dropped: self.dropped, ..Self::default() };
    }

    /// Whether it has no room in memory.
    #[cfg(test)]
    pub(super) fn is_bare(&self) -> bool {
        self.waiting.capacity() == 0 && self.sent.capacity() == 0
    }

    /// The link is lost: what was not acknowledged waits again, in its order.
    pub(super) fn link_lost(&mut self) {
        let again = std::mem::take(&mut self.sent);
        let later = std::mem::take(&mut self.waiting);
        self.bytes = 0;
        for Sent { at, message, .. } in again {
            self.wait(Waiting { since: at, message, again: true });
        }
        for waiting in later {
            self.wait(waiting);
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

    fn messages(waiting: Vec<Waiting>) -> Vec<ToPeer> {
        waiting.into_iter().map(|waiting| waiting.message).collect()
    }

    #[test]
    fn newer_messages_replace_what_they_make_meaningless() {
        let now = Instant::now();
        let mut outbox = Outbox::default();
        for message in [offer("a", "1"), candidate("a", "1"), offer("b", "1"), offer("a", "2")] {
            outbox.keep(now, message);
        }
        assert_eq!(messages(outbox.take(now)), [offer("b", "1"), offer("a", "2")]);
        for message in [offer("a", "3"), candidate("a", "3"), disconnect("a", "3")] {
            outbox.keep(now, message);
        }
        assert_eq!(messages(outbox.take(now)), [disconnect("a", "3")]);
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
            outbox.sent(now, Some(1), offer("a", "1"), false);
        }
        assert_eq!(outbox.sent.len(), MAX_WAITING);
    }

    #[test]
    fn what_is_acknowledged_and_what_is_never_sent_keep_no_room() {
        let now = Instant::now();
        let mut outbox = Outbox::default();
        outbox.sent(now, Some(1), offer("a", "1"), false);
        (0..50).for_each(|_| outbox.sent(now, None, candidate("a", "1"), false));
        assert!(!outbox.is_bare());
        assert!(outbox.answered(1).is_some());
        assert!(outbox.is_bare());
        outbox.keep(now, offer("a", "2"));
        outbox.dropped = 3;
        outbox.clear();
        assert!(outbox.is_bare() && outbox.dropped == 3 && outbox.take(now).is_empty());
    }

    #[test]
    fn what_was_not_acknowledged_is_sent_again_with_its_candidates() {
        let now = Instant::now();
        let mut outbox = Outbox::default();
        outbox.sent(now, Some(1), offer("a", "1"), false);
        outbox.sent(now, None, candidate("a", "1"), false);
        let answered = Answered { to: peer("a"), request: request("1"), again: false };
        assert_eq!(outbox.answered(1), Some(answered));
        assert_eq!(outbox.answered(1), None);
        outbox.sent(now, None, candidate("a", "1"), false);
        outbox.sent(now, Some(2), offer("b", "2"), false);
        outbox.sent(now, None, candidate("b", "2"), false);
        outbox.link_lost();
        let again = outbox.take(now);
        assert!(again.iter().all(|waiting| waiting.again));
        assert_eq!(messages(again), [offer("b", "2"), candidate("b", "2")]);
    }
}
