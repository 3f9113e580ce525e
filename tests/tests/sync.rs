//! Media in time, through real engines and a network in virtual time: how late, how sure, how far apart.

mod common;

use std::time::{Duration, Instant};

use common::{automatic, id, mesh, strangers};
use rtcmesh_core::config::{Config, VideoSettings};
use rtcmesh_core::media::{AudioBuffer, EncodedVideo, RuntimeData, VideoCodec};
use rtcmesh_core::sync::SyncState;
use rtcmesh_core::transport::{AudioData, Event, Media, SyncInfo};
use rtcmesh_sim::World;
use rtcmesh_sim::net::{Jitter, Loss};

const FRAME: Duration = Duration::from_millis(20);
/// A beep begins with every so manieth frame: each 240 ms.
const EVERY: usize = 12;

/// 20 ms of quiet noise; the first 5 ms of every twelfth frame are a beep.
fn audio(n: usize) -> RuntimeData {
    let sample = |k: usize| {
        let place = n * 960 + k;
        let noise = (place.wrapping_mul(2_654_435_761) >> 7 & 0xff) as f32 / 255.0 - 0.5;
        let beep = n.is_multiple_of(EVERY) && k < 240;
        let tone = (std::f32::consts::TAU * 1_500.0 * k as f32 / 48_000.0).sin();
        0.002 * noise + if beep { 0.6 * tone } else { 0.0 }
    };
    let samples = (0..960).map(sample).collect();
    RuntimeData::Audio(AudioBuffer { samples, sample_rate: 48_000, channels: 1 })
}

fn video(n: usize, captured: Instant, since: Duration) -> RuntimeData {
    let keyframe = n.is_multiple_of(50);
    let head: &[u8] = match keyframe {
        true => &[0x10, 0, 0, 0x9d, 0x01, 0x2a, 0x40, 0x01, 0xf0, 0x00],
        false => &[0x11, 0, 0],
    };
    let mut data = head.to_vec();
    data.extend((n as u32).to_be_bytes());
    data.resize(if keyframe { 9_000 } else { 1_500 }, 7);
    RuntimeData::Video(EncodedVideo {
        codec: VideoCodec::Vp8,
        data: data.into(),
        timestamp: since,
        keyframe,
        captured: Some(captured),
    })
}

/// What is sent and heard of host 0 by host 1.
struct Talk {
    world: World,
    start: Instant,
    sent: usize,
}

impl Talk {
    fn new(mut world: World) -> Self {
        world.run(Duration::from_millis(500));
        let start = world.now();
        Self { world, start, sent: 0 }
    }

    /// Sends `frames` of audio, one each `pace`, and video with every second.
    fn talk(&mut self, frames: usize, pace: Duration, with_video: bool) {
        for _ in 0..frames {
            let n = self.sent;
            self.world.act(0, |transport, now| {
                transport.broadcast(now, &audio(n)).expect("one listens");
                if with_video && n.is_multiple_of(2) {
                    let data = video(n / 2, now, now - self.start);
                    transport.broadcast(now, &data).expect("one watches");
                }
            });
            self.sent += 1;
            self.world.run(pace);
        }
    }

    /// From the first sample of each beep, as it entered the microphone, to the ear. A frame is handed over
    /// when its last sample was recorded.
    fn beeps(&self, from: Duration) -> Vec<f64> {
        let mut heard: Vec<Instant> = Vec::new();
        for media in &self.world.hosts[1].media {
            let Media::Audio { frame, .. } = media else { continue };
            let AudioData::Decoded(audio) = &frame.data else { continue };
            let loud = audio.samples.iter().position(|sample| sample.abs() > 0.2);
            if let Some(place) = loud {
                let at = frame.at + Duration::from_nanos(place as u64 * 1_000_000_000 / 48_000);
                // Within the same beep.
                if heard.last().is_none_or(|last| at - *last > Duration::from_millis(60)) {
                    heard.push(at);
                }
            }
        }
        let begin = |beep: usize| self.start + FRAME * (beep * EVERY) as u32 - FRAME;
        let late = |at: &Instant| {
            // The latest beep that began before it: delays are below 240 ms.
            let beeps = (0..self.sent / EVERY + 1).rev();
            let beep = beeps.map(begin).find(|begin| begin <= at)?;
            (beep >= self.start + from).then(|| (*at - beep).as_secs_f64() * 1e3)
        };
        heard.iter().filter_map(late).collect()
    }

    /// From the capture of each video frame to its being shown.
    fn flashes(&self, from: Duration) -> Vec<f64> {
        let mut late = Vec::new();
        for media in &self.world.hosts[1].media {
            let Media::Video { frame, timing, .. } = media else { continue };
            let number = if frame.keyframe { 10..14 } else { 3..7 };
            let n = u32::from_be_bytes(frame.data[number].try_into().expect("4 bytes"));
            let captured = self.start + FRAME * 2 * n;
            if captured >= self.start + from {
                late.push((timing.at - captured).as_secs_f64() * 1e3);
            }
        }
        late
    }

    fn sync(&self) -> SyncInfo {
        self.world.hosts[1].peer(&id("p0")).expect("connected").quality.sync
    }
}

fn quantile(values: &[f64], share: f64) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted[((sorted.len() - 1) as f64 * share) as usize]
}

fn with_video(name: &str) -> Config {
    let mut video = VideoSettings::default();
    video.enabled = true;
    video.codec = VideoCodec::Vp8;
    automatic(name).video(video)
}

fn pair(seed: u64) -> World {
    let mut world = strangers(seed, [with_video("p0"), with_video("p1")]);
    assert!(world.run_until(World::all_connected));
    world
}

/// The goal: 50 ms from mouth to ear in 95 % of cases, with packets of 20 ms, of which the beep waits
/// for the end, and 6.5 ms of the encoder's look-ahead.
#[test]
fn on_a_local_network_a_voice_takes_less_than_50_ms() {
    let mut talk = Talk::new(mesh(11, 2));
    talk.world.weather().jitter = Jitter::Uniform(Duration::from_millis(1));
    talk.talk(600, FRAME, false);
    let late = talk.beeps(Duration::from_secs(4));
    assert!(late.len() >= 30, "{}", late.len());
    let (p50, p95) = (quantile(&late, 0.5), quantile(&late, 0.95));
    assert!(p95 < 50.0 && p50 > 27.0, "p50 {p50:.1} ms, p95 {p95:.1} ms");
    assert_eq!(talk.world.hosts[1].peer(&id("p0")).unwrap().counters.audio_samples_concealed, 0);
}

#[test]
fn on_a_bad_network_nothing_is_heard_twice_and_delay_and_loss_stay_bounded() {
    let mut talk = Talk::new(mesh(12, 2));
    talk.world.weather().latency = Duration::from_millis(30);
    talk.world.weather().jitter = Jitter::Uniform(Duration::from_millis(40));
    talk.world.weather().loss = Loss::Random(0.03);
    talk.talk(1_000, FRAME, false);
    let late = talk.beeps(Duration::from_secs(5));
    let p95 = quantile(&late, 0.95);
    assert!(p95 < 180.0, "{p95}");
    let info = talk.world.hosts[1].peer(&id("p0")).unwrap();
    let counters = info.counters;
    assert!(counters.audio_packets_lost > 10, "{counters:?}");
    // Jitter costs next to nothing beyond what is lost.
    let lost = counters.audio_packets_lost as f64 * 960.0;
    let made_up = (counters.audio_samples_concealed + counters.audio_samples_recovered) as f64;
    assert!(made_up < lost + 0.005 * 960_000.0, "{counters:?}");
    let beeps = late.len() as f64 / (750.0 / EVERY as f64);
    assert!((0.9..=1.02).contains(&beeps), "{beeps}");
    assert!(info.quality.sync.audio_delay_ms > 20.0, "{:?}", info.quality.sync);
}

#[test]
fn picture_and_sound_of_one_moment_come_together() {
    for (seed, jitter) in [(13, 1), (14, 30)] {
        let mut talk = Talk::new(pair(seed));
        talk.world.weather().latency = Duration::from_millis(15);
        talk.world.weather().jitter = Jitter::Uniform(Duration::from_millis(jitter));
        talk.talk(750, FRAME, true);
        let from = Duration::from_secs(6);
        let (beeps, flashes) = (talk.beeps(from), talk.flashes(from));
        assert!(beeps.len() > 25 && flashes.len() > 200, "{} {}", beeps.len(), flashes.len());
        // The look-ahead of the encoder is in the samples, not in their timestamps.
        let apart = quantile(&flashes, 0.5) - (quantile(&beeps, 0.5) - 6.5);
        assert!(apart.abs() < 15.0, "jitter {jitter}: {apart:.1} ms");
        let sync = talk.sync();
        let offset = sync.audio_sync_offset_ms.expect("both clocks are known");
        assert!(offset.abs() < 20.0, "{sync:?}");
        assert_eq!(sync.state, SyncState::Synced);
        assert!(sync.video_framerate.is_some_and(|rate| (rate - 25.0).abs() < 1.0), "{sync:?}");
    }
}

#[test]
fn the_state_of_clocks_is_told_and_stamps_follow_the_senders_clock() {
    let mut talk = Talk::new(pair(15));
    talk.talk(400, FRAME, true);
    let states: Vec<SyncState> = talk.world.hosts[1]
        .events
        .iter()
        .filter_map(|event| match event {
            Event::SyncStateChanged { state, .. } => Some(*state),
            _ => None,
        })
        .collect();
    assert_eq!(states, [SyncState::Syncing, SyncState::Synced]);
    let mut sure = Vec::new();
    for media in &talk.world.hosts[1].media {
        let Media::Video { frame, timing, .. } = media else { continue };
        let capture = timing.capture.expect("the local clock at least");
        assert!(capture.confidence >= 0.5);
        if capture.confidence == 1.0 {
            // The engine's wall clock has nothing to do with that of the world.
            sure.push(capture.unix_us as f64 - frame.timestamp.as_secs_f64() * 1e6);
        }
    }
    assert!(sure.len() > 100, "{}", sure.len());
    let spread = quantile(&sure, 1.0) - quantile(&sure, 0.0);
    // The network's own extension of RTP timestamps to 100 µs, and the wall clock's resolution.
    assert!(spread < 2_000.0, "{spread} µs");
}

#[test]
fn the_drift_of_a_microphone_is_found_and_corrected_without_a_gap() {
    for ppm in [-400_i64, 400] {
        let mut talk = Talk::new(mesh(16, 2));
        talk.world.weather().jitter = Jitter::Uniform(Duration::from_millis(2));
        // A fast microphone hands its frames over early.
        let pace = Duration::from_nanos((20_000_000 - 20 * ppm) as u64);
        talk.talk(2_500, pace, false);
        let sync = talk.sync();
        let found = sync.clock_drift_ppm.expect("after 50 s");
        assert!((found - ppm as f64).abs() < 25.0, "{found} instead of {ppm}");
        let corrected = (sync.correction_factor - 1.0) * 1e6;
        assert!((corrected - ppm as f64).abs() < 40.0, "{sync:?}");
        let counters = talk.world.hosts[1].peer(&id("p0")).unwrap().counters;
        let concealed = counters.audio_samples_concealed as f64 / 48.0;
        assert!(concealed < 50.0, "{concealed} ms");
        assert!(sync.audio_delay_ms < 20.0, "{sync:?}");
    }
}
