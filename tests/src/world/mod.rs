//! The world: virtual time, its hosts, the network and the signaling server.

mod capture;
mod faults;
mod held;
mod pump;
mod signaling;

use std::collections::VecDeque;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use rtcmesh_core::config::Config;
use rtcmesh_core::net::{Datagram, Transmit};
use rtcmesh_core::rng::{Rng, Seed};
use rtcmesh_core::signaling::{Server, ServerConfig};
use rtcmesh_core::transport::{Event, Outcome, PeerState, Transport};

use crate::certificate::certificate;
use crate::clock::HostClock;
use crate::digest::{Digest, Mode};
use crate::host::{Attachment, Host, Setup, Wakes, perfect};
use crate::interpose;
use crate::net::{Arrival, LinkConfig, NetStats, Network};
use crate::node::Node;
use crate::tap::Tap;
pub use held::Held;
use pump::Agenda;
use signaling::{SERVER, Signaling};

/// Hosts with transports or other machines, one signaling server, and the network between them, in virtual time
/// and in one thread.
#[derive(Debug)]
pub struct World {
    /// The hosts with transports, in the order in which they were added.
    pub hosts: Vec<Host>,
    /// How long a signaling message is under way, one way, beside what the access of its host takes.
    pub signaling_latency: Duration,
    /// By how much longer it may take, each by chance; those of one link keep their order.
    pub signaling_jitter: Duration,
    /// Whether the signaling server can be reached; what is open stays open.
    pub signaling_reachable: bool,
    /// Everything that has passed so far: every datagram, signaling message, event and frame of media with its virtual
    /// time; byte for byte or in its shape ([`Mode`]). Equal seeds and scripts give equal values.
    pub digest: Digest,
    signaling: Signaling,
    others: Vec<Other>,
    /// What each number of the network is.
    tenants: Vec<Tenant>,
    network: Network,
    rng: Rng,
    seed: u64,
    start: Instant,
    elapsed: Duration,
    agenda: Agenda,
    watch: Watch,
    /// Arrivals that were looked at before their time.
    held: VecDeque<Arrival>,
    tap: Option<Tap>,
    /// Whether the time of each event is kept.
    keeps_times: bool,
}

/// What lives at a number of the network.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Tenant {
    Server,
    Nobody,
    Host(usize),
    Other(usize),
}

/// A machine that is no transport.
#[derive(Debug)]
struct Other {
    machine: Box<dyn Node>,
    node: usize,
    clock: HostClock,
    due: Option<Duration>,
    down: bool,
    wakes: Wakes,
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
        let rng = Rng::new(Seed::from_number(seed)).fork("world");
        let mut network = Network::new(Seed::from_number(seed));
        network.internet_mut().latency = Duration::from_millis(1);
        let mut world = Self {
            hosts: Vec::new(),
            signaling_latency: Duration::from_millis(1),
            signaling_jitter: Duration::ZERO,
            signaling_reachable: true,
            signaling: Signaling::new(seed, config, start),
            others: Vec::new(),
            tenants: Vec::new(),
            network,
            rng,
            seed,
            start,
            elapsed: Duration::ZERO,
            agenda: Agenda::default(),
            digest: Digest::new(mode),
            watch: Watch::default(),
            held: VecDeque::new(),
            tap: None,
            keeps_times: false,
        };
        world.tenant(Tenant::Server, &Setup::default());
        world
    }

    /// Adds a host with one interface at a public address, and one transport.
    ///
    /// # Panics
    /// Where the configuration is invalid.
    pub fn add(&mut self, config: Config) -> usize {
        self.add_with(config, &Setup::default())
    }

    /// Adds a host with one interface and one transport.
    ///
    /// # Panics
    /// Where the configuration is invalid.
    pub fn add_with(&mut self, config: Config, setup: &Setup) -> usize {
        let index = self.hosts.len();
        let node = self.tenant(Tenant::Host(index), setup);
        let clock = HostClock::new(self.start, UNIX_START, setup.clock);
        let transport = self.transport(config, index, 0, &clock);
        self.hosts.push(Host::new(transport, node, clock));
        index
    }

    /// Adds a machine that is no transport, with one interface: gives its number among these and its address.
    pub fn add_node(
        &mut self,
        setup: &Setup,
        machine: impl FnOnce(IpAddr) -> Box<dyn Node>,
    ) -> (usize, IpAddr) {
        let index = self.others.len();
        let node = self.tenant(Tenant::Other(index), setup);
        let address = self.network.interfaces(node).next().expect("it has one interface");
        let clock = HostClock::new(self.start, UNIX_START, setup.clock);
        let machine = machine(address);
        self.others.push(Other {
            machine,
            node,
            clock,
            due: None,
            down: false,
            wakes: Wakes::default(),
        });
        self.drain_other(index);
        (index, address)
    }

    /// A machine that [`World::add_node`] added.
    ///
    /// # Panics
    /// Where there is none of this number.
    #[must_use]
    pub fn node(&self, index: usize) -> &dyn Node {
        self.others[index].machine.as_ref()
    }

    /// Adds a host that runs nothing, at a public address: gives its number in the network.
    pub fn add_stranger(&mut self) -> usize {
        self.tenant(Tenant::Nobody, &Setup::default())
    }

    fn tenant(&mut self, tenant: Tenant, setup: &Setup) -> usize {
        let node = self.tenants.len();
        self.tenants.push(tenant);
        self.attach(node, setup);
        node
    }

    /// Gives it one interface more, with an address of each of its versions of IP: gives the first one.
    fn attach(&mut self, node: usize, setup: &Setup) -> IpAddr {
        let network = &mut self.network;
        let public = matches!(setup.attachment, Attachment::Public);
        let own = public.then(|| network.add_site(&[]));
        let mut add = |v6: bool| match &setup.attachment {
            Attachment::Preset(preset) if v6 => network.add_preset_host_v6(node, *preset),
            Attachment::Preset(preset) => network.add_preset_host(node, *preset),
            Attachment::At(site, access) => {
                network.add_interface(node, *site, access.as_ref().clone(), v6)
            }
            Attachment::Public => {
                let site = own.expect("a place of its own");
                network.add_interface(node, site, perfect(), v6)
            }
        };
        let v4 = setup.family.has_v4().then(|| add(false));
        let v6 = setup.family.has_v6().then(|| add(true));
        v4.or(v6).expect("a family has a version")
    }

    fn transport(
        &self,
        config: Config,
        index: usize,
        incarnation: u32,
        clock: &HostClock,
    ) -> Transport {
        let number = self.seed.wrapping_mul(1_000).wrapping_add(index as u64);
        let number = number ^ (u64::from(incarnation) << 48);
        let (now, unix) = (clock.at(self.elapsed), clock.unix_at(self.elapsed));
        let seed = Seed::from_number(number);
        let mut transport = Transport::new(config, seed, now, unix).expect("a valid configuration");
        let (certificate, private_key) = certificate(self.seed, index);
        if self.tap.is_some() {
            transport.use_tapped_engine(certificate, private_key);
        } else {
            transport.use_seeded_engine(certificate, private_key);
        }
        transport
    }

    /// Virtual time since the start.
    #[must_use]
    pub const fn elapsed(&self) -> Duration {
        self.elapsed
    }

    /// The present, by a clock without drift.
    #[must_use]
    pub fn now(&self) -> Instant {
        self.start + self.elapsed
    }

    /// The signaling server's machine.
    #[must_use]
    pub const fn server(&self) -> &Server {
        &self.signaling.server
    }

    /// The network, to look at.
    #[must_use]
    pub const fn network(&self) -> &Network {
        &self.network
    }

    /// The network, to change links, paths and places.
    pub const fn network_mut(&mut self) -> &mut Network {
        &mut self.network
    }

    /// What befalls every datagram that crosses the internet: at first a delay of 1 ms.
    pub fn weather(&mut self) -> &mut LinkConfig {
        self.network.internet_mut()
    }

    /// What the network has counted.
    #[must_use]
    pub const fn stats(&self) -> NetStats {
        self.network.stats()
    }

    /// A host's number in the network.
    ///
    /// # Panics
    /// Where there is none of this number.
    #[must_use]
    pub fn network_number(&self, host: usize) -> usize {
        self.hosts[host].node
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
        let now = self.hosts[host].clock.at(self.elapsed);
        let value = act(&mut self.hosts[host].transport, now);
        self.drain_host(host);
        value
    }

    /// From now on the time of each event is kept, for [`World::take_events`].
    pub(crate) const fn keep_times(&mut self) {
        self.keeps_times = true;
    }

    /// Takes a host's events out, with the times at which they were fetched.
    pub(crate) fn take_events(&mut self, host: usize) -> (Vec<Duration>, Vec<Event>) {
        let host = &mut self.hosts[host];
        (std::mem::take(&mut host.times), std::mem::take(&mut host.events))
    }

    /// A generator for the user's script: a function of the world's seed and of the label alone.
    #[must_use]
    pub fn rng(&self, label: &str) -> Rng {
        self.rng.fork(label)
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

    /// The result of a host's latest `start`.
    #[must_use]
    pub fn started(&self, host: usize) -> bool {
        self.hosts[host].outcomes.contains(&Outcome::Started(Ok(())))
    }

    /// Runs until `done`, or for [`World::LIMIT`]: gives whether it came true.
    pub fn run_until(&mut self, done: impl Fn(&Self) -> bool) -> bool {
        self.run_until_or(Self::LIMIT, done)
    }

    /// Runs until `done`, or for this long: gives whether it came true.
    pub fn run_until_or(&mut self, limit: Duration, done: impl Fn(&Self) -> bool) -> bool {
        let end = self.now() + limit;
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
        let end = self.now() + duration;
        while self.step(end) {}
    }

    /// The datagrams that arrive next, at one instant, each with the host that gets it, if nothing else happens before:
    /// `remote` is the sender's address and `socket` the receiver's socket.
    pub fn due(&mut self) -> Vec<(usize, Transmit)> {
        self.look_ahead();
        let datagrams = self.held.iter().filter_map(|arrival| {
            let Tenant::Host(index) = self.tenants[arrival.host] else { return None };
            let socket = *self.hosts[index].by_address.get(&arrival.to)?;
            let payload = arrival.payload.clone();
            Some((index, Transmit { socket, remote: arrival.from, payload }))
        });
        datagrams.collect()
    }

    /// Calls this with every datagram before the transport gets it that it has come for: with the host's number, the
    /// transport and the instant of its clock.
    pub fn on_datagram(
        &mut self,
        watch: impl FnMut(usize, &mut Transport, Instant, Datagram<'_>) + 'static,
    ) {
        self.watch = Watch(Some(Box::new(watch)));
    }
}

/// What looks at each datagram.
type Look = dyn FnMut(usize, &mut Transport, Instant, Datagram<'_>);

#[derive(Default)]
struct Watch(Option<Box<Look>>);

impl std::fmt::Debug for Watch {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(if self.0.is_some() { "Watch(..)" } else { "Watch" })
    }
}
