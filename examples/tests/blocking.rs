//! The core in a plain loop, as an example has it: it hears a real peer.

#![allow(clippy::unwrap_used, clippy::print_stderr)]

use std::f32::consts::TAU;
use std::process::Stdio;
use std::time::Duration;

use rtcmesh_runtime::SignalingServerOptions;
use rtcmesh_tokio::config::Config;
use rtcmesh_tokio::media::{AudioBuffer, RuntimeData};
use rtcmesh_tokio::{SignalingServer, WebRtcTransport};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::Command;
use tokio::time::{interval, timeout};

/// Far longer than it takes.
const LIMIT: Duration = Duration::from_secs(60);

#[tokio::test(flavor = "multi_thread")]
async fn it_hears_a_peer() {
    let options = SignalingServerOptions::new();
    let server = SignalingServer::bind([([127, 0, 0, 1], 0).into()], options).unwrap();
    let addr = server.local_addr().unwrap().to_string();
    let peer = WebRtcTransport::new(Config::new(format!("ws://{addr}/")).peer_id("peer")).unwrap();
    peer.start().await.unwrap();
    let speaker = peer.clone();
    let speaking = tokio::spawn(async move {
        let samples = (0..960).map(|n| (TAU * n as f32 / 96.0).sin() / 2.0).collect();
        let tone = AudioBuffer { samples, sample_rate: 48_000, channels: 1 };
        let mut ticks = interval(Duration::from_millis(20));
        loop {
            ticks.tick().await;
            // An error says that nobody is there yet.
            let _ = speaker.broadcast(&RuntimeData::Audio(tone.clone()));
        }
    });

    let mut child = Command::new(env!("CARGO_BIN_EXE_blocking"));
    let mut child = child.arg(&addr).stdout(Stdio::piped()).kill_on_drop(true).spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let heard = async {
        loop {
            let line = lines.next_line().await.unwrap().expect("it has ended");
            eprintln!("{line}");
            let level =
                line.strip_prefix("peer is heard: ").and_then(|rest| rest.split(' ').next());
            if level.is_some_and(|level| (40..=60).contains(&level.parse::<u32>().unwrap())) {
                break;
            }
        }
    };
    timeout(LIMIT, heard).await.expect("the tone was not heard");
    speaking.abort();
    peer.shutdown().await;
    server.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_reader_it_ends_with_an_error_and_no_panic() {
    let options = SignalingServerOptions::new();
    let server = SignalingServer::bind([([127, 0, 0, 1], 0).into()], options).unwrap();
    let addr = server.local_addr().unwrap().to_string();
    let mut child = Command::new(env!("CARGO_BIN_EXE_blocking"));
    child.arg(&addr).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
    let mut child = child.spawn().unwrap();
    drop(child.stdout.take());
    let output = timeout(LIMIT, child.wait_with_output()).await.expect("it hangs").unwrap();
    let told = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{told}");
    assert!(told.contains("BrokenPipe") && !told.contains("panicked"), "{told}");
    server.shutdown().await;
}

#[test]
fn it_is_short() {
    let lines = include_str!("../blocking.rs").lines().count();
    assert!(lines < 80, "{lines} lines");
}

#[test]
fn its_description_shows_it_as_it_is() {
    let description = include_str!("../../docs/embedding.md");
    let mut blocks = 0;
    for block in description.split("```rust,ignore\n").skip(1) {
        let code = block.split("```").next().unwrap();
        let source = include_str!("../blocking.rs");
        assert!(source.contains(code), "not in examples/blocking.rs:\n{code}");
        blocks += 1;
    }
    assert!(blocks >= 5, "{blocks} pieces of it are shown");
}
