//! Transports of ours that are connected in virtual time, and then called as an adapter calls them.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use rtcmesh_core::config::{Config, ConnectMode, ReceivedAudio};
use rtcmesh_core::id::SocketId;
use rtcmesh_core::media::RuntimeData;
use rtcmesh_core::net::{Datagram, Transmit};
use rtcmesh_core::transport::{Event, Transport};
use rtcmesh_sim::World;

/// How many channels are opened between two peers of ours.
const CHANNELS: usize = 3;

/// One sender and its receivers: the sender is host 0.
#[derive(Debug)]
pub struct Star {
    /// The world that they were connected in: it lets time pass between measurements.
    pub world: World,
    sockets: BTreeMap<SocketAddr, (usize, SocketId)>,
}

/// A datagram and who gets it.
#[derive(Debug)]
pub struct Arrival {
    host: usize,
    socket: SocketId,
    remote: SocketAddr,
    /// Its bytes.
    pub payload: Vec<u8>,
}

/// A host of a comparison.
fn config(name: usize, video: bool) -> Config {
    let mut config = Config::new(World::URL).peer_id(format!("p{name}")).max_peers(50);
    config.audio.received = ReceivedAudio::Encoded;
    config.video.enabled = video;
    config
}

impl Star {
    /// A sender that is connected to this many receivers, which do not know each other; all channels open.
    ///
    /// # Panics
    /// Where they do not become connected.
    pub fn connected(receivers: usize, video: bool) -> Self {
        Self::prepared(receivers, video, |_| ())
    }

    /// The same; `prepare` is called with each transport before its start.
    ///
    /// # Panics
    /// Where they do not become connected.
    pub fn prepared(receivers: usize, video: bool, prepare: impl FnMut(&mut Transport)) -> Self {
        let mut world = World::new(7);
        world.add(config(0, video));
        for receiver in 1..=receivers {
            world.add(config(receiver, video).connect(ConnectMode::Manual));
        }
        world.hosts.iter_mut().map(|host| &mut host.transport).for_each(prepare);
        world.start_all();
        assert!(world.run_until(|world| channels(world, 0) == receivers * CHANNELS));
        let all = |world: &World| (1..=receivers).all(|host| channels(world, host) == CHANNELS);
        assert!(world.run_until(all));
        let mut sockets = BTreeMap::new();
        for (index, host) in world.hosts.iter().enumerate() {
            for (socket, address) in host.sockets() {
                sockets.insert(address, (index, socket));
            }
        }
        Self { world, sockets }
    }

    /// The sending transport.
    pub fn sender(&mut self) -> &mut Transport {
        &mut self.world.hosts[0].transport
    }

    /// The first receiver's transport.
    pub fn receiver(&mut self) -> &mut Transport {
        &mut self.world.hosts[1].transport
    }

    /// Sends to the first receiver, from the command to its datagrams. Named in profiles.
    ///
    /// # Panics
    /// Where it is not taken.
    #[inline(never)]
    pub fn send(&mut self, now: Instant, data: &RuntimeData, out: &mut Vec<Transmit>) {
        let sender = self.sender();
        sender.send_to_peer(now, "p1", data).expect("a connected peer");
        poll(sender, out);
    }

    /// Sends to all receivers, from the command to its datagrams.
    ///
    /// # Panics
    /// Where somebody does not get it.
    pub fn broadcast(&mut self, now: Instant, data: &RuntimeData, out: &mut Vec<Transmit>) {
        let sender = self.sender();
        let stats = sender.broadcast(now, data).expect("connected peers");
        assert_eq!(stats.failed_count, 0);
        poll(sender, out);
    }

    /// Addresses what this host has sent.
    ///
    /// # Panics
    /// Where it goes to nobody.
    pub fn address(&self, from: usize, sent: Vec<Transmit>) -> Vec<Arrival> {
        let source = self.sockets.iter().find(|(_, owner)| owner.0 == from);
        let (remote, _) = source.expect("a host with a socket");
        let arrival = |transmit: Transmit| {
            let (host, socket) = self.sockets[&transmit.remote];
            Arrival { host, socket, remote: *remote, payload: transmit.payload }
        };
        sent.into_iter().map(arrival).collect()
    }

    /// A datagram comes in, up to its events: gives how many frames of media came out. Named in profiles.
    #[inline(never)]
    pub fn receive(&mut self, now: Instant, arrival: &Arrival, out: &mut Vec<Transmit>) -> usize {
        let transport = &mut self.world.hosts[arrival.host].transport;
        let Arrival { socket, remote, payload, .. } = arrival;
        let datagram = Datagram { socket: *socket, remote: *remote, payload };
        transport.handle_datagram(now, datagram);
        poll(transport, out)
    }

    /// Carries what the first receiver has sent, and all that follows from it between the two.
    pub fn exchange(&mut self, now: Instant, replies: Vec<Transmit>) {
        let (mut from, mut under_way) = (1, replies);
        while !under_way.is_empty() {
            let mut answers = Vec::new();
            for arrival in self.address(from, under_way) {
                self.receive(now, &arrival, &mut answers);
            }
            (from, under_way) = (1 - from, answers);
        }
    }

    /// The first receiver's timers: gives how many frames of media came out.
    pub fn receiver_due(&mut self, now: Instant, out: &mut Vec<Transmit>) -> usize {
        let receiver = self.receiver();
        if receiver.poll_timeout().is_some_and(|due| due.at <= now) {
            receiver.handle_timeout(now);
            return poll(receiver, out);
        }
        0
    }

    /// Lets time pass, and forgets what was reported.
    pub fn run(&mut self, duration: Duration) {
        self.world.run(duration);
        for host in &mut self.world.hosts {
            host.events.clear();
            host.media.clear();
        }
    }
}

/// How many channels of a host have been opened.
pub fn channels(world: &World, host: usize) -> usize {
    world.hosts[host].count(|event| matches!(event, Event::DataChannelOpen { .. }))
}

/// Fetches everything, as an adapter does: gives how many frames of media there were.
fn poll(transport: &mut Transport, out: &mut Vec<Transmit>) -> usize {
    while let Some(transmit) = transport.poll_transmit() {
        out.push(transmit);
    }
    while let Some(command) = transport.poll_command() {
        std::hint::black_box(command);
    }
    while let Some(outcome) = transport.poll_outcome() {
        std::hint::black_box(outcome);
    }
    while let Some(event) = transport.poll_event() {
        std::hint::black_box(event);
    }
    let mut frames = 0;
    while let Some(media) = transport.poll_media() {
        std::hint::black_box(media);
        frames += 1;
    }
    std::hint::black_box(transport.poll_timeout());
    frames
}
