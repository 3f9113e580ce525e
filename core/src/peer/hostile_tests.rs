//! Descriptions that were tampered with: they end their connection at most.

use std::time::{Duration, Instant};

use proptest::prelude::*;

use super::{Engine, Peer, PeerConfig, PeerEvent, Signal, State};
use crate::id::RequestId;
use crate::rng::{Rng, Seed};

const REAL: [&str; 6] = [
    include_str!("fixtures/aiortc.sdp"),
    include_str!("fixtures/chromium.sdp"),
    include_str!("fixtures/firefox.sdp"),
    include_str!("fixtures/gstreamer.sdp"),
    include_str!("fixtures/libwebrtc.sdp"),
    include_str!("fixtures/werift.sdp"),
];

/// One change to a description.
#[derive(Debug, Clone)]
enum Change {
    Remove(usize),
    Double(usize),
    Swap(usize, usize),
    /// A line of another description.
    Take(usize, usize, usize),
    /// A word of a line becomes something else.
    Word(usize, usize, String),
    Cut(usize),
}

fn change() -> impl Strategy<Value = Change> {
    let line = || 0usize..200;
    let word = prop_oneof![
        Just("0".to_owned()),
        Just("-1".to_owned()),
        Just("255".to_owned()),
        Just("65536".to_owned()),
        Just("4294967296".to_owned()),
        Just("18446744073709551616".to_owned()),
        Just(String::new()),
        Just("ä".repeat(40)),
        "[ -~]{1,12}",
    ];
    prop_oneof![
        3 => line().prop_map(Change::Remove),
        2 => line().prop_map(Change::Double),
        2 => (line(), line()).prop_map(|(a, b)| Change::Swap(a, b)),
        2 => (line(), 0..REAL.len(), line()).prop_map(|(a, of, b)| Change::Take(a, of, b)),
        4 => (line(), 0usize..12, word).prop_map(|(a, n, word)| Change::Word(a, n, word)),
        1 => (0usize..6_000).prop_map(Change::Cut),
    ]
}

fn tampered() -> impl Strategy<Value = String> {
    (0..REAL.len(), proptest::collection::vec(change(), 0..6)).prop_map(|(of, changes)| {
        let mut lines: Vec<String> = REAL[of].lines().map(str::to_owned).collect();
        let mut cut = usize::MAX;
        for change in changes {
            let count = lines.len();
            if count < 2 {
                break;
            }
            match change {
                Change::Remove(n) => drop(lines.remove(n % count)),
                Change::Double(n) => lines.insert(n % count, lines[n % count].clone()),
                Change::Swap(a, b) => lines.swap(a % count, b % count),
                Change::Take(a, of, b) => {
                    let all: Vec<&str> = REAL[of].lines().collect();
                    lines.insert(a % count, all[b % all.len()].to_owned());
                }
                Change::Word(n, nth, new) => {
                    let line = &mut lines[n % count];
                    let ends = [' ', ':', '=', '/', ';'];
                    let words: Vec<&str> = line.split_inclusive(ends).collect();
                    let nth = nth % words.len();
                    let changed = words.iter().enumerate().map(|(at, word)| match word {
                        word if at == nth => {
                            let kept = word.len() - word.trim_end_matches(ends).len();
                            format!("{new}{}", &word[word.len() - kept..])
                        }
                        word => (*word).to_owned(),
                    });
                    *line = changed.collect();
                }
                Change::Cut(at) => cut = cut.min(at),
            }
        }
        let mut text = lines.join("\r\n") + "\r\n";
        while cut < text.len() && !text.is_char_boundary(cut) {
            cut += 1;
        }
        text.truncate(cut);
        text
    })
}

fn peer(n: u64, now: Instant) -> Peer {
    let engine = Engine::new().unwrap();
    let config = PeerConfig { video: true, impolite: n == 0, ..PeerConfig::default() };
    let mut peer = Peer::new(&engine, config, Rng::new(Seed::from_number(n)), now).unwrap();
    peer.add_local(now, "10.0.0.1:5000".parse().unwrap());
    peer
}

/// Everything that is called after a description was taken, whatever came of it.
fn use_it(peer: &mut Peer, now: Instant) {
    let mut ended = 0;
    for step in 0..20 {
        let now = now + Duration::from_millis(100 * step);
        let audio = [0xf8, 0xff, 0xfe].as_slice().into();
        let _ = peer.write_audio(now, now, 960 * step, &audio, None);
        peer.request_keyframe(now);
        peer.wish_video(now);
        peer.restart_ice(now);
        peer.handle_timeout(now);
        peer.poll_fragment();
        let events = std::iter::from_fn(|| peer.poll_event());
        ended += events.filter(|event| matches!(event, PeerEvent::Failed(_))).count();
        while peer.poll_transmit().is_some() {}
        while peer.poll_signal().is_some() {}
    }
    assert!(ended <= 1, "it ends once");
    assert_eq!(ended == 1, peer.state() == State::Closed, "and tells of it");
    peer.close(now + Duration::from_secs(3));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 150, ..ProptestConfig::default() })]

    #[test]
    fn offers_that_were_tampered_with(text in tampered(), again in tampered()) {
        let now = Instant::now();
        let mut peer = peer(1, now);
        let request = RequestId::new("r").unwrap();
        peer.handle_offer(now, &request, &text);
        peer.handle_offer(now, &request, &again);
        use_it(&mut peer, now);
    }

    #[test]
    fn answers_that_were_tampered_with(text in tampered(), again in tampered()) {
        let now = Instant::now();
        let mut peer = peer(0, now);
        peer.negotiate(now);
        let offers = std::iter::from_fn(|| peer.poll_signal()).find_map(|signal| match signal {
            Signal::Offer { request, .. } => Some(request),
            _ => None,
        });
        peer.handle_answer(now, &offers.unwrap(), &text.replace("a=setup:actpass", "a=setup:active"));
        peer.handle_offer(now, &RequestId::new("r").unwrap(), &again);
        use_it(&mut peer, now);
    }
}
