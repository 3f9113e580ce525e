//! The network: what is sent passes links, NATs and firewalls in virtual time, and arrives.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use rtcmesh_core::rng::{Rng, Seed};

use super::firewall::Firewall;
use super::link::{Link, LinkConfig};
use super::nat::NatConfig;
use super::stats::{Lost, NetStats};
use super::stream::Streams;
use super::topology::{At, Realm, SiteId, Topology};

/// How an interface is connected with its place. The default: perfect links and no firewall.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Access {
    /// From the host.
    pub up: LinkConfig,
    /// To the host.
    pub down: LinkConfig,
    /// At the host.
    pub firewall: Firewall,
}

/// How a host of its own is connected with the internet: a place for it alone, and its interface there.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct AccessConfig {
    /// From the host.
    pub up: LinkConfig,
    /// To the host.
    pub down: LinkConfig,
    /// At the host.
    pub firewall: Firewall,
    /// From the home router outwards: two of them are a carrier's NAT behind a home router.
    pub nats: Vec<NatConfig>,
}

impl AccessConfig {
    /// The part that belongs to the interface.
    #[must_use]
    pub fn access(&self) -> Access {
        Access { up: self.up.clone(), down: self.down.clone(), firewall: self.firewall.clone() }
    }
}

/// A datagram that has arrived.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Arrival {
    /// When, since the start of the world.
    pub at: Duration,
    /// At which host.
    pub host: usize,
    /// The sender's address as the receiver sees it.
    pub from: SocketAddr,
    /// The receiver's own address.
    pub to: SocketAddr,
    /// What was sent, unless a link has damaged it.
    pub payload: Vec<u8>,
}

/// How many datagrams are under way at a time at most.
const MAX_UNDER_WAY: usize = 1 << 20;

/// How long a datagram takes within one host.
const LOOPBACK: Duration = Duration::from_micros(20);

/// What IP and UDP add to a payload, in bytes.
const fn header(v6: bool) -> usize {
    if v6 { 40 + 8 } else { 20 + 8 }
}

/// Up to where a datagram has come.
#[derive(Debug, Clone, Copy)]
enum Stage {
    /// Through its sender's up link.
    Left,
    /// Through the path between the hosts.
    Crossed,
    /// At its receiver.
    Arrived,
}

/// A datagram under way.
#[derive(Debug)]
struct UnderWay {
    stage: Stage,
    /// Who sent it.
    sender: usize,
    at: At,
    payload: Vec<u8>,
}

/// What became of a datagram, or of a copy of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fate {
    /// A second copy of it was made on the way.
    Doubled,
    /// A bit of it was flipped on the way.
    Damaged,
    /// It has arrived at this host.
    Arrived(usize),
    /// It is lost.
    Lost(Lost),
}

/// What a datagram's step led to.
enum Step {
    Arrived(Arrival),
    /// Its next step, and when.
    Further(Order, UnderWay),
}

/// The order of what happens: by time, then by the order of sending, first copies first.
type Order = (Duration, u64, u64);

/// Two hosts, in whichever order.
fn pair(a: usize, b: usize) -> (usize, usize) {
    (a.min(b), a.max(b))
}

/// All places, links and NATs, and what is under way. See the [module](super).
#[derive(Debug)]
pub struct Network {
    rng: Rng,
    pub(super) topology: Topology,
    /// Up and down of each interface.
    pub(super) links: BTreeMap<IpAddr, (Link, Link)>,
    cut: BTreeSet<(usize, usize)>,
    /// The group of each host that is in one.
    groups: BTreeMap<usize, usize>,
    /// What everything that crosses the internet passes, where it has no path of its own.
    pub(super) internet: Link,
    /// Paths of their own, from the first host to the second.
    pub(super) paths: BTreeMap<(usize, usize), Link>,
    pub(super) streams: Streams,
    under_way: BTreeMap<Order, UnderWay>,
    sent: u64,
    copies: u64,
    /// How many links there have been: each has randomness of its own.
    made: u64,
    stats: NetStats,
    /// What became of datagrams, by their numbers, where somebody wants to know it.
    fates: Option<VecDeque<(u64, Fate)>>,
    /// The place that all hosts of a preset share, by its name.
    pub(super) shared: BTreeMap<&'static str, SiteId>,
}

impl Network {
    /// A network without any place.
    #[must_use]
    pub fn new(seed: Seed) -> Self {
        let rng = Rng::new(seed).fork("network");
        let internet = LinkConfig { latency: Duration::ZERO, ..LinkConfig::default() };
        Self {
            topology: Topology::new(rng.fork("topology")),
            links: BTreeMap::new(),
            cut: BTreeSet::new(),
            groups: BTreeMap::new(),
            internet: Link::new(internet, rng.fork("internet")),
            paths: BTreeMap::new(),
            streams: Streams::new(rng.fork("streams")),
            under_way: BTreeMap::new(),
            sent: 0,
            copies: 0,
            made: 0,
            stats: NetStats::default(),
            fates: None,
            shared: BTreeMap::new(),
            rng,
        }
    }

    /// Adds a place: a local network behind these NATs, from the inside outwards. Without any, its addresses
    /// are public.
    ///
    /// # Panics
    /// Where there are more than 16,000 NATs.
    pub fn add_site(&mut self, nats: &[NatConfig]) -> SiteId {
        self.topology.add_site(Realm::INTERNET, nats)
    }

    /// Adds a place whose outermost NAT stands in another place, as homes do behind their carrier's NAT.
    ///
    /// # Panics
    /// Where there are more than 16,000 NATs, or no such site.
    pub fn add_site_behind(&mut self, site: SiteId, nats: &[NatConfig]) -> SiteId {
        let within = self.topology.realm(site);
        self.topology.add_site(within, nats)
    }

    /// The realm of a place's addresses.
    ///
    /// # Panics
    /// Where there is no such site.
    #[must_use]
    pub fn realm(&self, site: SiteId) -> Realm {
        self.topology.realm(site)
    }

    /// The outer addresses (IPv4, IPv6) of a place's outermost own NAT; `None`: it has no NAT.
    #[must_use]
    pub fn outer_addresses(&self, site: SiteId) -> Option<[IpAddr; 2]> {
        self.topology.outer_addresses(site)
    }

    /// Gives a host an interface in a place, and gives its address: a private one behind a NAT
    /// (192.168.x.y, later 10.x.y.z, or fd00::), otherwise a public one. No two interfaces of a world have
    /// the same.
    ///
    /// # Panics
    /// Where there is no such site, or it has no address left (there are 253 behind a NAT).
    pub fn add_interface(&mut self, host: usize, site: SiteId, access: Access, v6: bool) -> IpAddr {
        let ip = self.topology.add_place(host, site, access.firewall, v6);
        let links = (self.make(access.up), self.make(access.down));
        self.links.insert(ip, links);
        ip
    }

    /// Adds a place for one host, and its interface there (IPv4).
    ///
    /// # Panics
    /// Where there are more than 16,000 NATs.
    pub fn add_host(&mut self, host: usize, config: &AccessConfig) -> IpAddr {
        let site = self.add_site(&config.nats);
        self.add_interface(host, site, config.access(), false)
    }

    /// Takes an interface away; nothing happens if there is no such one. What is on its way to it is lost.
    pub fn remove_interface(&mut self, address: IpAddr) {
        self.topology.remove_place(address);
        self.links.remove(&address);
    }

    /// Takes an interface down, or up again: nothing passes while it is down.
    pub fn set_up(&mut self, address: IpAddr, up: bool) {
        if let Some(place) = self.topology.places.get_mut(&address) {
            place.up = up;
        }
    }

    /// The links of an interface, up and down, to change them while they work. What is under way stays as it
    /// is.
    pub fn link_mut(&mut self, address: IpAddr) -> Option<(&mut LinkConfig, &mut LinkConfig)> {
        let (up, down) = self.links.get_mut(&address)?;
        Some((&mut up.config, &mut down.config))
    }

    /// A host's interfaces that are up, in the order in which they were added.
    pub fn interfaces(&self, host: usize) -> impl Iterator<Item = IpAddr> + '_ {
        self.topology.interfaces(host)
    }

    /// All interfaces of a host, those that are down too.
    #[must_use]
    pub fn all_interfaces(&self, host: usize) -> Vec<IpAddr> {
        self.topology.all_interfaces(host).to_vec()
    }

    /// The places in which a host has interfaces.
    #[must_use]
    pub fn sites(&self, host: usize) -> Vec<SiteId> {
        self.topology.sites(host)
    }

    /// Which host has an address; `None`: no interface has it.
    #[must_use]
    pub fn host_of(&self, address: IpAddr) -> Option<usize> {
        self.topology.places.get(&address).map(|place| place.host)
    }

    /// In which place an interface is; `None`: no interface has this address.
    #[must_use]
    pub fn site_of(&self, address: IpAddr) -> Option<SiteId> {
        self.topology.places.get(&address).map(|place| place.site)
    }

    /// Nothing passes between these two hosts from now on, what is under way included, or again.
    pub fn cut(&mut self, a: usize, b: usize, cut: bool) {
        if cut {
            self.cut.insert(pair(a, b));
        } else {
            self.cut.remove(&pair(a, b));
        }
    }

    /// Nothing passes between hosts of different groups any more. A host in no group reaches everybody;
    /// one in several belongs to the last of them. Replaces an earlier partition.
    pub fn partition(&mut self, groups: &[Vec<usize>]) {
        self.groups.clear();
        for (group, hosts) in groups.iter().enumerate() {
            self.groups.extend(hosts.iter().map(|host| (*host, group)));
        }
    }

    /// Ends the partition and all cuts.
    pub fn heal(&mut self) {
        self.groups.clear();
        self.cut.clear();
    }

    /// Whether a cut or the partition keeps two hosts apart.
    #[must_use]
    pub fn apart(&self, a: usize, b: usize) -> bool {
        let groups = self.groups.get(&a).zip(self.groups.get(&b));
        groups.is_some_and(|(a, b)| a != b) || self.cut.contains(&pair(a, b))
    }

    /// What befalls all that crosses the internet and has no path of its own; nothing, at first.
    pub fn internet_mut(&mut self) -> &mut LinkConfig {
        &mut self.internet.config
    }

    /// Puts a path of its own between two hosts, the same in both directions, or takes it away.
    pub fn set_path(&mut self, a: usize, b: usize, extra: Option<LinkConfig>) {
        for way in [(a, b), (b, a)] {
            match extra.clone() {
                Some(config) => match self.paths.get_mut(&way) {
                    Some(link) => link.config = config,
                    None => {
                        let link = self.make(config);
                        self.paths.insert(way, link);
                    }
                },
                None => {
                    self.paths.remove(&way);
                }
            }
        }
    }

    /// A place's own NATs forget all mappings and give other ports from now on, as after a restart. Not
    /// those of its carrier, which are another site's.
    pub fn rebind(&mut self, site: SiteId, _now: Duration) {
        for nat in self.topology.nats_mut(site) {
            nat.rebind();
        }
    }

    /// Sends a datagram from an interface of a host.
    pub fn send(
        &mut self,
        now: Duration,
        host: usize,
        from: SocketAddr,
        to: SocketAddr,
        payload: Vec<u8>,
    ) {
        self.stats.sent += 1;
        self.sent += 1;
        match self.leave(now, host, from, to, payload) {
            // What has arrived waits to be fetched.
            Ok((order, datagram)) => drop(self.line_up(now, order, datagram, false)),
            Err(lost) => self.lose(self.sent, lost),
        }
    }

    /// A datagram waits in line for its next step. What comes at once goes on at once, if nothing is before it: over
    /// links without delay it need not wait at each.
    fn line_up(
        &mut self,
        now: Duration,
        mut order: Order,
        mut datagram: UnderWay,
        fetched: bool,
    ) -> Option<Arrival> {
        loop {
            let first = self.under_way.first_key_value();
            if order.0 > now
                || first.is_some_and(|(first, _)| *first < order)
                || !fetched && matches!(datagram.stage, Stage::Arrived)
            {
                self.under_way.insert(order, datagram);
                return None;
            }
            match self.go_on(order, datagram) {
                Ok(Step::Further(next, on)) => (order, datagram) = (next, on),
                Ok(Step::Arrived(arrival)) => {
                    self.stats.delivered += 1;
                    self.note(order.1, Fate::Arrived(arrival.host));
                    return Some(arrival);
                }
                Err(lost) => {
                    self.lose(order.1, lost);
                    return None;
                }
            }
        }
    }

    /// The number of the datagram that was sent last; of the next one after it, one more.
    pub(crate) const fn last_sent(&self) -> u64 {
        self.sent
    }

    /// From now on what becomes of datagrams is kept, until it is fetched, or not any more.
    pub(crate) fn keep_fates(&mut self, keep: bool) {
        self.fates = keep.then(VecDeque::new);
    }

    /// What became of a datagram, by its number.
    pub(crate) fn poll_fate(&mut self) -> Option<(u64, Fate)> {
        self.fates.as_mut()?.pop_front()
    }

    fn note(&mut self, number: u64, fate: Fate) {
        if let Some(fates) = &mut self.fates {
            fates.push_back((number, fate));
        }
    }

    fn lose(&mut self, number: u64, lost: Lost) {
        self.stats.count(lost);
        self.note(number, Fate::Lost(lost));
    }

    /// When something happens next. It need not be an arrival: [`Network::poll`] gives `None` then, and
    /// the time after it has changed.
    #[must_use]
    pub fn next(&self) -> Option<Duration> {
        self.under_way.first_key_value().map(|((at, ..), _)| *at)
    }

    /// The next datagram that has arrived by `now`, in order of time, then of sending.
    pub fn poll(&mut self, now: Duration) -> Option<Arrival> {
        while let Some(entry) = self.under_way.first_entry() {
            if entry.key().0 > now {
                return None;
            }
            let (order, datagram) = entry.remove_entry();
            let arrival = self.line_up(now, order, datagram, true);
            if arrival.is_some() {
                return arrival;
            }
        }
        None
    }

    /// What became of all datagrams so far.
    #[must_use]
    pub const fn stats(&self) -> NetStats {
        self.stats
    }

    /// How many datagrams are under way.
    #[must_use]
    pub fn under_way(&self) -> usize {
        self.under_way.len()
    }

    fn make(&mut self, config: LinkConfig) -> Link {
        self.made += 1;
        Link::new(config, self.rng.fork(&format!("link {}", self.made)))
    }

    /// Out of the sender, through its firewall and up link.
    fn leave(
        &mut self,
        now: Duration,
        host: usize,
        from: SocketAddr,
        to: SocketAddr,
        payload: Vec<u8>,
    ) -> Result<(Order, UnderWay), Lost> {
        if self.under_way.len() >= MAX_UNDER_WAY {
            return Err(Lost::Queue);
        }
        if from.is_ipv4() != to.is_ipv4() {
            return Err(Lost::NoRoute);
        }
        let order = (now, self.sent, 0);
        if from.ip().is_loopback() && to.ip().is_loopback() {
            let at = At { realm: Realm::INTERNET, from, to };
            let local = UnderWay { stage: Stage::Arrived, sender: host, at, payload };
            return Ok(((now + LOOPBACK, order.1, 0), local));
        }
        let place = self.topology.places.get_mut(&from.ip()).ok_or(Lost::NoRoute)?;
        if place.host != host {
            return Err(Lost::NoRoute);
        }
        if !place.up {
            return Err(Lost::InterfaceDown);
        }
        let at = At { realm: place.realm, from, to };
        let datagram = UnderWay { stage: Stage::Left, sender: host, at, payload };
        if self.host_of(to.ip()) == Some(host) {
            let local = UnderWay { stage: Stage::Arrived, ..datagram };
            return Ok(((now + LOOPBACK, order.1, 0), local));
        }
        let place = self.topology.places.get_mut(&from.ip()).ok_or(Lost::NoRoute)?;
        if !place.guard.lets_out(now, from, to) {
            return Err(Lost::Firewall);
        }
        let (up, _) = self.links.get_mut(&from.ip()).ok_or(Lost::NoRoute)?;
        let passed = up.pass(now, header(from.is_ipv6()), datagram.payload.len())?;
        Ok(self.far_end(order, passed, datagram))
    }

    /// The next step of a datagram: an arrival, or it is under way again.
    fn go_on(&mut self, order: Order, mut datagram: UnderWay) -> Result<Step, Lost> {
        let now = order.0;
        let sender = datagram.sender;
        if matches!(datagram.stage, Stage::Left) {
            datagram.at = self.topology.outwards(now, datagram.at)?;
            datagram.stage = Stage::Crossed;
            let receiver = self.topology.receiver(now, datagram.at);
            if receiver.is_some_and(|receiver| self.apart(sender, receiver)) {
                return Err(Lost::Partition);
            }
            let own = receiver.and_then(|receiver| self.paths.get_mut(&(sender, receiver)));
            let internet = datagram.at.realm == Realm::INTERNET;
            if let Some(path) = own.or_else(|| internet.then_some(&mut self.internet)) {
                let v6 = datagram.at.to.is_ipv6();
                let passed = path.pass(now, header(v6), datagram.payload.len())?;
                let (order, datagram) = self.far_end(order, passed, datagram);
                return Ok(Step::Further(order, datagram));
            }
        }
        if matches!(datagram.stage, Stage::Crossed) {
            datagram.at = self.topology.inwards(now, datagram.at)?;
            datagram.stage = Stage::Arrived;
            let At { from, to, .. } = datagram.at;
            let place = self.topology.places.get_mut(&to.ip()).ok_or(Lost::NoRoute)?;
            let (receiver, up) = (place.host, place.up);
            if !up {
                return Err(Lost::InterfaceDown);
            }
            if !place.guard.lets_in(now, to, from) {
                return Err(Lost::Firewall);
            }
            if self.apart(sender, receiver) {
                return Err(Lost::Partition);
            }
            let (_, down) = self.links.get_mut(&to.ip()).ok_or(Lost::NoRoute)?;
            let passed = down.pass(now, header(to.is_ipv6()), datagram.payload.len())?;
            let (order, datagram) = self.far_end(order, passed, datagram);
            return Ok(Step::Further(order, datagram));
        }
        let At { from, to, .. } = datagram.at;
        let mut arrival = |host| Arrival {
            at: now,
            host,
            from,
            to,
            payload: std::mem::take(&mut datagram.payload),
        };
        if to.ip().is_loopback() {
            return Ok(Step::Arrived(arrival(sender)));
        }
        let place = self.topology.places.get(&to.ip()).filter(|place| place.up);
        let host = place.ok_or(Lost::InterfaceDown)?.host;
        if self.apart(sender, host) {
            return Err(Lost::Partition);
        }
        Ok(Step::Arrived(arrival(host)))
    }

    /// What has come through a link is at its far end then; a second copy waits there.
    fn far_end(
        &mut self,
        order: Order,
        (first, second): (super::link::Passed, Option<super::link::Passed>),
        mut datagram: UnderWay,
    ) -> (Order, UnderWay) {
        if let Some(second) = second {
            self.stats.duplicated += 1;
            self.note(order.1, Fate::Doubled);
            self.copies += 1;
            let UnderWay { stage, sender, at, ref payload } = datagram;
            let mut copy = UnderWay { stage, sender, at, payload: payload.clone() };
            self.flip(order.1, second.flipped, &mut copy);
            self.under_way.insert((second.at, order.1, self.copies), copy);
        }
        self.flip(order.1, first.flipped, &mut datagram);
        ((first.at, order.1, order.2), datagram)
    }

    fn flip(&mut self, number: u64, flipped: Option<usize>, datagram: &mut UnderWay) {
        if let Some(bit) = flipped
            && let Some(byte) = datagram.payload.get_mut(bit / 8)
        {
            *byte ^= 1 << (bit % 8);
            self.stats.corrupted += 1;
            self.note(number, Fate::Damaged);
        }
    }
}

#[cfg(test)]
#[path = "network_tests.rs"]
mod tests;
