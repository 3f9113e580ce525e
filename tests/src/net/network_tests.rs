//! Tests of the whole way of a datagram.

use super::*;

fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

/// Everything that arrives, to the end.
fn run(network: &mut Network) -> Vec<Arrival> {
    let mut arrivals = Vec::new();
    while let Some(now) = network.next() {
        arrivals.extend(network.poll(now));
    }
    arrivals
}

#[test]
fn a_datagram_crosses_two_links() {
    let mut network = Network::new(Seed::from_number(1));
    let site = network.add_site(&[]);
    let a = SocketAddr::new(network.add_interface(0, site, Access::default(), false), 1);
    let b = SocketAddr::new(network.add_interface(1, site, Access::default(), false), 2);
    network.send(ms(5), 0, a, b, vec![1, 2, 3]);
    let expected = Arrival { at: ms(7), host: 1, from: a, to: b, payload: vec![1, 2, 3] };
    assert_eq!(run(&mut network), [expected]);
}

/// An interface with its port.
fn add(network: &mut Network, host: usize, site: SiteId, access: Access) -> SocketAddr {
    SocketAddr::new(network.add_interface(host, site, access, false), 5000 + host as u16)
}

/// Two public hosts over perfect links.
fn pair_of_hosts() -> (Network, SocketAddr, SocketAddr) {
    let mut network = Network::new(Seed::from_number(1));
    let site = network.add_site(&[]);
    let a = add(&mut network, 0, site, Access::default());
    let b = add(&mut network, 1, site, Access::default());
    (network, a, b)
}

/// Sends one byte and gives what arrives of it.
fn try_send(
    network: &mut Network,
    now: Duration,
    host: usize,
    from: SocketAddr,
    to: SocketAddr,
) -> Option<Arrival> {
    network.send(now, host, from, to, vec![0]);
    let arrivals = run(network);
    assert!(arrivals.len() < 2);
    arrivals.into_iter().next()
}

#[test]
fn addresses_are_of_their_realm_and_unique() {
    let mut network = Network::new(Seed::from_number(1));
    let public = network.add_site(&[]);
    let home = network.add_site(&[NatConfig::default()]);
    let behind = network.add_site_behind(home, &[NatConfig::default()]);
    let mut all = BTreeSet::new();
    for host in 0..600 {
        for v6 in [false, true] {
            all.insert(network.add_interface(host, public, Access::default(), v6));
        }
    }
    for site in [home, behind] {
        for host in 0..100 {
            for v6 in [false, true] {
                let ip = network.add_interface(host, site, Access::default(), v6);
                match ip {
                    IpAddr::V4(ip) => assert!(ip.is_private(), "{ip}"),
                    IpAddr::V6(ip) => assert!(ip.is_unique_local(), "{ip}"),
                }
                all.insert(ip);
            }
        }
    }
    all.extend(network.outer_addresses(home).unwrap());
    all.extend(network.outer_addresses(behind).unwrap());
    assert_eq!(all.len(), 1200 + 400 + 4);
    assert_eq!(network.realm(public), Realm::INTERNET);
    assert_ne!(network.realm(home), network.realm(behind));
}

#[test]
fn a_nat_shows_its_own_address_and_lets_answers_in() {
    for v6 in [false, true] {
        let mut network = Network::new(Seed::from_number(1));
        let home = network.add_site(&[NatConfig::default()]);
        let public = network.add_site(&[]);
        let a = SocketAddr::new(network.add_interface(0, home, Access::default(), v6), 5000);
        let b = SocketAddr::new(network.add_interface(1, public, Access::default(), v6), 80);
        let seen = try_send(&mut network, ms(0), 0, a, b).unwrap().from;
        assert_eq!(seen.ip(), network.outer_addresses(home).unwrap()[usize::from(v6)]);
        let back = try_send(&mut network, ms(10), 1, b, seen).unwrap();
        assert_eq!((back.from, back.to, back.host), (b, a, 0));
        let stranger = SocketAddr::new(b.ip(), 81);
        assert_eq!(try_send(&mut network, ms(20), 1, stranger, seen), None);
        assert_eq!(network.stats().nat_filter, 1);
        // Its private address is nobody's out there.
        assert_eq!(try_send(&mut network, ms(30), 1, b, a), None);
        assert_eq!(network.stats().no_route, 1);
        // Expiry counts from when the datagram reached the NAT.
        assert!(try_send(&mut network, ms(120_000), 1, b, seen).is_none());
        network.rebind(home, ms(120_000));
        assert_ne!(try_send(&mut network, ms(120_000), 0, a, b).unwrap().from, seen);
    }
}

#[test]
fn hairpinning_is_done_where_it_is_on() {
    for hairpinning in [false, true] {
        let nat = NatConfig { hairpinning, ..NatConfig::full_cone() };
        let mut network = Network::new(Seed::from_number(1));
        let (home, public) = (network.add_site(&[nat]), network.add_site(&[]));
        let a = add(&mut network, 0, home, Access::default());
        let b = add(&mut network, 1, home, Access::default());
        let server = add(&mut network, 2, public, Access::default());
        let outer_a = try_send(&mut network, ms(0), 0, a, server).unwrap().from;
        let outer_b = try_send(&mut network, ms(0), 1, b, server).unwrap().from;
        let arrived = try_send(&mut network, ms(1), 0, a, outer_b);
        // RFC 4787, section 6: "External source IP address and port".
        let expected = hairpinning.then_some((outer_a, b));
        assert_eq!(arrived.map(|arrival| (arrival.from, arrival.to)), expected);
        assert_eq!(network.stats().hairpin, u64::from(!hairpinning));
        // Within the place no NAT is needed.
        assert_eq!(try_send(&mut network, ms(2), 0, a, b).unwrap().from, a);
    }
}

#[test]
fn a_carriers_nat_translates_a_second_time() {
    let mut network = Network::new(Seed::from_number(1));
    let carrier = network.add_site(&[NatConfig::default()]);
    let homes = [0, 1].map(|_| network.add_site_behind(carrier, &[NatConfig::default()]));
    let public = network.add_site(&[]);
    let hosts = [0, 1].map(|n| add(&mut network, n, homes[n], Access::default()));
    let server = add(&mut network, 2, public, Access::default());
    let seen = [0, 1].map(|n| try_send(&mut network, ms(0), n, hosts[n], server).unwrap().from);
    let outer = network.outer_addresses(carrier).unwrap()[0];
    assert_eq!(seen.map(|seen| seen.ip()), [outer, outer]);
    assert_ne!(seen[0], seen[1]);
    for n in [0, 1] {
        assert_eq!(try_send(&mut network, ms(9), 2, server, seen[n]).unwrap().host, n);
    }
}

#[test]
fn cuts_and_partitions_hold_back_what_is_under_way_too() {
    let (mut network, a, b) = pair_of_hosts();
    network.send(ms(0), 0, a, b, vec![0]);
    assert_eq!(network.poll(ms(1)), None);
    network.cut(1, 0, true);
    assert_eq!(run(&mut network), []);
    assert!(try_send(&mut network, ms(5), 1, b, a).is_none());
    network.cut(0, 1, false);
    assert!(try_send(&mut network, ms(9), 1, b, a).is_some());
    network.partition(&[vec![0, 2], vec![1]]);
    assert!(network.apart(0, 1) && !network.apart(0, 2) && !network.apart(0, 3));
    assert!(try_send(&mut network, ms(20), 0, a, b).is_none());
    assert_eq!(network.stats().partition, 3);
    network.heal();
    assert!(try_send(&mut network, ms(30), 0, a, b).is_some());
}

#[test]
fn an_interface_that_is_down_or_gone_takes_nothing() {
    let (mut network, a, b) = pair_of_hosts();
    network.set_up(b.ip(), false);
    assert!(try_send(&mut network, ms(0), 0, a, b).is_none());
    assert!(try_send(&mut network, ms(0), 1, b, a).is_none());
    assert_eq!(network.interfaces(1).count(), 0);
    network.set_up(b.ip(), true);
    network.send(ms(10), 0, a, b, vec![0]);
    assert_eq!(network.poll(ms(11)), None);
    network.set_up(b.ip(), false);
    assert_eq!(run(&mut network), []);
    assert_eq!(network.stats().interface_down, 3);
    // It roams.
    let site = network.add_site(&[NatConfig::default()]);
    network.remove_interface(b.ip());
    let roamed = network.add_interface(1, site, Access::default(), false);
    assert_eq!(network.interfaces(1).collect::<Vec<_>>(), [roamed]);
    assert!(try_send(&mut network, ms(20), 0, a, b).is_none());
    assert!(try_send(&mut network, ms(20), 1, b, a).is_none());
    assert!(try_send(&mut network, ms(20), 0, SocketAddr::new(roamed, 1), a).is_none());
    assert_eq!(network.stats().no_route, 3);
    assert!(try_send(&mut network, ms(20), 1, SocketAddr::new(roamed, 1), a).is_some());
}

#[test]
fn a_path_of_its_own_delays_one_pair_and_only_it() {
    let (mut network, a, b) = pair_of_hosts();
    let site = network.add_site(&[NatConfig::default()]);
    let c = add(&mut network, 2, site, Access::default());
    let path = LinkConfig { latency: ms(100), ..LinkConfig::default() };
    network.set_path(2, 0, Some(path));
    let there = try_send(&mut network, ms(0), 2, c, a).unwrap();
    assert_eq!(there.at, ms(102));
    assert_eq!(try_send(&mut network, ms(200), 0, a, there.from).unwrap().at, ms(302));
    assert_eq!(try_send(&mut network, ms(400), 0, a, b).unwrap().at, ms(402));
    network.set_path(0, 2, None);
    assert_eq!(try_send(&mut network, ms(500), 2, c, a).unwrap().at, ms(502));
}

#[test]
fn links_change_while_they_work_and_all_is_counted() {
    let (mut network, a, b) = pair_of_hosts();
    network.send(ms(0), 0, a, b, vec![0; 1473]);
    let (up, _) = network.link_mut(a.ip()).unwrap();
    (up.duplicate, up.corrupt) = (1.0, 1.0);
    network.send(ms(0), 0, a, b, vec![0; 100]);
    let arrivals = run(&mut network);
    let bits = |arrival: &Arrival| arrival.payload.iter().map(|byte| byte.count_ones()).sum();
    assert_eq!(arrivals.iter().map(bits).collect::<Vec<u32>>(), [1, 1]);
    network.link_mut(a.ip()).unwrap().0.loss = crate::net::Loss::Random(1.0);
    assert!(try_send(&mut network, ms(9), 0, a, b).is_none());
    let expected = NetStats {
        sent: 3,
        delivered: 2,
        duplicated: 1,
        corrupted: 2,
        mtu: 1,
        lost: 1,
        ..NetStats::default()
    };
    assert_eq!(network.stats(), expected);
    assert_eq!(expected.all_lost(), 2);
}

#[test]
fn within_a_host_datagrams_pass_without_links() {
    let (mut network, a, _) = pair_of_hosts();
    let local = "127.0.0.1:7".parse().unwrap();
    assert_eq!(try_send(&mut network, ms(0), 0, local, local).unwrap().host, 0);
    assert_eq!(try_send(&mut network, ms(0), 0, a, a).unwrap().at, LOOPBACK);
}

/// All presets at once, everybody sending to everybody by what a server has seen of them.
fn history(seed: u64) -> Vec<Arrival> {
    let mut network = Network::new(Seed::from_number(seed));
    let public = network.add_site(&[]);
    let server = add(&mut network, 99, public, Access::default());
    let hosts: Vec<_> = crate::net::Preset::ALL
        .into_iter()
        .enumerate()
        .map(|(n, preset)| SocketAddr::new(network.add_preset_host(n, preset), 5000))
        .collect();
    let mut seen = BTreeMap::new();
    let mut arrivals = Vec::new();
    for round in 0..50 {
        let now = ms(round * 20);
        for (n, from) in hosts.iter().enumerate() {
            network.send(now, n, *from, server, vec![n as u8; 50]);
            for to in seen.values() {
                network.send(now, n, *from, *to, vec![n as u8; 200]);
            }
        }
        while let Some(next) = network.next().filter(|next| *next < now + ms(20)) {
            while let Some(arrival) = network.poll(next) {
                assert_eq!(arrival.at, next);
                if arrival.host == 99 {
                    seen.insert(arrival.payload[0], arrival.from);
                }
                arrivals.push(arrival);
            }
        }
    }
    arrivals.extend(run(&mut network));
    let stats = network.stats();
    assert_eq!(stats.sent + stats.duplicated, stats.delivered + stats.all_lost());
    arrivals
}

#[test]
fn equal_seeds_give_equal_arrivals() {
    let first = history(1);
    assert!(first.len() > 500, "{}", first.len());
    assert!(first.is_sorted_by_key(|arrival| arrival.at));
    assert!(history(1) == first);
    assert!(history(2) != first);
}
