//! Candidates that overtake their offer or answer (RFC 8838, section 9): held until it comes.

use std::collections::{BTreeMap, VecDeque};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::time::{Duration, Instant};

use crate::id::{PeerId, RequestId};
use crate::signaling::message::Trickled;
use crate::trace::state::saved;

/// Candidates per negotiation: real peers send below 20.
const MAX_CANDIDATES: usize = 64;
/// Negotiations whose candidates wait.
const MAX_NEGOTIATIONS: usize = 32;
/// How long they wait: no answer takes longer (signaling contract).
const TIMEOUT: Duration = Duration::from_secs(30);
/// Negotiations that are remembered as begun, and for how long: the server forwards candidates for two
/// minutes after an answer.
const MAX_SEEN: usize = 4_096;
const REMEMBERED: Duration = Duration::from_secs(150);

type Negotiation = (PeerId, RequestId);

#[derive(Debug, Default)]
pub(super) struct Held {
    waiting: BTreeMap<Negotiation, (Instant, Vec<Trickled>)>,
    /// With a digest of the description: the same one again is a copy.
    seen: BTreeMap<Negotiation, u64>,
    order: VecDeque<(Instant, Negotiation)>,
}

saved!(struct Held { waiting, seen, order });

impl Held {
    /// An offer or an answer came: gives the candidates that waited for it, in their order; `None`: it has
    /// come before, since its sender did not see it acknowledged.
    pub(super) fn described(
        &mut self,
        now: Instant,
        from: &PeerId,
        request: &RequestId,
        sdp: &str,
    ) -> Option<Vec<Trickled>> {
        let negotiation = (from.clone(), request.clone());
        let mut hasher = DefaultHasher::new();
        sdp.hash(&mut hasher);
        let digest = hasher.finish();
        match self.seen.insert(negotiation.clone(), digest) {
            Some(before) if before == digest => return None,
            Some(_) => {}
            None => self.order.push_back((now, negotiation.clone())),
        }
        let waited = self.waiting.remove(&negotiation).map(|(_, candidates)| candidates);
        while let Some((since, _)) = self.order.front()
            && (self.order.len() > MAX_SEEN || now >= *since + REMEMBERED)
            && let Some((_, oldest)) = self.order.pop_front()
        {
            self.seen.remove(&oldest);
        }
        Some(waited.unwrap_or_default())
    }

    /// A candidate came: gives it back where its offer or answer has come; `Err`: there is no room to
    /// hold it.
    pub(super) fn candidate(
        &mut self,
        now: Instant,
        candidate: Trickled,
    ) -> Result<Option<Trickled>, Full> {
        let negotiation = (candidate.from.clone(), candidate.request.clone());
        if self.seen.contains_key(&negotiation) {
            return Ok(Some(candidate));
        }
        self.expire(now);
        if self.waiting.len() >= MAX_NEGOTIATIONS && !self.waiting.contains_key(&negotiation) {
            return Err(Full);
        }
        let (_, waiting) = self.waiting.entry(negotiation).or_insert((now, Vec::new()));
        if waiting.len() >= MAX_CANDIDATES {
            return Err(Full);
        }
        waiting.push(candidate);
        Ok(None)
    }

    /// Forgets what has waited too long. Needs no timer: memory is bounded without it.
    fn expire(&mut self, now: Instant) {
        self.waiting.retain(|_, (since, _)| now < *since + TIMEOUT);
    }
}

/// No room to hold a candidate.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Full;

#[cfg(test)]
mod tests {
    use super::*;

    fn candidate(request: &str, n: u16) -> Trickled {
        Trickled {
            from: PeerId::new("a").unwrap(),
            request: RequestId::new(request).unwrap(),
            candidate: format!("candidate:{n}"),
            mid: None,
            index: Some(n),
        }
    }

    #[test]
    fn early_candidates_wait_in_order_and_late_ones_pass() {
        let now = Instant::now();
        let mut held = Held::default();
        for n in 0..3 {
            assert!(held.candidate(now, candidate("r", n)).unwrap().is_none());
        }
        let from = PeerId::new("a").unwrap();
        let request = RequestId::new("r").unwrap();
        let waited = held.described(now, &from, &request, "v=0").unwrap();
        let indices: Vec<_> = waited.iter().map(|candidate| candidate.index).collect();
        assert_eq!(indices, [Some(0), Some(1), Some(2)]);
        assert!(held.candidate(now, candidate("r", 4)).unwrap().is_some());
        assert_eq!(held.described(now, &from, &request, "v=0").map(|waited| waited.len()), None);
        assert!(held.described(now, &from, &request, "another").unwrap().is_empty());
    }

    #[test]
    fn what_waits_is_bounded_and_expires() {
        let now = Instant::now();
        let mut held = Held::default();
        for n in 0..MAX_CANDIDATES as u16 {
            held.candidate(now, candidate("r", n)).unwrap();
        }
        assert_eq!(held.candidate(now, candidate("r", 0)).unwrap_err(), Full);
        for n in 1..MAX_NEGOTIATIONS {
            held.candidate(now, candidate(&n.to_string(), 0)).unwrap();
        }
        assert_eq!(held.candidate(now, candidate("one more", 0)).unwrap_err(), Full);
        assert!(held.candidate(now + TIMEOUT, candidate("one more", 0)).unwrap().is_none());
        assert_eq!(held.waiting.len(), 1);
        for n in 0..2 * MAX_SEEN {
            let request = RequestId::new(n.to_string()).unwrap();
            held.described(now, &PeerId::new("b").unwrap(), &request, "v=0").unwrap();
        }
        assert_eq!((held.seen.len(), held.order.len()), (MAX_SEEN, MAX_SEEN));
        let later = now + REMEMBERED;
        let request = RequestId::new("later").unwrap();
        held.described(later, &PeerId::new("b").unwrap(), &request, "v=0").unwrap();
        assert_eq!((held.seen.len(), held.order.len()), (1, 1));
    }
}
