//! The first use of the cryptography, before anybody waits for it.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};

use super::{Engine, Peer, PeerConfig, Signal};
use crate::rng::{Rng, Seed};

/// Makes one connection in memory and in virtual time from `now` on. The first handshake of a process costs
/// 30 to 90 ms more than the others, for the entropy source and for checks of the provider.
pub(crate) fn warm_up(now: Instant) {
    let Ok(engine) = Engine::new() else { return };
    let addresses = [1, 2].map(|port| SocketAddr::from((Ipv4Addr::LOCALHOST, port)));
    let peer = |n: usize| {
        let config =
            PeerConfig { remote_is_rtcmesh: true, impolite: n == 0, ..PeerConfig::default() };
        // Nothing of it is ever used.
        let mut peer = Peer::new(&engine, config, Rng::new(Seed::from_number(n as u64)), now)?;
        peer.add_local(now, addresses[n]);
        Ok::<_, crate::error::PeerFault>(peer)
    };
    let (Ok(offerer), Ok(answerer)) = (peer(0), peer(1)) else { return };
    let mut peers = [offerer, answerer];
    peers[0].negotiate(now);
    let mut now = now;
    for _ in 0..200 {
        while exchange(&mut peers, now) {}
        if peers.iter().all(|peer| peer.state() == super::State::Connected) {
            return;
        }
        now += Duration::from_millis(10);
        for peer in &mut peers {
            peer.handle_timeout(now);
        }
    }
}

/// Hands each what the other has for it, at once; false where nothing moved.
pub(super) fn exchange(peers: &mut [Peer; 2], now: Instant) -> bool {
    let mut moved = false;
    for from in 0..2 {
        let to = 1 - from;
        while let Some(signal) = peers[from].poll_signal() {
            moved = true;
            match signal {
                Signal::Offer { request, sdp } => peers[to].handle_offer(now, &request, &sdp),
                Signal::Answer { request, sdp } => peers[to].handle_answer(now, &request, &sdp),
                Signal::Candidate { request, candidate, .. } => {
                    peers[to].handle_candidate(now, &request, &candidate);
                }
            }
        }
        while let Some(out) = peers[from].poll_transmit() {
            moved = true;
            peers[to].handle_datagram(now, out.remote, out.local, &out.payload);
        }
    }
    moved
}
