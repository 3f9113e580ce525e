//! Somebody on the path: copies of real datagrams with changes, and datagrams of his own.

use std::time::Duration;

use rtcmesh_core::config::Config;
use rtcmesh_core::hostile::Bytes;
use rtcmesh_core::media::RuntimeData;
use rtcmesh_core::net::{Datagram, Transmit};
use rtcmesh_core::transport::{Event, Transport};

use crate::World;

/// Datagrams that are kept to be replayed.
const KEPT: usize = 16;

/// What somebody does who sees two peers' datagrams and puts in his own, each in front of the real one: from the
/// beginning, where nobody may panic or spin, or into a connection, which must go on all the same.
///
/// # Panics
///
/// Where a promise is broken: that is a mistake of the library, not of the bytes.
#[doc(hidden)]
pub fn hostile_datagrams(bytes: &[u8]) {
    if bytes.is_empty() {
        return;
    }
    let mut bytes = Bytes(bytes);
    let first = bytes.byte();
    let from_the_beginning = first % 4 == 0;
    let mut world = World::new(u64::from(first / 16));
    for name in ["p0", "p1"] {
        world.add(Config::new(World::URL).peer_id(name));
    }
    world.start_all();
    if !from_the_beginning {
        assert!(world.run_until(World::all_connected), "nobody disturbs them yet");
    }
    let mut kept: Vec<(usize, Transmit)> = Vec::new();
    while !bytes.is_empty() {
        let due = world.due();
        if due.is_empty() && kept.is_empty() {
            let end = world.now() + World::LIMIT;
            if !world.step(end) {
                break;
            }
            continue;
        }
        let what = bytes.byte();
        match due.into_iter().next() {
            Some(real) if what % 4 < 2 => {
                kept.drain(..(kept.len() + 1).saturating_sub(KEPT));
                kept.push(real.clone());
                inject(&mut world, real, &mut bytes);
            }
            _ if what % 4 == 2 && !kept.is_empty() => {
                let old = kept[usize::from(what / 4) % kept.len()].clone();
                inject(&mut world, old, &mut bytes);
            }
            _ => {}
        }
        let end = world.now() + Duration::from_millis(u64::from(what / 4));
        world.step(end);
    }
    world.run(Duration::from_secs(2));
    if from_the_beginning {
        return;
    }
    assert!(world.all_connected(), "a connection ended");
    let data = RuntimeData::Text("still here".into());
    world.act(0, |transport, now| transport.broadcast(now, &data)).expect("one is connected");
    world.run(Duration::from_secs(4));
    let came = world.hosts[1].count(|event| matches!(event, Event::Data { .. }));
    assert_eq!(came, 1, "of the messages that were sent");
}

/// Hands over a datagram with some changes, as if it came from the real sender or his neighbour.
fn inject(world: &mut World, (to, mut transmit): (usize, Transmit), bytes: &mut Bytes<'_>) {
    for _ in 0..bytes.byte() % 4 {
        let (what, value) = (bytes.byte(), bytes.byte());
        let place = usize::from(bytes.byte()) % transmit.payload.len().max(1);
        let payload = &mut transmit.payload;
        match what % 6 {
            0 | 1 => {
                if let Some(byte) = payload.get_mut(place) {
                    *byte ^= value;
                }
            }
            2 => payload.truncate(place),
            3 => payload.extend(std::iter::repeat_n(value, usize::from(what))),
            4 => {
                payload.clear();
                payload.extend(std::iter::from_fn(|| Some(bytes.byte())).take(usize::from(value)));
            }
            _ => transmit.remote.set_port(transmit.remote.port() ^ u16::from(value)),
        }
    }
    world.act(to, |transport: &mut Transport, now| {
        let Transmit { socket, remote, payload } = &transmit;
        let datagram = Datagram { socket: *socket, remote: *remote, payload };
        transport.handle_datagram(now, datagram);
    });
}
