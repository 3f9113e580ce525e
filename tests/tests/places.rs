//! Where things are in a world: servers as nodes, nodes that are down, hosts with several interfaces.

mod common;

use std::cell::Cell;
use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;
use std::time::Duration;

use common::{automatic, channels_open, id, mesh, messages};
use rtcmesh_core::media::RuntimeData;
use rtcmesh_core::rng::Seed;
use rtcmesh_core::transport::Event;
use rtcmesh_sim::net::stun::{BINDING, Builder, Class, Message, attribute};
use rtcmesh_sim::net::{Outgoing, Preset, StunServer, TurnConfig, TurnServer};
use rtcmesh_sim::{Family, Node, Setup, World};

/// Asks a STUN server each second for its mapped address.
#[derive(Debug)]
struct Client {
    local: SocketAddr,
    server: SocketAddr,
    next: Duration,
    asks: bool,
    mapped: Rc<Cell<Option<SocketAddr>>>,
}

impl Node for Client {
    fn handle_datagram(&mut self, _: Duration, to: SocketAddr, from: SocketAddr, payload: &[u8]) {
        assert_eq!((to, from), (self.local, self.server));
        let answer = Message::parse(payload).expect("a STUN message");
        assert_eq!((answer.class, answer.transaction), (Class::Success, [7; 12]));
        self.mapped.set(answer.address(attribute::XOR_MAPPED_ADDRESS));
    }

    fn handle_timeout(&mut self, now: Duration) {
        if now >= self.next {
            self.next = now + Duration::from_secs(1);
            self.asks = true;
        }
    }

    fn poll_timeout(&self) -> Option<Duration> {
        Some(self.next)
    }

    fn poll_transmit(&mut self) -> Option<Outgoing> {
        let payload = || Builder::new(Class::Request, BINDING, [7; 12]).finish(None);
        std::mem::take(&mut self.asks).then(|| Outgoing {
            from: self.local,
            to: self.server,
            payload: payload(),
        })
    }
}

/// A server at a public address and a client at home: the server's number, the client's address, and what it learns.
fn ask(
    world: &mut World,
    server: impl FnOnce(SocketAddr) -> Box<dyn Node>,
) -> (usize, IpAddr, Rc<Cell<Option<SocketAddr>>>) {
    let (number, ip) = world.add_node(&Setup::default(), |ip| server(SocketAddr::new(ip, 3478)));
    let mapped = Rc::new(Cell::new(None));
    let learnt = mapped.clone();
    let (_, client) = world.add_node(&Setup::preset(Preset::HomeWifi), |local| {
        let (local, server) = (SocketAddr::new(local, 5_000), SocketAddr::new(ip, 3478));
        let next = Duration::ZERO;
        Box::new(Client { local, server, next, asks: false, mapped: learnt })
    });
    (number, client, mapped)
}

fn stun(_: SocketAddr) -> Box<dyn Node> {
    Box::new(StunServer::new())
}

fn turn(listen: SocketAddr) -> Box<dyn Node> {
    let config = TurnConfig::new(listen, "user", "password");
    Box::new(TurnServer::new(config, Seed::from_number(1), Duration::ZERO))
}

#[test]
fn a_server_as_a_node_tells_a_client_behind_a_nat_its_mapped_address() {
    for server in [stun, turn] {
        let mut world = World::new(1);
        let (_, client, mapped) = ask(&mut world, server);
        // Wi-Fi may lose some of them.
        world.run(Duration::from_secs(5));
        let mapped = mapped.get().expect("an answer").ip();
        let site = world.network().site_of(client).expect("it is somewhere");
        let [outer, _] = world.network().outer_addresses(site).expect("it has a NAT");
        assert_eq!(mapped, outer);
        assert_ne!(mapped, client);
    }
}

#[test]
fn a_node_that_is_down_is_silent_until_it_is_up_again() {
    let mut world = World::new(2);
    let (server, _, mapped) = ask(&mut world, stun);
    world.set_node_down(server, true);
    world.run(Duration::from_secs(10));
    assert_eq!(mapped.get(), None);
    world.set_node_down(server, false);
    world.run(Duration::from_secs(10));
    assert!(mapped.take().is_some());
    world.set_node_down(server, true);
    // What is under way arrives.
    world.run(Duration::from_secs(1));
    mapped.set(None);
    world.run(Duration::from_secs(10));
    assert_eq!(mapped.get(), None);
}

/// Whether host 1 gets a message of host 0.
fn hears(world: &mut World, text: &str) -> bool {
    let data = RuntimeData::Text(text.into());
    world.act(0, |transport, now| transport.send_to_peer(now, "p1", &data)).expect("connected");
    world.run_until(|world| {
        messages(world, 1, &id("p0")).iter().any(|message| format!("{message:?}").contains(text))
    })
}

fn goes_on_without_the_first(mut world: World, first: IpAddr, second: IpAddr) {
    channels_open(&mut world);
    world.run(Duration::from_secs(3));
    let at: Vec<IpAddr> = world.hosts[0].addresses().collect();
    assert!(at.contains(&first) && at.contains(&second), "{at:?}");
    assert!(hears(&mut world, "before"));
    world.remove_interface(0, first);
    assert!(hears(&mut world, "after"));
    let at: Vec<IpAddr> = world.hosts[0].addresses().collect();
    assert!(!at.contains(&first) && at.contains(&second), "{at:?}");
    world.run(Duration::from_secs(30));
    let ended = |event: &Event| matches!(event, Event::Closed { .. } | Event::Failed { .. });
    for host in &world.hosts {
        assert_eq!(host.count(ended), 0, "it is the same connection");
    }
}

fn address(world: &World, host: usize) -> IpAddr {
    world.network().interfaces(world.network_number(host)).next().expect("an interface")
}

#[test]
fn a_host_with_two_interfaces_goes_on_over_the_second() {
    let mut world = World::new(3);
    world.add(automatic("p0"));
    world.add(automatic("p1"));
    let first = address(&world, 0);
    let second = world.add_interface(0, &Setup::preset(Preset::HomeWifi));
    world.start_all();
    assert!(world.run_until(World::all_connected));
    goes_on_without_the_first(world, first, second);
}

#[test]
fn an_interface_that_comes_while_connected_takes_over_too() {
    let mut world = mesh(4, 2);
    let first = address(&world, 0);
    let second = world.add_interface(0, &Setup::default());
    goes_on_without_the_first(world, first, second);
}

/// Two hosts with these versions of IP, started: at public addresses, or each at a home of its own.
fn of_families(homes: bool, families: [Family; 2]) -> World {
    let mut world = World::new(7);
    for (name, family) in ["p0", "p1"].into_iter().zip(families) {
        let setup = if homes { Setup::preset(Preset::HomeWifi) } else { Setup::default() };
        world.add_with(automatic(name), &setup.family(family));
    }
    world.start_all();
    world
}

#[test]
fn a_version_of_ip_in_common_is_what_connects() {
    use Family::{Dual, V4, V6};
    // Homes let answers in alone over IPv6, and nothing over IPv4 without help.
    let cases = [
        (false, [V6, V6], true),
        (false, [V6, Dual], true),
        (false, [Dual, V4], true),
        (false, [V4, V6], false),
        (true, [Dual, Dual], true),
        (true, [V6, Dual], true),
        (true, [Dual, V4], false),
    ];
    for (homes, families, connects) in cases {
        let mut world = of_families(homes, families);
        let [a, b] = [0, 1].map(|host| world.network_number(host));
        assert_eq!(world.network().can_reach_directly(a, b), connects, "{homes} {families:?}");
        let met = world.run_until_or(Duration::from_secs(20), World::all_connected);
        assert_eq!(met, connects, "{homes} {families:?}");
    }
}

#[test]
fn one_interface_of_two_goes_down_and_comes_back() {
    let mut world = World::new(8);
    world.add_with(automatic("p0"), &Setup::preset(Preset::HomeWifi));
    world.add(automatic("p1"));
    let second = world.add_interface(0, &Setup::preset(Preset::Cellular));
    world.start_all();
    assert!(world.run_until(World::all_connected));
    channels_open(&mut world);
    world.set_interfaces_up(0, |address| address == second);
    assert!(hears(&mut world, "over the second"));
    let up: Vec<IpAddr> = world.network().interfaces(world.network_number(0)).collect();
    assert_eq!(up, [second]);
    world.set_interfaces_up(0, |_| true);
    assert!(hears(&mut world, "over either"));
    assert_eq!(world.network().interfaces(world.network_number(0)).count(), 2);
}

/// Always has something to send, from an address that it does not have.
#[derive(Debug)]
struct Endless;

impl Node for Endless {
    fn handle_datagram(&mut self, _: Duration, _: SocketAddr, _: SocketAddr, _: &[u8]) {}

    fn handle_timeout(&mut self, _: Duration) {}

    fn poll_timeout(&self) -> Option<Duration> {
        None
    }

    fn poll_transmit(&mut self) -> Option<Outgoing> {
        let nowhere = SocketAddr::from(([192, 0, 2, 1], 9));
        Some(Outgoing { from: nowhere, to: nowhere, payload: Vec::new() })
    }
}

#[test]
#[should_panic(expected = "poll_transmit of host 1 in the network never ends")]
fn a_machine_that_always_sends_ends_the_world_and_is_named() {
    World::new(5).add_node(&Setup::default(), |_| Box::new(Endless));
}

/// Wants to be called again a nanosecond after each call.
#[derive(Debug)]
struct Creeping(Duration);

impl Node for Creeping {
    fn handle_datagram(&mut self, _: Duration, _: SocketAddr, _: SocketAddr, _: &[u8]) {}

    fn handle_timeout(&mut self, now: Duration) {
        self.0 = now + Duration::from_nanos(1);
    }

    fn poll_timeout(&self) -> Option<Duration> {
        Some(self.0)
    }

    fn poll_transmit(&mut self) -> Option<Outgoing> {
        None
    }
}

#[test]
#[should_panic(expected = "host 1 in the network spins")]
fn a_machine_whose_deadlines_creep_ends_the_world_and_is_named() {
    let mut world = World::new(6);
    world.add_node(&Setup::default(), |_| Box::new(Creeping(Duration::ZERO)));
    world.run(Duration::from_secs(1));
}
