//! One step of a world: what arrives, what is due, and what comes out of it.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};
use std::time::{Duration, Instant};

use rtcmesh_core::net::{Datagram, IoCommand, IoEvent, Transmit};

use super::signaling::Delivery;
use super::{MAX_STEPS_PER_INSTANT, Tenant, World};
use crate::digest::Record;
use crate::interpose;
use crate::net::{Arrival, Outgoing};

/// What is on its way beside datagrams, in order of time and then of sending.
#[derive(Debug, Default)]
pub(super) struct Agenda {
    entries: BTreeMap<(Duration, u64), Delivery>,
    sequence: u64,
}

impl Agenda {
    pub(super) fn add(&mut self, at: Duration, delivery: Delivery) {
        self.sequence += 1;
        self.entries.insert((at, self.sequence), delivery);
    }

    fn next(&self) -> Option<Duration> {
        self.entries.keys().next().map(|(at, _)| *at)
    }

    fn poll(&mut self, now: Duration) -> Option<Delivery> {
        let entry = self.entries.first_entry()?;
        (entry.key().0 <= now).then(|| entry.remove())
    }
}

/// More than any machine has to say at once: one that goes on has no end.
const MAX_DRAIN: u32 = 1_000_000;

/// Counts what one queue gives in one go, so that a machine that always gives something does not hang the world.
pub(super) struct Bound {
    queue: &'static str,
    node: usize,
    left: u32,
}

impl Bound {
    /// Of this queue, at the host with this number in the network.
    pub(super) const fn new(queue: &'static str, node: usize) -> Self {
        Self { queue, node, left: MAX_DRAIN }
    }

    /// One more.
    ///
    /// # Panics
    /// Where there are too many.
    pub(super) fn count(&mut self) {
        let Self { queue, node, left } = self;
        assert!(*left > 0, "{queue} of host {node} in the network never ends");
        *left -= 1;
    }
}

impl World {
    /// Does the next thing that happens, if it does so by `end` (of [`World::now`]'s clock); otherwise time moves
    /// to `end`, and it gives false.
    ///
    /// # Panics
    /// Where a machine asks to be called again and again at one instant, or always has more to say.
    pub fn step(&mut self, end: Instant) -> bool {
        let end = end.saturating_duration_since(self.start);
        let next = self.next();
        if next.is_none_or(|next| next > end) {
            self.set_time(end);
            return false;
        }
        self.set_time(next.unwrap_or(end));
        let mut steps = 0;
        while self.step_once() {
            steps += 1;
            assert!(steps < MAX_STEPS_PER_INSTANT, "a machine spins: {:?}", self.reasons());
        }
        true
    }

    fn set_time(&mut self, elapsed: Duration) {
        self.elapsed = self.elapsed.max(elapsed);
        interpose::set_now(self.start + self.elapsed);
    }

    /// Everything that waits for the present: the network first, then every timer that is due, once.
    fn step_once(&mut self) -> bool {
        let now = self.elapsed;
        if self.tap.is_some() {
            self.note_fates();
        }
        if let Some(arrival) = self.next_arrival(now) {
            self.arrive(&arrival);
            return true;
        }
        if let Some(delivery) = self.agenda.poll(now) {
            self.deliver(delivery);
            return true;
        }
        let mut any = self.server_timeout();
        for index in 0..self.hosts.len() {
            let host = &mut self.hosts[index];
            if host.due.is_some_and(|due| due <= now) {
                host.wakes.count(now, host.node);
                host.transport.handle_timeout(host.clock.at(now));
                self.drain_host(index);
                any = true;
            }
        }
        for index in 0..self.others.len() {
            let other = &mut self.others[index];
            if other.due.is_some_and(|due| due <= now) {
                other.wakes.count(now, other.node);
                other.machine.handle_timeout(other.clock.local(now));
                self.drain_other(index);
                any = true;
            }
        }
        any
    }

    fn next_arrival(&mut self, now: Duration) -> Option<Arrival> {
        if self.held.front().is_some_and(|arrival| arrival.at <= now) {
            return self.held.pop_front();
        }
        self.network.poll(now)
    }

    /// Takes the arrivals of the next instant out of the network, if nothing else comes before them.
    pub(super) fn look_ahead(&mut self) {
        while self.held.is_empty()
            && let Some(at) = self.network.next()
            && self.next() == Some(at)
        {
            self.held.extend(std::iter::from_fn(|| self.network.poll(at)));
        }
    }

    fn next(&self) -> Option<Duration> {
        let hosts = self.hosts.iter().filter_map(|host| host.due);
        let others = self.others.iter().filter_map(|other| other.due);
        let held = self.held.front().map(|arrival| arrival.at);
        let rest = [held, self.network.next(), self.agenda.next(), self.server_due()];
        hosts.chain(others).chain(rest.into_iter().flatten()).min()
    }

    fn reasons(&self) -> Vec<Option<&'static str>> {
        let hosts = self.hosts.iter().map(|h| h.transport.poll_timeout().map(|due| due.why));
        hosts.chain([self.server().poll_timeout().map(|due| due.why)]).collect()
    }

    fn arrive(&mut self, arrival: &Arrival) {
        let Arrival { host, from, to, ref payload, .. } = *arrival;
        self.digest.record(self.elapsed, host, Record::Received { from, to, payload });
        match self.tenants[host] {
            Tenant::Server | Tenant::Nobody => {}
            Tenant::Host(index) => {
                let host = &mut self.hosts[index];
                let Some(socket) = host.by_address.get(&to).copied() else { return };
                if host.crashed {
                    return;
                }
                let now = host.clock.at(self.elapsed);
                let datagram = Datagram { socket, remote: from, payload };
                if let Some(look) = &mut self.watch.0 {
                    look(index, &mut host.transport, now, datagram);
                }
                host.transport.handle_datagram(now, datagram);
                self.drain_host(index);
            }
            Tenant::Other(index) => {
                let other = &mut self.others[index];
                if !other.down {
                    let now = other.clock.local(self.elapsed);
                    other.machine.handle_datagram(now, to, from, payload);
                    self.drain_other(index);
                }
            }
        }
    }

    pub(super) fn drain_other(&mut self, index: usize) {
        let other = &mut self.others[index];
        if other.down {
            other.due = None;
            return;
        }
        let node = other.node;
        let mut bound = Bound::new("poll_transmit", node);
        while let Some(Outgoing { from, to, payload }) = self.others[index].machine.poll_transmit()
        {
            bound.count();
            let record = Record::Sent { from, to, payload: &payload };
            self.digest.record(self.elapsed, node, record);
            self.send(node, from, to, payload);
        }
        let other = &mut self.others[index];
        let due = other.machine.poll_timeout();
        other.due = due.map(|at| other.clock.elapsed_after(at));
    }

    /// Carries out what a transport has to say, until there is nothing more.
    pub(super) fn drain_host(&mut self, index: usize) {
        self.drain_transmits(index);
        let node = self.hosts[index].node;
        let mut bound = Bound::new("poll_command", node);
        while let Some(command) = self.hosts[index].transport.poll_command() {
            bound.count();
            self.carry_out(index, command);
            // A socket is closed only after what was to be sent from it.
            self.drain_transmits(index);
        }
        let (now, host) = (self.elapsed, &mut self.hosts[index]);
        let mut bound = Bound::new("poll_outcome", node);
        while let Some(outcome) = host.transport.poll_outcome() {
            bound.count();
            self.digest.record(now, host.node, Record::Other(&outcome));
            host.outcomes.push(outcome);
        }
        if host.fetches {
            let mut bound = Bound::new("poll_event", node);
            while let Some(event) = host.transport.poll_event() {
                bound.count();
                self.digest.record(now, host.node, Record::Event(&event));
                host.events.push(event);
                if self.keeps_times {
                    host.times.push(now);
                }
            }
            let mut bound = Bound::new("poll_media", node);
            while let Some(media) = host.transport.poll_media() {
                bound.count();
                self.digest.record(now, host.node, Record::Media(&media, self.start));
                host.media.push(media);
            }
        }
        let due = if host.crashed { None } else { host.transport.poll_timeout() };
        host.due = due.map(|due| host.clock.elapsed_at(due.at));
    }

    fn drain_transmits(&mut self, index: usize) {
        let mut bound = Bound::new("poll_transmit", self.hosts[index].node);
        while let Some(transmit) = self.hosts[index].transport.poll_transmit() {
            bound.count();
            self.transmit(index, transmit);
        }
    }

    fn transmit(&mut self, index: usize, transmit: Transmit) {
        let host = &self.hosts[index];
        let Some(from) = host.sockets.get(&transmit.socket).copied() else { return };
        if host.crashed {
            return;
        }
        let Transmit { remote: to, payload, .. } = transmit;
        let (record, node) = (Record::Sent { from, to, payload: &payload }, host.node);
        self.digest.record(self.elapsed, node, record);
        self.send(node, from, to, payload);
    }

    fn carry_out(&mut self, index: usize, command: IoCommand) {
        match command {
            IoCommand::WatchInterfaces => {
                self.hosts[index].watches = true;
                self.report_interfaces(index);
            }
            IoCommand::BindUdp { socket, addr } => {
                let host = &mut self.hosts[index];
                let has = self.network.interfaces(host.node).any(|ip| ip == addr.ip());
                let now = host.clock.at(self.elapsed);
                let answer = if has || addr.ip().is_loopback() {
                    IoEvent::UdpBound { socket, local: host.bind(socket, addr) }
                } else {
                    IoEvent::UdpFailed { socket, error: "cannot assign requested address" }
                };
                host.transport.handle_io(now, answer);
            }
            IoCommand::CloseUdp { socket } => self.hosts[index].close(socket),
            IoCommand::OpenLink { link, url } => self.open(index, link, &url),
            IoCommand::SendLink { link, text } => self.tell_server(index, link, text),
            IoCommand::CloseLink { link, code } => self.hang_up(index, link, code),
            other => panic!("a command that the world does not know: {other:?}"),
        }
    }

    /// Tells a transport which of its interfaces are up.
    pub(super) fn report_interfaces(&mut self, index: usize) {
        let host = &mut self.hosts[index];
        let mut addresses: Vec<IpAddr> = self.network.interfaces(host.node).collect();
        addresses.push(IpAddr::V4(Ipv4Addr::LOCALHOST));
        let now = host.clock.at(self.elapsed);
        host.transport.handle_io(now, IoEvent::Interfaces(&addresses));
    }

    /// Tells a transport something, and carries out what follows.
    pub(super) fn report(&mut self, index: usize, event: IoEvent<'_>) {
        let host = &mut self.hosts[index];
        if !host.crashed {
            let now = host.clock.at(self.elapsed);
            host.transport.handle_io(now, event);
            self.drain_host(index);
        }
    }
}
