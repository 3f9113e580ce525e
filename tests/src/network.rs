//! The network between hosts: what it delays, loses and lets overtake.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use rtcmesh_core::rng::{Rng, Seed};

/// Two hosts, in whichever order.
type Pair = (usize, usize);

fn pair(a: usize, b: usize) -> Pair {
    (a.min(b), a.max(b))
}

/// Decides about each datagram and each signaling message, by a generator of its own.
#[derive(Debug)]
pub(crate) struct Network {
    rng: Rng,
    datagrams: u64,
    /// Pairs of hosts between which nothing passes.
    cut: BTreeSet<Pair>,
    /// Pairs with a latency of their own.
    latency: BTreeMap<Pair, Duration>,
    /// When the latest message of each stream arrives: none of the same stream overtakes it.
    streams: BTreeMap<(u64, bool), Instant>,
}

impl Network {
    pub(crate) fn new(seed: u64) -> Self {
        Self {
            rng: Rng::new(Seed::from_number(seed)).fork("network"),
            datagrams: 0,
            cut: BTreeSet::new(),
            latency: BTreeMap::new(),
            streams: BTreeMap::new(),
        }
    }

    pub(crate) fn cut(&mut self, a: usize, b: usize, cut: bool) {
        if cut {
            self.cut.insert(pair(a, b));
        } else {
            self.cut.remove(&pair(a, b));
        }
    }

    pub(crate) fn set_latency(&mut self, a: usize, b: usize, latency: Duration) {
        self.latency.insert(pair(a, b), latency);
    }

    /// How long a datagram is under way; `None`: it is lost.
    pub(crate) fn datagram(
        &mut self,
        from: usize,
        to: usize,
        weather: &Weather,
    ) -> Option<Duration> {
        self.datagrams += 1;
        let counted = weather.lose_every.is_some_and(|every| self.datagrams.is_multiple_of(every));
        let unlucky = weather.loss > 0.0 && self.rng.unit() < weather.loss;
        if counted || unlucky || self.cut.contains(&pair(from, to)) {
            return None;
        }
        let latency = self.latency.get(&pair(from, to)).copied().unwrap_or(weather.latency);
        Some(latency + self.up_to(weather.jitter))
    }

    /// When a signaling message that is sent now arrives: on each stream in the order of sending.
    /// `stream` is a link and whether the message is on its way to the server.
    pub(crate) fn message(
        &mut self,
        now: Instant,
        stream: (u64, bool),
        latency: Duration,
        jitter: Duration,
    ) -> Duration {
        let mut at = now + latency + self.up_to(jitter);
        if let Some(latest) = self.streams.get(&stream) {
            at = at.max(*latest);
        }
        self.streams.insert(stream, at);
        at - now
    }

    /// A stream has ended.
    pub(crate) fn forget(&mut self, link: u64) {
        self.streams.retain(|(of, _), _| *of != link);
    }

    fn up_to(&mut self, most: Duration) -> Duration {
        // No jitter draws nothing: worlds without it stay as they are.
        if most.is_zero() { Duration::ZERO } else { most.mul_f64(self.rng.unit()) }
    }
}

/// What datagrams are exposed to.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Weather {
    pub(crate) latency: Duration,
    pub(crate) jitter: Duration,
    pub(crate) loss: f64,
    pub(crate) lose_every: Option<u64>,
}
