//! A network address translator by RFC 4787: mapping, filtering, expiry, hairpinning and ports.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use rtcmesh_core::rng::Rng;

use super::stats::Lost;

/// What a NAT looks at of the remote end: for mapping, RFC 4787, section 4.1, for filtering, section 5.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub enum Behaviour {
    /// Nothing.
    #[default]
    EndpointIndependent,
    /// Its address.
    AddressDependent,
    /// Its address and its port.
    AddressAndPortDependent,
}

impl Behaviour {
    /// All three.
    pub const ALL: [Self; 3] =
        [Self::EndpointIndependent, Self::AddressDependent, Self::AddressAndPortDependent];

    fn key(self, remote: SocketAddr) -> Remote {
        match self {
            Self::EndpointIndependent => (None, None),
            Self::AddressDependent => (Some(remote.ip()), None),
            Self::AddressAndPortDependent => (Some(remote.ip()), Some(remote.port())),
        }
    }
}

/// Which remote ends share one outer port: [`Behaviour`] of mapping, RFC 4787, section 4.1.
pub type Mapping = Behaviour;

/// Which remote ends are let in: [`Behaviour`] of filtering, RFC 4787, section 5.
pub type Filtering = Behaviour;

/// The part of a remote address that a NAT looks at.
type Remote = (Option<IpAddr>, Option<u16>);

/// Which outer port a new mapping gets: RFC 4787, section 4.2.1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum PortAssignment {
    /// The inner one where it is free, otherwise the next free one after it.
    #[default]
    Preserve,
    /// The next one after that of the latest mapping.
    Sequential,
    /// Any.
    Random,
}

/// What a NAT does. The default is the commonest home router: endpoint-independent mapping, filtering
/// by address and port, ports preserved, 2 minutes, no hairpinning.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NatConfig {
    /// Which remote ends share a mapping.
    pub mapping: Mapping,
    /// Who is let in through a mapping.
    pub filtering: Filtering,
    /// How long a mapping, and the permission of a remote end, lives after the latest datagram outwards
    /// (RFC 4787, section 4.3: at least 2 minutes, 5 by default; many keep less).
    pub expiry: Duration,
    /// Whether inner hosts reach each other by their outer addresses (section 6): each then sees the
    /// other's outer address.
    pub hairpinning: bool,
    /// Which port a mapping gets.
    pub port: PortAssignment,
    /// How many mappings live at a time at most; with all of them in use, new ones are refused. No
    /// more than 60,000 count, since each has a port of its own.
    pub max_mappings: usize,
}

impl Default for NatConfig {
    fn default() -> Self {
        Self {
            mapping: Mapping::EndpointIndependent,
            filtering: Filtering::AddressAndPortDependent,
            expiry: Duration::from_secs(120),
            hairpinning: false,
            port: PortAssignment::Preserve,
            max_mappings: 4096,
        }
    }
}

impl NatConfig {
    /// The NAT that hole punching fails on: mapping and filtering by address and port, random ports.
    #[must_use]
    pub fn symmetric() -> Self {
        Self {
            mapping: Mapping::AddressAndPortDependent,
            filtering: Filtering::AddressAndPortDependent,
            port: PortAssignment::Random,
            ..Self::default()
        }
    }

    /// Mapping and filtering that depend on nothing ("full cone").
    #[must_use]
    pub fn full_cone() -> Self {
        Self { filtering: Filtering::EndpointIndependent, ..Self::default() }
    }
}

/// The outer ports: below are the well-known ones (RFC 4787, section 4.2.1: those above stay above).
const FIRST_PORT: u16 = 1024;

/// How many outer ports there are.
const PORTS: u16 = u16::MAX - FIRST_PORT + 1;

/// The most mappings of any configuration.
const MAX_MAPPINGS: usize = 60_000;

/// How many remote ends a mapping lets in at most: the one that was sent to longest ago is forgotten.
const MAX_PERMISSIONS: usize = 512;

/// By how much preserved ports are shifted at each rebinding: a prime, so that they meet none of before.
const SHIFT: u64 = 1009;

#[derive(Debug)]
struct Mapped {
    inner: SocketAddr,
    remote: Remote,
    /// The latest datagram outwards.
    latest: Duration,
    /// Who was sent to, and when at last.
    permitted: BTreeMap<Remote, Duration>,
}

/// A NAT with its mappings.
#[derive(Debug)]
pub(super) struct Nat {
    pub(super) config: NatConfig,
    /// The outer addresses: of IPv4 and of IPv6.
    outer: [IpAddr; 2],
    rng: Rng,
    by_inner: BTreeMap<(SocketAddr, Remote), SocketAddr>,
    by_outer: BTreeMap<SocketAddr, Mapped>,
    /// The latest port that was given.
    latest_port: u16,
    rebindings: u64,
}

impl Nat {
    pub(super) fn new(config: NatConfig, outer: [IpAddr; 2], mut rng: Rng) -> Self {
        let latest_port = FIRST_PORT + (rng.next_u64() % u64::from(PORTS)) as u16;
        let (by_inner, by_outer) = (BTreeMap::new(), BTreeMap::new());
        Self { config, outer, rng, by_inner, by_outer, latest_port, rebindings: 0 }
    }

    pub(super) const fn outer(&self) -> [IpAddr; 2] {
        self.outer
    }

    /// Outwards: the outer address that `remote` sees of `inner`. Keeps the mapping alive, and lets
    /// `remote` in.
    pub(super) fn outwards(
        &mut self,
        now: Duration,
        inner: SocketAddr,
        remote: SocketAddr,
    ) -> Result<SocketAddr, Lost> {
        let key = (inner, self.config.mapping.key(remote));
        let known = self.by_inner.get(&key).copied();
        let outer = match known {
            Some(outer) if self.lives(now, outer) => outer,
            expired => {
                if let Some(outer) = expired {
                    self.forget(outer);
                }
                self.map(now, key)?
            }
        };
        let permission = self.config.filtering.key(remote);
        if let Some(mapped) = self.by_outer.get_mut(&outer) {
            mapped.latest = now;
            mapped.permitted.insert(permission, now);
            if mapped.permitted.len() > MAX_PERMISSIONS {
                let oldest = mapped.permitted.iter().min_by_key(|(remote, at)| (**at, **remote));
                if let Some(oldest) = oldest.map(|(remote, _)| *remote) {
                    mapped.permitted.remove(&oldest);
                }
            }
        }
        Ok(outer)
    }

    /// Inwards: whom a datagram from `remote` to `outer` is for.
    pub(super) fn inwards(
        &self,
        now: Duration,
        outer: SocketAddr,
        remote: SocketAddr,
    ) -> Result<SocketAddr, Lost> {
        let mapped = self.by_outer.get(&outer).filter(|_| self.lives(now, outer));
        let mapped = mapped.ok_or(Lost::NatFilter)?;
        let permitted = mapped.permitted.get(&self.config.filtering.key(remote));
        let fresh = permitted.is_some_and(|at| now.saturating_sub(*at) < self.config.expiry);
        if fresh { Ok(mapped.inner) } else { Err(Lost::NatFilter) }
    }

    /// Who is behind an outer address, whoever may reach it.
    pub(super) fn behind(&self, now: Duration, outer: SocketAddr) -> Option<SocketAddr> {
        self.by_outer.get(&outer).filter(|_| self.lives(now, outer)).map(|mapped| mapped.inner)
    }

    /// All mappings are gone, as after a restart; the next ones get other ports.
    pub(super) fn rebind(&mut self) {
        self.by_inner.clear();
        self.by_outer.clear();
        self.rebindings += 1;
    }

    /// How many mappings it holds, expired ones included.
    #[cfg(test)]
    pub(super) fn mappings(&self) -> usize {
        self.by_outer.len()
    }

    fn lives(&self, now: Duration, outer: SocketAddr) -> bool {
        let latest = self.by_outer.get(&outer).map(|mapped| mapped.latest);
        latest.is_some_and(|latest| now.saturating_sub(latest) < self.config.expiry)
    }

    fn forget(&mut self, outer: SocketAddr) {
        if let Some(mapped) = self.by_outer.remove(&outer) {
            self.by_inner.remove(&(mapped.inner, mapped.remote));
        }
    }

    fn map(&mut self, now: Duration, key: (SocketAddr, Remote)) -> Result<SocketAddr, Lost> {
        let most = self.config.max_mappings.min(MAX_MAPPINGS);
        if self.by_outer.len() >= most {
            let expired = self.by_outer.keys().copied().filter(|outer| !self.lives(now, *outer));
            for outer in expired.collect::<Vec<_>>() {
                self.forget(outer);
            }
            if self.by_outer.len() >= most {
                return Err(Lost::NatFull);
            }
        }
        let ip = self.outer[usize::from(key.0.is_ipv6())];
        let preferred = match self.config.port {
            PortAssignment::Preserve => {
                let shift = self.rebindings.wrapping_mul(SHIFT) % u64::from(PORTS);
                let inner = u64::from(key.0.port().max(FIRST_PORT) - FIRST_PORT);
                FIRST_PORT + ((inner + shift) % u64::from(PORTS)) as u16
            }
            PortAssignment::Sequential => after(self.latest_port),
            PortAssignment::Random => FIRST_PORT + (self.rng.next_u64() % u64::from(PORTS)) as u16,
        };
        // One of an expired mapping is free.
        let free = |port: &u16| {
            let outer = SocketAddr::new(ip, *port);
            !self.by_outer.contains_key(&outer) || !self.lives(now, outer)
        };
        let ports = std::iter::successors(Some(preferred), |port| Some(after(*port)));
        let port = ports.take(usize::from(PORTS)).find(free).ok_or(Lost::NatFull)?;
        let outer = SocketAddr::new(ip, port);
        self.forget(outer);
        self.latest_port = port;
        let (inner, remote) = key;
        let mapped = Mapped { inner, remote, latest: now, permitted: BTreeMap::new() };
        self.by_outer.insert(outer, mapped);
        self.by_inner.insert(key, outer);
        Ok(outer)
    }
}

/// The outer port after this one.
const fn after(port: u16) -> u16 {
    if port == u16::MAX { FIRST_PORT } else { port + 1 }
}

#[cfg(test)]
#[path = "nat_tests.rs"]
mod tests;
