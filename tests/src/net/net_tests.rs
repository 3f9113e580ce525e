//! Tests of all parts together: hosts that find each other by the servers in the network.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use rtcmesh_core::rng::Seed;

use super::stun::{BINDING, Builder, Class, Message, attribute, long_term_key};
use super::turn::method;
use super::*;

fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

/// A network with a STUN and a TURN server, and what has arrived at the other hosts.
struct World {
    network: Network,
    now: Duration,
    stun: (SocketAddr, StunServer),
    turn: (SocketAddr, TurnServer),
    arrived: Vec<Arrival>,
}

const STUN: usize = 100;
const TURN: usize = 101;

impl World {
    fn new() -> Self {
        let mut network = Network::new(Seed::from_number(11));
        let public = network.add_site(&[]);
        let mut add = |host| {
            SocketAddr::new(network.add_interface(host, public, Access::default(), false), 3478)
        };
        let (stun, turn) = (add(STUN), add(TURN));
        let config = TurnConfig::new(turn, "user", "pass");
        let server = TurnServer::new(config, Seed::from_number(12), Duration::ZERO);
        Self {
            network,
            now: Duration::ZERO,
            stun: (stun, StunServer::new()),
            turn: (turn, server),
            arrived: Vec::new(),
        }
    }

    fn host(&mut self, host: usize, nats: &[NatConfig]) -> SocketAddr {
        let config = AccessConfig { nats: nats.to_vec(), ..AccessConfig::default() };
        SocketAddr::new(self.network.add_host(host, &config), 5000)
    }

    fn send(&mut self, host: usize, from: SocketAddr, to: SocketAddr, payload: &[u8]) {
        self.network.send(self.now, host, from, to, payload.to_vec());
    }

    /// Runs for a second: what arrives at hosts that are no servers.
    fn run(&mut self) -> Vec<Arrival> {
        let end = self.now + ms(1000);
        while let Some(now) = self.network.next().filter(|next| *next < end) {
            self.now = now;
            while let Some(arrival) = self.network.poll(now) {
                let Arrival { from, to, ref payload, .. } = arrival;
                match arrival.host {
                    STUN => self.stun.1.handle_datagram(now, to, from, payload),
                    TURN => self.turn.1.handle_datagram(now, to, from, payload),
                    _ => self.arrived.push(arrival),
                }
                while let Some(reply) = self.stun.1.poll_transmit() {
                    self.network.send(now, STUN, reply.from, reply.to, reply.payload);
                }
                while let Some(reply) = self.turn.1.poll_transmit() {
                    self.network.send(now, TURN, reply.from, reply.to, reply.payload);
                }
            }
        }
        self.now = end;
        std::mem::take(&mut self.arrived)
    }

    /// The answer of a server to one host.
    fn ask(&mut self, host: usize, from: SocketAddr, to: SocketAddr, request: &[u8]) -> Vec<u8> {
        self.send(host, from, to, request);
        let mut arrived = self.run();
        assert_eq!(arrived.len(), 1);
        arrived.remove(0).payload
    }

    /// The outer address by the STUN server.
    fn reflexive(&mut self, host: usize, from: SocketAddr) -> SocketAddr {
        let request = Builder::new(Class::Request, BINDING, [host as u8; 12]).finish(None);
        let answer = self.ask(host, from, self.stun.0, &request);
        Message::parse(&answer).unwrap().address(attribute::XOR_MAPPED_ADDRESS).unwrap()
    }
}

/// Hole punching, by datagrams that name their sender's attempt: whether a check is answered from where it
/// was sent to.
fn punches(a: &NatConfig, b: &NatConfig) -> bool {
    let mut world = World::new();
    let own = [world.host(0, std::slice::from_ref(a)), world.host(1, std::slice::from_ref(b))];
    let mut known = [vec![world.reflexive(1, own[1])], vec![world.reflexive(0, own[0])]];
    for _ in 0..6 {
        for host in 0..2 {
            for to in known[host].clone() {
                world.send(host, own[host], to, b"check");
                for Arrival { host: at, from, .. } in world.run() {
                    if !known[at].contains(&from) {
                        known[at].push(from);
                    }
                    world.send(at, own[at], from, b"answer");
                    if world.run().iter().any(|answer| answer.host == host && answer.from == to) {
                        return true;
                    }
                }
            }
        }
    }
    false
}

#[test]
fn hole_punching_over_the_network_agrees_with_the_model() {
    let nats: Vec<_> = Behaviour::ALL
        .iter()
        .flat_map(|mapping| Behaviour::ALL.map(|filtering| (*mapping, filtering)))
        .map(|(mapping, filtering)| NatConfig { mapping, filtering, ..NatConfig::symmetric() })
        .collect();
    let mut found = [0; 2];
    for a in &nats {
        for b in &nats {
            let mut world = World::new();
            world.host(0, std::slice::from_ref(a));
            world.host(1, std::slice::from_ref(b));
            let expected = world.network.can_reach_directly_with_stun(0, 1);
            assert_eq!(punches(a, b), expected, "{a:?} and {b:?}");
            found[usize::from(expected)] += 1;
        }
    }
    assert!(found[0] > 0 && found[1] > 0, "{found:?}");
}

#[test]
fn symmetric_nats_meet_at_a_relay() {
    let mut world = World::new();
    let a = world.host(0, &[NatConfig::symmetric()]);
    let b = world.host(1, &[NatConfig::symmetric()]);
    let turn = world.turn.0;
    let transport = [17, 0, 0, 0];
    let request = Builder::new(Class::Request, method::ALLOCATE, [1; 12])
        .add(attribute::REQUESTED_TRANSPORT, &transport);
    let refused = world.ask(0, a, turn, &request.clone().finish(None));
    let refused = Message::parse(&refused).unwrap();
    assert_eq!(refused.error(), Some(401));
    let realm = refused.text(attribute::REALM).unwrap();
    let key = long_term_key("user", realm, "pass");
    let signed = |request: Builder| {
        request
            .add(attribute::USERNAME, b"user")
            .add(attribute::REALM, realm.as_bytes())
            .add(attribute::NONCE, refused.get(attribute::NONCE).unwrap())
            .finish(Some(&key))
    };
    let answer = world.ask(0, a, turn, &signed(request));
    let answer = Message::parse(&answer).unwrap();
    let relayed = answer.address(attribute::XOR_RELAYED_ADDRESS).unwrap();
    // What the server calls the client is its NAT's address.
    let mapped = answer.address(attribute::XOR_MAPPED_ADDRESS).unwrap();
    let outer = world.network.outer_addresses(world.network.site_of(a.ip()).unwrap()).unwrap();
    assert_eq!(mapped.ip(), outer[0]);
    let outer_b: IpAddr = {
        let site = world.network.site_of(b.ip()).unwrap();
        world.network.outer_addresses(site).unwrap()[0]
    };
    let permission = Builder::new(Class::Request, method::CREATE_PERMISSION, [2; 12])
        .address(attribute::XOR_PEER_ADDRESS, SocketAddr::new(outer_b, 1));
    let answer = world.ask(0, a, turn, &signed(permission));
    assert_eq!(Message::parse(&answer).unwrap().class, Class::Success);
    // From b by the relay to a.
    world.send(1, b, relayed, b"hello");
    let arrived = world.run();
    let data = Message::parse(&arrived[0].payload).unwrap();
    assert_eq!((arrived.len(), arrived[0].host, data.method), (1, 0, method::DATA));
    let seen = data.address(attribute::XOR_PEER_ADDRESS).unwrap();
    // And back.
    let back = Builder::new(Class::Indication, method::SEND, [3; 12])
        .address(attribute::XOR_PEER_ADDRESS, seen)
        .add(attribute::DATA, b"world");
    world.send(0, a, turn, &back.finish(None));
    let arrived = world.run();
    assert_eq!(arrived.len(), 1);
    assert_eq!((arrived[0].host, arrived[0].from), (1, relayed));
    assert_eq!(arrived[0].payload, b"world");
}
