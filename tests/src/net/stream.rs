//! Reliable ordered streams (TCP) over the same links: when a message arrives.
//!
//! A message is cut into segments of the links' longest packets, which are sent at the links' rates one
//! after the other. A lost segment is sent again: after a round trip if three or more follow it (RFC 5681,
//! section 3.2), otherwise after a timeout that doubles each time (RFC 6298, with Linux's least of 200 ms).
//! The windows of congestion control are not modelled. Streams have clocks of their own: they take
//! nothing of the rate that datagrams have, and don't wait for them.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

use rtcmesh_core::rng::Rng;

use super::link::LinkConfig;
use super::network::Network;

/// The least retransmission timeout (Linux's `TCP_RTO_MIN`).
const MIN_RTO: Duration = Duration::from_millis(200);

/// How long a segment is sent again by the losses of the present: what would take longer has no way now, and whoever sends
/// it tries again later, when the links may have become better.
const FORESIGHT: Duration = Duration::from_secs(10);

/// What IP and TCP add to a segment, in bytes.
const HEADER: usize = 40;

/// How many segments a message is cut into at most: longer ones are sent in larger pieces.
const MAX_SEGMENTS: usize = 1 << 14;

/// How many streams are remembered before those with nothing under way are forgotten.
const REMEMBERED: usize = 1024;

/// One direction of a stream: its number, and its sender.
type Way = (u64, usize);

/// The streams' clocks and dice.
#[derive(Debug)]
pub(super) struct Streams {
    rng: Rng,
    /// When all that was sent on it has been sent, and when the latest message arrives.
    ways: BTreeMap<Way, (Duration, Duration)>,
}

impl Streams {
    pub(super) const fn new(rng: Rng) -> Self {
        Self { rng, ways: BTreeMap::new() }
    }
}

impl Network {
    /// When a message of `bytes` bytes arrives that is sent now on a reliable, ordered stream, from an interface
    /// of a host to another host. Messages of one `stream` and sender never overtake each other. NATs and
    /// firewalls let streams through.
    ///
    /// `None`: there is no way now (an interface is down, the hosts are kept apart, neither is reachable
    /// from the other without passing a NAT inwards), or so much is lost that nothing gets through for long.
    pub fn stream(
        &mut self,
        now: Duration,
        from: (usize, IpAddr),
        to: usize,
        stream: u64,
        bytes: usize,
    ) -> Option<Duration> {
        let (host, address) = from;
        let place = self.topology.places.get(&address)?;
        if place.host != host || !place.up || self.apart(host, to) {
            return None;
        }
        let realm = place.realm;
        let far = self.topology.interfaces(to).find(|ip| {
            let place = self.topology.places.get(ip);
            place.is_some_and(|place| self.topology.related(realm, place.realm))
        })?;
        let path = self.paths.get(&(host, to)).map(|link| &link.config);
        let ends = [&self.links.get(&address)?.0.config, &self.links.get(&far)?.1.config];
        let links: Vec<&LinkConfig> = ends.into_iter().chain(path).collect();
        self.streams.send(now, (stream, host), &links, bytes)
    }

    /// A stream has ended: the next one of this number begins anew.
    pub fn end_stream(&mut self, stream: u64) {
        self.streams.ways.retain(|(of, _), _| *of != stream);
    }
}

impl Streams {
    fn send(
        &mut self,
        now: Duration,
        way: Way,
        links: &[&LinkConfig],
        bytes: usize,
    ) -> Option<Duration> {
        if self.ways.len() >= REMEMBERED {
            self.ways.retain(|_, (busy, latest)| (*busy).max(*latest) > now);
        }
        let mtu = links.iter().map(|link| link.mtu).min().unwrap_or(usize::MAX);
        let most = mtu.saturating_sub(HEADER).max(1).max(bytes.div_ceil(MAX_SEGMENTS));
        let segments = bytes.div_ceil(most).max(1);
        let latency: Duration = links.iter().map(|link| link.latency).sum();
        let round_trip = 2 * latency;
        let (mut busy, mut latest) = self.ways.get(&way).copied().unwrap_or_default();
        busy = busy.max(now);
        for index in 0..segments {
            let size = HEADER + most.min(bytes - (index * most).min(bytes));
            // The slowest link decides.
            let sending: Option<Vec<_>> = links.iter().map(|link| link.sending(size)).collect();
            busy += sending?.into_iter().max().unwrap_or_default();
            let mut sent = busy;
            let mut timeout = (round_trip * 2).max(MIN_RTO);
            let mut fast = index + 3 < segments;
            while self.loses(links) {
                sent += if fast { round_trip } else { timeout };
                if !std::mem::take(&mut fast) {
                    timeout *= 2;
                }
                if sent > busy + FORESIGHT.max(round_trip) {
                    return None;
                }
            }
            let jitter: Duration = links.iter().map(|link| link.jitter.draw(&mut self.rng)).sum();
            latest = latest.max(sent + latency + jitter);
        }
        self.ways.insert(way, (busy, latest));
        Some(latest)
    }

    /// Whether one of the links loses a segment. Bursts are spread: what matters here is how often.
    fn loses(&mut self, links: &[&LinkConfig]) -> bool {
        let mut lost = false;
        for share in links.iter().map(|link| link.loss.mean()) {
            lost |= share > 0.0 && self.rng.unit() < share;
        }
        lost
    }
}

#[cfg(test)]
#[path = "stream_tests.rs"]
mod tests;
