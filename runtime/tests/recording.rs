//! Recordings of a transport into files, and those that are refused.

use std::io::ErrorKind;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use rtcmesh_tokio::config::Config;
use rtcmesh_tokio::trace::RecordOptions;
use rtcmesh_tokio::{Replay, WebRtcTransport};

fn transport() -> WebRtcTransport {
    // Nobody listens on the discard port.
    WebRtcTransport::new(Config::new("ws://127.0.0.1:9/").peer_id("alice"))
        .expect("a valid configuration")
}

fn path(name: &str) -> PathBuf {
    let name = format!("recording-{}-{name}", std::process::id());
    PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(name)
}

#[tokio::test]
async fn a_ring_is_written_at_its_end_and_replayed() {
    let path = path("ring");
    let mut options = RecordOptions::default();
    (options.ring, options.max_bytes) = (true, 64 * 1024);
    let transport = transport();
    let recording = transport.record_to(&path, &options).unwrap();
    for _ in 0..1_000 {
        assert!(transport.buffered_amount("nobody").is_err());
    }
    recording.finish().unwrap();
    let replay = Replay::new(std::fs::read(&path).unwrap(), Instant::now()).unwrap();
    assert!(replay.header().ring, "1,000 calls take more than 64 KiB");
    let report = replay.run();
    assert!(report.is_equal() && report.ended.is_none(), "{report:?}");
    assert!((100..1_000).contains(&report.calls), "{report:?}");
    std::fs::remove_file(&path).unwrap();
}

#[tokio::test]
async fn a_call_that_comes_too_late_leaves_the_running_recording_whole() {
    let path = path("late");
    let options = RecordOptions::default();
    let transport = transport();
    let recording = transport.record_to(&path, &options).unwrap();
    let starting = tokio::time::timeout(Duration::ZERO, transport.start()).await;
    assert!(starting.is_err(), "it has begun to start");
    let error = transport.record_to(&path, &options).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidInput);
    recording.finish().unwrap();
    let before = std::fs::read(&path).unwrap();
    assert!(!before.is_empty());
    assert_eq!(transport.record_to(&path, &options).unwrap_err().kind(), ErrorKind::InvalidInput);
    assert_eq!(std::fs::read(&path).unwrap(), before);
    std::fs::remove_file(&path).unwrap();
    transport.shutdown().await;
}

#[tokio::test]
async fn a_file_that_cannot_be_made_takes_no_recording() {
    let options = RecordOptions::default();
    let transport = transport();
    let nowhere = path("no-such-folder").join("file");
    let error = transport.record_to(&nowhere, &options).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound);
    let path = path("second");
    transport.record_to(&path, &options).unwrap().finish().unwrap();
    assert!(!std::fs::read(&path).unwrap().is_empty());
    std::fs::remove_file(&path).unwrap();
}

#[tokio::test]
async fn a_refused_recording_leaves_no_file_behind() {
    let (first, second) = (path("once"), path("twice"));
    let options = RecordOptions::default();
    let transport = transport();
    let recording = transport.record_to(&first, &options).unwrap();
    let error = transport.record_to(&second, &options).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidInput);
    assert!(!second.exists());
    recording.finish().unwrap();
    std::fs::remove_file(&first).unwrap();
}
