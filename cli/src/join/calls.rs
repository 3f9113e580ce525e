//! Whom to call when: each id that was named, as soon as it is announced, and again after a failure.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use rtcmesh_core::id::PeerId;

/// The longest time between two calls of a peer that cannot be reached.
const MAX_PAUSE: Duration = Duration::from_secs(8);

/// The calls to the ids that were named.
#[derive(Debug)]
pub(super) struct Calls(BTreeMap<PeerId, Call>);

#[derive(Debug, Clone, Copy, Default)]
struct Call {
    announced: bool,
    /// A call is under way, or has succeeded.
    busy: bool,
    failures: u32,
    due: Option<Instant>,
}

impl Calls {
    /// Nobody is announced yet.
    pub(super) fn new(ids: &BTreeSet<PeerId>) -> Self {
        Self(ids.iter().map(|id| (id.clone(), Call::default())).collect())
    }

    /// The peer is announced (again).
    pub(super) fn announced(&mut self, peer: &PeerId, now: Instant) {
        if let Some(call) = self.0.get_mut(peer) {
            call.announced = true;
            call.failures = 0;
            if !call.busy {
                call.due = Some(now);
            }
        }
    }

    /// The peer has left signaling: it cannot be called.
    pub(super) fn gone(&mut self, peer: &PeerId) {
        if let Some(call) = self.0.get_mut(peer) {
            call.announced = false;
            call.due = None;
        }
    }

    /// The peer is connected, whoever called.
    pub(super) fn connected(&mut self, peer: &PeerId) {
        if let Some(call) = self.0.get_mut(peer) {
            *call = Call { announced: call.announced, busy: true, ..Call::default() };
        }
    }

    /// Somebody ended the connection by wish: it is called again when it is announced again.
    pub(super) fn closed(&mut self, peer: &PeerId) {
        if let Some(call) = self.0.get_mut(peer) {
            call.busy = false;
            call.due = None;
        }
    }

    /// The call or the connection failed: it is called again after a while.
    pub(super) fn failed(&mut self, peer: &PeerId, now: Instant) {
        if let Some(call) = self.0.get_mut(peer)
            && call.due.is_none()
        {
            let pause = Duration::from_secs(1 << call.failures.min(3)).min(MAX_PAUSE);
            call.failures = call.failures.saturating_add(1);
            call.busy = false;
            call.due = call.announced.then(|| now + pause);
        }
    }

    /// The next peer to call; to be asked again until there is none.
    pub(super) fn next(&mut self, now: Instant) -> Option<PeerId> {
        let (peer, call) =
            self.0.iter_mut().find(|(_, call)| call.due.is_some_and(|due| due <= now))?;
        call.due = None;
        call.busy = true;
        Some(peer.clone())
    }

    /// When somebody is to be called.
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.0.values().filter_map(|call| call.due).min()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(name: &str) -> PeerId {
        PeerId::new(name).unwrap()
    }

    fn calls() -> (Calls, Instant) {
        (Calls::new(&[id("a"), id("b")].into()), Instant::now())
    }

    #[test]
    fn only_named_peers_are_called_and_at_once() {
        let (mut calls, now) = calls();
        assert_eq!(calls.next(now), None);
        calls.announced(&id("stranger"), now);
        assert_eq!(calls.next(now), None);
        calls.announced(&id("b"), now);
        assert_eq!(calls.deadline(), Some(now));
        assert_eq!(calls.next(now), Some(id("b")));
        assert_eq!((calls.next(now), calls.deadline()), (None, None));
    }

    #[test]
    fn a_failed_call_is_made_again_with_growing_pauses_while_the_peer_is_announced() {
        let (mut calls, mut now) = calls();
        calls.announced(&id("a"), now);
        for pause in [1, 2, 4, 8, 8] {
            assert_eq!(calls.next(now), Some(id("a")));
            calls.failed(&id("a"), now);
            // The event and the result of the call tell of the same failure.
            calls.failed(&id("a"), now);
            assert_eq!(calls.deadline(), Some(now + Duration::from_secs(pause)));
            now += Duration::from_secs(pause);
        }
        calls.gone(&id("a"));
        assert_eq!((calls.next(now), calls.deadline()), (None, None));
        calls.announced(&id("a"), now);
        assert_eq!(calls.next(now), Some(id("a")));
    }

    #[test]
    fn a_connected_peer_is_not_called_and_one_that_left_is_called_when_it_comes_back() {
        let (mut calls, now) = calls();
        calls.connected(&id("a"));
        calls.announced(&id("a"), now);
        assert_eq!(calls.next(now), None);
        calls.closed(&id("a"));
        assert_eq!(calls.next(now + MAX_PAUSE), None);
        calls.gone(&id("a"));
        calls.announced(&id("a"), now);
        assert_eq!(calls.next(now), Some(id("a")));
    }

    #[test]
    fn a_broken_connection_is_made_again() {
        let (mut calls, now) = calls();
        calls.announced(&id("a"), now);
        assert_eq!(calls.next(now), Some(id("a")));
        calls.connected(&id("a"));
        calls.failed(&id("a"), now);
        assert_eq!(calls.next(now + Duration::from_secs(1)), Some(id("a")));
    }
}
