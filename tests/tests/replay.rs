//! Recordings of whole meshes are replayed to their end, and what differs is named.

mod common;

use std::sync::Arc;
use std::time::{Duration, Instant};

use common::automatic;
use rtcmesh_core::config::{AudioSettings, ReceivedAudio};
use rtcmesh_core::media::{EncodedAudio, RuntimeData};
use rtcmesh_core::trace::{RecordOptions, Recorder};
use rtcmesh_core::transport::{Replay, ReplayReport};
use rtcmesh_sim::World;

fn record(world: &mut World, options: &RecordOptions) -> Vec<Recorder> {
    let hosts = world.hosts.iter_mut();
    hosts.map(|host| host.transport.record(options).expect("not started")).collect()
}

fn replay(recording: Vec<u8>) -> ReplayReport {
    Replay::new(recording, Instant::now()).expect("a recording").run()
}

#[test]
fn a_connection_with_data_is_replayed() {
    let mut world = World::new(7);
    let mut config = |name: &str| {
        let mut audio = AudioSettings::default();
        audio.received = ReceivedAudio::Encoded;
        world.add(automatic(name).audio(audio))
    };
    let (a, b) = (config("a"), config("b"));
    let recorders = record(&mut world, &RecordOptions::default());
    world.start_all();
    assert!(world.run_until(World::all_connected));
    world.run(Duration::from_secs(1));
    let _ = (a, b);
    for n in 0..100 {
        let text = RuntimeData::Text(format!("message {n}").into());
        world.act(a, |transport, now| transport.broadcast(now, &text)).unwrap();
        let packet = RuntimeData::EncodedAudio(EncodedAudio {
            opus: Arc::from([0xf8, 0xff, 0xfe]),
            duration: Duration::from_millis(20),
        });
        world.act(b, |transport, now| transport.broadcast(now, &packet)).unwrap();
        world.run(Duration::from_millis(20));
    }
    world.act(a, |transport, now| transport.shutdown(now));
    world.run(Duration::from_secs(1));
    for recorder in recorders {
        let recording = recorder.take();
        let size = recording.len();
        let report = replay(recording);
        eprintln!("{size} bytes: {report:?}");
        assert!(report.is_equal() && report.ended.is_none() && report.calls > 200);
    }
}
