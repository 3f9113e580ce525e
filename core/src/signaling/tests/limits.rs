//! Every limit of the server, and admission.

use std::net::{IpAddr, Ipv6Addr};
use std::time::Duration;

use serde_json::json;

use super::desk::{Desk, SDP, described, error, key_of};
use crate::signaling::{ServerConfig, Verdict};

const TEN: Duration = Duration::from_millis(10);

fn address(prefix: u16, host: u16) -> IpAddr {
    IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 0, prefix, 0, 0, 0, host))
}

#[test]
fn messages_over_the_rate_are_refused_and_the_connection_closed() {
    let mut desk = Desk::new();
    let (a, _) = desk.join("/", "a");
    desk.join("/", "b");
    desk.seconds(10);
    for n in 0..1_000 {
        desk.offer(a, "a", "b", "r");
        assert!(!desk.closed.contains_key(&a), "message {n} is within the burst");
    }
    desk.text(a, r#"{"jsonrpc":"2.0","method":"x","id":1}"#);
    error(&desk.take(a)[0], -32_005);
    assert!(desk.closed.contains_key(&a));
    desk.text(a, "more");
    assert!(desk.take(a).is_empty());
}

#[test]
fn a_sender_within_the_rate_is_never_refused() {
    let mut desk = Desk::new();
    let (a, _) = desk.join("/", "a");
    desk.join("/", "b");
    for _ in 0..3_000 {
        desk.pass(Duration::from_millis(5));
        assert_eq!(desk.offer(a, "a", "b", "r")["result"]["status"], "forwarded");
    }
}

#[test]
fn an_address_has_a_number_of_connections() {
    let config = ServerConfig { connections_per_address: 3, ..ServerConfig::default() };
    let mut desk = Desk::with(config);
    let links: Vec<_> = (0..3).map(|n| desk.open_from("/", address(1, n))).collect();
    assert!(desk.closed.is_empty());
    let refused = desk.open_from("/", address(1, 9));
    assert!(desk.closed.contains_key(&refused), "one network of IPv6 is one address");
    error(&desk.take(refused)[0], -32_005);
    let other = desk.open_from("/", address(2, 0));
    assert!(!desk.closed.contains_key(&other));
    desk.close(links[0], None);
    let next = desk.open_from("/", address(1, 0));
    assert!(!desk.closed.contains_key(&next));
}

#[test]
fn an_address_announces_at_a_rate() {
    let config = ServerConfig { announces_per_second: 2, ..ServerConfig::default() };
    let mut desk = Desk::with(config);
    let links: Vec<_> = (0..4).map(|_| desk.open("/")).collect();
    key_of(&desk.announce(links[0], "a", None));
    key_of(&desk.announce(links[1], "b", None));
    error(&desk.announce(links[2], "c", None), -32_005);
    let elsewhere = desk.open_from("/", address(1, 1));
    key_of(&desk.announce(elsewhere, "z", None));
    desk.pass(Duration::from_millis(500));
    key_of(&desk.announce(links[2], "c", None));
    error(&desk.announce(links[3], "d", None), -32_005);
    // Coming back does not give more.
    for link in links {
        desk.close(link, Some(1000));
    }
    let link = desk.open("/");
    error(&desk.announce(link, "e", None), -32_005);
}

#[test]
fn rooms_and_the_server_are_full_at_some_time() {
    let config = ServerConfig { peers_per_room: 2, ..ServerConfig::default() };
    let mut desk = Desk::with(config);
    desk.join("/", "a");
    let (b, _) = desk.join("/", "b");
    let link = desk.open("/");
    error(&desk.announce(link, "c", None), -32_005);
    desk.join("/other", "c");
    desk.close(b, Some(1000));
    key_of(&desk.announce(link, "c", None));

    let mut desk = Desk::with(ServerConfig { connections: 2, ..ServerConfig::default() });
    desk.join("/a", "a");
    desk.join("/b", "b");
    let link = desk.open("/c");
    error(&desk.take(link)[0], -32_005);
    assert_eq!(desk.closed.get(&link), Some(&1013));
}

#[test]
fn a_client_that_does_not_read_is_dropped_and_delays_nobody() {
    let config = ServerConfig { queue_bytes: 64 * 1024, ..ServerConfig::default() };
    let mut desk = Desk::with(config);
    let (a, _) = desk.join("/", "a");
    let (b, _) = desk.join("/", "b");
    let (c, _) = desk.join("/", "c");
    desk.stuck.push(b);
    let sdp = format!("{SDP}a={}\r\n", "x".repeat(10_000));
    let mut sent = 0;
    while !desk.closed.contains_key(&b) {
        let mut params = described("a", "b", "r");
        params["sdp"] = sdp.as_str().into();
        desk.request(a, "peer.offer", &params);
        params["to"] = "c".into();
        assert_eq!(desk.request(a, "peer.offer", &params)["result"]["status"], "forwarded");
        sent += 1;
        assert!(sent < 20);
    }
    assert!(sent > 5, "64 KiB fit");
    let queued: usize = desk.texts[&b].iter().map(String::len).sum();
    assert!(queued <= 64 * 1024, "{queued}");
    assert_eq!(desk.notes(c).len(), sent);
    // Its peer is absent, as after any other break.
    assert_eq!(desk.server.metrics().absent, 1);
}

#[test]
fn a_newcomer_may_be_told_of_everyone_whatever_the_bytes() {
    let config = ServerConfig { queue_bytes: 64 * 1024, ..ServerConfig::default() };
    let mut desk = Desk::with(config);
    for n in 0..100 {
        let link = desk.open("/");
        let params = json!({
            "peer_id": format!("p{n}"), "capabilities": ["data"],
            "user_data": {"x": "x".repeat(1_000)},
        });
        key_of(&desk.request(link, "peer.announce", &params));
    }
    let link = desk.open("/");
    desk.stuck.push(link);
    key_of(&desk.announce(link, "new", None));
    assert_eq!(desk.notes(link).len(), 100);
    assert!(!desk.closed.contains_key(&link));
}

#[test]
fn pings_come_every_20_s_and_45_s_without_a_pong_end_a_connection() {
    let mut desk = Desk::new();
    let (a, _) = desk.join("/", "a");
    let (b, _) = desk.join("/", "b");
    desk.mute.push(b);
    desk.pass(Duration::from_millis(19_999));
    assert_eq!(desk.pings, 0);
    desk.pass(Duration::from_millis(1));
    assert_eq!(desk.pings, 2);
    desk.pass(Duration::from_millis(24_999));
    assert!(desk.closed.is_empty());
    // Messages are no pongs.
    desk.offer(b, "b", "a", "r");
    desk.pass(Duration::from_millis(1));
    assert!(desk.closed.contains_key(&b));
    desk.forget();
    desk.seconds(600);
    assert!(!desk.closed.contains_key(&a));
    assert_eq!(desk.pings, 4 + 600 / 20, "two rounds of two, and then one alone");
}

#[test]
fn a_connection_that_announces_nobody_is_closed() {
    let mut desk = Desk::new();
    let link = desk.open("/");
    desk.seconds(5);
    desk.text(link, "nonsense");
    assert!(!desk.closed.contains_key(&link));
    desk.seconds(60);
    assert!(desk.closed.contains_key(&link));
}

#[test]
fn offers_that_replace_each_other_leave_nothing_behind() {
    let mut desk = Desk::new();
    let (a, _) = desk.join("/", "a");
    let (b, _) = desk.join("/", "b");
    for n in 0..2_000 {
        desk.pass(TEN);
        desk.offer(a, "a", "b", &n.to_string());
        if n % 3 == 0 {
            desk.answer(b, "b", "a", &n.to_string());
        }
    }
    assert!(desk.server.timers_waiting() < 20, "{}", desk.server.timers_waiting());
}

#[test]
fn a_crowd_that_comes_and_goes_leaves_no_room_behind() {
    let mut desk = Desk::new();
    let (stays, _) = desk.join("/", "a");
    for n in 0..3_000 {
        let link = desk.open("/");
        // Some leave, and some are gone without a word.
        desk.announce(link, &format!("p{}", n % 50), None);
        desk.close(link, (n % 3 == 0).then_some(1000));
        desk.pass(Duration::from_millis(1));
    }
    let crowded = desk.server.room();
    assert!(crowded > 3_000, "{crowded}");
    desk.seconds(60);
    assert!(!desk.closed.contains_key(&stays));
    let left = desk.server.room();
    assert!(left < 500, "room for {left} commands and timers");
}

#[test]
fn an_announce_is_decided_by_the_embedder() {
    let mut desk = Desk::with(ServerConfig { authorize: true, ..ServerConfig::default() });
    let link = desk.open("/room/?x=1");
    let announce = json!({
        "jsonrpc": "2.0", "method": "peer.announce", "id": "i",
        "params": {"peer_id": "a", "capabilities": ["data"], "token": "sesame"},
    });
    desk.text(link, &announce.to_string());
    assert!(desk.take(link).is_empty());
    let asked = desk.asked.pop().unwrap();
    assert_eq!((asked.room.as_str(), asked.peer.as_str()), ("/room", "a"));
    assert_eq!(asked.token.as_deref(), Some("sesame"));
    desk.text(link, &announce.to_string());
    error(&desk.take(link)[0], -32_602);
    desk.server.authorize(desk.now, asked.ticket, Verdict::Refuse("no such guest".into()));
    desk.drain();
    let replies = desk.take(link);
    assert_eq!(replies[0]["id"], "i");
    assert!(error(&replies[0], -32_602).to_string().contains("no such guest"));
    // A decision is made once.
    desk.server.authorize(desk.now, asked.ticket, Verdict::Accept);
    desk.drain();
    assert!(desk.take(link).is_empty());

    desk.text(link, &announce.to_string());
    let asked = desk.asked.pop().unwrap();
    desk.server.authorize(desk.now, asked.ticket, Verdict::Accept);
    desk.drain();
    key_of(&desk.take(link)[0]);
}

#[test]
fn an_announce_that_nobody_decides_is_answered_within_10_s() {
    let mut desk = Desk::with(ServerConfig { authorize: true, ..ServerConfig::default() });
    let link = desk.open("/");
    let announce = r#"{"jsonrpc":"2.0","method":"peer.announce","id":1,"params":{"peer_id":"a","capabilities":["data"]}}"#;
    desk.text(link, announce);
    desk.seconds(10);
    error(&desk.take(link)[0], -32_603);
    let asked = desk.asked.pop().unwrap();
    desk.server.authorize(desk.now, asked.ticket, Verdict::Accept);
    desk.drain();
    assert!(desk.take(link).is_empty());
    assert_eq!(desk.server.metrics().peers, 0);
    // A link that closes meanwhile takes its question along.
    desk.text(link, announce);
    let asked = desk.asked.pop().unwrap();
    desk.close(link, None);
    desk.server.authorize(desk.now, asked.ticket, Verdict::Accept);
    desk.drain();
    assert_eq!(desk.server.metrics().peers, 0);
}

#[test]
fn user_data_is_no_deeper_than_every_reader_takes() {
    let mut desk = Desk::new();
    let link = desk.open("/");
    let deep = format!(r#"{{"x":{}{}}}"#, "[".repeat(400), "]".repeat(400));
    let text = format!(
        r#"{{"jsonrpc":"2.0","method":"peer.announce","id":1,"params":{{"peer_id":"a","capabilities":["data"],"user_data":{deep}}}}}"#
    );
    desk.text(link, &text);
    error(&desk.take(link)[0], -32_602);
}

#[test]
fn secrets_are_in_no_debug_text() {
    let mut desk = Desk::with(ServerConfig { authorize: true, ..ServerConfig::default() });
    let link = desk.open("/");
    let announce = r#"{"jsonrpc":"2.0","method":"peer.announce","id":1,"params":{"peer_id":"a","capabilities":["data"],"token":"sesame","session_key":"tulip"}}"#;
    desk.server.handle_text(desk.now, link, announce);
    let asked = desk.server.poll_command().unwrap();
    let mut debug = format!("{asked:?} {:?}", desk.server);
    let crate::signaling::ServerCommand::Authorize { ticket, .. } = asked else { panic!() };
    desk.server.authorize(desk.now, ticket, Verdict::Accept);
    let reply = desk.server.poll_command().unwrap();
    debug += &format!("{reply:?} {:?}", desk.server);
    let crate::signaling::ServerCommand::Send { text, .. } = reply else { panic!() };
    let key = key_of(&serde_json::from_str(&text).unwrap());
    for secret in ["sesame", "tulip", &key] {
        assert!(!debug.contains(secret), "{debug}");
    }
}
