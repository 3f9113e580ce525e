//! Places, realms and addresses: who is where, and what a datagram's addresses become on its way.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use rtcmesh_core::rng::Rng;

use super::firewall::{Firewall, Guard};
use super::nat::{Nat, NatConfig};
use super::stats::Lost;

/// A place: one local network. Hosts with an interface here reach each other without any NAT.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SiteId(pub(super) usize);

/// An address realm (RFC 2663, section 2.1): where one set of addresses is valid. Each NAT stands between
/// two of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Realm(usize);

impl Realm {
    /// The realm of public addresses.
    pub const INTERNET: Self = Self(0);
}

/// What a realm is reached by from outside, and its addresses so far.
#[derive(Debug, Clone)]
struct RealmState {
    /// Its NAT, an index, and the realm outside of it; none: the internet.
    exit: Option<(usize, Realm)>,
    /// Addresses that were given.
    given: u32,
    /// Where its addresses begin, and how many there are.
    block: (Ipv4Addr, u32),
}

/// Public addresses: RFC 2544's block for benchmarks.
const PUBLIC: (Ipv4Addr, u32) = (Ipv4Addr::new(198, 18, 0, 0), 1 << 17);

/// How many realms there are at most: their blocks of addresses would overlap.
const MAX_REALMS: usize = 1 << 14;

/// Where an interface is.
#[derive(Debug)]
pub(super) struct Place {
    pub(super) host: usize,
    pub(super) site: SiteId,
    pub(super) realm: Realm,
    pub(super) guard: Guard,
    pub(super) up: bool,
}

/// All realms, NATs and interfaces.
#[derive(Debug)]
pub(super) struct Topology {
    rng: Rng,
    realms: Vec<RealmState>,
    nats: Vec<Nat>,
    /// The realm of each site, and its own NATs from the inside outwards.
    sites: Vec<(Realm, Vec<usize>)>,
    /// The realm in which each NAT's outer addresses are valid, and the NAT.
    outer: BTreeMap<IpAddr, (Realm, usize)>,
    pub(super) places: BTreeMap<IpAddr, Place>,
    /// Each host's interfaces in the order in which they were added.
    by_host: BTreeMap<usize, Vec<IpAddr>>,
}

/// Who has an address.
enum Owner {
    Interface,
    /// A NAT, on its outer side.
    Nat(usize),
}

/// Where a datagram is: a realm, and its addresses there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct At {
    pub(super) realm: Realm,
    pub(super) from: SocketAddr,
    pub(super) to: SocketAddr,
}

impl Topology {
    pub(super) fn new(rng: Rng) -> Self {
        let internet = RealmState { exit: None, given: 0, block: PUBLIC };
        Self {
            rng,
            realms: vec![internet],
            nats: Vec::new(),
            sites: Vec::new(),
            outer: BTreeMap::new(),
            places: BTreeMap::new(),
            by_host: BTreeMap::new(),
        }
    }

    /// The same places, NATs and firewalls, without any state: as if nobody had sent anything.
    pub(super) fn fresh(&self) -> Self {
        let nat = |(index, nat): (usize, &Nat)| {
            let rng = self.rng.fork(&format!("nat {index}"));
            Nat::new(nat.config.clone(), nat.outer(), rng)
        };
        let place = |(ip, place): (&IpAddr, &Place)| {
            let guard = Guard::new(place.guard.firewall.clone());
            (*ip, Place { guard, ..*place })
        };
        Self {
            rng: self.rng.fork("fresh"),
            realms: self.realms.clone(),
            nats: self.nats.iter().enumerate().map(nat).collect(),
            sites: self.sites.clone(),
            outer: self.outer.clone(),
            places: self.places.iter().map(place).collect(),
            by_host: self.by_host.clone(),
        }
    }

    /// Adds a place within `realm`, behind `nats` from the inside outwards.
    pub(super) fn add_site(&mut self, within: Realm, nats: &[NatConfig]) -> SiteId {
        let mut realm = within;
        let mut own = Vec::new();
        for (level, config) in nats.iter().enumerate().rev() {
            let index = self.nats.len();
            let outer = [self.address(realm, false), self.address(realm, true)];
            for ip in outer {
                self.outer.insert(ip, (realm, index));
            }
            let rng = self.rng.fork(&format!("nat {index}"));
            self.nats.push(Nat::new(config.clone(), outer, rng));
            own.push(index);
            let number = self.realms.len();
            assert!(number < MAX_REALMS, "no more than {MAX_REALMS} realms");
            let block = private(number, level > 0);
            // The first address is the NAT's inner one.
            self.realms.push(RealmState { exit: Some((index, realm)), given: 1, block });
            realm = Realm(number);
        }
        own.reverse();
        self.sites.push((realm, own));
        SiteId(self.sites.len() - 1)
    }

    pub(super) fn realm(&self, site: SiteId) -> Realm {
        self.sites[site.0].0
    }

    /// The NATs of a site itself, from the inside outwards.
    pub(super) fn nats_mut(&mut self, site: SiteId) -> impl Iterator<Item = &mut Nat> {
        let own = self.sites.get(site.0).map(|(_, own)| own.as_slice()).unwrap_or_default();
        self.nats.iter_mut().enumerate().filter(|(n, _)| own.contains(n)).map(|(_, nat)| nat)
    }

    /// The public addresses, of IPv4 and of IPv6, of a site's outermost own NAT.
    pub(super) fn outer_addresses(&self, site: SiteId) -> Option<[IpAddr; 2]> {
        let outermost = self.sites.get(site.0)?.1.last()?;
        self.nats.get(*outermost).map(Nat::outer)
    }

    pub(super) fn add_place(
        &mut self,
        host: usize,
        site: SiteId,
        firewall: Firewall,
        v6: bool,
    ) -> IpAddr {
        let realm = self.realm(site);
        let ip = self.address(realm, v6);
        self.places.insert(ip, Place { host, site, realm, guard: Guard::new(firewall), up: true });
        self.by_host.entry(host).or_default().push(ip);
        ip
    }

    pub(super) fn remove_place(&mut self, ip: IpAddr) {
        if let Some(place) = self.places.remove(&ip)
            && let Some(own) = self.by_host.get_mut(&place.host)
        {
            own.retain(|other| *other != ip);
        }
    }

    /// A host's interfaces that are up, in the order in which they were added.
    pub(super) fn interfaces(&self, host: usize) -> impl Iterator<Item = IpAddr> + '_ {
        let own = self.all_interfaces(host).iter().copied();
        own.filter(|ip| self.places.get(ip).is_some_and(|place| place.up))
    }

    pub(super) fn all_interfaces(&self, host: usize) -> &[IpAddr] {
        self.by_host.get(&host).map(Vec::as_slice).unwrap_or_default()
    }

    /// The places in which a host has interfaces.
    pub(super) fn sites(&self, host: usize) -> Vec<SiteId> {
        let places = self.all_interfaces(host).iter().filter_map(|ip| self.places.get(ip));
        let realms: Vec<Realm> = places.map(|place| place.realm).collect();
        let all = self.sites.iter().enumerate();
        let there =
            all.filter(|(_, (realm, _))| realms.contains(realm) && *realm != Realm::INTERNET);
        there.map(|(n, _)| SiteId(n)).collect()
    }

    /// From where it is outwards through NATs, until its receiver's address is valid.
    pub(super) fn outwards(&mut self, now: Duration, mut at: At) -> Result<At, Lost> {
        let mut left = None;
        loop {
            match self.owner(at) {
                Some(Owner::Nat(nat))
                    if Some(nat) == left && !self.nats[nat].config.hairpinning =>
                {
                    return Err(Lost::Hairpin);
                }
                Some(_) => return Ok(at),
                None => {}
            }
            let (nat, realm) = self.realms[at.realm.0].exit.ok_or(Lost::NoRoute)?;
            at.from = self.nats[nat].outwards(now, at.from, at.to)?;
            at.realm = realm;
            left = Some(nat);
        }
    }

    /// From where its receiver's address is valid inwards through NATs, until it is an interface's.
    pub(super) fn inwards(&self, now: Duration, mut at: At) -> Result<At, Lost> {
        loop {
            let Owner::Nat(nat) = self.owner(at).ok_or(Lost::NoRoute)? else { return Ok(at) };
            at.to = self.nats[nat].inwards(now, at.to, at.from)?;
            at.realm = self.inside(nat);
        }
    }

    /// Whom it would reach if all NATs let it in.
    pub(super) fn receiver(&self, now: Duration, mut at: At) -> Option<usize> {
        loop {
            let Owner::Nat(nat) = self.owner(at)? else {
                return self.places.get(&at.to.ip()).map(|place| place.host);
            };
            at.to = self.nats[nat].behind(now, at.to)?;
            at.realm = self.inside(nat);
        }
    }

    /// Whether one of these realms can be reached from the other, outwards alone.
    pub(super) fn related(&self, a: Realm, b: Realm) -> bool {
        self.around(a).any(|realm| realm == b) || self.around(b).any(|realm| realm == a)
    }

    /// A realm and those around it, outwards.
    fn around(&self, realm: Realm) -> impl Iterator<Item = Realm> + '_ {
        let outer = |realm: &Realm| self.realms[realm.0].exit.map(|(_, outer)| outer);
        std::iter::successors(Some(realm), outer)
    }

    /// Who has its receiver's address where it is.
    fn owner(&self, at: At) -> Option<Owner> {
        let ip = at.to.ip();
        if self.places.get(&ip).is_some_and(|place| place.realm == at.realm) {
            return Some(Owner::Interface);
        }
        let (realm, nat) = self.outer.get(&ip)?;
        (*realm == at.realm).then_some(Owner::Nat(*nat))
    }

    /// The realm inside of a NAT.
    fn inside(&self, nat: usize) -> Realm {
        // Each NAT comes with the realm inside of it, and the internet is the first realm.
        Realm(nat + 1)
    }

    /// The next address of a realm that nobody has.
    fn address(&mut self, realm: Realm, v6: bool) -> IpAddr {
        let taken = |ip: &IpAddr| self.places.contains_key(ip) || self.outer.contains_key(ip);
        let state = &self.realms[realm.0];
        let (base, size) = state.block;
        // Neither the first nor the last of a block is a host's.
        let mut numbers = (0..size).map(|n| (state.given + n) % (size - 2) + 1);
        let (number, ip) = numbers
            .find_map(|number| {
                let ip = match (v6, realm) {
                    (false, _) => IpAddr::V4(Ipv4Addr::from(u32::from(base) + number)),
                    (true, Realm::INTERNET) => v6_of([0x2001, 0xdb8], realm, number),
                    (true, _) => v6_of([0xfd00, 0], realm, number),
                };
                (!taken(&ip)).then_some((number, ip))
            })
            .expect("no more interfaces than a place has addresses");
        self.realms[realm.0].given = number;
        ip
    }
}

/// The block of a realm behind a NAT: of a home (RFC 1918), or between a carrier's NAT and its customers'
/// (RFC 6598).
fn private(number: usize, between: bool) -> (Ipv4Addr, u32) {
    let number = number as u32;
    if between {
        // 256 customers or more, and as many such realms as fit.
        (Ipv4Addr::from(u32::from(Ipv4Addr::new(100, 64, 0, 0)) + (number << 8)), 1 << 8)
    } else if number < 256 {
        (Ipv4Addr::new(192, 168, number as u8, 0), 1 << 8)
    } else {
        (Ipv4Addr::from(u32::from(Ipv4Addr::new(10, 0, 0, 0)) + (number << 8)), 1 << 8)
    }
}

fn v6_of(prefix: [u16; 2], realm: Realm, number: u32) -> IpAddr {
    let [high, low] = [(number >> 16) as u16, number as u16];
    IpAddr::V6(Ipv6Addr::new(prefix[0], prefix[1], 0, realm.0 as u16, 0, 0, high, low))
}
