//! Allocations per packet, and memory per connection, ours beside the engine's. Needs `dhat::Alloc` as the
//! process's allocator and a running profiler, and nothing else that allocates meanwhile.

use std::time::{Duration, Instant};

use rtcmesh_core::config::Config;
use rtcmesh_sim::World;

use crate::driver::{Echo, Load, Side};
use crate::engine::Pair;
use crate::frames::Kind;
use crate::measure::median;
use crate::ours::channels;
use crate::packet::Link;
use crate::sync::callback::Callback;
use crate::sync::manager::Fed;

/// What an idle connection's end may take, in bytes.
pub const CONNECTION_GOAL: usize = 110 * 1024;

/// Packets that are measured, and as many before that warm up: the queues' growth is over then.
const PACKETS: usize = 500;

/// Allocations per packet: medians, since reports go out with some of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PerPacket {
    /// Ours when sending and when receiving, without our jitter buffer.
    pub ours: (u64, u64),
    /// The engine's when sending and when receiving.
    pub engine: (u64, u64),
}

/// Counts the allocations of packets of a kind.
pub fn per_packet(kind: Kind) -> PerPacket {
    let mut link = Link::new(kind, false);
    link.batch = 1;
    let mut blocks = |act: &mut dyn FnMut()| {
        let before = dhat::HeapStats::get().total_blocks;
        act();
        dhat::HeapStats::get().total_blocks - before
    };
    let mut counts: [Vec<u64>; 4] = std::array::from_fn(|_| Vec::with_capacity(2 * PACKETS));
    for packet in 0..2 * PACKETS {
        let (ours, engine) = (link.ours(&mut blocks), link.engine(&mut blocks));
        if packet >= PACKETS {
            for (counts, count) in counts.iter_mut().zip([ours.0, ours.1, engine.0, engine.1]) {
                counts.push(count);
            }
        }
    }
    let [ours_tx, ours_rx, engine_tx, engine_rx] =
        counts.map(|counts| median(counts.into_iter().map(|count| count as f64)) as u64);
    PerPacket { ours: (ours_tx, ours_rx), engine: (engine_tx, engine_rx) }
}

/// Allocations of a sync manager for so many packets of audio and frames of video, after as many that warm
/// up.
pub fn sync_manager(packets: u64) -> u64 {
    let mut fed = Fed::new(true);
    fed.feed(packets);
    let before = dhat::HeapStats::get().total_blocks;
    fed.feed(packets);
    dhat::HeapStats::get().total_blocks - before
}

/// Allocations of a jitter buffer, a renderer and libopus for so many packets, after as many that warm up.
///
/// # Panics
/// Where not all of it was in use: concealment, copies, stretching.
pub fn callback(packets: u64) -> u64 {
    let mut callback = Callback::new();
    callback.run(packets);
    let before = dhat::HeapStats::get().total_blocks;
    callback.run(packets);
    let after = dhat::HeapStats::get().total_blocks;
    assert!(callback.heard().iter().all(|&samples| samples > 0), "{:?}", callback.heard());
    after - before
}

/// What a driver took for a number of datagrams in and out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Driven {
    /// Allocations of the process, without those of the machine.
    pub ours: u64,
    /// Those of the machine, one a datagram that it sends.
    pub machines: u64,
    /// How often the driver was polled, on smol alone.
    pub polls: u64,
}

/// Counts the allocations of a driver for so many datagrams. With a `tick` its machine wants to be called so often, which takes
/// a timer. Larger bursts than those that count warm up.
pub fn driver(side: Side, tick: Option<Duration>, datagrams: usize) -> Driven {
    let echo = Echo::start(side, tick);
    let mut loads: Vec<_> = [(1, 12, 80), (1, 12, 1200), (12, 1, 80)]
        .map(|(places, burst, size)| Load::new(places, burst, size, false))
        .into_iter()
        .collect();
    loads.push(Load::new(1, 12, 1200, true));
    let mut run = |rounds: usize| {
        for load in &mut loads {
            (0..rounds).for_each(|_| load.burst(&echo));
        }
    };
    run(100);
    let (before, sent, polls) = (dhat::HeapStats::get().total_blocks, echo.sent(), echo.polls());
    run(datagrams.div_ceil(4 * 12));
    let after = dhat::HeapStats::get().total_blocks;
    let machines = echo.sent() - sent;
    let ours = (after - before).saturating_sub(machines);
    Driven { ours, machines, polls: echo.polls() - polls }
}

fn live() -> usize {
    dhat::HeapStats::get().curr_bytes
}

/// Bytes of one end of an idle connection with audio and data: the growth of a mesh from `from` to `to`
/// peers, over the ends that it has more.
///
/// # Panics
/// Where the meshes do not become connected.
pub fn connection(from: usize, to: usize) -> usize {
    let ends = |peers: usize| peers * (peers - 1);
    let (small, large) = (mesh(from), mesh(to));
    large.saturating_sub(small) / (ends(to) - ends(from))
}

/// Bytes of a whole mesh of transports, idle: without the world around them.
fn mesh(peers: usize) -> usize {
    let mut world = World::new(3);
    for n in 0..peers {
        world.add(Config::new(World::URL).peer_id(format!("p{n}")).max_peers(50));
    }
    world.start_all();
    let done = |world: &World| (0..peers).all(|host| channels(world, host) == 3 * (peers - 1));
    assert!(world.run_until(done), "{peers} peers are connected");
    // What connecting needed and an idle connection does not is over.
    world.run(Duration::from_secs(5));
    for host in &mut world.hosts {
        host.events = Vec::new();
    }
    let before = live();
    world.hosts.clear();
    before - live()
}

/// Bytes of one end of an idle connection of the engine alone.
pub fn engine_connection() -> usize {
    let mut pair = Pair::connected(Instant::now(), 0, false);
    pair.run_until(pair.now() + Duration::from_secs(5));
    let before = live();
    drop(pair);
    (before - live()) / 2
}
