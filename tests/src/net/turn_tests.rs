//! Tests of the TURN server, by a client as small as possible.

use proptest::prelude::*;
use rtcmesh_core::rng::{Rng, Seed};

use super::*;

const USER: &str = "alice";

fn address(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

fn client() -> SocketAddr {
    address("198.18.0.9:5000")
}

fn peer() -> SocketAddr {
    address("198.18.0.7:6000")
}

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// A server with what its client remembers.
struct Test {
    server: TurnServer,
    nonce: String,
    user: &'static str,
    password: &'static str,
    transactions: u8,
    now: Duration,
}

impl Test {
    fn new(change: impl FnOnce(&mut TurnConfig)) -> Self {
        let mut config = TurnConfig::new(address("198.18.0.1:3478"), USER, "secret");
        change(&mut config);
        let server = TurnServer::new(config, Seed::from_number(1), Duration::ZERO);
        let nonce = String::new();
        let (user, password, now) = (USER, "secret", Duration::ZERO);
        Self { server, nonce, user, password, transactions: 0, now }
    }

    /// With an allocation: its relayed address.
    fn allocated() -> (Self, SocketAddr) {
        let mut test = Self::new(|_| {});
        assert_eq!(test.allocate(client()), Err(401));
        let relayed = test.allocate(client()).unwrap();
        (test, relayed)
    }

    fn deliver(&mut self, to: SocketAddr, from: SocketAddr, bytes: &[u8]) -> Option<Outgoing> {
        self.server.handle_datagram(self.now, to, from, bytes);
        let reply = self.server.poll_transmit();
        assert_eq!(self.server.poll_transmit(), None);
        reply
    }

    /// What the server answers: the code, or the whole answer.
    fn ask(
        &mut self,
        from: SocketAddr,
        method: u16,
        add: impl FnOnce(Builder) -> Builder,
    ) -> Result<Vec<u8>, u16> {
        self.transactions += 1;
        let request = Builder::new(Class::Request, method, [self.transactions; 12]);
        let request = add(request)
            .add(attribute::USERNAME, self.user.as_bytes())
            .add(attribute::REALM, b"turn.test")
            .add(attribute::NONCE, self.nonce.as_bytes());
        let key = long_term_key(self.user, "turn.test", self.password);
        let protected = !self.nonce.is_empty();
        let request = request.finish(protected.then_some(&key));
        let listen = self.server.config.listen;
        let reply = self.deliver(listen, from, &request).unwrap();
        assert_eq!((reply.from, reply.to), (listen, from));
        let answer = Message::parse(&reply.payload).unwrap();
        assert_eq!(answer.transaction, [self.transactions; 12]);
        if let Some(nonce) = answer.text(attribute::NONCE) {
            self.nonce = nonce.to_owned();
        } else {
            assert!(answer.verify(&key));
        }
        match answer.error() {
            Some(code) => Err(code),
            None => Ok(reply.payload),
        }
    }

    fn allocate(&mut self, from: SocketAddr) -> Result<SocketAddr, u16> {
        let answer = self.ask(from, method::ALLOCATE, |b| {
            b.add(attribute::REQUESTED_TRANSPORT, &[UDP, 0, 0, 0])
        })?;
        let answer = Message::parse(&answer).unwrap();
        assert_eq!(answer.address(attribute::XOR_MAPPED_ADDRESS), Some(from));
        Ok(answer.address(attribute::XOR_RELAYED_ADDRESS).unwrap())
    }

    fn refresh(&mut self, lifetime: u32) -> Result<u32, u16> {
        let value = lifetime.to_be_bytes();
        let answer = self.ask(client(), method::REFRESH, |b| b.add(attribute::LIFETIME, &value))?;
        Ok(Message::parse(&answer).unwrap().number(attribute::LIFETIME).unwrap())
    }

    fn permit(&mut self, peer: SocketAddr) -> Result<(), u16> {
        let add = |b: Builder| b.address(attribute::XOR_PEER_ADDRESS, peer);
        self.ask(client(), method::CREATE_PERMISSION, add).map(|_| ())
    }

    fn bind(&mut self, number: u16, peer: SocketAddr) -> Result<(), u16> {
        let [n0, n1] = number.to_be_bytes();
        let add = |b: Builder| {
            b.add(attribute::CHANNEL_NUMBER, &[n0, n1, 0, 0])
                .address(attribute::XOR_PEER_ADDRESS, peer)
        };
        self.ask(client(), method::CHANNEL_BIND, add).map(|_| ())
    }

    fn send(&mut self, peer: SocketAddr, data: &[u8]) -> Option<Outgoing> {
        let message = Builder::new(Class::Indication, method::SEND, [9; 12])
            .address(attribute::XOR_PEER_ADDRESS, peer)
            .add(attribute::DATA, data)
            .finish(None);
        self.deliver(self.server.config.listen, client(), &message)
    }
}

#[test]
fn indications_pass_both_ways_by_permission() {
    let (mut test, relayed) = Test::allocated();
    assert_eq!(relayed.ip(), test.server.config.listen.ip());
    assert_eq!(test.send(peer(), b"early"), None);
    assert_eq!(test.deliver(relayed, peer(), b"early"), None);
    test.permit(peer()).unwrap();
    let sent = test.send(peer(), b"hello").unwrap();
    assert_eq!(sent, Outgoing { from: relayed, to: peer(), payload: b"hello".to_vec() });
    // Permissions are of an address, whatever the port (section 9).
    let other_port = SocketAddr::new(peer().ip(), 1);
    let received = test.deliver(relayed, other_port, b"back").unwrap();
    assert_eq!(received.to, client());
    let message = Message::parse(&received.payload).unwrap();
    assert_eq!((message.class, message.method), (Class::Indication, method::DATA));
    assert_eq!(message.address(attribute::XOR_PEER_ADDRESS), Some(other_port));
    assert_eq!(message.get(attribute::DATA), Some(b"back".as_slice()));
    test.now = PERMISSION_LIFE;
    assert_eq!(test.send(peer(), b"late"), None);
    assert_eq!(test.deliver(relayed, peer(), b"late"), None);
}

#[test]
fn channels_pass_both_ways() {
    let (mut test, relayed) = Test::allocated();
    test.bind(0x4000, peer()).unwrap();
    let listen = test.server.config.listen;
    let sent = test.deliver(listen, client(), b"\x40\x00\x00\x03abc.").unwrap();
    assert_eq!(sent, Outgoing { from: relayed, to: peer(), payload: b"abc".to_vec() });
    let received = test.deliver(relayed, peer(), b"xyz").unwrap();
    assert_eq!(received.payload, b"\x40\x00\x00\x03xyz");
    for bad in [b"\x40\x01\x00\x01a".as_slice(), b"\x40\x00\x00\x09abc", b"\x40\x00", b"\x40"] {
        assert_eq!(test.deliver(listen, client(), bad), None);
        assert_eq!(test.deliver(listen, peer(), bad), None);
    }
    // Another peer on this number, this peer on another one, and a number that is none (section 12.2).
    assert_eq!(test.bind(0x4000, address("198.18.0.8:1")), Err(400));
    assert_eq!(test.bind(0x4001, peer()), Err(400));
    assert_eq!(test.bind(0x5000, address("198.18.0.8:1")), Err(400));
    test.now = seconds(299);
    test.bind(0x4000, peer()).unwrap();
    test.now = seconds(598);
    assert!(test.deliver(listen, client(), b"\x40\x00\x00\x01a").is_some());
    test.now = seconds(599);
    assert_eq!(test.deliver(listen, client(), b"\x40\x00\x00\x01a"), None);
}

#[test]
fn allocations_are_refreshed_deleted_and_expire() {
    let (mut test, relayed) = Test::allocated();
    assert_eq!(test.server.poll_timeout(), Some(LIFETIME));
    test.now = seconds(500);
    assert_eq!(test.refresh(700), Ok(700));
    assert_eq!(test.server.poll_timeout(), Some(seconds(1200)));
    assert_eq!(test.refresh(1), Ok(600));
    assert_eq!(test.refresh(1_000_000), Ok(3600));
    assert_eq!(test.refresh(0), Ok(0));
    assert_eq!((test.server.allocations(), test.server.poll_timeout()), (0, None));
    assert_eq!(test.refresh(600), Err(437));
    let next = test.allocate(client()).unwrap();
    assert_ne!(next, relayed);
    test.server.handle_timeout(seconds(1099));
    assert_eq!(test.server.allocations(), 1);
    test.server.handle_timeout(seconds(1100));
    assert_eq!((test.server.allocations(), test.server.relayed.len()), (0, 0));
}

#[test]
fn an_allocate_that_is_sent_again_gets_the_same_answer() {
    let (mut test, relayed) = Test::allocated();
    test.transactions -= 1;
    assert_eq!(test.allocate(client()), Ok(relayed));
    assert_eq!(test.allocate(client()), Err(437));
}

#[test]
fn an_allocate_that_is_sent_again_tells_how_long_is_left() {
    let (mut test, _) = Test::allocated();
    (test.transactions, test.now) = (test.transactions - 1, seconds(100));
    let add = |b: Builder| b.add(attribute::REQUESTED_TRANSPORT, &[UDP, 0, 0, 0]);
    let answer = test.ask(client(), method::ALLOCATE, add).unwrap();
    let left = Message::parse(&answer).unwrap().number(attribute::LIFETIME);
    assert_eq!(left, Some(500));
}

#[test]
fn nobody_gets_the_allocation_of_another_user() {
    let (mut test, _) = Test::allocated();
    test.server.config.users.insert("bob".to_owned(), "hidden".to_owned());
    (test.user, test.password) = ("bob", "hidden");
    assert_eq!(test.refresh(600), Err(441));
    // Not by the same transaction either.
    test.transactions = 1;
    assert_eq!(test.allocate(client()), Err(437));
}

#[test]
fn what_fits_into_no_datagram_is_lost() {
    let (mut test, relayed) = Test::allocated();
    test.permit(peer()).unwrap();
    // An indication has a header of 20 bytes and one of 4 for each attribute; an address is 8.
    let fits = MAX_V4 - 20 - 12 - 4;
    assert!(test.deliver(relayed, peer(), &vec![0; fits / 4 * 4]).is_some());
    assert_eq!(test.deliver(relayed, peer(), &vec![0; fits + 1]), None);
    test.bind(0x4000, peer()).unwrap();
    assert!(test.deliver(relayed, peer(), &vec![0; MAX_V4 - 4]).is_some());
    assert_eq!(test.deliver(relayed, peer(), &vec![0; MAX_V4]), None);
}

#[test]
fn credentials_are_checked() {
    let mut test = Test::new(|_| {});
    assert_eq!(test.allocate(client()), Err(401));
    test.password = "guess";
    assert_eq!(test.allocate(client()), Err(401));
    test.password = "secret";
    let old = std::mem::replace(&mut test.nonce, "made-up".to_owned());
    assert_eq!(test.allocate(client()), Err(438));
    assert_eq!(test.nonce, old);
    test.allocate(client()).unwrap();
    test.now = NONCE_LIFE;
    assert_eq!(test.refresh(600), Err(438));
    assert_ne!(test.nonce, old);
    assert_eq!(test.refresh(600), Err(437));
}

#[test]
fn what_is_not_offered_is_refused() {
    let (mut test, _) = Test::allocated();
    let mut ask = |number, value: &[u8]| {
        let add = |b: Builder| {
            let b = if number == attribute::REQUESTED_TRANSPORT {
                b
            } else {
                b.add(attribute::REQUESTED_TRANSPORT, &[UDP, 0, 0, 0])
            };
            b.add(number, value)
        };
        test.ask(address("198.18.0.10:1"), method::ALLOCATE, add).map(|_| ())
    };
    assert_eq!(ask(attribute::REQUESTED_TRANSPORT, &[6, 0, 0, 0]), Err(442));
    assert_eq!(ask(attribute::REQUESTED_ADDRESS_FAMILY, &[2, 0, 0, 0]), Err(440));
    // EVEN-PORT.
    assert_eq!(ask(0x0018, &[0]), Err(420));
    assert_eq!(ask(attribute::DONT_FRAGMENT, &[]), Ok(()));
    assert_eq!(test.permit(address("[2001:db8::1]:1")), Err(443));
    assert_eq!(test.ask(client(), method::CREATE_PERMISSION, |b| b).map(|_| ()), Err(400));
    assert_eq!(test.ask(client(), 0xFFF, |b| b).map(|_| ()), Err(400));
}

#[test]
fn allocations_permissions_and_channels_are_bounded() {
    let mut test = Test::new(|config| (config.max_allocations, config.max_permissions) = (2, 2));
    assert_eq!(test.allocate(client()), Err(401));
    test.allocate(client()).unwrap();
    test.allocate(address("198.18.0.10:1")).unwrap();
    assert_eq!(test.allocate(address("198.18.0.11:1")), Err(486));
    for n in 0..2 {
        test.bind(0x4000 + n, address(&format!("198.18.1.{n}:1"))).unwrap();
    }
    assert_eq!(test.permit(address("198.18.1.2:1")), Err(508));
    assert_eq!(test.bind(0x4002, address("198.18.1.0:2")), Err(508));
    test.permit(address("198.18.1.1:9")).unwrap();
    test.now = PERMISSION_LIFE;
    test.permit(address("198.18.1.2:1")).unwrap();
}

proptest! {
    #[test]
    fn strange_bytes_do_no_harm(seed: u64, count in 1_usize..50) {
        let (mut test, relayed) = Test::allocated();
        test.permit(peer()).unwrap();
        let mut rng = Rng::new(Seed::from_number(seed));
        let listen = test.server.config.listen;
        for _ in 0..count {
            let mut bytes = vec![0; (rng.next_u64() % 64) as usize];
            rng.fill(&mut bytes);
            if rng.next_u64().is_multiple_of(2) && bytes.len() >= 20 {
                let length = (bytes.len() - 20) as u16;
                bytes[..2].copy_from_slice(&[0, (rng.next_u64() % 10) as u8]);
                bytes[2..4].copy_from_slice(&length.to_be_bytes());
                bytes[4..8].copy_from_slice(&[0x21, 0x12, 0xA4, 0x42]);
            }
            test.deliver(listen, client(), &bytes);
            // A peer may send anything.
            prop_assert!(test.deliver(relayed, peer(), &bytes).is_some());
        }
        prop_assert_eq!(test.server.allocations(), 1);
    }
}
