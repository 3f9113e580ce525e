//! A TURN server over UDP (RFC 8656) as a machine: allocations with long-term credentials, permissions,
//! channels, and what they carry.

use std::collections::{BTreeMap, VecDeque};
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use rtcmesh_core::rng::{Rng, Seed};

use super::stun::{
    Builder, Class, MAX_REPLIES, Message, Outgoing, attribute, binding, long_term_key,
};

/// Methods, RFC 8656, section 17.
pub mod method {
    /// Allocate.
    pub const ALLOCATE: u16 = 0x003;
    /// Refresh.
    pub const REFRESH: u16 = 0x004;
    /// Send.
    pub const SEND: u16 = 0x006;
    /// Data.
    pub const DATA: u16 = 0x007;
    /// CreatePermission.
    pub const CREATE_PERMISSION: u16 = 0x008;
    /// ChannelBind.
    pub const CHANNEL_BIND: u16 = 0x009;
}

/// How long a permission lives, section 9.
const PERMISSION_LIFE: Duration = Duration::from_secs(300);

/// How long a channel lives, section 12.
const CHANNEL_LIFE: Duration = Duration::from_secs(600);

/// How long an allocation lives by default, section 3.2.
const LIFETIME: Duration = Duration::from_secs(600);

/// How long a nonce is good (section 5: it should change at least once an hour).
const NONCE_LIFE: Duration = Duration::from_secs(3600);

/// Channel numbers, section 12.
const CHANNELS: std::ops::RangeInclusive<u16> = 0x4000..=0x4FFF;

/// Relayed ports, section 7.2: the dynamic ones.
const FIRST_RELAYED: u16 = 49_152;

/// What a datagram carries at most: 65,535 bytes less the headers of UDP and IPv4; IPv6 does not count its own.
const MAX_V4: usize = 65_507;
const MAX_V6: usize = 65_527;

/// UDP in REQUESTED-TRANSPORT, section 18.8.
const UDP: u8 = 17;

/// The attributes of requests that the server understands.
const KNOWN: [u16; 11] = [
    attribute::USERNAME,
    attribute::REALM,
    attribute::NONCE,
    attribute::LIFETIME,
    attribute::XOR_PEER_ADDRESS,
    attribute::DATA,
    attribute::CHANNEL_NUMBER,
    attribute::REQUESTED_TRANSPORT,
    attribute::REQUESTED_ADDRESS_FAMILY,
    attribute::DONT_FRAGMENT,
    attribute::MESSAGE_INTEGRITY,
];

/// What a TURN server is told.
#[derive(Debug, Clone)]
pub struct TurnConfig {
    /// Where clients reach it.
    pub listen: SocketAddr,
    /// Its realm, RFC 8489, section 14.9.
    pub realm: String,
    /// Users with their passwords.
    pub users: BTreeMap<String, String>,
    /// How many allocations live at a time at most.
    pub max_allocations: usize,
    /// How many permissions, and how many channels, an allocation has at most.
    pub max_permissions: usize,
    /// The longest lifetime of an allocation.
    pub max_lifetime: Duration,
}

impl TurnConfig {
    /// One user, and bounds that no world of ordinary size meets.
    #[must_use]
    pub fn new(listen: SocketAddr, user: &str, password: &str) -> Self {
        Self {
            listen,
            realm: "turn.test".to_owned(),
            users: BTreeMap::from([(user.to_owned(), password.to_owned())]),
            max_allocations: 1024,
            max_permissions: 64,
            max_lifetime: Duration::from_secs(3600),
        }
    }
}

#[derive(Debug)]
struct Allocation {
    relayed: SocketAddr,
    user: String,
    /// The Allocate that made it: the same one again gets the same answer.
    transaction: [u8; 12],
    expires: Duration,
    permissions: BTreeMap<IpAddr, Duration>,
    channels: BTreeMap<u16, (SocketAddr, Duration)>,
}

impl Allocation {
    fn permits(&self, now: Duration, peer: SocketAddr) -> bool {
        self.permissions.get(&peer.ip()).is_some_and(|expires| *expires > now)
    }

    fn channel_of(&self, now: Duration, peer: SocketAddr) -> Option<u16> {
        let mut channels = self.channels.iter();
        let found = channels.find(|(_, (other, expires))| *other == peer && *expires > now);
        found.map(|(number, _)| *number)
    }
}

/// Why a request was refused: an error code and its phrase.
type Refusal = (u16, &'static str);

/// A TURN server. It lives on a host of its own: whatever arrives at any port of `listen`'s address is handed
/// to [`TurnServer::handle_datagram`].
#[derive(Debug)]
pub struct TurnServer {
    config: TurnConfig,
    rng: Rng,
    /// By the client's address.
    allocations: BTreeMap<SocketAddr, Allocation>,
    /// The client of each relayed port.
    relayed: BTreeMap<u16, SocketAddr>,
    next_port: u16,
    nonce: (String, Duration),
    replies: VecDeque<Outgoing>,
}

impl TurnServer {
    /// A server without allocations.
    #[must_use]
    pub fn new(config: TurnConfig, seed: Seed, now: Duration) -> Self {
        let mut rng = Rng::new(seed).fork("turn");
        let nonce = (rng.hex(16), now);
        Self {
            config,
            rng,
            allocations: BTreeMap::new(),
            relayed: BTreeMap::new(),
            next_port: FIRST_RELAYED,
            nonce,
            replies: VecDeque::new(),
        }
    }

    /// How many allocations live.
    #[must_use]
    pub fn allocations(&self) -> usize {
        self.allocations.len()
    }

    /// A datagram that arrived at `to`: of a client at the listening address, of a peer at a relayed one.
    /// What is neither is ignored.
    pub fn handle_datagram(
        &mut self,
        now: Duration,
        to: SocketAddr,
        from: SocketAddr,
        bytes: &[u8],
    ) {
        self.handle_timeout(now);
        if to != self.config.listen {
            self.relay_inwards(now, to, from, bytes);
        } else if bytes.first().is_some_and(|first| (0x40..0x50).contains(first)) {
            self.relay_channel(now, from, bytes);
        } else if let Some(payload) = binding(bytes, from) {
            self.reply(to, from, payload);
        } else if let Some(message) = Message::parse(bytes) {
            match message.class {
                Class::Request => self.request(now, from, &message),
                Class::Indication if message.method == method::SEND => {
                    self.send(now, from, &message);
                }
                _ => {}
            }
        }
    }

    /// The next datagram that it sends.
    pub fn poll_transmit(&mut self) -> Option<Outgoing> {
        self.replies.pop_front()
    }

    /// When the next allocation expires.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Duration> {
        self.allocations.values().map(|allocation| allocation.expires).min()
    }

    /// Forgets what has expired.
    pub fn handle_timeout(&mut self, now: Duration) {
        self.allocations.retain(|_, allocation| {
            let lives = allocation.expires > now;
            if !lives {
                self.relayed.remove(&allocation.relayed.port());
            }
            lives
        });
    }

    /// What is longer than a datagram can be is lost.
    fn reply(&mut self, from: SocketAddr, to: SocketAddr, payload: Vec<u8>) {
        if payload.len() > if to.is_ipv6() { MAX_V6 } else { MAX_V4 } {
            return;
        }
        if self.replies.len() >= MAX_REPLIES {
            self.replies.pop_front();
        }
        self.replies.push_back(Outgoing { from, to, payload });
    }

    fn request(&mut self, now: Duration, client: SocketAddr, request: &Message<'_>) {
        let answer = match self.authenticate(now, request) {
            Ok((user, key)) => {
                let unknown = request.unknown(&KNOWN);
                let outcome = if unknown.is_empty() {
                    self.carry_out(now, client, &user, request)
                } else {
                    Err((420, "Unknown Attribute"))
                };
                let answer = match outcome {
                    Ok(answer) => answer,
                    Err((420, phrase)) => {
                        let numbers: Vec<u8> =
                            unknown.iter().flat_map(|n| n.to_be_bytes()).collect();
                        let answer = Builder::answer(Class::Error, request).error(420, phrase);
                        answer.add(attribute::UNKNOWN_ATTRIBUTES, &numbers)
                    }
                    Err((code, phrase)) => {
                        Builder::answer(Class::Error, request).error(code, phrase)
                    }
                };
                answer.finish(Some(&key))
            }
            Err((code, phrase)) => {
                let answer = Builder::answer(Class::Error, request).error(code, phrase);
                let challenged = matches!(code, 401 | 438);
                let answer = if challenged {
                    answer
                        .add(attribute::REALM, self.config.realm.as_bytes())
                        .add(attribute::NONCE, self.nonce.0.as_bytes())
                } else {
                    answer
                };
                answer.finish(None)
            }
        };
        self.reply(self.config.listen, client, answer);
    }

    /// Who asks, and their key: RFC 8489, section 9.2.4.
    fn authenticate(
        &mut self,
        now: Duration,
        request: &Message<'_>,
    ) -> Result<(String, [u8; 16]), Refusal> {
        const UNAUTHENTICATED: Refusal = (401, "Unauthenticated");
        if now.saturating_sub(self.nonce.1) >= NONCE_LIFE {
            self.nonce = (self.rng.hex(16), now);
        }
        if !request.is_protected() {
            return Err(UNAUTHENTICATED);
        }
        let fields = [attribute::USERNAME, attribute::REALM, attribute::NONCE];
        let [Some(user), Some(realm), Some(nonce)] = fields.map(|field| request.text(field)) else {
            return Err((400, "Bad Request"));
        };
        if nonce != self.nonce.0 {
            return Err((438, "Stale Nonce"));
        }
        let password = self.config.users.get(user).filter(|_| realm == self.config.realm);
        let key = long_term_key(user, realm, password.ok_or(UNAUTHENTICATED)?);
        if request.verify(&key) { Ok((user.to_owned(), key)) } else { Err(UNAUTHENTICATED) }
    }

    fn carry_out(
        &mut self,
        now: Duration,
        client: SocketAddr,
        user: &str,
        request: &Message<'_>,
    ) -> Result<Builder, Refusal> {
        if request.method == method::ALLOCATE {
            return self.allocate(now, client, user, request);
        }
        let (max_lifetime, max) = (self.config.max_lifetime, self.config.max_permissions);
        let v6 = self.config.listen.is_ipv6();
        let Some(allocation) = self.allocations.get_mut(&client) else {
            return Err((437, "Allocation Mismatch"));
        };
        if allocation.user != user {
            return Err((441, "Wrong Credentials"));
        }
        let answer = Builder::answer(Class::Success, request);
        let peers: Option<Vec<_>> = request.addresses(attribute::XOR_PEER_ADDRESS).collect();
        let peers = peers.ok_or((400, "Bad Request"))?;
        if peers.iter().any(|peer| peer.is_ipv6() != v6) {
            return Err((443, "Peer Address Family Mismatch"));
        }
        match request.method {
            method::REFRESH => {
                let lifetime = lifetime(request, max_lifetime, true);
                allocation.expires = now + lifetime;
                if lifetime.is_zero() {
                    self.handle_timeout(now);
                }
                Ok(answer.add(attribute::LIFETIME, &(lifetime.as_secs() as u32).to_be_bytes()))
            }
            method::CREATE_PERMISSION => {
                if peers.is_empty() {
                    return Err((400, "Bad Request"));
                }
                allocation.permissions.retain(|_, expires| *expires > now);
                let new = peers.iter().filter(|p| !allocation.permissions.contains_key(&p.ip()));
                if allocation.permissions.len() + new.count() > max {
                    return Err((508, "Insufficient Capacity"));
                }
                let permissions = peers.iter().map(|peer| (peer.ip(), now + PERMISSION_LIFE));
                allocation.permissions.extend(permissions);
                Ok(answer)
            }
            method::CHANNEL_BIND => {
                let number = request.get(attribute::CHANNEL_NUMBER);
                let number = number.and_then(|value| value.first_chunk()).copied();
                let number = number.map(u16::from_be_bytes).filter(|n| CHANNELS.contains(n));
                let (Some(number), [peer]) = (number, peers.as_slice()) else {
                    return Err((400, "Bad Request"));
                };
                allocation.channels.retain(|_, (_, expires)| *expires > now);
                allocation.permissions.retain(|_, expires| *expires > now);
                let other = allocation.channels.get(&number).is_some_and(|(p, _)| p != peer);
                let elsewhere = allocation.channel_of(now, *peer).is_some_and(|n| n != number);
                if other || elsewhere {
                    return Err((400, "Bad Request"));
                }
                let full = allocation.channels.len() >= max
                    && !allocation.channels.contains_key(&number)
                    || allocation.permissions.len() >= max
                        && !allocation.permissions.contains_key(&peer.ip());
                if full {
                    return Err((508, "Insufficient Capacity"));
                }
                allocation.channels.insert(number, (*peer, now + CHANNEL_LIFE));
                allocation.permissions.insert(peer.ip(), now + PERMISSION_LIFE);
                Ok(answer)
            }
            _ => Err((400, "Bad Request")),
        }
    }

    fn allocate(
        &mut self,
        now: Duration,
        client: SocketAddr,
        user: &str,
        request: &Message<'_>,
    ) -> Result<Builder, Refusal> {
        let known = self.allocations.get(&client);
        let again =
            |known: &Allocation| known.transaction == request.transaction && known.user == user;
        if known.is_some_and(|known| !again(known)) {
            return Err((437, "Allocation Mismatch"));
        }
        match request.get(attribute::REQUESTED_TRANSPORT) {
            None => return Err((400, "Bad Request")),
            Some([UDP, ..]) => {}
            Some(_) => return Err((442, "Unsupported Transport Protocol")),
        }
        // Without a wish it is IPv4's (section 7.2).
        let family = request
            .get(attribute::REQUESTED_ADDRESS_FAMILY)
            .map_or(Some(1), |value| value.first().copied());
        if family != Some(if self.config.listen.is_ipv6() { 2 } else { 1 }) {
            return Err((440, "Address Family not Supported"));
        }
        if known.is_none() && self.allocations.len() >= self.config.max_allocations {
            return Err((486, "Allocation Quota Reached"));
        }
        let (relayed, lifetime) = match known {
            // As long as it still lives (section 7.2).
            Some(known) => (known.relayed, known.expires.saturating_sub(now)),
            None => {
                let relayed = self.relay(client).ok_or((508, "Insufficient Capacity"))?;
                (relayed, lifetime(request, self.config.max_lifetime, false))
            }
        };
        self.allocations.entry(client).or_insert_with(|| Allocation {
            relayed,
            user: user.to_owned(),
            transaction: request.transaction,
            expires: now + lifetime,
            permissions: BTreeMap::new(),
            channels: BTreeMap::new(),
        });
        Ok(Builder::answer(Class::Success, request)
            .address(attribute::XOR_RELAYED_ADDRESS, relayed)
            .add(attribute::LIFETIME, &(lifetime.as_secs() as u32).to_be_bytes())
            .address(attribute::XOR_MAPPED_ADDRESS, client))
    }

    /// A relayed address that nobody has.
    fn relay(&mut self, client: SocketAddr) -> Option<SocketAddr> {
        let after = |port: u16| port.checked_add(1).unwrap_or(FIRST_RELAYED);
        let ports = std::iter::successors(Some(self.next_port), |port| Some(after(*port)));
        let mut ports = ports.take(usize::from(u16::MAX - FIRST_RELAYED) + 1);
        let listen = self.config.listen;
        let port = ports.find(|p| !self.relayed.contains_key(p) && *p != listen.port())?;
        self.next_port = after(port);
        self.relayed.insert(port, client);
        Some(SocketAddr::new(listen.ip(), port))
    }

    /// Send, section 11: from a client to a peer.
    fn send(&mut self, now: Duration, client: SocketAddr, message: &Message<'_>) {
        let Some(allocation) = self.allocations.get(&client) else { return };
        let Some(peer) = message.address(attribute::XOR_PEER_ADDRESS) else { return };
        let Some(data) = message.get(attribute::DATA) else { return };
        if allocation.permits(now, peer) && message.unknown(&KNOWN).is_empty() {
            self.reply(allocation.relayed, peer, data.to_vec());
        }
    }

    /// ChannelData, section 12.6: from a client to a peer. Over UDP it need not be padded.
    fn relay_channel(&mut self, now: Duration, client: SocketAddr, bytes: &[u8]) {
        let Some(allocation) = self.allocations.get(&client) else { return };
        let Some((&[n0, n1, l0, l1], data)) = bytes.split_first_chunk::<4>() else { return };
        let Some(data) = data.get(..usize::from(u16::from_be_bytes([l0, l1]))) else { return };
        let channel = allocation.channels.get(&u16::from_be_bytes([n0, n1]));
        let Some((peer, expires)) = channel.copied() else { return };
        if expires > now && allocation.permits(now, peer) {
            self.reply(allocation.relayed, peer, data.to_vec());
        }
    }

    /// From a peer to a client, sections 11.3 and 12.7.
    fn relay_inwards(&mut self, now: Duration, relayed: SocketAddr, peer: SocketAddr, data: &[u8]) {
        let Some(client) = self.relayed.get(&relayed.port()).copied() else { return };
        let Some(allocation) = self.allocations.get(&client) else { return };
        if allocation.relayed != relayed || !allocation.permits(now, peer) {
            return;
        }
        let payload = if let Some(number) = allocation.channel_of(now, peer) {
            let length = (data.len() as u16).to_be_bytes();
            [number.to_be_bytes().as_slice(), length.as_slice(), data].concat()
        } else {
            let mut transaction = [0; 12];
            self.rng.fill(&mut transaction);
            Builder::new(Class::Indication, method::DATA, transaction)
                .address(attribute::XOR_PEER_ADDRESS, peer)
                .add(attribute::DATA, data)
                .finish(None)
        };
        self.reply(self.config.listen, client, payload);
    }
}

/// The lifetime that a request gets: sections 7.2 and 8.2.
fn lifetime(request: &Message<'_>, most: Duration, zero: bool) -> Duration {
    let asked = request.number(attribute::LIFETIME).map(u64::from).map(Duration::from_secs);
    match asked {
        Some(asked) if zero && asked.is_zero() => Duration::ZERO,
        asked => asked.unwrap_or(LIFETIME).clamp(LIFETIME.min(most), most),
    }
}

#[path = "turn_hostile.rs"]
mod hostile;

pub use hostile::hostile_turn;

#[cfg(test)]
#[path = "turn_tests.rs"]
mod tests;
