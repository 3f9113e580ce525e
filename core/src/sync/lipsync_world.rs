//! Flash and beep in virtual time: two streams of one scene through two networks, played by the two
//! buffers, and how far apart what belongs together is seen and heard.

use std::time::{Duration, Instant};

use super::{Capture, LipSync};
use crate::rng::{Rng, Seed};
use crate::sync::{
    AudioTimestamp, Inserted, JitterBuffer, Medium, NtpMap, Packet, PlayoutConfig, Pop,
    RtcpSenderReport, VideoBuffer, VideoPacket, VideoTimestamp,
};

/// 2026, in seconds since 1900.
const WALL: f64 = 3_976_300_000.0;
const AUDIO_STEP: f64 = 0.02;
const VIDEO_STEP: f64 = 1.0 / 30.0;
const REPORTS: f64 = 5.0;

/// A network.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Model {
    Lan,
    /// Delays of this standard deviation, in seconds.
    Gamma(f64),
    /// A radio that stalls for some 35 ms, often, and longer, rarely.
    Wifi,
    /// A queue that fills to 100 ms and empties, every 40 s.
    Bloat,
}

pub(super) const MODELS: [Model; 5] =
    [Model::Lan, Model::Gamma(0.002), Model::Gamma(0.010), Model::Wifi, Model::Bloat];

/// What happens in a run. Times are seconds.
#[derive(Debug, Clone)]
pub(super) struct Scene {
    pub(super) seed: u64,
    pub(super) audio: Model,
    pub(super) video: Model,
    pub(super) seconds: f64,
    /// Standard deviation of the reports' wall clock.
    pub(super) noise: f64,
    /// How much longer than its network alone audio and video take, by when it was captured.
    pub(super) audio_extra: fn(f64) -> f64,
    pub(super) video_extra: fn(f64) -> f64,
    /// How far the sender's wall clock is set off, by when.
    pub(super) wall_step: fn(f64) -> f64,
    /// Whether a stream's report is sent, by when.
    pub(super) audio_reports: fn(f64) -> bool,
    pub(super) video_reports: fn(f64) -> bool,
    /// How long a report takes, by its number.
    pub(super) report_delay: fn(u64) -> f64,
    /// Whether audio is sent.
    pub(super) audible: fn(f64) -> bool,
    /// When video begins again with other numbers.
    pub(super) video_restart: Option<f64>,
    /// The random offsets of the RTP timestamps.
    pub(super) rtp: (u32, u32),
    /// By how much all instants are later.
    pub(super) later: Duration,
}

impl Scene {
    pub(super) fn new(seed: u64, audio: Model, video: Model) -> Self {
        Self {
            seed,
            audio,
            video,
            seconds: 60.0,
            noise: 0.0,
            audio_extra: |_| 0.0,
            video_extra: |_| 0.0,
            wall_step: |_| 0.0,
            audio_reports: |_| true,
            video_reports: |_| true,
            report_delay: |_| 0.03,
            audible: |_| true,
            video_restart: None,
            rtp: (0x8000_1234, 0xffff_0000),
            later: Duration::ZERO,
        }
    }

    pub(super) fn run(&self) -> Seen {
        World::new(self).run()
    }
}

/// A frame of video as it was seen.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Frame {
    /// When it was captured, in seconds.
    pub(super) captured: f64,
    /// When it was shown, in seconds.
    pub(super) shown: f64,
    /// How far it was ahead of its sound, in milliseconds; `None` where there was none.
    pub(super) offset: Option<f64>,
    /// What [`LipSync`] said about that, and how sure it was.
    pub(super) told: f64,
    pub(super) confidence: f64,
    /// The hold and the least delay of audio then, in milliseconds.
    pub(super) hold: f64,
    pub(super) least: f64,
}

/// What came of a scene.
#[derive(Debug)]
pub(super) struct Seen {
    pub(super) frames: Vec<Frame>,
    /// The longest hold of audio, in milliseconds.
    pub(super) audio_hold: f64,
    pub(super) restarts: u64,
}

impl Seen {
    /// The frames that were shown between two times.
    pub(super) fn between(&self, from: f64, to: f64) -> impl Iterator<Item = &Frame> {
        self.frames.iter().filter(move |frame| (from..to).contains(&frame.shown))
    }

    /// The 95th percentile of the distance, in milliseconds.
    pub(super) fn p95(&self, from: f64, to: f64) -> f64 {
        let offsets = self.between(from, to).filter_map(|frame| frame.offset);
        let mut distances: Vec<_> = offsets.map(f64::abs).collect();
        distances.sort_by(f64::total_cmp);
        assert!(distances.len() > 50, "hardly anything was seen");
        distances[distances.len() * 95 / 100]
    }

    /// The mean offset, in milliseconds.
    pub(super) fn mean(&self, from: f64, to: f64) -> f64 {
        let offsets: Vec<_> = self.between(from, to).filter_map(|frame| frame.offset).collect();
        offsets.iter().sum::<f64>() / offsets.len() as f64
    }
}

/// What arrives.
#[derive(Debug, Clone)]
enum Arrival {
    Audio(u64),
    Video(u64),
    Report(RtcpSenderReport),
}

struct World<'a> {
    scene: &'a Scene,
    start: Instant,
    audio: JitterBuffer<f64>,
    video: VideoBuffer<f64>,
    audio_map: NtpMap<AudioTimestamp>,
    video_map: NtpMap<VideoTimestamp>,
    sync: LipSync,
    /// When what was captured then was heard.
    heard: Vec<(f64, f64)>,
    frames: Vec<Frame>,
    audio_hold: f64,
}

/// Media clocks that are off: −80 and +120 ppm.
const AUDIO_PACE: f64 = 1.0 - 80e-6;
const VIDEO_PACE: f64 = 1.0 + 120e-6;

impl<'a> World<'a> {
    fn new(scene: &'a Scene) -> Self {
        // One origin for all, far enough from the clock's own.
        static ORIGIN: std::sync::LazyLock<Instant> = std::sync::LazyLock::new(Instant::now);
        let config = PlayoutConfig::adaptive(Duration::from_millis(50));
        Self {
            scene,
            start: *ORIGIN + scene.later,
            audio: JitterBuffer::new(48_000, config),
            video: VideoBuffer::new(90_000, config),
            audio_map: NtpMap::new(48_000),
            video_map: NtpMap::new(90_000),
            sync: LipSync::new(LipSync::PATIENCE),
            heard: Vec::new(),
            frames: Vec::new(),
            audio_hold: 0.0,
        }
    }

    fn at(&self, seconds: f64) -> Instant {
        self.start + Duration::from_secs_f64(seconds)
    }

    fn seconds(&self, at: Instant) -> f64 {
        at.duration_since(self.start).as_secs_f64()
    }

    /// The timestamp of what is captured then.
    fn rtp(&self, medium: Medium, captured: f64) -> u32 {
        let (offset, ticks) = match medium {
            Medium::Audio => (self.scene.rtp.0, captured * 48_000.0 * AUDIO_PACE),
            Medium::Video => {
                let restarted = self.scene.video_restart.is_some_and(|at| captured >= at);
                let other = if restarted { 0x5555_0000 } else { 0 };
                (self.scene.rtp.1.wrapping_add(other), captured * 90_000.0 * VIDEO_PACE)
            }
        };
        offset.wrapping_add(ticks.round() as u64 as u32)
    }

    fn arrivals(&self) -> Vec<(f64, Arrival)> {
        let Scene { seed, seconds, .. } = *self.scene;
        let rng = Rng::new(Seed::from_number(seed));
        let mut arrivals = Vec::new();
        let mut network = Network::new(self.scene.audio, rng.fork("audio"));
        for n in 0..(seconds / AUDIO_STEP) as u64 {
            let sent = n as f64 * AUDIO_STEP / AUDIO_PACE;
            let at = network.arrival(sent, (self.scene.audio_extra)(sent));
            if (self.scene.audible)(sent) {
                arrivals.push((at, Arrival::Audio(n)));
            }
        }
        let mut network = Network::new(self.scene.video, rng.fork("video"));
        for n in 0..(seconds / VIDEO_STEP) as u64 {
            let sent = n as f64 * VIDEO_STEP;
            // 8 Mbit/s.
            let serial = size(n) as f64 / 1e6;
            arrivals.push((
                network.arrival(sent, serial + (self.scene.video_extra)(sent)),
                Arrival::Video(n),
            ));
        }
        let mut noise = rng.fork("reports");
        for n in 0..(seconds / REPORTS) as u64 {
            for (medium, phase) in [(Medium::Audio, 0.3), (Medium::Video, 0.7)] {
                let sent = n as f64 * REPORTS + phase;
                let wanted = match medium {
                    Medium::Audio => self.scene.audio_reports,
                    Medium::Video => self.scene.video_reports,
                };
                let off = self.scene.noise * normal(&mut noise) + (self.scene.wall_step)(sent);
                if wanted(sent) {
                    let at = sent + (self.scene.report_delay)(n);
                    arrivals.push((at, Arrival::Report(self.report(medium, sent, off, at))));
                }
            }
        }
        arrivals.sort_by(|one, other| one.0.total_cmp(&other.0));
        arrivals
    }

    fn report(&self, medium: Medium, sent: f64, off: f64, at: f64) -> RtcpSenderReport {
        let (whole, part) = (WALL as u64, sent + off);
        let ntp = (whole << 32).wrapping_add_signed((part * (1_u64 << 32) as f64) as i64);
        RtcpSenderReport {
            medium,
            ntp_timestamp: ntp,
            rtp_timestamp: self.rtp(medium, sent),
            packet_count: 1,
            octet_count: 1,
            received_at: self.at(at),
        }
    }

    fn run(mut self) -> Seen {
        for (at, arrival) in self.arrivals() {
            self.play_until(self.at(at));
            let arrived = self.at(at);
            match arrival {
                Arrival::Audio(n) => {
                    let captured = n as f64 * AUDIO_STEP / AUDIO_PACE;
                    self.audio.insert(Packet {
                        sequence: 70_000 + n,
                        rtp: self.rtp(Medium::Audio, captured),
                        duration: 960,
                        dtx: false,
                        arrived,
                        payload: captured,
                    });
                }
                Arrival::Video(n) => {
                    let captured = n as f64 * VIDEO_STEP;
                    let restarted = self.scene.video_restart.is_some_and(|at| captured >= at);
                    let inserted = self.video.insert(VideoPacket {
                        sequence: if restarted { 9_000_000 } else { 0 } + n * 4,
                        rtp: self.rtp(Medium::Video, captured),
                        keyframe: n.is_multiple_of(90),
                        contiguous: true,
                        size: size(n),
                        arrived,
                        payload: captured,
                    });
                    if inserted == Inserted::Restarted {
                        self.video_map.reset();
                    }
                }
                // What is invalid or of another stream is not taken, which is what is tested.
                Arrival::Report(report) => {
                    let _ = match report.medium {
                        Medium::Audio => self.audio_map.update(&report),
                        Medium::Video => self.video_map.update(&report),
                    };
                }
            }
        }
        self.compare()
    }

    /// Plays what is due before `at`.
    fn play_until(&mut self, at: Instant) {
        loop {
            let audio = self.audio.poll_timeout();
            let video = self.video.poll_timeout();
            let next = audio.into_iter().chain(video).min();
            let Some(now) = next.filter(|next| *next < at) else { return };
            loop {
                match self.audio.pop(now) {
                    Pop::None => break,
                    Pop::Frame { packet, due, .. } => {
                        let capture = Capture::of(&self.audio_map, AudioTimestamp(packet.rtp));
                        let earliest = self.audio.earliest(packet.rtp).unwrap();
                        self.sync.audio(capture, earliest, due);
                        self.heard.push((packet.payload, self.seconds(due)));
                    }
                    _ => {}
                }
            }
            while let Some(pop) = self.video.pop(now) {
                let capture = Capture::of(&self.video_map, VideoTimestamp(pop.packet.rtp));
                let told = self.sync.video(capture, (pop.planned, pop.heading), pop.due);
                self.video.set_hold(self.sync.hold());
                self.audio.set_least(self.sync.audio_least());
                self.audio_hold = self.audio_hold.max(self.audio.hold().as_secs_f64() * 1e3);
                self.frames.push(Frame {
                    captured: pop.packet.payload,
                    shown: self.seconds(pop.due),
                    offset: None,
                    told: told.offset_ms,
                    confidence: told.confidence,
                    hold: self.sync.hold().as_secs_f64() * 1e3,
                    least: self.sync.audio_least().as_secs_f64() * 1e3,
                });
            }
        }
    }

    /// Finds for each frame of video when its sound was heard.
    fn compare(mut self) -> Seen {
        for frame in &mut self.frames {
            let behind = self.heard.partition_point(|(captured, _)| *captured <= frame.captured);
            let sound = behind.checked_sub(1).map(|place| self.heard[place]);
            // Or what was heard before, where it was lost.
            let sound = sound.filter(|(captured, _)| frame.captured - captured < 0.1);
            frame.offset = sound
                .map(|(captured, heard)| (heard + frame.captured - captured - frame.shown) * 1e3);
        }
        let restarts = self.video.statistics().restarts;
        Seen { frames: self.frames, audio_hold: self.audio_hold, restarts }
    }
}

/// The size of frame `n`: a key frame every 3 s is ten times as large.
fn size(n: u64) -> usize {
    if n.is_multiple_of(90) { 40_000 } else { 4_000 }
}

/// What delays one stream.
struct Network {
    model: Model,
    rng: Rng,
    last: f64,
    /// The stalls so far: when the last began, how long it was, and when the next begins.
    stall: (f64, f64),
    next: f64,
}

impl Network {
    fn new(model: Model, mut rng: Rng) -> Self {
        let next = match model {
            Model::Wifi => 1.4 * exponential(&mut rng),
            Model::Bloat => 8.0 + 24.0 * rng.unit(),
            _ => f64::INFINITY,
        };
        Self { model, rng, last: 0.0, stall: (0.0, 0.0), next }
    }

    fn arrival(&mut self, sent: f64, extra: f64) -> f64 {
        while sent >= self.next {
            let (length, pause) = match self.model {
                Model::Wifi => {
                    let length = (0.010 + 0.036 * exponential(&mut self.rng)).min(0.3);
                    (length, 1.4 * exponential(&mut self.rng))
                }
                _ => (0.1, 40.0),
            };
            self.stall = (self.next, length);
            self.next += pause;
        }
        let since = sent - self.stall.0;
        let height = self.stall.1;
        let (jitter, queue) = match self.model {
            Model::Lan => (0.000_4, 0.0),
            Model::Gamma(s) => (s, 0.0),
            Model::Wifi => (0.004, (height - since).max(0.0)),
            // It fills for 10 s and empties within 4 s.
            Model::Bloat if since < 10.0 => (0.005, height * since / 10.0),
            Model::Bloat => (0.005, (height * (1.0 - (since - 10.0) / 4.0)).max(0.0)),
        };
        // Of shape 4 and standard deviation `jitter`.
        let gamma: f64 = (0..4).map(|_| exponential(&mut self.rng)).sum::<f64>() * jitter / 2.0;
        // Packets wait for each other, as in one queue.
        self.last = self.last.max(sent + 0.02 + gamma + queue + extra);
        self.last
    }
}

fn exponential(rng: &mut Rng) -> f64 {
    -(1.0 - rng.unit()).ln()
}

/// Normally distributed (Box and Muller, 1958).
fn normal(rng: &mut Rng) -> f64 {
    (2.0 * exponential(rng)).sqrt() * (std::f64::consts::TAU * rng.unit()).cos()
}
