//! Audio from every mouth to every ear: which voice is heard, how often it is encoded, in which order.

mod common;

use std::time::Duration;

use common::{heard, id, mesh, share_at, strangers, talk, tone};
use rtcmesh_core::config::{AudioSettings, ConfigPatch, Playout, ReceivedAudio};
use rtcmesh_core::media::{AudioBuffer, EncodedAudio, RuntimeData};
use rtcmesh_core::sync::{AudioRenderer, JitterBuffer, PlayoutConfig};
use rtcmesh_core::transport::{AudioData, Media, OpusVoice};
use rtcmesh_sim::World;
use rtcmesh_sim::net::{Jitter, Loss};

fn hz(host: usize) -> f32 {
    500.0 + 250.0 * host as f32
}

fn audio_of(world: &World, host: usize) -> Vec<(u32, Duration, bool)> {
    let frames = world.hosts[host].media.iter().filter_map(|media| match media {
        Media::Audio { frame, .. } => Some((frame.rtp, frame.delay, frame.concealed)),
        _ => None,
    });
    frames.collect()
}

/// What was not made up.
fn played(world: &World, host: usize) -> Vec<(u32, Duration, bool)> {
    audio_of(world, host).into_iter().filter(|frame| !frame.2).collect()
}

#[test]
fn everybody_hears_everybody_and_each_frame_is_encoded_once() {
    let mut world = mesh(1, 5);
    talk(&mut world, hz, 60);
    world.run(Duration::from_millis(200));
    for ear in 0..5 {
        for mouth in (0..5).filter(|mouth| *mouth != ear) {
            let samples = heard(&world, ear, &id(&format!("p{mouth}")));
            // The encoder's look-ahead keeps the last one.
            assert!(samples.len() >= 58 * 960, "{ear} hears {mouth}: {}", samples.len());
            let settled = &samples[10 * 960..58 * 960];
            let share = share_at(settled, f64::from(hz(mouth)));
            assert!(share > 0.9, "{ear} hears {mouth}: {share}");
        }
        let metrics = world.hosts[ear].transport.metrics();
        assert_eq!(metrics.audio_encodes, 60, "once, for four receivers");
    }
}

#[test]
fn frames_come_in_order_after_the_delay_that_was_asked_for() {
    let fixed = |name: &str| common::automatic(name).playout(Playout::Fixed);
    let mut world = strangers(2, [fixed("p0"), fixed("p1")]);
    assert!(world.run_until(World::all_connected));
    talk(&mut world, hz, 50);
    let before = played(&world, 1).len() - 5;
    let mut patch = ConfigPatch::new();
    patch.jitter_buffer_size_ms = Some(120);
    world.act(1, |transport, now| transport.configure(now, &patch)).unwrap();
    talk(&mut world, hz, 100);
    let frames = played(&world, 1);
    assert!(frames.windows(2).all(|pair| pair[1].0.wrapping_sub(pair[0].0) as i32 >= 0));
    let millis = |frame: &(u32, Duration, bool)| frame.1.as_secs_f64() * 1e3;
    let (before, after) = (millis(&frames[before]), millis(frames.last().unwrap()));
    assert!((45.0..=60.0).contains(&before), "{before}");
    assert!((110.0..=130.0).contains(&after), "{after}");
}

#[test]
fn on_a_good_network_the_delay_comes_down_and_nothing_is_made_up() {
    let mut world = mesh(7, 2);
    talk(&mut world, hz, 300);
    let frames = played(&world, 1);
    let last = frames.last().unwrap().1;
    assert!(last < Duration::from_millis(20), "{last:?}");
    assert!(frames.iter().all(|frame| !frame.2));
}

#[test]
fn what_is_lost_is_concealed_and_nothing_is_played_twice() {
    let mut world = mesh(3, 2);
    world.weather().loss = Loss::Every(17);
    talk(&mut world, hz, 200);
    world.weather().loss = Loss::None;
    world.run(Duration::from_millis(300));
    let frames = audio_of(&world, 0);
    let concealed = frames.iter().filter(|frame| frame.2).count();
    assert!(concealed >= 5, "{concealed}");
    let slow = played(&world, 0).iter().filter(|frame| frame.1.as_millis() > 80).count();
    assert_eq!(slow, 0, "the delay stays small");
    assert!(frames.windows(2).all(|pair| pair[1].0.wrapping_sub(pair[0].0) as i32 >= 0));
    let info = world.hosts[0].peer(&id("p1")).unwrap();
    assert!(info.counters.audio_packets_lost > 0);
    let samples = heard(&world, 0, &id("p1"));
    assert!(samples.len() >= 195 * 960, "no hole: {}", samples.len());
}

#[test]
fn a_whisper_to_one_is_heard_by_one() {
    let mut world = mesh(4, 3);
    for n in 0..40 {
        let data = tone(900.0, n);
        world.act(0, |transport, now| transport.send_to_peer(now, "p1", &data)).unwrap();
        world.run(Duration::from_millis(20));
    }
    world.run(Duration::from_millis(200));
    let samples = heard(&world, 1, &id("p0"));
    assert!(share_at(&samples[5 * 960..35 * 960], 900.0) > 0.9);
    assert!(heard(&world, 2, &id("p0")).is_empty());
}

#[test]
fn samples_of_other_rates_and_stereo_arrive_as_48_khz() {
    let mut world = mesh(5, 2);
    for n in 0..60usize {
        let sample = |k: usize| {
            let at = (n * 160 + k / 2) as f32 / 8_000.0;
            0.3 * (std::f32::consts::TAU * 700.0 * at).sin()
        };
        let data = RuntimeData::Audio(AudioBuffer {
            samples: (0..320).map(sample).collect(),
            sample_rate: 8_000,
            channels: 2,
        });
        world.act(0, |transport, now| transport.broadcast(now, &data)).unwrap();
        world.run(Duration::from_millis(20));
    }
    world.run(Duration::from_millis(200));
    let samples = heard(&world, 1, &id("p0"));
    assert!(share_at(&samples[10 * 960..50 * 960], 700.0) > 0.9);
}

#[test]
fn packets_pass_through_unchanged_for_those_who_bring_their_own_codec() {
    let encoded = |name: &str| {
        let mut audio = AudioSettings::default();
        audio.received = ReceivedAudio::Encoded;
        common::automatic(name).audio(audio)
    };
    let mut world = strangers(6, [encoded("a"), encoded("b")]);
    assert!(world.run_until(World::all_connected));
    // Configuration 31: CELT, full band, 20 ms, one frame.
    let packet = |n: u8| EncodedAudio {
        opus: vec![31 << 3, n, 1, 2, 3].into(),
        duration: Duration::from_millis(20),
    };
    for n in 0..50 {
        let data = RuntimeData::EncodedAudio(packet(n));
        world.act(0, |transport, now| transport.broadcast(now, &data)).unwrap();
        world.run(Duration::from_millis(20));
    }
    world.run(Duration::from_millis(200));
    let got: Vec<EncodedAudio> = world.hosts[1]
        .media
        .iter()
        .filter_map(|media| match media {
            Media::Audio { frame, .. } => match &frame.data {
                AudioData::Encoded(packet) => Some(packet.clone()),
                _ => None,
            },
            _ => None,
        })
        .collect();
    assert_eq!(got, (0..50).map(packet).collect::<Vec<_>>());
}

#[test]
fn malformed_media_name_what_is_wrong_and_reach_nobody() {
    let mut world = mesh(7, 2);
    let wrong = [
        (
            RuntimeData::EncodedAudio(EncodedAudio {
                opus: vec![].into(),
                duration: Duration::ZERO,
            }),
            "opus",
        ),
        (
            RuntimeData::EncodedAudio(EncodedAudio {
                opus: vec![31 << 3].into(),
                duration: Duration::from_millis(60),
            }),
            "duration",
        ),
        (
            RuntimeData::Audio(AudioBuffer {
                samples: vec![0.0; 960].into(),
                sample_rate: 96_000,
                channels: 1,
            }),
            "sample_rate",
        ),
        (
            RuntimeData::Audio(AudioBuffer {
                samples: vec![0.0; 961].into(),
                sample_rate: 48_000,
                channels: 2,
            }),
            "samples",
        ),
    ];
    for (data, field) in &wrong {
        let error = world.act(0, |transport, now| transport.broadcast(now, data)).unwrap_err();
        assert!(error.to_string().contains(field), "{error}");
        let error =
            world.act(0, |transport, now| transport.send_to_peer(now, "p1", data)).unwrap_err();
        assert!(error.to_string().contains(field), "{error}");
    }
    world.run(Duration::from_secs(1));
    assert!(world.hosts[1].media.is_empty());
}

/// As an audio device's callback does it: whenever it likes, by its own clock.
#[test]
fn packets_as_they_arrive_are_played_by_a_renderer_of_ones_own() {
    let mut audio = AudioSettings::default();
    audio.received = ReceivedAudio::Packets;
    let mut world = strangers(8, [common::automatic("p0"), common::automatic("p1").audio(audio)]);
    assert!(world.run_until(World::all_connected));
    world.weather().jitter = Jitter::Uniform(Duration::from_millis(8));
    let config = PlayoutConfig::adaptive(Duration::from_millis(50));
    let mut buffer = JitterBuffer::new(48_000, config);
    let mut renderer = AudioRenderer::new(1, &config.tuning, 1);
    let mut opus = OpusVoice::new(1).unwrap();
    let mut heard = Vec::new();
    for n in 0..2_000 {
        if n % 15 == 0 {
            world.act(0, |transport, now| transport.broadcast(now, &tone(700.0, n / 15))).unwrap();
        }
        // 64 samples of 48 kHz.
        world.run(Duration::from_nanos(1_333_333));
        for media in world.hosts[1].media.drain(..) {
            if let Media::Audio { frame, .. } = media
                && let AudioData::Packet(packet) = frame.data
            {
                buffer.insert(packet);
            }
        }
        let mut out = [0.0; 64];
        let rendered = renderer.render(&mut buffer, &mut opus, world.now(), &mut out);
        assert!(n < 200 || n % 3 != 0 || rendered.rtp.is_some());
        heard.extend(out);
    }
    assert_eq!(renderer.statistics().concealed, 0);
    let settled = &heard[48_000..];
    assert!(share_at(settled, 700.0) > 0.9, "{}", share_at(settled, 700.0));
    let sync = world.hosts[1].peer(&id("p0")).unwrap().quality.sync;
    assert_eq!(sync.state, rtcmesh_core::sync::SyncState::Syncing);
}
