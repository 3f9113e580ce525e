use super::*;

fn id(name: &str) -> PeerId {
    PeerId::new(name).unwrap()
}

fn ids(names: &[&str]) -> BTreeSet<PeerId> {
    names.iter().map(|name| id(name)).collect()
}

fn frame() -> AudioBuffer {
    AudioBuffer { samples: vec![0.0; 960].into(), sample_rate: 48_000, channels: 1 }
}

fn counters(packets: u64) -> PeerCounters {
    let mut counters = PeerCounters::default();
    counters.audio_packets_in = packets;
    counters.local_candidate = Some(([127, 0, 0, 1], 5).into());
    counters
}

const SOON: Duration = Duration::from_millis(40);

#[test]
fn the_summary_has_exactly_its_keys_and_null_for_what_is_unknown() {
    let book = Book::new(&ids(&["bob"]));
    let summary = book.summary(&id("alice"));
    let expected = json!({"event": "summary", "id": "alice", "peers": [{
        "peer": "bob", "state": "new", "connected_ms": null, "audio_packets_in": 0, "tone_hz": null,
        "data_in": 0, "data_out": 0, "rtt_ms": null, "loss": 0.0, "jitter_ms": 0.0,
        "local_candidate": null, "remote_candidate": null, "sync": Reception::default().json(),
    }]});
    assert_eq!(summary, expected);
}

#[test]
fn figures_outlive_the_connection_and_packets_of_several_are_added() {
    let mut book = Book::default();
    let bob = id("bob");
    book.connected(&bob, SOON);
    let mut quality = Quality::default();
    quality.latency_ms = Some(1.25);
    quality.packet_loss_rate = 0.5;
    book.figures(&bob, quality, counters(100), true);
    book.state(&bob, PeerState::Closed);
    book.connected(&bob, SOON * 2);
    book.figures(&bob, quality, counters(11), true);
    book.state(&bob, PeerState::Closed);
    book.data_in(&bob);
    let summary = book.summary(&id("alice"));
    let peer = &summary["peers"][0];
    assert_eq!(peer["audio_packets_in"], 111);
    assert_eq!(peer["connected_ms"], 40.0);
    assert_eq!(peer["state"], "closed");
    assert_eq!((&peer["rtt_ms"], &peer["loss"]), (&json!(1.25), &json!(0.5)));
    assert_eq!(peer["local_candidate"], "127.0.0.1:5");
    assert_eq!((&peer["data_in"], &peer["data_out"]), (&json!(1), &json!(0)));
    assert_eq!(book.lines().len(), 1);
}

#[test]
fn the_quality_of_a_peer_is_told_while_it_is_connected() {
    let mut book = Book::default();
    let bob = id("bob");
    book.connected(&bob, SOON);
    let mut quality = Quality::default();
    quality.sync.audio_delay_ms = 31.5;
    book.figures(&bob, quality, counters(5), true);
    let told = book.quality(&bob);
    assert_eq!((&told["event"], &told["peer"]), (&json!("quality"), &json!("bob")));
    assert_eq!(told["sync"]["audio_delay_ms"], 31.5);
    assert_eq!(book.connected_now().collect::<Vec<_>>(), [&bob]);
    book.state(&bob, PeerState::Closed);
    assert_eq!(book.connected_now().count(), 0);
}

#[test]
fn named_peers_must_all_be_connected_and_heard() {
    let named = ids(&["a", "b"]);
    let wish = Connect::Ids(named.clone());
    let mut book = Book::new(&named);
    assert_eq!(book.unfulfilled(&wish).len(), 2);
    for peer in &named {
        book.connected(peer, SOON);
    }
    assert!(book.unfulfilled(&wish)[0].contains("no audio"));
    book.figures(&id("a"), Quality::default(), counters(1), true);
    assert_eq!(book.unfulfilled(&wish).len(), 1);
    // Frames that came after the last look at the figures count too, but concealed ones never.
    book.audio(&id("b"), &frame(), true, None).unwrap();
    assert_eq!(book.unfulfilled(&wish).len(), 1);
    book.audio(&id("b"), &frame(), false, None).unwrap();
    assert!(book.unfulfilled(&wish).is_empty());
    // A packet has several frames.
    book.figures(&id("b"), Quality::default(), counters(1), true);
    book.audio(&id("b"), &frame(), false, None).unwrap();
    assert_eq!(book.summary(&id("me"))["peers"][1]["audio_packets_in"], 1);
}

#[test]
fn where_no_audio_was_negotiated_a_connection_is_enough() {
    let mut book = Book::default();
    book.connected(&id("a"), SOON);
    book.figures(&id("a"), Quality::default(), counters(0), false);
    assert!(book.unfulfilled(&Connect::Ids(ids(&["a"]))).is_empty());
    assert!(book.unfulfilled(&Connect::None).is_empty());
}

#[test]
fn with_all_and_none_one_peer_is_enough() {
    for wish in [Connect::All, Connect::None] {
        let mut book = Book::default();
        book.state(&id("a"), PeerState::Failed);
        assert_eq!(book.unfulfilled(&wish), ["no peer was ever connected"]);
        book.connected(&id("b"), SOON);
        book.connected(&id("c"), SOON);
        assert_eq!(book.unfulfilled(&wish).len(), 2);
        book.audio(&id("c"), &frame(), false, None).unwrap();
        assert!(book.unfulfilled(&wish).is_empty());
        assert!(book.any_connected() && book.any_standing());
        book.state(&id("b"), PeerState::Closed);
        book.state(&id("c"), PeerState::Closed);
        assert!(book.any_connected() && !book.any_standing());
    }
}
