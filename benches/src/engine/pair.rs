//! Two ends of the engine that are connected in memory, without any delay.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};

use super::{Collected, End, Packet};

/// Longer than connecting takes without delay, by far.
const LIMIT: Duration = Duration::from_secs(10);

/// Two ends.
#[derive(Debug)]
pub struct Pair {
    /// The ends; the first has offered.
    pub ends: [End; 2],
    now: Instant,
    /// Used again at each exchange.
    scratch: [Collected; 2],
}

impl Pair {
    /// Two ends that know each other's descriptions, with addresses of this net.
    pub fn negotiated(now: Instant, net: u8, video: bool) -> Self {
        let address = |n: u8| SocketAddr::from((Ipv4Addr::new(10, 0, net, n), 5_000));
        let mut ends = [End::new(now, address(1)), End::new(now, address(2))];
        let mut scratch = [Collected::default(), Collected::default()];
        let (offer, pending) = ends[0].offer(now, video, &mut scratch[0]);
        let answer = ends[1].answer(now, &offer, &mut scratch[1]);
        ends[0].accept(now, pending, &answer, &mut scratch[0]);
        Self { ends, now, scratch }
    }

    /// Two ends that are connected, all channels open.
    ///
    /// # Panics
    /// Where they do not become so.
    pub fn connected(now: Instant, net: u8, video: bool) -> Self {
        let mut pair = Self::negotiated(now, net, video);
        let limit = now + LIMIT;
        while !pair.ready() {
            pair.step();
            assert!(pair.now < limit, "the engine connects");
        }
        for end in &mut pair.ends {
            end.settle();
        }
        pair
    }

    /// Whether both are connected, all channels open.
    pub fn ready(&self) -> bool {
        self.ends.iter().all(End::ready)
    }

    /// The present.
    pub const fn now(&self) -> Instant {
        self.now
    }

    /// Exchanges everything, then goes to the next deadline.
    pub fn step(&mut self) {
        self.exchange();
        if !self.ready() {
            let due = self.ends[0].due().min(self.ends[1].due());
            self.now = self.now.max(due);
            self.fire();
        }
    }

    /// Lets time pass, deadline by deadline.
    pub fn run_until(&mut self, end: Instant) {
        loop {
            self.exchange();
            let due = self.ends[0].due().min(self.ends[1].due());
            if due > end {
                break;
            }
            self.now = self.now.max(due);
            self.fire();
        }
        self.now = end;
    }

    fn fire(&mut self) {
        for (end, collected) in self.ends.iter_mut().zip(&mut self.scratch) {
            end.run_due(self.now, collected);
        }
    }

    /// Carries what the second end has sent, and all that follows from it.
    pub fn exchange_at(&mut self, now: Instant, packets: Vec<Packet>) {
        self.now = self.now.max(now);
        self.scratch[1].packets.extend(packets);
        self.exchange();
    }

    fn exchange(&mut self) {
        loop {
            let mut moved = false;
            for from in 0..2 {
                let packets = std::mem::take(&mut self.scratch[from].packets);
                for packet in &packets {
                    moved = true;
                    let to = 1 - from;
                    self.ends[to].take_in(self.now, packet, &mut self.scratch[to]);
                }
            }
            if !moved {
                return;
            }
        }
    }
}
