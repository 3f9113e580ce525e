//! What the parts of a [`Runtime`] have to do: clock, timers, tasks, sockets, names.

use std::future::poll_fn;
use std::io::{self, ErrorKind, Write};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Poll, Waker};
use std::time::Duration;

use super::{GUARD, polled, within};
use crate::runtime::{Received, Runtime, TcpListener, TcpStream, Timer, UdpSocket};

/// Tasks with a timer each: as many as the peers of a large server.
const MANY: usize = 2_000;
/// What their timers are spread over.
const SPREAD: Duration = Duration::from_millis(200);
/// How often in a row a port that was just given out may be in use already: it was somebody else's before, to whom
/// others still send, and is anybody's as soon as it is free again.
const REUSED: usize = 5;

pub(super) async fn check<R: Runtime>(runtime: &R) {
    within(runtime, "timers", timers(runtime)).await;
    within(runtime, "many timers", many_timers(runtime)).await;
    within(runtime, "tasks", tasks(runtime)).await;
    for (family, loopback) in families(runtime) {
        within(runtime, &format!("UDP over {family}"), udp(runtime, loopback)).await;
        within(runtime, &format!("TCP over {family}"), tcp(runtime, loopback)).await;
        within(runtime, "a refused connection", refused(runtime, loopback)).await;
        within(runtime, "a connection given up", given_up(runtime, loopback)).await;
    }
    within(runtime, "names", names(runtime)).await;
}

/// The families of addresses that there are here, with the loopback address of each.
pub(super) fn families<R: Runtime>(runtime: &R) -> Vec<(&'static str, SocketAddr)> {
    let v4 = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    let v6 = SocketAddr::from((Ipv6Addr::LOCALHOST, 0));
    let mut families = vec![("IPv4", v4)];
    match runtime.bind_udp(v6) {
        Ok(_) => families.push(("IPv6", v6)),
        // A system may have none of it. It is written past the capture of test harnesses, which would keep it from whoever
        // reads that all has passed; that nobody can be told does no harm.
        Err(error) => drop(writeln!(io::stderr(), "skipped: checks over IPv6: ::1: {error}")),
    }
    families
}

async fn timers<R: Runtime>(runtime: &R) {
    let start = runtime.now();
    let mut timer = runtime.timer(start);
    poll_fn(|cx| timer.poll(cx)).await;
    poll_fn(|cx| timer.poll(cx)).await; // It stays ready until it is reset.

    let later = start + Duration::from_millis(30);
    timer.reset(later);
    poll_fn(|cx| timer.poll(cx)).await;
    assert!(runtime.now() >= later, "timers: fired before their time");

    // Set far, polled, then set near: the waker moves along.
    timer.reset(start + GUARD * 10);
    poll_fn(|cx| {
        assert!(timer.poll(cx).is_pending(), "timers: a reset one is ready at once");
        Poll::Ready(())
    })
    .await;
    timer.reset(runtime.now() + Duration::from_millis(10));
    poll_fn(|cx| timer.poll(cx)).await;
    timer.reset(start);
    poll_fn(|cx| timer.poll(cx)).await;
}

/// Counts what tasks have done, for somebody who waits for all of it.
#[derive(Clone, Default)]
struct Tally(Arc<Mutex<(usize, Option<Waker>)>>);

impl Tally {
    fn add(&self) {
        let mut tally = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        tally.0 += 1;
        if let Some(waker) = tally.1.take() {
            waker.wake();
        }
    }

    async fn reach(&self, count: usize) {
        poll_fn(|cx| {
            let mut tally = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            if tally.0 == count {
                return Poll::Ready(());
            }
            tally.1 = Some(cx.waker().clone());
            Poll::Pending
        })
        .await;
    }
}

async fn many_timers<R: Runtime>(runtime: &R) {
    let (start, tally) = (runtime.now(), Tally::default());
    for n in 0..MANY {
        // Spread without order: 7,919 is a prime.
        let at = start + SPREAD * (n * 7_919 % MANY) as u32 / MANY as u32;
        let mut timer = runtime.timer(if n % 2 == 0 { at } else { start + GUARD * 10 });
        let (runtime, tally) = (runtime.clone(), tally.clone());
        runtime.clone().spawn(async move {
            if n % 2 == 1 {
                // Far away at first, and near after a look.
                let _ = polled(poll_fn(|cx| timer.poll(cx)), 1).await;
                timer.reset(at);
            }
            poll_fn(|cx| timer.poll(cx)).await;
            assert!(runtime.now() >= at, "many timers: one fired before its time");
            tally.add();
        });
    }
    tally.reach(MANY).await;
}

async fn tasks<R: Runtime>(runtime: &R) {
    let tally = Tally::default();
    let theirs = tally.clone();
    runtime.spawn(async move { theirs.add() });
    tally.reach(1).await;
    // From within a task too, and each runs to its end though nobody waits for it.
    let (theirs, inner) = (tally.clone(), runtime.clone());
    runtime.spawn(async move {
        for _ in 0..100 {
            let theirs = theirs.clone();
            inner.spawn(async move { theirs.add() });
        }
    });
    tally.reach(101).await;
}

async fn udp<R: Runtime>(runtime: &R, loopback: SocketAddr) {
    let mut a = runtime.bind_udp(loopback).expect("UDP: bind");
    let mut b = runtime.bind_udp(loopback).expect("UDP: bind");
    let (at_a, at_b) = (addr(a.local_addr()), addr(b.local_addr()));
    let mut buffer = [0; 2048];
    poll_fn(|cx| {
        let strays = |_: &usize| a.poll_recv(cx, &mut buffer).is_ready();
        assert!((0..REUSED).take_while(strays).count() < REUSED, "UDP: received from nowhere");
        Poll::Ready(())
    })
    .await;
    // Both ways in turn, empty and large datagrams too: boundaries are kept.
    for size in [1, 0, 1200, 1472] {
        let payload = vec![size as u8; size];
        poll_fn(|cx| a.poll_send(cx, at_b, &payload)).await.expect("UDP: send");
        assert_eq!(receive(&mut b, at_a, &mut buffer).await, size, "UDP: length");
        assert_eq!(buffer.get(..size), Some(&payload[..]), "UDP: content");
        poll_fn(|cx| b.poll_send(cx, at_a, &payload)).await.expect("UDP: send");
        assert_eq!(receive(&mut a, at_b, &mut buffer).await, size, "UDP: length");
    }

    // Several at once, where it can: they arrive as if sent singly.
    let sizes = [1200; 10].into_iter().chain([700]);
    let train: Vec<Vec<u8>> = sizes.enumerate().map(|(n, size)| vec![n as u8; size]).collect();
    let joined = train.concat();
    for coalesce in [false, true] {
        if coalesce && !b.coalesce() {
            break;
        }
        let sent = match a.max_segments() {
            0..11 => Err(ErrorKind::Unsupported.into()),
            _ => poll_fn(|cx| a.poll_send_segments(cx, at_b, 1200, &joined)).await,
        };
        // Refused is refused whole.
        if sent.is_err() {
            for payload in &train {
                poll_fn(|cx| a.poll_send(cx, at_b, payload)).await.expect("UDP: send");
            }
        }
        let (mut got, mut strays) = (Vec::new(), 0);
        let mut buffer = vec![0; 65_535];
        while got.len() < train.len() {
            let received = if coalesce {
                poll_fn(|cx| b.poll_recv_coalesced(cx, &mut buffer)).await
            } else {
                let length = receive(&mut b, at_a, &mut buffer).await;
                Ok(Received { remote: at_a, length, segment: length })
            };
            let received = received.expect("UDP: receive");
            if received.remote != at_a {
                strays += 1;
                assert!(strays < REUSED, "UDP: sender of several: {}", received.remote);
                continue;
            }
            let bytes = buffer.get(..received.length).unwrap_or_default();
            got.extend(bytes.chunks(received.segment.max(1)).map(<[u8]>::to_vec));
        }
        assert!(got == train, "UDP: of several at once others arrived than were sent");
    }
}

/// The length of the next datagram of `sender`. One of somebody else is passed over, and no more than a few.
async fn receive<U: UdpSocket>(socket: &mut U, sender: SocketAddr, buffer: &mut [u8]) -> usize {
    let mut others = Vec::new();
    loop {
        let received = poll_fn(|cx| socket.poll_recv(cx, buffer)).await;
        let (length, remote) = received.expect("UDP: receive");
        if remote == sender {
            return length;
        }
        others.push(remote);
        assert!(others.len() < REUSED, "UDP: from {others:?} in place of {sender}");
    }
}

pub(super) fn addr(local: io::Result<SocketAddr>) -> SocketAddr {
    let local = local.expect("the local address");
    assert_ne!(local.port(), 0, "the local address has the port that was bound");
    local
}

async fn tcp<R: Runtime>(runtime: &R, loopback: SocketAddr) {
    let mut listener = runtime.listen_tcp(loopback).expect("TCP: listen");
    let server_addr = addr(listener.local_addr());
    let mut client = runtime.connect_tcp(server_addr).await.expect("TCP: connect");
    let (mut server, _) = poll_fn(|cx| listener.poll_accept(cx)).await.expect("TCP: accept");

    // More than any buffer takes: writing waits for reading, and one task does both.
    let sent: Vec<u8> = (0..4_000_000u32).map(|n| (n % 251) as u8).collect();
    let (mut written, mut received, mut closed) = (0, Vec::new(), false);
    let mut buffer = vec![0; 64 * 1024];
    poll_fn(|cx| {
        while let Some(rest) = sent.get(written..).filter(|rest| !rest.is_empty()) {
            match client.poll_write(cx, rest) {
                Poll::Ready(count) => written += count.expect("TCP: write"),
                Poll::Pending => break,
            }
        }
        if written == sent.len() && !closed {
            closed = client.poll_close(cx).is_ready();
        }
        loop {
            match server.poll_read(cx, &mut buffer) {
                Poll::Ready(Ok(0)) => return Poll::Ready(()),
                Poll::Ready(count) => {
                    let count = count.expect("TCP: read");
                    received.extend_from_slice(buffer.get(..count).unwrap_or_default());
                }
                Poll::Pending => return Poll::Pending,
            }
        }
    })
    .await;
    assert!(received == sent, "TCP: what was read is not what was written");

    // The other direction of a half-closed connection stays open.
    poll_fn(|cx| server.poll_write(cx, b"bye")).await.expect("TCP: write");
    let count = poll_fn(|cx| client.poll_read(cx, &mut buffer)).await.expect("TCP: read");
    assert_eq!(buffer.get(..count), Some(&b"bye"[..]), "TCP: the other direction");
    drop(server);
    let count = poll_fn(|cx| client.poll_read(cx, &mut buffer)).await.expect("TCP: end");
    assert_eq!(count, 0, "TCP: a dropped stream ends");
}

async fn refused<R: Runtime>(runtime: &R, loopback: SocketAddr) {
    for _ in 0..REUSED {
        let listener = runtime.listen_tcp(loopback).expect("TCP: listen");
        let nobody = addr(listener.local_addr());
        drop(listener);
        if runtime.connect_tcp(nobody).await.is_err() {
            return;
        }
    }
    panic!("TCP: connected to nobody");
}

/// Connecting and looking names up can be given up at any point, and be done anew.
async fn given_up<R: Runtime>(runtime: &R, loopback: SocketAddr) {
    let listener = runtime.listen_tcp(loopback).expect("TCP: listen");
    let server = addr(listener.local_addr());
    for polls in 0.. {
        match polled(runtime.connect_tcp(server), polls).await {
            Some(connected) => {
                connected.expect("TCP: connect");
                break;
            }
            None => assert!(polls < 100, "a connection given up: it is polled without end"),
        }
    }
    for polls in 0.. {
        match polled(runtime.resolve("localhost".into(), 1), polls).await {
            Some(found) => {
                found.expect("names: localhost");
                break;
            }
            None => assert!(polls < 100, "a name given up: it is polled without end"),
        }
    }
}

async fn names<R: Runtime>(runtime: &R) {
    let found = runtime.resolve("127.0.0.1".into(), 80).await.expect("names: an address");
    assert_eq!(found, [SocketAddr::from((Ipv4Addr::LOCALHOST, 80))], "names: an address");
    let found = runtime.resolve("::1".into(), 80).await.expect("names: an address");
    assert_eq!(found, [SocketAddr::from((Ipv6Addr::LOCALHOST, 80))], "names: an address");
    let found = runtime.resolve("localhost".into(), 81).await.expect("names: localhost");
    assert!(found.iter().all(|addr| addr.ip().is_loopback() && addr.port() == 81), "{found:?}");
    assert!(runtime.resolve("no-such-name.invalid".into(), 80).await.is_err(), "names: .invalid");
}
