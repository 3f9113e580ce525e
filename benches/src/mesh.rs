//! Whole meshes: over UDP on loopback with signaling over a WebSocket, and the same work in memory.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};

use rtcmesh_core::config::{Config, ReceivedAudio};
use rtcmesh_core::transport::Event;
use rtcmesh_runtime::{
    Events, Runtime, SignalingServer, SignalingServerOptions, TransportEvent, WebRtcTransport,
};
use rtcmesh_sim::World;
use tokio::sync::oneshot;

use crate::delay::tick_or;
use crate::engine::Pair;
use crate::measure::timed;
use crate::ours::channels;

/// How many channels are opened between two peers of ours.
const CHANNELS: usize = 3;

/// Nothing here takes a fraction of it.
const LIMIT: Duration = Duration::from_secs(60);

/// How long connecting took.
#[derive(Debug, Clone, Copy)]
pub struct Connecting {
    /// From the first `start` to the last open channel.
    pub whole: Duration,
    /// From the last announce's answer to the last open channel.
    pub from_last_announce: Duration,
}

/// A running mesh over UDP.
#[derive(Debug)]
pub struct Mesh<R: Runtime> {
    /// Its peers.
    pub peers: Vec<(WebRtcTransport<R>, Events<R>)>,
    server: SignalingServer<R>,
}

impl<R: Runtime> Mesh<R> {
    /// Starts a signaling server and as many peers at once, and waits until all are connected both ways,
    /// every channel open. Audio comes through the jitter buffers.
    ///
    /// # Panics
    /// Where something fails or takes a minute.
    pub async fn connect(runtime: &R, count: usize) -> (Self, Connecting) {
        Self::connect_receiving(runtime, count, ReceivedAudio::Encoded).await
    }

    /// The same with audio received in this way.
    ///
    /// # Panics
    /// Where something fails or takes a minute.
    pub async fn connect_receiving(
        runtime: &R,
        count: usize,
        received: ReceivedAudio,
    ) -> (Self, Connecting) {
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        let options = SignalingServerOptions::new();
        let server =
            SignalingServer::bind_in(runtime.clone(), [address], options).expect("a free port");
        let url = format!("ws://{}/", server.local_addr().expect("an address"));
        let mut peers = Vec::new();
        for n in 0..count {
            let mut config = Config::new(&url).peer_id(format!("p{n}")).max_peers(50);
            config.audio.received = received;
            let transport = WebRtcTransport::with_runtime(runtime.clone(), config);
            let transport = transport.expect("a valid configuration");
            let events = transport.events();
            peers.push((transport, events));
        }
        let start = Instant::now();
        let mut tasks = Vec::new();
        for (transport, mut events) in peers {
            let (answer, answered) = oneshot::channel();
            tasks.push(answered);
            let own = runtime.clone();
            runtime.spawn(async move {
                let mut limit = own.timer(start + LIMIT);
                transport.start().await.expect("the server answers");
                let announced = Instant::now();
                let mut open = 0;
                while open < CHANNELS * (count - 1) {
                    let next = tick_or(&mut limit, events.next()).await;
                    let event = next.expect("connected in time").expect("the mesh goes on");
                    if let TransportEvent::Event(event) = event {
                        match event {
                            Event::DataChannelOpen { .. } => open += 1,
                            Event::Failed { peer, fault } => panic!("{peer}: {fault}"),
                            _ => {}
                        }
                    }
                }
                let _ = answer.send((transport, events, announced, Instant::now()));
            });
        }
        let mut peers = Vec::new();
        let (mut announced, mut end) = (start, start);
        for task in tasks {
            let (transport, events, started, done) = task.await.expect("no peer fails");
            announced = announced.max(started);
            end = end.max(done);
            peers.push((transport, events));
        }
        let connecting = Connecting { whole: end - start, from_last_announce: end - announced };
        (Self { peers, server }, connecting)
    }

    /// Ends it.
    pub async fn shutdown(self) {
        for (transport, _) in &self.peers {
            transport.shutdown().await;
        }
        self.server.shutdown().await;
    }
}

/// The same transports in memory without delay, on one thread: what connecting costs at least.
///
/// # Panics
/// Where they do not become connected.
pub fn in_memory(count: usize) -> Duration {
    let mut world = World::new(11);
    world.weather().latency = Duration::ZERO;
    world.signaling_latency = Duration::ZERO;
    for n in 0..count {
        world.add(Config::new(World::URL).peer_id(format!("p{n}")).max_peers(50));
    }
    let wanted = CHANNELS * (count - 1);
    timed(|| {
        world.start_all();
        let done = |world: &World| (0..count).all(|host| channels(world, host) == wanted);
        assert!(world.run_until(done), "{count} peers are connected");
    })
}

/// As many connections of the engine alone, in memory, one after the other.
pub fn engine_in_memory(count: usize) {
    for _ in 0..count * (count - 1) / 2 {
        std::hint::black_box(Pair::connected(Instant::now(), 0, false));
    }
}
