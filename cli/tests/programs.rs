//! The program as its users run it: whole processes that hear each other over loopback.

#![allow(clippy::unwrap_used, clippy::print_stderr)]

use std::path::PathBuf;
use std::process::{Command, ExitStatus, Output, Stdio};
use std::time::Duration;

use rtcmesh_runtime::SignalingServerOptions;
use rtcmesh_tokio::config::{Config, ConnectMode};
use rtcmesh_tokio::media::{DataMessage, RuntimeData};
use rtcmesh_tokio::trace::RecordOptions;
use rtcmesh_tokio::{Event, Events, SignalingServer, TransportEvent, WebRtcTransport};
use serde_json::Value;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::process;
use tokio::time::timeout;

/// Far longer than anything here takes: only a program that hangs gets there.
const LIMIT: Duration = Duration::from_secs(60);

struct Room {
    server: SignalingServer,
    url: String,
}

impl Room {
    fn open() -> Self {
        let addr = ([127, 0, 0, 1], 0).into();
        let server = SignalingServer::bind([addr], SignalingServerOptions::new()).unwrap();
        let url = format!("ws://{}/", server.local_addr().unwrap());
        Self { server, url }
    }

    /// `rtcmesh join` in this room.
    fn join(&self, id: &str, words: &[&str]) -> process::Command {
        let mut command = process::Command::new(env!("CARGO_BIN_EXE_rtcmesh"));
        command.args(["join", "--url", &self.url, "--id", id, "--json"]).args(words);
        command.stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
        command
    }
}

/// The JSON lines of a program, and its exit code.
async fn result(command: &mut process::Command) -> (Vec<Value>, Option<i32>) {
    let Output { stdout, stderr, status } =
        timeout(LIMIT, command.output()).await.expect("the program hangs").unwrap();
    eprintln!("{}", String::from_utf8_lossy(&stderr));
    let stdout = String::from_utf8(stdout).unwrap();
    (stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect(), status.code())
}

fn names(events: &[Value]) -> Vec<&str> {
    events.iter().map(|event| event["event"].as_str().unwrap()).collect()
}

fn near(value: &Value, hz: f64) -> bool {
    value.as_f64().is_some_and(|found| (found - hz).abs() < hz * 0.01)
}

fn run(words: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_rtcmesh")).args(words).output().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn two_peers_hear_each_others_tone_and_part_in_peace() {
    let room = Room::open();
    let folder: PathBuf = std::env::temp_dir().join(format!("rtcmesh-join-{}", std::process::id()));
    let record = folder.to_str().unwrap();
    let words = ["--seconds", "2", "--connect", "none", "--audio", "tone:880"];
    let mut answering = room.join("bob", &words);
    let words = ["--seconds", "2", "--connect", "bob", "--audio", "tone:440", "--record", record];
    let mut calling = room.join("alice", &words);
    let ((bob, bobs_code), (alice, alices_code)) =
        tokio::join!(result(&mut answering), result(&mut calling));
    assert_eq!((alices_code, bobs_code), (Some(0), Some(0)), "{alice:?} {bob:?}");
    let is_figure = |event: &Value| event["event"] == "quality" || event["event"] == "sync";
    for (lines, other) in [(&alice, "bob"), (&bob, "alice")] {
        let quality = lines.iter().rfind(|line| line["event"] == "quality").unwrap();
        let sync = &quality["sync"];
        assert_eq!((&quality["peer"], &sync["video_frames"]), (&other.into(), &0.into()));
        assert!(sync["audio_delay_ms"].as_f64().unwrap() > 0.0, "{quality}");
    }
    let rest = |lines: Vec<Value>| lines.into_iter().filter(|line| !is_figure(line)).collect();
    let (alice, bob): (Vec<Value>, Vec<Value>) = (rest(alice), rest(bob));
    for (lines, me, other, hz) in [(&alice, "alice", "bob", 880.0), (&bob, "bob", "alice", 440.0)] {
        let order = ["announced", "connecting", "connected", "closed", "summary"];
        assert_eq!(names(lines), order, "{me}");
        let summary = lines.last().unwrap();
        assert_eq!(summary["id"], me);
        let peer = &summary["peers"][0];
        assert_eq!(peer["peer"], other);
        assert!(near(&peer["tone_hz"], hz), "{peer}");
        assert!(peer["audio_packets_in"].as_u64().unwrap() > 50, "{peer}");
        assert_eq!(lines[2]["ms"], peer["connected_ms"]);
    }
    // The side that only answers waits for the other one to leave.
    assert_eq!(alice[3]["reason"], "closed by us");
    assert_eq!(bob[3]["reason"], "closed by the peer");
    let recording = hound::WavReader::open(folder.join("bob.wav")).unwrap();
    assert_eq!((recording.spec().sample_rate, recording.spec().channels), (48_000, 1));
    assert!(recording.duration() > 48_000, "{} samples", recording.duration());
    std::fs::remove_dir_all(folder).unwrap();
    room.server.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_peer_records_is_replayed() {
    let room = Room::open();
    let file = std::env::temp_dir().join(format!("rtcmesh-trace-{}", std::process::id()));
    let path = file.to_str().unwrap();
    let words = ["--seconds", "2", "--connect", "none", "--mask-addresses", "--trace", path];
    let mut answering = room.join("bob", &words);
    let mut calling = room.join("alice", &["--seconds", "2", "--connect", "bob"]);
    let (bob, alice) = tokio::join!(result(&mut answering), result(&mut calling));
    assert_eq!((bob.1, alice.1), (Some(0), Some(0)));
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        let mode = std::fs::metadata(&file).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "it is for its owner alone");
    }
    let replayed = run(&["replay", path, "--json"]);
    let report: Value = serde_json::from_slice(&replayed.stdout).unwrap();
    assert_eq!((replayed.status.code(), &report["equal"]), (Some(0), &true.into()), "{report}");
    assert_eq!((&report["peer"], &report["ended"]), (&"bob".into(), &Value::Null));
    assert!(report["seconds"].as_f64().unwrap() > 2.0, "{report}");
    assert!(report["calls"].as_u64().unwrap() > 200, "{report}");
    let words = String::from_utf8(run(&["replay", path]).stdout).unwrap();
    assert_eq!(words.lines().nth(1), Some("Everything went as recorded."), "{words}");
    let shown = String::from_utf8(run(&["replay", "--show", path]).stdout).unwrap();
    assert!(shown.lines().count() > 500 && shown.contains("Connected"));

    std::fs::write(&file, "something else").unwrap();
    let foreign = run(&["replay", path]);
    assert_eq!(foreign.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&foreign.stderr).contains("no recording"), "{foreign:?}");
    std::fs::remove_file(file).unwrap();
    room.server.shutdown().await;
}

#[tokio::test]
async fn a_ring_is_replayed_from_its_first_entry_or_from_the_state_before_it() {
    let file = std::env::temp_dir().join(format!("rtcmesh-ring-{}", std::process::id()));
    let path = file.to_str().unwrap();
    let peer = WebRtcTransport::new(Config::new("ws://127.0.0.1:9/").peer_id("me")).unwrap();
    let mut options = RecordOptions::default();
    (options.ring, options.max_bytes, options.contents) = (true, 64 * 1024, true);
    let ring = peer.recorder(&options).unwrap();
    let ask = || assert!(peer.buffered_amount("nobody").is_err());
    (0..10).for_each(|_| ask());
    std::fs::write(&file, ring.take()).unwrap();
    let replayed = run(&["replay", path]);
    assert!(replayed.status.success(), "{replayed:?}");
    let words = String::from_utf8(replayed.stdout).unwrap();
    assert!(words.contains("10 calls") && words.contains("as recorded"), "{words}");

    while ring.dropped() == 0 {
        ask();
    }
    std::fs::write(&file, ring.take()).unwrap();
    let replayed = run(&["replay", path]);
    assert!(replayed.status.success(), "{replayed:?}");
    let words = String::from_utf8(replayed.stdout).unwrap();
    assert!(words.contains("the latest entries") && words.contains("as recorded"), "{words}");
    // What has no room at all leaves a gap.
    let large = RuntimeData::Text("x".repeat(64 * 1024).into());
    assert!(peer.broadcast(&large).is_err());
    std::fs::write(&file, ring.take()).unwrap();
    let refused = run(&["replay", path]);
    assert_eq!(refused.status.code(), Some(1), "{refused:?}");
    let reason = String::from_utf8(refused.stderr).unwrap();
    assert!(reason.contains("found no room") && reason.contains("--show"), "{reason}");
    let shown = run(&["replay", "--show", path]);
    assert!(shown.status.success() && shown.stdout.len() > 1_000, "{}", shown.status);
    std::fs::remove_file(file).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn peers_that_send_no_audio_need_not_be_heard() {
    let room = Room::open();
    // As long as the other one may take to be connected too, once one is.
    let words = ["--seconds", "2", "--audio", "none"];
    let (mut one, mut other) = (room.join("one", &words), room.join("other", &words));
    let ((one, one_code), (_, other_code)) = tokio::join!(result(&mut one), result(&mut other));
    assert_eq!((one_code, other_code), (Some(0), Some(0)), "{one:?}");
    assert_eq!(one.last().unwrap()["peers"][0]["tone_hz"], Value::Null);
}

/// The next event that is as wished.
async fn event(
    lines: &mut Lines<BufReader<process::ChildStdout>>,
    wished: impl Fn(&Value) -> bool,
) -> Value {
    let next = async {
        loop {
            let line = lines.next_line().await.unwrap().expect("the program ended");
            let event: Value = serde_json::from_str(&line).unwrap();
            if wished(&event) {
                return event;
            }
        }
    };
    timeout(LIMIT, next).await.expect("no such event")
}

#[tokio::test(flavor = "multi_thread")]
async fn the_size_of_the_jitter_buffer_is_changed_by_a_command_and_acts_at_once() {
    let room = Room::open();
    let _speaks = room.join("speaker", &["--connect", "none"]).spawn().unwrap();
    let words = ["--connect", "speaker", "--commands", "--playout", "fixed"];
    let mut hears = room.join("listener", &words).stdin(Stdio::piped()).spawn().unwrap();
    let mut commands = hears.stdin.take().unwrap();
    let mut lines = BufReader::new(hears.stdout.take().unwrap()).lines();
    let held = |least: f64, most: f64| {
        move |event: &Value| {
            let delay = event["sync"]["audio_delay_ms"].as_f64();
            event["event"] == "quality" && delay.is_some_and(|ms| (least..=most).contains(&ms))
        }
    };
    event(&mut lines, held(45.0, 55.0)).await;
    commands.write_all(b"/jitter 120\n").await.unwrap();
    let told = event(&mut lines, |event| event["event"] == "configured").await;
    assert_eq!(told["jitter_ms"], 120);
    event(&mut lines, held(115.0, 125.0)).await;
    commands.write_all(b"/jitter 20\n").await.unwrap();
    let told = event(&mut lines, |event| event["event"] == "refused").await;
    let reason = told["reason"].as_str().unwrap();
    assert!(reason.contains("jitter_buffer_size_ms") && reason.contains("20"), "{reason}");
    commands.write_all(b"/leave\n").await.unwrap();
    event(&mut lines, |event| event["event"] == "summary").await;
    let status = timeout(LIMIT, hears.wait()).await.expect("it hangs").unwrap();
    assert!(ExitStatus::success(&status));
}

/// The next message from anybody.
async fn message(events: &mut Events) -> DataMessage {
    let next = async {
        loop {
            match events.next().await.expect("the transport ended") {
                TransportEvent::Event(Event::Data { message, .. }) => return message,
                _ => continue,
            }
        }
    };
    timeout(LIMIT, next).await.expect("no message came back")
}

#[tokio::test(flavor = "multi_thread")]
async fn messages_are_echoed_unchanged_but_echoes_are_not() {
    let room = Room::open();
    let mut echo = room.join("echo", &["--connect", "none", "--echo", "--audio", "none"]);
    let config = Config::new(&room.url).peer_id("me").connect(ConnectMode::Manual);
    let me = WebRtcTransport::new(config).unwrap();
    let mut events = me.events();
    me.start().await.unwrap();
    let echo = echo.spawn().unwrap();
    let open = async {
        let mut missing = vec!["data", "rtcmesh/1"];
        while !missing.is_empty() {
            match events.next().await.expect("the transport ended") {
                TransportEvent::Event(Event::PeerDiscovered { .. }) => {
                    me.connect_peer("echo").await.unwrap();
                }
                TransportEvent::Event(Event::DataChannelOpen { label, .. }) => {
                    missing.retain(|other| *other != label);
                }
                _ => {}
            }
        }
    };
    timeout(LIMIT, open).await.expect("no data channel");
    let send = |message: &DataMessage| me.send_data_channel_message("echo", message).unwrap();
    let large = DataMessage::binary(vec![7; 300_000]);
    let sent =
        [DataMessage::text("one"), DataMessage::text("tw\u{f6}"), DataMessage::binary([0, 1, 255])];
    for message in &sent {
        send(message);
    }
    for expected in &sent {
        assert_eq!(message(&mut events).await, *expected);
    }
    // What travels beside the plain messages has an order of its own.
    for beside in [&large, &DataMessage::text("")] {
        send(beside);
        assert_eq!(message(&mut events).await, *beside);
    }
    // We echo too: neither may come back a second time. The last message comes after them.
    send(&sent[0]);
    send(&large);
    send(&sent[2]);
    send(&DataMessage::text("last"));
    assert_eq!(message(&mut events).await, DataMessage::text("last"));
    me.shutdown().await;
    drop(echo);
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_there_is_a_failure_with_a_summary() {
    let room = Room::open();
    let (lines, code) =
        result(&mut room.join("me", &["--connect", "ghost", "--timeout", "0.5"])).await;
    assert_eq!((names(&lines), code), (vec!["summary"], Some(1)));
    assert_eq!(lines[0]["peers"][0]["peer"], "ghost");
    assert_eq!(lines[0]["peers"][0]["connected_ms"], Value::Null);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_id_that_is_taken_ends_it_with_a_summary_and_the_reason() {
    let room = Room::open();
    let holder = WebRtcTransport::new(Config::new(&room.url).peer_id("me")).unwrap();
    holder.start().await.unwrap();
    let output = timeout(LIMIT, room.join("me", &[]).output()).await.expect("it hangs").unwrap();
    let (stdout, stderr) = (output.stdout, String::from_utf8(output.stderr).unwrap());
    assert_eq!(output.status.code(), Some(1), "{stderr}");
    assert!(stderr.contains("taken"), "{stderr}");
    let summary: Value = serde_json::from_slice(&stdout).unwrap();
    assert_eq!((&summary["event"], &summary["id"]), (&"summary".into(), &"me".into()));
    holder.shutdown().await;
}

#[test]
fn every_peer_of_the_demo_hears_every_other_one() {
    // A busy machine may need longer: its time begins before anybody is connected.
    for seconds in ["4", "8", "16", "32"] {
        let words = ["demo", "--peers", "3", "--seconds", seconds, "--port", "0", "--json"];
        let output = run(&words);
        let stdout = String::from_utf8(output.stdout).unwrap();
        assert_eq!(stdout.lines().count(), 1, "{stdout}");
        let summary: Value = serde_json::from_str(&stdout).unwrap();
        assert_eq!(summary["pairs"].as_array().unwrap().len(), 6);
        let page = String::from_utf8(output.stderr).unwrap();
        assert!(page.starts_with("page: http://127.0.0.1:"), "{page}");
        let ok = &summary["ok"] == true;
        assert_eq!(output.status.code(), Some(if ok { 0 } else { 1 }), "{summary}");
        if ok {
            return;
        }
        eprintln!("not within {seconds} s: {summary}");
    }
    panic!("they do not hear each other");
}

#[test]
fn the_demo_prints_the_pages_address_first() {
    let output = run(&["demo", "--peers", "2", "--seconds", "0.1", "--port", "0"]);
    let stdout = String::from_utf8(output.stdout).unwrap();
    assert!(stdout.lines().next().unwrap().contains("http://127.0.0.1:"), "{stdout}");
}

#[test]
fn wrong_command_lines_end_with_2_and_name_what_is_wrong() {
    let url = "ws://127.0.0.1:1/";
    for (words, word) in [
        (vec!["join"], "--url"),
        (vec!["join", "--url", url, "--id", "a", "--connect", "a"], "this peer itself"),
        (vec!["join", "--url", url, "--id", "a b"], "--id"),
        (vec!["join", "--url", "127.0.0.1", "--id", "a"], "--url"),
        (vec!["demo", "--peers", "1"], "--peers"),
    ] {
        let output = run(&words);
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "{words:?}: {stderr}");
        assert!(stderr.contains(word), "{words:?}: {stderr}");
    }
}

#[test]
fn files_that_cannot_be_used_are_named() {
    let join = ["join", "--url", "ws://127.0.0.1:1/", "--id", "a"];
    for (option, file) in [("--audio", "no/such.wav"), ("--tls-ca", "no/such.pem")] {
        let words: Vec<&str> = join.iter().copied().chain([option, file]).collect();
        let output = run(&words);
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1), "{stderr}");
        assert!(stderr.contains(file), "{stderr}");
    }
}
