//! Whether two hosts can have a direct path over UDP: what a model of the world has to know.

use std::net::SocketAddr;
use std::time::Duration;

use super::firewall::Firewall;
use super::network::Network;
use super::topology::{At, Realm, Topology};

/// The port of every socket of the two hosts, as from the dynamic ones.
const PORT: u16 = 50_000;

/// STUN's port (RFC 8489, section 18.6).
const STUN_PORT: u16 = 3478;

/// How often each side tries all that it knows. Each round can teach one address that a NAT made up, so
/// that the third one brings nothing new; the rest is margin.
const ROUNDS: usize = 6;

/// How many remote candidates a side tries at most.
const MAX_CANDIDATES: usize = 32;

/// One of the two hosts.
struct Side {
    bases: Vec<SocketAddr>,
    /// What it knows of the other one's addresses.
    remote: Vec<SocketAddr>,
}

impl Network {
    /// Whether ICE finds a direct path over UDP between two hosts that tell each other the addresses of their
    /// interfaces alone (host candidates), and learn what arrives (peer-reflexive ones).
    ///
    /// It is found by trying: both sides send from every interface to every address they know of the other,
    /// in turns, through NATs and firewalls that have no state yet. Losses don't count, cuts and
    /// partitions do. The hosts' own ports are dynamic ones, so that [`Firewall::Ports`] stops them.
    #[must_use]
    pub fn can_reach_directly(&self, a: usize, b: usize) -> bool {
        self.finds_path(a, b, false)
    }

    /// As [`Network::can_reach_directly`], with server-reflexive candidates from a STUN server on the internet
    /// as well: hole punching.
    #[must_use]
    pub fn can_reach_directly_with_stun(&self, a: usize, b: usize) -> bool {
        self.finds_path(a, b, true)
    }

    fn finds_path(&self, a: usize, b: usize, stun: bool) -> bool {
        if self.apart(a, b) {
            return false;
        }
        let mut topology = self.topology.fresh();
        let site = topology.add_site(Realm::INTERNET, &[]);
        let servers = [false, true].map(|v6| {
            let ip = topology.add_place(usize::MAX, site, Firewall::Open, v6);
            SocketAddr::new(ip, STUN_PORT)
        });
        let mut gather = |host| {
            let bases = topology.interfaces(host).map(|ip| SocketAddr::new(ip, PORT));
            let bases: Vec<_> = bases.collect();
            let mut candidates = bases.clone();
            if stun {
                for base in &bases {
                    let server = servers[usize::from(base.is_ipv6())];
                    // The answer comes back the same way.
                    let seen = carry(&mut topology, *base, server);
                    let seen = seen.filter(|(from, to)| {
                        carry(&mut topology, *to, *from).is_some_and(|(_, back)| back == *base)
                    });
                    candidates.extend(seen.map(|(from, _)| from));
                }
            }
            (bases, candidates)
        };
        let (of_a, of_b) = (gather(a), gather(b));
        let mut sides =
            [Side { bases: of_a.0, remote: of_b.1 }, Side { bases: of_b.0, remote: of_a.1 }];
        (0..ROUNDS)
            .any(|_| try_all(&mut topology, &mut sides, 0) || try_all(&mut topology, &mut sides, 1))
    }
}

/// One side tries all that it knows; whether a check and the answer to it arrive.
fn try_all(topology: &mut Topology, sides: &mut [Side; 2], own: usize) -> bool {
    let bases = sides[own].bases.clone();
    for remote in sides[own].remote.clone() {
        for base in &bases {
            let Some((seen, reached)) = carry(topology, *base, remote) else { continue };
            let other = &mut sides[1 - own];
            if !other.bases.contains(&reached) {
                continue;
            }
            // The answer must come from where the check went (RFC 8445, section 7.2.5.2.1).
            if carry(topology, reached, seen) == Some((remote, *base)) {
                return true;
            }
            if !other.remote.contains(&seen) && other.remote.len() < MAX_CANDIDATES {
                other.remote.push(seen);
            }
        }
    }
    false
}

/// Carries a datagram at once: from whom it seems to be, and at whom it is.
fn carry(
    topology: &mut Topology,
    from: SocketAddr,
    to: SocketAddr,
) -> Option<(SocketAddr, SocketAddr)> {
    if from.is_ipv4() != to.is_ipv4() {
        return None;
    }
    let now = Duration::ZERO;
    let place = topology.places.get_mut(&from.ip())?;
    let at = At { realm: place.realm, from, to };
    if !place.guard.lets_out(now, from, to) {
        return None;
    }
    let at = topology.outwards(now, at).ok()?;
    let at = topology.inwards(now, at).ok()?;
    let place = topology.places.get_mut(&at.to.ip())?;
    (place.up && place.guard.lets_in(now, at.to, at.from)).then_some((at.from, at.to))
}

#[cfg(test)]
#[path = "reach_tests.rs"]
mod tests;
