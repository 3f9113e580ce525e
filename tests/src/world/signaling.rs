//! The signaling server of a world, and the connections to it.
//!
//! A connection is two reliable, ordered streams, as TCP gives them: what cannot get through waits, and after
//! [`PATIENCE`] both ends see the connection break.

use std::collections::{BTreeMap, VecDeque};
use std::net::IpAddr;
use std::time::{Duration, Instant};

use rtcmesh_core::id::LinkId;
use rtcmesh_core::net::IoEvent;
use rtcmesh_core::rng::Seed;
use rtcmesh_core::signaling::{Server, ServerCommand, ServerConfig};

use super::pump::Bound;
use super::{UNIX_START, World};
use crate::digest::Record;
use crate::host::Host;

/// The server's number in the network.
pub(super) const SERVER: usize = 0;

/// How long a stream may stand still before both ends give it up: a minute, as adapters do that watch their sockets
/// (TCP alone waits a quarter of an hour: RFC 9293, section 3.8.3).
const PATIENCE: Duration = Duration::from_secs(60);

/// The first and the longest pause between two tries to get something through (RFC 6298: 1 s, then doubled).
const FIRST_RETRY: Duration = Duration::from_secs(1);
const LAST_RETRY: Duration = Duration::from_secs(16);

/// What is on its way beside datagrams.
#[derive(Debug)]
pub(super) enum Delivery {
    /// A handshake has come to its end.
    Opened { server: LinkId },
    /// No connection can be made.
    Refused { host: usize, incarnation: u32, link: LinkId },
    /// A frame of a stream has arrived.
    Frame { server: LinkId, to_server: bool, frame: Frame },
    /// What waits on a stream is tried again.
    Retry { server: LinkId, to_server: bool },
}

/// What passes on a connection.
#[derive(Debug)]
pub(super) enum Frame {
    Text(String),
    Ping,
    Pong,
    /// The end, with the code of a close frame; without: the connection broke.
    Close(Option<u16>),
}

impl Client {
    /// Its number in the network.
    fn node(self, hosts: &[Host]) -> usize {
        match self {
            Self::Host(host, _) => hosts[host].node,
            Self::Stranger(node) => node,
        }
    }
}

impl Frame {
    /// Its bytes on the wire, about: WebSocket, TLS and TCP headers with it.
    fn len(&self) -> usize {
        let payload = if let Self::Text(text) = self { text.len() } else { 0 };
        payload + 80
    }
}

/// One direction of a connection.
#[derive(Debug, Default)]
struct Stream {
    /// What cannot get through at present.
    stalled: VecDeque<Frame>,
    since: Duration,
    pause: Duration,
    /// The latest arrival: nothing overtakes it.
    latest: Duration,
    /// Its end has been sent: nothing follows.
    ended: bool,
}

/// Whose connection it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Client {
    /// A host's, by the link that its transport named.
    Host(usize, LinkId),
    /// Nobody's that has a transport: what is sent to it is dropped.
    Stranger(usize),
}

/// A connection, as the network between both ends knows it.
#[derive(Debug)]
struct Connection {
    client: Client,
    /// The address that the client has connected from.
    address: IpAddr,
    streams: [Stream; 2],
    /// Whether the server has been told that it is open, and not yet that it is closed.
    open: bool,
}

#[derive(Debug)]
pub(super) struct Signaling {
    pub(super) server: Server,
    config: ServerConfig,
    connections: BTreeMap<LinkId, Connection>,
    next_link: u64,
    restarts: u64,
    down: bool,
}

impl Signaling {
    pub(super) fn new(seed: u64, config: ServerConfig, now: Instant) -> Self {
        let server = machine(&config, seed, 0, now, UNIX_START);
        Self {
            server,
            config,
            connections: BTreeMap::new(),
            next_link: 0,
            restarts: 0,
            down: false,
        }
    }
}

fn machine(
    config: &ServerConfig,
    seed: u64,
    restarts: u64,
    now: Instant,
    unix: Duration,
) -> Server {
    let seed = Seed::from_number(seed ^ 0x5e4e_4e4e ^ (restarts << 40));
    Server::new(config.clone(), seed, now, unix).expect("valid settings")
}

impl World {
    /// Whether the signaling server's process is stopped.
    #[must_use]
    pub const fn server_is_down(&self) -> bool {
        self.signaling.down
    }

    pub(super) fn server_due(&self) -> Option<Duration> {
        if self.signaling.down {
            return None;
        }
        let due = self.server().poll_timeout()?;
        Some(due.at.saturating_duration_since(self.start))
    }

    pub(super) fn server_timeout(&mut self) -> bool {
        let due = self.server_due().is_some_and(|due| due <= self.elapsed);
        if due {
            let now = self.now();
            self.signaling.server.handle_timeout(now);
            self.drain_server();
        }
        due
    }

    /// A transport wants a connection to the server.
    pub(super) fn open(&mut self, index: usize, link: LinkId, url: &str) {
        let (node, incarnation) = (self.hosts[index].node, self.hosts[index].incarnation);
        let path = url.strip_prefix("ws://server.test").unwrap_or("/").split('?').next();
        let client = Client::Host(index, link);
        if self.handshake(node, client, path.unwrap_or("/")).is_none() {
            let at = self.elapsed + self.signaling_latency;
            self.agenda.add(at, Delivery::Refused { host: index, incarnation, link });
        }
    }

    /// Makes a connection to a room, if there is a way to the server.
    fn handshake(&mut self, node: usize, client: Client, path: &str) -> Option<LinkId> {
        if !self.signaling_reachable || self.server_is_down() {
            return None;
        }
        let address = self.network.interfaces(node).next()?;
        let id = self.signaling.next_link << 1;
        // TCP's and WebSocket's handshakes: a round trip there and back beside that of the first message.
        let way = self.network.stream(self.elapsed, (node, address), SERVER, id | 1, 400)?;
        let one_way = way.saturating_sub(self.elapsed);
        let server = LinkId(self.signaling.next_link);
        self.signaling.next_link += 1;
        let connection = Connection { client, address, streams: Default::default(), open: true };
        self.signaling.connections.insert(server, connection);
        if let Client::Host(index, link) = client {
            self.hosts[index].links.insert(link, server);
        }
        let now = self.now();
        self.signaling.server.handle_open(now, server, path, address);
        self.drain_server();
        let at = self.elapsed + 2 * (one_way + self.signaling_latency);
        // What the server says at once may not come before that.
        if let Some(connection) = self.signaling.connections.get_mut(&server) {
            connection.streams[0].latest = at;
        }
        self.agenda.add(at, Delivery::Opened { server });
        Some(server)
    }

    /// Somebody without a transport ([`World::add_stranger`]) connects to a room (`/room`) and sends these texts, whatever they
    /// are; what comes back is dropped. Gives whether the server could be reached.
    pub fn send_signaling(&mut self, stranger: usize, room: &str, texts: &[String]) -> bool {
        let Some(server) = self.handshake(stranger, Client::Stranger(stranger), room) else {
            return false;
        };
        for text in texts {
            self.post(server, true, Frame::Text(text.clone()));
        }
        self.post(server, true, Frame::Close(Some(1000)));
        true
    }

    pub(super) fn tell_server(&mut self, index: usize, link: LinkId, text: String) {
        if let Some(server) = self.hosts[index].links.get(&link).copied() {
            self.post(server, true, Frame::Text(text));
        }
    }

    pub(super) fn hang_up(&mut self, index: usize, link: LinkId, code: u16) {
        if let Some(server) = self.hosts[index].links.remove(&link) {
            self.post(server, true, Frame::Close(Some(code)));
        }
    }

    /// Puts a frame on its way.
    fn post(&mut self, server: LinkId, to_server: bool, frame: Frame) {
        let Some(connection) = self.signaling.connections.get_mut(&server) else { return };
        let node = connection.client.node(&self.hosts);
        let record = Record::Posted { to_server, text: frame.text() };
        self.digest.record(self.elapsed, node, record);
        let stream = &mut connection.streams[usize::from(to_server)];
        if stream.ended {
            return;
        }
        stream.ended = matches!(frame, Frame::Close(_));
        if !stream.stalled.is_empty() {
            stream.stalled.push_back(frame);
            return;
        }
        if let Err(frame) = self.try_post(server, to_server, frame) {
            let now = self.elapsed;
            let Some(connection) = self.signaling.connections.get_mut(&server) else { return };
            let stream = &mut connection.streams[usize::from(to_server)];
            stream.stalled.push_back(frame);
            (stream.since, stream.pause) = (now, FIRST_RETRY);
            self.agenda.add(now + FIRST_RETRY, Delivery::Retry { server, to_server });
        }
    }

    /// Sends a frame if there is a way at present.
    fn try_post(&mut self, server: LinkId, to_server: bool, frame: Frame) -> Result<(), Frame> {
        let extra = self.signaling_latency + self.draw_up_to(self.signaling_jitter);
        let Some(connection) = self.signaling.connections.get_mut(&server) else { return Ok(()) };
        let end = (connection.client.node(&self.hosts), connection.address);
        let id = (server.0 << 1) | u64::from(to_server);
        let way = self.network.stream(self.elapsed, end, SERVER, id, frame.len());
        let Some(at) = way else { return Err(frame) };
        let stream = &mut connection.streams[usize::from(to_server)];
        stream.latest = stream.latest.max(at + extra);
        self.agenda.add(stream.latest, Delivery::Frame { server, to_server, frame });
        Ok(())
    }

    fn draw_up_to(&mut self, most: Duration) -> Duration {
        // No jitter draws nothing: worlds without it stay as they are.
        if most.is_zero() { Duration::ZERO } else { most.mul_f64(self.rng.unit()) }
    }

    fn retry(&mut self, server: LinkId, to_server: bool) {
        loop {
            let Some(connection) = self.signaling.connections.get_mut(&server) else { return };
            let stream = &mut connection.streams[usize::from(to_server)];
            let Some(frame) = stream.stalled.pop_front() else { return };
            if let Err(frame) = self.try_post(server, to_server, frame) {
                let now = self.elapsed;
                let Some(connection) = self.signaling.connections.get_mut(&server) else { return };
                let stream = &mut connection.streams[usize::from(to_server)];
                stream.stalled.push_front(frame);
                if now.saturating_sub(stream.since) >= PATIENCE {
                    return self.break_connection(server);
                }
                stream.pause = (2 * stream.pause).min(LAST_RETRY);
                let at = now + stream.pause;
                return self.agenda.add(at, Delivery::Retry { server, to_server });
            }
        }
    }

    /// Both ends see that a connection is broken.
    pub(super) fn break_connection(&mut self, server: LinkId) {
        self.close_at_client(server, None);
        self.close_at_server(server, None);
        self.signaling.connections.remove(&server);
    }

    /// The connections of a host.
    pub(super) fn connections_of(&self, host: usize) -> Vec<LinkId> {
        self.hosts[host].links.values().copied().collect()
    }

    /// The client's end is gone without the server's knowing, as where its address has vanished.
    pub(super) fn lose_client(&mut self, host: usize, address: Option<IpAddr>) {
        for server in self.connections_of(host) {
            let of = self.signaling.connections.get(&server).map(|connection| connection.address);
            if address.is_none() || of == address {
                self.close_at_client(server, None);
            }
        }
    }

    fn close_at_client(&mut self, server: LinkId, code: Option<u16>) {
        let Some(connection) = self.signaling.connections.get(&server) else { return };
        let Client::Host(host, link) = connection.client else { return };
        // Another transport may run there by now, with links of the same names.
        if self.hosts[host].links.get(&link) == Some(&server) {
            self.hosts[host].links.remove(&link);
            self.report(host, IoEvent::LinkDown { link, code, reason: "closed" });
        }
    }

    fn close_at_server(&mut self, server: LinkId, code: Option<u16>) {
        let Some(connection) = self.signaling.connections.get_mut(&server) else { return };
        if std::mem::take(&mut connection.open) && !self.signaling.down {
            let now = self.now();
            self.signaling.server.handle_closed(now, server, code);
            self.drain_server();
        }
    }

    /// The process that has a host's connections is gone: the system closes them.
    pub(super) fn abandon(&mut self, host: usize) {
        for server in std::mem::take(&mut self.hosts[host].links).into_values() {
            self.post(server, true, Frame::Close(None));
        }
    }

    /// The server's process is gone, with everything that it knew.
    pub fn stop_server(&mut self) {
        self.signaling.down = true;
        let all: Vec<LinkId> = self.signaling.connections.keys().copied().collect();
        for server in all {
            if let Some(connection) = self.signaling.connections.get_mut(&server) {
                connection.open = false;
            }
            self.post(server, false, Frame::Close(None));
        }
    }

    /// A new server's process takes the place of the one that was stopped; of one that still runs too.
    pub fn start_server(&mut self) {
        if !self.signaling.down {
            self.stop_server();
        }
        self.signaling.restarts += 1;
        let (seed, restarts) = (self.seed, self.signaling.restarts);
        let (now, unix) = (self.now(), UNIX_START + self.elapsed);
        self.signaling.server = machine(&self.signaling.config, seed, restarts, now, unix);
        self.signaling.down = false;
    }

    pub(super) fn drain_server(&mut self) {
        let mut bound = Bound::new("the signaling server's poll_command", SERVER);
        while let Some(command) = self.signaling.server.poll_command() {
            bound.count();
            match command {
                ServerCommand::Send { link: server, text } => {
                    let now = self.now();
                    self.signaling.server.handle_sent(now, server, text.len());
                    self.post(server, false, Frame::Text(text.to_string()));
                }
                ServerCommand::Ping { link } => self.post(link, false, Frame::Ping),
                ServerCommand::Close { link: server, code, .. } => {
                    self.post(server, false, Frame::Close(Some(code)));
                    self.close_at_server(server, Some(code));
                }
                other => panic!("a command that the world does not know: {other:?}"),
            }
        }
    }

    pub(super) fn deliver(&mut self, delivery: Delivery) {
        match delivery {
            Delivery::Opened { server } => {
                let Some(connection) = self.signaling.connections.get(&server) else { return };
                let Client::Host(host, link) = connection.client else { return };
                if self.hosts[host].links.get(&link) == Some(&server) {
                    self.report(host, IoEvent::LinkUp { link });
                }
            }
            Delivery::Refused { host, incarnation, link } => {
                if self.hosts[host].incarnation == incarnation {
                    self.report(host, IoEvent::LinkDown { link, code: None, reason: "refused" });
                }
            }
            Delivery::Retry { server, to_server } => self.retry(server, to_server),
            Delivery::Frame { server, to_server, frame } => {
                let text = frame.text();
                let record =
                    if to_server { Record::ToServer(text) } else { Record::FromServer(text) };
                let client = self.signaling.connections.get(&server).map(|of| of.client);
                let node = client.map_or(SERVER, |client| client.node(&self.hosts));
                self.digest.record(self.elapsed, node, record);
                if let Some(of) = self.signaling.connections.get(&server) {
                    let (kind, payload) = frame.for_tap();
                    self.tap_signaling((server, node, of.address), to_server, kind, payload);
                }
                if to_server {
                    self.at_server(server, frame);
                } else {
                    self.at_client(server, frame);
                }
            }
        }
    }

    fn at_server(&mut self, server: LinkId, frame: Frame) {
        let now = self.now();
        let Some(connection) = self.signaling.connections.get(&server) else { return };
        if !connection.open || self.signaling.down {
            if matches!(frame, Frame::Close(_)) {
                self.signaling.connections.remove(&server);
            }
            return;
        }
        match frame {
            Frame::Text(text) => self.signaling.server.handle_text(now, server, &text),
            Frame::Pong => self.signaling.server.handle_pong(now, server),
            Frame::Ping => {}
            Frame::Close(code) => {
                self.close_at_server(server, code);
                self.signaling.connections.remove(&server);
            }
        }
        self.drain_server();
    }

    fn at_client(&mut self, server: LinkId, frame: Frame) {
        let Some(connection) = self.signaling.connections.get(&server) else { return };
        let Client::Host(host, link) = connection.client else {
            return match frame {
                Frame::Ping => self.post(server, true, Frame::Pong),
                Frame::Close(_) => drop(self.signaling.connections.remove(&server)),
                _ => {}
            };
        };
        if self.hosts[host].links.get(&link) != Some(&server) {
            return;
        }
        match frame {
            Frame::Text(text) => self.report(host, IoEvent::LinkText { link, text: &text }),
            // Adapters answer by themselves.
            Frame::Ping => self.post(server, true, Frame::Pong),
            Frame::Pong => {}
            Frame::Close(code) => {
                self.close_at_client(server, code);
                self.signaling.connections.remove(&server);
            }
        }
    }
}

impl Frame {
    /// Its kind, and its text where it has one.
    fn for_tap(&self) -> (&'static str, &str) {
        match self {
            Self::Text(text) => ("signaling", text),
            Self::Ping => ("ping", ""),
            Self::Pong => ("pong", ""),
            Self::Close(_) => ("close", ""),
        }
    }

    fn text(&self) -> &str {
        match self {
            Self::Text(text) => text,
            Self::Ping => "ping",
            Self::Pong => "pong",
            Self::Close(_) => "close",
        }
    }
}
