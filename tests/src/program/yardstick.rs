//! What the engine alone takes for the same packets: as many connections without anything of ours, in the same virtual
//! time, in turns with the world, so that both see the same moods of the machine.

use std::collections::VecDeque;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, Sender};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use rtcmesh_core::transport::BareEnd;
use rtcmesh_sim::scenario::{Plan, Progress};

use super::measure::{thread_cpu_seconds, times};

/// The world and the engine alone take turns after this much virtual time.
const SLICE: Duration = Duration::from_secs(2);

/// A packet of audio is this long, in time and in bytes: as scenarios send it.
const FRAME: Duration = Duration::from_millis(20);
const FRAME_SIZE: usize = 80;

/// What the engine alone took.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Yardstick {
    pub(super) cpu_seconds: f64,
    pub(super) datagrams: u64,
    /// Packets of audio sent, and received.
    pub(super) audio: (u64, u64),
}

impl Yardstick {
    /// How many times as long something took; `None`: its own time is below what the clock resolves.
    pub(super) fn over(&self, cpu_seconds: f64) -> Option<f64> {
        times(cpu_seconds, self.cpu_seconds)
    }
}

/// The engine alone, on a thread of its own.
pub(super) struct Turns {
    orders: Sender<Progress>,
    done: Receiver<()>,
    thread: JoinHandle<Yardstick>,
    next: Duration,
}

impl Turns {
    /// As many connections as the peers of a plan have among each other.
    pub(super) fn begin(plan: &Plan) -> Self {
        let (orders, taken) = mpsc::channel::<Progress>();
        let (tell, done) = mpsc::channel();
        let (seed, peers, latency) = (plan.seed, plan.peers.len(), plan.latency);
        let run = move || {
            let mut pairs = Pairs::new(seed, peers, latency);
            tell.send(()).ok();
            for progress in taken {
                pairs.go_on(progress);
                if tell.send(()).is_err() {
                    break;
                }
            }
            pairs.found
        };
        let thread = thread::spawn(move || rtcmesh_sim::isolated(seed, run));
        // Its first turn ends before anything else begins.
        done.recv().ok();
        Self { orders, done, thread, next: SLICE }
    }

    /// The world has come so far: the engine follows, when it is its turn.
    pub(super) fn follow(&mut self, progress: Progress) {
        if progress.elapsed >= self.next {
            self.next = progress.elapsed + SLICE;
            // One that has panicked says so at the end.
            if self.orders.send(progress).is_ok() {
                self.done.recv().ok();
            }
        }
    }

    /// What it took; `None`: it did not end well.
    pub(super) fn end(self) -> Option<Yardstick> {
        drop(self.orders);
        self.thread.join().ok()
    }
}

/// A datagram under way.
struct UnderWay {
    at: Instant,
    to: usize,
    payload: Vec<u8>,
}

/// Connections of the engine. The ends of one are neighbours in the list.
struct Pairs {
    ends: Vec<BareEnd>,
    latency: Duration,
    start: Instant,
    now: Instant,
    /// In order: all take equally long.
    under_way: VecDeque<UnderWay>,
    /// For each direction, as far as the world's last progress told it.
    frames: u64,
    opus: Arc<[u8]>,
    found: Yardstick,
}

impl Pairs {
    fn new(seed: u64, peers: usize, latency: Duration) -> Self {
        let now = Instant::now();
        let cpu = thread_cpu_seconds();
        let mut ends = Vec::new();
        for n in 0..peers * peers.saturating_sub(1) / 2 {
            let net = u16::try_from(n).unwrap_or(u16::MAX).to_be_bytes();
            let address = |host| SocketAddr::from((Ipv4Addr::new(10, net[0], net[1], host), 5_000));
            let pair = BareEnd::pair([address(1), address(2)], seed ^ n as u64, now);
            ends.extend(pair.expect("the engine takes its own descriptions"));
        }
        let mut opus = vec![0x5a; FRAME_SIZE];
        // RFC 6716, section 3.1: CELT, full band, 20 ms, mono, one frame.
        opus[0] = 0xf8;
        let mut pairs = Self {
            ends,
            latency,
            start: now,
            now,
            under_way: VecDeque::new(),
            frames: 0,
            opus: opus.into(),
            found: Yardstick::default(),
        };
        pairs.fetch_all();
        pairs.take_time(cpu);
        pairs
    }

    /// Up to where the world is, with as many packets of audio.
    fn go_on(&mut self, progress: Progress) {
        let cpu = thread_cpu_seconds();
        let end = self.start + progress.elapsed;
        let frames = progress.audio_packets / (self.ends.len() as u64).max(1);
        let new = std::mem::replace(&mut self.frames, frames);
        // The latest of them at the end of the turn, as a talk goes on.
        let mut left = frames - new;
        let begin = end.checked_sub(FRAME * u32::try_from(left).unwrap_or(u32::MAX));
        let mut tick = begin.unwrap_or(self.now).max(self.now);
        while left > 0 {
            self.run(tick);
            for index in 0..self.ends.len() {
                if self.ends[index].connected() {
                    self.ends[index].send_audio(self.now, &self.opus);
                    self.found.audio.0 += 1;
                    self.fetch(index);
                }
            }
            left -= 1;
            tick += FRAME;
        }
        self.run(end);
        self.found.audio.1 = self.ends.iter().map(BareEnd::received).sum();
        self.take_time(cpu);
    }

    fn take_time(&mut self, before: Option<f64>) {
        let took = before.zip(thread_cpu_seconds()).map(|(before, after)| after - before);
        self.found.cpu_seconds += took.unwrap_or(0.0);
    }

    fn run(&mut self, end: Instant) {
        loop {
            let due = self.ends.iter().map(BareEnd::due).min();
            let arrival = self.under_way.front().map(|datagram| datagram.at);
            let next = due.into_iter().chain(arrival).min();
            let Some(next) = next.filter(|next| *next <= end) else { break };
            self.now = self.now.max(next);
            while self.under_way.front().is_some_and(|datagram| datagram.at <= self.now)
                && let Some(UnderWay { to, payload, .. }) = self.under_way.pop_front()
            {
                self.ends[to].handle_datagram(self.now, &payload);
                self.fetch(to);
            }
            for index in 0..self.ends.len() {
                if self.ends[index].due() <= self.now {
                    self.ends[index].handle_timeout(self.now);
                    self.fetch(index);
                }
            }
        }
        self.now = self.now.max(end);
    }

    fn fetch_all(&mut self) {
        for index in 0..self.ends.len() {
            self.fetch(index);
        }
    }

    /// Sends what an end has to say.
    fn fetch(&mut self, index: usize) {
        let (at, to) = (self.now + self.latency, index ^ 1);
        for payload in self.ends[index].take_datagrams() {
            self.found.datagrams += 1;
            self.under_way.push_back(UnderWay { at, to, payload });
        }
    }
}
