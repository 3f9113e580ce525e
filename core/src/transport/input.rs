//! What comes in: datagrams, reports of resources, the passing of time. Nothing here can fail.

use std::net::SocketAddr;
use std::time::Instant;

use super::{Phase, Transport};
use crate::error::StartError;
use crate::net::{Datagram, IoEvent};
use crate::peer::Peer;
use crate::transport::demux::Slot;
use crate::transport::event::Outcome;
use crate::transport::record::Call;

impl Transport {
    /// A datagram was received.
    pub fn handle_datagram(&mut self, now: Instant, datagram: Datagram<'_>) {
        if let Some(trace) = self.trace.take() {
            return self.traced(
                trace,
                now,
                |tape| Call::datagram(tape, &datagram),
                |t| t.handle_datagram(now, datagram),
            );
        }
        let now = self.clock.advance(now);
        self.counts.datagrams_in += 1;
        let Datagram { socket, remote, payload } = datagram;
        let found = self
            .sockets
            .local(socket)
            .and_then(|local| Some((local, self.demux.find(socket, remote, payload)?)));
        let Some((local, slot)) = found else {
            self.counts.datagrams_unknown += 1;
            return;
        };
        self.deliver(now, slot, local, remote, payload);
        if self.demux.shares() {
            let sharers = self.demux.sharers(socket, remote, payload).map(<[Slot]>::to_vec);
            for slot in sharers.into_iter().flatten() {
                self.deliver(now, slot, local, remote, payload);
            }
        }
    }

    #[inline]
    fn deliver(
        &mut self,
        now: Instant,
        slot: Slot,
        local: SocketAddr,
        remote: SocketAddr,
        payload: &[u8],
    ) {
        let connection = self.remotes.get_mut(slot).and_then(|r| r.connection.as_deref_mut());
        if let Some(connection) = connection {
            connection.peer.handle_datagram(now, local, remote, payload);
            self.settle(now, slot);
        }
    }

    /// The adapter reports about a resource that was asked for.
    pub fn handle_io(&mut self, now: Instant, event: IoEvent<'_>) {
        if let Some(trace) = self.trace.take() {
            return self.traced(
                trace,
                now,
                |tape| Call::io(tape, &event),
                |t| t.handle_io(now, event),
            );
        }
        let now = self.clock.advance(now);
        if matches!(self.phase, Phase::New | Phase::Ended) {
            return;
        }
        match event {
            IoEvent::Interfaces(addresses) => {
                let commands = self.sockets.interfaces(addresses);
                self.queues.commands.extend(commands);
            }
            IoEvent::UdpBound { socket, local } => {
                if let Some(local) = self.sockets.bound(socket, local) {
                    self.add_local(now, local);
                }
            }
            IoEvent::UdpFailed { socket, error } => {
                if !self.follows() {
                    tracing::warn!(%socket, error, "a UDP socket failed");
                }
                self.sockets.forget(socket);
            }
            IoEvent::LinkUp { .. } | IoEvent::LinkText { .. } | IoEvent::LinkDown { .. } => {
                self.signaling.handle_io(now, &event);
            }
        }
        self.remove_gone(now);
        self.after_gathering(now);
        self.pump_signaling(now);
    }

    /// Time has passed. A call before [`Transport::poll_timeout`] is a no-op.
    pub fn handle_timeout(&mut self, now: Instant) {
        if let Some(trace) = self.trace.take() {
            return self.traced(trace, now, |_| Call::Timeout, |t| t.handle_timeout(now));
        }
        let now = self.clock.advance(now);
        if matches!(self.phase, Phase::New | Phase::Ended) {
            return;
        }
        self.after_gathering(now);
        self.signaling.handle_timeout(now);
        self.pump_signaling(now);
        if self.listed_at.is_some_and(|at| at <= now) {
            self.listed_at = None;
            self.forget_unlisted(now);
        }
        if self.start_deadline.is_some_and(|at| at <= now) {
            self.start_deadline = None;
            let reason = self.start_trouble.take().unwrap_or_else(|| "no answer".into());
            let error = StartError::Timeout { after: Self::START_TIMEOUT, reason };
            self.give_up_start(now, error);
        }
        let mut from = 0;
        while let Some(slot) = self.remotes.next_due(from, now) {
            self.handle_slot_timeout(now, slot);
            self.answer_late(now, slot);
            from = slot + 1;
        }
        self.pump_signaling(now);
    }

    fn add_local(&mut self, now: Instant, local: SocketAddr) {
        self.each_connection(now, |peer| peer.add_local(now, local));
    }

    /// Takes addresses that are gone from all connections.
    fn remove_gone(&mut self, now: Instant) {
        for local in self.sockets.take_gone() {
            self.each_connection(now, |peer| peer.remove_local(now, local));
        }
    }

    /// Makes a change to each connection, in the order of names.
    fn each_connection(&mut self, now: Instant, change: impl Fn(&mut Peer)) {
        let slots: Vec<Slot> = self.remotes.slots().collect();
        for slot in slots {
            let connection = self.remotes.get_mut(slot).and_then(|r| r.connection.as_deref_mut());
            if let Some(connection) = connection {
                change(&mut connection.peer);
                self.settle(now, slot);
            }
        }
    }

    /// Signaling begins when our addresses are known: an offer can then carry all of them at once.
    fn after_gathering(&mut self, now: Instant) {
        if self.phase == Phase::Starting && self.sockets.gathered(now) {
            self.signaling.start(now);
            self.pump_signaling(now);
        }
    }

    /// `start` has failed: everything goes back, and it may be called again.
    pub(super) fn give_up_start(&mut self, now: Instant, error: StartError) {
        if self.phase != Phase::Starting {
            return;
        }
        self.signaling.stop(now);
        self.drain_signaling_commands();
        let closing = self.sockets.close();
        self.queues.commands.extend(closing);
        self.phase = Phase::New;
        self.start_deadline = None;
        self.starts += 1;
        let rng = self.rng.fork(&format!("signaling {}", self.starts));
        self.signaling = self.signaling.again(super::announce(&self.config, &self.id), rng, now);
        self.queues.outcomes.push_back(Outcome::Started(Err(error)));
    }
}
