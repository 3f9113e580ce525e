//! Two peers in virtual time: what one negotiates, writes and closes, the other sees.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::rtc::ChannelData;

use super::warm_up::exchange;
use super::*;
use crate::rng::Seed;

struct Pair {
    peers: [Peer; 2],
    addresses: [SocketAddr; 2],
    now: Instant,
    events: [Vec<PeerEvent>; 2],
    media: [Vec<PeerMedia>; 2],
}

impl Pair {
    fn new(own: bool) -> Self {
        let now = Instant::now();
        let addresses = ["127.0.0.1:5001".parse().unwrap(), "127.0.0.1:5002".parse().unwrap()];
        let peer = |n: usize| {
            let config =
                PeerConfig { remote_is_rtcmesh: own, impolite: n == 1, ..PeerConfig::default() };
            let rng = Rng::new(Seed::from_number(n as u64));
            let mut peer = Peer::new(&Engine::new().unwrap(), config, rng, now).unwrap();
            peer.add_local(now, addresses[n]);
            peer
        };
        let peers = [peer(0), peer(1)];
        Self { peers, addresses, now, events: Default::default(), media: Default::default() }
    }

    /// Carries signals and datagrams, at once, until nothing moves.
    fn settle(&mut self) {
        while exchange(&mut self.peers, self.now) {}
        for (n, peer) in self.peers.iter_mut().enumerate() {
            self.events[n].extend(std::iter::from_fn(|| peer.poll_event()));
            self.media[n].extend(std::iter::from_fn(|| peer.poll_media()));
        }
    }

    fn run(&mut self, duration: Duration) {
        let end = self.now + duration;
        self.settle();
        loop {
            let next = self.peers.iter().filter_map(Peer::poll_timeout).map(|d| d.at).min();
            let Some(next) = next.filter(|at| *at <= end) else { break };
            self.now = self.now.max(next);
            for peer in &mut self.peers {
                peer.handle_timeout(self.now);
            }
            self.settle();
            // The engine may name a deadline that has passed: time moves all the same.
            self.now += Duration::from_millis(1);
        }
        self.now = self.now.max(end);
    }

    fn connected(own: bool) -> Self {
        let mut pair = Self::new(own);
        pair.peers[0].negotiate(pair.now);
        pair.run(Duration::from_secs(3));
        assert!(pair.peers.iter().all(Peer::is_connected));
        pair
    }

    fn data(&self, of: usize) -> Vec<DataMessage> {
        let data = |event: &PeerEvent| match event {
            PeerEvent::Data(message, _) => Some(message.clone()),
            _ => None,
        };
        self.events[of].iter().filter_map(data).collect()
    }
}

#[test]
fn own_peers_connect_with_all_channels_and_audio_both_ways() {
    let mut pair = Pair::connected(true);
    assert!(pair.peers.iter().all(Peer::all_channels_open));
    let opus: Arc<[u8]> = vec![0xf8, 0xff, 0xfe].into();
    for n in 0..50 {
        for peer in &mut pair.peers {
            peer.write_audio(pair.now, pair.now, 960 * n, &opus, Some(-20)).unwrap();
        }
        pair.run(Duration::from_millis(20));
    }
    for media in &pair.media {
        // Sender reports come in between.
        let is_audio = |media: &&PeerMedia| matches!(media, PeerMedia::Audio { .. });
        let audio: Vec<&PeerMedia> = media.iter().filter(is_audio).collect();
        assert_eq!(audio.len(), 50);
        let PeerMedia::Audio { opus: got, level, .. } = audio[49] else { panic!() };
        assert_eq!((got, *level), (&opus, Some(-20)));
    }
}

/// How many of 100 packets of audio come, of which these were damaged on their way, in the same bit of their source: the other side
/// cannot know before it has checked them.
fn audio_beside_damage(own: bool, damaged: &[u64]) -> u64 {
    let mut pair = Pair::connected(own);
    let opus: Arc<[u8]> = vec![0xf8, 0xff, 0xfe].into();
    for n in 0..100 {
        let now = pair.now;
        pair.peers[0].write_audio(now, now, 960 * n, &opus, None).unwrap();
        while let Some(mut out) = pair.peers[0].poll_transmit() {
            if damaged.contains(&n) && out.payload[1] & 0x7f == 111 {
                out.payload[11] ^= 4;
            }
            pair.peers[1].handle_datagram(now, out.remote, out.local, &out.payload);
        }
        pair.run(Duration::from_millis(20));
    }
    pair.peers[1].figures().audio_packets_in
}

#[test]
fn damaged_packets_do_not_end_the_audio_after_them() {
    for own in [true, false] {
        for damaged in [&[0][..], &[1], &[2], &[20], &[10, 70], &[20, 24]] {
            let came = audio_beside_damage(own, damaged);
            assert_eq!(came, 100 - damaged.len() as u64, "own: {own}, damaged: {damaged:?}");
        }
    }
}

#[test]
fn a_foreign_peer_connects_too_and_has_no_fragments() {
    let mut pair = Pair::connected(false);
    let large = DataMessage::binary(vec![1; 600 * 1024]);
    let refused = pair.peers[0].send_data(pair.now, &Prepared::new(&large), Reliability::Reliable);
    assert!(matches!(refused, Err(DataRefused::TooLarge { limit: 524_288, .. })), "{refused:?}");
    let text = DataMessage::text("hello");
    pair.peers[0].send_data(pair.now, &Prepared::new(&text), Reliability::Reliable).unwrap();
    pair.run(Duration::from_millis(500));
    assert_eq!(pair.data(1), [text]);
}

#[test]
fn one_exchange_is_enough() {
    for own in [true, false] {
        let mut pair = Pair::new(own);
        pair.peers[0].negotiate(pair.now);
        let first = pair.peers[0].negotiation.request().cloned();
        pair.run(Duration::from_secs(5));
        for peer in &pair.peers {
            assert!(peer.audio_negotiated() && peer.audio_receivable(), "own: {own}");
            assert_eq!(peer.negotiation.request(), first.as_ref(), "own: {own}");
        }
    }
}

#[test]
fn glare_leaves_one_connection_with_everything() {
    let mut pair = Pair::new(true);
    pair.peers[0].negotiate(pair.now);
    pair.peers[1].negotiate(pair.now);
    pair.run(Duration::from_secs(3));
    assert!(pair.peers.iter().all(Peer::is_connected));
    assert!(pair.peers.iter().all(Peer::all_channels_open));
    assert!(pair.peers.iter().all(|peer| peer.audio_negotiated() && peer.audio_receivable()));
}

#[test]
fn a_small_message_overtakes_a_large_one() {
    let mut pair = Pair::connected(true);
    let large = DataMessage::binary(vec![7; 1024 * 1024]);
    let small = DataMessage::text("first");
    pair.peers[0].send_data(pair.now, &Prepared::new(&large), Reliability::Reliable).unwrap();
    pair.peers[0].send_data(pair.now, &Prepared::new(&small), Reliability::Reliable).unwrap();
    pair.run(Duration::from_secs(20));
    assert_eq!(pair.data(1), [small, large]);
    assert!(pair.events[0].contains(&PeerEvent::BufferedAmountLow));
}

/// What the other side of an offer becomes when it is DTLS client and yet waits for the SCTP association,
/// as werift does.
fn offer_to_one_that_waits_for_the_association(pair: &mut Pair) {
    let now = pair.now;
    let [offerer, answerer] = &mut pair.peers;
    offerer.negotiate(now);
    while let Some(signal) = offerer.poll_signal() {
        let Signal::Offer { request, sdp } = signal else { continue };
        answerer.rtc.engine().direct_api().start_sctp(false);
        answerer.handle_offer(now, &request, &sdp.replace("setup:actpass", "setup:passive"));
    }
    while let Some(signal) = answerer.poll_signal() {
        match signal {
            Signal::Answer { request, sdp } => {
                assert!(sdp.contains("a=setup:active"));
                let sdp = sdp.replace("max-message-size:524288", "max-message-size:65536");
                offerer.handle_answer(now, &request, &sdp);
            }
            Signal::Candidate { request, candidate, .. } => {
                offerer.handle_candidate(now, &request, &candidate);
            }
            Signal::Offer { .. } => panic!("nobody wished for a second offer"),
        }
    }
}

#[test]
fn a_side_that_waits_for_the_association_gets_one() {
    let mut pair = Pair::new(false);
    offer_to_one_that_waits_for_the_association(&mut pair);
    pair.run(Duration::from_secs(3));
    assert!(pair.peers.iter().all(Peer::is_connected));
    for from in 0..2 {
        let now = pair.now;
        let send = |pair: &mut Pair, size| {
            let message = DataMessage::binary(vec![7; size]);
            pair.peers[from].send_data(now, &Prepared::new(&message), Reliability::Reliable)
        };
        send(&mut pair, 65_536).unwrap();
        pair.run(Duration::from_secs(3));
        assert_eq!(pair.data(1 - from).len(), 1);
    }
    let large = Prepared::new(&DataMessage::binary(vec![7; 65_537]));
    let refused = pair.peers[0].send_data(pair.now, &large, Reliability::Reliable);
    assert!(matches!(refused, Err(DataRefused::TooLarge { limit: 65_536, .. })), "{refused:?}");
}

#[test]
fn media_that_a_foreign_offer_lacks_are_forced_upon_nobody_but_wished_after_glare() {
    for glare in [false, true] {
        let mut pair = Pair::new(false);
        pair.peers[1].config.audio = false;
        pair.peers[1].negotiation = Negotiation::new(&pair.peers[1].config);
        if glare {
            pair.peers[0].negotiate(pair.now);
        }
        pair.peers[1].negotiate(pair.now);
        pair.run(Duration::from_millis(1_900));
        assert!(pair.peers.iter().all(Peer::is_connected));
        assert!(!pair.peers.iter().any(Peer::audio_negotiated), "an offer now could confuse it");
        pair.run(Duration::from_secs(3));
        for peer in &pair.peers {
            assert_eq!((peer.audio_negotiated(), peer.audio_receivable()), (glare, glare));
        }
    }
}

#[test]
fn a_data_section_that_comes_late_takes_messages_of_the_whole_size() {
    let mut pair = Pair::new(false);
    for peer in &mut pair.peers {
        peer.config.data = false;
        peer.negotiation = Negotiation::new(&peer.config);
    }
    pair.peers[0].negotiate(pair.now);
    pair.run(Duration::from_secs(1));
    let now = pair.now;
    // This side is DTLS server: the other one, which answers, begins the association at once.
    pair.peers[1].negotiation.wish_data();
    pair.peers[1].negotiate(now);
    let mut answer = None;
    while let Some(signal) = pair.peers[1].poll_signal() {
        if let Signal::Offer { request, sdp } = signal {
            pair.peers[0].handle_offer(now, &request, &sdp);
        }
    }
    while let Some(signal) = pair.peers[0].poll_signal() {
        if let Signal::Answer { request, sdp } = signal {
            answer = Some((request, sdp));
        }
    }
    let mut overtook = 0;
    while let Some(out) = pair.peers[0].poll_transmit() {
        overtook += 1;
        pair.peers[1].handle_datagram(now, out.remote, out.local, &out.payload);
    }
    assert!(overtook > 0);
    let (request, sdp) = answer.unwrap();
    pair.peers[1].handle_answer(now, &request, &sdp);
    pair.run(Duration::from_secs(1));
    let large = DataMessage::binary(vec![3; 524_288]);
    pair.peers[1].send_data(pair.now, &Prepared::new(&large), Reliability::Reliable).unwrap();
    pair.run(Duration::from_secs(5));
    assert_eq!(pair.data(0), [large]);
}

#[test]
fn messages_that_overtake_the_word_that_their_channel_is_open_follow_it() {
    let mut pair = Pair::connected(false);
    let now = pair.now;
    let peer = &mut pair.peers[0];
    let id = peer.channels.ids[0].open.take().unwrap();
    let other = peer.channels.ids[1].open.unwrap();
    let message = |id, text: &str| ChannelData { id, binary: false, data: text.into() };
    peer.on_channel_data(message(id, "early"));
    peer.on_channel_data(message(id, "too"));
    assert_eq!(peer.poll_event(), None);
    peer.on_channel_data(message(other, "another channel"));
    peer.on_channel_open(id, "data");
    let data = |text| PeerEvent::Data(DataMessage::text(text), Reliability::Reliable);
    let expected = [
        PeerEvent::Data(DataMessage::text("another channel"), Reliability::Unreliable),
        PeerEvent::ChannelOpen("data"),
        data("early"),
        data("too"),
    ];
    assert_eq!(std::iter::from_fn(|| peer.poll_event()).collect::<Vec<_>>(), expected);
    // Where that word never comes, they are not kept for ever, and later ones not at all.
    peer.channels.ids[0].open = None;
    peer.on_channel_data(message(id, "late"));
    assert_eq!(peer.poll_event(), None);
    peer.handle_timeout(now + Duration::from_secs(5));
    assert_eq!(peer.poll_event(), Some(data("late")));
    peer.on_channel_data(message(id, "one more"));
    assert_eq!(peer.poll_event(), Some(data("one more")));
}

#[test]
fn a_side_that_sends_a_lot_before_its_channel_is_open_costs_little_memory() {
    for (size, most) in [(1, 64), (100_000, 10)] {
        let mut pair = Pair::connected(false);
        let peer = &mut pair.peers[0];
        let id = peer.channels.ids[0].open.take().unwrap();
        for n in 0..=most {
            assert_eq!(peer.poll_event(), None, "message {n}");
            peer.on_channel_data(ChannelData { id, binary: true, data: vec![7; size] });
        }
        let taken = std::iter::from_fn(|| peer.poll_event()).count();
        assert_eq!(taken, most + 1, "none is lost");
    }
}

#[test]
fn a_foreign_peer_that_takes_no_later_candidates_has_them_in_the_description() {
    for answers in [false, true] {
        let mut pair = Pair::new(false);
        let (now, ours) = (pair.now, if answers { 1 } else { 0 });
        pair.peers[0].negotiate(now);
        let mut seen = 0;
        for from in [0, 1] {
            let signals: Vec<_> = std::iter::from_fn(|| pair.peers[from].poll_signal()).collect();
            for signal in &signals {
                let other = &mut pair.peers[1 - from];
                match signal {
                    Signal::Offer { request, sdp } => other.handle_offer(now, request, sdp),
                    Signal::Answer { request, sdp } => other.handle_answer(now, request, sdp),
                    Signal::Candidate { .. } => {}
                }
                if let (Signal::Offer { sdp, .. } | Signal::Answer { sdp, .. }, true) =
                    (signal, from == ours)
                {
                    seen += sdp.matches("a=candidate:").count();
                }
            }
            let told = |signal: &&Signal| matches!(signal, Signal::Candidate { candidate, .. } if !candidate.is_empty());
            assert_eq!(signals.iter().filter(told).count(), 1, "they are told as well");
        }
        assert_eq!(seen, 1);
        assert!(pair.peers[1 - ours].tried().starts_with("1 local and 1 remote candidates"));
        pair.run(Duration::from_secs(3));
        assert!(pair.peers.iter().all(Peer::is_connected));
    }
}

#[test]
fn where_both_opened_a_channel_the_answerer_sends_over_that_of_the_offerer() {
    for (side, takes_the_new_one) in [(0, false), (1, true)] {
        let mut pair = Pair::connected(false);
        let peer = &mut pair.peers[side];
        let known = peer.channels.ids[0].open;
        // As if it had been opened from here, and the other side's came later.
        peer.channels.ids[0].requested = known;
        let other = peer.channels.ids[1].open.unwrap();
        peer.on_channel_open(other, "data");
        let expected = if takes_the_new_one { Some(other) } else { known };
        assert_eq!(peer.channels.ids[0].open, expected);
        // A third one changes nothing.
        peer.on_channel_open(known.unwrap(), "data");
        assert_eq!(peer.channels.ids[0].open, expected);
    }
}

#[test]
fn closing_is_seen_by_the_other_side() {
    let mut pair = Pair::connected(true);
    pair.peers[0].close(pair.now);
    pair.run(Duration::from_secs(1));
    assert!(pair.events[1].contains(&PeerEvent::Closed));
}

#[test]
fn garbage_is_counted_and_disturbs_nothing() {
    let mut pair = Pair::connected(true);
    let request = RequestId::new("r").unwrap();
    let (now, addresses) = (pair.now, pair.addresses);
    let peer = &mut pair.peers[0];
    for bytes in [&[][..], &[0; 3], &[22; 40], &[0x80; 60], &[255; 1500]] {
        peer.handle_datagram(now, addresses[0], addresses[1], bytes);
    }
    peer.handle_offer(now, &request, "v=0\r\nnonsense");
    peer.handle_answer(now, &request, "");
    peer.handle_candidate(now, &request, "candidate:x");
    assert!(peer.figures().malformed > 0 && peer.figures().stale > 0);
    pair.run(Duration::from_secs(1));
    assert!(pair.peers.iter().all(Peer::is_connected));
}

#[test]
fn our_own_speak_dtls_1_3_and_anybody_else_gets_what_everybody_knows() {
    use str0m::crypto::dtls::ProtocolVersion;
    for (own, version) in [(true, ProtocolVersion::DTLS1_3), (false, ProtocolVersion::DTLS1_2)] {
        let mut pair = Pair::connected(own);
        for peer in &mut pair.peers {
            assert_eq!(peer.rtc.engine().direct_api().dtls_protocol_version(), Some(version));
        }
    }
}

#[test]
fn fragments_are_read_from_either_of_two_channels() {
    let mut pair = Pair::connected(true);
    let now = pair.now;
    let second =
        pair.peers[1].drive(now, |peer| Ok(peer.rtc.create_channel(super::channels::FRAGMENTS)));
    pair.run(Duration::from_secs(1));
    // As where the other side's channel was the first to open.
    pair.peers[1].channels.ids[2].open = second;
    let large = DataMessage::binary(vec![7; 100_000]);
    pair.peers[1].send_data(pair.now, &Prepared::new(&large), Reliability::Reliable).unwrap();
    pair.run(Duration::from_secs(2));
    assert_eq!(pair.data(0), [large]);
}

#[test]
fn channels_without_end_are_a_fault() {
    let mut pair = Pair::connected(false);
    for n in 0..100 {
        let now = pair.now;
        pair.peers[1].drive(now, |peer| {
            Ok(peer.rtc.engine().direct_api().create_data_channel(str0m::channel::ChannelConfig {
                label: format!("{n}"),
                ..Default::default()
            }))
        });
        pair.run(Duration::from_millis(20));
    }
    let failed = |event: &PeerEvent| matches!(event, PeerEvent::Failed(PeerFault::Misbehaved(_)));
    assert_eq!(pair.events[0].iter().filter(|event| failed(event)).count(), 1);
}

#[test]
fn datagrams_of_another_connection_disturb_neither() {
    let mut pairs = [Pair::connected(true), Pair::new(true)];
    let opus: Arc<[u8]> = vec![0xf8, 0xff, 0xfe].into();
    pairs[1].now = pairs[0].now;
    let now = pairs[0].now;
    pairs[1].peers[0].negotiate(now);
    for step in 0..150u64 {
        let now = now + Duration::from_millis(20 * step);
        for pair in 0..2 {
            for n in 0..2 {
                pairs[pair].peers[n].handle_timeout(now);
                let _ = pairs[pair].peers[n].write_audio(now, now, 960 * step, &opus, None);
                while let Some(signal) = pairs[pair].peers[n].poll_signal() {
                    let to = &mut pairs[pair].peers[1 - n];
                    match signal {
                        Signal::Offer { request, sdp } => to.handle_offer(now, &request, &sdp),
                        Signal::Answer { request, sdp } => to.handle_answer(now, &request, &sdp),
                        Signal::Candidate { request, candidate, .. } => {
                            to.handle_candidate(now, &request, &candidate);
                        }
                    }
                }
                while let Some(out) = pairs[pair].peers[n].poll_transmit() {
                    let stun = out.payload[0] < 4;
                    for (other, p) in pairs.iter_mut().enumerate() {
                        if other == pair || !stun {
                            let to = &mut p.peers[1 - n];
                            to.handle_datagram(now, out.remote, out.local, &out.payload);
                        }
                    }
                }
            }
        }
    }
    for pair in &mut pairs {
        for peer in &mut pair.peers {
            let events: Vec<_> = std::iter::from_fn(|| peer.poll_event()).collect();
            assert!(peer.is_connected(), "{events:?}");
            assert!(peer.figures().audio_packets_in > 100, "{}", peer.figures().audio_packets_in);
        }
    }
}
