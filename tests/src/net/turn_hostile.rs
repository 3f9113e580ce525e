//! Whatever comes to a TURN server: datagrams of clients and of peers read from bytes, beside a model that knows by
//! the server's answers alone what must pass and what may not.

use rtcmesh_core::hostile::Bytes;

use super::super::stun::{damaged, raw};
use super::*;

/// What an answer is longer than its question at most: who asks in another's name does little harm with it.
const MAX_GROWTH: usize = 160;

const USERS: [(&str, &str); 2] = [("alice", "secret"), ("bob", "hidden")];
const MAX_ALLOCATIONS: usize = 3;
const MAX_PERMISSIONS: usize = 3;
const MAX_LIFETIME: Duration = Duration::from_secs(1800);

/// Calls of a TURN server, beside a model of it.
///
/// # Panics
///
/// Where a promise is broken: that is a mistake of the library, not of the bytes.
#[doc(hidden)]
pub fn hostile_turn(bytes: &[u8]) {
    let mut bytes = Bytes(bytes);
    let mut world = Model::new(bytes.one_in(4));
    // The first steps of everybody are known: what comes next is what is looked for.
    if bytes.one_in(2) {
        for _ in 0..2 {
            let request = world.request(method::ALLOCATE, 0, &mut Bytes(&[]));
            world.deliver(world.listen, world.clients[0], &request);
        }
    }
    while !bytes.is_empty() {
        world.step(&mut bytes);
    }
    world.pass(MAX_LIFETIME);
    let server = &world.server;
    assert!(server.allocations.is_empty() && server.relayed.is_empty(), "nothing lives for ever");
    assert_eq!(server.poll_timeout(), None);
}

/// What is known of an allocation by the answers to its client.
struct Known {
    relayed: SocketAddr,
    user: usize,
    transaction: [u8; 12],
    expires: Duration,
    permissions: BTreeMap<IpAddr, Duration>,
    channels: BTreeMap<u16, (SocketAddr, Duration)>,
}

struct Model {
    server: TurnServer,
    now: Duration,
    listen: SocketAddr,
    clients: [SocketAddr; 4],
    peers: [SocketAddr; 5],
    /// By client.
    known: BTreeMap<SocketAddr, Known>,
    nonce: String,
    transactions: u8,
    last: Vec<u8>,
    flooded: bool,
}

impl Model {
    fn new(v6: bool) -> Self {
        let at = |number: u16, port: u16, v6: bool| {
            let ip =
                if v6 { format!("[2001:db8::{number}]") } else { format!("198.18.0.{number}") };
            format!("{ip}:{port}").parse::<SocketAddr>().expect("an address")
        };
        let listen = at(1, 3478, v6);
        let mut config = TurnConfig::new(listen, USERS[0].0, USERS[0].1);
        config.users = USERS.map(|(user, password)| (user.to_owned(), password.to_owned())).into();
        (config.max_allocations, config.max_permissions) = (MAX_ALLOCATIONS, MAX_PERMISSIONS);
        config.max_lifetime = MAX_LIFETIME;
        Self {
            server: TurnServer::new(config, Seed::from_number(1), Duration::ZERO),
            now: Duration::ZERO,
            listen,
            // One of them is behind the same address as another, and one is also a peer.
            clients: [at(2, 5000, v6), at(2, 5001, v6), at(3, 5000, v6), at(4, 5000, v6)],
            peers: [
                at(4, 5000, v6),
                at(5, 6000, v6),
                at(5, 6001, v6),
                at(6, 6000, v6),
                at(7, 1, !v6),
            ],
            known: BTreeMap::new(),
            nonce: String::new(),
            transactions: 0,
            last: Vec::new(),
            flooded: false,
        }
    }

    fn step(&mut self, bytes: &mut Bytes<'_>) {
        let what = bytes.byte() % 16;
        let client = bytes.one_of(&self.clients);
        let datagram = match what {
            0..=6 => {
                let methods = [
                    method::ALLOCATE,
                    method::REFRESH,
                    method::CREATE_PERMISSION,
                    method::CHANNEL_BIND,
                    super::super::stun::BINDING,
                    method::DATA,
                ];
                let method = bytes.one_of(&methods);
                let user = usize::from(bytes.one_in(8));
                let request = self.request(method, user, bytes);
                damaged(request, bytes)
            }
            7 | 8 => {
                let indication = Builder::new(Class::Indication, method::SEND, [9; 12])
                    .address(attribute::XOR_PEER_ADDRESS, self.peer(bytes))
                    .add(attribute::DATA, &data(bytes))
                    .finish(None);
                damaged(indication, bytes)
            }
            9 => {
                let data = data(bytes);
                let head = [CHANNELS.start() + u16::from(bytes.byte() % 4), data.len() as u16];
                let head = head.map(u16::to_be_bytes).concat();
                damaged([head, data].concat(), bytes)
            }
            10..=12 => {
                let to = match bytes.byte() % 4 {
                    0 => SocketAddr::new(self.listen.ip(), bytes.short()),
                    n => {
                        let relayed: Vec<_> = self.known.values().map(|k| k.relayed).collect();
                        relayed.get(usize::from(n) - 1).copied().unwrap_or(self.listen)
                    }
                };
                let (peer, data) = (self.peer(bytes), data(bytes));
                self.deliver(to, peer, &data);
                return;
            }
            13 => raw(bytes),
            14 => {
                self.pass(Duration::from_millis(u64::from(bytes.short()) * 50));
                return;
            }
            _ => {
                if !self.flooded && bytes.one_in(8) {
                    self.flood(client);
                }
                // What was sent once comes again, maybe from somewhere else.
                self.last.clone()
            }
        };
        self.deliver(self.listen, client, &datagram);
        self.last = datagram;
    }

    /// A peer of the list, or one that is a relayed address of this server.
    fn peer(&self, bytes: &mut Bytes<'_>) -> SocketAddr {
        let mut relayed = self.known.values().map(|known| known.relayed);
        let one = if bytes.one_in(8) { relayed.next() } else { None };
        one.unwrap_or_else(|| bytes.one_of(&self.peers))
    }

    /// A request in the name of a user, as clients write it or nearly so.
    fn request(&mut self, method: u16, user: usize, bytes: &mut Bytes<'_>) -> Vec<u8> {
        self.transactions += u8::from(self.transactions < u8::MAX);
        let number = if bytes.byte() % 8 == 7 { bytes.byte() } else { self.transactions };
        let mut builder = Builder::new(Class::Request, method, [number; 12]);
        match method {
            method::ALLOCATE => {
                let protocol = if bytes.byte() % 16 == 15 { bytes.byte() } else { UDP };
                builder = builder.add(attribute::REQUESTED_TRANSPORT, &[protocol, 0, 0, 0]);
                if self.listen.is_ipv6() {
                    builder = builder.add(attribute::REQUESTED_ADDRESS_FAMILY, &[2, 0, 0, 0]);
                }
            }
            method::CREATE_PERMISSION | method::CHANNEL_BIND => {
                let count = if bytes.byte() % 4 == 3 { bytes.byte() % 8 } else { 1 };
                for _ in 0..count {
                    builder = builder.address(attribute::XOR_PEER_ADDRESS, self.peer(bytes));
                }
                let number = CHANNELS.start() + u16::from(bytes.byte() % 4);
                let value = [number.to_be_bytes(), [0, 0]].concat();
                builder = builder.add(attribute::CHANNEL_NUMBER, &value);
            }
            _ => {}
        }
        if bytes.byte() % 4 == 3 {
            let seconds = u32::from(bytes.short()) / 16;
            builder = builder.add(attribute::LIFETIME, &seconds.to_be_bytes());
        }
        while bytes.byte() % 8 == 7 {
            builder = builder.add(u16::from(bytes.byte()), bytes.some());
        }
        let (name, password) = USERS[user];
        let nonce = if bytes.byte() % 16 == 15 { "made up" } else { &self.nonce };
        builder = builder
            .add(attribute::USERNAME, name.as_bytes())
            .add(attribute::REALM, b"turn.test")
            .add(attribute::NONCE, nonce.as_bytes());
        let password = if bytes.byte() % 16 == 15 { "guessed" } else { password };
        let key = long_term_key(name, "turn.test", password);
        builder.finish((bytes.byte() % 16 != 15).then_some(&key))
    }

    /// Time passes, deadline by deadline.
    fn pass(&mut self, time: Duration) {
        let end = self.now + time;
        while let Some(due) = self.server.poll_timeout().filter(|due| *due <= end) {
            assert!(due > self.now, "a deadline in the past: {due:?} at {:?}", self.now);
            self.now = due;
            self.server.handle_timeout(self.now);
            self.forget();
            self.audit();
        }
        self.now = end;
    }

    /// What has expired counts no more.
    fn forget(&mut self) {
        let now = self.now;
        self.known.retain(|_, known| known.expires > now);
        for known in self.known.values_mut() {
            known.permissions.retain(|_, expires| *expires > now);
            known.channels.retain(|_, (_, expires)| *expires > now);
        }
    }

    /// What the server holds is what its clients know of, within its bounds.
    fn audit(&self) {
        let server = &self.server;
        assert!(server.allocations.len() <= MAX_ALLOCATIONS);
        assert!(
            server.allocations.keys().eq(self.known.keys()),
            "allocations that nobody knows of"
        );
        for (client, allocation) in &server.allocations {
            let known = &self.known[client];
            assert_eq!((allocation.relayed, allocation.expires), (known.relayed, known.expires));
            assert!(allocation.expires > self.now, "it has expired");
            assert_eq!(server.relayed.get(&allocation.relayed.port()), Some(client));
            assert!(allocation.permissions.len() <= MAX_PERMISSIONS);
            assert!(allocation.channels.len() <= MAX_PERMISSIONS);
        }
        assert_eq!(server.relayed.len(), server.allocations.len(), "ports of nobody");
        assert_eq!(server.poll_timeout(), self.known.values().map(|known| known.expires).min());
        assert!(server.nonce.1 <= self.now);
    }

    /// Nobody fetches what the server sends.
    fn flood(&mut self, client: SocketAddr) {
        self.flooded = true;
        let question =
            Builder::new(Class::Request, super::super::stun::BINDING, [1; 12]).finish(None);
        for _ in 0..MAX_REPLIES + 10 {
            self.server.handle_datagram(self.now, self.listen, client, &question);
        }
        let waiting = std::iter::from_fn(|| self.server.poll_transmit()).count();
        assert_eq!(waiting, MAX_REPLIES);
        self.forget();
    }

    /// One datagram, and what comes of it: nothing that it should not, and all that it must.
    fn deliver(&mut self, to: SocketAddr, from: SocketAddr, payload: &[u8]) {
        let most = if self.listen.is_ipv6() { MAX_V6 } else { MAX_V4 };
        let payload = &payload[..payload.len().min(most)];
        self.server.handle_datagram(self.now, to, from, payload);
        self.forget();
        let reply = self.server.poll_transmit();
        assert_eq!(self.server.poll_transmit(), None, "two for one");
        assert!(
            reply.as_ref().is_none_or(|reply| reply.payload.len() <= most),
            "no datagram is as long"
        );
        if to != self.listen {
            self.inwards(to, from, payload, reply, most);
        } else if payload.first().is_some_and(|first| (0x40..0x50).contains(first)) {
            let expected = self.of_channel(from, payload);
            assert_eq!(reply, expected, "data of a channel");
        } else if let Some(message) = Message::parse(payload) {
            match message.class {
                Class::Request => {
                    let reply = reply.expect("a request has an answer");
                    assert_eq!((reply.from, reply.to), (self.listen, from), "answered to another");
                    self.answer(from, &message, payload.len(), &reply.payload);
                }
                Class::Indication if message.method == method::SEND => {
                    assert_eq!(reply, self.of_indication(from, &message), "data of an indication");
                }
                _ => assert_eq!(reply, None, "nothing was asked"),
            }
        } else {
            assert_eq!(reply, None, "an answer to noise");
        }
        self.audit();
    }

    /// What comes of data for a relayed address.
    fn inwards(
        &self,
        to: SocketAddr,
        peer: SocketAddr,
        data: &[u8],
        reply: Option<Outgoing>,
        most: usize,
    ) {
        let owner = self.known.iter().find(|(_, known)| known.relayed == to);
        let permitted = owner.filter(|(_, known)| known.permissions.contains_key(&peer.ip()));
        let Some((client, known)) = permitted else {
            assert_eq!(reply, None, "who has no permission is not heard");
            return;
        };
        let channel = known.channels.iter().find(|(_, (other, _))| *other == peer);
        let Some(reply) = reply else {
            // The header with an address of IPv6, and the padding.
            let least = if channel.is_some() { 4 } else { 20 + 24 + 4 + 3 };
            assert!(data.len() + least > most, "who has a permission is heard");
            return;
        };
        assert_eq!((reply.from, reply.to), (self.listen, *client), "for another client");
        if let Some((number, _)) = channel {
            let (head, rest) = reply.payload.split_at(4);
            assert_eq!(head, [*number, data.len() as u16].map(u16::to_be_bytes).concat());
            assert!(rest == data, "other data");
        } else {
            let message = Message::parse(&reply.payload).expect("an indication is a message");
            assert_eq!((message.class, message.method), (Class::Indication, method::DATA));
            assert_eq!(message.address(attribute::XOR_PEER_ADDRESS), Some(peer));
            assert!(message.get(attribute::DATA) == Some(data), "other data");
        }
    }

    fn of_channel(&self, client: SocketAddr, bytes: &[u8]) -> Option<Outgoing> {
        let known = self.known.get(&client)?;
        let number = u16::from_be_bytes([*bytes.first()?, *bytes.get(1)?]);
        let length = usize::from(u16::from_be_bytes([*bytes.get(2)?, *bytes.get(3)?]));
        let payload = bytes.get(4..4 + length)?.to_vec();
        let (peer, _) = *known.channels.get(&number)?;
        known.permissions.get(&peer.ip())?;
        Some(Outgoing { from: known.relayed, to: peer, payload })
    }

    fn of_indication(&self, client: SocketAddr, message: &Message<'_>) -> Option<Outgoing> {
        let known = self.known.get(&client)?;
        let peer = message.address(attribute::XOR_PEER_ADDRESS)?;
        let payload = message.get(attribute::DATA)?.to_vec();
        known.permissions.get(&peer.ip())?;
        let whole = message.unknown(&KNOWN).is_empty();
        whole.then_some(Outgoing { from: known.relayed, to: peer, payload })
    }

    /// What an answer says is so from now on.
    fn answer(&mut self, client: SocketAddr, request: &Message<'_>, length: usize, bytes: &[u8]) {
        let answer = Message::parse(bytes).expect("an answer is a message");
        assert_eq!((answer.method, answer.transaction), (request.method, request.transaction));
        assert!(bytes.len() <= length + MAX_GROWTH, "{} bytes for {length}", bytes.len());
        if request.method == super::super::stun::BINDING {
            assert_eq!(answer.class, Class::Success);
            assert_eq!(answer.address(attribute::XOR_MAPPED_ADDRESS), Some(client));
            return;
        }
        if let Some(nonce) = answer.text(attribute::NONCE) {
            assert!(matches!(answer.error(), Some(401 | 438)), "challenged without need");
            self.nonce = nonce.to_owned();
        }
        let name = request.text(attribute::USERNAME);
        let user = USERS.iter().position(|(user, _)| Some(*user) == name);
        let key = user.map(|user| long_term_key(USERS[user].0, "turn.test", USERS[user].1));
        let proven = key.as_ref().is_some_and(|key| request.verify(key))
            && request.text(attribute::NONCE) == Some(&self.server.nonce.0)
            && request.text(attribute::REALM) == Some("turn.test");
        let sealed = key.as_ref().is_some_and(|key| answer.verify(key));
        assert_eq!((answer.is_protected(), sealed), (proven, proven), "who is who");
        if answer.class == Class::Error {
            assert!(answer.error().is_some_and(|code| (400..600).contains(&code)));
            return;
        }
        assert_eq!((answer.class, answer.error()), (Class::Success, None));
        let user = user.filter(|_| proven).expect("only who is known has success");
        self.succeeded(client, user, request, &answer);
    }

    fn succeeded(
        &mut self,
        client: SocketAddr,
        user: usize,
        request: &Message<'_>,
        answer: &Message<'_>,
    ) {
        let lifetime = answer.number(attribute::LIFETIME);
        let lifetime = lifetime.map(|seconds| Duration::from_secs(seconds.into()));
        assert!(lifetime.is_none_or(|lifetime| lifetime <= MAX_LIFETIME));
        assert!(request.unknown(&KNOWN).is_empty(), "it has not understood");
        if request.method == method::ALLOCATE {
            let relayed = answer.address(attribute::XOR_RELAYED_ADDRESS).expect("an address");
            assert_eq!(answer.address(attribute::XOR_MAPPED_ADDRESS), Some(client));
            assert!(relayed.ip() == self.listen.ip() && relayed.port() >= FIRST_RELAYED);
            let expires = self.now + lifetime.expect("how long it lives");
            if let Some(known) = self.known.get(&client) {
                assert_eq!((known.relayed, known.user), (relayed, user));
                assert_eq!(known.transaction, request.transaction);
                assert!(expires <= known.expires, "it does not live as long");
                return;
            }
            assert!(self.known.values().all(|known| known.relayed != relayed), "another's");
            let known = Known {
                relayed,
                user,
                transaction: request.transaction,
                expires,
                permissions: BTreeMap::new(),
                channels: BTreeMap::new(),
            };
            self.known.insert(client, known);
            return;
        }
        let peers = request.addresses(attribute::XOR_PEER_ADDRESS);
        let peers: Vec<_> = peers.map(|peer| peer.expect("an address")).collect();
        let known = self.known.get_mut(&client).expect("only who has an allocation");
        assert_eq!(known.user, user, "another's allocation");
        assert!(peers.iter().all(|peer| peer.is_ipv6() == self.listen.is_ipv6()));
        match request.method {
            method::REFRESH => {
                known.expires = self.now + lifetime.expect("how long it lives");
                self.forget();
            }
            method::CREATE_PERMISSION => {
                assert!(!peers.is_empty());
                let expires = self.now + PERMISSION_LIFE;
                known.permissions.extend(peers.iter().map(|peer| (peer.ip(), expires)));
            }
            method::CHANNEL_BIND => {
                let number = request.get(attribute::CHANNEL_NUMBER).expect("a number");
                let number = u16::from_be_bytes([number[0], number[1]]);
                let [peer] = peers.as_slice() else { panic!("a channel to {} peers", peers.len()) };
                assert!(CHANNELS.contains(&number));
                let same =
                    |(n, (p, _)): (&u16, &(SocketAddr, Duration))| (*n == number) == (p == peer);
                assert!(known.channels.iter().all(same), "two channels of one, or one of two");
                known.channels.insert(number, (*peer, self.now + CHANNEL_LIFE));
                known.permissions.insert(peer.ip(), self.now + PERMISSION_LIFE);
            }
            other => panic!("success of method {other:#x}"),
        }
    }
}

/// Data to pass on: mostly short.
fn data(bytes: &mut Bytes<'_>) -> Vec<u8> {
    let value = bytes.byte();
    let length = if value == 255 { usize::from(bytes.short()) } else { usize::from(value % 16) };
    vec![value; length]
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn nothing_passes_but_what_was_permitted(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
            hostile_turn(&bytes);
        }
    }
}
