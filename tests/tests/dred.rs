//! Bursts of losses between real engines, with deep redundancy and without.

mod common;

use std::f64::consts::TAU;
use std::time::Duration;

use common::{automatic, id, strangers};
use rtcmesh_core::config::{AudioSettings, Concealment, ConfigPatch, Playout};
use rtcmesh_core::media::{AudioBuffer, RuntimeData};
use rtcmesh_sim::World;
use rtcmesh_sim::net::Jitter;

const FRAME: Duration = Duration::from_millis(20);

/// A burst begins with every so manieth frame: each 600 ms.
const EVERY: usize = 30;

/// Bursts of so many lost packets follow each other: 60 to 100 ms.
const BURSTS: [usize; 3] = [3, 4, 5];

/// A voice that glides, for the encoder and its redundancy to have something to describe: 20 ms from sample
/// `n * 960` on.
fn voice(n: usize) -> RuntimeData {
    let sample = |k: usize| {
        let t = (n * 960 + k) as f64 / 48_000.0;
        // The integral of a pitch between 110 and 170 Hz.
        let turns = 140.0 * t - 30.0 / (TAU * 0.7) * (0.7 * t * TAU).cos();
        let envelope = 0.6 + 0.4 * (TAU * 3.1 * t).sin();
        let harmonic = |h: i32| (TAU * turns * f64::from(h)).sin() / f64::from(h);
        (0.2 * envelope * (1..12).map(harmonic).sum::<f64>()) as f32
    };
    let samples = (0..960).map(sample).collect();
    RuntimeData::Audio(AudioBuffer { samples, sample_rate: 48_000, channels: 1 })
}

/// Host 0 speaks, host 1 listens.
struct Talk {
    world: World,
    sent: usize,
}

/// What host 1 made up and recovered, in ms.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Figures {
    concealed: f64,
    recovered: f64,
}

impl Talk {
    /// Both with a bitrate that redundancy can be paid from, and with these changes.
    fn new(playout: Playout, size_ms: u32, change: impl Fn(&mut AudioSettings)) -> Self {
        let mut audio = AudioSettings::default();
        (audio.bitrate, audio.fec, audio.expected_loss_percent) = (48_000, false, 20);
        change(&mut audio);
        let config = |name: &str| {
            automatic(name).audio(audio).playout(playout).jitter_buffer_size_ms(size_ms)
        };
        let mut world = strangers(21, [config("p0"), config("p1")]);
        assert!(world.run_until(World::all_connected));
        world.weather().latency = Duration::from_millis(15);
        world.weather().jitter = Jitter::Uniform(Duration::from_millis(4));
        let mut talk = Self { world, sent: 0 };
        talk.talk(2 * EVERY, false);
        talk
    }

    /// Sends `frames`, with bursts or without, and gives what that did at the listener.
    fn talk(&mut self, frames: usize, bursts: bool) -> Figures {
        let before = self.figures();
        for n in 0..frames {
            let burst = BURSTS[n / EVERY % BURSTS.len()];
            self.world.cut(0, 1, bursts && n % EVERY < burst);
            let data = voice(self.sent);
            self.world.act(0, |transport, now| transport.broadcast(now, &data)).expect("connected");
            self.world.run(FRAME);
            self.sent += 1;
        }
        let after = self.figures();
        Figures {
            concealed: after.concealed - before.concealed,
            recovered: after.recovered - before.recovered,
        }
    }

    fn configure(&mut self, host: usize, change: impl Fn(&mut ConfigPatch)) {
        let mut patch = ConfigPatch::new();
        change(&mut patch);
        self.world.act(host, |transport, now| transport.configure(now, &patch)).expect("valid");
    }

    fn figures(&self) -> Figures {
        let counters = self.world.hosts[1].peer(&id("p0")).expect("connected").counters;
        let millis = |samples: u64| samples as f64 / 48.0;
        Figures {
            concealed: millis(counters.audio_samples_concealed),
            recovered: millis(counters.audio_samples_recovered),
        }
    }
}

/// What is lost in so many frames, in ms.
fn lost(frames: usize) -> f64 {
    (0..frames).filter(|n| n % EVERY < BURSTS[n / EVERY % BURSTS.len()]).count() as f64 * 20.0
}

const FRAMES: usize = 15 * EVERY;

#[test]
fn bursts_are_recovered_where_the_delay_leaves_time_for_them() {
    let run = |dred_ms: u16| {
        Talk::new(Playout::Fixed, 140, |audio| audio.dred_ms = dred_ms).talk(FRAMES, true)
    };
    let (without, with) = (run(0), run(200));
    let lost = lost(FRAMES);
    assert_eq!(without.recovered, 0.0, "{without:?}");
    assert!(without.concealed > 0.95 * lost, "{without:?} of {lost}");
    assert!(with.recovered > 0.9 * lost, "{with:?} of {lost}");
    assert!(with.concealed < 0.1 * lost, "{with:?} of {lost}");
}

/// A delay that follows the network is small here, and most of a burst is made up before its end arrives.
#[test]
fn a_small_delay_recovers_what_is_not_yet_played() {
    let run = |dred_ms: u16| {
        Talk::new(Playout::Adaptive, 50, |audio| audio.dred_ms = dred_ms).talk(FRAMES, true)
    };
    let (without, with) = (run(0), run(200));
    assert_eq!(without.recovered, 0.0, "{without:?}");
    assert!(with.recovered > 0.2 * lost(FRAMES), "{with:?}");
    assert!(with.concealed < without.concealed, "{with:?} {without:?}");
}

#[test]
fn redundancy_is_switched_on_and_off_while_people_speak() {
    let mut talk = Talk::new(Playout::Fixed, 140, |_| {});
    let lost = lost(FRAMES);
    let before = talk.talk(FRAMES, true);
    assert_eq!(before.recovered, 0.0, "{before:?}");
    talk.configure(0, |patch| patch.audio_dred_ms = Some(200));
    talk.talk(2 * EVERY, false);
    let on = talk.talk(FRAMES, true);
    assert!(on.recovered > 0.9 * lost && on.concealed < 0.1 * lost, "{on:?} of {lost}");
    talk.configure(0, |patch| patch.audio_dred_ms = Some(0));
    talk.talk(2 * EVERY, false);
    let off = talk.talk(FRAMES, true);
    assert_eq!(off.recovered, 0.0, "{off:?}");
    assert!(off.concealed > 0.95 * lost, "{off:?}");
}

/// The same stream and losses are heard otherwise with the other concealment, from the change on.
#[test]
fn how_losses_are_made_up_changes_while_people_speak() {
    let heard = |concealment: Option<Concealment>| {
        let mut talk = Talk::new(Playout::Fixed, 60, |_| {});
        talk.talk(2 * EVERY, true);
        let before = common::heard(&talk.world, 1, &id("p0")).len();
        if let Some(concealment) = concealment {
            talk.configure(1, |patch| patch.audio_concealment = Some(concealment));
        }
        talk.talk(2 * EVERY, true);
        let samples = common::heard(&talk.world, 1, &id("p0"));
        (samples[..before].to_vec(), samples[before..].to_vec())
    };
    let (classic, deep) = (heard(None), heard(Some(Concealment::Deep)));
    assert!(classic.0 == deep.0, "equal before the change");
    assert!(classic.1 != deep.1, "different after it");
    assert!(deep.1.iter().all(|sample| sample.is_finite()));
    assert!(heard(Some(Concealment::Classic)) == classic, "a change to what is there is none");
}
