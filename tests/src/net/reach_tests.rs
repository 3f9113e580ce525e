//! Tests of whether hosts can have a direct path.

use rtcmesh_core::rng::Seed;

use super::super::{Access, Behaviour, NatConfig, Preset};
use super::*;

/// Two hosts, each behind these NATs.
fn network(a: &[NatConfig], b: &[NatConfig]) -> Network {
    let mut network = Network::new(Seed::from_number(5));
    for (host, nats) in [a, b].into_iter().enumerate() {
        let site = network.add_site(nats);
        network.add_interface(host, site, Access::default(), false);
    }
    network
}

/// Without STUN and with it.
fn both(network: &Network) -> [bool; 2] {
    let found = [network.can_reach_directly(0, 1), network.can_reach_directly_with_stun(0, 1)];
    let back = [network.can_reach_directly(1, 0), network.can_reach_directly_with_stun(1, 0)];
    assert_eq!(found, back);
    found
}

#[test]
fn hole_punching_succeeds_as_the_behaviours_say() {
    let all = Behaviour::ALL;
    let nats: Vec<_> = all.iter().flat_map(|m| all.map(|f| (*m, f))).collect();
    for (m1, f1) in &nats {
        for (m2, f2) in &nats {
            let nat = |m: &Behaviour, f: &Behaviour| NatConfig {
                mapping: *m,
                filtering: *f,
                ..NatConfig::symmetric()
            };
            let [direct, punched] = both(&network(&[nat(m1, f1)], &[nat(m2, f2)]));
            assert!(!direct, "private addresses are not enough");
            let stable = |m: &Behaviour| *m == Behaviour::EndpointIndependent;
            let strict = |f: &Behaviour| *f == Behaviour::AddressAndPortDependent;
            let expected = match (stable(m1), stable(m2)) {
                (true, true) => true,
                // The other one comes from a port that the stable one has not sent to.
                (true, false) => !strict(f1),
                (false, true) => !strict(f2),
                (false, false) if strict(f1) && strict(f2) => false,
                (false, false) => continue,
            };
            assert_eq!(punched, expected, "{m1:?}/{f1:?} and {m2:?}/{f2:?}");
        }
    }
}

#[test]
fn public_hosts_are_reached_from_behind_any_nat() {
    assert_eq!(both(&network(&[], &[])), [true, true]);
    assert_eq!(both(&network(&[NatConfig::symmetric()], &[])), [true, true]);
    let two = [NatConfig::default(), NatConfig::symmetric()];
    assert_eq!(both(&network(&two, &[])), [true, true]);
}

#[test]
fn firewalls_and_cuts_count() {
    let with = |firewall| {
        let mut network = network(&[], &[NatConfig::default()]);
        let address = network.interfaces(0).next().unwrap();
        network.topology.places.get_mut(&address).unwrap().guard.firewall = firewall;
        network
    };
    assert_eq!(both(&with(Firewall::Open)), [true, true]);
    assert_eq!(both(&with(Firewall::OnlyOut)), [false, true]);
    assert_eq!(both(&with(Firewall::BlockUdp)), [false, false]);
    assert_eq!(both(&with(Firewall::Ports(vec![3478]))), [false, false]);
    let mut network = with(Firewall::Open);
    network.cut(0, 1, true);
    assert_eq!(both(&network), [false, false]);
}

#[test]
fn one_carrier_needs_hairpinning_but_one_lan_does_not() {
    for hairpinning in [false, true] {
        let mut network = Network::new(Seed::from_number(6));
        let nat = NatConfig { hairpinning, ..NatConfig::default() };
        let carrier = network.add_site(&[nat]);
        for host in 0..2 {
            let home = network.add_site_behind(carrier, &[NatConfig::default()]);
            network.add_interface(host, home, Access::default(), false);
        }
        assert_eq!(both(&network), [false, hairpinning]);
        let mut network = Network::new(Seed::from_number(6));
        let lan = network.add_site(&[NatConfig::symmetric()]);
        for host in 0..2 {
            network.add_interface(host, lan, Access::default(), false);
        }
        assert_eq!(both(&network), [true, true]);
    }
}

#[test]
fn presets_pair_as_expected() {
    use Preset::*;
    for (a, b, expected) in [
        (Lan, Lan, [true, true]),
        (HomeWifi, HomeWifi, [false, true]),
        (HomeWifi, Hotel, [false, false]),
        (Cellular, Cellular, [false, false]),
        (Cellular, Hotel, [false, false]),
        (CarrierNat, CarrierNat, [false, true]),
        (OfficeNoUdp, HomeWifi, [false, false]),
    ] {
        let mut network = Network::new(Seed::from_number(6));
        network.add_preset_host(0, a);
        network.add_preset_host(1, b);
        assert_eq!(both(&network), expected, "{a} and {b}");
    }
}
