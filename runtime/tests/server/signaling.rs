//! The wire contract between real clients, as far as sockets have a part in it.

use std::net::Shutdown;
use std::thread;

use rtcmesh_core::signaling::{ServerConfig, Verdict};
use rtcmesh_runtime::SignalingServerOptions;
use serde_json::{Value, json};
use tungstenite::Message;
use tungstenite::protocol::CloseFrame;

use crate::Running;
use crate::client::Client;

const SDP: &str = "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\n";

fn offer(from: &str, to: &str, request: &str) -> Value {
    json!({"from": from, "to": to, "sdp": SDP, "can_trickle_ice_candidates": true,
        "request_id": request})
}

#[test]
fn two_peers_negotiate() {
    let server = Running::start(SignalingServerOptions::new());
    let mut a = Client::join(server.addr, "/room", "a");
    let mut b = Client::join(server.addr, "/room/", "b");
    assert_eq!(a.expect("peer.announced")["peer_id"], "b");
    assert_eq!(b.expect("peer.announced")["peer_id"], "a");

    let answer = a.request("peer.offer", offer("a", "b", "r1"));
    assert_eq!(answer["result"], json!({"status": "forwarded", "request_id": "r1"}));
    assert_eq!(b.expect("peer.offer"), offer("a", "b", "r1"));
    let answer = b.request("peer.answer", offer("b", "a", "r1"));
    assert_eq!(answer["result"], json!({"status": "forwarded", "request_id": "r1"}));
    assert_eq!(a.expect("peer.answer"), offer("b", "a", "r1"));

    let candidate = json!({"from": "a", "to": "b", "sdp_m_line_index": 0, "sdp_mid": "0",
        "candidate": "candidate:1 1 udp 2130706431 127.0.0.1 5000 typ host", "request_id": "r1"});
    a.notify("peer.ice_candidate", candidate.clone());
    assert_eq!(b.expect("peer.ice_candidate"), candidate);

    let bye = json!({"from": "a", "to": "b", "reason": "user_requested", "request_id": "r1"});
    a.notify("peer.disconnect", bye);
    let expected = json!({"from": "a", "reason": "user_requested", "request_id": "r1"});
    assert_eq!(b.expect("peer.disconnected"), expected);
}

#[test]
fn rooms_are_apart() {
    let server = Running::start(SignalingServerOptions::new());
    let mut a = Client::join(server.addr, "/one", "a");
    let mut b = Client::join(server.addr, "/two", "b");
    Client::join(server.addr, "/one", "c");
    let refused = b.request("peer.offer", offer("b", "a", "r1"));
    assert_eq!(refused["error"]["code"], -32000, "{refused}");
    assert_eq!(a.expect("peer.announced")["peer_id"], "c");
}

#[test]
fn a_client_that_closes_in_order_is_gone_at_once() {
    let server = Running::start(SignalingServerOptions::new());
    let mut a = Client::join(server.addr, "/", "a");
    let mut b = Client::join(server.addr, "/", "b");
    a.expect("peer.announced");
    b.expect("peer.announced");
    b.socket.close(Some(CloseFrame { code: 1000.into(), reason: "leaving".into() })).unwrap();
    let gone = a.expect("peer.disconnected");
    assert_eq!((&gone["from"], &gone["reason"]), (&json!("b"), &json!("user_requested")));
    assert_eq!(b.closed().unwrap().code, 1000.into());
}

#[test]
fn a_connection_that_breaks_can_be_resumed_from_another() {
    let server = Running::start(SignalingServerOptions::new());
    let mut a = Client::join(server.addr, "/", "a");
    let mut b = Client::open(server.addr, "/");
    let key = b.announce("b")["result"]["session_key"].clone();
    a.expect("peer.announced");
    b.socket.get_ref().shutdown(Shutdown::Both).unwrap();
    let mut b = Client::open(server.addr, "/");
    let resumed = b.request(
        "peer.announce",
        json!({"peer_id": "b", "capabilities": ["audio"], "session_key": key}),
    );
    assert_eq!(resumed["result"]["status"], "registered", "{resumed}");
    // Half-open connections are common: a key takes over one that still stands, too.
    let key = resumed["result"]["session_key"].clone();
    let mut b2 = Client::open(server.addr, "/");
    let resumed = b2.request(
        "peer.announce",
        json!({"peer_id": "b", "capabilities": ["audio"], "session_key": key}),
    );
    assert_eq!(resumed["result"]["status"], "registered", "{resumed}");
    assert_eq!(b.closed().unwrap().code, 4001.into());
}

#[test]
fn frames_of_the_wrong_kind_get_an_error_and_not_the_end() {
    let server = Running::start(SignalingServerOptions::new());
    let mut a = Client::open(server.addr, "/");
    a.socket.send(Message::binary(vec![1, 2, 3])).unwrap();
    assert_eq!(a.receive()["error"]["code"], -32600);
    a.socket.send(Message::text("nonsense")).unwrap();
    assert_eq!(a.receive()["error"]["code"], -32700);
    a.socket.send(Message::text("x".repeat(1_100_000))).unwrap();
    assert!(a.receive()["error"]["code"].is_number());
    assert_eq!(a.announce("a")["result"]["status"], "registered");
}

#[test]
fn a_message_beyond_all_bounds_ends_its_connection_alone() {
    let server = Running::start(SignalingServerOptions::new());
    let mut a = Client::join(server.addr, "/", "a");
    let mut b = Client::join(server.addr, "/", "b");
    a.expect("peer.announced");
    b.expect("peer.announced");
    // It is refused by its header: sending all of it is not needed.
    let _ = b.socket.send(Message::text("x".repeat(2_000_000)));
    assert_eq!(b.closed().unwrap().code, 1009.into());
    assert_eq!(a.request("peer.offer", offer("a", "b", "r"))["result"]["status"], "forwarded");
}

#[test]
fn a_reader_that_is_stuck_delays_nobody_and_is_dropped() {
    let server = Running::start(SignalingServerOptions::new());
    let mut a = Client::join(server.addr, "/", "a");
    let mut stuck = Client::join(server.addr, "/", "stuck");
    let mut b = Client::join(server.addr, "/", "b");
    for _ in 0..2 {
        a.expect("peer.announced");
        b.expect("peer.announced");
        stuck.expect("peer.announced");
    }
    // Far more than the queue of a client and the buffers of the system take: 60 MB in all. While it
    // piles up, the others hear each other.
    let padding = "x".repeat(200_000);
    let mut dropped = false;
    for n in 0..300 {
        let mut params = offer("a", "stuck", &format!("r{n}"));
        params["padding"] = json!(padding);
        let answer = a.request("peer.offer", params);
        let forwarded = answer["result"]["status"] == "forwarded";
        assert!(forwarded || answer["error"]["code"].is_number(), "{answer}");
        if !forwarded {
            dropped = true;
            break;
        }
        if n % 10 == 0 {
            a.request("peer.offer", offer("a", "b", &format!("s{n}")));
            b.expect("peer.offer");
        }
    }
    // After a drop its id is held for a while, and what is kept for it is bounded: refused in the end.
    let metrics = server.metrics();
    assert!(dropped && metrics.contains("stuck_clients_total 1\n"), "{metrics}");
}

#[test]
fn one_connection_too_many_is_told_so() {
    let mut config = ServerConfig::default();
    config.connections_per_address = 1;
    let server = Running::start(SignalingServerOptions::new().config(config));
    let _a = Client::join(server.addr, "/", "a");
    let mut b = Client::open(server.addr, "/");
    assert_eq!(b.receive()["error"]["code"], -32005);
    assert_eq!(b.closed().unwrap().code, 1013.into());
}

#[test]
fn many_peers_of_one_room_all_hear_of_each_other() {
    let server = Running::start(SignalingServerOptions::new());
    let addr = server.addr;
    let threads: Vec<_> = (0..24)
        .map(|n| {
            thread::spawn(move || {
                let mut client = Client::join(addr, "/", &format!("peer-{n}"));
                let mut seen: Vec<_> = (0..23)
                    .map(|_| client.expect("peer.announced")["peer_id"].to_string())
                    .collect();
                seen.sort();
                seen.dedup();
                (seen.len(), client)
            })
        })
        .collect();
    let clients: Vec<_> = threads.into_iter().map(|thread| thread.join().unwrap()).collect();
    assert!(clients.iter().all(|(seen, _)| *seen == 23));
}

#[test]
fn an_embedder_decides_who_joins() {
    let options = SignalingServerOptions::new().authorize(|admission| async move {
        // A verdict that takes a turn of the executor.
        tokio::task::yield_now().await;
        assert_eq!(&*admission.room, "/room");
        if admission.token.as_deref() == Some("sesame") {
            Verdict::Accept
        } else {
            Verdict::Refuse("no".into())
        }
    });
    let server = Running::start(options);
    let mut a = Client::open(server.addr, "/room");
    assert_eq!(a.announce("a")["error"]["code"], -32602);
    let accepted = a.request(
        "peer.announce",
        json!({"peer_id": "a", "capabilities": ["data"], "token": "sesame"}),
    );
    assert_eq!(accepted["result"]["status"], "registered", "{accepted}");
}
