//! The wire contract, row by row.

use serde_json::{Value, json};

use super::desk::{Desk, SDP, described, error, trickled};

/// Params with one member replaced, or removed where the new one is `None`.
fn with(mut params: Value, member: &str, value: Option<Value>) -> Value {
    let object = params.as_object_mut().unwrap();
    match value {
        Some(value) => object.insert(member.to_owned(), value),
        None => object.remove(member),
    };
    params
}

#[test]
fn what_is_no_request_gets_an_error_and_keeps_its_connection() {
    let mut desk = Desk::new();
    let (link, _) = desk.join("/", "a");
    for (text, code, id) in [
        ("nonsense", -32_700, json!(null)),
        ("", -32_700, json!(null)),
        (r#"{"jsonrpc":"2.0","method":"peer.offer""#, -32_700, json!(null)),
        (r#"{"jsonrpc":"2.0"} x"#, -32_700, json!(null)),
        ("[]", -32_600, json!(null)),
        (r#"[{"jsonrpc":"2.0","method":"peer.offer","id":1}]"#, -32_600, json!(null)),
        ("[1,", -32_700, json!(null)),
        (r#"["2.0","peer.offer",{},1]"#, -32_600, json!(null)),
        (
            r#"{"jsonrpc":"2.0","method":"peer.offer","method":"peer.offer","id":1}"#,
            -32_600,
            json!(null),
        ),
        (r#"{"jsonrpc":"2.0","jsonrpc":"2.0","#, -32_700, json!(null)),
        (r#"{"jsonrpc":"2.0","method":"peer.offer","params":{},"id":null}"#, -32_600, json!(null)),
        ("5", -32_600, json!(null)),
        (r#""text""#, -32_600, json!(null)),
        ("null", -32_600, json!(null)),
        ("{}", -32_600, json!(null)),
        (r#"{"method":"peer.offer","id":1}"#, -32_600, json!(1)),
        (r#"{"jsonrpc":"1.0","method":"peer.offer","id":"x"}"#, -32_600, json!("x")),
        (r#"{"jsonrpc":2.0,"method":"peer.offer","id":2}"#, -32_600, json!(2)),
        (r#"{"jsonrpc":"2.0","id":3}"#, -32_600, json!(3)),
        (r#"{"jsonrpc":"2.0","method":7,"id":3}"#, -32_600, json!(3)),
        (r#"{"jsonrpc":"2.0","method":"peer.offer","id":[1]}"#, -32_600, json!(null)),
        (r#"{"jsonrpc":"2.0","method":"peer.offer","id":1.5}"#, -32_600, json!(null)),
        (r#"{"jsonrpc":"2.0","method":"peer.sing","params":{},"id":4}"#, -32_601, json!(4)),
        (r#"{"jsonrpc":"2.0","method":"peer.announced","params":{},"id":4}"#, -32_601, json!(4)),
        (r#"{"jsonrpc":"2.0","method":"peer.offer","params":[],"id":5}"#, -32_602, json!(5)),
        (r#"{"jsonrpc":"2.0","method":"peer.offer","id":6}"#, -32_602, json!(6)),
    ] {
        desk.text(link, text);
        let replies = desk.take(link);
        assert_eq!(replies.len(), 1, "{text}");
        error(&replies[0], code);
        assert_eq!(replies[0]["id"], id, "{text}");
    }
    desk.server.handle_binary(desk.now, link);
    desk.drain();
    error(&desk.take(link)[0], -32_600);
    let (other, _) = desk.join("/", "b");
    assert_eq!(desk.offer(link, "a", "b", "r")["result"]["status"], "forwarded");
    assert_eq!(desk.notes(other).len(), 1);
    assert!(desk.closed.is_empty());
}

#[test]
fn a_message_over_1_mb_is_refused_and_one_below_is_not() {
    let mut desk = Desk::new();
    let (a, _) = desk.join("/", "a");
    let (b, _) = desk.join("/", "b");
    let params = with(described("a", "b", "r"), "more", Some("x".repeat(900_000).into()));
    assert_eq!(desk.request(a, "peer.offer", &params)["result"]["status"], "forwarded");
    assert_eq!(desk.notes(b)[0].1, params);
    let params = with(described("a", "b", "s"), "more", Some("x".repeat(1_050_000).into()));
    let text = json!({"jsonrpc": "2.0", "method": "peer.offer", "params": params, "id": 1});
    desk.text(a, &text.to_string());
    error(&desk.take(a)[0], -32_600);
    assert!(desk.notes(b).is_empty());
    assert!(desk.closed.is_empty());
}

#[test]
fn ids_are_echoed_as_they_were_sent() {
    let mut desk = Desk::new();
    let (a, _) = desk.join("/", "a");
    desk.join("/", "b");
    for id in ["1", "0", "-7", "9007199254740993", r#""x""#, r#""""#, r#""\u0041\"é""#] {
        let params = described("a", "b", "r");
        for method in ["peer.offer", "peer.answer", "peer.sing"] {
            let text =
                format!(r#"{{"id":{id},"params":{params},"method":"{method}","jsonrpc":"2.0"}}"#);
            desk.text(a, &text);
            let texts = desk.texts.remove(&a).unwrap();
            assert_eq!(texts.len(), 1);
            assert!(texts[0].contains(&format!(r#""id":{id}"#)), "{id}: {}", texts[0]);
        }
    }
}

#[test]
fn an_announce_is_answered_and_told_to_everyone_in_the_room() {
    let mut desk = Desk::new();
    let (a, _) = desk.join("/", "a");
    let b = desk.open("/");
    let user_data = json!({"name": "B", "nested": {"x": [1, null, "é"]}});
    let params = json!({
        "peer_id": "b", "capabilities": ["video", "data"], "user_data": user_data, "more": 1,
    });
    let reply = desk.request(b, "peer.announce", &params);
    let result = &reply["result"];
    assert_eq!(result["status"], "registered");
    assert_eq!(result["peer_id"], "b");
    assert_eq!(result["server_time"], "2026-11-24T05:00:00.000Z");
    assert!(result["session_key"].as_str().unwrap().len() >= 22, "128 bits at least");

    let told = desk.notes(a);
    assert_eq!(told.len(), 1);
    assert_eq!(told[0].0, "peer.announced");
    assert_eq!(
        told[0].1,
        json!({
            "peer_id": "b", "capabilities": ["video", "data"], "user_data": user_data,
            "announced_at": "2026-11-24T05:00:00.000Z",
        })
    );
    let listed = desk.notes(b);
    assert_eq!(listed.len(), 1);
    assert_eq!((listed[0].0.as_str(), &listed[0].1["peer_id"]), ("peer.announced", &json!("a")));
    assert_eq!(listed[0].1["user_data"], json!({}));
}

#[test]
fn a_wrong_announce_is_refused_and_told_to_nobody() {
    let mut desk = Desk::new();
    let (a, _) = desk.join("/", "a");
    let b = desk.open("/");
    let good = json!({"peer_id": "b", "capabilities": ["audio"]});
    let long = "x".repeat(65);
    for (member, value) in [
        ("peer_id", None),
        ("peer_id", Some(json!(""))),
        ("peer_id", Some(json!("a b"))),
        ("peer_id", Some(json!(long))),
        ("peer_id", Some(json!(5))),
        ("capabilities", None),
        ("capabilities", Some(json!([]))),
        ("capabilities", Some(json!(["smell"]))),
        ("capabilities", Some(json!("audio"))),
        ("capabilities", Some(json!([1]))),
        ("user_data", Some(json!([]))),
        ("user_data", Some(json!("text"))),
        ("user_data", Some(json!({"x": "x".repeat(1_024)}))),
        ("session_key", Some(json!(5))),
        ("token", Some(json!({}))),
    ] {
        let reply = desk.request(b, "peer.announce", &with(good.clone(), member, value));
        let data = error(&reply, -32_602);
        assert!(reply["error"].to_string().contains(member), "names {member}: {data}");
    }
    let fits = with(good.clone(), "user_data", Some(json!({"x": "x".repeat(1_000)})));
    assert!(desk.take(a).is_empty());
    assert_eq!(desk.request(b, "peer.announce", &fits)["result"]["status"], "registered");
    // Again with the same id it changes what was said, with another it is refused.
    assert_eq!(desk.request(b, "peer.announce", &good)["result"]["status"], "registered");
    error(&desk.request(b, "peer.announce", &with(good, "peer_id", Some(json!("c")))), -32_602);
}

#[test]
fn a_taken_id_is_refused_with_its_time_and_nothing_else() {
    let mut desk = Desk::new();
    let (_, key) = desk.join("/", "a");
    desk.seconds(5);
    let thief = desk.open("/");
    for wrong in [None, Some(""), Some("wrong"), Some(&key[1..])] {
        let data = error(&desk.announce(thief, "a", wrong), -32_000);
        assert_eq!(
            data,
            json!({
                "reason": "peer_id_taken", "peer_id": "a",
                "registered_at": "2026-11-24T05:00:00.000Z",
            })
        );
    }
    assert!(desk.closed.is_empty());
    assert_eq!(desk.announce(thief, "b", None)["result"]["status"], "registered");
    let (_, _) = desk.join("/elsewhere", "a");
}

#[test]
fn nothing_is_done_before_the_announce() {
    let mut desk = Desk::new();
    let (a, _) = desk.join("/", "a");
    let early = desk.open("/");
    for (method, params) in [
        ("peer.offer", described("b", "a", "r")),
        ("peer.answer", described("b", "a", "r")),
        ("peer.ice_candidate", trickled("b", "a", "r")),
        ("peer.disconnect", json!({"from": "b", "to": "a", "reason": "error"})),
        ("peer.state_changed", json!({})),
        ("peer.sing", json!({})),
    ] {
        error(&desk.request(early, method, &params), -32_602);
        desk.notify(early, method, &params);
    }
    assert!(desk.take(a).is_empty());
    assert!(desk.closed.is_empty());
}

#[test]
fn offers_and_answers_are_forwarded_with_every_member_unchanged() {
    let mut desk = Desk::new();
    let (a, _) = desk.join("/", "a");
    let (b, _) = desk.join("/", "b");
    let offer = with(described("a", "b", "rä\"1"), "x-own", Some(json!({"n": [1.50, null]})));
    let reply = desk.request(a, "peer.offer", &offer);
    assert_eq!(reply["result"], json!({"status": "forwarded", "request_id": "rä\"1"}));
    assert_eq!(desk.notes(b), [("peer.offer".to_owned(), offer)]);
    let answer =
        with(described("b", "a", "rä\"1"), "can_trickle_ice_candidates", Some(false.into()));
    let reply = desk.request(b, "peer.answer", &answer);
    assert_eq!(reply["result"], json!({"status": "forwarded", "request_id": "rä\"1"}));
    assert_eq!(desk.notes(a), [("peer.answer".to_owned(), answer)]);
}

#[test]
fn params_are_forwarded_byte_by_byte() {
    let mut desk = Desk::new();
    let (a, _) = desk.join("/", "a");
    let (b, _) = desk.join("/", "b");
    let params = r#"{ "request_id":"\u0072", "n":1.0e2 , "to":"b","from":"\u0061","sdp":"v=0\r\no=- 1 1 IN IP4 0.0.0.0\r\ns=-\r\nt=0 0\r\n","can_trickle_ice_candidates":true}"#;
    desk.text(a, &format!(r#"{{"jsonrpc":"2.0","method":"peer.offer","params":{params},"id":1}}"#));
    assert_eq!(desk.take(a)[0]["result"]["request_id"], "r");
    assert!(desk.texts[&b][0].contains(params));
    assert_eq!(desk.answer(b, "b", "a", "r")["result"]["status"], "forwarded");
}

#[test]
fn wrong_offers_and_answers_are_refused_and_forwarded_to_no_one() {
    let mut desk = Desk::new();
    let (a, _) = desk.join("/", "a");
    let (b, _) = desk.join("/", "b");
    desk.offer(b, "b", "a", "open");
    desk.forget();
    let long = "x".repeat(129);
    let long_sdp = format!("{SDP}a={}\r\n", "x".repeat(64 * 1024));
    for (member, value, code) in [
        ("from", None, -32_602),
        ("from", Some(json!(1)), -32_602),
        ("from", Some(json!("b")), -32_602),
        ("from", Some(json!("A")), -32_602),
        ("from", Some(json!("nobody")), -32_602),
        ("to", None, -32_602),
        ("to", Some(json!(["b"])), -32_602),
        ("to", Some(json!("")), -32_602),
        ("to", Some(json!("no such")), -32_602),
        ("to", Some(json!("a")), -32_602),
        ("to", Some(json!("nobody")), -32_000),
        ("sdp", None, -32_602),
        ("sdp", Some(json!({"type": "offer"})), -32_602),
        ("sdp", Some(json!("")), 0),
        ("sdp", Some(json!("hello")), 0),
        ("sdp", Some(json!(long_sdp)), 0),
        ("can_trickle_ice_candidates", None, -32_602),
        ("can_trickle_ice_candidates", Some(json!("true")), -32_602),
        ("request_id", None, -32_602),
        ("request_id", Some(json!("")), -32_602),
        ("request_id", Some(json!(7)), -32_602),
        ("request_id", Some(json!(long)), -32_602),
    ] {
        for (method, own) in [("peer.offer", -32_002), ("peer.answer", -32_003)] {
            let params = with(described("a", "b", "open"), member, value.clone());
            let reply = desk.request(a, method, &params);
            let data = error(&reply, if code == 0 { own } else { code });
            match code {
                0 => {
                    assert!(data["reason"].is_string(), "{reply}");
                    assert!(data["position"].is_u64(), "{reply}");
                }
                -32_000 => {
                    assert_eq!(data, json!({"reason": "peer_not_found", "peer_id": "nobody"}));
                }
                _ => {
                    assert!(reply["error"].to_string().contains(member), "names {member}: {reply}")
                }
            }
        }
    }
    assert!(desk.take(b).is_empty());
    // The open offer has outlived all of it.
    assert_eq!(desk.answer(a, "a", "b", "open")["result"]["status"], "forwarded");
}

#[test]
fn an_sdp_that_is_wrong_is_refused_with_the_line() {
    let mut desk = Desk::new();
    let (a, _) = desk.join("/", "a");
    desk.join("/", "b");
    let params = with(described("a", "b", "r"), "sdp", Some(json!(format!("{SDP}nonsense\r\n"))));
    let data = error(&desk.request(a, "peer.offer", &params), -32_002);
    assert_eq!(data["position"], 5);
}

#[test]
fn an_answer_needs_the_open_offer_of_that_request() {
    let mut desk = Desk::new();
    let (a, _) = desk.join("/", "a");
    let (b, _) = desk.join("/", "b");
    let (c, _) = desk.join("/", "c");
    let refused = |desk: &mut Desk, link, from: &str, to: &str, request: &str| {
        let data = error(&desk.answer(link, from, to, request), -32_003);
        assert!(data["reason"].is_string());
    };
    refused(&mut desk, b, "b", "a", "r");
    desk.offer(a, "a", "b", "r");
    refused(&mut desk, b, "b", "a", "other");
    refused(&mut desk, b, "b", "c", "r");
    refused(&mut desk, c, "c", "a", "r");
    refused(&mut desk, a, "a", "b", "r");
    desk.forget();
    assert_eq!(desk.answer(b, "b", "a", "r")["result"]["status"], "forwarded");
    refused(&mut desk, b, "b", "a", "r");
    assert_eq!(desk.notes(a).len(), 1);
    // A new offer to the same peer replaces the one before.
    desk.offer(a, "a", "b", "first");
    desk.offer(a, "a", "b", "second");
    refused(&mut desk, b, "b", "a", "first");
    assert_eq!(desk.answer(b, "b", "a", "second")["result"]["status"], "forwarded");
}

#[test]
fn both_sides_may_offer_at_once_even_with_equal_request_ids() {
    let mut desk = Desk::new();
    let (a, _) = desk.join("/", "a");
    let (b, _) = desk.join("/", "b");
    desk.offer(a, "a", "b", "same");
    desk.offer(b, "b", "a", "same");
    assert_eq!(desk.notes(a).len(), 1);
    assert_eq!(desk.notes(b).len(), 1);
    // The offer of the greater id stands: the other side answers it.
    assert_eq!(desk.answer(a, "a", "b", "same")["result"]["status"], "forwarded");
    assert_eq!(desk.notes(b)[0].0, "peer.answer");
    desk.notify(b, "peer.ice_candidate", &trickled("b", "a", "same"));
    desk.notify(a, "peer.ice_candidate", &trickled("a", "b", "same"));
    assert_eq!(desk.notes(a).len(), 1);
    assert_eq!(desk.notes(b).len(), 1);
}

#[test]
fn candidates_of_known_requests_are_forwarded_both_ways_and_others_dropped() {
    let mut desk = Desk::new();
    let (a, _) = desk.join("/", "a");
    let (b, _) = desk.join("/", "b");
    let (c, _) = desk.join("/", "c");
    desk.notify(a, "peer.ice_candidate", &trickled("a", "b", "r"));
    assert!(desk.take(b).is_empty());
    desk.offer(a, "a", "b", "r");
    desk.forget();
    for answered in [false, true] {
        if answered {
            desk.answer(b, "b", "a", "r");
            desk.forget();
        }
        let params = with(trickled("a", "b", "r"), "password", Some(json!("x")));
        desk.notify(a, "peer.ice_candidate", &params);
        assert_eq!(desk.notes(b), [("peer.ice_candidate".to_owned(), params)]);
        let end = with(trickled("b", "a", "r"), "candidate", Some(json!("")));
        desk.notify(b, "peer.ice_candidate", &end);
        assert_eq!(desk.notes(a), [("peer.ice_candidate".to_owned(), end)]);
    }
    for (link, params) in [
        (a, trickled("a", "b", "other")),
        (a, trickled("a", "c", "r")),
        (c, trickled("c", "a", "r")),
        (c, trickled("a", "b", "r")),
        (a, trickled("a", "nobody", "r")),
        (a, with(trickled("a", "b", "r"), "candidate", Some(json!("candidate:x")))),
        (a, with(trickled("a", "b", "r"), "candidate", Some(json!(5)))),
        (a, with(trickled("a", "b", "r"), "candidate", Some("x".repeat(5_000).into()))),
        (a, with(trickled("a", "b", "r"), "sdp_m_line_index", Some(json!("0")))),
        (a, with(trickled("a", "b", "r"), "sdp_mid", Some(json!(0)))),
    ] {
        desk.notify(link, "peer.ice_candidate", &params);
        assert!(desk.texts.values().all(Vec::is_empty), "{params}: {:?}", desk.texts);
    }
}

#[test]
fn a_candidate_that_came_as_a_request_is_answered() {
    let mut desk = Desk::new();
    let (a, _) = desk.join("/", "a");
    let (b, _) = desk.join("/", "b");
    desk.offer(a, "a", "b", "r");
    desk.forget();
    let good = trickled("a", "b", "r");
    assert!(desk.request(a, "peer.ice_candidate", &good).get("result").is_some());
    assert_eq!(desk.notes(b).len(), 1);
    for candidate in ["nonsense", "candidate:1 1 udp x 192.0.2.1 5 typ host", "candidate:"] {
        let params = with(good.clone(), "candidate", Some(candidate.into()));
        let data = error(&desk.request(a, "peer.ice_candidate", &params), -32_004);
        assert!(data["reason"].is_string());
    }
    for (member, value) in [("candidate", None), ("from", Some(json!("b"))), ("to", None)] {
        let params = with(good.clone(), member, value);
        error(&desk.request(a, "peer.ice_candidate", &params), -32_602);
    }
    assert!(desk.take(b).is_empty());
}

#[test]
fn state_changes_are_for_the_server_alone_and_checked() {
    let mut desk = Desk::new();
    let (a, _) = desk.join("/", "a");
    let (b, _) = desk.join("/", "b");
    let good = json!({
        "from": "a", "to": "b", "connection_state": "connected",
        "ice_connection_state": "completed", "ice_gathering_state": "complete",
        "signaling_state": "have-local-offer", "request_id": "r",
        "timestamp": "2026-11-24T05:00:00.000Z", "details": {"rtt": 5},
    });
    desk.notify(a, "peer.state_changed", &good);
    assert!(desk.take(a).is_empty());
    assert!(desk.request(a, "peer.state_changed", &good).get("result").is_some());
    for (member, value) in [
        ("from", json!("b")),
        ("to", json!(5)),
        ("connection_state", json!("happy")),
        ("ice_connection_state", json!("complete")),
        ("ice_gathering_state", json!("connected")),
        ("signaling_state", json!(5)),
        ("timestamp", json!(5)),
    ] {
        let reply = desk.request(a, "peer.state_changed", &with(good.clone(), member, Some(value)));
        error(&reply, -32_602);
        assert!(reply["error"].to_string().contains(member), "names {member}: {reply}");
    }
    assert!(desk.take(b).is_empty());
}

#[test]
fn a_disconnect_ends_the_negotiation_and_is_told_to_the_other_side() {
    let mut desk = Desk::new();
    let (a, _) = desk.join("/", "a");
    let (b, _) = desk.join("/", "b");
    let (c, _) = desk.join("/", "c");
    for reason in ["user_requested", "network_error", "timeout", "error", "unknown"] {
        desk.offer(a, "a", "b", "r");
        desk.forget();
        let params = json!({"from": "a", "to": "b", "reason": reason, "request_id": "r"});
        desk.notify(a, "peer.disconnect", &params);
        let notes = desk.notes(b);
        assert_eq!(notes.len(), 1);
        assert_eq!(notes[0].0, "peer.disconnected");
        for (member, value) in [("from", "a"), ("reason", reason), ("request_id", "r")] {
            assert_eq!(notes[0].1[member], value);
        }
        error(&desk.answer(b, "b", "a", "r"), -32_003);
        desk.notify(b, "peer.ice_candidate", &trickled("b", "a", "r"));
    }
    assert!(desk.take(a).is_empty());
    for (member, value) in [
        ("from", json!("b")),
        ("to", json!("nobody")),
        ("reason", json!("bored")),
        ("request_id", json!(5)),
    ] {
        let good = json!({"from": "a", "to": "b", "reason": "error"});
        let params = with(good, member, Some(value));
        desk.notify(a, "peer.disconnect", &params);
        assert!(desk.request(a, "peer.disconnect", &params).get("error").is_some(), "{member}");
    }
    assert!(desk.take(b).is_empty());
    assert!(desk.take(c).is_empty());
}

#[test]
fn rooms_see_nothing_of_each_other() {
    let mut desk = Desk::new();
    let (here, _) = desk.join("/one", "a");
    let (there, _) = desk.join("/two", "b");
    let (also, _) = desk.join("/two/", "c");
    let (query, _) = desk.join("/two?token=/x", "d");
    assert!(desk.take(here).is_empty());
    let data = error(&desk.offer(here, "a", "b", "r"), -32_000);
    assert_eq!(data, json!({"reason": "peer_not_found", "peer_id": "b"}));
    assert_eq!(desk.offer(also, "c", "b", "r")["result"]["status"], "forwarded");
    assert_eq!(desk.offer(query, "d", "b", "r")["result"]["status"], "forwarded");
    assert_eq!(desk.notes(there).len(), 2);
    desk.close(there, Some(1000));
    assert!(desk.take(here).is_empty());
    assert_eq!(desk.notes(also).len(), 1);
    let (root, _) = desk.join("/", "a");
    let (other, _) = desk.join("", "b");
    assert!(desk.take(other).is_empty());
    assert_eq!(desk.offer(root, "a", "b", "r")["result"]["status"], "forwarded");
    let long = format!("/{}", "x".repeat(128));
    let link = desk.open(&long);
    assert!(desk.closed.contains_key(&link));
    let link = desk.open(&long[..128]);
    assert!(!desk.closed.contains_key(&link));
}

#[test]
fn an_offer_without_answer_is_forgotten_and_its_offerer_told() {
    let mut desk = Desk::new();
    let (a, _) = desk.join("/", "a");
    let (b, _) = desk.join("/", "b");
    desk.offer(a, "a", "b", "r");
    desk.pass(std::time::Duration::from_millis(29_999));
    assert!(desk.notes(a).is_empty());
    desk.pass(std::time::Duration::from_millis(1));
    let told = json!({"from": "b", "reason": "timeout", "request_id": "r"});
    assert_eq!(desk.notes(a), [("peer.disconnected".to_owned(), told)]);
    error(&desk.answer(b, "b", "a", "r"), -32_003);
    // An answered, a replaced and a withdrawn one never expire.
    desk.offer(a, "a", "b", "1");
    desk.answer(b, "b", "a", "1");
    desk.offer(a, "a", "b", "2");
    desk.offer(a, "a", "b", "3");
    desk.notify(
        a,
        "peer.disconnect",
        &json!({"from": "a", "to": "b", "reason": "timeout", "request_id": "3"}),
    );
    desk.forget();
    desk.seconds(60);
    assert!(desk.notes(a).is_empty());
}
