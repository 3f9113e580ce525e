//! Leaving, absence, resuming and being taken over, in virtual time.

use std::time::Duration;

use serde_json::{Value, json};

use super::desk::{Desk, error, key_of, trickled};

fn methods(notes: &[(String, Value)]) -> Vec<&str> {
    notes.iter().map(|(method, _)| method.as_str()).collect()
}

#[test]
fn a_close_with_1000_or_1001_is_told_at_once_and_frees_the_id() {
    for code in [1000, 1001] {
        let mut desk = Desk::new();
        let (a, _) = desk.join("/", "a");
        let (b, key) = desk.join("/", "b");
        desk.close(b, Some(code));
        let left = json!({"from": "b", "reason": "user_requested"});
        assert_eq!(desk.notes(a), [("peer.disconnected".to_owned(), left)]);
        let data = error(&desk.offer(a, "a", "b", "r"), -32_000);
        assert_eq!(data["reason"], "peer_not_found");
        let link = desk.open("/");
        assert_ne!(key_of(&desk.announce(link, "b", None)), key);
        assert_eq!(methods(&desk.notes(a)), ["peer.announced"]);
        desk.seconds(60);
        assert!(desk.notes(a).is_empty(), "the old lease means nothing to the new peer");
    }
}

#[test]
fn any_other_end_reserves_the_id_for_30_s() {
    for code in [None, Some(1005), Some(1006), Some(1011), Some(4000)] {
        let mut desk = Desk::new();
        let (b, key) = desk.join("/", "b");
        desk.close(b, code);
        desk.pass(Duration::from_millis(29_999));
        let thief = desk.open("/");
        error(&desk.announce(thief, "b", None), -32_000);
        assert_eq!(desk.server.metrics().absent, 1);
        desk.pass(Duration::from_millis(1));
        assert_eq!(desk.server.metrics().absent, 0);
        // The id is free, and the old key means nothing.
        assert_ne!(key_of(&desk.announce(thief, "b", Some(&key))), key);
    }
}

#[test]
fn the_others_are_told_of_an_absence_after_5_s_without_a_request_id() {
    let mut desk = Desk::new();
    let (a, _) = desk.join("/", "a");
    let (b, _) = desk.join("/", "b");
    desk.close(b, None);
    desk.pass(Duration::from_millis(4_999));
    assert!(desk.take(a).is_empty());
    desk.pass(Duration::from_millis(1));
    let left = json!({"from": "b", "reason": "network_error"});
    assert_eq!(desk.notes(a), [("peer.disconnected".to_owned(), left)]);
    let data = error(&desk.offer(a, "a", "b", "r"), -32_000);
    assert_eq!(data, json!({"reason": "peer_not_found", "peer_id": "b"}));
    desk.seconds(60);
    assert!(desk.take(a).is_empty(), "told once");
}

#[test]
fn a_resume_within_5_s_is_silent_and_brings_what_was_kept_in_order() {
    let mut desk = Desk::new();
    let (a, _) = desk.join("/", "a");
    let (b, key) = desk.join("/", "b");
    desk.offer(b, "b", "a", "mine");
    desk.close(b, None);
    desk.forget();
    assert_eq!(desk.answer(a, "a", "b", "mine")["result"]["status"], "forwarded");
    assert_eq!(desk.offer(a, "a", "b", "old")["result"]["status"], "forwarded");
    assert_eq!(desk.offer(a, "a", "b", "new")["result"]["status"], "forwarded");
    desk.notify(a, "peer.ice_candidate", &trickled("a", "b", "new"));
    desk.seconds(4);
    let (again, new_key) = desk.resume("/", "b", &key);
    assert_ne!(new_key, key);
    let notes = desk.notes(again);
    assert_eq!(methods(&notes), ["peer.announced", "peer.answer", "peer.offer"]);
    assert_eq!(notes[2].1["request_id"], "new", "an offer replaces the one before");
    assert!(desk.take(a).is_empty());
    // The negotiation goes on where it was.
    assert_eq!(desk.answer(again, "b", "a", "new")["result"]["status"], "forwarded");
    desk.seconds(60);
    assert_eq!(methods(&desk.notes(a)), ["peer.answer"]);
}

#[test]
fn a_disconnect_is_kept_and_takes_the_offer_back() {
    let mut desk = Desk::new();
    let (a, _) = desk.join("/", "a");
    let (c, _) = desk.join("/", "c");
    let (b, key) = desk.join("/", "b");
    desk.close(b, None);
    desk.offer(a, "a", "b", "r");
    let params = json!({"from": "a", "to": "b", "reason": "timeout", "request_id": "r"});
    desk.notify(a, "peer.disconnect", &params);
    desk.offer(c, "c", "b", "r");
    desk.close(c, Some(1000));
    let (again, _) = desk.resume("/", "b", &key);
    let notes = desk.notes(again);
    assert_eq!(methods(&notes), ["peer.announced", "peer.disconnected"], "{notes:?}");
    assert_eq!(notes[1].1["from"], "a");
}

#[test]
fn a_resume_after_5_s_is_announced_anew() {
    let mut desk = Desk::new();
    let (a, _) = desk.join("/", "a");
    let (b, key) = desk.join("/", "b");
    desk.close(b, None);
    desk.offer(a, "a", "b", "r");
    desk.seconds(20);
    desk.forget();
    let (again, _) = desk.resume("/", "b", &key);
    assert_eq!(methods(&desk.notes(a)), ["peer.announced"]);
    assert_eq!(methods(&desk.notes(again)), ["peer.announced"], "what was kept is gone");
    assert_eq!(desk.offer(a, "a", "b", "s")["result"]["status"], "forwarded");
    desk.forget();
    desk.seconds(29);
    assert!(desk.take(a).is_empty());
}

#[test]
fn a_newcomer_is_told_of_an_absent_peer_only_when_it_resumes() {
    let mut desk = Desk::new();
    let (a, _) = desk.join("/", "a");
    let (d, d_key) = desk.join("/", "d");
    let (b, key) = desk.join("/", "b");
    desk.close(b, None);
    desk.seconds(1);
    let new = desk.open("/");
    desk.announce(new, "new", None);
    let listed = desk.notes(new);
    assert_eq!(methods(&listed), ["peer.announced", "peer.announced"], "a and d");
    assert!(listed.iter().all(|(_, params)| params["peer_id"] != "b"));
    // One that comes back meanwhile gets a list without it, too.
    desk.close(d, None);
    let (d, _) = desk.resume("/", "d", &d_key);
    assert!(desk.notes(d).iter().all(|(_, params)| params["peer_id"] != "b"));
    desk.forget();
    desk.seconds(1);
    let (again, _) = desk.resume("/", "b", &key);
    for link in [new, d] {
        let told = desk.notes(link);
        assert_eq!(methods(&told), ["peer.announced"]);
        assert_eq!(told[0].1["peer_id"], "b");
    }
    assert!(desk.take(a).is_empty(), "it never knew of the absence");
    assert_eq!(desk.notes(again).len(), 3);
}

#[test]
fn a_newcomer_is_not_told_that_a_peer_left_which_it_never_knew() {
    let mut desk = Desk::new();
    let (a, _) = desk.join("/", "a");
    let (b, _) = desk.join("/", "b");
    desk.close(b, None);
    desk.seconds(1);
    let (new, _) = desk.join("/", "new");
    desk.seconds(60);
    assert_eq!(methods(&desk.notes(a)), ["peer.disconnected"]);
    assert!(desk.take(new).is_empty());
}

#[test]
fn a_right_key_takes_the_id_over_from_a_standing_connection() {
    let mut desk = Desk::new();
    let (a, _) = desk.join("/", "a");
    let (b, key) = desk.join("/", "b");
    let (again, _) = desk.resume("/", "b", &key);
    assert_eq!(desk.closed.get(&b), Some(&4001));
    assert!(desk.take(a).is_empty(), "nobody else sees it");
    assert_eq!(desk.offer(a, "a", "b", "r")["result"]["status"], "forwarded");
    assert_eq!(methods(&desk.notes(again)), ["peer.announced", "peer.offer"]);
    // What the old connection still does means nothing.
    desk.text(b, r#"{"jsonrpc":"2.0","method":"peer.offer","params":{},"id":1}"#);
    desk.close(b, Some(1000));
    assert!(desk.take(b).is_empty());
    desk.seconds(60);
    assert_eq!(methods(&desk.notes(a)), ["peer.disconnected"], "the offer's timeout alone");
}

#[test]
fn a_resume_with_other_capabilities_is_announced_to_all() {
    let mut desk = Desk::new();
    let (a, _) = desk.join("/", "a");
    let (_, key) = desk.join("/", "b");
    let link = desk.open("/");
    let params = json!({"peer_id": "b", "capabilities": ["video"], "session_key": key});
    key_of(&desk.request(link, "peer.announce", &params));
    let told = desk.notes(a);
    assert_eq!(methods(&told), ["peer.announced"]);
    assert_eq!(told[0].1["capabilities"], json!(["video"]));
}

#[test]
fn keys_change_at_each_resume_and_an_unused_one_makes_none_invalid() {
    let mut desk = Desk::new();
    let (_, first) = desk.join("/", "b");
    let (_, lost) = desk.resume("/", "b", &first);
    let (_, second) = desk.resume("/", "b", &first);
    assert!(lost != first && second != first && second != lost);
    let (_, third) = desk.resume("/", "b", &second);
    let link = desk.open("/");
    error(&desk.announce(link, "b", Some(&first)), -32_000);
    error(&desk.announce(link, "b", Some(&lost)), -32_000);
    key_of(&desk.announce(link, "b", Some(&third)));
}

#[test]
fn an_offer_expires_while_its_offerer_is_away_and_the_word_is_kept() {
    let mut desk = Desk::new();
    let (a, key) = desk.join("/", "a");
    let (_, _) = desk.join("/", "b");
    desk.offer(a, "a", "b", "r");
    desk.seconds(28);
    desk.close(a, None);
    desk.seconds(3);
    desk.forget();
    let (again, _) = desk.resume("/", "a", &key);
    let notes = desk.notes(again);
    assert_eq!(methods(&notes), ["peer.announced", "peer.disconnected"]);
    assert_eq!(notes[1].1["request_id"], "r");
}

#[test]
fn what_is_kept_is_bounded() {
    let mut desk = Desk::new();
    let (a, _) = desk.join("/", "a");
    let (b, key) = desk.join("/", "b");
    desk.close(b, None);
    let params = json!({"from": "a", "to": "b", "reason": "error", "request_id": "r"});
    let replies: Vec<Value> =
        (0..600).map(|_| desk.request(a, "peer.disconnect", &params)).collect();
    error(replies.last().unwrap(), -32_001);
    let kept = replies.iter().filter(|reply| reply.get("result").is_some()).count();
    assert!(kept < 600);
    let (again, _) = desk.resume("/", "b", &key);
    assert_eq!(desk.notes(again).len(), kept + 1);
}

#[test]
fn the_last_peer_takes_its_room_along() {
    let mut desk = Desk::new();
    let (a, _) = desk.join("/x", "a");
    let (b, _) = desk.join("/y", "b");
    assert_eq!(desk.server.metrics().rooms, 2);
    desk.close(a, Some(1000));
    desk.close(b, None);
    assert_eq!(desk.server.metrics().rooms, 1);
    desk.seconds(30);
    let metrics = desk.server.metrics();
    assert_eq!((metrics.rooms, metrics.peers, metrics.connections), (0, 0, 0));
    assert_eq!(desk.server.poll_timeout(), None, "nothing is left to wait for");
}
