//! Descriptions that were tampered with, candidates and datagrams of any kind: they end their connection at
//! most, and it tells of it once.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use super::{Engine, Peer, PeerConfig, PeerEvent, Signal, State};
use crate::hostile::Bytes;
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

const CANDIDATES: [&str; 4] = [
    "candidate:1 1 udp 2113937151 10.0.0.2 50000 typ host",
    "candidate:2 1 udp 1677729535 192.0.2.7 50001 typ srflx raddr 10.0.0.2 rport 50000",
    "candidate:3 1 tcp 1518280447 10.0.0.2 9 typ host tcptype active",
    "candidate:4 1 udp 2113937151 0f1e2d3c-0000-4000-8000-aabbccddeeff.local 50002 typ host",
];

const LOCAL: ([u8; 4], u16) = ([10, 0, 0, 1], 5_000);

/// What a word becomes.
const WORDS: [&str; 8] =
    ["0", "-1", "255", "65536", "4294967296", "18446744073709551616", "", "ääääääääääääääääääää"];

/// Calls of one connection as the bytes say.
///
/// # Panics
///
/// Where a promise is broken: that is a mistake of the library, not of the bytes.
#[doc(hidden)]
pub fn hostile_peer(start: Instant, bytes: &[u8]) {
    let mut bytes = Bytes(bytes);
    let Ok(engine) = Engine::new() else { return };
    let offers = bytes.one_in(2);
    let config = PeerConfig {
        video: true,
        impolite: offers,
        remote_is_rtcmesh: bytes.one_in(2),
        ..PeerConfig::default()
    };
    let Ok(peer) = Peer::new(&engine, config, Rng::new(Seed::from_number(1)), start) else {
        return;
    };
    let names = ["r", "s"].map(|name| RequestId::new(name).expect("a valid name"));
    let mut run = Run { peer, now: start, names, ours: None, ended: 0 };
    run.peer.add_local(start, LOCAL.into());
    if offers {
        run.peer.negotiate(start);
    }
    run.drain();
    while !bytes.is_empty() {
        run.step(&mut bytes);
        run.drain();
    }
    run.use_it();
}

struct Run {
    peer: Peer,
    now: Instant,
    names: [RequestId; 2],
    /// The name of our own offer.
    ours: Option<RequestId>,
    ended: usize,
}

impl Run {
    fn step(&mut self, bytes: &mut Bytes<'_>) {
        let now = self.now;
        let name = self.names[bytes.below(2)].clone();
        let ours = self.ours.clone().unwrap_or_else(|| name.clone());
        match bytes.byte() % 16 {
            0..=3 => self.peer.handle_offer(now, &name, &tampered(bytes)),
            4..=6 => {
                let text = tampered(bytes).replace("a=setup:actpass", "a=setup:active");
                self.peer.handle_answer(now, &ours, &text);
            }
            7 => self.peer.handle_offer(now, &name, &bytes.text()),
            8 => self.peer.handle_candidate(now, &ours, &bytes.text()),
            9 | 10 => {
                let words = bytes.one_of(&CANDIDATES);
                let mut lines = vec![words.to_owned()];
                change_word(&mut lines[0], bytes);
                self.peer.handle_candidate(now, &ours, &lines.remove(0));
                self.peer.handle_candidate(now, &name, words);
            }
            11 => {
                let remote = SocketAddr::from(([10, 0, 0, 2], 50_000));
                self.peer.handle_datagram(now, LOCAL.into(), remote, bytes.some());
            }
            12 => {
                self.now += Duration::from_millis(bytes.short().into());
                self.peer.handle_timeout(self.now);
            }
            13 => {
                self.peer.withdraw(now, &name);
            }
            14 => self.peer.negotiate(now),
            _ => {
                let _ = self.peer.continues(&tampered(bytes));
                self.peer.add_local(now, SocketAddr::from(([10, 0, 0, 3], bytes.short())));
                self.peer.restart_ice(now);
            }
        }
    }

    fn drain(&mut self) {
        while self.peer.poll_transmit().is_some() {}
        while self.peer.poll_media().is_some() {}
        while let Some(signal) = self.peer.poll_signal() {
            if let Signal::Offer { request, .. } = signal {
                self.ours = Some(request);
            }
        }
        let events = std::iter::from_fn(|| self.peer.poll_event());
        self.ended += events.filter(|event| matches!(event, PeerEvent::Failed(_))).count();
        assert!(self.ended <= 1, "it ends once");
        assert_eq!(self.ended == 1, self.peer.state() == State::Closed, "and tells of it");
    }

    /// Everything that is called after descriptions were taken, whatever came of them.
    fn use_it(&mut self) {
        for step in 0..20 {
            let now = self.now + Duration::from_millis(100 * step);
            let audio = [0xf8, 0xff, 0xfe].as_slice().into();
            let _ = self.peer.write_audio(now, now, 960 * step, &audio, None);
            self.peer.request_keyframe(now);
            self.peer.wish_video(now);
            self.peer.restart_ice(now);
            self.peer.handle_timeout(now);
            self.peer.poll_fragment();
            self.drain();
        }
        self.peer.close(self.now + Duration::from_secs(3));
    }
}

/// A description of another implementation with some changes.
fn tampered(bytes: &mut Bytes<'_>) -> String {
    let mut lines: Vec<String> = bytes.one_of(&REAL).lines().map(str::to_owned).collect();
    let mut cut = usize::MAX;
    for _ in 0..bytes.below(6) {
        let count = lines.len();
        if count < 2 {
            break;
        }
        let at = bytes.below(count);
        match bytes.byte() % 14 {
            0..=2 => drop(lines.remove(at)),
            3 | 4 => lines.insert(at, lines[at].clone()),
            5 | 6 => lines.swap(at, bytes.below(count)),
            7 | 8 => {
                // A line of another description.
                let all: Vec<&str> = bytes.one_of(&REAL).lines().collect();
                lines.insert(at, bytes.one_of(&all).to_owned());
            }
            9..=12 => change_word(&mut lines[at], bytes),
            _ => cut = cut.min(usize::from(bytes.short()) % 6_000),
        }
    }
    let mut text = lines.join("\r\n") + "\r\n";
    while cut < text.len() && !text.is_char_boundary(cut) {
        cut += 1;
    }
    text.truncate(cut);
    text
}

/// A word of a line becomes something else.
fn change_word(line: &mut String, bytes: &mut Bytes<'_>) {
    const ENDS: [char; 5] = [' ', ':', '=', '/', ';'];
    let words: Vec<&str> = line.split_inclusive(ENDS).collect();
    let at = bytes.below(words.len());
    let new = if bytes.one_in(3) {
        bytes.text().replace(['\r', '\n'], " ")
    } else {
        bytes.one_of(&WORDS).to_owned()
    };
    let changed = words.iter().enumerate().map(|(place, word)| {
        let kept = word.len() - word.trim_end_matches(ENDS).len();
        let end = &word[word.len() - kept..];
        if place == at { format!("{new}{end}") } else { (*word).to_owned() }
    });
    *line = changed.collect();
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

        #[test]
        fn whatever_comes_a_connection_ends_once_at_most(
            bytes in prop::collection::vec(any::<u8>(), 0..200)
        ) {
            hostile_peer(Instant::now(), &bytes);
        }

        /// Two offers, or two answers to an offer of ours, in any state.
        #[test]
        fn descriptions_that_were_tampered_with(
            offers: bool,
            changes in prop::collection::vec(any::<u8>(), 60),
            again in prop::collection::vec(any::<u8>(), 60),
        ) {
            let what = if offers { 4 } else { 0 };
            let first = [u8::from(!offers), 1, 0, what];
            hostile_peer(Instant::now(), &[&first, &changes[..], &[0, what], &again].concat());
        }
    }
}
