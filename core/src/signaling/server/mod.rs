//! The server's machine: rooms, leases, forwarding, limits.

mod announce;
mod bucket;
mod config;
mod forward;
mod metrics;
mod room;
mod rpc;
mod timers;

use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::error::ConfigError;
use crate::id::{LinkId, PeerId};
use crate::rng::{Rng, Seed};
use crate::signaling::message::MAX_MESSAGE;
use crate::time::{Clock, Deadline};

use announce::Pending;
use bucket::Bucket;
use room::{Absent, Room};
use rpc::RpcError;
use timers::Timers;

pub use announce::{Ticket, Verdict};
pub use config::ServerConfig;
pub use metrics::ServerMetrics;

/// The longest path that is a room, in bytes.
const MAX_ROOM: usize = 128;

/// Close codes (RFC 6455, section 7.4.1; 4000 and up are ours).
mod close {
    pub(super) const POLICY: u16 = 1008;
    pub(super) const TRY_AGAIN: u16 = 1013;
    pub(super) const TAKEN_OVER: u16 = 4001;
    pub(super) const SILENT: u16 = 4008;
}

/// What the server wants done. Its `Debug` form shows neither texts, since one of them holds a session
/// key, nor tokens.
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum ServerCommand {
    /// Send a text; report it by [`Server::handle_sent`] when it is written.
    Send {
        /// On which link.
        link: LinkId,
        /// The text, shared by all its receivers.
        text: Arc<str>,
    },
    /// Send a WebSocket ping; report the answer by [`Server::handle_pong`].
    Ping {
        /// On which link.
        link: LinkId,
    },
    /// Close a link, after what was to be sent on it. It need not be reported.
    Close {
        /// Which.
        link: LinkId,
        /// The close code.
        code: u16,
        /// The reason for the close frame.
        reason: &'static str,
    },
    /// Decide whether a peer may announce itself, and tell by [`Server::authorize`].
    Authorize {
        /// Names the question.
        ticket: Ticket,
        /// The room: the path of its URL.
        room: Arc<str>,
        /// The id that it wants.
        peer_id: PeerId,
        /// The token that it brought.
        token: Option<String>,
    },
}

impl fmt::Debug for ServerCommand {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Send { link, text } => write!(f, "Send({link}, {} bytes)", text.len()),
            Self::Ping { link } => write!(f, "Ping({link})"),
            Self::Close { link, code, reason } => write!(f, "Close({link}, {code}, {reason})"),
            Self::Authorize { ticket, room, peer_id, .. } => {
                write!(f, "Authorize({ticket:?}, {room}, {peer_id})")
            }
        }
    }
}

#[derive(Debug)]
struct Connection {
    address: IpAddr,
    room: Arc<str>,
    peer: Option<PeerId>,
    pending: Option<Pending>,
    messages: Bucket,
    queued_bytes: usize,
    queued_messages: usize,
    opened: Instant,
    pinged: Instant,
    /// When the last pong came, at first when it was opened.
    ponged: Instant,
    /// When the last message or pong came.
    heard: Instant,
}

#[derive(Debug)]
struct Address {
    connections: usize,
    announces: Bucket,
}

/// The signaling server without I/O: fed connections and texts, it gives out texts to send.
///
/// Nothing that a client sends makes it fail, and no client sees anything of another room.
pub struct Server {
    config: ServerConfig,
    rng: Rng,
    clock: Clock,
    connections: BTreeMap<LinkId, Connection>,
    rooms: BTreeMap<Arc<str>, Room>,
    addresses: BTreeMap<IpAddr, Address>,
    timers: Timers,
    commands: VecDeque<ServerCommand>,
    counters: ServerMetrics,
    next_ticket: u64,
    next_absence: u64,
}

impl Server {
    /// A server without clients. `unix_now` is the time since the Unix epoch at `now`.
    ///
    /// # Errors
    /// Names the limit that is out of its bounds.
    pub fn new(
        config: ServerConfig,
        seed: Seed,
        now: Instant,
        unix_now: Duration,
    ) -> Result<Self, ConfigError> {
        config.validate()?;
        Ok(Self {
            config,
            rng: Rng::new(seed),
            clock: Clock::new(now, unix_now),
            connections: BTreeMap::new(),
            rooms: BTreeMap::new(),
            addresses: BTreeMap::new(),
            timers: Timers::default(),
            commands: VecDeque::new(),
            counters: ServerMetrics::default(),
            next_ticket: 0,
            next_absence: 0,
        })
    }

    /// A WebSocket was opened at `path` (as sent, a query is ignored), from `address`.
    pub fn handle_open(&mut self, now: Instant, link: LinkId, path: &str, address: IpAddr) {
        let now = self.clock.advance(now);
        if self.connections.contains_key(&link) {
            tracing::error!(%link, "a link was opened twice");
            self.unlink(now, link, false);
        }
        let path = path.split('?').next().unwrap_or_default();
        let path = match path.strip_suffix('/').unwrap_or(path) {
            "" => "/",
            path => path,
        };
        let address = network(address);
        let full = self.connections.len() >= self.config.connections;
        let bucket = |rate: u32| Bucket::new(rate, rate, now);
        let of_address = self.addresses.entry(address).or_insert_with(|| Address {
            connections: 0,
            announces: bucket(self.config.announces_per_second),
        });
        let crowded = of_address.connections >= self.config.connections_per_address;
        of_address.connections += 1;
        let connection = Connection {
            address,
            room: path.into(),
            peer: None,
            pending: None,
            messages: Bucket::new(self.config.message_burst, self.config.messages_per_second, now),
            queued_bytes: 0,
            queued_messages: 0,
            opened: now,
            pinged: now,
            ponged: now,
            heard: now,
        };
        self.connections.insert(link, connection);
        if full || crowded {
            self.counters.limited += 1;
            let what = if full { "the server is full" } else { "too many connections" };
            self.reply_error(link, &RpcError::limit(what), None);
            return self.drop_link(now, link, close::TRY_AGAIN, what);
        }
        if path.len() > MAX_ROOM {
            return self.drop_link(now, link, close::POLICY, "the room's name is too long");
        }
        self.timers.check_later(now, link);
    }

    /// A text message was received.
    pub fn handle_text(&mut self, now: Instant, link: LinkId, text: &str) {
        let now = self.clock.advance(now);
        if !self.admit(now, link, text.len()) {
            return;
        }
        if text.len() > MAX_MESSAGE {
            let error = RpcError::invalid_request("a message has at most 1 MB");
            return self.reply_error(link, &error, None);
        }
        match rpc::parse(text) {
            Ok(call) => self.on_call(now, link, &call),
            Err((error, id)) => self.reply_error(link, &error, id),
        }
    }

    /// A binary message was received: signaling has none.
    pub fn handle_binary(&mut self, now: Instant, link: LinkId) {
        let now = self.clock.advance(now);
        if self.admit(now, link, 0) {
            let error = RpcError::invalid_request("binary frames are not supported");
            self.reply_error(link, &error, None);
        }
    }

    /// A pong was received.
    pub fn handle_pong(&mut self, now: Instant, link: LinkId) {
        let now = self.clock.advance(now);
        if let Some(connection) = self.connections.get_mut(&link) {
            connection.ponged = now;
            connection.heard = now;
        }
    }

    /// One text of `bytes` bytes has been written.
    pub fn handle_sent(&mut self, _now: Instant, link: LinkId, bytes: usize) {
        if let Some(connection) = self.connections.get_mut(&link) {
            connection.queued_bytes = connection.queued_bytes.saturating_sub(bytes);
            connection.queued_messages = connection.queued_messages.saturating_sub(1);
        }
    }

    /// A link was closed by the client, with the code of its close frame, or broke.
    pub fn handle_closed(&mut self, now: Instant, link: LinkId, code: Option<u16>) {
        let now = self.clock.advance(now);
        // RFC 6455, section 7.4.1: its purpose is fulfilled, or it is going away.
        let leaving = matches!(code, Some(1000 | 1001));
        self.unlink(now, link, leaving);
    }

    /// The next thing to do.
    #[must_use]
    pub fn poll_command(&mut self) -> Option<ServerCommand> {
        timers::pop_front(&mut self.commands)
    }

    /// When [`Server::handle_timeout`] wants to be called: at once while commands wait.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Deadline> {
        if !self.commands.is_empty() {
            return Some(Deadline::new(self.clock.now(), "commands to carry out"));
        }
        self.timers.poll_timeout()
    }

    /// What has been counted.
    pub fn metrics(&self) -> ServerMetrics {
        let members = || self.rooms.values().flat_map(|room| room.members.values());
        ServerMetrics {
            connections: self.connections.len() as u64,
            rooms: self.rooms.len() as u64,
            peers: members().count() as u64,
            absent: members().filter(|member| member.absent.is_some()).count() as u64,
            queued_bytes: self.connections.values().map(|c| c.queued_bytes as u64).sum(),
            ..self.counters
        }
    }

    /// How many timers there are, those included that have become meaningless.
    #[cfg(any(test, feature = "sim"))]
    pub(in crate::signaling) fn timers_waiting(&self) -> usize {
        self.timers.len()
    }

    /// How many commands and timers there is room for.
    #[cfg(test)]
    pub(in crate::signaling) fn room(&self) -> usize {
        self.commands.capacity() + self.timers.room()
    }

    /// Counts a message; false where its sender is unknown or sends too many.
    fn admit(&mut self, now: Instant, link: LinkId, bytes: usize) -> bool {
        let Some(connection) = self.connections.get_mut(&link) else { return false };
        self.counters.messages_in += 1;
        self.counters.bytes_in += bytes as u64;
        connection.heard = now;
        if connection.messages.take(now) {
            return true;
        }
        self.counters.limited += 1;
        self.reply_error(link, &RpcError::limit("too many messages"), None);
        self.drop_link(now, link, close::POLICY, "too many messages");
        false
    }

    /// Queues a text for a client; one that does not read is dropped.
    fn send(&mut self, link: LinkId, text: Arc<str>) {
        let Some(connection) = self.connections.get_mut(&link) else { return };
        let waiting = connection.queued_bytes + text.len();
        if waiting > self.config.queue_bytes {
            // A newcomer of a large room gets a message of each peer at once: never fewer may wait.
            let peers = self.rooms.get(&connection.room).map_or(0, |room| room.members.len());
            if connection.queued_messages >= peers {
                self.counters.stuck += 1;
                let now = self.clock.now();
                return self.drop_link(now, link, close::POLICY, "does not read");
            }
        }
        connection.queued_bytes = waiting;
        connection.queued_messages += 1;
        self.counters.messages_out += 1;
        self.counters.bytes_out += text.len() as u64;
        self.commands.push_back(ServerCommand::Send { link, text });
    }

    fn send_all(&mut self, links: Vec<LinkId>, text: &Arc<str>) {
        for link in links {
            self.send(link, text.clone());
        }
    }

    fn reply(&mut self, link: LinkId, text: String) {
        self.send(link, text.into());
    }

    fn reply_error(&mut self, link: LinkId, error: &RpcError, id: Option<&str>) {
        self.counters.errors += 1;
        self.reply(link, error.to_json(id));
    }

    /// Closes a link by our wish; its peer may come back.
    fn drop_link(&mut self, now: Instant, link: LinkId, code: u16, reason: &'static str) {
        if self.connections.contains_key(&link) {
            self.commands.push_back(ServerCommand::Close { link, code, reason });
            self.unlink(now, link, false);
        }
    }

    /// Forgets a connection. Its peer leaves, or is absent for the time being.
    fn unlink(&mut self, now: Instant, link: LinkId, leaving: bool) {
        let Some(connection) = self.connections.remove(&link) else { return };
        if let Some(address) = self.addresses.get_mut(&connection.address) {
            address.connections -= 1;
            if address.connections == 0 {
                self.timers.forget_address_later(now, connection.address);
            }
        }
        let Some(peer) = connection.peer else { return };
        let Some(room) = self.rooms.get_mut(&connection.room) else { return };
        let joins = room.joins;
        let Some(member) = room.members.get_mut(&peer).filter(|m| m.link == Some(link)) else {
            return;
        };
        if leaving {
            return self.leave(&connection.room, &peer, "user_requested");
        }
        let number = self.next_absence;
        self.next_absence += 1;
        member.link = None;
        member.absent = Some(Absent { number, joins, told: false });
        self.timers.absent(now, connection.room, peer, number);
    }

    /// A peer has left its room, for good.
    fn leave(&mut self, room_name: &Arc<str>, peer: &PeerId, reason: &str) {
        let Some(room) = self.rooms.get_mut(room_name) else { return };
        let told = room.members.get(peer).and_then(|m| m.absent).is_some_and(|a| a.told);
        room.remove(peer, &mut self.timers);
        let links = room.links(peer);
        if room.members.is_empty() {
            self.rooms.remove(room_name);
        }
        if !told {
            let text: Arc<str> = forward::disconnected(peer, reason, None).into();
            self.send_all(links, &text);
        }
    }
}

/// What counts as one address: of IPv6 the network of 64 bits, all of which one host may use at will
/// (RFC 4291, section 2.5.4), and IPv4 in whichever form it comes.
fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => {
            IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() & !u128::from(u64::MAX)))
        }
        address => address,
    }
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Neither session keys nor tokens nor addresses.
        f.debug_struct("Server")
            .field("connections", &self.connections.len())
            .field("rooms", &self.rooms.len())
            .finish_non_exhaustive()
    }
}
