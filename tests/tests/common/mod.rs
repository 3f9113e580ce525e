//! What the suites of meshes share: configurations, worlds that are connected, signals to hear.
#![allow(dead_code)]

use std::f32::consts::TAU;
use std::time::Duration;

use rtcmesh_core::config::{Config, ConnectMode};
use rtcmesh_core::id::PeerId;
use rtcmesh_core::media::{AudioBuffer, DataMessage, RuntimeData};
use rtcmesh_core::transport::{AudioData, Event, Media};
use rtcmesh_sim::World;

pub(crate) fn id(name: &str) -> PeerId {
    PeerId::new(name).expect("a valid id")
}

/// Connects to everybody by itself.
pub(crate) fn automatic(name: &str) -> Config {
    Config::new(World::URL).peer_id(name).max_peers(50)
}

/// Connects only on command.
pub(crate) fn manual(name: &str) -> Config {
    automatic(name).connect(ConnectMode::Manual)
}

/// Hosts `p0`, `p1`, … that are all connected with all.
pub(crate) fn mesh(seed: u64, count: usize) -> World {
    let mut world = World::new(seed);
    for n in 0..count {
        world.add(automatic(&format!("p{n}")));
    }
    world.start_all();
    assert!(world.run_until(World::all_connected), "{count} peers are connected");
    world
}

/// Hosts that are started and announced, and connected with nobody.
pub(crate) fn strangers(seed: u64, configs: impl IntoIterator<Item = Config>) -> World {
    let mut world = World::new(seed);
    for config in configs {
        world.add(config);
    }
    world.start_all();
    let count = world.hosts.len();
    let announced = |world: &World| {
        let known = |host: usize| world.hosts[host].transport.known_peers();
        (0..count).all(|host| known(host).is_ok_and(|peers| peers.len() == count - 1))
    };
    assert!(world.run_until(announced), "all are announced to all");
    world
}

/// Runs until the data channels of all connections are open.
pub(crate) fn channels_open(world: &mut World) {
    let open = |world: &World| {
        let others = world.hosts.len() - 1;
        let opened = |event: &Event| matches!(event, Event::DataChannelOpen { label: "data", .. });
        world.hosts.iter().all(|host| host.count(opened) >= others)
    };
    assert!(world.run_until(open), "all channels are open");
}

/// 20 ms of a sine at 48 kHz, the `n`th of its stream.
pub(crate) fn tone(hz: f32, n: usize) -> RuntimeData {
    let sample = |k: usize| 0.3 * (TAU * hz * (n * 960 + k) as f32 / 48_000.0).sin();
    RuntimeData::Audio(AudioBuffer {
        samples: (0..960).map(sample).collect(),
        sample_rate: 48_000,
        channels: 1,
    })
}

/// The share of a signal's energy that lies at `hz` (Goertzel's algorithm).
pub(crate) fn share_at(samples: &[f32], hz: f64) -> f64 {
    let coefficient = 2.0 * (std::f64::consts::TAU * hz / 48_000.0).cos();
    let (mut before, mut last) = (0.0, 0.0);
    for sample in samples {
        (before, last) = (last, f64::from(*sample) + coefficient * last - before);
    }
    let at = (last * last + before * before - coefficient * last * before) * 2.0;
    let all: f64 = samples.iter().map(|sample| f64::from(*sample).powi(2)).sum();
    at / (all * samples.len() as f64).max(1e-12)
}

/// What a host has heard of a peer, as samples.
pub(crate) fn heard(world: &World, host: usize, from: &PeerId) -> Vec<f32> {
    let mut samples = Vec::new();
    for media in &world.hosts[host].media {
        if let Media::Audio { peer, frame, .. } = media
            && peer == from
            && let AudioData::Decoded(audio) = &frame.data
        {
            samples.extend_from_slice(&audio.samples);
        }
    }
    samples
}

/// What a host got from a peer over data channels, in order.
pub(crate) fn messages(world: &World, host: usize, from: &PeerId) -> Vec<DataMessage> {
    let message = |event: &Event| match event {
        Event::Data { peer, message, .. } if peer == from => Some(message.clone()),
        _ => None,
    };
    world.hosts[host].events.iter().filter_map(message).collect()
}

/// Every host broadcasts a tone of its own for this many frames of 20 ms.
pub(crate) fn talk(world: &mut World, hz: impl Fn(usize) -> f32, frames: usize) {
    for n in 0..frames {
        for host in 0..world.hosts.len() {
            let data = tone(hz(host), n);
            world
                .act(host, |transport, now| transport.broadcast(now, &data))
                .expect("somebody is connected");
        }
        world.run(Duration::from_millis(20));
    }
}
