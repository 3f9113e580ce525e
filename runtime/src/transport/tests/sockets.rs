//! Datagrams in and out, and sockets that are full, fail or close.

use std::io::{self, ErrorKind};
use std::sync::atomic::Ordering;
use std::time::Duration;

use super::*;

fn counts(mesh: &Mesh) -> [u64; 4] {
    let counters = &mesh.handle.shared().counters;
    [&counters.send_errors, &counters.receive_errors, &counters.dropped, &counters.oversized]
        .map(|counter| counter.load(Ordering::Relaxed))
}

fn deliver(mesh: &Mesh, socket: u64, what: impl IntoIterator<Item = io::Result<Vec<u8>>>) {
    let what = what.into_iter().map(|item| item.map(|payload| (far(), payload)));
    mesh.world.udp(near(socket), |udp| udp.incoming.extend(what));
    mesh.world.run();
}

#[test]
fn binding_is_answered_with_the_address_or_the_error() {
    let mesh = Mesh::with_sockets(&[]);
    mesh.command(IoCommand::BindUdp { socket: SocketId(1), addr: near(1) });
    mesh.command(IoCommand::BindUdp { socket: SocketId(2), addr: ([10, 0, 0, 1], 2).into() });
    let log = mesh.log();
    assert_eq!(log[0], "1 bound to 192.0.2.1:1");
    assert!(log[1].starts_with("2 failed: "), "{log:?}");
    assert_eq!(mesh.world.bound(), [near(1)]);
    mesh.command(IoCommand::CloseUdp { socket: SocketId(1) });
    assert!(mesh.world.bound().is_empty());
}

#[test]
fn interfaces_are_told_at_once() {
    let mesh = Mesh::with_sockets(&[]);
    mesh.command(IoCommand::WatchInterfaces);
    assert_eq!(mesh.log(), ["interfaces [127.0.0.1]"]);
    mesh.world.pass(Duration::from_secs(60));
    assert!(mesh.log().is_empty(), "told what has not changed");
}

#[test]
fn datagrams_pass_both_ways_on_each_socket() {
    let mesh = Mesh::with_sockets(&[1, 2]);
    mesh.script(|script| script.echoes = true);
    for socket in [1, 2] {
        let texts: Vec<_> = (0..100).map(|n| format!("{socket}.{n}")).collect();
        deliver(&mesh, socket, texts.iter().map(|text| Ok(text.clone().into_bytes())));
        assert_eq!(mesh.sent(socket), texts);
    }
    assert_eq!(mesh.log().len(), 200);
    assert_eq!(counts(&mesh), [0; 4]);
}

#[test]
fn a_flood_on_one_socket_leaves_the_others_and_other_tasks_their_turn() {
    let mesh = Mesh::with_sockets(&[1, 2, 3]);
    for socket in [1, 2, 3] {
        let flood = (0..10_000).map(|_| Ok((far(), b"x".to_vec())));
        mesh.world.udp(near(socket), |udp| udp.incoming.extend(flood));
    }
    let polls = mesh.world.run();
    assert!(polls > 10, "one poll took {} datagrams", 30_000 / polls);
    let log = mesh.log();
    assert_eq!(log.len(), 30_000);
    for socket in ["1", "2", "3"] {
        let first = log.iter().position(|line| line.starts_with(socket));
        assert!(first < Some(100), "socket {socket} had to wait until {first:?}");
    }
}

#[test]
fn a_full_socket_holds_back_its_own_datagrams_alone_and_in_order() {
    let mesh = Mesh::with_sockets(&[1, 2]);
    mesh.world.udp(near(1), |udp| udp.full = true);
    mesh.script(|script| {
        for n in 0..4 {
            script.transmit(1 + n % 2, far(), &n.to_string());
        }
    });
    mesh.script(|script| script.transmit(1, far(), "4"));
    assert_eq!(mesh.sent(1), [""; 0]);
    assert_eq!(mesh.sent(2), ["1", "3"]);
    mesh.world.udp(near(1), |udp| udp.full = false);
    mesh.world.run();
    assert_eq!(mesh.sent(1), ["0", "2", "4"]);
}

#[test]
fn what_waits_for_a_full_socket_is_bounded_and_the_rest_counted() {
    let mesh = Mesh::with_sockets(&[1]);
    mesh.world.udp(near(1), |udp| udp.full = true);
    mesh.script(|script| (0..3_000).for_each(|_| script.transmit(1, far(), "x")));
    let [_, _, dropped, _] = counts(&mesh);
    mesh.world.udp(near(1), |udp| udp.full = false);
    mesh.world.run();
    let sent = mesh.sent(1).len() as u64;
    assert_eq!(sent + dropped, 3_000);
    assert!((500..2_000).contains(&sent), "{sent} were kept");
}

#[test]
fn a_socket_that_is_closed_still_sends_what_waits_but_not_for_ever() {
    let mesh = Mesh::with_sockets(&[1, 2]);
    for socket in [1, 2] {
        mesh.world.udp(near(socket), |udp| udp.full = true);
        mesh.script(|script| script.transmit(socket, far(), "goodbye"));
        mesh.command(IoCommand::CloseUdp { socket: SocketId(socket) });
    }
    assert_eq!(mesh.world.bound(), [near(1), near(2)]);
    mesh.world.udp(near(1), |udp| udp.full = false);
    mesh.world.run();
    assert_eq!(mesh.world.bound(), [near(2)]);
    mesh.world.pass(Duration::from_secs(2));
    assert!(mesh.world.bound().is_empty());
    assert_eq!(counts(&mesh), [0, 0, 1, 0]);
}

#[test]
fn errors_of_sending_are_counted_and_the_socket_lives_on() {
    let mesh = Mesh::with_sockets(&[1]);
    mesh.world.udp(near(1), |udp| udp.refuses = true);
    mesh.script(|script| (0..50).for_each(|_| script.transmit(1, far(), "lost")));
    mesh.world.udp(near(1), |udp| udp.refuses = false);
    mesh.script(|script| script.transmit(1, far(), "sent"));
    mesh.script(|script| script.transmit(77, far(), "of no socket"));
    assert_eq!(mesh.sent(1), ["sent"]);
    assert_eq!(counts(&mesh), [50, 0, 1, 0]);
}

#[test]
fn what_became_of_earlier_datagrams_does_not_break_a_socket() {
    let mesh = Mesh::with_sockets(&[1]);
    deliver(&mesh, 1, (0..100).map(|_| Err(ErrorKind::ConnectionReset.into())));
    deliver(&mesh, 1, [Ok(b"alive".to_vec())]);
    assert_eq!(mesh.log(), ["1 received alive"]);
    assert_eq!(counts(&mesh), [0, 100, 0, 0]);
}

#[test]
fn a_socket_that_only_fails_is_closed_and_told_of() {
    let mesh = Mesh::with_sockets(&[1, 2]);
    let broken = || io::Error::other("no such device");
    // Single failures between datagrams are survived.
    deliver(&mesh, 1, (0..100).map(|n| if n % 2 == 0 { Err(broken()) } else { Ok(vec![b'x']) }));
    assert_eq!(mesh.log(), ["1 received x"; 50]);
    deliver(&mesh, 1, (0..100).map(|_| Err(broken())));
    assert_eq!(mesh.log(), ["1 failed: no such device"]);
    assert_eq!(mesh.world.bound(), [near(2)]);
}

#[test]
fn datagrams_longer_than_any_of_webrtc_are_counted_and_dropped() {
    let mesh = Mesh::with_sockets(&[1]);
    let sizes = [1_500, 2_047, 2_048, 60_000, 0];
    deliver(&mesh, 1, sizes.map(|size| Ok(vec![b'x'; size])));
    let received = mesh.log();
    let lengths: Vec<_> = received.iter().map(|line| line.len() - "1 received ".len()).collect();
    assert_eq!(lengths, [1_500, 2_047, 0]);
    assert_eq!(counts(&mesh), [0, 0, 0, 2]);
}
