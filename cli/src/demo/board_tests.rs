use super::*;
use crate::audio::Source;

fn id(name: &str) -> PeerId {
    PeerId::new(name).unwrap()
}

fn voices() -> Vec<Voice> {
    [("a", 800.0), ("b", 1_100.0)].map(|(name, tone)| Voice { id: id(name), tone }).into()
}

/// Both have heard each other for 2 s; `b` sent what `tone` says.
fn pair_of_listeners(tone: f64, now: Instant) -> [Listener; 2] {
    let mut listeners = [Listener::new(voices()), Listener::new(voices())];
    for (listener, (speaker, tone)) in listeners.iter_mut().zip([("b", tone), ("a", 800.0)]) {
        let peer = id(speaker);
        listener.happened(&Event::Connecting { peer: peer.clone() });
        let after = Duration::from_millis(30);
        listener.happened(&Event::Connected { peer: peer.clone(), after });
        let mut source = Source::voice_with_tone(tone, 0.0).unwrap();
        for _ in 0..100 {
            listener.hear(&peer, &source.chunk(), false, now);
        }
    }
    listeners
}

#[test]
fn the_verdict_is_good_only_if_everybody_heard_the_right_tone() {
    let now = Instant::now();
    for (tone, ok) in [(1_100.0, true), (1_150.0, false)] {
        let listeners = pair_of_listeners(tone, now);
        let snapshot = Snapshot::of(&voices(), listeners.iter(), now);
        assert_eq!(snapshot.all_recognised(), ok);
        assert_eq!((snapshot.total(), snapshot.connected()), (2, 2));
        assert_eq!(snapshot.unheard().is_empty(), ok);
        let summary = snapshot.summary("http://x/", Duration::from_secs(2));
        assert_eq!(summary["ok"], ok);
        assert_eq!(summary["connect_ms"], json!({"median": 30.0, "max": 30.0}));
        assert_eq!(summary["pairs"].as_array().unwrap().len(), 2);
        assert_eq!(summary["pairs"][0]["expected_hz"], 1_100.0);
        assert_eq!(summary["pairs"][0]["heard"], ok);
        assert_eq!(summary["pairs"][1]["tone_hz"], 800.0);
        assert_eq!(
            summary["peers"][1],
            json!({"peer": "b", "tone_hz": 1_100.0, "connected": 1,
            "heard": 1})
        );
    }
}

#[test]
fn whoever_falls_silent_is_not_audible_but_was_recognised() {
    let now = Instant::now();
    let listeners = pair_of_listeners(1_100.0, now);
    let later = Snapshot::of(&voices(), listeners.iter(), now + SILENT_AFTER);
    assert_eq!((later.audible(), later.all_recognised()), (0, true));
    assert_eq!(Snapshot::of(&voices(), listeners.iter(), now).audible(), 2);
}

#[test]
fn nobody_has_heard_anybody_at_first() {
    let listeners = [Listener::new(voices()), Listener::new(voices())];
    let snapshot = Snapshot::of(&voices(), listeners.iter(), Instant::now());
    assert!(!snapshot.all_recognised());
    assert_eq!(snapshot.unheard()[0], "a never heard b (never seen)");
    assert_eq!(snapshot.summary("", Duration::ZERO)["connect_ms"]["median"], Value::Null);
}

#[test]
fn browsers_are_heard_by_their_level_and_vanish_when_they_leave() {
    let now = Instant::now();
    let mut listeners = pair_of_listeners(1_100.0, now);
    let guest = id("browser");
    let after = Duration::from_millis(50);
    listeners[0].happened(&Event::Connected { peer: guest.clone(), after });
    let audio = AudioBuffer { samples: vec![0.1; 960].into(), sample_rate: 48_000, channels: 1 };
    for _ in 0..50 {
        listeners[0].hear(&guest, &audio, false, now);
    }
    let snapshot = Snapshot::of(&voices(), listeners.iter(), now);
    assert_eq!(snapshot.guests, std::slice::from_ref(&guest));
    assert!(snapshot.pairs[0][2].as_ref().unwrap().audible);
    assert_eq!(snapshot.pairs[1][2], None);
    assert_eq!(snapshot.total(), 2, "browsers are no part of the verdict");
    let reason = "user_requested".to_owned();
    listeners[0].happened(&Event::Closed {
        peer: guest.clone(),
        by: rtcmesh_core::transport::ClosedBy::Peer,
    });
    listeners[0].happened(&Event::PeerGone { peer: guest, reason: reason.clone() });
    listeners[0].happened(&Event::PeerGone { peer: id("b"), reason });
    let snapshot = Snapshot::of(&voices(), listeners.iter(), now);
    assert!(snapshot.guests.is_empty());
    assert!(snapshot.pairs[0][1].is_some(), "a native peer stays in the picture");
}
