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
