//! Offers as other stacks make them, recorded (with other addresses), and what our answer is.

use std::time::Instant;

use super::*;
use crate::rng::Seed;

const OFFERS: [(&str, &str); 6] = [
    ("aiortc", include_str!("fixtures/aiortc.sdp")),
    ("chromium", include_str!("fixtures/chromium.sdp")),
    ("firefox", include_str!("fixtures/firefox.sdp")),
    ("gstreamer", include_str!("fixtures/gstreamer.sdp")),
    ("libwebrtc", include_str!("fixtures/libwebrtc.sdp")),
    ("werift", include_str!("fixtures/werift.sdp")),
];

fn peer() -> (Peer, RequestId, Instant) {
    let now = Instant::now();
    let engine = Engine::new().unwrap();
    let rng = Rng::new(Seed::from_number(1));
    let mut peer = Peer::new(&engine, PeerConfig::default(), rng, now).unwrap();
    peer.add_local(now, "192.0.2.9:5000".parse().unwrap());
    (peer, RequestId::new("r").unwrap(), now)
}

/// With the line ends that it had on the wire.
fn wire(sdp: &str) -> String {
    sdp.replace('\n', "\r\n")
}

/// The sections of a description: each with its `m=` line first.
fn sections(sdp: &str) -> Vec<Vec<&str>> {
    let mut sections: Vec<Vec<&str>> = Vec::new();
    for line in sdp.lines() {
        if line.starts_with("m=") {
            sections.push(Vec::new());
        }
        sections.last_mut().into_iter().for_each(|section| section.push(line));
    }
    sections
}

fn answer(peer: &mut Peer, request: &RequestId, now: Instant, offer: &str) -> String {
    peer.handle_offer(now, request, &wire(offer));
    match peer.poll_signal() {
        Some(Signal::Answer { sdp, .. }) => sdp,
        other => panic!("{other:?}, {:?}", peer.poll_event()),
    }
}

#[test]
fn each_offer_is_answered_with_all_of_its_sections() {
    for (stack, offer) in OFFERS {
        let (mut peer, request, now) = peer();
        let answer = answer(&mut peer, &request, now, offer);
        let (theirs, ours) = (sections(offer), sections(&answer));
        assert_eq!(theirs.len(), ours.len(), "{stack}");
        for (theirs, ours) in theirs.iter().zip(&ours) {
            let (kind, our_kind) = (theirs[0].split(' ').next(), ours[0].split(' ').next());
            assert_eq!(kind, our_kind, "{stack}");
            assert!(!ours[0].contains(" 0 "), "{stack}: {} is refused", ours[0]);
            let mid = theirs.iter().find(|line| line.starts_with("a=mid:")).unwrap();
            assert!(ours.contains(mid), "{stack}: {mid}");
            let setup = ours.iter().find(|line| line.starts_with("a=setup:")).unwrap();
            assert_ne!(*setup, "a=setup:actpass", "{stack}");
            // Opus keeps the number that the offer gave it.
            if let Some(opus) = theirs.iter().find(|line| line.to_lowercase().contains(" opus/")) {
                let number = opus.trim_start_matches("a=rtpmap:").split(' ').next().unwrap();
                assert!(ours[0].ends_with(&format!(" {number}")), "{stack}: {}", ours[0]);
                let map = format!("a=rtpmap:{number} opus/48000/2");
                assert!(ours.iter().any(|line| line.eq_ignore_ascii_case(&map)), "{stack}");
            }
        }
        assert!(answer.contains("a=candidate:"), "{stack}: foreign peers may not trickle");
        assert!(peer.audio_negotiated() && peer.audio_receivable(), "{stack}");
        assert_eq!(peer.figures().malformed, 0, "{stack}");
        assert_eq!(peer.state(), State::Connecting, "{stack}");
    }
}

#[test]
fn what_each_offer_says_is_read() {
    for (stack, session, limit, addresses, video) in [
        ("aiortc", "4004549831", 262_144, 0, true),
        ("chromium", "465232003200912417", 262_144, 0, true),
        ("firefox", "5341044500002675035", 1_073_741_823, 0, true),
        ("gstreamer", "3571793168638343581", 65_536, 0, false),
        ("libwebrtc", "8760905395701896407", 262_144, 1, true),
        ("werift", "14506861", 65_536, 6, true),
    ] {
        let offer = OFFERS.iter().find(|(name, _)| *name == stack).unwrap().1;
        let found = sdp::scan(&wire(offer));
        assert!(offer.contains(&format!(" {session} ")), "{stack}");
        assert!(found.application, "{stack}: bundled sections with port 0 are not refused");
        assert_eq!((found.max_message_size, found.candidates), (limit, (addresses, 0)), "{stack}");
        assert!(found.fingerprint.as_ref().unwrap().starts_with("sha-256 "), "{stack}");
        // The same connection with another session's id, as werift and aiortc make it.
        let next = offer.replace(session, "77");
        assert!(sdp::scan(&wire(&next)).continues(&found), "{stack}");
        assert!(sections(offer).iter().any(|s| s[0].starts_with("m=video")) == video, "{stack}");
    }
}

#[test]
fn candidates_are_taken_or_passed_over_without_harm() {
    let (mut peer, request, now) = peer();
    answer(&mut peer, &request, now, OFFERS[1].1);
    let table = [
        (
            "candidate:1 1 udp 2113937151 192.0.2.1 36868 typ host generation 0 network-cost 999",
            "one",
        ),
        ("candidate:1 1 UDP 2015363327 192.0.2.1 47817 typ host", "one"),
        ("candidate:9 1 udp 2116026367 2001:db8::1 57284 typ host generation 0", "one"),
        ("a=candidate:3 1 udp 1 192.0.2.3 1 typ srflx raddr 0.0.0.0 rport 0", "one"),
        ("candidate:1 1 udp 1 059cd600-4ef5-45b1-be60-85bf3913894b.local 36868 typ host", "name"),
        (
            "candidate:2 1 TCP 2105458943 f2d36205-a66f-4a68-a94a-9e7a7125d131.local 9 typ host tcptype active",
            "name",
        ),
        ("candidate:2 1 TCP 1015021823 192.0.2.1 9 typ host tcptype active", "nothing"),
        ("candidate:3 1 TCP 1010827519 192.0.2.1 37147 typ host tcptype passive", "nothing"),
        ("", "nothing"),
        ("", "nothing"),
        ("candidate:", "malformed"),
        ("candidate:1 1 udp 1 nonsense 1 typ host", "malformed"),
        ("candidate:1 1 udp 1 192.0.2.1 99999 typ host", "malformed"),
    ];
    for (candidate, what) in table {
        let before =
            (peer.negotiation.candidates, peer.negotiation.unresolved, peer.figures.malformed);
        peer.handle_candidate(now, &request, candidate);
        let after =
            (peer.negotiation.candidates, peer.negotiation.unresolved, peer.figures.malformed);
        let expected = match what {
            "one" => (before.0 + 1, before.1, before.2),
            "name" => (before.0, before.1 + 1, before.2),
            "malformed" => (before.0, before.1, before.2 + 1),
            _ => before,
        };
        assert_eq!(after, expected, "{candidate}");
    }
    assert_eq!(peer.state(), State::Connecting);
}

#[test]
fn a_description_cut_anywhere_is_refused_or_answered_and_never_panics() {
    for (stack, offer) in OFFERS {
        let offer = wire(offer);
        for end in (0..offer.len()).step_by(97) {
            let (mut peer, request, now) = peer();
            peer.handle_offer(now, &request, &offer[..end]);
            let answered = matches!(peer.poll_signal(), Some(Signal::Answer { .. }));
            let refused = peer.state() == State::Closed;
            assert!(answered != refused, "{stack} up to {end}");
            let internal = |event| matches!(event, PeerEvent::Failed(PeerFault::Internal(_)));
            assert!(!std::iter::from_fn(|| peer.poll_event()).any(internal), "{stack} up to {end}");
        }
    }
}
