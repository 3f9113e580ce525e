//! The world: virtual time, the network, the signaling server.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};

use rtcmesh_core::config::Config;
use rtcmesh_core::id::LinkId;
use rtcmesh_core::net::{Datagram, IoCommand, IoEvent, Transmit};
use rtcmesh_core::rng::Seed;
use rtcmesh_core::signaling::{Server, ServerCommand, ServerConfig};
use rtcmesh_core::transport::{Outcome, PeerState, Transport};

use crate::certificate::certificate;
use crate::digest::{Digest, Mode, Record};
use crate::host::Host;
use crate::interpose;
use crate::network::{Network, Weather};

/// What is on its way.
#[derive(Debug)]
enum Delivery {
    Datagram { from: SocketAddr, to: SocketAddr, payload: Vec<u8> },
    Opened { host: usize, link: LinkId, server: LinkId },
    ToServer { server: LinkId, text: String },
    ToClient { host: usize, link: LinkId, text: String },
    ClosedByClient { server: LinkId, code: Option<u16> },
    ClosedByServer { host: usize, link: LinkId, code: Option<u16> },
}

/// Several hosts, one signaling server and a network that delays, in virtual time.
#[derive(Debug)]
pub struct World {
    /// The hosts, in the order in which they were added.
    pub hosts: Vec<Host>,
    /// How long a datagram is under way, one way.
    pub latency: Duration,
    /// By how much longer it may take, each by chance: datagrams overtake each other.
    pub jitter: Duration,
    /// The share of datagrams that are lost, by chance, 0 to 1.
    pub loss: f64,
    /// How long a signaling message is under way, one way.
    pub signaling_latency: Duration,
    /// By how much longer it may take, each by chance; those of one link keep their order.
    pub signaling_jitter: Duration,
    /// Every datagram with this number, counted over all hosts, is lost; `None`: none.
    pub lose_every: Option<u64>,
    /// Whether the signaling server can be reached.
    pub signaling_reachable: bool,
    /// What has happened, byte for byte or in its shape ([`Mode`]).
    pub digest: Digest,
    server: Server,
    seed: u64,
    start: Instant,
    now: Instant,
    queue: BTreeMap<(Instant, u64), Delivery>,
    sequence: u64,
    network: Network,
    /// The client's end of each of the server's links.
    clients: BTreeMap<LinkId, (usize, LinkId)>,
    next_link: u64,
}

/// Virtual wall-clock time at the start: the first second of 2026.
const UNIX_START: Duration = Duration::from_secs(1_767_225_600);

/// More steps at one instant than any world needs: some machine spins.
const MAX_STEPS_PER_INSTANT: usize = 1_000_000;

impl World {
    /// The URL under which the signaling server is reached; any path on it is a room.
    pub const URL: &'static str = "ws://server.test/";

    /// How long [`World::run_until`] runs at most: longer than any timer of a transport.
    pub const LIMIT: Duration = Duration::from_secs(60);

    /// An empty world.
    ///
    /// # Panics
    /// Never: the server's default settings are valid.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self::with_server(seed, ServerConfig::default())
    }

    /// An empty world whose signaling server has these settings.
    ///
    /// # Panics
    /// Where they are out of their bounds.
    #[must_use]
    pub fn with_server(seed: u64, config: ServerConfig) -> Self {
        interpose::prepare();
        let start = Instant::now();
        let mode = if interpose::active() { Mode::Bytes } else { Mode::Shape };
        let server_seed = Seed::from_number(seed ^ 0x5e4e_4e4e);
        let server = Server::new(config, server_seed, start, UNIX_START).expect("valid settings");
        Self {
            hosts: Vec::new(),
            latency: Duration::from_millis(1),
            jitter: Duration::ZERO,
            loss: 0.0,
            signaling_latency: Duration::from_millis(1),
            signaling_jitter: Duration::ZERO,
            lose_every: None,
            signaling_reachable: true,
            digest: Digest::new(mode),
            server,
            seed,
            start,
            now: start,
            queue: BTreeMap::new(),
            sequence: 0,
            network: Network::new(seed),
            clients: BTreeMap::new(),
            next_link: 0,
        }
    }

    /// Adds a host with one interface and one transport.
    ///
    /// # Panics
    /// Where the configuration is invalid.
    pub fn add(&mut self, config: Config) -> usize {
        let index = self.hosts.len();
        let seed = Seed::from_number(self.seed.wrapping_mul(1_000) + index as u64);
        let unix = UNIX_START + (self.now - self.start);
        let mut transport =
            Transport::new(config, seed, self.now, unix).expect("a valid configuration");
        let (certificate, private_key) = certificate(self.seed, index);
        transport.use_seeded_engine(certificate, private_key);
        let ip = IpAddr::V4(Ipv4Addr::new(10, 0, (index / 250) as u8, (index % 250) as u8 + 1));
        self.hosts.push(Host::new(transport, ip));
        index
    }

    /// Virtual time since the start.
    #[must_use]
    pub fn elapsed(&self) -> Duration {
        self.now - self.start
    }

    /// The present.
    #[must_use]
    pub const fn now(&self) -> Instant {
        self.now
    }

    /// The signaling server's machine.
    #[must_use]
    pub const fn server(&self) -> &Server {
        &self.server
    }

    /// Starts all transports.
    ///
    /// # Panics
    /// Where one was started before.
    pub fn start_all(&mut self) {
        for index in 0..self.hosts.len() {
            self.act(index, |transport, now| transport.start(now)).expect("not started before");
        }
    }

    /// Lets a host's application act on its transport, and carries out what follows.
    pub fn act<T>(&mut self, host: usize, act: impl FnOnce(&mut Transport, Instant) -> T) -> T {
        let value = act(&mut self.hosts[host].transport, self.now);
        self.drain_host(host);
        value
    }

    /// Nothing passes between these two any more, or again.
    pub fn cut(&mut self, a: usize, b: usize, cut: bool) {
        self.network.cut(a, b, cut);
    }

    /// Datagrams between these two take this long, one way, instead of [`World::latency`].
    pub fn set_latency(&mut self, a: usize, b: usize, latency: Duration) {
        self.network.set_latency(a, b, latency);
    }

    /// A host is gone without a word: nothing more comes out of it or gets into it.
    pub fn crash(&mut self, host: usize) {
        self.hosts[host].crashed = true;
        let links = std::mem::take(&mut self.hosts[host].links);
        for server in links.into_values() {
            self.send(self.signaling_latency, Delivery::ClosedByClient { server, code: None });
        }
    }

    /// A host's signaling connections break (its media goes on): both sides see it.
    pub fn break_signaling(&mut self, host: usize) {
        let links = std::mem::take(&mut self.hosts[host].links);
        for (link, server) in links {
            self.send(Duration::ZERO, Delivery::ClosedByClient { server, code: None });
            self.send(Duration::ZERO, Delivery::ClosedByServer { host, link, code: None });
        }
    }

    /// Whether one host's transport has the other connected.
    #[must_use]
    pub fn connected(&self, host: usize, other: usize) -> bool {
        let other = self.hosts[other].id().clone();
        self.hosts[host].peer(&other).is_some_and(|info| info.state == PeerState::Connected)
    }

    /// Whether every host has every other one connected.
    #[must_use]
    pub fn all_connected(&self) -> bool {
        let count = self.hosts.len();
        (0..count).all(|a| (0..count).all(|b| a == b || self.connected(a, b)))
    }

    /// Runs until `done`, or for [`World::LIMIT`]: gives whether it came true.
    pub fn run_until(&mut self, done: impl Fn(&Self) -> bool) -> bool {
        let end = self.now + Self::LIMIT;
        loop {
            if done(self) {
                return true;
            }
            if !self.step(end) {
                return done(self);
            }
        }
    }

    /// Runs for a time.
    pub fn run(&mut self, duration: Duration) {
        let end = self.now + duration;
        while self.step(end) {}
    }

    /// Does the next thing that happens, if it does so by `end`; otherwise time moves to `end`.
    ///
    /// # Panics
    /// Where a machine asks to be called again and again at one instant.
    pub fn step(&mut self, end: Instant) -> bool {
        let Some(next) = self.next() else {
            self.move_to(end);
            return false;
        };
        if next > end {
            self.move_to(end);
            return false;
        }
        self.move_to(self.now.max(next));
        let mut steps = 0;
        while self.step_once() {
            steps += 1;
            assert!(steps < MAX_STEPS_PER_INSTANT, "a machine spins: {:?}", self.reasons());
        }
        true
    }

    fn move_to(&mut self, now: Instant) {
        self.now = now;
        interpose::set_now(now);
    }

    fn record(&mut self, host: usize, record: Record<'_>) {
        self.digest.record(self.now - self.start, host, record);
    }

    /// Everything that waits for the present: the network first, then every timer that is due, once.
    fn step_once(&mut self) -> bool {
        if let Some(entry) = self.queue.first_entry()
            && entry.key().0 <= self.now
        {
            let delivery = entry.remove();
            self.deliver(delivery);
            return true;
        }
        let mut any = false;
        if self.server.poll_timeout().is_some_and(|due| due.at <= self.now) {
            self.server.handle_timeout(self.now);
            self.drain_server();
            any = true;
        }
        for index in 0..self.hosts.len() {
            let host = &mut self.hosts[index];
            let due = host.transport.poll_timeout().is_some_and(|due| due.at <= self.now);
            if due && !host.crashed {
                host.transport.handle_timeout(self.now);
                self.drain_host(index);
                any = true;
            }
        }
        any
    }

    fn next(&self) -> Option<Instant> {
        let queued = self.queue.keys().next().map(|(at, _)| *at);
        let server = self.server.poll_timeout().map(|due| due.at);
        let hosts = self.hosts.iter().filter(|host| !host.crashed);
        let timers = hosts.filter_map(|host| host.transport.poll_timeout()).map(|due| due.at);
        timers.chain(queued).chain(server).min()
    }

    fn reasons(&self) -> Vec<Option<&'static str>> {
        let hosts = self.hosts.iter().map(|h| h.transport.poll_timeout().map(|due| due.why));
        hosts.chain([self.server.poll_timeout().map(|due| due.why)]).collect()
    }

    fn send(&mut self, after: Duration, delivery: Delivery) {
        self.sequence += 1;
        self.queue.insert((self.now + after, self.sequence), delivery);
    }

    /// Sends something on a signaling link.
    fn tell(&mut self, server: LinkId, to_server: bool, delivery: Delivery) {
        let (latency, jitter) = (self.signaling_latency, self.signaling_jitter);
        let after = self.network.message(self.now, (server.0, to_server), latency, jitter);
        self.send(after, delivery);
    }

    fn owner(&self, address: SocketAddr) -> Option<usize> {
        self.hosts.iter().position(|host| host.ip == address.ip())
    }

    fn drain_host(&mut self, index: usize) {
        while let Some(transmit) = self.hosts[index].transport.poll_transmit() {
            self.transmit(index, transmit);
        }
        while let Some(command) = self.hosts[index].transport.poll_command() {
            self.carry_out(index, command);
        }
        let host = &mut self.hosts[index];
        let at = self.now - self.start;
        while let Some(outcome) = host.transport.poll_outcome() {
            self.digest.record(at, index, Record::Other(&outcome));
            host.outcomes.push(outcome);
        }
        if host.fetches {
            while let Some(event) = host.transport.poll_event() {
                self.digest.record(at, index, Record::Event(&event));
                host.events.push(event);
            }
            while let Some(media) = host.transport.poll_media() {
                self.digest.record(at, index, Record::Media(&media, self.start));
                host.media.push(media);
            }
        }
    }

    fn transmit(&mut self, index: usize, transmit: Transmit) {
        let Some(from) = self.hosts[index].sockets.get(&transmit.socket).copied() else { return };
        let Some(to_host) = self.owner(transmit.remote) else { return };
        if self.hosts[index].crashed {
            return;
        }
        let Transmit { remote: to, payload, .. } = transmit;
        self.record(index, Record::Sent { from, to, payload: &payload });
        let weather = Weather {
            latency: self.latency,
            jitter: self.jitter,
            loss: self.loss,
            lose_every: self.lose_every,
        };
        let Some(after) = self.network.datagram(index, to_host, &weather) else { return };
        self.send(after, Delivery::Datagram { from, to, payload });
    }

    fn carry_out(&mut self, index: usize, command: IoCommand) {
        let now = self.now;
        let host = &mut self.hosts[index];
        match command {
            IoCommand::WatchInterfaces => {
                let addresses = [host.ip, IpAddr::V4(Ipv4Addr::LOCALHOST)];
                host.transport.handle_io(now, IoEvent::Interfaces(&addresses));
            }
            IoCommand::BindUdp { socket, addr } => {
                let local = SocketAddr::new(addr.ip(), host.next_port);
                host.next_port += 1;
                host.sockets.insert(socket, local);
                host.transport.handle_io(now, IoEvent::UdpBound { socket, local });
            }
            IoCommand::CloseUdp { socket } => {
                host.sockets.remove(&socket);
            }
            IoCommand::OpenLink { link, url } => self.open(index, link, &url),
            IoCommand::SendLink { link, text } => {
                if let Some(server) = host.links.get(&link).copied() {
                    self.record(index, Record::ToServer(&text));
                    self.tell(server, true, Delivery::ToServer { server, text });
                }
            }
            IoCommand::CloseLink { link, code } => {
                if let Some(server) = host.links.remove(&link) {
                    let code = Some(code);
                    self.tell(server, true, Delivery::ClosedByClient { server, code });
                }
            }
            other => panic!("a command that the world does not know: {other:?}"),
        }
    }

    fn open(&mut self, index: usize, link: LinkId, url: &str) {
        if !self.signaling_reachable {
            let closed = Delivery::ClosedByServer { host: index, link, code: None };
            return self.send(self.signaling_latency, closed);
        }
        let server = LinkId(self.next_link);
        self.next_link += 1;
        self.clients.insert(server, (index, link));
        self.hosts[index].links.insert(link, server);
        let path = url.strip_prefix("ws://server.test").unwrap_or("/").split('?').next();
        let ip = self.hosts[index].ip;
        self.server.handle_open(self.now, server, path.unwrap_or("/"), ip);
        self.drain_server();
        self.send(2 * self.signaling_latency, Delivery::Opened { host: index, link, server });
    }

    fn drain_server(&mut self) {
        while let Some(command) = self.server.poll_command() {
            match command {
                ServerCommand::Send { link: server, text } => {
                    self.server.handle_sent(self.now, server, text.len());
                    if let Some((host, link)) = self.clients.get(&server).copied() {
                        let text = text.to_string();
                        self.tell(server, false, Delivery::ToClient { host, link, text });
                    }
                }
                ServerCommand::Ping { link } => self.server.handle_pong(self.now, link),
                ServerCommand::Close { link: server, code, .. } => {
                    self.server.handle_closed(self.now, server, Some(code));
                    if let Some((host, link)) = self.clients.remove(&server) {
                        let code = Some(code);
                        let closed = Delivery::ClosedByServer { host, link, code };
                        self.tell(server, false, closed);
                        self.network.forget(server.0);
                    }
                }
                other => panic!("a command that the world does not know: {other:?}"),
            }
        }
    }

    fn deliver(&mut self, delivery: Delivery) {
        let now = self.now;
        match delivery {
            Delivery::Datagram { from, to, payload } => {
                let Some(index) = self.owner(to) else { return };
                let host = &mut self.hosts[index];
                let socket = host.sockets.iter().find(|(_, local)| **local == to);
                let Some((socket, _)) = socket.map(|(id, local)| (*id, *local)) else { return };
                if host.crashed {
                    return;
                }
                let record = Record::Received { from, to, payload: &payload };
                self.digest.record(now - self.start, index, record);
                let datagram = Datagram { socket, remote: from, payload: &payload };
                host.transport.handle_datagram(now, datagram);
                self.drain_host(index);
            }
            Delivery::Opened { host, link, server } => {
                if self.hosts[host].links.get(&link) == Some(&server) {
                    self.report(host, IoEvent::LinkUp { link });
                }
            }
            Delivery::ToClient { host, link, text } => {
                if self.hosts[host].links.contains_key(&link) {
                    self.record(host, Record::FromServer(&text));
                    self.report(host, IoEvent::LinkText { link, text: &text });
                }
            }
            Delivery::ClosedByServer { host, link, code } => {
                self.hosts[host].links.remove(&link);
                self.report(host, IoEvent::LinkDown { link, code, reason: "closed" });
            }
            Delivery::ToServer { server, text } => {
                if self.clients.contains_key(&server) {
                    self.server.handle_text(now, server, &text);
                    self.drain_server();
                }
            }
            Delivery::ClosedByClient { server, code } => {
                self.network.forget(server.0);
                if self.clients.remove(&server).is_some() {
                    self.server.handle_closed(now, server, code);
                    self.drain_server();
                }
            }
        }
    }

    fn report(&mut self, host: usize, event: IoEvent<'_>) {
        if !self.hosts[host].crashed {
            self.hosts[host].transport.handle_io(self.now, event);
            self.drain_host(host);
        }
    }

    /// The datagrams that will be delivered next, at the present instant, each with its receiver: `remote`
    /// is the sender's address and `socket` the receiver's socket.
    #[must_use]
    pub fn due(&self) -> Vec<(usize, Transmit)> {
        let next = self.queue.keys().next().map(|(at, _)| *at);
        let of_next = self.queue.iter().take_while(|((at, _), _)| Some(*at) == next);
        let datagrams = of_next.filter_map(|(_, delivery)| match delivery {
            Delivery::Datagram { from, to, payload } => {
                let index = self.owner(*to)?;
                let sockets = &self.hosts[index].sockets;
                let (socket, _) = sockets.iter().find(|(_, local)| *local == to)?;
                let payload = payload.clone();
                Some((index, Transmit { socket: *socket, remote: *from, payload }))
            }
            _ => None,
        });
        datagrams.collect()
    }

    /// The result of a host's latest `start`.
    #[must_use]
    pub fn started(&self, host: usize) -> bool {
        self.hosts[host].outcomes.contains(&Outcome::Started(Ok(())))
    }
}
