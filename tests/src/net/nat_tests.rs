//! Tests of the NAT by itself, against the tables of RFC 4787.

use std::net::Ipv4Addr;

use proptest::prelude::*;
use rtcmesh_core::rng::{Rng, Seed};

use super::*;

const OUTER: IpAddr = IpAddr::V4(Ipv4Addr::new(198, 18, 0, 1));

fn nat(config: NatConfig) -> Nat {
    let v6 = "2001:db8::1".parse().unwrap();
    Nat::new(config, [OUTER, v6], Rng::new(Seed::from_number(1)))
}

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn inner(n: u16) -> SocketAddr {
    SocketAddr::new(IpAddr::V4(Ipv4Addr::new(192, 168, 1, 2 + n as u8 / 4)), 5000 + n % 4)
}

/// Remote ends: three addresses with three ports each.
fn remote(n: u16) -> SocketAddr {
    SocketAddr::new(IpAddr::V4(Ipv4Addr::new(198, 19, 0, (n / 3) as u8)), 80 + n % 3)
}

/// Whether a behaviour takes two remote ends for one, as the RFC's text says it.
fn same(behaviour: Behaviour, a: SocketAddr, b: SocketAddr) -> bool {
    match behaviour {
        Behaviour::EndpointIndependent => true,
        Behaviour::AddressDependent => a.ip() == b.ip(),
        Behaviour::AddressAndPortDependent => a == b,
    }
}

fn behaviour() -> impl Strategy<Value = Behaviour> {
    prop::sample::select(Behaviour::ALL.to_vec())
}

fn port() -> impl Strategy<Value = PortAssignment> {
    use PortAssignment::*;
    prop::sample::select(vec![Preserve, Sequential, Random])
}

/// A datagram outwards: after how long, from whom, to whom, and by what outer address.
type Sent = (Duration, SocketAddr, SocketAddr, SocketAddr);

proptest! {
    /// All nine combinations, each in any state: who shares a mapping, and who is let in.
    #[test]
    fn mapping_and_filtering_are_those_of_the_tables(
        mapping in behaviour(), filtering in behaviour(), port in port(),
        steps in prop::collection::vec((0_u64..50, 0_u16..8, 0_u16..9), 1..60),
    ) {
        let expiry = seconds(100);
        let mut nat = nat(NatConfig { mapping, filtering, expiry, port, ..NatConfig::default() });
        let mut now = Duration::ZERO;
        let mut sent: Vec<Sent> = Vec::new();
        for (after, from, to) in steps {
            now += seconds(after);
            let (from, to) = (inner(from), remote(to));
            let outer = nat.outwards(now, from, to).unwrap();
            prop_assert_eq!(outer.ip(), OUTER);
            // The mapping of before, as long as it was kept alive; no other one's.
            let of = |(_, other, remote, _): &&Sent| *other == from && same(mapping, *remote, to);
            match sent.iter().rev().find(of) {
                Some((at, .., before)) if now - *at < expiry => prop_assert_eq!(outer, *before),
                _ => {
                    let mut live = sent.iter().filter(|(at, ..)| now - *at < expiry);
                    prop_assert!(live.all(|(.., other)| *other != outer), "a port that is in use");
                }
            }
            sent.push((now, from, to, outer));
            for n in 0..9 {
                let lets_in = nat.inwards(now, outer, remote(n)).ok();
                let permits = |(at, other, to, by): &Sent| {
                    *other == from && *by == outer && now - *at < expiry && same(filtering, *to, remote(n))
                };
                prop_assert_eq!(lets_in, sent.iter().any(permits).then_some(from));
            }
        }
    }
}

#[test]
fn mappings_live_by_what_goes_out() {
    let mut nat = nat(NatConfig { expiry: seconds(30), ..NatConfig::default() });
    let outer = nat.outwards(seconds(0), inner(0), remote(0)).unwrap();
    assert_eq!(nat.inwards(seconds(29), outer, remote(0)), Ok(inner(0)));
    assert_eq!(nat.inwards(seconds(30), outer, remote(0)), Err(Lost::NatFilter));
    nat.outwards(seconds(29), inner(0), remote(1)).unwrap();
    assert_eq!(nat.inwards(seconds(58), outer, remote(1)), Ok(inner(0)));
    // The permission of the first one has not been refreshed.
    assert_eq!(nat.inwards(seconds(58), outer, remote(0)), Err(Lost::NatFilter));
}

#[test]
fn rebinding_forgets_and_gives_other_ports() {
    use PortAssignment::*;
    for port in [Preserve, Sequential, Random] {
        let mut nat = nat(NatConfig { port, ..NatConfig::default() });
        let before = nat.outwards(seconds(0), inner(0), remote(0)).unwrap();
        nat.rebind();
        assert_eq!(nat.inwards(seconds(0), before, remote(0)), Err(Lost::NatFilter));
        assert_ne!(nat.outwards(seconds(0), inner(0), remote(0)).unwrap(), before, "{port:?}");
    }
}

#[test]
fn ports_are_given_as_stated() {
    let ports = |port| {
        let mut nat = nat(NatConfig { port, ..NatConfig::symmetric() });
        [0, 1, 2].map(|n| nat.outwards(seconds(0), inner(0), remote(n)).unwrap().port())
    };
    assert_eq!(ports(PortAssignment::Preserve), [5000, 5001, 5002]);
    let [a, b, c] = ports(PortAssignment::Sequential);
    assert_eq!([after(a), after(b)], [b, c]);
    let [a, b, c] = ports(PortAssignment::Random);
    assert!([after(a), after(b)] != [b, c]);
}

#[test]
fn a_full_nat_refuses_until_mappings_expire() {
    let mut nat = nat(NatConfig { max_mappings: 2, ..NatConfig::symmetric() });
    for n in 0..2 {
        nat.outwards(seconds(0), inner(0), remote(n)).unwrap();
    }
    assert_eq!(nat.outwards(seconds(1), inner(0), remote(2)), Err(Lost::NatFull));
    nat.outwards(seconds(120), inner(0), remote(2)).unwrap();
    assert_eq!(nat.mappings(), 1);
}

#[test]
fn permissions_are_bounded() {
    let mut nat = nat(NatConfig::default());
    let far = |n: usize| SocketAddr::new(remote(0).ip(), n as u16 + 1);
    let mut outer = None;
    for n in 0..=MAX_PERMISSIONS {
        outer = nat.outwards(Duration::from_millis(n as u64), inner(0), far(n)).ok();
    }
    let outer = outer.unwrap();
    assert_eq!(nat.by_outer[&outer].permitted.len(), MAX_PERMISSIONS);
    assert_eq!(nat.inwards(seconds(1), outer, far(0)), Err(Lost::NatFilter));
    assert_eq!(nat.inwards(seconds(1), outer, far(1)), Ok(inner(0)));
}
