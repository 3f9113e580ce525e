//! Recordings of whole meshes are replayed to their end without an engine, and the first difference is named.

#[path = "../common/mod.rs"]
mod common;
mod rings;

use std::sync::Arc;
use std::time::{Duration, Instant};

use common::{automatic, id, manual, tone};
use proptest::prelude::*;
use rtcmesh_core::config::{AudioSettings, Config, ConfigPatch, ReceivedAudio, VideoSettings};
use rtcmesh_core::media::{DataMessage, EncodedAudio, EncodedVideo, RuntimeData, VideoCodec};
use rtcmesh_core::trace::{RecordOptions, Recorder, RecordingError, entries, hostile};
use rtcmesh_core::transport::{Event, Replay, ReplayReport};
use rtcmesh_sim::World;
use rtcmesh_sim::net::{Jitter, Loss};
use serde_json::{Value, json};

const FRAME: Duration = Duration::from_millis(20);

fn record(world: &mut World, options: &RecordOptions) -> Vec<Recorder> {
    let hosts = world.hosts.iter_mut();
    hosts.map(|host| host.transport.record(options).expect("not started")).collect()
}

fn replay(recording: Vec<u8>) -> ReplayReport {
    Replay::new(recording, Instant::now()).expect("a recording").run()
}

fn with_video(config: Config) -> Config {
    let mut video = VideoSettings::default();
    video.enabled = true;
    config.video(video)
}

fn video(n: usize) -> RuntimeData {
    RuntimeData::Video(EncodedVideo {
        codec: VideoCodec::Vp9,
        data: vec![n as u8; 3_000].into(),
        timestamp: FRAME * n as u32,
        keyframe: n.is_multiple_of(50),
        captured: None,
    })
}

/// Everybody sends audio, video and data for so many frames; who has nobody to send to is no matter.
fn chatter(world: &mut World, frames: usize) {
    chatter_with(world, frames, &mut |_| {});
}

/// The same; after each frame something is done.
fn chatter_with(world: &mut World, frames: usize, after: &mut dyn FnMut(&World)) {
    for n in 0..frames {
        for host in 0..world.hosts.len() {
            let sent = [tone(300.0 + 100.0 * host as f32, n), video(n)];
            for data in &sent {
                let _ = world.act(host, |transport, now| transport.broadcast(now, data));
            }
            if n % 10 == host {
                let text = RuntimeData::Text(format!("{n} from {host}").into());
                let _ = world.act(host, |transport, now| transport.broadcast(now, &text));
            }
            if n == 25 {
                for data in [
                    RuntimeData::Binary(vec![host as u8; 100_000].into()),
                    RuntimeData::Json(json!({"a": ["some", 1, {"b": "x".repeat(40_000)}]})),
                ] {
                    let _ = world.act(host, |transport, now| transport.broadcast(now, &data));
                }
                let _ = world.act(host, |transport, _| transport.buffered_amount("p0"));
            }
        }
        world.run(FRAME);
        after(world);
    }
}

/// A mesh in which much goes wrong: glare, losses, jitter, a lost path, broken signaling, a crash.
fn eventful(options: &RecordOptions) -> Vec<Vec<u8>> {
    eventful_with(options, &mut |_, _| {})
}

/// The same; time and again something is done with the recorders.
fn eventful_with(
    options: &RecordOptions,
    after: &mut dyn FnMut(&World, &[Recorder]),
) -> Vec<Vec<u8>> {
    let mut world = World::new(11);
    for n in 0..3 {
        world.add(with_video(manual(&format!("p{n}")).rtcp_interval_ms(1_000)));
    }
    let mut audio = AudioSettings::default();
    audio.received = ReceivedAudio::Encoded;
    world.add(with_video(automatic("p3")).audio(audio));
    let recorders = record(&mut world, options);
    world.weather().jitter = Jitter::Uniform(Duration::from_millis(30));
    world.weather().loss = Loss::Random(0.03);
    world.start_all();
    world.run(Duration::from_secs(1));
    // Each calls each at once.
    for a in 0..3 {
        for b in (0..3).filter(|b| *b != a) {
            let peer = format!("p{b}");
            world.act(a, |transport, now| transport.connect_peer(now, &peer)).expect("announced");
        }
    }
    assert!(world.run_until(World::all_connected));
    let glare = |world: &World| {
        let infos = (0..3).flat_map(|a| (0..3).map(move |b| (a, b)));
        let infos = infos.filter_map(|(a, b)| world.hosts[a].peer(&id(&format!("p{b}"))));
        infos.map(|info| info.counters.glare).sum::<u64>()
    };
    assert!(glare(&world) > 0, "offers met");
    after(&world, &recorders);
    chatter_with(&mut world, 100, &mut |world| after(world, &recorders));
    let mut patch = ConfigPatch::new();
    patch.jitter_buffer_size_ms = Some(120);
    world.act(0, |transport, now| transport.configure(now, &patch)).expect("in bounds");
    world.break_signaling(1);
    world.cut(0, 1, true);
    chatter_with(&mut world, 100, &mut |world| after(world, &recorders));
    let lost = |event: &Event| matches!(event, Event::Reconnecting { .. });
    assert!(world.run_until(|world| world.hosts[0].count(lost) > 0), "the path is lost");
    world.cut(0, 1, false);
    world.crash(2);
    chatter_with(&mut world, 100, &mut |world| after(world, &recorders));
    let failed = |event: &Event| matches!(event, Event::Failed { .. });
    assert!(world.run_until(|world| world.hosts[1].count(failed) > 0), "the crash is seen");
    chatter_with(&mut world, 20, &mut |world| after(world, &recorders));
    world.act(1, |transport, now| transport.request_keyframe(now, "p0")).expect("there");
    world.act(1, |transport, now| transport.disconnect_peer(now, "p0")).expect("there");
    chatter_with(&mut world, 20, &mut |world| after(world, &recorders));
    for host in [0, 1, 3] {
        world.act(host, |transport, now| transport.shutdown(now));
    }
    after(&world, &recorders);
    recorders.iter().map(Recorder::take).collect()
}

fn text(recording: &[u8]) -> String {
    String::from_utf8_lossy(recording).into_owned()
}

#[test]
fn an_eventful_mesh_is_replayed_on_each_host_with_equal_events_and_deadlines() {
    for (host, recording) in eventful(&RecordOptions::default()).into_iter().enumerate() {
        let size = recording.len();
        let report = replay(recording);
        assert_eq!(report.difference, None, "host {host}");
        assert_eq!((report.ended, report.damaged), (None, false), "host {host}");
        let least = if host == 2 { 2_000 } else { 5_000 };
        assert!(report.calls > least && report.events > 300, "host {host}, {size} bytes");
    }
}

#[test]
fn the_recording_has_what_it_is_to_show() {
    let recordings = eventful(&RecordOptions::default());
    let all: String = recordings.iter().map(|recording| text(recording)).collect();
    for word in [
        "Reconnecting",
        "Reconnected",
        "Failed",
        "SignalingDown",
        "\"ChannelData\"",
        "\"Audio\"",
        "\"Video\"",
        "stretch",
        "encode",
        "decode",
        "KeyframeRequest",
    ] {
        assert!(all.contains(word), "{word}");
    }
}

#[test]
fn masked_addresses_are_not_in_a_recording_which_is_replayed_all_the_same() {
    let mut options = RecordOptions::default();
    options.mask_addresses = true;
    for (host, recording) in eventful(&options).into_iter().enumerate() {
        let text = text(&recording);
        assert!(!text.contains("server.test"), "the server's name");
        let report = replay(recording);
        assert_eq!(report.difference, None, "host {host}");
    }
}

/// A short recording: two peers, data, and an end.
fn short(options: &RecordOptions) -> Vec<u8> {
    let mut world = World::new(3);
    for name in ["p0", "p1"] {
        world.add(automatic(name));
    }
    let recorders = record(&mut world, options);
    world.start_all();
    assert!(world.run_until(World::all_connected));
    chatter(&mut world, 30);
    recorders[0].take()
}

#[test]
fn a_changed_decision_is_the_first_difference() {
    let whole = short(&RecordOptions::default());
    let count = entries(whole.clone()).unwrap().count() as u64;
    let mut changes = 0;
    for (what, from, to) in [
        ("deadline", "\"due\":[", "\"due\":[1"),
        ("result", "\"result\":\"()\"", "\"result\":\"((\""),
        ("event", "Connected {", "Connectee {"),
        ("command", "peer.answer", "peer.answes"),
        (
            "what connection 1 told its engine: timeout",
            "\"op\":\"timeout\",\"of\":1,\"told\":",
            "\"op\":\"timeout\",\"of\":1,\"told\":1",
        ),
    ] {
        let mut at = None;
        let changed = hostile::edited(whole.clone(), |number, text| {
            // One in the middle, where the connection stands or is made.
            if at.is_none() && number > count / 3 && what != "event" && what != "command"
                || at.is_none() && matches!(what, "event" | "command")
            {
                let new = text.replacen(from, to, 1);
                if new != text && !text.starts_with("{\"in\"") {
                    at = Some(number);
                    return new;
                }
            }
            text
        })
        .unwrap();
        let at = at.unwrap_or_else(|| panic!("nothing to change for {what}"));
        let difference = replay(changed).difference.unwrap_or_else(|| panic!("{what}"));
        assert_eq!((difference.record, difference.what.as_str()), (at, what), "{difference}");
        assert_ne!(difference.expected, difference.got);
        changes += 1;
    }
    assert_eq!(changes, 5);
}

#[test]
fn another_version_damage_and_foreign_files_are_told() {
    let whole = short(&RecordOptions::default());
    let new = |bytes: Vec<u8>| Replay::new(bytes, Instant::now()).map(Replay::run);
    let mut older = whole.clone();
    older[8] = 0;
    let error = new(older).unwrap_err();
    assert!(matches!(error, RecordingError::Version { found: 0, expected: 2 }), "{error}");
    assert!(error.to_string().contains("version 0"), "{error}");
    assert_eq!(new(b"RIFF....WAVE".to_vec()).unwrap_err(), RecordingError::Foreign);
    assert_eq!(new(Vec::new()).unwrap_err(), RecordingError::Foreign);
    let middle = whole.len() / 2;
    let mut damaged = whole.clone();
    damaged[middle] ^= 1;
    let report = new(damaged).unwrap();
    assert!(report.damaged && report.calls > 10, "{report:?}");
    let told = report.ended.unwrap();
    assert!(told.contains("offset"), "{told}");
    // What is cut off is replayed up to there.
    for end in [middle, middle + 1, whole.len() - 1] {
        let report = new(whole[..end].to_vec()).unwrap();
        assert_eq!((report.difference, report.damaged), (None, false));
        assert!(report.ended.unwrap().contains("cut off"), "{end}");
        assert!(report.calls > 10);
    }
}

#[test]
fn a_recording_that_nobody_takes_ends_within_its_bounds() {
    let mut options = RecordOptions::default();
    options.max_bytes = 200 * 1024;
    let part = short(&options);
    assert!(part.len() <= 220 * 1024);
    let report = replay(part);
    assert_eq!(report.difference, None);
    assert!(report.calls > 10);
}

/// Whether bytes are in others.
fn holds(recording: &[u8], secret: &[u8]) -> bool {
    recording.windows(secret.len()).any(|bytes| bytes == secret)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(8))]

    #[test]
    fn no_secrets_and_no_contents_are_in_a_recording(
        seed in any::<u64>(),
        secrets in prop::collection::vec("[a-zA-Z0-9]{20,40}", 6),
        masked in any::<bool>(),
        ring in any::<bool>(),
    ) {
        let mut world = World::new(seed);
        let mut data = serde_json::Map::new();
        data.insert("name".into(), secrets[0].clone().into());
        data.insert("deep".into(), json!([{"x": secrets[1]}]));
        for name in ["p0", "p1"] {
            let mut config = with_video(automatic(name)).user_data(data.clone()).token(&secrets[2]);
            config.signaling_url = format!("{}?token={}", World::URL, secrets[3]);
            world.add(config);
        }
        let mut options = RecordOptions::default();
        options.mask_addresses = masked;
        if ring {
            // What no longer says who the peers are, has a state that knows it.
            (options.ring, options.max_bytes) = (true, 64 * 1024);
        }
        let recorders = record(&mut world, &options);
        world.start_all();
        prop_assert!(world.run_until(World::all_connected));
        world.run(Duration::from_secs(1));
        let opus: Arc<[u8]> = [&[0xf8][..], secrets[4].as_bytes()].concat().into();
        for _ in 0..10 {
            let messages = [
                RuntimeData::Text(secrets[5].as_str().into()),
                RuntimeData::Json(json!({"x": secrets[5].repeat(2_000)})),
                RuntimeData::Binary(secrets[5].as_bytes().into()),
                RuntimeData::EncodedAudio(EncodedAudio { opus: opus.clone(), duration: FRAME }),
                RuntimeData::Video(EncodedVideo {
                    codec: VideoCodec::Vp9,
                    data: secrets[4].repeat(9).into_bytes().into(),
                    timestamp: world.elapsed(),
                    keyframe: true,
                    captured: None,
                }),
            ];
            for host in 0..2 {
                for data in &messages {
                    world.act(host, |transport, now| transport.broadcast(now, data)).unwrap();
                }
            }
            world.run(FRAME);
        }
        world.break_signaling(0);
        world.run(Duration::from_secs(3));
        let received = world.hosts[1].events.iter().filter(|event| {
            matches!(event, Event::Data { message: DataMessage::Text(text), .. } if **text == secrets[5])
        });
        prop_assert_eq!(received.count(), 10, "the secrets do travel");
        for recorder in recorders {
            let recording = recorder.take();
            for secret in &secrets {
                prop_assert!(!holds(&recording, secret.as_bytes()), "{}", secret);
                let hex: String = secret.bytes().map(|byte| format!("{byte:02x}")).collect();
                prop_assert!(!holds(&recording, &hex.as_bytes()[..32]), "{} in hexadecimal", secret);
            }
            let text = text(&recording);
            for line in text.split("a=ice-pwd:").skip(1) {
                prop_assert!(line.starts_with("s-"), "a password: {}", &line[..30]);
            }
            for key in text.split("session_key\\\":\\\"").skip(1) {
                prop_assert!(key.starts_with("s-"), "a session key: {}", &key[..30]);
            }
            let header = entries(recording.clone()).unwrap().header().clone();
            prop_assert_eq!(header.ring, ring);
            prop_assert_eq!(header.state.is_some(), ring);
            prop_assert!(ring || text.contains("a=ice-pwd:s-") && text.contains("session_key"));
            let report = replay(recording);
            prop_assert_eq!(report.difference, None);
            let least = if ring { 10 } else { 100 };
            prop_assert!(report.calls > least);
        }
    }

    #[test]
    fn recordings_of_anybody_end(
        cuts in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
        garbage in prop::collection::vec(any::<u8>(), 0..300),
    ) {
        static SHORT: std::sync::OnceLock<Vec<u8>> = std::sync::OnceLock::new();
        let whole = SHORT.get_or_init(|| short(&RecordOptions::default()));
        let now = Instant::now();
        rtcmesh_core::transport::hostile(now, &garbage);
        // Entries that can be read, with numbers and words changed.
        let mut lines = Vec::new();
        hostile::edited(whole.clone(), |_, text| {
            lines.push(text.clone());
            text
        }).unwrap();
        lines.truncate(1_500);
        for (index, byte) in cuts {
            let at = index.index(lines.len());
            let line = &mut lines[at];
            match byte % 4 {
                0 => *line = line.replace('1', "99999999999"),
                1 => *line = line.replace("\"n\":", "\"n\":99999"),
                2 => line.truncate(line.len() / 2),
                _ => { lines.remove(at); }
            }
        }
        rtcmesh_core::transport::hostile(now, lines.join("\n").as_bytes());
    }
}

#[test]
fn contents_are_there_where_they_are_asked_for() {
    let mut options = RecordOptions::default();
    options.contents = true;
    let recording = short(&options);
    assert!(text(&recording).contains("1 from 1"), "a message that arrived");
    let sent: String = "0 from 0".bytes().map(|byte| format!("{byte:02x}")).collect();
    assert!(text(&recording).contains(&sent), "one that was sent");
    assert_eq!(replay(recording).difference, None);
}

#[test]
fn a_recording_begins_before_the_start_and_once() {
    let mut world = World::new(1);
    world.add(automatic("p0"));
    let options = RecordOptions::default();
    assert!(world.hosts[0].transport.record(&options).is_some());
    assert!(world.hosts[0].transport.record(&options).is_none());
    world.add(automatic("p1"));
    world.start_all();
    assert!(world.hosts[1].transport.record(&options).is_none());
    let header = entries(record_of(&mut world)).unwrap().header().clone();
    assert_eq!((header.peer.as_str(), header.ring), ("p2", false));
    assert_ne!(header.config, Value::Null);
}

fn record_of(world: &mut World) -> Vec<u8> {
    let host = world.add(automatic("p2"));
    world.hosts[host].transport.record(&RecordOptions::default()).expect("not started").take()
}
