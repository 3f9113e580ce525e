//! A packet through our transport and through the engine alone, in turns: both do the same work, in memory.

use std::sync::Arc;
use std::time::{Duration, Instant};

use rtcmesh_core::net::Transmit;

use crate::engine::{Collected, Pair};
use crate::frames::{Kind, is_rtp};
use crate::measure::{Comparison, timed};
use crate::ours::Star;

/// Packets of one side before it is the other's turn: little enough that no timer of a connection is
/// missed, and that both sides see the same moods of the machine.
pub const BATCH: usize = 25;

/// What [`one_to_one`] has found.
#[derive(Debug, Default)]
pub struct OneToOne {
    /// From the command to the datagram.
    pub tx: Comparison,
    /// From the datagram to the event, without our jitter buffer.
    pub rx: Comparison,
    /// The same with it and its timers.
    pub rx_with_playout: Comparison,
}

/// One sender and one receiver, both ways of doing it.
#[derive(Debug)]
pub struct Link {
    kind: Kind,
    bytes: Arc<[u8]>,
    /// Ours.
    pub ours: Star,
    /// The engine alone.
    pub engine: Pair,
    sent: Vec<Transmit>,
    replies: Vec<Transmit>,
    collected: Collected,
    n: u32,
    playout: bool,
    /// Packets of one side before it is the other's turn.
    pub batch: usize,
    /// Those of ours and of the engine.
    batches: (u32, u32),
}

/// The pause after a batch of this length, a little different each time: reports that go out at fixed intervals
/// then fall within the batches and between them as time has it, not always on the same side.
fn gap(length: Duration, batch: u32) -> Duration {
    length * (batch % 101 * 37 % 101) / 505
}

impl Link {
    /// A connected one. `playout`: received audio goes through our jitter buffer.
    pub fn new(kind: Kind, playout: bool) -> Self {
        Self::with(kind, playout, Star::connected(1, kind == Kind::Video))
    }

    /// A connected one of these two.
    pub(crate) fn with(kind: Kind, playout: bool, mut ours: Star) -> Self {
        let video = kind == Kind::Video;
        if !playout {
            ours.receiver().bypass_playout();
        }
        let mut link = Self {
            kind,
            bytes: kind.bytes(),
            ours,
            engine: Pair::connected(Instant::now(), 0, video),
            sent: Vec::with_capacity(4 * BATCH),
            replies: Vec::with_capacity(4 * BATCH),
            collected: Collected::default(),
            n: 0,
            playout,
            batch: BATCH,
            batches: (0, 0),
        };
        link.begin();
        link
    }

    /// Sends the first frame both ways of doing it.
    fn begin(&mut self) {
        let first = self.kind.first_bytes();
        let now = self.ours.world.now();
        let mut sent = Vec::new();
        self.ours.send(now, &self.kind.data(&first, self.n), &mut sent);
        self.n += 1;
        for arrival in self.ours.address(0, sent) {
            self.ours.receive(now, &arrival, &mut self.replies);
        }
        self.ours.run(self.kind.interval());
        let now = self.engine.now();
        self.engine.ends[0].send(now, &first, self.kind, &mut self.collected);
        for packet in std::mem::take(&mut self.collected.packets) {
            self.engine.ends[1].receive(now, &packet, &mut self.collected);
        }
        self.engine.run_until(now + self.kind.interval());
    }

    /// A batch through ours: gives the times of sending and of receiving to `time`, which runs its argument.
    ///
    /// # Panics
    /// Where not every frame became a datagram, and every datagram a frame.
    pub fn ours<T>(&mut self, mut time: impl FnMut(&mut dyn FnMut()) -> T) -> (T, T) {
        let now = self.ours.world.now();
        let interval = self.kind.interval();
        let data: Vec<_> =
            (0..self.batch as u32).map(|n| self.kind.data(&self.bytes, self.n + n)).collect();
        self.n += self.batch as u32;
        let (ours, sent) = (&mut self.ours, &mut self.sent);
        let tx = time(&mut || {
            for (n, data) in data.iter().enumerate() {
                ours.send(now + interval * n as u32, data, sent);
            }
        });
        assert!(sent.len() >= self.batch, "a frame is a datagram, and reports go out too");
        let arrivals = ours.address(0, std::mem::replace(sent, Vec::with_capacity(4 * BATCH)));
        // What a connection says once a second is not what a packet costs.
        let (arrivals, others): (Vec<_>, Vec<_>) =
            arrivals.into_iter().partition(|arrival| is_rtp(&arrival.payload));
        for other in &others {
            ours.receive(now, other, &mut self.replies);
        }
        let mut frames = 0;
        let (replies, playout) = (&mut self.replies, self.playout);
        let rx = time(&mut || {
            for (n, arrival) in arrivals.iter().enumerate() {
                let now = now + interval * n as u32;
                frames += ours.receive(now, arrival, replies);
                if playout {
                    frames += ours.receiver_due(now, replies);
                }
            }
        });
        assert!(frames == self.batch || playout, "a datagram is a frame");
        let end = now + interval * self.batch as u32;
        ours.exchange(end, std::mem::replace(replies, Vec::with_capacity(4 * BATCH)));
        self.batches.0 += 1;
        let length = interval * self.batch as u32;
        self.ours.run(length + gap(length, self.batches.0));
        (tx, rx)
    }

    /// The same through the engine alone.
    ///
    /// # Panics
    /// Where not every frame became a datagram, and every datagram a frame.
    pub fn engine<T>(&mut self, mut time: impl FnMut(&mut dyn FnMut()) -> T) -> (T, T) {
        let now = self.engine.now();
        let interval = self.kind.interval();
        let (engine, collected) = (&mut self.engine, &mut self.collected);
        collected.packets.reserve(4 * BATCH);
        let (bytes, kind, batch) = (&self.bytes, self.kind, self.batch);
        let tx = time(&mut || {
            for n in 0..batch {
                engine.ends[0].send(now + interval * n as u32, bytes, kind, collected);
            }
        });
        assert!(collected.packets.len() >= batch, "a frame is a datagram, and reports go out too");
        let packets = std::mem::replace(&mut collected.packets, Vec::with_capacity(4 * BATCH));
        let (packets, others): (Vec<_>, Vec<_>) =
            packets.into_iter().partition(|packet| is_rtp(&packet.payload));
        for other in &others {
            engine.ends[1].take_in(now, other, collected);
        }
        collected.frames = 0;
        let rx = time(&mut || {
            for (n, packet) in packets.iter().enumerate() {
                let now = now + interval * n as u32;
                engine.ends[1].receive(now, packet, collected);
            }
        });
        assert_eq!(collected.frames, batch, "a datagram is a frame");
        let end = now + interval * self.batch as u32;
        engine.exchange_at(end, std::mem::take(&mut collected.packets));
        self.batches.1 += 1;
        engine.run_until(end + gap(end - now, self.batches.1));
        (tx, rx)
    }

    /// The size of a datagram of ours.
    pub fn datagram(&mut self) -> usize {
        let now = self.ours.world.now();
        let data = self.kind.data(&self.bytes, self.n);
        self.n += 1;
        let mut sent = Vec::new();
        self.ours.send(now, &data, &mut sent);
        sent.iter().map(|transmit| transmit.payload.len()).max().unwrap_or(0)
    }
}

/// Compares one packet to one receiver.
pub fn one_to_one(kind: Kind, rounds: usize) -> OneToOne {
    let mut found = OneToOne::default();
    let mut plain = Link::new(kind, false);
    let mut whole = Link::new(kind, true);
    let mut run = |act: &mut dyn FnMut()| timed(act);
    for round in 0..rounds + rounds / 10 {
        let (ours, engine);
        if round % 2 == 0 {
            ours = plain.ours(&mut run);
            engine = plain.engine(&mut run);
        } else {
            engine = plain.engine(&mut run);
            ours = plain.ours(&mut run);
        }
        let playout = whole.ours(&mut run);
        // The first tenth warms up.
        if round >= rounds / 10 {
            found.tx.add(ours.0, engine.0, BATCH);
            found.rx.add(ours.1, engine.1, BATCH);
            found.rx_with_playout.add(playout.1, engine.1, BATCH);
        }
    }
    found
}

/// Compares one frame to many receivers: a broadcast with as many writes of the engine.
pub fn one_to_many(kind: Kind, receivers: usize, rounds: usize) -> Comparison {
    let video = kind == Kind::Video;
    let mut ours = Star::connected(receivers, video);
    for host in &mut ours.world.hosts {
        host.transport.bypass_playout();
    }
    let mut engines: Vec<Pair> =
        (0..receivers).map(|n| Pair::connected(Instant::now(), n as u8, video)).collect();
    let bytes = kind.bytes();
    let mut found = Comparison::default();
    let mut broadcast = Broadcast { kind, n: 0, sent: Vec::new(), collected: Collected::default() };
    for round in 0..rounds + rounds / 10 {
        let (mine, other);
        if round % 2 == 0 {
            mine = broadcast.ours(&mut ours, &bytes);
            other = broadcast.engines(&mut engines, &bytes);
        } else {
            other = broadcast.engines(&mut engines, &bytes);
            mine = broadcast.ours(&mut ours, &bytes);
        }
        if round >= rounds / 10 {
            found.add(mine, other, BATCH);
        }
    }
    found
}

struct Broadcast {
    kind: Kind,
    n: u32,
    sent: Vec<Transmit>,
    collected: Collected,
}

impl Broadcast {
    fn ours(&mut self, ours: &mut Star, bytes: &Arc<[u8]>) -> Duration {
        let now = ours.world.now();
        let receivers = ours.world.hosts.len() - 1;
        let interval = self.kind.interval();
        let data: Vec<_> = (0..BATCH as u32).map(|n| self.kind.data(bytes, self.n + n)).collect();
        self.n += BATCH as u32;
        self.sent.reserve(2 * BATCH * receivers);
        let time = timed(|| {
            for (n, data) in data.iter().enumerate() {
                ours.broadcast(now + interval * n as u32, data, &mut self.sent);
            }
        });
        assert!(self.sent.len() >= BATCH * receivers, "a frame is a datagram to each");
        let mut replies = Vec::new();
        let arrivals = ours.address(0, std::mem::take(&mut self.sent));
        let last = now + interval * (BATCH - 1) as u32;
        for arrival in &arrivals {
            ours.receive(last, arrival, &mut replies);
        }
        ours.run(interval * BATCH as u32);
        time
    }

    fn engines(&mut self, engines: &mut [Pair], bytes: &Arc<[u8]>) -> Duration {
        let interval = self.kind.interval();
        let now = engines.iter().map(Pair::now).max().expect("receivers");
        self.collected.packets.reserve(2 * BATCH * engines.len());
        let time = timed(|| {
            for n in 0..BATCH {
                for engine in engines.iter_mut() {
                    let now = now + interval * n as u32;
                    engine.ends[0].send(now, bytes, self.kind, &mut self.collected);
                }
            }
        });
        let packets = std::mem::take(&mut self.collected.packets);
        assert!(packets.len() >= BATCH * engines.len(), "a frame is a datagram to each");
        let last = now + interval * (BATCH - 1) as u32;
        for packet in &packets {
            let engine = engines.iter_mut().find(|e| e.ends[1].address() == packet.to);
            engine.expect("a receiver").ends[1].receive(last, packet, &mut self.collected);
        }
        for engine in engines {
            engine.run_until(now + interval * BATCH as u32);
        }
        self.collected.packets.clear();
        time
    }
}
