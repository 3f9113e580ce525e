//! Datagrams that are sent at once, and received coalesced.

use std::net::SocketAddr;
use std::sync::atomic::Ordering;

use super::*;

/// Sockets that take as many at once as Linux.
const SEGMENTS: usize = 64;

fn mesh() -> Mesh {
    let mesh = Mesh::with_sockets(&[1]);
    mesh.world.udp(near(1), |udp| udp.segments = SEGMENTS);
    mesh
}

/// Another place.
fn elsewhere() -> SocketAddr {
    ([192, 0, 2, 7], 7).into()
}

/// A datagram of this size that no other equals.
fn datagram(name: usize, size: usize) -> String {
    format!("{name:.<size$}").chars().take(size).collect()
}

/// Has these sizes sent to one place, and gives their texts.
fn send(mesh: &Mesh, sizes: &[usize]) -> Vec<String> {
    let texts: Vec<_> = sizes.iter().enumerate().map(|(n, &size)| datagram(n, size)).collect();
    mesh.script(|script| texts.iter().for_each(|text| script.transmit(1, far(), text)));
    texts
}

fn calls(mesh: &Mesh) -> Vec<usize> {
    mesh.world.udp(near(1), |udp| std::mem::take(&mut udp.calls))
}

/// `equal` without printing what differs: datagrams are long.
fn same(a: &[String], b: &[String]) -> bool {
    a == b
}

#[test]
fn what_goes_to_one_place_in_one_size_is_sent_at_once() {
    let mesh = mesh();
    let texts = send(&mesh, &[1200, 1200, 1200, 1200, 700, 1200, 80, 80, 80, 90, 0, 0, 80]);
    // A shorter one ends a train, a longer one begins the next; empty ones cannot be told apart in one.
    assert_eq!(calls(&mesh), [5, 2, 2, 1, 1, 1, 1]);
    assert!(same(&mesh.sent(1), &texts));
}

#[test]
fn what_goes_to_several_places_is_sent_one_by_one() {
    let mesh = mesh();
    mesh.script(|script| {
        for n in 0..6 {
            script.transmit(1, if n % 2 == 0 { far() } else { elsewhere() }, &n.to_string());
        }
    });
    assert_eq!(calls(&mesh), [1; 6]);
    assert_eq!(mesh.sent(1), ["0", "1", "2", "3", "4", "5"]);
}

#[test]
fn trains_keep_to_the_limits_of_the_system() {
    let mesh = mesh();
    send(&mesh, &[80; 100]);
    assert_eq!(calls(&mesh), [64, 36], "segments");
    send(&mesh, &[1452; 50]);
    assert_eq!(calls(&mesh), [45, 5], "bytes");
    send(&mesh, &[1453; 3]);
    assert_eq!(calls(&mesh), [1, 1, 1], "above what paths carry");
    mesh.world.udp(near(1), |udp| udp.segments = 0);
    send(&mesh, &[80; 3]);
    assert_eq!(calls(&mesh), [1, 1, 1], "a socket that cannot");
}

#[test]
fn a_socket_that_refuses_trains_gets_each_datagram_once_and_is_not_asked_again() {
    let mesh = mesh();
    mesh.world.udp(near(1), |udp| udp.refuses_segments = true);
    let texts = send(&mesh, &[1200; 5]);
    assert_eq!(calls(&mesh), [5, 1, 1, 1, 1, 1]);
    assert!(same(&mesh.sent(1), &texts));
    send(&mesh, &[1200; 2]);
    assert_eq!(calls(&mesh), [1, 1]);
    assert_eq!(mesh.handle.shared().counters.send_errors.load(Ordering::Relaxed), 0);
}

#[test]
fn a_network_that_is_down_costs_each_datagram_and_not_the_trains_to_come() {
    let mesh = mesh();
    mesh.world.udp(near(1), |udp| udp.refuses = true);
    send(&mesh, &[1200; 5]);
    assert_eq!(mesh.handle.shared().counters.send_errors.load(Ordering::Relaxed), 5);
    mesh.world.udp(near(1), |udp| udp.refuses = false);
    calls(&mesh);
    let texts = send(&mesh, &[1200; 5]);
    assert_eq!(calls(&mesh), [5]);
    assert!(same(&mesh.sent(1), &texts));
}

#[test]
fn a_socket_that_fills_up_in_the_middle_loses_nothing_repeats_nothing_and_keeps_the_order() {
    for refuses_segments in [false, true] {
        for room in 0..13 {
            let mesh = mesh();
            mesh.world.udp(near(1), |udp| {
                udp.refuses_segments = refuses_segments;
                udp.room = Some(room);
            });
            let texts = send(&mesh, &[1200, 1200, 1200, 700, 80, 80, 1200, 1200, 1200, 0, 5, 5]);
            // What comes meanwhile stays behind it.
            mesh.script(|script| script.transmit(1, far(), "last"));
            for more in [1, 0, 2, 20] {
                mesh.world.udp(near(1), |udp| udp.room = udp.room.map(|room| room + more));
                mesh.world.run();
            }
            let mut sent = mesh.sent(1);
            assert_eq!(sent.pop().as_deref(), Some("last"));
            assert!(same(&sent, &texts), "room for {room}, refuses: {refuses_segments}");
        }
    }
}

/// Delivers these sizes from one place, and gives their texts.
fn deliver(mesh: &Mesh, from: impl Fn(usize) -> SocketAddr, sizes: &[usize]) -> Vec<String> {
    let texts: Vec<_> = sizes.iter().enumerate().map(|(n, &size)| datagram(n, size)).collect();
    mesh.world.udp(near(1), |udp| {
        let all = texts.iter().enumerate();
        udp.incoming.extend(all.map(|(n, text)| Ok((from(n), text.clone().into_bytes()))));
    });
    mesh.world.run();
    texts.into_iter().map(|text| format!("1 received {text}")).collect()
}

fn coalesced(mesh: &Mesh) -> bool {
    mesh.world.udp(near(1), |udp| udp.coalesced)
}

#[test]
fn a_socket_that_receives_trains_coalesces_and_they_are_taken_apart() {
    let mesh = mesh();
    mesh.world.udp(near(1), |udp| udp.coalesces = true);
    let mut told = Vec::new();
    // Video in bursts of ten.
    for _ in 0..40 {
        told.extend(deliver(&mesh, |_| far(), &[1200; 10]));
    }
    assert!(coalesced(&mesh));
    assert!(same(&mesh.log(), &told));

    let mixed = [80, 1200, 1200, 700, 700, 700, 3, 0, 0, 1500, 1500, 1];
    assert!(same(&deliver(&mesh, |_| far(), &mixed), &mesh.log()), "of all sizes");
    let places = |n: usize| if n.is_multiple_of(3) { far() } else { elsewhere() };
    assert!(same(&deliver(&mesh, places, &[80; 200]), &mesh.log()), "of two senders");
    assert!(same(&deliver(&mesh, |_| far(), &[1200; 1000]), &mesh.log()), "more than a round");

    let counters = &mesh.handle.shared().counters;
    deliver(&mesh, |_| far(), &[2048, 2048, 2048, 100, 60_000]);
    // The short end of a train of such goes with it: nothing of WebRTC is in one.
    assert_eq!(counters.oversized.load(Ordering::Relaxed), 5);
    assert!(mesh.log().is_empty());
}

#[test]
fn a_socket_that_cannot_coalesce_is_read_one_by_one() {
    let mesh = mesh();
    let told = deliver(&mesh, |_| far(), &[1200; 1000]);
    assert!(!coalesced(&mesh));
    assert!(same(&mesh.log(), &told));
}

#[test]
fn single_datagrams_of_many_are_not_coalesced() {
    let mesh = mesh();
    mesh.world.udp(near(1), |udp| udp.coalesces = true);
    let places = |n: usize| ([192, 0, 2, 100 + (n % 10) as u8], 9).into();
    let told = deliver(&mesh, places, &[80; 1000]);
    assert!(same(&mesh.log(), &told));
    for n in 0..300 {
        deliver(&mesh, |_| far(), &[80 + n % 2]);
    }
    assert!(!coalesced(&mesh));
}
