//! What the server does as time passes. Each kind of timer has one duration, so that each is a queue in
//! the order of time; what has become meaningless meanwhile is skipped when it comes up.

use std::collections::VecDeque;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::announce::Ticket;
use super::rpc::RpcError;
use super::{Server, ServerCommand, close, forward};
use crate::id::{LinkId, PeerId, RequestId};
use crate::time::Deadline;

/// How often a connection is looked at.
const CHECK: Duration = Duration::from_secs(5);
/// A connection is pinged this often (contract).
const PING: Duration = Duration::from_secs(20);
/// A connection from which neither pong nor message has come for this long is dropped (contract).
const SILENCE: Duration = Duration::from_secs(45);
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

type Negotiation = (Arc<str>, PeerId, PeerId, RequestId);
type Absence = (Arc<str>, PeerId, u64);

#[derive(Debug, Default)]
pub(super) struct Timers {
    checks: VecDeque<(Instant, LinkId)>,
    unanswered: VecDeque<(Instant, Negotiation)>,
    answered: VecDeque<(Instant, Negotiation)>,
    grace: VecDeque<(Instant, Absence)>,
    reserved: VecDeque<(Instant, Absence)>,
    decisions: VecDeque<(Instant, (LinkId, Ticket))>,
    addresses: VecDeque<(Instant, IpAddr)>,
}

impl Timers {
    pub(super) fn check_later(&mut self, now: Instant, link: LinkId) {
        self.checks.push_back((now + CHECK, link));
    }

    pub(super) fn offered(
        &mut self,
        now: Instant,
        room: Arc<str>,
        from: PeerId,
        to: PeerId,
        request: RequestId,
    ) {
        self.unanswered.push_back((now + ANSWER, (room, from, to, request)));
    }

    pub(super) fn answered(
        &mut self,
        now: Instant,
        room: Arc<str>,
        from: PeerId,
        to: PeerId,
        request: RequestId,
    ) {
        self.answered.push_back((now + TRICKLE, (room, from, to, request)));
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

    pub(super) fn poll_timeout(&self) -> Option<Deadline> {
        let first = [
            (self.checks.front().map(|(at, _)| *at), "check a connection"),
            (self.unanswered.front().map(|(at, _)| *at), "an offer without an answer"),
            (self.answered.front().map(|(at, _)| *at), "the end of trickling"),
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
    queue.pop_front().map(|(_, value)| value)
}

impl Server {
    /// Time has passed. A call before [`Server::poll_timeout`] is a no-op.
    pub fn handle_timeout(&mut self, now: Instant) {
        let now = self.clock.advance(now);
        while let Some(link) = pop(&mut self.timers.checks, now) {
            self.check(now, link);
        }
        while let Some(negotiation) = pop(&mut self.timers.unanswered, now) {
            self.expire_offer(&negotiation);
        }
        while let Some((room, from, to, request)) = pop(&mut self.timers.answered, now) {
            if let Some(room) = self.rooms.get_mut(&room) {
                let pair = (from, to);
                if room.offers.get(&pair).is_some_and(|o| o.answered && o.request == request) {
                    room.offers.remove(&pair);
                }
            }
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
            if self.addresses.get(&address).is_some_and(|known| known.connections == 0) {
                self.addresses.remove(&address);
            }
        }
    }

    fn check(&mut self, now: Instant, link: LinkId) {
        let Some(connection) = self.connections.get_mut(&link) else { return };
        if now.saturating_duration_since(connection.heard) >= SILENCE {
            self.counters.silent += 1;
            return self.drop_link(now, link, close::SILENT, "no pong");
        }
        let waits = connection.peer.is_none() && connection.pending.is_none();
        if waits && now.saturating_duration_since(connection.opened) >= UNANNOUNCED {
            return self.drop_link(now, link, close::POLICY, "no announce");
        }
        if now.saturating_duration_since(connection.pinged) >= PING {
            connection.pinged = now;
            self.commands.push_back(ServerCommand::Ping { link });
        }
        self.timers.check_later(now, link);
    }

    fn expire_offer(&mut self, (name, from, to, request): &Negotiation) {
        let Some(room) = self.rooms.get_mut(name) else { return };
        let pair = (from.clone(), to.clone());
        let open = room.offers.get(&pair).is_some_and(|o| !o.answered && o.request == *request);
        if !open {
            return;
        }
        room.offers.remove(&pair);
        self.counters.offers_expired += 1;
        let link = room.members.get(from).and_then(|member| member.link);
        if let Some(link) = link {
            self.send(link, forward::disconnected(to, "timeout", Some(request)).into());
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
        room.offers.retain(|(from, to), _| from != peer && to != peer);
        // Whoever came meanwhile never knew of it.
        let knew = room.members.iter().filter(|(id, other)| *id != peer && other.joined <= joins);
        let links: Vec<LinkId> = knew.filter_map(|(_, other)| other.link).collect();
        let text: Arc<str> = forward::disconnected(peer, "network_error", None).into();
        self.send_all(links, &text);
    }
}
