//! What the server does as time passes. Most kinds of timers have one duration, so that each is a queue
//! in the order of time; what has become meaningless meanwhile is skipped when it comes up. Those of
//! negotiations can be taken back: a client may replace its offers faster than they expire.

use std::collections::{BTreeMap, VecDeque};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::announce::Ticket;
use super::room::{Kept, Kind, Offer, Reached};
use super::rpc::RpcError;
use super::{Server, ServerCommand, close, forward};
use crate::id::{LinkId, PeerId};
use crate::time::Deadline;

/// How often a connection is looked at.
const CHECK: Duration = Duration::from_secs(5);
/// A connection is pinged this often (contract).
const PING: Duration = Duration::from_secs(20);
/// A connection from which no pong has come for this long is dropped (contract).
const SILENCE: Duration = Duration::from_secs(45);
/// One from which neither message nor pong has come for this long is dropped in any case (contract).
const IDLE: Duration = Duration::from_secs(300);
/// A connection that has not announced a peer by now is of no use to anybody.
const UNANNOUNCED: Duration = Duration::from_secs(60);
/// An offer without an answer is forgotten after this (contract).
const ANSWER: Duration = Duration::from_secs(30);
/// After the answer candidates follow for so long.
const TRICKLE: Duration = Duration::from_secs(120);
/// The others are told of an absence after this (contract).
const GRACE: Duration = Duration::from_secs(5);
/// The id of an absent peer is reserved for this long (contract).
const RESERVED: Duration = Duration::from_secs(30);
/// The embedder has this long to decide, so that an announce is answered within 10 s (contract).
const DECISION: Duration = Duration::from_secs(9);
/// An address without connections keeps its rate for this long: until its bucket is full.
const ADDRESS: Duration = Duration::from_secs(2);

/// A queue with room for so many keeps it.
const SPARE: usize = 64;

/// Room, offerer and answerer.
type Negotiation = (Arc<str>, PeerId, PeerId);
type Absence = (Arc<str>, PeerId, u64);

/// Names the timer of a negotiation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct TimerKey(Instant, u64);

#[derive(Debug, Default)]
pub(super) struct Timers {
    checks: VecDeque<(Instant, LinkId)>,
    negotiations: BTreeMap<TimerKey, Negotiation>,
    next: u64,
    grace: VecDeque<(Instant, Absence)>,
    reserved: VecDeque<(Instant, Absence)>,
    decisions: VecDeque<(Instant, (LinkId, Ticket))>,
    addresses: VecDeque<(Instant, IpAddr)>,
}

impl Timers {
    pub(super) fn check_later(&mut self, now: Instant, link: LinkId) {
        self.checks.push_back((now + CHECK, link));
    }

    pub(super) fn offered(&mut self, now: Instant, negotiation: Negotiation) -> TimerKey {
        self.arm(now + ANSWER, negotiation)
    }

    pub(super) fn answered(&mut self, now: Instant, negotiation: Negotiation) -> TimerKey {
        self.arm(now + TRICKLE, negotiation)
    }

    fn arm(&mut self, at: Instant, negotiation: Negotiation) -> TimerKey {
        let key = TimerKey(at, self.next);
        self.next += 1;
        self.negotiations.insert(key, negotiation);
        key
    }

    pub(super) fn cancel(&mut self, key: TimerKey) {
        self.negotiations.remove(&key);
    }

    fn pop_negotiation(&mut self, now: Instant) -> Option<Negotiation> {
        let first = self.negotiations.first_entry()?;
        (first.key().0 <= now).then(|| first.remove())
    }

    pub(super) fn absent(&mut self, now: Instant, room: Arc<str>, peer: PeerId, number: u64) {
        self.grace.push_back((now + GRACE, (room.clone(), peer.clone(), number)));
        self.reserved.push_back((now + RESERVED, (room, peer, number)));
    }

    pub(super) fn decide(&mut self, now: Instant, link: LinkId, ticket: Ticket) {
        self.decisions.push_back((now + DECISION, (link, ticket)));
    }

    pub(super) fn forget_address_later(&mut self, now: Instant, address: IpAddr) {
        self.addresses.push_back((now + ADDRESS, address));
    }

    /// The link whose announce a ticket is about. Tickets are in the order of their numbers.
    pub(super) fn link_of(&self, ticket: Ticket) -> Option<LinkId> {
        let index =
            self.decisions.binary_search_by_key(&ticket, |(_, (_, ticket))| *ticket).ok()?;
        self.decisions.get(index).map(|(_, (link, _))| *link)
    }

    /// How many timers all queues have room for.
    #[cfg(test)]
    pub(super) fn room(&self) -> usize {
        let absences = self.grace.capacity() + self.reserved.capacity();
        self.checks.capacity() + absences + self.decisions.capacity() + self.addresses.capacity()
    }

    /// How many timers there are, those included that have become meaningless.
    #[cfg(any(test, feature = "sim"))]
    pub(super) fn len(&self) -> usize {
        let absences = self.grace.len() + self.reserved.len();
        let others = self.decisions.len() + self.addresses.len();
        self.checks.len() + self.negotiations.len() + absences + others
    }

    pub(super) fn poll_timeout(&self) -> Option<Deadline> {
        let first = [
            (self.checks.front().map(|(at, _)| *at), "check a connection"),
            (self.negotiations.keys().next().map(|key| key.0), "the end of a negotiation"),
            (self.grace.front().map(|(at, _)| *at), "tell of an absence"),
            (self.reserved.front().map(|(at, _)| *at), "free an id"),
            (self.decisions.front().map(|(at, _)| *at), "an announce without a decision"),
            (self.addresses.front().map(|(at, _)| *at), "forget an address"),
        ];
        first.into_iter().fold(None, |earliest, (at, why)| {
            Deadline::earliest(earliest, at.map(|at| Deadline::new(at, why)))
        })
    }
}

fn pop<T>(queue: &mut VecDeque<(Instant, T)>, now: Instant) -> Option<T> {
    if queue.front()?.0 > now {
        return None;
    }
    pop_front(queue).map(|(_, value)| value)
}

/// Takes the first; what a crowd needed room for is given back when it is gone. Each time that much has been taken before, so that
/// moving the rest costs little.
pub(super) fn pop_front<T>(queue: &mut VecDeque<T>) -> Option<T> {
    let first = queue.pop_front();
    if queue.capacity() > SPARE && queue.len() < queue.capacity() / 8 {
        queue.shrink_to((2 * queue.len()).max(SPARE / 2));
    }
    first
}

impl Server {
    /// Time has passed. A call before [`Server::poll_timeout`] is a no-op.
    pub fn handle_timeout(&mut self, now: Instant) {
        let now = self.clock.advance(now);
        while let Some(link) = pop(&mut self.timers.checks, now) {
            self.check(now, link);
        }
        while let Some(negotiation) = self.timers.pop_negotiation(now) {
            self.end_negotiation(&negotiation);
        }
        while let Some(absence) = pop(&mut self.timers.grace, now) {
            self.tell_absence(&absence);
        }
        while let Some((room, peer, number)) = pop(&mut self.timers.reserved, now) {
            let members = self.rooms.get(&room).map(|room| &room.members);
            let absent = members.and_then(|members| members.get(&peer)?.absent);
            if absent.is_some_and(|absent| absent.number == number) {
                self.leave(&room, &peer, "network_error");
            }
        }
        while let Some((link, ticket)) = pop(&mut self.timers.decisions, now) {
            if let Some(pending) = self.take_pending(link, ticket) {
                debug_assert_eq!(pending.ticket(), ticket);
                let error = RpcError::internal("the announce was not decided in time");
                self.refuse(link, &error, pending.id());
            }
        }
        while let Some(address) = pop(&mut self.timers.addresses, now) {
            let known = self.addresses.get_mut(&address);
            // One that came and went meanwhile has a later timer of its own.
            if known.is_some_and(|known| known.connections == 0 && known.announces.is_full(now)) {
                self.addresses.remove(&address);
            }
        }
    }

    fn check(&mut self, now: Instant, link: LinkId) {
        let Some(connection) = self.connections.get_mut(&link) else { return };
        let since = |at: Instant| now.saturating_duration_since(at);
        // Messages are no pongs: a stuck reader may still write.
        if since(connection.ponged) >= SILENCE || since(connection.heard) >= IDLE {
            self.counters.silent += 1;
            return self.drop_link(now, link, close::SILENT, "no pong");
        }
        let waits = connection.peer.is_none() && connection.pending.is_none();
        if waits && since(connection.opened) >= UNANNOUNCED {
            return self.drop_link(now, link, close::POLICY, "no announce");
        }
        if since(connection.pinged) >= PING {
            connection.pinged = now;
            self.commands.push_back(ServerCommand::Ping { link });
        }
        self.timers.check_later(now, link);
    }

    /// Forgets a negotiation; the offerer is told where no answer came.
    fn end_negotiation(&mut self, (name, from, to): &Negotiation) {
        let Some(room) = self.rooms.get_mut(name) else { return };
        let offer = room.members.get_mut(from).and_then(|member| member.offers.remove(to));
        let Some(Offer { request, answered: false, .. }) = offer else { return };
        self.counters.offers_expired += 1;
        let text: Arc<str> = forward::disconnected(to, "timeout", Some(&request)).into();
        let kept = || Some(Kept { from: to.clone(), kind: Kind::Expiry, text: text.clone() });
        if let Reached::Link(link) = room.reach(from, kept) {
            self.send(link, text);
        }
    }

    fn tell_absence(&mut self, (name, peer, number): &Absence) {
        let Some(room) = self.rooms.get_mut(name) else { return };
        let Some(member) = room.members.get_mut(peer) else { return };
        let Some(absent) = member.absent.as_mut().filter(|absent| absent.number == *number) else {
            return;
        };
        absent.told = true;
        let joins = absent.joins;
        member.take_kept();
        room.forget(peer, &mut self.timers);
        // Whoever came meanwhile never knew of it.
        let knew = room.members.iter().filter(|(id, other)| *id != peer && other.joined <= joins);
        let links: Vec<LinkId> = knew.filter_map(|(_, other)| other.link).collect();
        let text: Arc<str> = forward::disconnected(peer, "network_error", None).into();
        self.send_all(links, &text);
    }
}
