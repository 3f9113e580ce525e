//! Tests of streams.

use rtcmesh_core::rng::Seed;

use super::super::{Access, Jitter, Loss, NatConfig};
use super::*;

fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

/// A client behind a NAT and a server.
fn network(link: LinkConfig) -> (Network, IpAddr, IpAddr) {
    let mut network = Network::new(Seed::from_number(3));
    let home = network.add_site(&[NatConfig::symmetric()]);
    let access = Access { up: link.clone(), down: link, ..Access::default() };
    let client = network.add_interface(0, home, access, false);
    let public = network.add_site(&[]);
    let server = network.add_interface(1, public, Access::default(), false);
    (network, client, server)
}

#[test]
fn messages_keep_their_order_through_jitter_and_loss() {
    let link = LinkConfig {
        jitter: Jitter::HeavyTail(ms(20)),
        loss: Loss::Random(0.1),
        ..LinkConfig::default()
    };
    let (mut network, client, server) = network(link);
    let (mut up, mut down) = (Vec::new(), Vec::new());
    for n in 0..2000 {
        let now = ms(n);
        up.push(network.stream(now, (0, client), 1, 9, 500).unwrap());
        down.push(network.stream(now, (1, server), 0, 9, 500).unwrap());
        assert!(up[n as usize] > now && down[n as usize] > now);
    }
    assert!(up.is_sorted() && down.is_sorted());
    assert_ne!(up, down);
}

#[test]
fn losses_delay_and_a_dead_link_ends_it() {
    let (mut network, client, _) = network(LinkConfig::default());
    assert_eq!(network.stream(ms(0), (0, client), 1, 1, 100), Some(ms(2)));
    network.link_mut(client).unwrap().0.loss = Loss::Random(0.5);
    let sent = (0..200).map(|n| network.stream(ms(0), (0, client), 1, 100 + n, 100));
    let arrivals: Vec<_> = sent.flatten().collect();
    assert!(arrivals.iter().all(|at| *at == ms(2) || *at >= MIN_RTO));
    let late = arrivals.iter().filter(|at| **at >= MIN_RTO).count();
    assert!((70..130).contains(&late), "{late}");
    // One in 64 has no way: its sixth time of sending would be past what losses are foreseen for.
    assert!((185..200).contains(&arrivals.len()), "{}", arrivals.len());
    assert!(arrivals.iter().all(|at| *at <= ms(2) + FORESIGHT));
    network.link_mut(client).unwrap().0.loss = Loss::Random(1.0);
    assert_eq!(network.stream(ms(0), (0, client), 1, 1, 100), None);
}

#[test]
fn a_rate_delays_long_messages() {
    let link = LinkConfig { rate: Some(8_000_000), ..LinkConfig::default() };
    let (mut network, client, _) = network(link);
    // 100 segments of 1,500 bytes, a megabyte a second.
    let arrives = network.stream(ms(0), (0, client), 1, 1, 146_000).unwrap();
    assert_eq!(arrives, ms(152));
}

#[test]
fn there_is_no_way_through_what_is_down_or_apart() {
    let (mut network, client, server) = network(LinkConfig::default());
    let send = |network: &mut Network| network.stream(ms(0), (0, client), 1, 1, 1).is_some();
    assert!(send(&mut network));
    network.set_up(client, false);
    assert!(!send(&mut network));
    network.set_up(client, true);
    network.set_up(server, false);
    assert!(!send(&mut network));
    network.set_up(server, true);
    network.partition(&[vec![0], vec![1]]);
    assert!(!send(&mut network));
    network.heal();
    assert!(send(&mut network));
    let site = network.add_site(&[NatConfig::default()]);
    network.add_interface(2, site, Access::default(), false);
    assert_eq!(network.stream(ms(0), (0, client), 2, 5, 1), None);
}

#[test]
fn old_streams_are_forgotten() {
    let (mut network, client, _) = network(LinkConfig::default());
    for n in 0..10_000 {
        network.stream(ms(n * 10), (0, client), 1, n, 1).unwrap();
    }
    assert!(network.streams.ways.len() <= REMEMBERED);
}
