//! Whatever comes in: nothing panics, spins, grows or disturbs anybody else.

mod common;

use std::net::SocketAddr;
use std::time::Duration;

use common::{mesh, talk};
use proptest::prelude::*;
use rtcmesh_core::id::{LinkId, SocketId};
use rtcmesh_core::net::{Datagram, IoEvent};
use rtcmesh_sim::World;

/// Signaling text as a hostile server would send it: wrong in every place.
fn hostile_text() -> impl Strategy<Value = String> {
    let method = prop_oneof![
        Just("peer.announced"),
        Just("peer.offer"),
        Just("peer.answer"),
        Just("peer.ice_candidate"),
        Just("peer.disconnected"),
        Just("peer.unknown"),
    ];
    let value = prop_oneof![
        Just("\"p1\"".to_owned()),
        Just("\"p0\"".to_owned()),
        Just("\"v=0\\r\\no=- 1 1 IN IP4 0.0.0.0\\r\\ns=-\\r\\nt=0 0\\r\\n\"".to_owned()),
        Just("\"candidate:1 1 udp 1 10.0.0.2 50000 typ host\"".to_owned()),
        Just("null".to_owned()),
        Just("[\"audio\"]".to_owned()),
        Just("{}".to_owned()),
        "[ -~]{0,20}".prop_map(|text| serde_json::Value::String(text).to_string()),
    ];
    let params = proptest::collection::vec(value, 8);
    let rpc = (method, params).prop_map(|(method, v)| {
        format!(
            r#"{{"jsonrpc":"2.0","method":"{method}","params":{{"peer_id":{},"from":{},"to":{},"sdp":{},"request_id":{},"candidate":{},"capabilities":{},"user_data":{},"reason":"user_requested"}}}}"#,
            v[0], v[1], v[2], v[3], v[4], v[5], v[6], v[7]
        )
    });
    prop_oneof![4 => rpc, 1 => "\\PC{0,60}"]
}

fn check(world: &mut World) {
    world.run(Duration::from_secs(2));
    assert!(world.connected(1, 2) && world.connected(2, 1), "others are not disturbed");
    for host in 1..3 {
        world.hosts[host].media.clear();
    }
    talk(world, |host| 500.0 + host as f32 * 100.0, 20);
    for host in 1..3 {
        assert!(world.hosts[host].media.len() > 10);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    #[test]
    fn arbitrary_signaling_text(texts in proptest::collection::vec(hostile_text(), 1..60)) {
        let mut world = mesh(1, 3);
        for text in &texts {
            for link in 0..3 {
                world.act(0, |transport, now| {
                    transport.handle_io(now, IoEvent::LinkText { link: LinkId(link), text });
                });
            }
        }
        check(&mut world);
    }

    #[test]
    fn arbitrary_datagrams(
        packets in proptest::collection::vec(
            (0usize..4, 0u8..8, proptest::collection::vec(any::<u8>(), 0..200)), 1..200
        )
    ) {
        let mut world = mesh(2, 3);
        for (from, kind, mut payload) in packets {
            // First bytes that lead somewhere: STUN, DTLS, RTP, RTCP.
            let first = [0, 1, 20, 22, 23, 128, 144, 255][usize::from(kind)];
            if let Some(byte) = payload.first_mut() {
                *byte = first;
            }
            let remote = SocketAddr::from(([10, 0, 0, from as u8 + 1], 50_000));
            world.act(0, |transport, now| {
                for socket in 0..3 {
                    let datagram = Datagram { socket: SocketId(socket), remote, payload: &payload };
                    transport.handle_datagram(now, datagram);
                }
            });
        }
        check(&mut world);
        prop_assert!(world.all_connected());
    }

    #[test]
    fn reports_that_no_adapter_should_make(order in proptest::collection::vec(0u8..6, 1..100)) {
        let mut world = mesh(3, 3);
        for (n, what) in order.into_iter().enumerate() {
            let number = (n % 5) as u64;
            let local = SocketAddr::from(([10, 0, 0, 1], 40_000 + n as u16));
            world.act(0, |transport, now| match what {
                0 => transport.handle_io(now, IoEvent::LinkUp { link: LinkId(number) }),
                1 => transport.handle_io(now, IoEvent::LinkDown {
                    link: LinkId(number), code: Some(n as u16), reason: "so"
                }),
                2 => transport.handle_io(now, IoEvent::UdpBound { socket: SocketId(number), local }),
                3 => transport.handle_io(now, IoEvent::UdpFailed {
                    socket: SocketId(number + 1), error: "no"
                }),
                4 => transport.handle_timeout(now),
                _ => transport.handle_io(now, IoEvent::Interfaces(&[local.ip()])),
            });
        }
        check(&mut world);
    }
}
