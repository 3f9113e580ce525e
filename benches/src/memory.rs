//! Allocations per packet, and memory per connection, ours beside the engine's. Needs `dhat::Alloc` as the
//! process's allocator and a running profiler, and nothing else that allocates meanwhile.

use std::time::{Duration, Instant};

use rtcmesh_core::config::Config;
use rtcmesh_sim::World;

use crate::engine::Pair;
use crate::frames::Kind;
use crate::ours::channels;
use crate::packet::{BATCH, Link};

/// What an idle connection's end may take, in bytes.
pub const CONNECTION_GOAL: usize = 110 * 1024;

/// Packets that are measured, and as many before that warm up.
const BATCHES: usize = 40;

/// Allocations per packet.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct PerPacket {
    /// Ours when sending and when receiving, without our jitter buffer.
    pub ours: (f64, f64),
    /// The engine's when sending and when receiving.
    pub engine: (f64, f64),
}

impl PerPacket {
    /// What ours are more than the engine's: sending and receiving. The queues' growth is over, and reports
    /// that are made once a second fall upon either side at times: a hundredth is none.
    pub fn own(&self) -> (f64, f64) {
        (self.ours.0 - self.engine.0, self.ours.1 - self.engine.1)
    }
}

/// Counts the allocations of packets of a kind.
pub fn per_packet(kind: Kind) -> PerPacket {
    let mut link = Link::new(kind, false);
    let mut blocks = |act: &mut dyn FnMut()| {
        let before = dhat::HeapStats::get().total_blocks;
        act();
        dhat::HeapStats::get().total_blocks - before
    };
    for _ in 0..BATCHES {
        link.ours(&mut blocks);
        link.engine(&mut blocks);
    }
    let (mut ours, mut engine) = ((0, 0), (0, 0));
    for _ in 0..BATCHES {
        let (tx, rx) = link.ours(&mut blocks);
        ours = (ours.0 + tx, ours.1 + rx);
        let (tx, rx) = link.engine(&mut blocks);
        engine = (engine.0 + tx, engine.1 + rx);
    }
    let mean = |count: u64| count as f64 / (BATCHES * BATCH) as f64;
    PerPacket { ours: (mean(ours.0), mean(ours.1)), engine: (mean(engine.0), mean(engine.1)) }
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
